package object_test

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
)

func (r *rig) begin(key string) object.UploadPlace {
	r.t.Helper()
	u, err := r.CreateUpload(r.t.Context(), object.UploadRequest{UploadPlace: object.UploadPlace{Place: at(key)}})
	if err != nil {
		r.t.Fatal(err)
	}
	return object.UploadPlace{Place: at(key), Upload: u.ID}
}

func (r *rig) part(u object.UploadPlace, number int, b []byte) metadata.Part {
	r.t.Helper()
	p, err := r.PutPart(r.t.Context(), object.PartRequest{UploadPlace: u, Number: number, Body: bytes.NewReader(b), Size: int64(len(b))})
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *rig) complete(u object.UploadPlace, parts ...metadata.Part) metadata.Object {
	r.t.Helper()
	o, err := r.Complete(r.t.Context(), object.CompleteRequest{UploadPlace: u, Parts: named(parts)})
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

func named(parts []metadata.Part) (list []object.CompletedPart) {
	for _, p := range parts {
		list = append(list, object.CompletedPart{Number: p.Number, ETag: p.ETag})
	}
	return list
}

func TestUploadOfManyPartsSurvivesARestart(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 100, 3)
	u, err := r.CreateUpload(t.Context(), object.UploadRequest{UploadPlace: object.UploadPlace{Place: at("big"), Upload: holdall.PutID{7}},
		Attributes: manifest.Attributes{ContentType: "video/mp4"}, Tags: []manifest.Tag{{Key: "a", Value: "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	place := object.UploadPlace{Place: at("big"), Upload: u.ID}
	var whole []byte
	var parts []metadata.Part
	for i := range 12 {
		b := r.bytes([]int{100, 1, 1000, 99, 301, 0}[i%6]) // one block, few bytes, many levels, … none
		r.part(place, 3*i+1, r.bytes(50))                  // which the next one replaces
		parts = append(parts, r.part(place, 3*i+1, b))
		whole = append(whole, b...)
		r.part(place, 3*i+2, r.bytes(10)) // which nobody names
	}
	r.restart()
	page, err := r.Parts(t.Context(), place, 4, 3)
	if err != nil || !page.More || len(page.Parts) != 3 || page.Parts[0].Number != 5 || page.Upload.ID != u.ID {
		t.Errorf("page %+v, %v", page, err)
	}
	var seen []metadata.Part
	o, err := r.Complete(t.Context(), object.CompleteRequest{UploadPlace: place, Parts: named(parts), Finish: func(p []metadata.Part, f object.Finished) (object.Finished, error) {
		seen = p
		f.ETag = "combined"
		return f, nil
	}})
	if err != nil || o.ETag != "combined" || o.Size != int64(len(whole)) || len(seen) != len(parts) {
		t.Fatalf("%+v, %v", o, err)
	}
	r.same("big", whole)
	a, err := manifest.ParseAttributes(o.Attributes)
	if off, size, ok := a.Part(3); err != nil || a.ContentType != "video/mp4" || a.Parts != 12 || off != 101 || size != 1000 || !ok {
		t.Errorf("attributes %+v, part 3 at %d+%d, %v", a, off, size, err)
	}
	if tags, _, err := r.Tags(t.Context(), at("big"), 0); err != nil || len(tags) != 1 {
		t.Errorf("tags %v, %v", tags, err)
	}
	// Again: the same answer. And the upload has ended.
	if again, err := r.Complete(t.Context(), object.CompleteRequest{UploadPlace: place, Parts: named(parts)}); err != nil || again.Version != o.Version {
		t.Errorf("again: %+v, %v", again, err)
	}
	_, err = r.PutPart(t.Context(), object.PartRequest{UploadPlace: place, Number: 1, Body: bytes.NewReader(nil)})
	want(t, "a part of what has ended", err, object.ErrNoUpload)
	want(t, "abort of what was completed", r.Abort(t.Context(), place), object.ErrNoUpload)
	r.same("big", whole)
}

func TestPartsThatDoNotFitAreRefused(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	u := r.begin("k")
	one, two, three := r.part(u, 1, r.bytes(10)), r.part(u, 2, r.bytes(10)), r.part(u, 3, r.bytes(9))
	for name, c := range map[string]struct {
		parts []object.CompletedPart
		min   int64
		kind  error
	}{
		"none":           {nil, 0, object.ErrInvalidPart},
		"out of order":   {named([]metadata.Part{two, one}), 0, object.ErrPartOrder},
		"twice":          {named([]metadata.Part{one, one}), 0, object.ErrPartOrder},
		"unknown":        {[]object.CompletedPart{{Number: 1}, {Number: 9}}, 0, object.ErrInvalidPart},
		"number 0":       {[]object.CompletedPart{{Number: 0}}, 0, object.ErrInvalidPart},
		"another ETag":   {[]object.CompletedPart{{Number: 1, ETag: two.ETag}}, 0, object.ErrInvalidPart},
		"small":          {named([]metadata.Part{one, two}), 11, object.ErrPartTooSmall},
		"small, not one": {named([]metadata.Part{three, {Number: 4}}), 10, object.ErrInvalidPart},
	} {
		_, err := r.Complete(t.Context(), object.CompleteRequest{UploadPlace: u, Parts: c.parts, MinPart: c.min})
		want(t, name, err, c.kind)
	}
	for _, n := range []int{0, -1, holdall.MaxParts + 1} {
		_, err := r.PutPart(t.Context(), object.PartRequest{UploadPlace: u, Number: n, Body: bytes.NewReader(nil)})
		want(t, "a number out of range", err, holdall.ErrInvalid)
	}
	_, err := r.Complete(t.Context(), object.CompleteRequest{UploadPlace: u, Parts: named([]metadata.Part{one}), If: metadata.Condition{Present: true}})
	want(t, "a condition", err, holdall.ErrCondition)
	_, err = r.Complete(t.Context(), object.CompleteRequest{UploadPlace: object.UploadPlace{Place: at("other"), Upload: u.Upload}, Parts: named([]metadata.Part{one})})
	want(t, "of another key", err, object.ErrNoUpload)
	// None of this ended it. The last part may be small.
	if _, err := r.Complete(t.Context(), object.CompleteRequest{UploadPlace: u, Parts: named([]metadata.Part{one, three}), MinPart: 10}); err != nil {
		t.Error(err)
	}
}

func TestAbortLetsGoOfParts(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	u := r.begin("k")
	b := r.bytes(1000)
	r.part(u, 1, b)
	page, err := r.Uploads(t.Context(), object.Place{Namespace: ns, Bucket: bucket, Key: "k"}, "", holdall.PutID{}, 10)
	if err != nil || len(page.Uploads) != 1 || page.More {
		t.Fatalf("%+v, %v", page, err)
	}
	want(t, "remove a bucket with an upload", r.RemoveBucket(t.Context(), ns, bucket), object.ErrNotEmpty)
	for range 2 {
		if err := r.Abort(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	_, err = r.Complete(t.Context(), object.CompleteRequest{UploadPlace: u, Parts: []object.CompletedPart{{Number: 1}}})
	want(t, "complete", err, object.ErrNoUpload)
	_, err = r.Parts(t.Context(), u, 0, 10)
	want(t, "parts", err, object.ErrNoUpload)
	want(t, "abort of none", r.Abort(t.Context(), object.UploadPlace{Place: at("k")}), object.ErrNoUpload)
	page, err = r.Uploads(t.Context(), object.Place{Namespace: ns, Bucket: bucket}, "", holdall.PutID{}, 10)
	if err != nil || len(page.Uploads) != 0 {
		t.Fatalf("%+v, %v", page, err)
	}
	if err := r.RemoveBucket(t.Context(), ns, bucket); err != nil {
		t.Error(err)
	}
}

// A copy moves no bytes, and stands on its own when the original goes.
func TestCopySharesBlocks(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 100, 3)
	ctx := t.Context()
	for _, n := range []int{0, 10, 5000} {
		b := r.bytes(n)
		o, err := r.Put(ctx, object.PutRequest{Place: at("from"), Body: bytes.NewReader(b), Size: int64(n), Attributes: manifest.Attributes{ContentType: "a/b"},
			Tags: []manifest.Tag{{Key: "k", Value: "v"}}})
		if err != nil {
			t.Fatal(err)
		}
		before := r.blocks()
		copied, err := r.Copy(ctx, object.CopyRequest{Place: at("to"), From: at("from")})
		if err != nil || copied.ETag != o.ETag || copied.Size != o.Size || !bytes.Equal(copied.Attributes, o.Attributes) || !bytes.Equal(copied.Tags, o.Tags) {
			t.Fatalf("%+v, %v", copied, err)
		}
		if now := r.blocks(); now != before+1 {
			t.Errorf("%d bytes: the copy made %d blocks, want its root only", n, now-before)
		}
		if _, err := r.Delete(ctx, object.DeleteRequest{Place: at("from")}); err != nil {
			t.Fatal(err)
		}
		r.same("to", b)
		// Another type, no tags, an older version, onto itself.
		replaced, err := r.Copy(ctx, object.CopyRequest{Place: at("from"), From: at("from"), Version: o.Version, Attributes: &manifest.Attributes{ContentType: "c/d"},
			Tags: new([]manifest.Tag), ETag: "e"})
		if err != nil || replaced.ETag != "e" || len(replaced.Tags) != 0 {
			t.Fatalf("%+v, %v", replaced, err)
		}
		r.same("from", b)
	}
	_, err := r.Copy(ctx, object.CopyRequest{Place: at("to"), From: at("none")})
	want(t, "copy of nothing", err, object.ErrNoKey)
	_, err = r.Copy(ctx, object.CopyRequest{Place: at("to"), From: object.Place{Namespace: ns + 1, Bucket: bucket, Key: "k"}})
	want(t, "copy between namespaces", err, holdall.ErrInvalid)
	_, err = r.Copy(ctx, object.CopyRequest{Place: at("to"), From: at("from"), Check: func(metadata.Object) error { return holdall.ErrCondition }})
	want(t, "copy of what the caller refuses", err, holdall.ErrCondition)
}

// blocks returns how many live blocks the namespace has.
func (r *rig) blocks() int64 {
	r.t.Helper()
	n, err := r.cell.Store.NamespaceByID(ns)
	if err != nil {
		r.t.Fatal(err)
	}
	return n.Blocks
}

func TestCopiedPartsShareWhatLiesInThemWhole(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 100, 3)
	b := r.bytes(3000)
	r.put("from", b)
	small := r.bytes(10)
	r.put("small", small)
	u := r.begin("to")
	var parts []metadata.Part
	var whole []byte
	before := r.blocks()
	for i, c := range []struct {
		from string
		rg   object.Range
		of   []byte
	}{
		{"from", object.Range{}, b},
		{"from", object.Range{Offset: 150, Length: 1000}, b[150:1150]},
		{"from", object.Range{Offset: 310, Length: 50}, b[310:360]},
		{"from", object.Range{Offset: 900, Length: 300}, b[900:1200]},
		{"from", object.Range{Offset: -1}, b[2999:]},
		{"small", object.Range{Offset: 2, Length: 5}, small[2:7]},
	} {
		p, err := r.CopyPart(t.Context(), object.CopyPartRequest{UploadPlace: u, Number: i + 1, From: at(c.from), Range: c.rg})
		if err != nil || p.Size != int64(len(c.of)) {
			t.Fatalf("part %d: %+v, %v", i+1, p, err)
		}
		parts = append(parts, p)
		whole = append(whole, c.of...)
	}
	// Bytes that were put again: two ends, one middle, one end, the small one's. The
	// rest are nodes.
	if made := r.blocks() - before; made > 5+25 {
		t.Errorf("%d blocks were made", made)
	}
	if _, err := r.Delete(t.Context(), object.DeleteRequest{Place: at("from")}); err != nil {
		t.Fatal(err)
	}
	r.complete(u, parts...)
	r.same("to", whole)
	_, err := r.CopyPart(t.Context(), object.CopyPartRequest{UploadPlace: u, Number: 1, From: at("to")})
	want(t, "part of what has ended", err, object.ErrNoUpload)
	u = r.begin("to")
	_, err = r.CopyPart(t.Context(), object.CopyPartRequest{UploadPlace: u, Number: 1, From: at("to"), Range: object.Range{Offset: int64(len(whole))}})
	want(t, "range outside", err, object.ErrRange)
}

// Copies of copies of copies do not make a manifest higher and higher.
func TestManifestStaysLowHoweverOftenItIsCopied(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 100, 3)
	b := r.bytes(2000)
	r.put("k", b)
	for range 12 {
		u := r.begin("k")
		var parts []metadata.Part
		for i, rg := range []object.Range{{Offset: 0, Length: 700}, {Offset: 700}} {
			p, err := r.CopyPart(t.Context(), object.CopyPartRequest{UploadPlace: u, Number: i + 1, From: at("k"), Range: rg})
			if err != nil {
				t.Fatal(err)
			}
			if p.Attributes[0] > 4 {
				t.Fatalf("a part of height %d", p.Attributes[0])
			}
			parts = append(parts, p)
		}
		r.complete(u, parts...)
	}
	r.same("k", b)
}

func TestListingOfBucketsAndKeys(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	keys := []string{"a", "b/1", "b/2", "c", "\x00", "\xff/x"}
	for _, k := range keys {
		r.put(k, []byte(k))
	}
	page, err := r.List(t.Context(), ns, bucket, metadata.ListQuery{Limit: 10, Delimiter: "/"})
	if err != nil || len(page.Objects) != 3 || !slices.Equal(page.Prefixes, []string{"b/", "\xff/"}) {
		t.Errorf("%+v, %v", page, err)
	}
	if _, err := r.CreateBucket(t.Context(), ns, "another"); err != nil {
		t.Fatal(err)
	}
	_, err = r.CreateBucket(t.Context(), ns, "another")
	want(t, "a second bucket of one name", err, holdall.ErrExists)
	_, err = r.CreateBucket(t.Context(), ns, "X")
	want(t, "a name that no bucket has", err, holdall.ErrInvalid)
	list, err := r.ListBuckets(t.Context(), ns, "", 10)
	if err != nil || len(list) != 2 || list[0].Name != "another" {
		t.Errorf("%+v, %v", list, err)
	}
	if b, err := r.Bucket(t.Context(), ns, bucket); err != nil || b.Objects != int64(len(keys)) {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestPartBodyThatFailsLeavesThePartAsItWas(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	u := r.begin("k")
	b := r.bytes(100)
	p := r.part(u, 1, b)
	_, err := r.PutPart(t.Context(), object.PartRequest{UploadPlace: u, Number: 1, Body: bytes.NewReader(b), Size: 101})
	want(t, "short", err, object.ErrShortBody)
	_, err = r.PutPart(t.Context(), object.PartRequest{UploadPlace: u, Number: 1, Body: bytes.NewReader(b), Size: -1, Finish: func(f object.Finished) (object.Finished, error) { return f, io.ErrUnexpectedEOF }})
	want(t, "not what it should be", err, io.ErrUnexpectedEOF)
	r.complete(u, p)
	r.same("k", b)
}
