package metadata

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"pgregory.net/rapid"
)

// A nameReplay is what the change journal and the manifests on disks say of
// names: all that a rebuild has.
type nameReplay struct {
	rt      *rapid.T
	roots   map[holdall.Version]ObjectCommit // what the root of a version says
	buckets map[holdall.BucketID]Bucket
	objects map[ObjectKey][]Object // by key, Version 0; newest first
	nodes   map[holdall.BlockID]bool
	uploads map[holdall.PutID]*Upload
	parts   map[holdall.PutID]map[int]Part
}

func (r *nameReplay) node(id holdall.BlockID) {
	if len(modelChildren(modelNumber(id))) > 0 {
		r.nodes[id] = true
	}
}

// push makes o the newest of its key.
func (r *nameReplay) push(o Object, at time.Time) {
	k := ObjectKey{Bucket: o.Bucket, Key: o.Key}
	list := r.objects[k]
	if len(list) > 0 && o.Marker && list[0].Marker {
		list = list[1:]
	} else if len(list) > 0 {
		list[0].TrashedAt = at
	}
	o.Committed = at
	r.objects[k] = append([]Object{o}, list...)
}

// find returns a version and where it is.
func (r *nameReplay) find(c *Change) (ObjectKey, int) {
	k := ObjectKey{Bucket: c.Bucket, Key: c.Key}
	at := slices.IndexFunc(r.objects[k], func(o Object) bool { return o.Version == c.Version })
	if at < 0 {
		r.rt.Fatalf("change %+v names a version that is not there", c)
	}
	return k, at
}

func (r *nameReplay) apply(c *Change) {
	switch c.Kind {
	case ChangeBucket:
		b := r.buckets[c.Bucket]
		if b.ID == 0 {
			b = Bucket{ID: c.Bucket, Namespace: c.Namespace, Name: c.Name, Created: c.Time}
		}
		b.KeepsMarkers = c.Number == 1
		r.buckets[c.Bucket] = b
	case ChangeBucketGone:
		b := r.buckets[c.Bucket]
		b.Removed = c.Time
		r.buckets[c.Bucket] = b
	case ChangeNode:
		r.node(c.ID)
	case ChangeNodeGone:
		delete(r.nodes, c.ID)
	case ChangeObject:
		r.node(c.ID)
		o := r.roots[c.Version]
		r.push(Object{Bucket: c.Bucket, Key: o.Key, Version: c.Version, Put: o.Put, Origin: o.Origin, Root: c.ID, Size: o.Size, Modified: o.Modified, ETag: o.ETag, Tags: o.Tags}, c.Time)
		if u := r.uploads[c.Put]; u != nil {
			u.State, u.Ended, u.Result = UploadCompleted, c.Time, c.Version
		}
	case ChangeMarker:
		r.push(Object{Bucket: c.Bucket, Key: c.Key, Version: c.Version, Put: c.Put, Origin: Origin(c.Number), Marker: true}, c.Time)
	case ChangeUnmark:
		k, at := r.find(c)
		r.objects[k] = slices.Delete(r.objects[k], at, at+1)
		r.objects[k][0].TrashedAt = time.Time{}
	case ChangeObjectGone:
		k, at := r.find(c)
		r.objects[k] = slices.Delete(r.objects[k], at, at+1)
	case ChangeTags:
		k, at := r.find(c)
		r.objects[k][at].Tags = c.Data
	default:
		r.upload(c)
	}
}

func (r *nameReplay) upload(c *Change) {
	switch c.Kind {
	case ChangeUpload:
		u := Upload{ID: c.Put}
		if err := decodeRow(nil, c.Data, func(d *decoder) { d.upload(&u) }); err != nil {
			r.rt.Fatal(err)
		}
		r.uploads[u.ID], r.parts[u.ID] = &u, map[int]Part{}
	case ChangePart:
		p := Part{Number: int(c.Number)}
		if err := decodeRow(nil, c.Data, func(d *decoder) { d.part(&p) }); err != nil {
			r.rt.Fatal(err)
		}
		r.parts[c.Put][p.Number] = p
	case ChangeAbort:
		u := r.uploads[c.Put]
		u.State, u.Ended = UploadAborted, c.Time
	case ChangePartsGone:
		for n := range r.parts[c.Put] {
			if n <= int(c.Number) {
				delete(r.parts[c.Put], n)
			}
		}
	case ChangeUploadGone:
		delete(r.uploads, c.Put)
	}
}

// references counts what the replayed rows say of a block.
func (r *nameReplay) references() map[holdall.BlockID]uint32 {
	n := map[holdall.BlockID]uint32{}
	for node := range r.nodes {
		for _, c := range modelChildren(modelNumber(node)) {
			n[c]++
		}
	}
	for _, list := range r.objects {
		for _, o := range list {
			if !o.Marker {
				n[o.Root]++
			}
		}
	}
	for _, parts := range r.parts {
		for _, p := range parts {
			n[p.Block]++
		}
	}
	return n
}

// TestJournalAndManifestsSayWhatThereIs makes names anew from the change journal
// and from what manifests say, and compares them with the state, the references
// that follow from them with those of the rows: a rebuild from disks can know all
// that holds a block.
func TestJournalAndManifestsSayWhatThereIs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tb := drawn{t, rt}
		d := newNameDriver(rt, newCell(tb, 3))
		r := &nameReplay{rt: rt, roots: map[holdall.Version]ObjectCommit{}, buckets: map[holdall.BucketID]Bucket{}, objects: map[ObjectKey][]Object{},
			nodes: map[holdall.BlockID]bool{}, uploads: map[holdall.PutID]*Upload{}, parts: map[holdall.PutID]map[int]Part{}}
		for range 150 {
			d.step()
			for _, o := range d.m.versions() {
				r.roots[o.Version] = ObjectCommit{Key: o.Key, Put: o.Put, Origin: o.Origin, Size: o.Size, Modified: o.Modified, ETag: o.ETag}
			}
		}
		for _, c := range d.r.changes() {
			r.apply(&c)
		}
		var all []Object
		for _, list := range r.objects {
			all = append(all, list...)
		}
		slices.SortFunc(all, func(a, b Object) int { return cmp.Compare(a.Version, b.Version) })
		versions := d.m.versions()
		d.same("number of versions", len(all), len(versions))
		for i := range all {
			d.same("version", all[i], *versions[i])
		}
		for id, b := range d.m.buckets {
			d.same("bucket", r.buckets[id], *b)
		}
		d.same("uploads", len(r.uploads), len(d.m.uploads))
		for id, u := range d.m.uploads {
			want := u.Upload
			want.Released = false // it says that there are no parts
			d.same("upload", *r.uploads[id], want)
		}
		refs := r.references()
		for b, err := range blocks(d.r.db) {
			if err != nil {
				rt.Fatal(err)
			}
			d.same("references and node of a block", []any{b.References, b.Node}, []any{refs[b.ID], r.nodes[b.ID]})
		}
	})
}
