package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// createBucket makes a bucket.
type createBucket struct {
	Namespace holdall.NamespaceID
	Name      string
}

func (*createBucket) tag() commandTag { return tagCreateBucket }
func (c *createBucket) check() error  { return holdall.CheckBucketName(c.Name) }

func (c *createBucket) encode(dst []byte) []byte {
	return putText(putUvarint(dst, uint64(c.Namespace)), c.Name)
}

func (c *createBucket) decode(d *decoder) { c.Namespace, c.Name = d.namespace(), d.text(maxLabel) }

func (c *createBucket) run(t *tx) (result, error) {
	n, err := t.space(c.Namespace)
	if err != nil {
		return nil, err
	}
	if n == nil || n.ID == holdall.SystemNamespace {
		return nil, fmt.Errorf("metadata: a bucket in namespace %d: there can be none: %w", c.Namespace, holdall.ErrInvalid)
	}
	t.key = appendBucketNameKey(t.key[:0], c.Namespace, c.Name)
	switch _, taken, err := t.read(t.key); {
	case err != nil:
		return nil, err
	case taken:
		return nil, fmt.Errorf("metadata: bucket %q: %w", c.Name, holdall.ErrExists)
	case t.sys.counters.buckets >= holdall.MaxBuckets:
		return nil, fmt.Errorf("metadata: the cell has %d buckets, that is the most: %w", t.sys.counters.buckets, holdall.ErrExhausted)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	b := Bucket{Namespace: c.Namespace, Name: c.Name, Created: t.now.time()}
	b.ID = holdall.BucketID(t.nextNumber(&t.sys.counters.bucket))
	t.sys.counters.buckets++
	n.Buckets++
	t.key = appendBucketNameKey(t.key[:0], b.Namespace, b.Name)
	t.val = putBucketID(t.val[:0], b.ID)
	t.set(t.key, t.val)
	t.keepBucket(b, Bucket{})
	t.bucketChange(&b)
	return &bucketAnswer{b}, nil
}

func (t *tx) bucketChange(b *Bucket) {
	c := Change{Kind: ChangeBucket, Namespace: b.Namespace, Bucket: b.ID, Name: b.Name}
	if b.KeepsMarkers {
		c.Number = 1
	}
	t.change(c)
}

// setBucket says whether a bucket keeps the markers of deleted keys.
type setBucket struct {
	Bucket       holdall.BucketID
	KeepsMarkers bool
}

func (*setBucket) tag() commandTag { return tagSetBucket }
func (*setBucket) check() error    { return nil }

func (c *setBucket) encode(dst []byte) []byte {
	return putBool(putBucketID(dst, c.Bucket), c.KeepsMarkers)
}

func (c *setBucket) decode(d *decoder) { c.Bucket, c.KeepsMarkers = d.bucketID(), d.bool() }

func (c *setBucket) run(t *tx) (result, error) {
	b, err := t.namedBucket(c.Bucket)
	if err != nil || b.KeepsMarkers == c.KeepsMarkers {
		return noResult{}, err
	}
	if b.Migrates {
		return nil, fmt.Errorf("metadata: bucket %q migrates: the migration says what markers it keeps: %w", b.Name, holdall.ErrRefused)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	b.KeepsMarkers = c.KeepsMarkers
	t.bucketChange(&b.Bucket)
	return noResult{}, nil
}

// removeBucket takes a bucket's name away. Its rows, all in trash or markers, are
// due from then on; with the last of them its own row goes.
type removeBucket struct {
	Namespace holdall.NamespaceID
	Name      string
}

func (*removeBucket) tag() commandTag { return tagRemoveBucket }
func (c *removeBucket) check() error  { return holdall.CheckBucketName(c.Name) }

func (c *removeBucket) encode(dst []byte) []byte {
	return putText(putUvarint(dst, uint64(c.Namespace)), c.Name)
}

func (c *removeBucket) decode(d *decoder) { c.Namespace, c.Name = d.namespace(), d.text(maxLabel) }

func (c *removeBucket) run(t *tx) (result, error) {
	b, err := t.bucketByName(c.Namespace, c.Name)
	if err != nil {
		return nil, err
	}
	if b.Objects != 0 || b.Uploads != 0 {
		return nil, fmt.Errorf("metadata: bucket %q has %d objects, %d open uploads: %w", c.Name, b.Objects, b.Uploads, holdall.ErrRefused)
	}
	if b.Migrates {
		return nil, fmt.Errorf("metadata: bucket %q migrates: %w", c.Name, holdall.ErrRefused)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	m, err := t.migration(b.ID)
	if err != nil {
		return nil, err
	}
	if m != nil { // retired
		t.dropMigration(m)
		t.migrationChange(journalMigration, m.Bucket, "", nil)
	}
	n, err := t.space(b.Namespace)
	if err != nil {
		return nil, err
	}
	if n == nil || n.Buckets == 0 {
		return nil, faultf("bucket %q is of namespace %d, which does not count it: %w", c.Name, b.Namespace, holdall.ErrCorrupt)
	}
	b.Removed = t.now.time()
	n.Buckets--
	n.Leaving++
	t.sys.counters.buckets--
	t.key = appendBucketNameKey(t.key[:0], c.Namespace, c.Name)
	t.unset(t.key)
	t.change(Change{Kind: ChangeBucketGone, Bucket: b.ID})
	return noResult{}, t.settleBucket(b)
}

// bucketByName refuses a name that no bucket has.
func (t *tx) bucketByName(ns holdall.NamespaceID, name string) (*bucketRow, error) {
	t.key = appendBucketNameKey(t.key[:0], ns, name)
	v, ok, err := t.read(t.key)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("metadata: bucket %q of namespace %d: %w", name, ns, ErrNoBucket)
	}
	var id holdall.BucketID
	if err := decodeRow(t.key, v, func(d *decoder) { id = d.bucketID() }); err != nil {
		return nil, &fault{err}
	}
	b, err := t.bucket(id)
	if err == nil && b == nil {
		err = faultf("bucket %q leads to bucket %d, which is not there: %w", name, id, holdall.ErrCorrupt)
	}
	return b, err
}
