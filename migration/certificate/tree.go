package certificate

import (
	"encoding/binary"
	"time"

	"github.com/holdall/holdall"
)

// Digest is a BLAKE3-256.
type Digest = holdall.BlockID

// Evidence is how a key was proved equal on both sides.
type Evidence uint8

// The kinds of evidence.
const (
	Verified Evidence = 1 // both sides were read in full, and compared
	Mirrored Evidence = 2 // it was written to both, and both said so, since the last full verification began
	Excepted Evidence = 3 // it is not equal, or was not compared: an exception says why, and who took it
)

// Leaf is one key of the bucket.
type Leaf struct {
	Key           string
	Version       holdall.Version // in the cell
	Size          int64           // bytes
	Content       Digest          // BLAKE3-256 of the bytes; zero where Evidence is Excepted
	ETag          string          // as the source gave it
	SourceVersion string          // as the source gave it; "" = none
	Evidence      Evidence
	At            time.Time // when it was proved, milliseconds
}

// Prefixes of what is hashed, so that a leaf can never be taken for a node.
const (
	leafPrefix = 0
	nodePrefix = 1
)

// append appends the bytes of l that are hashed: every text after its length, so
// that no two leaves have the same.
func (l *Leaf) append(dst []byte) []byte {
	text := func(s string) {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	text(l.Key)
	dst = binary.AppendUvarint(dst, uint64(l.Version))
	dst = binary.AppendUvarint(dst, uint64(l.Size))
	dst = append(dst, l.Content[:]...)
	text(l.ETag)
	text(l.SourceVersion)
	dst = append(dst, byte(l.Evidence))
	return binary.AppendUvarint(dst, uint64(l.At.UnixMilli()))
}

// Tree takes leaves, in the order of their keys, and has their Merkle root: the
// tree of RFC 6962, with BLAKE3-256. It holds one hash for each level.
type Tree struct {
	n     uint64
	peaks []Digest // of the full subtrees so far, the largest first: one for each bit of n
	buf   []byte
}

// Add adds the next leaf.
func (t *Tree) Add(l *Leaf) {
	t.buf = l.append(append(t.buf[:0], leafPrefix))
	h := holdall.HashBlock(t.buf)
	for n := t.n; n&1 == 1; n >>= 1 {
		h = join(t.peaks[len(t.peaks)-1], h)
		t.peaks = t.peaks[:len(t.peaks)-1]
	}
	t.peaks = append(t.peaks, h)
	t.n++
}

// Root returns the root over the leaves so far: of none, the hash of nothing.
func (t *Tree) Root() Digest {
	if t.n == 0 {
		return holdall.HashBlock(nil)
	}
	h := t.peaks[len(t.peaks)-1]
	for i := len(t.peaks) - 2; i >= 0; i-- {
		h = join(t.peaks[i], h)
	}
	return h
}

func join(left, right Digest) Digest {
	var b [1 + 2*len(left)]byte
	b[0] = nodePrefix
	copy(b[1:], left[:])
	copy(b[1+len(left):], right[:])
	return holdall.HashBlock(b[:])
}
