package door

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/s3fault"
)

var dual = []metadata.MigrationState{metadata.StateMirror, metadata.StateFlipped}

func TestWhatASourceSaysIsShownBeforeAndAfterTheFlip(t *testing.T) {
	r := newRig(t, options{})
	r.to(metadata.StateMirror)
	attributes := manifest.Attributes{ContentType: "text/x", CacheControl: "no-store", ContentEncoding: "gzip", User: []manifest.Field{{Name: "colour", Value: "red"}}}
	tags := []manifest.Tag{{Key: "a b", Value: "c"}}
	if _, err := r.Put(t.Context(), object.PutRequest{Place: at("k"), Body: strings.NewReader("hello"), Size: 5, Attributes: attributes, Tags: tags}); err != nil {
		t.Fatal(err)
	}
	r.quiet()
	show := func() string {
		o, err := r.Head(t.Context(), at("k"), 0)
		if err != nil {
			t.Fatal(err)
		}
		a, err := manifest.ParseAttributes(o.Attributes)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintln(o.ETag, o.Size, o.Modified.Unix(), a.ContentType, a.CacheControl, a.ContentEncoding, a.User, o.Tags)
	}
	before := show()
	r.to(metadata.StateFlipped)
	if after := show(); after != before {
		t.Errorf("before the flip %s after it %s", before, after)
	}
}

func TestConditionsAreJudgedByTheSideThatDecides(t *testing.T) {
	for _, state := range append([]metadata.MigrationState{metadata.StateAssess}, dual...) {
		t.Run(state.String(), func(t *testing.T) {
			r := newRig(t, options{})
			r.to(state)
			put := func(content string, cond metadata.Condition) (metadata.Object, error) {
				return r.Put(t.Context(), object.PutRequest{Place: at("k"), Body: strings.NewReader(content), Size: int64(len(content)), If: cond})
			}
			first, err := put("one", metadata.Condition{Absent: true})
			if err != nil {
				t.Fatal(err)
			}
			for what, cond := range map[string]metadata.Condition{"absent": {Absent: true}, "another": {ETag: "0123"}} {
				if _, err := put("two", cond); !errors.Is(err, holdall.ErrCondition) {
					t.Errorf("%s: %v", what, err)
				}
			}
			second, err := put("two", metadata.Condition{ETag: first.ETag})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := put("three", metadata.Condition{Present: true}); err != nil {
				t.Error(err)
			}
			if _, err := r.Delete(t.Context(), object.DeleteRequest{Place: at("k"), If: metadata.Condition{ETag: second.ETag}}); !errors.Is(err, holdall.ErrCondition) {
				t.Errorf("delete of another: %v", err)
			}
			r.reads("k", "three")
		})
	}
}

func TestTagsAndCopiesReachBothSides(t *testing.T) {
	for _, state := range dual {
		t.Run(state.String(), func(t *testing.T) {
			r := newRig(t, options{})
			r.to(state)
			big := strings.Repeat("0123456789abcdef", 10_000)
			r.mustWrite("a", big)
			tags := []manifest.Tag{{Key: "x", Value: "y"}}
			if _, err := r.SetTags(t.Context(), at("a"), 0, tags); err != nil {
				t.Fatal(err)
			}
			if _, err := r.SetTags(t.Context(), at("none"), 0, tags); !errors.Is(err, object.ErrNoKey) {
				t.Errorf("tags of nothing: %v", err)
			}
			if _, err := r.Copy(t.Context(), object.CopyRequest{Place: at("b"), From: at("a")}); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Copy(t.Context(), object.CopyRequest{Place: at("a"), From: at("a"), Attributes: &manifest.Attributes{ContentType: "text/y"}}); err != nil {
				t.Fatal(err)
			}
			r.both("a", big)
			r.both("b", big)
			for _, key := range []string{"a", "b"} {
				got, _, err := r.Tags(t.Context(), at(key), 0)
				in, _ := r.direct.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: &r.remote, Key: &key})
				if err != nil || len(got) != 1 || got[0] != tags[0] || in == nil || len(in.TagSet) != 1 {
					t.Errorf("tags of %s: %v, %v; at the source %+v", key, got, err, in)
				}
				if side := r.missed(key); side != metadata.SideNone {
					t.Errorf("the %v missed %q", side, key)
				}
			}
			if _, err := r.Undelete(t.Context(), at("a")); !errors.Is(err, holdall.ErrRefused) {
				t.Errorf("undelete: %v", err)
			}
		})
	}
}

func TestUploadsStraddleSteps(t *testing.T) {
	r := newRig(t, options{})
	parts := []string{strings.Repeat("a", 5<<20), "tail"}
	begin := func(key string) object.UploadPlace {
		u, err := r.CreateUpload(t.Context(), object.UploadRequest{UploadPlace: object.UploadPlace{Place: at(key)}, Attributes: manifest.Attributes{ContentType: "text/x"}})
		if err != nil {
			t.Fatal(err)
		}
		return object.UploadPlace{Place: at(key), Upload: u.ID}
	}
	part := func(at object.UploadPlace, n int) {
		if _, err := r.PutPart(t.Context(), object.PartRequest{UploadPlace: at, Number: n, Body: strings.NewReader(parts[n-1]), Size: int64(len(parts[n-1]))}); err != nil {
			t.Fatal(err)
		}
	}
	complete := func(at object.UploadPlace) {
		t.Helper()
		o, err := r.Complete(t.Context(), object.CompleteRequest{UploadPlace: at, Parts: []object.CompletedPart{{Number: 1}, {Number: 2}}, MinPart: 5 << 20})
		if err != nil {
			t.Fatalf("complete %q: %v", at.Key, err)
		}
		if a, err := manifest.ParseAttributes(o.Attributes); err != nil || a.SourceVersion != "" || a.ContentType != "text/x" || o.Size != int64(len(parts[0])+4) {
			t.Errorf("complete %q: %+v, %d bytes, %v", at.Key, a, o.Size, err)
		}
	}
	want := parts[0] + parts[1]
	var open []object.UploadPlace
	states := []metadata.MigrationState{metadata.StateAssess, metadata.StateMirror, metadata.StateShadow, metadata.StateFlipped, metadata.StateCutOver}
	for _, state := range states {
		r.to(state)
		for i, u := range open { // begun a state before
			part(u, 2)
			complete(u)
			r.reads(u.Key, want)
			if state == metadata.StateCutOver {
				if r.missed(u.Key) != metadata.SideSource {
					t.Errorf("%v, upload %d: nobody knows that the source missed it", state, i)
				}
				continue
			}
			r.both(u.Key, want)
		}
		own := begin("own-" + state.String())
		part(own, 1)
		part(own, 2)
		complete(own)
		r.reads(own.Key, want)
		next := begin("next-" + state.String())
		part(next, 1)
		open = []object.UploadPlace{next}
		gone := begin("gone")
		part(gone, 1)
		if err := r.Abort(t.Context(), gone); err != nil {
			t.Errorf("abort: %v", err)
		}
	}
	r.quiet()
	u := open[0] // begun in cut-over
	for _, back := range open {
		if err := r.Abort(t.Context(), back); err != nil {
			t.Errorf("abort of %v: %v", u.Upload, err)
		}
	}
	left, err := r.direct.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &r.remote})
	if err != nil || len(left.Uploads) > 1 {
		t.Errorf("%d uploads are open at the source: %v", len(left.Uploads), err)
	}
}

func TestAnUploadIsCompletedOnceWhoeverLosesTheAnswer(t *testing.T) {
	for _, state := range dual {
		t.Run(state.String(), func(t *testing.T) {
			r := newRig(t, options{})
			r.to(state)
			u, err := r.CreateUpload(t.Context(), object.UploadRequest{UploadPlace: object.UploadPlace{Place: at("k")}})
			if err != nil {
				t.Fatal(err)
			}
			place := object.UploadPlace{Place: at("k"), Upload: u.ID}
			if _, err := r.PutPart(t.Context(), object.PartRequest{UploadPlace: place, Number: 1, Body: strings.NewReader("one"), Size: 3}); err != nil {
				t.Fatal(err)
			}
			r.proxy.SetPlan(s3fault.Plan{Rules: []s3fault.Rule{{Kind: s3fault.ResetLost, Rate: 1, Most: 1, Methods: []string{"POST"}}}})
			for range 2 { // the second is a repeat
				if _, err := r.Complete(t.Context(), object.CompleteRequest{UploadPlace: place, Parts: []object.CompletedPart{{Number: 1}}}); err != nil {
					t.Error(err)
				}
			}
			r.both("k", "one")
		})
	}
}

func TestListingsAreOfTheSideThatIsRead(t *testing.T) {
	r := newRig(t, options{})
	keys := []string{"a", "b/1", "b/2", "c", "d/x/1", "e"}
	for _, k := range keys {
		r.mustWrite(k, k) // in assess: the cell never hears of them
	}
	r.to(metadata.StateMirror)
	r.mustWrite("c", "c2")
	r.mustWrite("zz", "new")
	if err := r.remove("e"); err != nil {
		t.Fatal(err)
	}
	want := "[a b/1 b/2 c d/x/1 zz] []"
	rolled := "[a c zz] [b/ d/]"
	for _, state := range []metadata.MigrationState{metadata.StateMirror, metadata.StateShadow, metadata.StateFlipped} {
		r.to(state)
		for limit := 1; limit < 8; limit++ {
			if got := r.list(metadata.ListQuery{Limit: limit}); got != want {
				t.Errorf("%v, %d a page: %s, want %s", state, limit, got, want)
			}
			if got := r.list(metadata.ListQuery{Limit: limit, Delimiter: "/"}); got != rolled {
				t.Errorf("%v, %d a page, rolled up: %s, want %s", state, limit, got, rolled)
			}
		}
		if got := r.list(metadata.ListQuery{Prefix: "b/", After: "b/1"}); got != "[b/2] []" {
			t.Errorf("%v: below b/: %s", state, got)
		}
	}
	r.to(metadata.StateCutOver)
	if got := r.list(metadata.ListQuery{}); got != "[c zz] []" {
		t.Errorf("in cut-over: %s", got)
	}
}

// list returns all pages of a listing.
func (r *rig) list(q metadata.ListQuery) string {
	r.t.Helper()
	var keys, prefixes []string
	for range 100 {
		p, err := r.List(r.t.Context(), ns, name, q)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, o := range p.Objects {
			keys = append(keys, o.Key)
		}
		prefixes = append(prefixes, p.Prefixes...)
		if !p.More {
			return fmt.Sprint(keys, " ", prefixes)
		}
		q.After = p.Last
	}
	r.t.Fatal("a listing does not end")
	return ""
}

func TestShadowFindsWhatDiffers(t *testing.T) {
	r := newRig(t, options{})
	r.to(metadata.StateMirror)
	big := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	r.mustWrite("same", "x")
	r.mustWrite("big", string(big))
	r.mustWrite("differs", "x")
	r.quiet()
	r.to(metadata.StateShadow)
	r.reads("same", "x")
	r.reads("big", string(big))
	rd, err := r.Open(t.Context(), at("big"), object.GetOptions{Range: object.Range{Offset: 100, Length: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(rd); err != nil || !bytes.Equal(b, big[100:1100]) {
		t.Errorf("%d bytes: %v", len(b), err)
	}
	rd.Close()
	r.await(func() bool { return r.metric("holdall_migration_shadow_reads_total", "same") == 3 })
	key, body := "differs", strings.NewReader("y")
	if _, err := r.direct.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &r.remote, Key: &key, Body: body}); err != nil {
		t.Fatal(err)
	}
	r.reads("differs", "y")
	r.await(func() bool { return r.metric("holdall_migration_shadow_reads_total", "mismatch") == 1 })
	if m, err := r.cell.Store.MigrationStatus(r.bucket); err != nil || m.Evidence.Mismatches != 1 || r.missed("differs") != metadata.SideCell {
		t.Errorf("%+v: %v", m.Evidence, err)
	}
}

// metric is the value of a counter with a label.
func (r *rig) metric(name, label string) float64 {
	r.t.Helper()
	all, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == label {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}

func (r *rig) await(done func() bool) {
	r.t.Helper()
	for !done() {
		if err := pause(r.t.Context(), 5*time.Millisecond); err != nil {
			r.t.Fatal(err)
		}
	}
}
