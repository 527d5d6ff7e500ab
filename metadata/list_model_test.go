package metadata

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
	"pgregory.net/rapid"
)

// listKeys are keys whose order and prefixes are easily mistaken: zero bytes and
// 0xff, composed and decomposed letters, keys that are prefixes of others.
var listKeys = []string{
	"a", "a/", "a/b", "a/b/c", "a/b\x00", "a/\x00", "a/\x00b", "a\x00", "a\x00/", "a\x00\xff", "a\x01", "a\xff", "a\xff\xff", "a\xff/x", "a.", "a0", "\x00", "\x00\x00", "\x00\xff",
	"\xff", "\xff/", "\xff\xff", "\xff\xff/\xff", "é", "e\u0301", "é/x", "e\u0301/x", "b", "b/", "b//c", "b//", "/", "//", "/a", strings.Repeat("k", holdall.MaxKeySize),
	strings.Repeat("\x00", holdall.MaxKeySize), strings.Repeat("\xff", holdall.MaxKeySize),
}

// listRows puts versions of some keys into two buckets, straight into the table.
func listRows(rt *rapid.T, r *rig) (all []Object) {
	batch := r.db.NewBatch()
	version := holdall.Version(1 << 44)
	for _, key := range rapid.SliceOfDistinct(rapid.SampledFrom(listKeys), rapid.ID[string]).Draw(rt, "keys") {
		for b := range holdall.BucketID(2) {
			n := rapid.IntRange(0, 3).Draw(rt, "versions")
			for i := range n {
				version++
				o := Object{Bucket: b + 1, Key: key, Version: version, Put: putID(int(version) % 250), Root: id(1), Modified: day.time(), Committed: day.time()}
				if rapid.IntRange(0, 3).Draw(rt, "marker") == 3 {
					o = Object{Bucket: b + 1, Key: key, Version: version, Put: o.Put, Committed: o.Committed, Marker: true}
				}
				if i < n-1 {
					o.TrashedAt = day.time()
				}
				k := o.name()
				if err := batch.Set(appendObjectKey(nil, &k), appendObject(nil, &o), nil); err != nil {
					rt.Fatal(err)
				}
				if b == 0 {
					all = append(all, o)
				}
			}
		}
	}
	if err := r.db.Apply(batch, pebble.NoSync); err != nil {
		rt.Fatal(err)
	}
	slices.SortFunc(all, func(a, b Object) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(b.Version, a.Version)) })
	return all
}

// listed is what a listing must be: every entry, in order.
func modelList(all []Object, q *ListQuery) (entries []any) {
	prefixes := map[string]bool{}
	for i, o := range all {
		newest := i == 0 || all[i-1].Key != o.Key
		if !strings.HasPrefix(o.Key, q.Prefix) {
			continue
		}
		if q.Versions {
			if o.Key > q.After || o.Key == q.After && o.Version < q.AfterVer {
				entries = append(entries, o)
			}
			continue
		}
		if !newest || o.Marker {
			continue
		}
		entry, name := any(o), o.Key
		if q.Delimiter != "" {
			if before, _, ok := strings.Cut(o.Key[len(q.Prefix):], q.Delimiter); ok {
				name = q.Prefix + before + q.Delimiter
				entry = name
				if prefixes[name] {
					continue
				}
				prefixes[name] = true
			}
		}
		if name > q.After {
			entries = append(entries, entry)
		}
	}
	return entries
}

// walk returns all entries of a listing, page after page, in order.
func walk(t testing.TB, r *rig, q ListQuery) (entries []any) {
	for {
		p, err := list(context.Background(), r.db, &q)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]any{}
		n := len(p.Objects) + len(p.Prefixes)
		for _, o := range p.Objects {
			names[fmt.Sprintf("%s\x00\x00%016x", strings.ReplaceAll(o.Key, "\x00", "\x00\xff"), ^uint64(o.Version))] = o
		}
		for _, c := range p.Prefixes {
			names[strings.ReplaceAll(c, "\x00", "\x00\xff")+"\x00\x00"] = c
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			entries = append(entries, names[name])
		}
		if len(names) != n || n > q.Limit || p.More && n != q.Limit || !p.More && n == 0 && p.Last != "" {
			t.Fatalf("page of %d entries, limit %d, more %t, last %q", n, q.Limit, p.More, p.Last)
		}
		if !p.More {
			return entries
		}
		if q.After = p.Last; q.Versions {
			q.AfterVer = p.LastVer
		}
	}
}

// TestListingAgreesWithItsModel compares listings with those of a sorted slice.
func TestListingAgreesWithItsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tb := drawn{t, rt}
		r := newRig(tb)
		all := listRows(rt, r)
		for range 40 {
			some := rapid.SampledFrom(append([]string{"", "a/b/", "zz"}, listKeys...))
			q := ListQuery{Bucket: 1, Limit: rapid.IntRange(1, 7).Draw(rt, "limit")}
			if key := some.Draw(rt, "prefix"); rapid.Bool().Draw(rt, "with prefix") {
				q.Prefix = key[:min(len(key), rapid.IntRange(0, 3).Draw(rt, "length"))]
			}
			if rapid.Bool().Draw(rt, "go on") {
				q.After = some.Draw(rt, "after")
			}
			switch rapid.IntRange(0, 3).Draw(rt, "kind") {
			case 0:
				if q.Versions = true; q.After != "" && len(all) > 0 && rapid.Bool().Draw(rt, "within a key") {
					o := all[rapid.IntRange(0, len(all)-1).Draw(rt, "row")]
					q.After, q.AfterVer = o.Key, o.Version
				}
			case 1:
				q.Delimiter = rapid.SampledFrom([]string{"/", "\x00", "\xff", "//", "b"}).Draw(rt, "delimiter")
			case 2:
				q.Delimiter = "/"
			}
			want := modelList(all, &q)
			if got := walk(tb, r, q); !reflect.DeepEqual(got, want) {
				rt.Fatalf("listing of %+v:\n%+v\nthe model says\n%+v", q, got, want)
			}
		}
	})
}

func TestListingRefusesWhatMakesNoSense(t *testing.T) {
	r := newRig(t)
	for _, q := range []ListQuery{{Limit: -1}, {Limit: holdall.MaxListPage + 1}, {Versions: true, Delimiter: "/"}, {AfterVer: 1, After: "k"}, {Versions: true, AfterVer: 1}} {
		if _, err := list(context.Background(), r.db, &q); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// bulk puts n keys of one version each into bucket 1.
func bulk(t testing.TB, r *rig, n int, key func(int) string, change func(*Object)) {
	t.Helper()
	batch := r.db.NewBatch()
	for i := range n {
		o := Object{Bucket: 1, Key: key(i), Version: holdall.Version(i + 1), Root: id(1), Committed: day.time()}
		change(&o)
		k := o.name()
		if err := batch.Set(appendObjectKey(nil, &k), appendObject(nil, &o), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.db.Apply(batch, pebble.NoSync); err != nil {
		t.Fatal(err)
	}
}

// A page's rows take a few MiB at most: it is short then, and says that there is
// more.
func TestListingPagesHaveBoundedBytes(t *testing.T) {
	r := newRig(t)
	bulk(t, r, 1000, func(i int) string { return fmt.Sprintf("k%04d", i) }, func(o *Object) { o.Attributes = make([]byte, MaxAttributes) })
	seen, pages := 0, 0
	for q := (ListQuery{Bucket: 1}); ; pages++ {
		p, err := list(t.Context(), r.db, &q)
		if err != nil {
			t.Fatal(err)
		}
		seen += len(p.Objects)
		if len(p.Objects)*MaxAttributes > maxListBytes {
			t.Fatalf("a page with %d of attributes", len(p.Objects)*MaxAttributes)
		}
		if q.After = p.Last; !p.More {
			break
		}
	}
	if seen != 1000 || pages == 0 {
		t.Errorf("%d keys in %d pages", seen, pages+1)
	}
}

// A page of common prefixes costs seeks, not the rows that they stand for.
func TestListingSkipsWhatAPrefixStandsFor(t *testing.T) {
	r := newRig(t)
	bulk(t, r, 100_000, func(i int) string { return fmt.Sprintf("d%d/%06d", i%10, i) }, func(*Object) {})
	q := ListQuery{Bucket: 1, Delimiter: "/"}
	lower, upper := tableBounds(prefixObject)
	it, err := r.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	it.SetBounds(lower, upper)
	l := &lister{q: &q, it: it}
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	steps := it.Stats().ForwardStepCount[0] + it.Stats().ForwardSeekCount[0]
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	if len(l.page.Prefixes) != 10 || steps > 30 {
		t.Errorf("%d prefixes in %d steps", len(l.page.Prefixes), steps)
	}
}
