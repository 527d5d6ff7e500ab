package assess

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/catalogue"
	"github.com/holdall/holdall/migration/s3fault"
	"github.com/holdall/holdall/migration/s3test"
	"github.com/holdall/holdall/migration/source"
)

var full = flag.Bool("full", false, "run every test at its full length")

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func sheet(t *testing.T) *Prices {
	t.Helper()
	p, err := LoadPrices("")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newCatalogue(t *testing.T, path, bucket string) *catalogue.Catalogue {
	t.Helper()
	c, err := catalogue.Create(t.Context(), path, map[string]string{catalogue.FactBucket: bucket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A listing through faults, cut off again and again as by a kill, ends with every
// object in the catalogue once, and the sums are right.
func TestFillOverFaultsAndKills(t *testing.T) {
	server := s3test.New(t, s3test.Options{})
	for _, pair := range server.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	bucket := "assessed"
	if _, err := server.Client("").CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	want := Amount{}
	dirs := 200
	if *full {
		dirs = 2000
	}
	for i := range dirs {
		dir := filepath.Join(server.Root(), bucket, fmt.Sprintf("d%04d", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for j := range 40 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d+ %d", j, i)), make([]byte, j), 0o644); err != nil {
				t.Fatal(err)
			}
			want.add(int64(j))
		}
	}
	plan := s3fault.Mix(7, 0.4, s3fault.SlowDown, s3fault.InternalError, s3fault.TooManyRequests, s3fault.ExpiredToken, s3fault.ResetBefore, s3fault.ResetLost,
		s3fault.TruncateListing, s3fault.RepeatListing, s3fault.SlowListing)
	plan.Slow = time.Millisecond
	proxy, err := s3fault.Start(server.Endpoint(), plan)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	src, err := source.Open(t.Context(), source.Config{Bucket: bucket, Endpoint: proxy.Endpoint(), Attempts: 100, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "c.sqlite")
	runs := 0
	for done := false; !done; runs++ {
		done = fillUntilKilled(t, path, bucket, src)
		if runs > 200 {
			t.Fatal("it never ends")
		}
	}
	if runs < 3 {
		t.Errorf("%d runs: nothing was cut off", runs)
	}
	c := newCatalogue(t, path, bucket)
	s, err := Summarize(t.Context(), c, sheet(t), 0, now)
	if err != nil || s.Current != want || s.Versioning != never || s.Finished.IsZero() {
		t.Errorf("after %d runs %+v (versioning %q), want %+v: %v", runs, s.Current, s.Versioning, want, err)
	}
	if n := proxy.Counts(); len(n) < 6 {
		t.Errorf("injected %v", n)
	}
}

// fillUntilKilled fills for some pages and drops what was not flushed, as a kill
// does.
func fillUntilKilled(t *testing.T, path, bucket string, src *source.Source) (done bool) {
	t.Helper()
	c, err := catalogue.Create(t.Context(), path, map[string]string{catalogue.FactBucket: bucket})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pages := 0
	f := &Filling{Source: src, Walkers: 8, Now: func() time.Time { return now }, Progress: func(Progress) {
		switch pages++; pages {
		case 7:
			if err := c.Flush(); err != nil {
				t.Error(err)
			}
		case 11:
			_ = c.Close() // everything after this fails, as after a kill
			cancel()
		}
	}}
	return f.Fill(ctx, c) == nil
}

const stamp = "2024-01-02T03:04:05.000Z"

// writeInventory lays an S3 Inventory as S3 does.
func writeInventory(t *testing.T, schema string, files ...string) (manifestPath string) {
	t.Helper()
	dir := t.TempDir()
	var list []map[string]any
	for i, text := range files {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(text))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("part%d.csv.gz", i)
		for _, d := range []string{"data", "2026-01-01"} {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "data", name), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		list = append(list, map[string]any{"key": "prefix/photos/config/data/" + name, "size": b.Len(), "MD5checksum": fmt.Sprintf("%x", md5.Sum(b.Bytes()))})
	}
	js, _ := json.Marshal(map[string]any{"sourceBucket": "photos", "fileFormat": "CSV", "fileSchema": schema, "creationTimestamp": "1767225600000", "files": list})
	path := filepath.Join(dir, "2026-01-01", "manifest.json")
	if err := os.WriteFile(path, js, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInventoryIsRead(t *testing.T) {
	path := writeInventory(t, "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass",
		`"photos","a%2Fb+c%25%0A","v2","true","false","100","`+stamp+`","abc","STANDARD"`+"\n"+`"photos","a%2Fb+c%25%0A","v1","false","false","50","`+stamp+`","abd","GLACIER"`+"\n",
		`"photos","gone","v9","true","true","","`+stamp+`","",""`+"\n"+`"photos","%D0%B6","null","true","false","7","`+stamp+`","x-2","STANDARD_IA"`+"\n")
	i, err := OpenInventory(path, "")
	if err != nil || i.Bucket != "photos" {
		t.Fatalf("bucket %q, %v", i.Bucket, err)
	}
	c := newCatalogue(t, filepath.Join(t.TempDir(), "c.sqlite"), "photos")
	f := &Filling{Now: func() time.Time { return now }}
	if err := f.FillInventory(t.Context(), c, i); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	if err := c.Scan(t.Context(), func(o *catalogue.Object, _ int) error {
		got[fmt.Sprintf("%q %s %v %v", o.Key, o.Version, o.Latest, o.Marker)] = o.Size
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{`"a/b c%\n" v2 true false`: 100, `"a/b c%\n" v1 false false`: 50, `"gone" v9 true true`: 0, `"ж" null true false`: 7}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s, err := Summarize(t.Context(), c, sheet(t), 0, now)
	if err != nil || s.Current != (Amount{2, 107}) || s.Old != (Amount{1, 50}) || s.Markers != 1 || !s.Finished.Equal(i.Created) || s.TrapKeys != 1 {
		t.Errorf("summary %+v, %v", s, err)
	}
}

func TestInventoryThatIsWrongIsRefused(t *testing.T) {
	const schema = "Bucket, Key, Size"
	fill := func(path, schema string) error {
		i, err := OpenInventory(path, schema)
		if err != nil {
			return err
		}
		c := newCatalogue(t, filepath.Join(t.TempDir(), "c.sqlite"), "photos")
		f := &Filling{Now: func() time.Time { return now }}
		if err := f.FillInventory(t.Context(), c, i); err != nil {
			return err
		}
		return nil
	}
	rotten := writeInventory(t, schema, `"photos","a","1"`+"\n")
	data := filepath.Join(filepath.Dir(rotten), "..", "data", "part0.csv.gz")
	b, _ := os.ReadFile(data)
	b[4] ^= 1 // the time in gzip's header: the text stays the same
	if err := os.WriteFile(data, b, 0o600); err != nil {
		t.Fatal(err)
	}
	csv := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(csv, []byte(`"photos","a"`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path, schema string
		want         error
	}{
		"rot":      {rotten, "", holdall.ErrCorrupt},
		"size":     {writeInventory(t, schema, `"photos","a","-1"`+"\n"), "", holdall.ErrInvalid},
		"encoding": {writeInventory(t, schema, `"photos","a%zz","1"`+"\n"), "", holdall.ErrInvalid},
		"columns":  {csv, "", holdall.ErrInvalid},
		"no key":   {csv, "Bucket, Size", holdall.ErrInvalid},
		"no file":  {csv + "x", "", os.ErrNotExist},
	} {
		if err := fill(c.path, c.schema); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := fill(csv, "Bucket, Key"); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("no sizes: %v", err)
	}
	if _, err := beside("/m/manifest.json", "x/.."); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("a key that climbs: %v", err)
	}
}

// The bill is what a person would compute.
func TestCosts(t *testing.T) {
	p := sheet(t)
	c := newCatalogue(t, filepath.Join(t.TempDir(), "c.sqlite"), "photos")
	add := func(o catalogue.Object) {
		t.Helper()
		o.Latest = true
		if err := c.Add(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		add(catalogue.Object{Key: fmt.Sprintf("big/%03d", i), Size: 10 * gb})                          // 1,000 GB
		add(catalogue.Object{Key: fmt.Sprintf("ia/%03d", i), Size: 1000, Class: "STANDARD_IA"})        // billed as 128 KiB
		add(catalogue.Object{Key: fmt.Sprintf("deep/%03d", i), Size: gb, Class: "DEEP_ARCHIVE"})       // 100 GB
		add(catalogue.Object{Key: fmt.Sprintf("new/%03d", i), Size: gb / 100, Class: "FASTEST_CLASS"}) // not in the sheet
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	s, err := Summarize(t.Context(), c, p, 125e6, now)
	if err != nil {
		t.Fatal(err)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 0.01*want {
			t.Errorf("%s: %.4f, want %.4f", what, got, want)
		}
	}
	near("S3 a month", s.Cost.S3Total, 1000*0.023+100*131072.0/gb*0.0125+(100+100*40960.0/gb)*0.00099+0.023)
	copied := 1101.0
	egress := (copied - 100) * 0.09
	near("moving", s.Cost.MoveTotal, 3*egress+3*100*0.02+0.1*0.1)
	if len(s.Cost.Unpriced) != 1 || s.Cost.Unpriced[0] != "FASTEST_CLASS" || !s.Cost.NoWorkload {
		t.Errorf("unpriced %v, workload missing %v", s.Cost.Unpriced, s.Cost.NoWorkload)
	}
	near("overhead", s.Footprint.Overhead, 1.502)
	near("seconds", s.Times[0].Seconds, copied*gb/125e6)
	upfront := s.Cost.MoveTotal + s.Cost.BuyTotal + 2*s.Cost.OwnTotal
	near("break-even", s.Cost.Months, 2+upfront/(s.Cost.S3Total-s.Cost.OwnTotal))
	if s.Archived.Objects != 100 || s.Inline.Objects != 100 {
		t.Errorf("archived %+v, inline %+v", s.Archived, s.Inline)
	}
}

func TestTiersAddUp(t *testing.T) {
	tiers := []tier{{UpToGB: 10, GB: 3}, {UpToGB: 30, GB: 2}, {GB: 1}}
	for amount, want := range map[float64]float64{0: 0, 5: 15, 10: 30, 20: 50, 30: 70, 100: 140} {
		if got := tiered(amount, tiers, func(t tier) float64 { return t.GB }); got != want {
			t.Errorf("%v GB: %v, want %v", amount, got, want)
		}
	}
}

func TestPriceSheetFaultsAreNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.toml")
	for text, want := range map[string]string{
		string(DefaultPrices) + "\nfee = 3\n":                                            "fee",
		strings.Replace(string(DefaultPrices), "list = 0.005", "list = -1", 1):           "requests.list",
		strings.Replace(string(DefaultPrices), "fill              = 0.8", "fill = 3", 1): "holdall.fill",
		strings.Replace(string(DefaultPrices), `"rs-6-3"`, `"rs-0-3"`, 1):                "rs-0-3",
		"as_of = 3": "price sheet",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadPrices(file); !errors.Is(err, holdall.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to name %q", err, want)
		}
	}
}

// Each size costs the blocks that a put of it would make.
func TestFootprintCountsBlocks(t *testing.T) {
	for size, want := range map[int64][2]int64{ // data blocks, nodes below the root
		0: {0, 0}, 1: {0, 0}, holdall.MaxInline: {0, 0}, holdall.MaxInline + 1: {1, 0}, 4 << 20: {1, 0}, 4<<20 + 1: {2, 0},
		1024 * 4 << 20: {1024, 0}, 1025 * 4 << 20: {1025, 2}, 10 << 40: {2621440, 2560 + 3},
	} {
		var b blockCount
		b.add(size, 10)
		if b.data != want[0] || b.nodes != want[1] || b.manifests != 1 {
			t.Errorf("size %d: %d blocks, %d nodes, %d manifests; want %v and 1", size, b.data, b.nodes, b.manifests, want)
		}
	}
}

// The largest directories come first, whatever there are many of, and all adds up.
func TestPrefixesAreRankedInBoundedMemory(t *testing.T) {
	c := newCatalogue(t, filepath.Join(t.TempDir(), "c.sqlite"), "photos")
	for i := range 3000 {
		if err := c.Add(t.Context(), catalogue.Object{Key: fmt.Sprintf("d%04d/x", i), Size: int64(i*7919%3000 + 1), Latest: true}, catalogue.Object{Key: fmt.Sprintf("z%d", i), Latest: true}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Summarize(t.Context(), c, sheet(t), 0, now)
	if err != nil {
		t.Fatal(err)
	}
	sum := s.OtherPre.Amount
	for i, p := range s.Prefixes {
		if want := int64(3000 - i); p.Bytes != want {
			t.Errorf("directory %d is %s with %d bytes, want %d", i, p.Name, p.Bytes, want)
		}
		sum.Objects, sum.Bytes = sum.Objects+p.Objects, sum.Bytes+p.Bytes
	}
	if len(s.Prefixes) != topPrefixes || sum != s.Current {
		t.Errorf("%d directories, in all %+v of %+v", len(s.Prefixes), sum, s.Current)
	}
}

// The page loads nothing, shows what was found, and lets no key become markup.
func TestReportIsSelfContained(t *testing.T) {
	c := newCatalogue(t, filepath.Join(t.TempDir(), "c.sqlite"), "photos")
	evil := "<script>alert(1)</script>/\"'><img src=x>\x01"
	if err := c.Add(t.Context(), catalogue.Object{Key: evil, Size: 5, Latest: true, Class: "<b>CLASS"}, catalogue.Object{Key: "/lead", Size: 1 << 30, Latest: true}); err != nil {
		t.Fatal(err)
	}
	s, err := Summarize(t.Context(), c, sheet(t), 0, now)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Render(&b, s); err != nil {
		t.Fatal(err)
	}
	html := b.String()
	for _, bad := range []string{"<script", "<img", "http://", "https://", "url(", "<link", "@import", "<b>CLASS"} {
		if strings.Contains(html, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, good := range []string{"<svg", "leading_slash", "1 GiB", "as of 2025-06", "not finished", "&lt;b&gt;CLASS", "prefers-color-scheme"} {
		if !strings.Contains(html, good) {
			t.Errorf("the page lacks %q", good)
		}
	}
	if n := strings.Count(html, "<svg"); n != 4 {
		t.Errorf("%d charts, want 4", n)
	}
}
