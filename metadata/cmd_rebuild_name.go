package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/holdall/holdall"
)

// The commands of this file bring back names: buckets, objects, uploads. They come
// after all blocks are in their places, in the order of the change journal. By then
// the rows of blocks are what is left at the end, so a command that refers to a
// block which was purged later finds none, and so does the one that refers to it no
// more.

// replayNames does again what the change journal says befell names, but for commits
// of objects and nodes, which take what manifests say: see adoptObject.
type replayNames struct{ replayChanges }

func (*replayNames) tag() commandTag { return tagReplayNames }

func (c *replayNames) run(t *tx) (result, error) {
	if err := t.onlyRebuild("names are replayed"); err != nil {
		return nil, err
	}
	now := t.now
	for i := range c.Changes {
		k := &c.Changes[i]
		t.now = now
		t.at(toInstant(k.Time))
		if err := t.replayName(k); err != nil {
			return nil, err
		}
	}
	t.now = now
	return noResult{}, nil
}

func (t *tx) replayName(k *Change) error {
	switch k.Kind {
	case ChangeBucket:
		return t.replayBucket(k)
	case ChangeBucketGone:
		return t.replayBucketGone(k)
	case ChangeMarker:
		return t.replayMarker(k)
	case ChangeUnmark, ChangeObjectGone, ChangeTags:
		return t.replayVersion(k)
	case ChangeUpload, ChangePart, ChangeAbort, ChangePartsGone, ChangeUploadGone:
		return t.replayUpload(k)
	case ChangeMigration:
		return t.replayMigration(k)
	}
	return nil
}

// believed says whether an id found on disks leaves room to count on from it, and is
// of no later incarnation than the cell's.
func (t *tx) believed(id holdall.Epoch) bool {
	return id != 0 && id.Counter() <= maxCounter && id.Incarnation() <= t.sys.Incarnation
}

func (t *tx) replayBucket(k *Change) error {
	b, err := t.bucket(k.Bucket)
	if err != nil || !t.believed(holdall.Epoch(k.Bucket)) || holdall.CheckBucketName(k.Name) != nil {
		return err
	}
	if b == nil {
		b, err = t.adoptBucket(k.Namespace, k.Bucket, k.Name)
		if err != nil || b == nil {
			return err
		}
	}
	if b.Removed.IsZero() && !b.Migrates {
		b.KeepsMarkers = k.Number == 1
	}
	return nil
}

// adoptBucket makes a bucket with a given id. One whose name another bucket has
// gets a name that says so. It returns nil if there can be none.
func (t *tx) adoptBucket(ns holdall.NamespaceID, id holdall.BucketID, name string) (*bucketRow, error) {
	if ns == holdall.SystemNamespace || !t.believed(holdall.Epoch(id)) || holdall.CheckBucketName(name) != nil {
		return nil, nil
	}
	if err := t.adoptSpace(ns); err != nil {
		return nil, err
	}
	n, err := t.space(ns)
	if err != nil || n == nil {
		return nil, err
	}
	for _, name := range []string{name, fmt.Sprintf("rebuilt-%d-%d", holdall.Epoch(id).Incarnation(), holdall.Epoch(id).Counter())} {
		t.key = appendBucketNameKey(t.key[:0], ns, name)
		_, taken, err := t.read(t.key)
		if err != nil {
			return nil, err
		}
		if taken {
			continue
		}
		t.sys.counters.buckets++
		if holdall.Epoch(id).Incarnation() == t.sys.Incarnation {
			t.sys.counters.bucket = max(t.sys.counters.bucket, holdall.Epoch(id).Counter())
		}
		n.Buckets++
		t.val = putBucketID(t.val[:0], id)
		t.set(t.key, t.val)
		return t.keepBucket(Bucket{ID: id, Namespace: ns, Name: name, Created: t.now.time()}, Bucket{}), nil
	}
	return nil, nil
}

func (t *tx) replayBucketGone(k *Change) error {
	b, err := t.bucket(k.Bucket)
	if err != nil || b == nil || !b.Removed.IsZero() || b.Objects != 0 || b.Uploads != 0 || b.Migrates {
		return err // with something in it that came back, it stays
	}
	n, err := t.space(b.Namespace)
	if err != nil || n == nil {
		return err
	}
	b.Removed = t.now.time()
	n.Buckets--
	n.Leaving++
	t.sys.counters.buckets--
	t.key = appendBucketNameKey(t.key[:0], b.Namespace, b.Name)
	t.unset(t.key)
	return t.settleBucket(b)
}

func (t *tx) replayMarker(k *Change) error {
	b, err := t.bucket(k.Bucket)
	if err != nil || b == nil || !t.believed(holdall.Epoch(k.Version)) || holdall.CheckKey(k.Key) != nil || k.Number > uint64(OriginBackfill) {
		return err
	}
	o := Object{Bucket: k.Bucket, Key: k.Key, Version: k.Version, Put: k.Put, Origin: Origin(k.Number), Marker: true, Committed: t.now.time()}
	newest, err := t.conditional(o.Bucket, o.Key, &Condition{})
	if err != nil || newest != nil && newest.Version >= o.Version {
		return err
	}
	if newest != nil && newest.Marker {
		if err := t.setObject(b, newest, nil); err != nil {
			return err
		}
		newest = nil
	}
	return t.addVersion(b, newest, &o)
}

func (t *tx) replayVersion(k *Change) error {
	b, err := t.bucket(k.Bucket)
	if err != nil || b == nil {
		return err
	}
	o, err := t.object(ObjectKey{k.Bucket, k.Key, k.Version})
	if err != nil || o == nil {
		return err
	}
	switch k.Kind {
	case ChangeTags:
		row := *o
		if row.Tags = k.Data; o.Marker || len(k.Data) > MaxTagBytes || bytes.Equal(row.Tags, o.Tags) {
			return nil
		}
		return t.setObject(b, o, &row)
	case ChangeObjectGone:
		if err := t.setObject(b, o, nil); err != nil || o.Marker {
			return err
		}
		_, err := t.unrefer(b.Namespace, &o.Root, 1)
		return err
	}
	return t.replayUnmark(b, o)
}

func (t *tx) replayUnmark(b *bucketRow, marker *Object) error {
	list, err := t.newest(b.ID, marker.Key, 2)
	if err != nil || len(list) < 2 || list[0].Version != marker.Version || !marker.Marker || list[1].Marker {
		return err
	}
	if err := t.setObject(b, &list[0], nil); err != nil {
		return err
	}
	o := list[1]
	o.TrashedAt = instant(0).time()
	return t.setObject(b, &list[1], &o)
}

func (t *tx) replayUpload(k *Change) error {
	old, err := t.upload(k.Put)
	if err != nil {
		return err
	}
	if k.Kind == ChangeUpload {
		return t.replayNewUpload(k, old)
	}
	if old == nil {
		return nil
	}
	switch k.Kind {
	case ChangePart:
		return t.replayPart(k, old)
	case ChangeAbort:
		b, err := t.bucket(old.Bucket)
		if err == nil && b != nil && old.State == UploadOpen {
			t.endUpload(b, old, UploadAborted, 0)
		}
		return err
	case ChangePartsGone:
		return t.replayPartsGone(old, int(min(k.Number, holdall.MaxParts)))
	}
	if old.State == UploadOpen {
		return nil
	}
	if err := t.replayPartsGone(old, holdall.MaxParts); err != nil {
		return err
	}
	t.setUpload(old, nil)
	return nil
}

func (t *tx) replayNewUpload(k *Change, old *Upload) error {
	u := Upload{ID: k.Put}
	if old != nil || k.Put == (holdall.PutID{}) || decodeRow(nil, k.Data, func(d *decoder) { d.upload(&u) }) != nil || u.State != UploadOpen || holdall.CheckKey(u.Key) != nil {
		return nil
	}
	b, err := t.bucket(u.Bucket)
	if err != nil || b == nil || !b.Removed.IsZero() {
		return err
	}
	u.Namespace = b.Namespace
	b.Uploads++
	t.setUpload(nil, &u)
	return nil
}

// replayPart puts a part, or takes the one of its number away.
func (t *tx) replayPart(k *Change, u *Upload) error {
	p := Part{Number: int(min(k.Number, holdall.MaxParts+1))}
	if decodeRow(nil, k.Data, func(d *decoder) { d.part(&p) }) != nil || (&putPart{u.ID, p}).check() != nil {
		return nil
	}
	old, err := t.part(u.ID, p.Number)
	if err != nil {
		return err
	}
	held, err := t.referFound(u.Namespace, &p.Block, 1)
	if err != nil {
		return err
	}
	if old != nil {
		if _, err := t.unrefer(u.Namespace, &old.Block, 1); err != nil {
			return err
		}
	}
	t.key = appendPartKey(t.key[:0], u.ID, p.Number)
	if !held { // purged later, with the part; or lost, and then it must not drop what it does not hold
		t.unset(t.key)
		return nil
	}
	t.val = appendPart(t.val[:0], &p)
	t.set(t.key, t.val)
	return nil
}

func (t *tx) replayPartsGone(u *Upload, last int) error {
	if u.State == UploadOpen {
		return nil
	}
	var drop []Part
	for p, err := range partsOf(t.b, u.ID, 0) {
		if err != nil {
			return &fault{err}
		}
		if p.Number <= last {
			drop = append(drop, p.Part)
		}
	}
	for i := range drop {
		if _, err := t.unrefer(u.Namespace, &drop[i].Block, 1); err != nil {
			return err
		}
		t.key = appendPartKey(t.key[:0], u.ID, drop[i].Number)
		t.unset(t.key)
	}
	return nil
}

// referFound adds references to a row, if it is there.
func (t *tx) referFound(ns holdall.NamespaceID, id *holdall.BlockID, times uint32) (bool, error) {
	row, err := t.block(ns, id)
	if err != nil || !row.Found {
		return false, err
	}
	if row.References > math.MaxUint32-times {
		return false, fmt.Errorf("metadata: block %v has %d references, no more fit: %w", row.ID, row.References, holdall.ErrExhausted)
	}
	return true, t.refer(ns, id, times)
}

// adoptObject puts back a version of which its manifest's root tells.
type adoptObject struct{ FoundObject }

func (*adoptObject) tag() commandTag { return tagAdoptObject }

func (c *adoptObject) check() error {
	o := &c.Object
	if o.Marker || o.Origin > OriginBackfill || o.Size < 0 || o.Size > holdall.MaxObjectSize || !o.TrashedAt.IsZero() || !o.Committed.IsZero() ||
		len(o.ETag) > MaxETag || len(o.Attributes) > MaxAttributes || len(o.Tags) > MaxTagBytes || len(c.BucketName) > maxLabel || o.Version == 0 && o.Put == (holdall.PutID{}) {
		return fmt.Errorf("metadata: adopted object %.80q, version %d, of %d bytes: %w", o.Key, o.Version, o.Size, holdall.ErrInvalid)
	}
	return errors.Join(holdall.CheckKey(o.Key), o.Source.check())
}

func (c *adoptObject) encode(dst []byte) []byte {
	k := c.Object.name()
	dst = putText(putObjectName(putUvarint(dst, uint64(c.Namespace)), &k), c.BucketName)
	return appendObject(append(putTime(dst, c.Time), c.Upload[:]...), &c.Object)
}

func (c *adoptObject) decode(d *decoder) {
	c.Namespace = d.namespace()
	k := d.objectName()
	c.BucketName, c.Time, c.Upload = d.text(maxLabel), d.time(), d.putID()
	c.Object = Object{Bucket: k.Bucket, Key: k.Key, Version: k.Version}
	d.object(&c.Object)
}

func (c *adoptObject) run(t *tx) (result, error) {
	if err := t.onlyRebuild("an object is adopted"); err != nil {
		return nil, err
	}
	now := t.now
	t.at(toInstant(c.Time))
	answer, err := c.adopt(t)
	t.now = now
	return answer, err
}

func (c *adoptObject) adopt(t *tx) (*objectAnswer, error) {
	o, late, answer := c.Object, c.Object.Version == 0, new(objectAnswer)
	b, err := t.bucket(o.Bucket)
	if err == nil && b == nil {
		if b, err = t.adoptBucket(c.Namespace, o.Bucket, c.BucketName); b != nil {
			t.bucketChange(&b.Bucket)
		}
	}
	if err != nil || b == nil || b.Namespace != c.Namespace || late && !b.Removed.IsZero() {
		return answer, err
	}
	if late {
		first, err := t.earlier(o.Bucket, o.Key, o.Put)
		if err != nil || first != nil {
			return answer, err
		}
		o.Version = holdall.Version(t.nextNumber(&t.sys.counters.version))
	}
	o.Committed = t.now.time()
	newest, err := t.conditional(o.Bucket, o.Key, &Condition{})
	if err != nil || newest != nil && newest.Version >= o.Version || !t.believed(holdall.Epoch(o.Version)) {
		return answer, err
	}
	held, err := t.referFound(b.Namespace, &o.Root, 1)
	if err != nil {
		return answer, err
	}
	if !held {
		answer.Gone = []holdall.BlockID{o.Root}
	}
	if late {
		t.change(Change{Kind: ChangeObject, Namespace: b.Namespace, ID: o.Root, Bucket: o.Bucket, Version: o.Version, Data: factsData(&o.Source)})
	}
	u, err := t.upload(c.Upload)
	if err != nil {
		return answer, err
	}
	if u != nil && u.State == UploadOpen && u.Bucket == o.Bucket {
		t.endUpload(b, u, UploadCompleted, o.Version)
	}
	answer.Found, answer.Object = true, o
	return answer, t.addVersion(b, newest, &o)
}

// factsData returns what a change says of the source of a migration: nothing if
// there is nothing to say.
func factsData(f *SourceFacts) []byte {
	if *f == (SourceFacts{}) {
		return nil
	}
	return putFacts(nil, f)
}

// Facts returns what the source of a migration said of the object that a change of
// kind ChangeObject committed.
func (c *Change) Facts() (f SourceFacts) {
	if len(c.Data) == 0 {
		return f
	}
	d := decoder{b: c.Data}
	if d.facts(&f); d.finish() != nil {
		return SourceFacts{}
	}
	return f
}

// adoptNode counts what a manifest node refers to.
type adoptNode struct{ FoundNode }

func (*adoptNode) tag() commandTag { return tagAdoptNode }
func (c *adoptNode) check() error  { return checkNode(c.ID, c.Children, 0) }

func (c *adoptNode) encode(dst []byte) []byte {
	return putBool(putNode(dst, c.Namespace, &c.ID, c.Children), c.Journaled)
}

func (c *adoptNode) decode(d *decoder) {
	c.Namespace, c.ID, c.Children = d.namespace(), d.blockID(), d.idsUpTo(holdall.MaxNodeEntries)
	c.Journaled = d.bool()
}

// run counts the children that are there, and names the others. A node that lacks
// some must never give its references up: one that is put again some day would lose
// what another holds it by. So it gets a reference that nobody drops, and is not
// marked as a node: whoever puts it again is told which of its children are gone.
func (c *adoptNode) run(t *tx) (result, error) {
	if err := t.onlyRebuild("a node is adopted"); err != nil {
		return nil, err
	}
	row, err := t.block(c.Namespace, &c.ID)
	if err != nil || row.Node {
		return new(goneAnswer), err
	}
	answer := new(goneAnswer)
	if !row.Found {
		answer.IDs = append(answer.IDs, c.ID)
		return answer, nil
	}
	list := counted(c.Children)
	if err := t.fetchListed(c.Namespace, list); err != nil {
		return nil, err
	}
	for i := range list {
		held, err := t.referFound(c.Namespace, &list[i].id, list[i].times)
		if err != nil {
			return nil, err
		}
		if !held {
			answer.IDs = append(answer.IDs, list[i].id)
		}
	}
	if len(answer.IDs) != 0 {
		_, err := t.referFound(c.Namespace, &c.ID, 1)
		return answer, err
	}
	if len(list) == 0 {
		return answer, nil
	}
	if !c.Journaled {
		t.change(Change{Kind: ChangeNode, Namespace: c.Namespace, ID: c.ID})
	}
	linked := row
	linked.Node = true
	return answer, t.setBlock(&row, &linked)
}
