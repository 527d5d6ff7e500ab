package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// Values of the tables of names. Buckets and versions are an incarnation and a
// counter, like epochs, so that none is given twice whatever was restored.

func putBytes(dst, b []byte) []byte { return append(putUvarint(dst, uint64(len(b))), b...) }

// bytes reads what putBytes wrote; nil for none.
func (d *decoder) bytes(limit int) []byte {
	return append([]byte(nil), d.take(d.length(limit, 1))...)
}

func putBucketID(dst []byte, b holdall.BucketID) []byte { return putEpoch(dst, holdall.Epoch(b)) }
func putVersion(dst []byte, v holdall.Version) []byte   { return putEpoch(dst, holdall.Epoch(v)) }
func (d *decoder) bucketID() holdall.BucketID           { return holdall.BucketID(d.epoch()) }
func (d *decoder) versionID() holdall.Version           { return holdall.Version(d.epoch()) }

// Limits of the texts in rows of names, in bytes.
const (
	maxAccessKey = 128
	maxSecret    = 1 << 10
	maxNote      = 512
)

// Flags of a bucket's value.
const (
	bucketKeepsMarkers = 1 << 0
	bucketMigrates     = 1 << 1
)

func appendBucket(dst []byte, b *Bucket) []byte {
	var flags byte
	if b.KeepsMarkers {
		flags |= bucketKeepsMarkers
	}
	if b.Migrates {
		flags |= bucketMigrates
	}
	dst = putText(putUvarint(append(dst, rowVersion, flags), uint64(b.Namespace)), b.Name)
	dst = putTime(putTime(dst, b.Created), b.Removed)
	for _, n := range [...]int64{b.Objects, b.Bytes, b.Versions, b.Uploads} {
		dst = putCount(dst, n)
	}
	return dst
}

// bucket fills in b, but for its id.
func (d *decoder) bucket(b *Bucket) {
	d.version()
	flags := d.byte()
	if flags&^(bucketKeepsMarkers|bucketMigrates) != 0 {
		d.fail(fmt.Errorf("bucket flags %#x", flags))
	}
	b.KeepsMarkers, b.Migrates = flags&bucketKeepsMarkers != 0, flags&bucketMigrates != 0
	b.Namespace, b.Name = d.namespace(), d.text(maxLabel)
	b.Created, b.Removed = d.time(), d.time()
	for _, n := range [...]*int64{&b.Objects, &b.Bytes, &b.Versions, &b.Uploads} {
		*n = d.count()
	}
}

// Flags of an object's value.
const (
	objectMarker   = 1 << 0 // it ends after the times
	objectTrashed  = 1 << 1 // since when follows
	objectBackfill = 1 << 2
	objectSource   = 1 << 3 // what the source of a migration says follows
)

// appendObject appends the value of o: all but what its key says.
func appendObject(dst []byte, o *Object) []byte {
	at := len(dst) + 1
	dst = putTime(append(append(dst, rowVersion, 0), o.Put[:]...), o.Committed)
	if o.Origin == OriginBackfill {
		dst[at] |= objectBackfill
	}
	if !o.TrashedAt.IsZero() {
		dst[at] |= objectTrashed
		dst = putTime(dst, o.TrashedAt)
	}
	if o.Source != (SourceFacts{}) {
		dst[at] |= objectSource
		dst = putTime(putText(putText(dst, o.Source.ETag), o.Source.Version), o.Source.Modified)
	}
	if o.Marker {
		dst[at] |= objectMarker
		return dst
	}
	dst = putTime(putCount(append(dst, o.Root[:]...), o.Size), o.Modified)
	return putBytes(putBytes(putText(dst, o.ETag), o.Attributes), o.Tags)
}

// object fills in o, but for what its key says.
func (d *decoder) object(o *Object) {
	d.version()
	flags := d.byte()
	if flags&^(objectMarker|objectTrashed|objectBackfill|objectSource) != 0 {
		d.fail(fmt.Errorf("object flags %#x", flags))
	}
	o.Put, o.Committed = d.putID(), d.time()
	if o.Origin = OriginClient; flags&objectBackfill != 0 {
		o.Origin = OriginBackfill
	}
	if flags&objectTrashed != 0 {
		at := d.instant()
		o.TrashedAt = at.time()
		d.notZero(uint64(at))
	}
	if o.Source = (SourceFacts{}); flags&objectSource != 0 {
		d.sourceFacts(&o.Source)
	}
	if o.Marker = flags&objectMarker != 0; o.Marker {
		return
	}
	o.Root, o.Size, o.Modified = d.blockID(), d.count(), d.time()
	o.ETag, o.Attributes, o.Tags = d.text(MaxETag), d.bytes(MaxAttributes), d.bytes(MaxTagBytes)
}

const uploadReleased = 1 << 0

// appendUpload appends the value of u: all but its id.
func appendUpload(dst []byte, u *Upload) []byte {
	var flags byte
	if u.Released {
		flags |= uploadReleased
	}
	dst = putUvarint(append(dst, rowVersion, flags, byte(u.State)), uint64(u.Namespace))
	dst = putText(putBucketID(dst, u.Bucket), u.Key)
	dst = putVersion(putTime(putTime(dst, u.Created), u.Ended), u.Result)
	return putBytes(putBytes(dst, u.Attributes), u.Tags)
}

// upload fills in u, but for its id.
func (d *decoder) upload(u *Upload) {
	d.version()
	flags := d.byte()
	u.State = UploadState(d.byte())
	if d.err == nil && (flags&^uploadReleased != 0 || u.State < UploadOpen || u.State > UploadAborted) {
		d.fail(fmt.Errorf("upload flags %#x, state %d", flags, u.State))
	}
	u.Released = flags&uploadReleased != 0
	u.Namespace, u.Bucket, u.Key = d.namespace(), d.bucketID(), d.text(holdall.MaxKeySize)
	u.Created, u.Ended, u.Result = d.time(), d.time(), d.versionID()
	u.Attributes, u.Tags = d.bytes(MaxAttributes), d.bytes(MaxTagBytes)
}

const partNode = 1 << 0

// appendPart appends the value of p: all but its number.
func appendPart(dst []byte, p *Part) []byte {
	var flags byte
	if p.Node {
		flags |= partNode
	}
	dst = putCount(append(append(dst, rowVersion, flags), p.Block[:]...), p.Size)
	return putTime(putBytes(putText(dst, p.ETag), p.Attributes), p.Modified)
}

// part fills in p, but for its number.
func (d *decoder) part(p *Part) {
	d.version()
	flags := d.byte()
	if flags&^partNode != 0 {
		d.fail(fmt.Errorf("part flags %#x", flags))
	}
	p.Node = flags&partNode != 0
	p.Block, p.Size = d.blockID(), d.count()
	p.ETag, p.Attributes, p.Modified = d.text(MaxETag), d.bytes(MaxAttributes), d.time()
}

func appendCredential(dst []byte, c *Credential) []byte {
	dst = putBytes(putUvarint(append(dst, rowVersion), uint64(c.Namespace)), c.Secret)
	return putText(putTime(dst, c.Created), c.Note)
}

// credential fills in c, but for its access key.
func (d *decoder) credential(c *Credential) {
	d.version()
	c.Namespace, c.Secret = d.namespace(), d.bytes(maxSecret)
	c.Created, c.Note = d.time(), d.text(maxNote)
}
