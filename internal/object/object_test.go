package object_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
)

// Objects of the sizes around which something changes, as they are cut in
// production, whole and in ranges.
func TestObjectsOfEverySizeAreReadBack(t *testing.T) {
	r := newRig(t, large(), nil)
	const block = holdall.MaxBlockSize
	for _, n := range []int{0, 1, holdall.MaxInline - 1, holdall.MaxInline, holdall.MaxInline + 1, block - 1, block, block + 1, 2 * block, 5*block + 7} {
		b := r.bytes(n)
		o := r.put("k", b)
		if o.Size != int64(n) || o.ETag == "" || o.Modified.IsZero() || o.Version == 0 {
			t.Errorf("%d bytes: row %+v", n, o)
		}
		r.same("k", b)
		for _, rg := range []object.Range{{0, 1}, {-1, 0}, {-10, 5}, {int64(n / 2), 0}, {block - 1, 2}, {block, block}, {int64(n) - 1, 100}, {1, 300 << 10}} {
			lo, hi, ok := cutOut(int64(n), rg)
			got, rd, err := r.get(t.Context(), "k", object.GetOptions{Range: rg})
			if !ok {
				want(t, "range outside", err, object.ErrRange)
				continue
			}
			if err != nil || !bytes.Equal(got, b[lo:hi]) || rd.Offset != lo || rd.Length != hi-lo {
				t.Fatalf("%+v of %d bytes: %d bytes, %v", rg, n, len(got), err)
			}
		}
	}
}

// cutOut says which bytes of an object of n a range is.
func cutOut(n int64, rg object.Range) (lo, hi int64, ok bool) {
	if rg == (object.Range{}) {
		return 0, n, true
	}
	lo = rg.Offset
	if lo < 0 {
		lo = max(0, n+lo)
	}
	if lo >= n || rg.Length < 0 {
		return 0, 0, false
	}
	hi = n
	if rg.Length > 0 {
		hi = min(n, lo+rg.Length)
	}
	return lo, hi, true
}

// A manifest of many levels, as an object of hundreds of terabytes would have.
func TestManifestOfManyLevelsIsReadBackAfterARestart(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 100, 3)
	b := r.bytes(100*200 + 7)
	o := r.put("deep", b)
	r.same("deep", b)
	height := 0
	for ids := []holdall.BlockID{o.Root}; len(ids) > 0; height++ {
		next, err := r.Children(t.Context(), ns, ids[0])
		if errors.Is(err, holdall.ErrCorrupt) {
			break // bytes
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = next
	}
	if height < 5 {
		t.Errorf("the manifest has %d levels", height)
	}
	r.restart()
	r.same("deep", b)
	for range 50 {
		lo := r.rnd.Int64N(int64(len(b)))
		n := r.rnd.Int64N(int64(len(b))-lo) + 1
		if got, _, err := r.get(t.Context(), "deep", object.GetOptions{Range: object.Range{Offset: lo, Length: n}}); err != nil || !bytes.Equal(got, b[lo:lo+n]) {
			t.Fatalf("%d+%d: %d bytes, %v", lo, n, len(got), err)
		}
	}
	// What is committed needs nobody to hold it: pending ends, and nothing goes.
	r.cell.Advance(48 * time.Hour)
	r.same("deep", b)
}

func TestBlocksOfAnObjectAreHeldByItsManifestOnly(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 100, 3)
	b := r.bytes(100)
	o := r.put("one", append(bytes.Clone(b), b...)) // the same block twice
	id := holdall.HashBlock(b)
	rows := r.rows(o.Root, id)
	if rows[0].Direct || rows[0].References != 1 || rows[1].Direct || rows[1].References != 2 {
		t.Errorf("rows of the root and of the block: %+v", rows)
	}
	r.put("two", append(bytes.Clone(b), 1))
	if row := r.rows(id)[0]; row.References != 3 {
		t.Errorf("row of the block of two objects: %+v", row)
	}
}

func TestAttributesAndTagsAreKept(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	a := manifest.Attributes{ContentType: "image/png", User: []manifest.Field{{Name: "a", Value: "1"}}}
	tags := []manifest.Tag{{Key: "k", Value: "v"}}
	modified := time.UnixMilli(1_600_000_000_005).UTC()
	_, err := r.Put(t.Context(), object.PutRequest{Place: at("k"), Body: bytes.NewReader([]byte("abc")), Size: 3, Attributes: a, Tags: tags, ETag: "e", Modified: modified,
		Origin: metadata.OriginBackfill})
	if err != nil {
		t.Fatal(err)
	}
	rd, err := r.Open(t.Context(), at("k"), object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rd.Close()
	if o := rd.Object; rd.Attributes.ContentType != "image/png" || len(rd.Attributes.User) != 1 || o.ETag != "e" || !o.Modified.Equal(modified) || o.Origin != metadata.OriginBackfill {
		t.Errorf("%+v, %+v", rd.Object, rd.Attributes)
	}
	if got, _, err := r.Tags(t.Context(), at("k"), 0); err != nil || len(got) != 1 || got[0] != tags[0] {
		t.Errorf("tags %v, %v", got, err)
	}
	if _, err := r.SetTags(t.Context(), at("k"), 0, nil); err != nil {
		t.Error(err)
	}
	if got, _, err := r.Tags(t.Context(), at("k"), 0); err != nil || len(got) != 0 {
		t.Errorf("tags %v, %v", got, err)
	}
	many := make([]manifest.Tag, holdall.MaxTags+1)
	_, err = r.SetTags(t.Context(), at("k"), 0, many)
	want(t, "too many tags", err, holdall.ErrInvalid)
	_, err = r.SetTags(t.Context(), at("none"), 0, tags)
	want(t, "tags of nothing", err, object.ErrNoKey)
}

func TestWhatIsNotThereHasItsOwnError(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	ctx := t.Context()
	_, err := r.Head(ctx, at("k"), 0)
	want(t, "no key", err, object.ErrNoKey)
	nowhere := object.Place{Namespace: ns, Bucket: "nowhere", Key: "k"}
	_, err = r.Head(ctx, nowhere, 0)
	want(t, "no bucket", err, object.ErrNoBucket)
	_, err = r.Put(ctx, object.PutRequest{Place: nowhere, Body: bytes.NewReader(nil)})
	want(t, "put without a bucket", err, object.ErrNoBucket)
	_, err = r.List(ctx, ns, "nowhere", metadata.ListQuery{Limit: 1})
	want(t, "list without a bucket", err, object.ErrNoBucket)
	_, err = r.Undelete(ctx, at("k"))
	want(t, "undelete of nothing", err, object.ErrNoKey)
	o := r.put("k", []byte("abc"))
	_, err = r.Head(ctx, at("k"), o.Version+1)
	want(t, "no version", err, object.ErrNoVersion)
	_, err = r.Undelete(ctx, at("k"))
	want(t, "undelete of what is there", err, holdall.ErrExists)
	want(t, "remove a full bucket", r.RemoveBucket(ctx, ns, bucket), object.ErrNotEmpty)
	if _, err := r.Delete(ctx, object.DeleteRequest{Place: at("k")}); err != nil {
		t.Fatal(err)
	}
	marker, err := r.Head(ctx, at("k"), 0)
	want(t, "deleted", err, object.ErrMarked)
	if !marker.Marker {
		t.Errorf("row %+v", marker)
	}
	if b, _, err := r.get(ctx, "k", object.GetOptions{Version: o.Version}); err != nil || string(b) != "abc" {
		t.Errorf("the version below: %q, %v", b, err)
	}
	if _, err := r.Undelete(ctx, at("k")); err != nil {
		t.Error(err)
	}
	r.same("k", []byte("abc"))
	if none, err := r.Delete(ctx, object.DeleteRequest{Place: at("other")}); err != nil || none.Version != 0 {
		t.Errorf("delete of nothing: %+v, %v", none, err)
	}
	if _, err := r.Put(ctx, object.PutRequest{Place: at(""), Body: bytes.NewReader(nil)}); !errors.Is(err, holdall.ErrInvalid) {
		t.Error(err)
	}
}

func TestBodyThatFailsLeavesNothingVisible(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 1000, 4)
	old := []byte("what was there")
	r.put("k", old)
	broken := errors.New("the client hung up")
	finish := errors.New("the checksum is another one")
	b := r.bytes(20_500)
	for name, c := range map[string]struct {
		body   io.Reader
		size   int64
		finish func(object.Finished) (object.Finished, error)
		kind   error
	}{
		"short":               {bytes.NewReader(b), int64(len(b)) + 1, nil, object.ErrShortBody},
		"short and small":     {bytes.NewReader(b[:5]), 6, nil, object.ErrShortBody},
		"long":                {bytes.NewReader(b), int64(len(b)) - 1, nil, object.ErrLongBody},
		"long and empty":      {bytes.NewReader(b[:1]), 0, nil, object.ErrLongBody},
		"an error":            {io.MultiReader(bytes.NewReader(b), iotest.ErrReader(broken)), -1, nil, broken},
		"an error at once":    {iotest.ErrReader(broken), 100, nil, broken},
		"an error at the end": {io.MultiReader(bytes.NewReader(b), iotest.ErrReader(broken)), int64(len(b)), nil, broken},
		"nothing for ever":    {nothing{}, -1, nil, io.ErrNoProgress},
		"a wrong checksum":    {bytes.NewReader(b), -1, func(f object.Finished) (object.Finished, error) { return f, finish }, finish},
		"too large":           {bytes.NewReader(b), holdall.MaxObjectSize + 1, nil, object.ErrTooLarge},
	} {
		_, err := r.Put(t.Context(), object.PutRequest{Place: at("k"), Body: c.body, Size: c.size, Finish: c.finish})
		want(t, name, err, c.kind)
	}
	r.same("k", old)
	// What was put for nothing goes by itself.
	id := holdall.HashBlock(b[:1000])
	if row := r.rows(id)[0]; !row.Live() || row.Direct || row.PendingUntil.IsZero() {
		t.Errorf("row of a block that no object has: %+v", row)
	}
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

func TestFinishGivesWhatIsKnownAtTheEnd(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 1000, 4)
	for _, n := range []int{0, 5, 5000} {
		b := r.bytes(n)
		h := holdall.NewHasher()
		o, err := r.Put(t.Context(), object.PutRequest{Place: at("k"), Body: io.TeeReader(bytes.NewReader(b), h), Size: -1, Finish: func(f object.Finished) (object.Finished, error) {
			if f.Size != int64(n) {
				t.Errorf("size %d, want %d", f.Size, n)
			}
			id := h.ID()
			f.ETag = hex.EncodeToString(id[:])
			f.Attributes.Checksums = []manifest.Checksum{{Algorithm: "SHA256", Kind: manifest.FullObject, Value: id[:]}}
			return f, nil
		}})
		if id := holdall.HashBlock(b); err != nil || o.ETag != hex.EncodeToString(id[:]) {
			t.Errorf("%d bytes: %+v, %v", n, o, err)
		}
	}
}

// A context that ends in the middle of a body ends the put, and what is on its way
// has come back when it returns.
func TestContextEndsAPut(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 1000, 4)
	ctx, cancel := context.WithCancel(t.Context())
	body := io.MultiReader(bytes.NewReader(r.bytes(10_000)), call(cancel), bytes.NewReader(r.bytes(10_000)))
	_, err := r.Put(ctx, object.PutRequest{Place: at("k"), Body: body, Size: -1})
	want(t, "put", err, holdall.ErrUnavailable)
	_, err = r.Head(t.Context(), at("k"), 0)
	want(t, "after it", err, object.ErrNoKey)
}

// call is a reader that has no bytes, and calls something.
type call func()

func (c call) Read([]byte) (int, error) {
	c()
	return 0, io.EOF
}

func TestRepeatedPutChangesNothing(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 1000, 4)
	id := holdall.PutID{1}
	put := func(b []byte) metadata.Object {
		o, err := r.Put(t.Context(), object.PutRequest{Place: at("k"), Put: id, Body: bytes.NewReader(b), Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	first := put(r.bytes(5000))
	if again := put(r.bytes(3000)); again.Version != first.Version || again.Size != 5000 {
		t.Errorf("again: %+v", again)
	}
	over := []byte("another client's")
	r.put("k", over)
	if late := put(r.bytes(3000)); late.Version != first.Version {
		t.Errorf("after an overwrite: %+v", late)
	}
	r.same("k", over)
}

func TestConditionsOfAPut(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	ctx := t.Context()
	put := func(c metadata.Condition, body io.Reader) (metadata.Object, error) {
		return r.Put(ctx, object.PutRequest{Place: at("k"), Body: body, Size: -1, If: c})
	}
	// What cannot hold is refused before the body is read.
	never := iotest.ErrReader(errors.New("the body was read"))
	for _, c := range []metadata.Condition{{Present: true}, {ETag: "e"}, {Version: 1}} {
		_, err := put(c, never)
		want(t, "nothing is there", err, holdall.ErrCondition)
	}
	first, err := put(metadata.Condition{Absent: true}, bytes.NewReader([]byte("abc")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = put(metadata.Condition{Absent: true}, never)
	want(t, "it is there", err, holdall.ErrCondition)
	_, err = put(metadata.Condition{Backfill: true}, never)
	want(t, "a client wrote it", err, holdall.ErrCondition)
	if _, err := put(metadata.Condition{ETag: first.ETag, Version: first.Version}, bytes.NewReader([]byte("def"))); err != nil {
		t.Fatal(err)
	}
	// It ceases to hold while the body comes.
	body := io.MultiReader(bytes.NewReader([]byte("x")), call(func() { r.put("k", []byte("faster")) }), bytes.NewReader([]byte("y")))
	now, err := r.Head(ctx, at("k"), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = put(metadata.Condition{Version: now.Version}, body)
	want(t, "another was faster", err, holdall.ErrCondition)
	r.same("k", []byte("faster"))
}

// Two puts of one key at the same time: one of them is current in the end, whole.
func TestPutsOfOneKeyAtOnce(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 1000, 4)
	bodies := make([][]byte, 8)
	for i := range bodies {
		bodies[i] = r.bytes(3000 + i)
	}
	var wg sync.WaitGroup
	for _, b := range bodies {
		wg.Go(func() {
			if _, err := r.Put(t.Context(), object.PutRequest{Place: at("k"), Body: bytes.NewReader(b), Size: int64(len(b))}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	o, err := r.Head(t.Context(), at("k"), 0)
	if err != nil {
		t.Fatal(err)
	}
	r.same("k", bodies[o.Size-3000])
	page, err := r.List(t.Context(), ns, bucket, metadata.ListQuery{Limit: 100, Versions: true})
	if err != nil || len(page.Objects) != len(bodies) {
		t.Errorf("%d versions, %v", len(page.Objects), err)
	}
}
