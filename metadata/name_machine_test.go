package metadata

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"pgregory.net/rapid"
)

// TestNamesAgreeWithTheirModel applies random commands on buckets, objects,
// uploads and blocks to the state machine and to a model, and compares every
// answer and, after every step, the whole state: each block's references among it.
func TestNamesAgreeWithTheirModel(t *testing.T) {
	did := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		tb := drawn{t, rt}
		d := newNameDriver(rt, newCell(tb, 3))
		for range 150 {
			d.step()
			d.compare()
		}
		audit(tb, d.r.db)
		for what, n := range d.did {
			did[what] += n
		}
	})
	for _, what := range slices.Sorted(maps.Keys(did)) {
		t.Logf("%6d %s", did[what], what)
	}
}

// nameDriver draws commands and sends them to both.
type nameDriver struct {
	rt  *rapid.T
	r   *rig
	m   *nameModel
	v   Volume
	ops map[string]func()
	did map[string]int
}

func newNameDriver(rt *rapid.T, r *rig) *nameDriver {
	d := &nameDriver{rt: rt, r: r, m: newNameModel(r.now), v: r.volume(), did: map[string]int{}}
	d.ops = map[string]func(){
		"put": d.put, "hold": d.hold, "node": d.node, "bucket": d.bucket, "commit": d.commit, "delete": d.remove, "undelete": d.undelete, "tags": d.tags,
		"upload": d.upload, "part": d.part, "abort": d.abort, "release": d.release, "purge": d.purge, "purge blocks": d.purgeBlocks, "pass": d.pass, "space": d.space,
	}
	r.ok(&setBreaker{1e6, 1 << 40}, noResult{})
	d.r.ok(&createBucket{1, "aaa"}, new(bucketAnswer))
	d.made("aaa")
	return d
}

// nameShares lists every operation as often as it should come.
var nameShares = []string{"put", "put", "put", "hold", "node", "bucket", "commit", "commit", "commit", "commit", "delete", "delete", "undelete", "tags",
	"upload", "part", "part", "abort", "release", "purge", "purge", "purge blocks", "purge blocks", "pass", "pass", "space"}

func (d *nameDriver) step() { d.ops[rapid.SampledFrom(nameShares).Draw(d.rt, "op")]() }

func (d *nameDriver) pick(what string, n int) int { return rapid.IntRange(0, n-1).Draw(d.rt, what) }
func (d *nameDriver) often(what string) bool      { return d.pick(what, 6) != 0 }

// send applies c, and checks that it was refused with the kind of want or, want
// being nil, was not.
func (d *nameDriver) send(c command, into result, want error) {
	d.r.now = d.m.now
	if err := d.r.do(c, into); !errors.Is(err, want) || (err != nil) != (want != nil) {
		d.rt.Fatalf("%T %+v: got %v, the model says %v", c, c, err, want)
	}
	d.did[fmt.Sprintf("%T %v", c, want)]++
}

func (d *nameDriver) same(what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		d.rt.Fatalf("%s:\n%+v, the model says\n%+v", what, got, want)
	}
}

// sameObject compares an answer; nil is the zero Object.
func (d *nameDriver) sameObject(what string, got Object, want *Object) {
	if want == nil {
		want = new(Object)
	}
	d.same(what, got, *want)
}

func (d *nameDriver) put() {
	var ids []holdall.BlockID
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 15), 1, 10, rapid.ID[int]).Draw(d.rt, "blocks") {
		ids = append(ids, id(n))
	}
	c := stripe(&d.v, ids...)
	for i := range c.Blocks {
		c.Blocks[i].Pending = d.often("pending")
		b := d.m.blocks[ids[i]]
		if b == nil {
			b = new(modelBlock)
			d.m.blocks[ids[i]] = b
		}
		if c.Blocks[i].Pending {
			b.pending = max(b.pending, d.m.now.after(24*time.Hour))
		} else {
			b.direct = true
		}
		d.m.touch(false, ids[i])
	}
	d.send(c, new(commitAnswer), nil)
	d.v = d.r.readVolume(d.v.ID)
}

func (d *nameDriver) hold() {
	verb := []commandTag{tagClaimPending, tagClaimPending, tagClaim, tagDelete, tagDelete, tagDelete, tagUndelete}[d.pick("verb", 7)]
	k := id(d.pick("block", 16))
	var gone []holdall.BlockID
	if b := d.m.blocks[k]; b == nil {
		gone = append(gone, k)
	} else {
		was := b.direct
		switch verb {
		case tagClaimPending:
			b.pending = max(b.pending, d.m.now.after(24*time.Hour))
		case tagDelete:
			b.direct = false
		default:
			b.direct = true
		}
		if verb == tagClaimPending || was != b.direct {
			d.m.touch(false, k)
		}
	}
	var a idsResult
	d.send(&changeBlocks{verb, 1, []holdall.BlockID{k}}, &a, nil)
	d.same("gone", a.IDs, gone)
}

func (d *nameDriver) node() {
	n := 6 + d.pick("node", 4)
	want := d.m.overQuota()
	var gone []holdall.BlockID
	if want == nil {
		gone = d.m.link(id(n))
	}
	var a goneAnswer
	d.send(&commitNode{1, id(n), modelChildren(n), modelNodes(n)}, &a, want)
	d.same("gone", a.IDs, gone)
}

func (d *nameDriver) name() string { return []string{"aaa", "bbb", "ccc"}[d.pick("name", 3)] }

func (d *nameDriver) made(name string) Bucket {
	b := Bucket{Namespace: 1, Name: name, Created: d.m.now.time()}
	b.ID = holdall.BucketID(d.m.number(&d.m.made.bucket))
	d.m.buckets[b.ID], d.m.objects[b.ID] = &b, map[string][]*Object{}
	return b
}

func (d *nameDriver) bucket() {
	name := d.name()
	old := d.m.byName(name)
	switch d.pick("what", 3) {
	case 0:
		if old != nil {
			d.send(&createBucket{1, name}, new(bucketAnswer), holdall.ErrExists)
			return
		}
		var a bucketAnswer
		d.send(&createBucket{1, name}, &a, nil)
		d.same("bucket", a.Bucket, d.made(name))
	case 1:
		id := d.anyBucket()
		keeps, want := d.often("keeps") == d.often("markers"), d.m.named(id)
		if d.send(&setBucket{id, keeps}, noResult{}, want); want == nil {
			d.m.buckets[id].KeepsMarkers = keeps
		}
	case 2:
		var want error
		if old == nil {
			want = ErrNoBucket
		} else if b := d.m.counted(old.ID); b.Objects+b.Uploads > 0 {
			want = holdall.ErrRefused
		}
		if d.send(&removeBucket{1, name}, noResult{}, want); want == nil {
			old.Removed = d.m.now.time()
			d.m.settleBucket(old.ID)
		}
	}
}

func (d *nameDriver) anyBucket() holdall.BucketID {
	all := slices.Sorted(maps.Keys(d.m.buckets))
	if len(all) == 0 || !d.often("known bucket") {
		return 1<<44 | 999
	}
	return all[d.pick("bucket", len(all))]
}

func (d *nameDriver) key() string { return []string{"k", "k/\x00", "\xff"}[d.pick("key", 3)] }

func (d *nameDriver) condition(b holdall.BucketID, key string) (c Condition) {
	switch 11 - d.pick("condition", 12) { // small numbers are drawn more often
	case 0:
		c.Absent = true
	case 1:
		c.Present = true
	case 2:
		c.ETag = []string{"e0", "e1"}[d.pick("etag", 2)]
	case 3:
		c.Backfill = true
	case 4:
		c.Version = 1<<44 | 1
		if list := d.m.rows(b, key); len(list) > 0 && d.often("right version") {
			c.Version = list[0].Version
		}
	}
	return c
}

func (d *nameDriver) origin() Origin { return Origin(1 - min(1, d.pick("origin", 4))) }

func (d *nameDriver) commit() {
	n := 10 + d.pick("root", 6)
	c := ObjectCommit{Bucket: d.anyBucket(), Key: d.key(), Put: putID(1 + d.pick("put", 40)), Origin: d.origin(), Root: id(n), Children: modelChildren(n), Nodes: modelNodes(n), Size: int64(d.pick("size", 3)) * 1000,
		Modified: d.m.now.time(), ETag: []string{"e0", "e1"}[d.pick("etag", 2)]}
	if len(d.m.uploads) > 0 && !d.often("no upload") {
		u := d.m.uploads[d.anyUpload()]
		if c.Upload = putID(99); u != nil {
			c.Upload, c.Bucket = u.ID, u.Bucket
			if d.often("its key") {
				c.Key = u.Key
			}
		}
	}
	c.If = d.condition(c.Bucket, c.Key)
	o, gone, want := d.m.commit(&c)
	var a objectAnswer
	d.send(&commitObject{c}, &a, want)
	d.same("gone", a.Gone, gone)
	d.sameObject("committed", a.Object, o)
	if gone != nil {
		d.did["gone"]++
	}
}

func (d *nameDriver) remove() {
	c := ObjectDelete{Bucket: d.anyBucket(), Key: d.key(), Put: putID(1 + d.pick("put", 40)), Origin: d.origin(), Always: !d.often("not always")}
	c.If = d.condition(c.Bucket, c.Key)
	o, want := d.m.remove(&c)
	var a objectAnswer
	d.send(&deleteObject{c}, &a, want)
	d.sameObject("marker", a.Object, o)
}

func (d *nameDriver) undelete() {
	b, key := d.anyBucket(), d.key()
	o, want := d.m.undelete(b, key)
	var a objectAnswer
	d.send(&undeleteObject{b, key}, &a, want)
	d.sameObject("brought back", a.Object, o)
}

func (d *nameDriver) tags() {
	k := ObjectKey{Bucket: d.anyBucket(), Key: d.key()}
	list := d.m.rows(k.Bucket, k.Key)
	var o *Object
	if len(list) > 0 {
		if o = list[0]; !d.often("current") {
			o = list[d.pick("version", len(list))]
			k.Version = o.Version
		}
	}
	want := d.m.named(k.Bucket)
	if want == nil && (o == nil || o.Marker) {
		want = holdall.ErrNotFound
	}
	tags := []byte{byte(d.pick("tags", 3))}
	if want == nil {
		o.Tags = tags
	} else {
		o = nil
	}
	var a objectAnswer
	d.send(&setTags{Of: k, Tags: tags}, &a, want)
	d.sameObject("tagged", a.Object, o)
}
