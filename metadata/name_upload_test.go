package metadata

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/holdall/holdall"
)

func (d *nameDriver) anyUpload() holdall.PutID {
	all := slices.SortedFunc(maps.Keys(d.m.uploads), func(a, b holdall.PutID) int { return slices.Compare(a[:], b[:]) })
	if len(all) == 0 || !d.often("known upload") {
		return putID(99)
	}
	return all[d.pick("upload", len(all))]
}

func (d *nameDriver) upload() {
	u := Upload{ID: putID(50 + d.pick("upload", 8)), Bucket: d.anyBucket(), Key: d.key()}
	want, old := d.m.named(u.Bucket), d.m.uploads[u.ID]
	switch {
	case want != nil:
	case old == nil:
		old = &modelUpload{Upload{ID: u.ID, Bucket: u.Bucket, Namespace: 1, Key: u.Key, State: UploadOpen, Created: d.m.now.time()}, map[int]Part{}}
		d.m.uploads[u.ID] = old
	case old.Bucket != u.Bucket || old.Key != u.Key:
		want = holdall.ErrExists
	}
	var a uploadAnswer
	if d.send(&createUpload{u}, &a, want); want == nil {
		d.same("upload", a.Upload, old.Upload)
	}
}

func (d *nameDriver) part() {
	c := &putPart{d.anyUpload(), Part{Number: 1 + d.pick("part", 4), Block: id(d.pick("block", 10)), Size: 1000, ETag: "p", Modified: d.m.now.time()}}
	c.Part.Node = c.Part.Block == id(6) || c.Part.Block == id(7)
	u := d.m.uploads[c.Upload]
	var gone []holdall.BlockID
	want := d.m.overQuota()
	switch {
	case u == nil || u.State != UploadOpen:
		want = ErrNoUpload
	case want != nil:
	case !d.m.live(c.Part.Block) || c.Part.Node && !d.m.blocks[c.Part.Block].node:
		gone = append(gone, c.Part.Block)
	default:
		old, replaced := u.parts[c.Part.Number]
		u.parts[c.Part.Number] = c.Part
		d.m.touch(false, c.Part.Block)
		if replaced {
			d.m.touch(true, old.Block)
		}
	}
	var a goneAnswer
	d.send(c, &a, want)
	d.same("gone", a.IDs, gone)
}

func (d *nameDriver) abort() {
	if d.often("no abort") && d.often("really") {
		return
	}
	k := d.anyUpload()
	u := d.m.uploads[k]
	var want error
	switch {
	case u == nil || u.State == UploadCompleted:
		want = ErrNoUpload
	case u.State == UploadOpen:
		u.State, u.Ended = UploadAborted, d.m.now.time()
	}
	d.send(&abortUpload{k}, noResult{}, want)
}

func (d *nameDriver) release() {
	k, limit := d.anyUpload(), 1+d.pick("limit", 4)
	u := d.m.uploads[k]
	var want error
	left := 0
	switch {
	case u == nil:
		want = ErrNoUpload
	case u.State == UploadOpen:
		want = holdall.ErrRefused
	default:
		for i, n := range slices.Sorted(maps.Keys(u.parts)) {
			if i >= limit {
				left++
				continue
			}
			old := u.parts[n]
			delete(u.parts, n)
			d.m.touch(true, old.Block)
		}
		if u.Released = u.Released || left == 0; u.Released && (u.State == UploadAborted || !u.Ended.Add(24*time.Hour).After(d.m.now.time())) {
			delete(d.m.uploads, k)
		}
	}
	var a numberResult
	d.send(&releaseUpload{k, limit}, &a, want)
	d.same("left", int(a.N), left)
}

// purge has versions purged: all there are, in the order of the trash, or some.
func (d *nameDriver) purge() {
	var c purgeObjects
	var want PurgeResult
	some := !d.often("all")
	for _, o := range d.m.versions() {
		if some && d.often("not this") {
			continue
		}
		c.Keys = append(c.Keys, o.name())
		if !d.m.objectDue(o) {
			want.Waiting++
			continue
		}
		want.Purged++
		d.m.drop(o)
	}
	var a purgeAnswer
	d.send(&c, &a, nil)
	d.same("purge", a.PurgeResult, want)
	d.did["purged versions"] += int(want.Purged)
}

// purgeBlocks has blocks purged, and the nodes among them released.
func (d *nameDriver) purgeBlocks() {
	var c purgeBlocks
	var want PurgeResult
	for n := range 16 {
		if !d.often("this") {
			continue
		}
		k := BlockKey{1, id(n)}
		c.Keys = append(c.Keys, k)
		switch {
		case !d.m.due(k.ID):
			want.Waiting++
		case d.m.blocks[k.ID].node:
			want.Nodes = append(want.Nodes, k)
		default:
			want.Purged++
			delete(d.m.blocks, k.ID)
		}
	}
	var a purgeAnswer
	d.send(&c, &a, nil)
	d.same("purge", a.PurgeResult, want)
	d.did["purged blocks"] += int(want.Purged)
	for _, k := range a.Nodes {
		d.releaseNode(k.ID)
	}
	d.releaseNode(id(6 + d.pick("node", 7)))
}

func (d *nameDriver) releaseNode(k holdall.BlockID) {
	children := modelChildren(modelNumber(k))
	due := d.m.due(k) && d.m.blocks[k].node
	if wrong := id(15); due && !d.often("right children") && d.m.references(wrong) == 0 {
		d.send(&releaseNode{1, k, append(children, wrong)}, new(purgeAnswer), holdall.ErrCorrupt)
		return
	}
	want := PurgeResult{Waiting: 1}
	if due {
		want = PurgeResult{Purged: 1}
		delete(d.m.blocks, k)
		d.m.touch(true, children...)
		d.did["released nodes"]++
	}
	var a purgeAnswer
	d.send(&releaseNode{1, k, children}, &a, nil)
	d.same("release", a.PurgeResult, want)
}

func (d *nameDriver) pass() {
	d.m.now = d.m.now.after([]time.Duration{time.Millisecond, time.Hour, 25 * time.Hour, DefaultRetention}[d.pick("time", 4)])
}

func (d *nameDriver) space() {
	d.m.retention = []time.Duration{0, time.Hour, DefaultRetention}[d.pick("retention", 3)]
	d.m.quota = []int64{0, 1 << 40, 9000}[d.pick("quota", 3)]
	d.send(&setNamespace{1, d.m.retention, d.m.quota}, noResult{}, nil)
}

// compare checks the whole state against the model.
func (d *nameDriver) compare() {
	d.compareBlocks()
	var all []Object
	for o, err := range objects(d.r.db) {
		if err != nil {
			d.rt.Fatal(err)
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b Object) int { return cmp.Compare(a.Version, b.Version) })
	versions := d.m.versions()
	d.same("number of versions", len(all), len(versions))
	for i, o := range versions {
		d.same("version", all[i], *o)
	}
	n := 0
	for b, err := range buckets(d.r.db) {
		if err != nil {
			d.rt.Fatal(err)
		}
		if n++; d.m.buckets[b.ID] == nil {
			d.rt.Fatalf("bucket %+v, which the model does not have", b)
		}
		d.same("bucket", b, d.m.counted(b.ID))
	}
	d.same("buckets", n, len(d.m.buckets))
	held := map[holdall.PutID]map[int]Part{}
	for p, err := range parts(d.r.db) {
		if err != nil {
			d.rt.Fatal(err)
		}
		if held[p.Upload] == nil {
			held[p.Upload] = map[int]Part{}
		}
		held[p.Upload][p.Number] = p.Part
	}
	n = 0
	for u, err := range uploads(d.r.db) {
		if n++; err != nil || d.m.uploads[u.ID] == nil {
			d.rt.Fatalf("upload %+v, which the model does not have, or %v", u, err)
		}
		d.same("upload", u, d.m.uploads[u.ID].Upload)
		d.same("number of parts", len(held[u.ID]), len(d.m.uploads[u.ID].parts))
		for number, p := range held[u.ID] {
			d.same("part", p, d.m.uploads[u.ID].parts[number])
		}
	}
	d.same("uploads", n, len(d.m.uploads))
}

// compareBlocks also sees to it that whatever is referred to is there, and that
// nothing that is referred to waits to be purged.
func (d *nameDriver) compareBlocks() {
	n := 0
	for b, err := range blocks(d.r.db) {
		if err != nil {
			d.rt.Fatal(err)
		}
		w := d.m.blocks[b.ID]
		if n++; w == nil {
			d.rt.Fatalf("row %+v, which the model does not have", b)
		}
		refs := d.m.references(b.ID)
		b.Location = holdall.Location{}
		d.same("row", b, Block{Namespace: 1, ID: b.ID, Direct: w.direct, References: refs, PendingUntil: w.pending.time(), TrashedAt: w.trash.time(), Node: w.node, Found: true})
		if refs > 0 && waitsSince(&b) != 0 {
			d.rt.Fatalf("row %+v is referred to, and waits to be purged", b)
		}
	}
	d.same("rows", n, len(d.m.blocks))
	for i := range 16 {
		if d.m.blocks[id(i)] == nil && d.m.references(id(i)) > 0 {
			d.rt.Fatalf("block %d is referred to, and gone", i)
		}
	}
}
