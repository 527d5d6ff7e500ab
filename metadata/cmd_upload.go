package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// maxOpenUploads bounds the open uploads of a bucket.
const maxOpenUploads = 1_000_000

// createUpload begins a multipart upload.
type createUpload struct{ Upload Upload }

func (*createUpload) tag() commandTag { return tagCreateUpload }

func (c *createUpload) check() error {
	u := &c.Upload
	if u.ID == (holdall.PutID{}) || len(u.Attributes) > MaxAttributes || len(u.Tags) > MaxTagBytes {
		return fmt.Errorf("metadata: upload %v with attributes of %d bytes, tags of %d, the most are %d, %d: %w",
			u.ID, len(u.Attributes), len(u.Tags), MaxAttributes, MaxTagBytes, holdall.ErrInvalid)
	}
	return holdall.CheckKey(u.Key)
}

func (c *createUpload) encode(dst []byte) []byte {
	u := &c.Upload
	dst = putText(putBucketID(append(dst, u.ID[:]...), u.Bucket), u.Key)
	return putBytes(putBytes(dst, u.Attributes), u.Tags)
}

func (c *createUpload) decode(d *decoder) {
	u := &c.Upload
	u.ID, u.Bucket, u.Key = d.putID(), d.bucketID(), d.text(holdall.MaxKeySize)
	u.Attributes, u.Tags = d.bytes(MaxAttributes), d.bytes(MaxTagBytes)
}

func (c *createUpload) run(t *tx) (result, error) {
	b, err := t.namedBucket(c.Upload.Bucket)
	if err != nil {
		return nil, err
	}
	old, err := t.upload(c.Upload.ID)
	switch {
	case err != nil:
		return nil, err
	case old != nil && old.Bucket == c.Upload.Bucket && old.Key == c.Upload.Key:
		return &uploadAnswer{*old}, nil
	case old != nil:
		return nil, fmt.Errorf("metadata: upload %v is of another key: %w", old.ID, holdall.ErrExists)
	case b.Uploads >= maxOpenUploads:
		return nil, fmt.Errorf("metadata: bucket %q has %d open uploads, that is the most: %w", b.Name, b.Uploads, holdall.ErrExhausted)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	u := c.Upload
	u.Namespace, u.State, u.Created = b.Namespace, UploadOpen, t.now.time()
	b.Uploads++
	t.setUpload(nil, &u)
	t.change(Change{Kind: ChangeUpload, Put: u.ID, Data: appendUpload(nil, &u)})
	return &uploadAnswer{u}, nil
}

// endUpload ends an open upload of bucket b.
func (t *tx) endUpload(b *bucketRow, old *Upload, state UploadState, version holdall.Version) {
	u := *old
	u.State, u.Ended, u.Result = state, t.now.time(), version
	t.setUpload(old, &u)
	b.Uploads = max(0, b.Uploads-1)
}

// putPart adds a part to an upload, or replaces the one of its number.
type putPart struct {
	Upload holdall.PutID
	Part   Part
}

func (*putPart) tag() commandTag { return tagPutPart }

func (c *putPart) check() error {
	p := &c.Part
	if p.Number < 1 || p.Number > holdall.MaxParts || p.Size < 0 || p.Size > holdall.MaxObjectSize || len(p.ETag) > MaxETag || len(p.Attributes) > MaxAttributes {
		return fmt.Errorf("metadata: part %d of upload %v: %d bytes, ETag of %d bytes, attributes of %d: %w",
			p.Number, c.Upload, p.Size, len(p.ETag), len(p.Attributes), holdall.ErrInvalid)
	}
	return nil
}

func (c *putPart) encode(dst []byte) []byte {
	return appendPart(putUvarint(append(dst, c.Upload[:]...), uint64(c.Part.Number)), &c.Part)
}

func (c *putPart) decode(d *decoder) {
	c.Upload, c.Part.Number = d.putID(), int(d.upTo(holdall.MaxParts))
	d.part(&c.Part)
}

func (c *putPart) run(t *tx) (result, error) {
	u, err := t.openUpload(c.Upload)
	if err != nil {
		return nil, err
	}
	if err := t.journaledSpace(u.Namespace); err != nil {
		return nil, err
	}
	if err := t.quotaLeft(u.Namespace); err != nil {
		return nil, err
	}
	row, err := t.block(u.Namespace, &c.Part.Block)
	switch {
	case err != nil:
		return nil, err
	case !row.Live() || c.Part.Node && !row.Node: // see linkNode
		return &goneAnswer{[]holdall.BlockID{c.Part.Block}}, nil
	}
	old, err := t.part(c.Upload, c.Part.Number)
	if err != nil {
		return nil, err
	}
	if err := t.refer(u.Namespace, &c.Part.Block, 1); err != nil {
		return nil, err
	}
	if old != nil {
		if _, err := t.unrefer(u.Namespace, &old.Block, 1); err != nil {
			return nil, err
		}
	}
	p := c.Part
	p.Modified = toInstant(p.Modified).time()
	t.key = appendPartKey(t.key[:0], c.Upload, p.Number)
	value := appendPart(nil, &p)
	t.set(t.key, value)
	t.change(Change{Kind: ChangePart, Put: c.Upload, Number: uint64(p.Number), Data: value})
	return new(goneAnswer), nil
}

// abortUpload ends an upload without an object.
type abortUpload struct{ Upload holdall.PutID }

func (*abortUpload) tag() commandTag            { return tagAbortUpload }
func (*abortUpload) check() error               { return nil }
func (c *abortUpload) encode(dst []byte) []byte { return append(dst, c.Upload[:]...) }
func (c *abortUpload) decode(d *decoder)        { c.Upload = d.putID() }

func (c *abortUpload) run(t *tx) (result, error) {
	u, err := t.upload(c.Upload)
	switch {
	case err != nil:
		return nil, err
	case u == nil || u.State == UploadCompleted:
		return nil, fmt.Errorf("metadata: upload %v: %w", c.Upload, ErrNoUpload)
	case u.State == UploadAborted:
		return noResult{}, nil
	}
	b, err := t.bucket(u.Bucket)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, faultf("upload %v is open in bucket %d, which is not there: %w", u.ID, u.Bucket, holdall.ErrCorrupt)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	t.endUpload(b, u, UploadAborted, 0)
	t.change(Change{Kind: ChangeAbort, Put: u.ID})
	return noResult{}, nil
}

// releaseUpload drops the references of parts of an ended upload. With the last
// of them goes its row, but that of a completed one stays for completedFor.
type releaseUpload struct {
	Upload holdall.PutID
	Limit  int // parts
}

func (*releaseUpload) tag() commandTag { return tagReleaseUpload }

func (c *releaseUpload) check() error {
	if c.Limit < 1 || c.Limit > holdall.MaxIDsPerCall {
		return fmt.Errorf("metadata: release of %d parts, want 1 to %d: %w", c.Limit, holdall.MaxIDsPerCall, holdall.ErrInvalid)
	}
	return nil
}

func (c *releaseUpload) encode(dst []byte) []byte {
	return putUvarint(append(dst, c.Upload[:]...), uint64(c.Limit))
}

func (c *releaseUpload) decode(d *decoder) {
	c.Upload, c.Limit = d.putID(), int(d.upTo(holdall.MaxIDsPerCall))
}

func (c *releaseUpload) run(t *tx) (result, error) {
	if t.sys.Quarantine != "" {
		return nil, t.quarantined("release of an upload")
	}
	u, err := t.upload(c.Upload)
	switch {
	case err != nil:
		return nil, err
	case u == nil:
		return nil, fmt.Errorf("metadata: upload %v: %w", c.Upload, ErrNoUpload)
	case u.State == UploadOpen:
		return nil, fmt.Errorf("metadata: upload %v has not ended: %w", c.Upload, holdall.ErrRefused)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	var drop []Part
	left := 0
	for p, err := range partsOf(t.b, u.ID, 0) {
		if err != nil {
			return nil, &fault{err}
		}
		if len(drop) == c.Limit {
			left++
			continue
		}
		drop = append(drop, p.Part)
	}
	if err := t.dropParts(u, drop); err != nil {
		return nil, err
	}
	if left == 0 {
		t.settleUpload(u)
	}
	return &numberResult{uint64(left)}, nil
}

func (t *tx) dropParts(u *Upload, drop []Part) error {
	for i := range drop {
		if _, err := t.unrefer(u.Namespace, &drop[i].Block, 1); err != nil {
			return err
		}
		t.key = appendPartKey(t.key[:0], u.ID, drop[i].Number)
		t.unset(t.key)
	}
	if n := len(drop); n > 0 {
		t.change(Change{Kind: ChangePartsGone, Put: u.ID, Number: uint64(drop[n-1].Number)})
	}
	return nil
}

// settleUpload drops the row of an ended upload without parts, or notes that it
// has none.
func (t *tx) settleUpload(u *Upload) {
	row := *u
	row.Released = true
	if u.State == UploadAborted || row.due() <= t.now {
		t.setUpload(u, nil)
		t.change(Change{Kind: ChangeUploadGone, Put: u.ID})
		return
	}
	if !u.Released {
		t.setUpload(u, &row)
	}
}
