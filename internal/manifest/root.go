package manifest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// Root is the block that makes an object of other blocks, or of the bytes that
// it holds itself. It names what it is, so that names can be rebuilt from blocks
// alone; no two roots are alike, because each holds the PutID of its put.
type Root struct {
	Namespace  holdall.NamespaceID
	Bucket     holdall.BucketID
	BucketName string // when it was written
	Key        string
	Put        holdall.PutID
	Origin     uint8 // a metadata.Origin
	Size       int64
	Modified   time.Time
	ETag       string
	Attributes []byte // as Attributes.Encode makes them
	Tags       []byte // as EncodeTags makes them

	Inline  []byte  // the object, when Entries is empty; at most holdall.MaxInline bytes
	Entries []Entry // at most holdall.MaxNodeEntries
}

// Limits of a root's fields, in bytes; they are those of the row that it makes
// in metadata.
const (
	MaxETag       = 128
	MaxAttributes = 8 << 10
	MaxTagBytes   = 8 << 10
)

// Offsets in a root (docs/format/object.md).
const (
	rootMagic = "HOLDOBJ1"

	rootVersion    = 8
	rootOrigin     = 10
	rootForm       = 11
	rootNamespace  = 12
	rootBucket     = 16
	rootPut        = 24
	rootSize       = 40
	rootSeconds    = 48
	rootNanos      = 56
	rootCount      = 60 // of entries, or of inline bytes
	rootBucketName = 64 // lengths, in the order in which the bytes follow
	rootKey        = 66
	rootETag       = 68
	rootAttributes = 70
	rootTags       = 72
	rootReserved   = 74
	rootHeader     = 80

	formEntries = 0
	formInline  = 1
)

// Children returns the blocks that the root lists, each once for every time it
// is listed.
func (r *Root) Children() []holdall.BlockID { return ids(r.Entries) }

// Listed returns the same, the nodes among them first, and how many those are: what
// a commit asks for.
func (r *Root) Listed() (children []holdall.BlockID, nodes int) { return split(r.Entries) }

// Check says why r cannot be a root. Errors are ErrInvalid.
func (r *Root) Check() error {
	var faults []error
	rule := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	if err := errors.Join(holdall.CheckBucketName(r.BucketName), holdall.CheckKey(r.Key)); err != nil {
		faults = append(faults, err)
	}
	rule(len(r.ETag) <= MaxETag, "ETag of %d bytes, at most %d", len(r.ETag), MaxETag)
	rule(len(r.Attributes) <= MaxAttributes, "attributes of %d bytes, at most %d", len(r.Attributes), MaxAttributes)
	rule(len(r.Tags) <= MaxTagBytes, "tags of %d bytes, at most %d", len(r.Tags), MaxTagBytes)
	rule(len(r.Inline) <= holdall.MaxInline, "%d bytes inline, at most %d", len(r.Inline), holdall.MaxInline)
	rule(r.Size >= 0 && r.Size <= holdall.MaxObjectSize, "%d bytes, at most %d", r.Size, int64(holdall.MaxObjectSize))
	if len(r.Entries) == 0 {
		rule(int64(len(r.Inline)) == r.Size, "%d bytes, %d are inline", r.Size, len(r.Inline))
		return joined(faults)
	}
	rule(len(r.Inline) == 0, "entries and inline bytes")
	if err := checkEntries(r.Entries); err != nil {
		faults = append(faults, err)
	} else {
		rule(size(r.Entries) == r.Size, "%d bytes, its entries stand for %d", r.Size, size(r.Entries))
	}
	return joined(faults)
}

func joined(faults []error) error {
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("manifest: root: %w: %w", errors.Join(faults...), holdall.ErrInvalid)
}

// Encode returns the root's block, of at most 100 KiB. Errors are Check's.
func (r *Root) Encode() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	b := make([]byte, rootHeader, rootHeader+len(r.BucketName)+len(r.Key)+len(r.ETag)+len(r.Attributes)+len(r.Tags)+len(r.Inline)+len(r.Entries)*entryBytes)
	copy(b, rootMagic)
	le.PutUint16(b[rootVersion:], version)
	b[rootOrigin] = r.Origin
	le.PutUint32(b[rootNamespace:], uint32(r.Namespace))
	le.PutUint64(b[rootBucket:], uint64(r.Bucket))
	copy(b[rootPut:], r.Put[:])
	le.PutUint64(b[rootSize:], uint64(r.Size))
	le.PutUint64(b[rootSeconds:], uint64(r.Modified.Unix()))
	le.PutUint32(b[rootNanos:], uint32(r.Modified.Nanosecond()))
	le.PutUint16(b[rootBucketName:], uint16(len(r.BucketName)))
	le.PutUint16(b[rootKey:], uint16(len(r.Key)))
	le.PutUint16(b[rootETag:], uint16(len(r.ETag)))
	le.PutUint16(b[rootAttributes:], uint16(len(r.Attributes)))
	le.PutUint16(b[rootTags:], uint16(len(r.Tags)))
	b = append(b, r.BucketName...)
	b = append(b, r.Key...)
	b = append(b, r.ETag...)
	b = append(b, r.Attributes...)
	b = append(b, r.Tags...)
	if len(r.Entries) > 0 {
		le.PutUint32(b[rootCount:], uint32(len(r.Entries)))
		return appendEntries(b, r.Entries), nil
	}
	b[rootForm] = formInline
	le.PutUint32(b[rootCount:], uint32(len(r.Inline)))
	return append(b, r.Inline...), nil
}

// ParseRoot reads a root's block. Its Inline, Attributes and Tags lie in b.
// Errors are ErrCorrupt.
func ParseRoot(b []byte) (*Root, error) {
	bad := func(format string, args ...any) (*Root, error) { return nil, corrupt("root", format, args...) }
	le := binary.LittleEndian
	switch {
	case len(b) < rootHeader:
		return bad("has %d bytes, its header alone %d", len(b), rootHeader)
	case string(b[:rootVersion]) != rootMagic:
		return bad("begins with %q", b[:rootVersion])
	case le.Uint16(b[rootVersion:]) != version:
		return bad("has version %d, this program reads %d", le.Uint16(b[rootVersion:]), version)
	case b[rootForm] > formInline:
		return bad("has form %d", b[rootForm])
	case [rootHeader - rootReserved]byte(b[rootReserved:]) != [rootHeader - rootReserved]byte{}:
		return bad("reserved bytes are %x", b[rootReserved:rootHeader])
	case le.Uint32(b[rootNanos:]) >= 1e9:
		return bad("was modified at %d nanoseconds of a second", le.Uint32(b[rootNanos:]))
	}
	r := &Root{Namespace: holdall.NamespaceID(le.Uint32(b[rootNamespace:])), Bucket: holdall.BucketID(le.Uint64(b[rootBucket:])),
		Put: holdall.PutID(b[rootPut:rootSize]), Origin: b[rootOrigin], Size: int64(le.Uint64(b[rootSize:])),
		Modified: time.Unix(int64(le.Uint64(b[rootSeconds:])), int64(le.Uint32(b[rootNanos:]))).UTC()}
	rest := b[rootHeader:]
	fields := make([][]byte, 5)
	for i := range fields {
		n := int(le.Uint16(b[rootBucketName+2*i:]))
		if n > len(rest) {
			return bad("has %d bytes, its fields more", len(b))
		}
		fields[i], rest = rest[:n:n], rest[n:]
	}
	r.BucketName, r.Key, r.ETag = string(fields[0]), string(fields[1]), string(fields[2])
	r.Attributes, r.Tags = fields[3], fields[4]
	if err := r.parseBody(rest, le.Uint32(b[rootCount:]), b[rootForm]); err != nil {
		return bad("%v", err)
	}
	return r, nil
}

// parseBody reads what follows a root's fields, and judges the whole.
func (r *Root) parseBody(b []byte, count uint32, form byte) (err error) {
	if form == formInline {
		if uint64(count) != uint64(len(b)) {
			return fmt.Errorf("says %d bytes inline, has %d", count, len(b))
		}
		r.Inline = b
	} else if r.Entries, err = parseEntries(b, count); err != nil {
		return err
	}
	if err := r.Check(); err != nil {
		return err
	}
	if _, err := ParseAttributes(r.Attributes); err != nil {
		return err
	}
	_, err = ParseTags(r.Tags)
	return err
}
