package object_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
	"pgregory.net/rapid"
)

// How the model's objects are cut: every boundary is near.
const (
	modelInline  = 10
	modelBlock   = 64
	modelEntries = 3
)

// model is what objects promise, as maps.
type model struct {
	r    *rig
	keys map[string][]version // newest last
	ups  []*upload
}

// version is an object, or a marker.
type version struct {
	id     holdall.Version
	marker bool
	body   []byte
	tags   string
	typ    string
}

type upload struct {
	object.UploadPlace
	parts map[int]part
}

type part struct {
	metadata.Part
	body []byte
}

// TestObjectsAreWhatAMapWouldBe does random things to a few keys, and to a map.
func TestObjectsAreWhatAMapWouldBe(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(modelInline, modelBlock, modelEntries)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++ // keys of its own: the cell goes on
		m := &model{r: r, keys: map[string][]version{}}
		key := rapid.Map(rapid.SampledFrom([]string{"a", "a\x00", "b/c", "ü"}), func(k string) string { return fmt.Sprintf("%d/%s", round, k) })
		rt.Repeat(map[string]func(*rapid.T){
			"put":      func(rt *rapid.T) { m.put(rt, key.Draw(rt, "key")) },
			"read":     func(rt *rapid.T) { m.read(rt, key.Draw(rt, "key")) },
			"delete":   func(rt *rapid.T) { m.remove(rt, key.Draw(rt, "key")) },
			"undelete": func(rt *rapid.T) { m.undelete(rt, key.Draw(rt, "key")) },
			"copy":     func(rt *rapid.T) { m.copy(rt, key.Draw(rt, "from"), key.Draw(rt, "key")) },
			"tag":      func(rt *rapid.T) { m.tag(rt, key.Draw(rt, "key")) },
			"begin":    func(rt *rapid.T) { m.begin(rt, key.Draw(rt, "key")) },
			"part":     m.putPart,
			"copy part": func(rt *rapid.T) {
				m.copyPart(rt, key.Draw(rt, "from"))
			},
			"complete": m.complete,
			"abort":    m.abort,
			"wait":     m.wait,
			"list":     func(rt *rapid.T) { m.list(rt, fmt.Sprintf("%d/", round)) },
		})
		for k := range m.keys {
			m.check(rt, k)
		}
	})
	r.empty()
}

// empty deletes everything, and fails the test if any block is left of it after
// all retention.
func (r *rig) empty() {
	r.t.Helper()
	ctx := r.t.Context()
	for more := true; more; {
		page, err := r.List(ctx, ns, bucket, metadata.ListQuery{Limit: 100})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, o := range page.Objects {
			if _, err := r.Delete(ctx, object.DeleteRequest{Place: at(o.Key)}); err != nil {
				r.t.Fatal(err)
			}
		}
		more = len(page.Objects) > 0
	}
	for more := true; more; {
		page, err := r.Uploads(ctx, object.Place{Namespace: ns, Bucket: bucket}, "", holdall.PutID{}, 100)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, u := range page.Uploads {
			if err := r.Abort(ctx, object.UploadPlace{Place: at(u.Key), Upload: u.ID}); err != nil {
				r.t.Fatal(err)
			}
		}
		more = len(page.Uploads) > 0
	}
	for range 3 {
		r.cell.Advance(sim.Retention + 25*time.Hour)
		r.rounds()
	}
	if n := r.all(); n != 0 {
		r.t.Errorf("%d blocks are left of nothing", n)
	}
	if err := r.RemoveBucket(ctx, ns, bucket); err != nil {
		r.t.Error(err)
	}
}

func (m *model) newest(key string) *version {
	if list := m.keys[key]; len(list) > 0 {
		return &list[len(list)-1]
	}
	return nil
}

// current returns what a get must find, or the error that it must have.
func (m *model) current(key string) (*version, error) {
	switch v := m.newest(key); {
	case v == nil:
		return nil, object.ErrNoKey
	case v.marker:
		return nil, object.ErrMarked
	default:
		return v, nil
	}
}

func (m *model) add(rt *rapid.T, key string, o metadata.Object, v version) {
	if n := m.newest(key); n != nil && n.id >= o.Version {
		rt.Fatalf("version %d of %q comes after %d", o.Version, key, n.id)
	}
	if !v.marker && o.Size != int64(len(v.body)) {
		rt.Fatalf("%q: %d bytes, want %d", key, o.Size, len(v.body))
	}
	v.id = o.Version
	m.keys[key] = append(m.keys[key], v)
}

// body draws bytes of a length near a boundary. Some blocks are alike.
func (m *model) body(rt *rapid.T) []byte {
	near := rapid.SampledFrom([]int{0, modelInline, modelBlock, 2 * modelBlock, 3 * modelBlock, 9 * modelBlock, 30 * modelBlock}).Draw(rt, "near")
	n := max(0, near+rapid.IntRange(-2, 2).Draw(rt, "off by"))
	if rapid.Bool().Draw(rt, "alike") {
		return bytes.Repeat([]byte{7}, n)
	}
	return m.r.bytes(n)
}

func (m *model) put(rt *rapid.T, key string) {
	b := m.body(rt)
	v := version{body: b, typ: rapid.SampledFrom([]string{"", "text/plain"}).Draw(rt, "type")}
	req := object.PutRequest{Place: at(key), Body: bytes.NewReader(b), Size: int64(len(b)), Attributes: manifest.Attributes{ContentType: v.typ}}
	if rapid.Bool().Draw(rt, "of unknown size") {
		req.Size = -1
	}
	if rapid.Bool().Draw(rt, "in dribs") {
		req.Body = iotest.OneByteReader(req.Body)
	}
	now, err := m.current(key)
	var kind error
	switch rapid.IntRange(0, 5).Draw(rt, "condition") {
	case 0:
		if req.If.Absent = true; err == nil {
			kind = holdall.ErrCondition
		}
	case 1:
		if req.If.Present = true; err != nil {
			kind = holdall.ErrCondition
		}
	case 2:
		if now != nil {
			req.If.Version = now.id
		}
	}
	o, err := m.r.Put(rt.Context(), req)
	if kind != nil {
		m.want(rt, "put", err, kind)
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	m.add(rt, key, o, v)
}

func (m *model) want(rt *rapid.T, what string, err, kind error) {
	rt.Helper()
	want(m.r.t, what, err, kind)
	if m.r.t.Failed() {
		rt.Fatalf("%s: %v, want %v", what, err, kind)
	}
}

func (m *model) read(rt *rapid.T, key string) {
	list := m.keys[key]
	v, kind := m.current(key)
	var o object.GetOptions
	if len(list) > 0 && rapid.Bool().Draw(rt, "an old one") {
		v, kind = &list[rapid.IntRange(0, len(list)-1).Draw(rt, "version")], nil
		if o.Version = v.id; v.marker {
			kind = object.ErrMarked
		}
	}
	if kind != nil {
		_, _, err := m.r.get(rt.Context(), key, o)
		m.want(rt, "get", err, kind)
		return
	}
	n := int64(len(v.body))
	o.Range = object.Range{Offset: rapid.Int64Range(-n-1, n+1).Draw(rt, "offset"), Length: rapid.Int64Range(0, n+1).Draw(rt, "length")}
	lo, hi, ok := cutOut(n, o.Range)
	got, _, err := m.r.get(rt.Context(), key, o)
	if !ok {
		m.want(rt, "range", err, object.ErrRange)
		return
	}
	if err != nil || !bytes.Equal(got, v.body[lo:hi]) {
		rt.Fatalf("%q, %+v of %d bytes: %d bytes, %v", key, o, n, len(got), err)
	}
}

// check reads all versions of a key, whole.
func (m *model) check(rt *rapid.T, key string) {
	for _, v := range m.keys[key] {
		if v.marker {
			continue
		}
		got, rd, err := m.r.get(rt.Context(), key, object.GetOptions{Version: v.id})
		if err != nil || !bytes.Equal(got, v.body) || rd.Attributes.ContentType != v.typ {
			rt.Fatalf("%q, version %d: %d bytes, want %d, type %q, %v", key, v.id, len(got), len(v.body), v.typ, err)
		}
	}
}

func (m *model) remove(rt *rapid.T, key string) {
	_, kind := m.current(key)
	o, err := m.r.Delete(rt.Context(), object.DeleteRequest{Place: at(key)})
	if err != nil {
		rt.Fatal(err)
	}
	if kind == nil {
		m.add(rt, key, o, version{marker: true})
	} else if o.Version != 0 {
		rt.Fatalf("delete of nothing: %+v", o)
	}
}

func (m *model) undelete(rt *rapid.T, key string) {
	list := m.keys[key]
	o, err := m.r.Undelete(rt.Context(), at(key))
	switch n := len(list); {
	case n == 0:
		m.want(rt, "undelete", err, object.ErrNoKey)
	case !list[n-1].marker:
		m.want(rt, "undelete", err, holdall.ErrExists)
	case err != nil || o.Version != list[n-2].id:
		rt.Fatalf("undelete: %+v, %v, want version %d", o, err, list[n-2].id)
	default:
		m.keys[key] = list[:n-1]
	}
}

func (m *model) copy(rt *rapid.T, from, to string) {
	v, kind := m.current(from)
	o, err := m.r.Copy(rt.Context(), object.CopyRequest{Place: at(to), From: at(from)})
	if kind != nil {
		m.want(rt, "copy", err, kind)
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	m.add(rt, to, o, version{body: v.body, tags: v.tags, typ: v.typ})
}

func (m *model) tag(rt *rapid.T, key string) {
	v, kind := m.current(key)
	text := rapid.StringMatching(`[a-z]{0,3}`).Draw(rt, "tag")
	var tags []manifest.Tag
	if text != "" {
		tags = []manifest.Tag{{Key: "t", Value: text}}
	}
	_, err := m.r.SetTags(rt.Context(), at(key), 0, tags)
	if kind != nil {
		m.want(rt, "set tags", err, kind)
		return
	}
	v.tags = text
	got, _, err := m.r.Tags(rt.Context(), at(key), 0)
	if err != nil || !slices.Equal(got, tags) {
		rt.Fatalf("tags %v, %v, want %v", got, err, tags)
	}
}

func (m *model) begin(rt *rapid.T, key string) {
	u, err := m.r.CreateUpload(rt.Context(), object.UploadRequest{UploadPlace: object.UploadPlace{Place: at(key)}})
	if err != nil {
		rt.Fatal(err)
	}
	m.ups = append(m.ups, &upload{object.UploadPlace{Place: at(key), Upload: u.ID}, map[int]part{}})
}

func (m *model) anUpload(rt *rapid.T) *upload {
	if len(m.ups) == 0 {
		rt.Skip("no upload is open")
	}
	return m.ups[rapid.IntRange(0, len(m.ups)-1).Draw(rt, "upload")]
}

func (m *model) putPart(rt *rapid.T) {
	u, n, b := m.anUpload(rt), rapid.IntRange(1, 9).Draw(rt, "number"), m.body(rt)
	p, err := m.r.PutPart(rt.Context(), object.PartRequest{UploadPlace: u.UploadPlace, Number: n, Body: bytes.NewReader(b), Size: int64(len(b))})
	if err != nil {
		rt.Fatal(err)
	}
	u.parts[n] = part{p, b}
}

func (m *model) copyPart(rt *rapid.T, from string) {
	u, n := m.anUpload(rt), rapid.IntRange(1, 9).Draw(rt, "number")
	v, kind := m.current(from)
	req := object.CopyPartRequest{UploadPlace: u.UploadPlace, Number: n, From: at(from)}
	lo, hi := int64(0), int64(0)
	if kind == nil {
		size := int64(len(v.body))
		req.Range = object.Range{Offset: rapid.Int64Range(0, size).Draw(rt, "offset"), Length: rapid.Int64Range(0, size).Draw(rt, "length")}
		ok := false
		if lo, hi, ok = cutOut(size, req.Range); !ok {
			kind = object.ErrRange
		}
	}
	p, err := m.r.CopyPart(rt.Context(), req)
	if kind != nil {
		m.want(rt, "copy part", err, kind)
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	u.parts[n] = part{p, v.body[lo:hi]}
}

func (m *model) complete(rt *rapid.T) {
	u := m.anUpload(rt)
	var list []object.CompletedPart
	var whole []byte
	for n := 1; n <= 9; n++ {
		if p, ok := u.parts[n]; ok && rapid.IntRange(0, 3).Draw(rt, "leave out") > 0 {
			list = append(list, object.CompletedPart{Number: n, ETag: p.ETag})
			whole = append(whole, p.body...)
		}
	}
	o, err := m.r.Complete(rt.Context(), object.CompleteRequest{UploadPlace: u.UploadPlace, Parts: list})
	if len(list) == 0 {
		m.want(rt, "complete", err, object.ErrInvalidPart)
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	m.add(rt, u.Key, o, version{body: whole})
	m.end(u)
}

func (m *model) abort(rt *rapid.T) {
	u := m.anUpload(rt)
	if err := m.r.Abort(rt.Context(), u.UploadPlace); err != nil {
		rt.Fatal(err)
	}
	m.end(u)
}

func (m *model) end(u *upload) {
	m.ups = slices.DeleteFunc(m.ups, func(o *upload) bool { return o == u })
}

// wait lets retention end: what is current stays, with all that it shares with what
// goes, and so do uploads.
func (m *model) wait(rt *rapid.T) {
	if rapid.IntRange(0, 3).Draw(rt, "rarely") > 0 {
		rt.Skip("not now")
	}
	m.r.cell.Advance(sim.Retention + 25*time.Hour)
	m.r.rounds()
	for k, list := range m.keys {
		if last := list[len(list)-1]; last.marker {
			delete(m.keys, k)
		} else {
			m.keys[k] = []version{last}
		}
		if _, err := m.r.Head(rt.Context(), at(k), list[0].id); len(list) > 1 && !errors.Is(err, object.ErrNoVersion) {
			rt.Fatalf("%q, version %d, is there after its retention: %v", k, list[0].id, err)
		}
	}
	for k := range m.keys {
		m.check(rt, k)
	}
}

func (m *model) list(rt *rapid.T, prefix string) {
	var want []string
	for k := range m.keys {
		if _, err := m.current(k); err == nil {
			want = append(want, k)
		}
	}
	slices.Sort(want)
	var got []string
	q := metadata.ListQuery{Prefix: prefix, Limit: 2}
	for more := true; more; {
		page, err := m.r.List(rt.Context(), ns, bucket, q)
		if err != nil {
			rt.Fatal(err)
		}
		for _, o := range page.Objects {
			got = append(got, o.Key)
		}
		more, q.After = page.More, page.Last
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("listing %q, want %q", strings.Join(got, " "), strings.Join(want, " "))
	}
}
