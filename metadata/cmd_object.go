package metadata

import (
	"errors"
	"fmt"
	"slices"

	"github.com/holdall/holdall"
)

// Flags of a condition.
const (
	ifAbsent   = 1 << 0
	ifPresent  = 1 << 1
	ifBackfill = 1 << 2
)

func putCondition(dst []byte, c *Condition) []byte {
	var flags byte
	for i, set := range [...]bool{c.Absent, c.Present, c.Backfill} {
		if set {
			flags |= 1 << i
		}
	}
	return putVersion(putText(append(dst, flags), c.ETag), c.Version)
}

func (d *decoder) condition(c *Condition) {
	flags := d.byte()
	if flags&^(ifAbsent|ifPresent|ifBackfill) != 0 {
		d.fail(fmt.Errorf("condition flags %#x", flags))
	}
	c.Absent, c.Present, c.Backfill = flags&ifAbsent != 0, flags&ifPresent != 0, flags&ifBackfill != 0
	c.ETag, c.Version = d.text(MaxETag), d.versionID()
}

// holds refuses with ErrCondition unless c holds of newest, the newest row of a
// key, or nil.
func (c *Condition) holds(newest *Object) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("metadata: %s: %w", fmt.Sprintf(format, args...), holdall.ErrCondition)
	}
	there := newest != nil && !newest.Marker
	switch {
	case c.Absent && there:
		return bad("the key has a version, %d", newest.Version)
	case (c.Present || c.ETag != "") && !there:
		return bad("the key has no version")
	case c.ETag != "" && newest.ETag != c.ETag:
		return bad("the ETag is %q, not %q", newest.ETag, c.ETag)
	case c.Version != 0 && (newest == nil || newest.Version != c.Version):
		return bad("version %d is not the key's newest", c.Version)
	case c.Backfill && c.Absent && newest != nil:
		return bad("the key was deleted since")
	case c.Backfill && newest != nil && newest.Origin != OriginBackfill:
		return bad("the key was written by a client")
	}
	return nil
}

// commitObject is the commit point of an object.
type commitObject struct{ ObjectCommit }

func (*commitObject) tag() commandTag { return tagCommitObject }

func (c *commitObject) check() error {
	if err := checkChange(c.Key, c.Origin, &c.If); err != nil {
		return err
	}
	if c.Put == (holdall.PutID{}) || c.Size < 0 || c.Size > holdall.MaxObjectSize ||
		len(c.ETag) > MaxETag || len(c.Attributes) > MaxAttributes || len(c.Tags) > MaxTagBytes {
		return fmt.Errorf("metadata: commit of key %.80q by put %v: %d bytes; ETag of %d bytes, attributes of %d, tags of %d; the most are %d, %d, %d: %w",
			c.Key, c.Put, c.Size, len(c.ETag), len(c.Attributes), len(c.Tags), MaxETag, MaxAttributes, MaxTagBytes, holdall.ErrInvalid)
	}
	if err := errors.Join(c.Settle.check(), c.Source.check()); err != nil {
		return err
	}
	return checkNode(c.Root, c.Children, c.Nodes)
}

// checkChange finds what is wrong with a change of a key whatever the state is.
func checkChange(key string, o Origin, c *Condition) error {
	if o > OriginBackfill || len(c.ETag) > MaxETag {
		return fmt.Errorf("metadata: change of key %.80q: origin %d, condition with an ETag of %d bytes: %w", key, o, len(c.ETag), holdall.ErrInvalid)
	}
	return holdall.CheckKey(key)
}

func (c *commitObject) encode(dst []byte) []byte {
	dst = append(putText(putBucketID(dst, c.Bucket), c.Key), c.Put[:]...)
	dst = putUvarint(putIDs(append(append(dst, byte(c.Origin)), c.Root[:]...), c.Children), uint64(c.Nodes))
	dst = putText(putTime(putCount(dst, c.Size), c.Modified), c.ETag)
	dst = putBytes(putBytes(dst, c.Attributes), c.Tags)
	dst = append(putCondition(dst, &c.If), c.Upload[:]...)
	return putFacts(putSettlement(dst, &c.Settle), &c.Source)
}

func (c *commitObject) decode(d *decoder) {
	c.Bucket, c.Key, c.Put = d.bucketID(), d.text(holdall.MaxKeySize), d.putID()
	c.Origin, c.Root, c.Children = Origin(d.byte()), d.blockID(), d.idsUpTo(holdall.MaxNodeEntries)
	c.Nodes = int(d.upTo(holdall.MaxNodeEntries))
	c.Size, c.Modified, c.ETag = d.count(), d.time(), d.text(MaxETag)
	c.Attributes, c.Tags = d.bytes(MaxAttributes), d.bytes(MaxTagBytes)
	d.condition(&c.If)
	c.Upload = d.putID()
	d.settlement(&c.Settle)
	d.facts(&c.Source)
}

func (c *commitObject) run(t *tx) (result, error) {
	b, err := t.namedBucket(c.Bucket)
	if err != nil {
		return nil, err
	}
	first, err := t.earlier(c.Bucket, c.Key, c.Put)
	if err != nil {
		return nil, err
	}
	if first != nil {
		return &objectAnswer{Found: true, Object: *first}, nil
	}
	w, err := t.admit(b, c.Key, &c.Settle, c.Origin == OriginBackfill && c.If.Backfill)
	if err != nil {
		return nil, err
	}
	if err := t.journaledSpace(b.Namespace); err != nil {
		return nil, err
	}
	newest, err := t.conditional(c.Bucket, c.Key, &c.If)
	if err != nil {
		return nil, err
	}
	upload, err := c.completes(t)
	if err != nil {
		return nil, err
	}
	if err := t.quotaLeft(b.Namespace); err != nil {
		return nil, err
	}
	gone, err := t.linkNode(b.Namespace, &c.Root, c.Children, c.Nodes)
	if err != nil || gone != nil {
		return &objectAnswer{Gone: gone}, err
	}
	if err := t.refer(b.Namespace, &c.Root, 1); err != nil {
		return nil, err
	}
	o := c.object(t)
	t.change(Change{Kind: ChangeObject, Namespace: b.Namespace, ID: c.Root, Bucket: o.Bucket, Version: o.Version, Put: c.Upload, Data: factsData(&o.Source)})
	if upload != nil {
		t.endUpload(b, upload, UploadCompleted, o.Version)
	}
	if err := t.settleWrite(w, c.Key, &c.Settle); err != nil {
		return nil, err
	}
	return &objectAnswer{Found: true, Object: o}, t.addVersion(b, newest, &o)
}

// object returns the row that c makes.
func (c *commitObject) object(t *tx) Object {
	return Object{
		Bucket: c.Bucket, Key: c.Key, Version: holdall.Version(t.nextNumber(&t.sys.counters.version)),
		Put: c.Put, Origin: c.Origin, Root: c.Root, Size: c.Size, Modified: toInstant(c.Modified).time(), ETag: c.ETag,
		Attributes: c.Attributes, Tags: c.Tags, Committed: t.now.time(), Source: c.Source,
	}
}

// completes returns the open upload that c completes, or nil.
func (c *commitObject) completes(t *tx) (*Upload, error) {
	if c.Upload == (holdall.PutID{}) {
		return nil, nil
	}
	u, err := t.openUpload(c.Upload)
	if err == nil && (u.Bucket != c.Bucket || u.Key != c.Key) {
		err = fmt.Errorf("metadata: upload %v is of key %.80q of bucket %d: %w", c.Upload, u.Key, u.Bucket, holdall.ErrInvalid)
	}
	return u, err
}

// conditional returns the newest row of a key, or nil, if it is as c says.
func (t *tx) conditional(b holdall.BucketID, key string, c *Condition) (*Object, error) {
	list, err := t.newest(b, key, 1)
	if err != nil {
		return nil, err
	}
	var newest *Object
	if len(list) > 0 {
		newest = &list[0]
	}
	return newest, c.holds(newest)
}

// addVersion makes o the current version of its key, above newest, which may be
// nil.
func (t *tx) addVersion(b *bucketRow, newest, o *Object) error {
	if newest != nil {
		if err := t.supersede(b, newest); err != nil {
			return err
		}
	}
	return t.setObject(b, nil, o)
}

// deleteObject puts a delete marker on a key.
type deleteObject struct{ ObjectDelete }

func (*deleteObject) tag() commandTag { return tagDeleteObject }

func (c *deleteObject) check() error {
	return errors.Join(checkChange(c.Key, c.Origin, &c.If), c.Settle.check())
}

func (c *deleteObject) encode(dst []byte) []byte {
	dst = append(putText(putBucketID(dst, c.Bucket), c.Key), c.Put[:]...)
	dst = putBool(append(putCondition(dst, &c.If), byte(c.Origin)), c.Always)
	return putSettlement(dst, &c.Settle)
}

func (c *deleteObject) decode(d *decoder) {
	c.Bucket, c.Key, c.Put = d.bucketID(), d.text(holdall.MaxKeySize), d.putID()
	d.condition(&c.If)
	c.Origin, c.Always = Origin(d.byte()), d.bool()
	d.settlement(&c.Settle)
}

func (c *deleteObject) run(t *tx) (result, error) {
	b, err := t.namedBucket(c.Bucket)
	if err != nil {
		return nil, err
	}
	first, err := t.earlier(c.Bucket, c.Key, c.Put)
	if err != nil {
		return nil, err
	}
	if first != nil {
		return &objectAnswer{Found: true, Object: *first}, nil
	}
	w, err := t.admit(b, c.Key, &c.Settle, c.Origin == OriginBackfill && c.If.Backfill)
	if err != nil {
		return nil, err
	}
	newest, err := t.conditional(c.Bucket, c.Key, &c.If)
	if err == nil {
		err = t.settleWrite(w, c.Key, &c.Settle)
	}
	if err != nil {
		return nil, err
	}
	if !c.Always && (newest == nil || newest.Marker) {
		return new(objectAnswer), nil
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	if newest != nil && newest.Marker { // it would hide the same rows twice, and an undelete show none
		if err := t.setObject(b, newest, nil); err != nil {
			return nil, err
		}
		newest = nil
	}
	o := Object{Bucket: c.Bucket, Key: c.Key, Put: c.Put, Origin: c.Origin, Marker: true, Committed: t.now.time()}
	o.Version = holdall.Version(t.nextNumber(&t.sys.counters.version))
	t.change(Change{Kind: ChangeMarker, Bucket: o.Bucket, Key: o.Key, Version: o.Version, Put: o.Put, Number: uint64(o.Origin)})
	return &objectAnswer{Found: true, Object: o}, t.addVersion(b, newest, &o)
}

// undeleteObject takes the delete marker away that is the newest row of a key.
type undeleteObject struct {
	Bucket holdall.BucketID
	Key    string
}

func (*undeleteObject) tag() commandTag { return tagUndeleteObject }
func (c *undeleteObject) check() error  { return holdall.CheckKey(c.Key) }

func (c *undeleteObject) encode(dst []byte) []byte {
	return putText(putBucketID(dst, c.Bucket), c.Key)
}

func (c *undeleteObject) decode(d *decoder) {
	c.Bucket, c.Key = d.bucketID(), d.text(holdall.MaxKeySize)
}

func (c *undeleteObject) run(t *tx) (result, error) {
	b, err := t.namedBucket(c.Bucket)
	if err != nil {
		return nil, err
	}
	if b.Migrates {
		return nil, fmt.Errorf("metadata: bucket %q migrates: a delete in it is undone by another write: %w", b.Name, holdall.ErrRefused)
	}
	list, err := t.newest(c.Bucket, c.Key, 2)
	switch {
	case err != nil:
		return nil, err
	case len(list) > 0 && !list[0].Marker:
		return nil, fmt.Errorf("metadata: key %.80q is not deleted: %w", c.Key, holdall.ErrExists)
	case len(list) < 2 || list[1].Marker:
		return nil, fmt.Errorf("metadata: key %.80q has no version to bring back: %w", c.Key, holdall.ErrNotFound)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	t.change(Change{Kind: ChangeUnmark, Bucket: c.Bucket, Key: c.Key, Version: list[0].Version})
	if err := t.setObject(b, &list[0], nil); err != nil {
		return nil, err
	}
	o := list[1]
	o.TrashedAt = instant(0).time()
	return &objectAnswer{Found: true, Object: o}, t.setObject(b, &list[1], &o)
}

// setTags replaces the tags of a version.
type setTags struct {
	Of     ObjectKey // Version 0 = the current one
	Tags   []byte
	Settle Settlement
}

func (*setTags) tag() commandTag { return tagSetTags }

func (c *setTags) check() error {
	if len(c.Tags) > MaxTagBytes {
		return fmt.Errorf("metadata: tags of %d bytes, the most is %d: %w", len(c.Tags), MaxTagBytes, holdall.ErrInvalid)
	}
	return errors.Join(holdall.CheckKey(c.Of.Key), c.Settle.check())
}

func (c *setTags) encode(dst []byte) []byte {
	return putSettlement(putBytes(putObjectName(dst, &c.Of), c.Tags), &c.Settle)
}

func (c *setTags) decode(d *decoder) {
	c.Of, c.Tags = d.objectName(), d.bytes(MaxTagBytes)
	d.settlement(&c.Settle)
}

func putObjectName(dst []byte, k *ObjectKey) []byte {
	return putVersion(putText(putBucketID(dst, k.Bucket), k.Key), k.Version)
}

func (d *decoder) objectName() (k ObjectKey) {
	k.Bucket, k.Key, k.Version = d.bucketID(), d.text(holdall.MaxKeySize), d.versionID()
	return k
}

func (c *setTags) run(t *tx) (result, error) {
	b, err := t.namedBucket(c.Of.Bucket)
	if err != nil {
		return nil, err
	}
	var old *Object
	if c.Of.Version != 0 {
		old, err = t.object(c.Of)
	} else {
		old, err = t.conditional(c.Of.Bucket, c.Of.Key, &Condition{})
	}
	if err != nil {
		return nil, err
	}
	if old == nil || old.Marker {
		return nil, fmt.Errorf("metadata: key %.80q has no such version: %w", c.Of.Key, holdall.ErrNotFound)
	}
	w, err := t.admit(b, c.Of.Key, &c.Settle, false)
	if err == nil {
		err = t.settleWrite(w, c.Of.Key, &c.Settle)
	}
	if err != nil {
		return nil, err
	}
	row := *old
	if row.Tags = c.Tags; slices.Equal(row.Tags, old.Tags) {
		return &objectAnswer{Found: true, Object: row}, nil
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	t.change(Change{Kind: ChangeTags, Bucket: row.Bucket, Key: row.Key, Version: row.Version, Data: row.Tags})
	return &objectAnswer{Found: true, Object: row}, t.setObject(b, old, &row)
}
