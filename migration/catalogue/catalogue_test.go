package catalogue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

var identity = map[string]string{FactBucket: "photos", FactPrefix: ""}

func create(t *testing.T, path string) *Catalogue {
	t.Helper()
	c, err := Create(t.Context(), path, identity)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestBatchIsWholeOrNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a catalogue?%.sqlite")
	c := create(t, path)
	add := func(key string, after string) {
		t.Helper()
		if err := errors.Join(c.Add(t.Context(), Object{Key: key, Size: 1, Latest: true}), c.SetRanges(t.Context(), Range{ID: 0, AfterKey: after})); err != nil {
			t.Fatal(err)
		}
	}
	add("a", "a")
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	add("b", "b") // never flushed
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = create(t, path)
	n, err := c.Count(t.Context())
	ranges, err2 := c.Ranges(t.Context())
	if err != nil || err2 != nil || n != 1 || len(ranges) != 1 || ranges[0].AfterKey != "a" {
		t.Errorf("%d rows, ranges %+v, %v, %v", n, ranges, err, err2)
	}
}

func TestCatalogueOfAnotherBucketIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c.sqlite")
	create(t, path).Close()
	if _, err := Create(t.Context(), path, map[string]string{FactBucket: "videos"}); !errors.Is(err, holdall.ErrInvalid) || !strings.Contains(err.Error(), "photos") {
		t.Errorf("another bucket: %v", err)
	}
	other := filepath.Join(dir, "text")
	if err := os.WriteFile(other, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), other, identity); !errors.Is(err, holdall.ErrCorrupt) {
		t.Errorf("a text file: %v", err)
	}
	if _, err := Open(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestTwoWritersAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sqlite")
	c := create(t, path)
	if err := errors.Join(c.Add(t.Context(), Object{Key: "a"}), c.Flush()); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), path, identity); !errors.Is(err, holdall.ErrUnavailable) {
		t.Errorf("a second writer: %v", err)
	}
}

// Keys come back byte for byte, in the order of bytes.
func TestKeysAreBytes(t *testing.T) {
	c := create(t, filepath.Join(t.TempDir(), "c.sqlite"))
	keys := []string{"\x01", " ", "%", "/", "//", "a", "a/", "a/b", "aé", "ae\u0301", "nul\x00nul", "x\xff\xfe", "é", "日本", "\U0001f4be", strings.Repeat("k", 1024)}
	for i, k := range keys {
		if err := c.Add(t.Context(), Object{Key: k, Size: int64(i), Modified: time.Unix(int64(i), 0), Latest: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	seen, last := map[string]int64{}, ""
	err := c.Scan(t.Context(), func(o *Object, _ int) error {
		if o.Key <= last {
			t.Errorf("%q after %q", o.Key, last)
		}
		last = o.Key
		seen[o.Key] = o.Size
		return nil
	})
	for i, k := range keys {
		if seen[k] != int64(i) {
			t.Errorf("key %q was lost", k)
		}
	}
	if err != nil || len(seen) != len(keys) {
		t.Errorf("%d of %d keys, %v", len(seen), len(keys), err)
	}
}

func TestOddKeysAreKnown(t *testing.T) {
	kinds := oddity(OddKinds())
	for key, want := range map[string]string{
		"plain/key-1.txt": "", "year=2024/_x": "", "/a": "leading_slash", "a/": "folder", "a//b": "double_slash", "a/../b": "dots", "./a": "dots", "..": "dots",
		"a..b/.c": "", "a\nb": "control", strings.Repeat("x", 256): "long_part", strings.Repeat("x", 255): "", `a\b`: "backslash", "a\xff": "not_utf8 non_ascii",
		"e\u0301": "combining non_ascii", "\u00e9": "non_ascii", "a /b": "edge_space", "a b": "", "100%": "escaped", "//": "leading_slash folder double_slash",
	} {
		var names []string
		bits := kinds.bits(key)
		for _, k := range kinds {
			if bits&k.Bit != 0 {
				names = append(names, k.Name)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%.20q is %q, want %q", key, got, want)
		}
	}
	// The short way says the same as the long one.
	r := rand.New(rand.NewPCG(1, 1))
	for range 200_000 {
		b := make([]byte, 1+r.IntN(5))
		for i := range b {
			b[i] = "ab0/._-= %+\\\xc3\n"[r.IntN(14)]
		}
		if key := string(b); plain(key) {
			for _, k := range kinds {
				if k.is(key) {
					t.Fatalf("%q is plain and %s", key, k.Name)
				}
			}
		}
	}
}

// stock fills a catalogue with some of everything.
func stock(t *testing.T) *Catalogue {
	t.Helper()
	c := create(t, filepath.Join(t.TempDir(), "c.sqlite"))
	objects := []Object{
		{Key: "a", Size: 10, ETag: "e1", Latest: true}, {Key: "a/b", Size: 10, ETag: "e1", Latest: true}, {Key: "A", Size: 5, ETag: "e2-3", Latest: true},
		{Key: "logs/1", Version: "v2", Size: 70_000, Latest: true}, {Key: "logs/1", Version: "v1", Size: 50}, {Key: "gone", Version: "m", Marker: true, Latest: true},
		{Key: "cold/x", Size: 6 << 30, Class: "DEEP_ARCHIVE", Latest: true}, {Key: "a//../b", Size: 1, Latest: true}, {Key: "dir/", Latest: true},
	}
	for i := range objects {
		objects[i].Modified = time.Date(2015+i, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	if err := errors.Join(c.Add(t.Context(), objects...), c.AddUpload(t.Context(), Upload{Key: "up", ID: "id", Parts: 3, Size: 300}), c.Flush()); err != nil {
		t.Fatal(err)
	}
	return c
}

// Every audit runs, says what it is for, and finds what it is for.
func TestAudits(t *testing.T) {
	c := stock(t)
	all, err := Audits()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // of the first row
		"odd-keys": "double_slash 1 1 1 a", "tool-traps": "a//../b 1", "key-and-folder": "a 10", "case-pairs": "a 2 A a", "cold": "2023 1", "recent": "dir/ 0", "sizes": "0 1 0",
		"tiny": "a/ 2 11", "empty": "folder marker 1 dir/", "largest": "cold/x 6442450944", "prefixes": "cold/ 1 6442450944", "classes": "DEEP_ARCHIVE 1",
		"archived": "cold/x 6442450944", "versions": "current 7", "stacked": "logs/1 2 70050", "uploads": "up 0001", "duplicates": "e1 10 2 10 a a/b", "multipart": "other 6",
	}
	for _, a := range all {
		if a.Title == "" || a.Why == "" {
			t.Errorf("%s: title %q, why %q", a.Name, a.Title, a.Why)
		}
		answer, err := c.Audit(t.Context(), a, 100)
		if err != nil {
			t.Errorf("%s: %v", a.Name, err)
			continue
		}
		first := ""
		if len(answer.Rows) > 0 {
			first = strings.TrimSuffix(fmt.Sprintln(answer.Rows[0]...), "\n")
		}
		if _, ok := want[a.Name]; !ok || !strings.HasPrefix(first, want[a.Name]) {
			t.Errorf("%s: first of %d rows is %q, want %q…", a.Name, len(answer.Rows), first, want[a.Name])
		}
		delete(want, a.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if _, err := FindAudit("nonsense"); !errors.Is(err, holdall.ErrInvalid) || !strings.Contains(err.Error(), "odd-keys") {
		t.Errorf("an audit that is not there: %v", err)
	}
}

func BenchmarkAdd(b *testing.B) {
	c, err := Create(context.Background(), filepath.Join(b.TempDir(), "c.sqlite"), identity)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for i := 0; b.Loop(); i++ {
		if err := c.Add(context.Background(), Object{Key: fmt.Sprintf("p%04d/f%06d", i%16, i), ETag: "d41d8cd98f00b204e9800998ecf8427e", Latest: true}); err != nil {
			b.Fatal(err)
		}
		if c.Full(time.Now()) {
			if err := c.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
