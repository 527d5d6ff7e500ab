package metadata

import (
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// nextNumber makes an id of the cell's out of a counter that only rises.
func (t *tx) nextNumber(counter *uint64) uint64 {
	*counter++
	return uint64(holdall.MakeEpoch(t.sys.Incarnation, *counter))
}

// bucketRow is a bucket as the tx has it so far, and as it found it.
type bucketRow struct {
	Bucket
	was  Bucket
	gone bool
}

// bucket returns a bucket as the tx has it so far, or nil. Changes of it are
// written.
func (t *tx) bucket(id holdall.BucketID) (*bucketRow, error) {
	for _, b := range t.buckets {
		if b.ID == id {
			if b.gone {
				return nil, nil
			}
			return b, nil
		}
	}
	b := Bucket{ID: id}
	t.key = appendBucketKey(t.key[:0], id)
	v, ok, err := t.read(t.key)
	if err != nil || !ok {
		return nil, err
	}
	if err := decodeRow(t.key, v, func(d *decoder) { d.bucket(&b) }); err != nil {
		return nil, &fault{err}
	}
	return t.keepBucket(b, b), nil
}

func (t *tx) keepBucket(b, was Bucket) *bucketRow {
	row := &bucketRow{Bucket: b, was: was}
	t.buckets = append(t.buckets, row)
	return row
}

// namedBucket refuses a bucket that does not exist, or was removed.
func (t *tx) namedBucket(id holdall.BucketID) (*bucketRow, error) {
	b, err := t.bucket(id)
	if err == nil && (b == nil || !b.Removed.IsZero()) {
		err = fmt.Errorf("metadata: bucket %d: %w", id, ErrNoBucket)
	}
	return b, err
}

func (t *tx) flushBuckets() {
	for _, b := range t.buckets {
		t.key = appendBucketKey(t.key[:0], b.ID)
		switch {
		case b.gone:
			t.unset(t.key)
		case b.Bucket != b.was:
			t.val = appendBucket(t.val[:0], &b.Bucket)
			t.set(t.key, t.val)
		}
	}
}

// settleBucket drops the row of a removed bucket once it has no rows.
func (t *tx) settleBucket(b *bucketRow) error {
	if b.Removed.IsZero() || b.Versions != 0 {
		return nil
	}
	n, err := t.space(b.Namespace)
	if err != nil {
		return err
	}
	if n == nil || n.Leaving == 0 {
		return faultf("bucket %d is leaving namespace %d, which does not count it: %w", b.ID, b.Namespace, holdall.ErrCorrupt)
	}
	n.Leaving--
	b.gone = true
	return nil
}

// newest returns the newest rows of a key, at most n.
func (t *tx) newest(b holdall.BucketID, key string, n int) (list []Object, err error) {
	lower := appendKeyRows(nil, b, key)
	for kv, err := range rows(t.b, lower, after(lower)) {
		if err != nil {
			return nil, &fault{err}
		}
		o, err := decodeObject(kv)
		if err != nil {
			return nil, &fault{err}
		}
		if list = append(list, o); len(list) == n {
			break
		}
	}
	return list, nil
}

// object returns one version, or nil.
func (t *tx) object(k ObjectKey) (*Object, error) {
	t.key = appendObjectKey(t.key[:0], &k)
	v, ok, err := t.read(t.key)
	if err != nil || !ok {
		return nil, err
	}
	o := Object{Bucket: k.Bucket, Key: k.Key, Version: k.Version}
	if err := decodeRow(t.key, v, func(d *decoder) { d.object(&o) }); err != nil {
		return nil, &fault{err}
	}
	return &o, nil
}

// put returns what an earlier command committed under the same put of a key, or
// nil.
func (t *tx) earlier(b holdall.BucketID, key string, put holdall.PutID) (*Object, error) {
	if put == (holdall.PutID{}) {
		return nil, nil
	}
	t.key = appendPutKey(t.key[:0], b, key, put)
	v, ok, err := t.read(t.key)
	if err != nil || !ok {
		return nil, err
	}
	var version holdall.Version
	if err := decodeRow(t.key, v, func(d *decoder) { version = d.versionID() }); err != nil {
		return nil, &fault{err}
	}
	o, err := t.object(ObjectKey{b, key, version})
	if err != nil || o == nil || o.Put != put {
		return nil, err
	}
	return o, nil
}

// name returns the key of o's row.
func (o *Object) name() ObjectKey { return ObjectKey{o.Bucket, o.Key, o.Version} }

// waits returns when the retention of o began to count. That of a marker which
// is current does so at once: nothing but it is left of its key some day.
func (o *Object) waits() instant {
	if o.Marker && o.TrashedAt.IsZero() {
		return toInstant(o.Committed)
	}
	return toInstant(o.TrashedAt)
}

// setObject replaces the row old by new, of the same version; either may be nil.
// It is the only place where rows of objects change, so that what follows from
// them always agrees.
func (t *tx) setObject(b *bucketRow, old, new *Object) error {
	b.count(old, -1)
	b.count(new, +1)
	if min(b.Objects, b.Bytes, b.Versions) < 0 {
		return faultf("counts of bucket %d fell below zero: %w", b.ID, holdall.ErrCorrupt)
	}
	was, now := instant(0), instant(0)
	if old != nil {
		was = old.waits()
	}
	if new != nil {
		now = new.waits()
	}
	if was != now && was != 0 {
		k := old.name()
		t.key = appendObjectTrashKey(t.key[:0], was, &k)
		t.unset(t.key)
	}
	if was != now && now != 0 {
		k := new.name()
		t.key = appendObjectTrashKey(t.key[:0], now, &k)
		t.set(t.key, nil)
	}
	t.indexPut(old, new)
	if new == nil {
		k := old.name()
		t.key = appendObjectKey(t.key[:0], &k)
		t.unset(t.key)
		return t.settleBucket(b)
	}
	k := new.name()
	t.key = appendObjectKey(t.key[:0], &k)
	t.val = appendObject(t.val[:0], new)
	t.set(t.key, t.val)
	return nil
}

// indexPut keeps the way from a put to its version.
func (t *tx) indexPut(old, new *Object) {
	if old != nil && new != nil || old == nil && new.Put == (holdall.PutID{}) || new == nil && old.Put == (holdall.PutID{}) {
		return
	}
	if new == nil {
		t.key = appendPutKey(t.key[:0], old.Bucket, old.Key, old.Put)
		t.unset(t.key)
		return
	}
	t.key = appendPutKey(t.key[:0], new.Bucket, new.Key, new.Put)
	t.val = putVersion(t.val[:0], new.Version)
	t.set(t.key, t.val)
}

// count adds the row o to the counts, n = 1, or takes it away, n = -1.
func (b *bucketRow) count(o *Object, n int64) {
	if o == nil {
		return
	}
	b.Versions += n
	if !o.Marker && o.TrashedAt.IsZero() {
		b.Objects += n
		b.Bytes += n * o.Size
	}
}

// supersede puts what was the newest row of its key in trash.
func (t *tx) supersede(b *bucketRow, o *Object) error {
	row := *o
	row.TrashedAt = t.now.time()
	return t.setObject(b, o, &row)
}

// upload returns an upload, or nil.
func (t *tx) upload(id holdall.PutID) (*Upload, error) {
	t.key = appendUploadKey(t.key[:0], id)
	v, ok, err := t.read(t.key)
	if err != nil || !ok {
		return nil, err
	}
	u := Upload{ID: id}
	if err := decodeRow(t.key, v, func(d *decoder) { d.upload(&u) }); err != nil {
		return nil, &fault{err}
	}
	return &u, nil
}

// openUpload refuses an upload that does not exist, or has ended.
func (t *tx) openUpload(id holdall.PutID) (*Upload, error) {
	u, err := t.upload(id)
	if err == nil && (u == nil || u.State != UploadOpen) {
		err = fmt.Errorf("metadata: upload %v: %w", id, ErrNoUpload)
	}
	return u, err
}

// completedFor is how long the row of a completed upload stays, so that whoever
// completes it again is told what came of it.
const completedFor = 24 * time.Hour

// due returns when there is something to release of u: 0 while it is open.
func (u *Upload) due() instant {
	switch {
	case u.State == UploadOpen:
		return 0
	case u.Released && u.State == UploadCompleted:
		return toInstant(u.Ended).after(completedFor)
	}
	return toInstant(u.Ended)
}

// setUpload replaces the row old by new, of the same upload; either may be nil.
// It is the only place where rows of uploads change.
func (t *tx) setUpload(old, new *Upload) {
	if old != nil {
		t.unset(old.listed(t.key[:0]))
	}
	if new == nil {
		t.key = appendUploadKey(t.key[:0], old.ID)
		t.unset(t.key)
		return
	}
	t.set(new.listed(t.key[:0]), nil)
	t.key = appendUploadKey(t.key[:0], new.ID)
	t.val = appendUpload(t.val[:0], new)
	t.set(t.key, t.val)
}

// listed appends the key under which u is listed.
func (u *Upload) listed(dst []byte) []byte {
	if u.State == UploadOpen {
		return appendOpenUploadKey(dst, u.Bucket, u.Key, u.ID)
	}
	return appendEndedUploadKey(dst, u.due(), u.ID)
}

// part returns a part of an upload, or nil.
func (t *tx) part(upload holdall.PutID, number int) (*Part, error) {
	t.key = appendPartKey(t.key[:0], upload, number)
	v, ok, err := t.read(t.key)
	if err != nil || !ok {
		return nil, err
	}
	p := Part{Number: number}
	if err := decodeRow(t.key, v, func(d *decoder) { d.part(&p) }); err != nil {
		return nil, &fault{err}
	}
	return &p, nil
}
