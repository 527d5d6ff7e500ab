package holdall

import (
	"encoding/hex"
	"fmt"
)

// Limits of objects and of what names them. More than these is ErrInvalid.
const (
	MaxObjectSize   = 488 << 40 / 10 // bytes: 48.8 TiB, what S3 takes
	MaxParts        = 10_000         // parts of an upload, numbered from 1
	MaxNodeEntries  = 1024           // entries of a manifest node: its commit, one Raft entry, stays under 64 KiB
	MaxInline       = 64 << 10       // bytes: an object up to this size lies in its own manifest, one block in place of two
	MaxKeySize      = 1024           // bytes of a key
	MaxUserMetadata = 2 << 10        // bytes of the names and values of an object's user metadata
	MaxTags         = 10             // of an object; S3's limits hold for each: 128 characters of key, 256 of value
	MaxListPage     = 1000           // entries of a page of a listing
	MaxNamespaces   = 10_000         // in a cell
	MaxBuckets      = 100_000        // in a cell
)

// BucketID numbers a bucket of a cell; no number is given twice.
type BucketID uint64

// Version numbers a version of an object. Versions of a cell rise in the order
// in which they were committed; none is given twice, and 0 is none.
type Version uint64

// PutID names one put of an object, or one multipart upload. Whoever begins it
// chooses it, at random: a repeat under the same PutID changes nothing.
type PutID [16]byte

// String returns the 32 lower-case hex digits of id.
func (id PutID) String() string { return hex.EncodeToString(id[:]) }

// ParsePutID reads 32 hex digits.
func ParsePutID(s string) (PutID, error) {
	var id PutID
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("put id %.80q: has %d characters, want 32 hex digits: %w", s, len(s), ErrInvalid)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return PutID{}, fmt.Errorf("put id %q: not hex digits: %w", s, ErrInvalid)
	}
	return id, nil
}

// CheckKey refuses what cannot be the key of an object. Every byte is allowed in
// a key, and none means anything: a key is never a path.
func CheckKey(key string) error {
	if len(key) == 0 || len(key) > MaxKeySize {
		return fmt.Errorf("key %.80q: has %d bytes, want 1 to %d: %w", key, len(key), MaxKeySize, ErrInvalid)
	}
	return nil
}

// CheckBucketName refuses what cannot be the name of a bucket, by S3's rules: 3
// to 63 characters out of a to z, 0 to 9, dot and hyphen, which begin and end
// with a letter or digit, without two dots side by side.
func CheckBucketName(name string) error {
	bad := func(why string) error {
		return fmt.Errorf("bucket name %.80q: %s: %w", name, why, ErrInvalid)
	}
	if len(name) < 3 || len(name) > 63 {
		return bad(fmt.Sprintf("has %d characters, want 3 to 63", len(name)))
	}
	alphanumeric := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
	for i := range len(name) {
		switch c := name[i]; {
		case alphanumeric(c):
		case i == 0 || i == len(name)-1:
			return bad("must begin and end with a letter a to z or a digit")
		case c != '.' && c != '-':
			return bad(fmt.Sprintf("has %q; letters a to z, digits, dots and hyphens are allowed", c))
		case c == '.' && name[i-1] == '.':
			return bad("has two dots side by side")
		}
	}
	return nil
}

// CheckNamespaceName refuses what cannot be the name of a namespace: the rules
// are those of CheckBucketName.
func CheckNamespaceName(name string) error {
	if err := CheckBucketName(name); err != nil {
		return fmt.Errorf("namespace: %w", err)
	}
	return nil
}
