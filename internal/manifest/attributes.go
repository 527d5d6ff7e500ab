package manifest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdall/holdall"
)

// Attributes is what an object's row says of it beyond name, size, time and
// ETag. Values are kept as they were given.
type Attributes struct {
	ContentType        string
	ContentEncoding    string
	ContentDisposition string
	ContentLanguage    string
	CacheControl       string
	Expires            string // as the header was
	StorageClass       string // "" = the standard one

	// User is the user's own metadata: names in lower case, sorted, each once;
	// names and values together at most holdall.MaxUserMetadata bytes.
	User []Field

	Checksums []Checksum // by algorithm, each once

	// Parts is how many parts the object was uploaded in; 0 = not in parts.
	// PartSizes are theirs in order, run-length; none when they are so varied
	// that they would not fit.
	Parts     int
	PartSizes []PartRun

	// What a migration found at the other store; zero = it was not migrated.
	SourceETag     string
	SourceVersion  string
	SourceModified time.Time
}

// Field is a name and a value of user metadata.
type Field struct{ Name, Value string }

// ChecksumKind says what a checksum was taken over.
type ChecksumKind uint8

// The kinds of checksum.
const (
	FullObject ChecksumKind = 1 // the object's bytes
	Composite  ChecksumKind = 2 // its parts' checksums
)

// Checksum is one that a client gave or asked for.
type Checksum struct {
	Algorithm string // as S3 names it: CRC32, CRC32C, CRC64NVME, SHA1, SHA256
	Kind      ChecksumKind
	Value     []byte // raw
}

// PartRun is parts of one size.
type PartRun struct {
	Count int
	Size  int64 // bytes of each
}

// The fields of encoded attributes, each a tag, two bytes of length, and as many
// bytes; in this order, each once but for those that say otherwise.
const (
	tagContentType        = 1
	tagContentEncoding    = 2
	tagContentDisposition = 3
	tagContentLanguage    = 4
	tagCacheControl       = 5
	tagExpires            = 6
	tagStorageClass       = 7
	tagUser               = 8 // of every field: length of the name (2), name, value
	tagChecksum           = 9 // of every checksum: kind (1), length of the algorithm (1), algorithm, value
	tagParts              = 10
	tagPartRun            = 11 // of every run: count (4), size (8)
	tagSourceETag         = 12
	tagSourceVersion      = 13
	tagSourceModified     = 14 // seconds (8), nanoseconds (4)
)

const maxPartRuns = 256 // 12 bytes each: 3 KiB of the row

// texts are the fields that are plain text, by tag.
func (a *Attributes) texts() map[byte]*string {
	return map[byte]*string{
		tagContentType: &a.ContentType, tagContentEncoding: &a.ContentEncoding, tagContentDisposition: &a.ContentDisposition,
		tagContentLanguage: &a.ContentLanguage, tagCacheControl: &a.CacheControl, tagExpires: &a.Expires, tagStorageClass: &a.StorageClass,
		tagSourceETag: &a.SourceETag, tagSourceVersion: &a.SourceVersion,
	}
}

// SetParts makes a those of an object uploaded in parts of the given sizes, in
// bytes and in order.
func (a *Attributes) SetParts(sizes []int64) {
	a.Parts, a.PartSizes = len(sizes), nil
	for _, s := range sizes {
		if last := len(a.PartSizes) - 1; last >= 0 && a.PartSizes[last].Size == s {
			a.PartSizes[last].Count++
			continue
		}
		if len(a.PartSizes) == maxPartRuns {
			a.PartSizes = nil
			return
		}
		a.PartSizes = append(a.PartSizes, PartRun{1, s})
	}
}

// Part returns where part number, from 1, lies in the object. ok is false when
// there is no such part, or their sizes are not known.
func (a *Attributes) Part(number int) (offset, size int64, ok bool) {
	left := number - 1
	for _, r := range a.PartSizes {
		if left >= 0 && left < r.Count {
			return offset + int64(left)*r.Size, r.Size, true
		}
		left -= r.Count
		offset += int64(r.Count) * r.Size
	}
	return 0, 0, false
}

// check says what cannot be encoded, or must not have been.
func (a *Attributes) check() error {
	total := 0
	for i, f := range a.User {
		total += len(f.Name) + len(f.Value)
		switch {
		case f.Name == "" || f.Name != strings.ToLower(f.Name):
			return fmt.Errorf("user metadata %q: want a name in lower case", f.Name)
		case i > 0 && f.Name <= a.User[i-1].Name:
			return fmt.Errorf("user metadata %q: comes after %q", f.Name, a.User[i-1].Name)
		}
	}
	if total > holdall.MaxUserMetadata {
		return fmt.Errorf("user metadata of %d bytes, at most %d", total, holdall.MaxUserMetadata)
	}
	for i, c := range a.Checksums {
		switch {
		case c.Algorithm == "" || len(c.Algorithm) > 32 || len(c.Value) == 0 || len(c.Value) > 64:
			return fmt.Errorf("checksum %.40q of %d bytes", c.Algorithm, len(c.Value))
		case c.Kind != FullObject && c.Kind != Composite:
			return fmt.Errorf("checksum %s of kind %d", c.Algorithm, c.Kind)
		case i > 0 && c.Algorithm <= a.Checksums[i-1].Algorithm:
			return fmt.Errorf("checksum %s comes after %s", c.Algorithm, a.Checksums[i-1].Algorithm)
		}
	}
	return a.checkParts()
}

func (a *Attributes) checkParts() error {
	if a.Parts < 0 || a.Parts > holdall.MaxParts || len(a.PartSizes) > maxPartRuns {
		return fmt.Errorf("%d parts in %d runs, at most %d in %d", a.Parts, len(a.PartSizes), holdall.MaxParts, maxPartRuns)
	}
	n := 0
	for i, r := range a.PartSizes {
		if r.Count < 1 || r.Count > holdall.MaxParts || r.Size < 0 || r.Size > holdall.MaxObjectSize || i > 0 && a.PartSizes[i-1].Size == r.Size {
			return fmt.Errorf("a run of %d parts of %d bytes", r.Count, r.Size)
		}
		n += r.Count
	}
	if n != a.Parts && len(a.PartSizes) > 0 {
		return fmt.Errorf("%d parts, sizes of %d", a.Parts, n)
	}
	return nil
}

// Normalize brings a into the form that Encode wants: names in lower case,
// fields and checksums sorted. Names that differ only in case are joined by a
// comma, as HTTP joins headers.
func (a *Attributes) Normalize() {
	user := slices.Clone(a.User)
	for i := range user {
		user[i].Name = strings.ToLower(user[i].Name)
	}
	slices.SortStableFunc(user, func(x, y Field) int { return strings.Compare(x.Name, y.Name) })
	a.User = nil
	for _, f := range user {
		if last := len(a.User) - 1; last >= 0 && a.User[last].Name == f.Name {
			a.User[last].Value += "," + f.Value
			continue
		}
		a.User = append(a.User, f)
	}
	a.Checksums = slices.Clone(a.Checksums)
	slices.SortFunc(a.Checksums, func(x, y Checksum) int { return strings.Compare(x.Algorithm, y.Algorithm) })
}

// Encode returns the bytes that a root and a row carry: none for the zero
// Attributes, at most MaxAttributes. Equal Attributes have equal bytes. Errors
// are ErrInvalid.
func (a *Attributes) Encode() ([]byte, error) {
	err := a.check()
	e := encoder{b: []byte{version}}
	if err == nil {
		a.encode(&e)
		err = e.err
	}
	if err == nil && len(e.b) > MaxAttributes {
		err = fmt.Errorf("%d bytes, at most %d", len(e.b), MaxAttributes)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: attributes: %w: %w", err, holdall.ErrInvalid)
	}
	if len(e.b) == 1 {
		return nil, nil
	}
	return e.b, nil
}

func (a *Attributes) encode(e *encoder) {
	texts := a.texts()
	le := binary.LittleEndian
	for tag := byte(tagContentType); tag <= tagSourceModified; tag++ {
		switch tag {
		case tagUser:
			for _, f := range a.User {
				e.field(tag, le.AppendUint16(nil, uint16(len(f.Name))), []byte(f.Name), []byte(f.Value))
			}
		case tagChecksum:
			for _, c := range a.Checksums {
				e.field(tag, []byte{byte(c.Kind), byte(len(c.Algorithm))}, []byte(c.Algorithm), c.Value)
			}
		case tagParts:
			if a.Parts > 0 {
				e.field(tag, le.AppendUint32(nil, uint32(a.Parts)))
			}
		case tagPartRun:
			for _, r := range a.PartSizes {
				e.field(tag, le.AppendUint64(le.AppendUint32(nil, uint32(r.Count)), uint64(r.Size)))
			}
		case tagSourceModified:
			if t := a.SourceModified; !t.IsZero() {
				e.field(tag, le.AppendUint32(le.AppendUint64(nil, uint64(t.Unix())), uint32(t.Nanosecond())))
			}
		default:
			if *texts[tag] != "" {
				e.field(tag, []byte(*texts[tag]))
			}
		}
	}
}
