package holdall

import (
	"encoding/hex"
	"fmt"

	"github.com/zeebo/blake3"
)

// Limits of blocks and of requests that name them. More than these is
// ErrInvalid.
const (
	MaxBlockSize    = 4 << 20 // bytes: one data shard, one disk write
	MaxIDsPerCall   = 1000    // ids in a Lookup, Missing, Claim or Delete: 32 KB a message, one Raft entry
	MaxPackBlocks   = 1024    // blocks in a pack: a directory stays under 64 KiB
	MaxStripeBlocks = 16384   // blocks in a stripe: about what its commit, one Raft entry, has room for
	MaxRaftEntry    = 1 << 20 // bytes: larger entries stall heartbeats
)

// BlockID names a block: the BLAKE3-256 of its bytes.
type BlockID [32]byte

// HashBlock returns the id of a block with the bytes b.
func HashBlock(b []byte) BlockID { return blake3.Sum256(b) }

// Hasher computes a BlockID from bytes that arrive in pieces. Pieces of 8 KiB
// or more hash as fast as the whole. A Hasher is not safe for concurrent use.
type Hasher struct{ h *blake3.Hasher }

// NewHasher returns a Hasher that has seen no bytes.
func NewHasher() *Hasher { return &Hasher{blake3.New()} }

// Write adds p to what is hashed. It never fails.
func (h *Hasher) Write(p []byte) (int, error) { return h.h.Write(p) }

// Reset makes h a Hasher that has seen no bytes.
func (h *Hasher) Reset() { h.h.Reset() }

// ID returns the id of the bytes written so far. It does not change h.
func (h *Hasher) ID() BlockID {
	var id BlockID
	h.h.Sum(id[:0])
	return id
}

// Proof says what vouches for the bytes of a block, or of a range of one.
type Proof uint8

// What was checked.
const (
	ProofHash   Proof = 1 // the whole block hashes to its id
	ProofChunks Proof = 2 // the record's 64-KiB checksums: the range is intact; the pack's directory: it is the block's
	ProofNone   Proof = 3 // nothing: the caller said that it would hash
)

// String returns the 64 lower-case hex digits of id.
func (id BlockID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText makes a BlockID its hex digits in JSON and TOML.
func (id BlockID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (id *BlockID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseBlockID(string(b))
	return err
}

// ParseBlockID reads 64 hex digits, upper or lower case.
func ParseBlockID(s string) (BlockID, error) {
	var id BlockID
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("block id %.80q: has %d characters, want 64 hex digits: %w", s, len(s), ErrInvalid)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return BlockID{}, fmt.Errorf("block id %q: not hex digits: %w", s, ErrInvalid)
	}
	return id, nil
}

// NamespaceID numbers a namespace: the unit of dedup, quota and authorisation.
type NamespaceID uint32

// The namespaces that exist in every cell.
const (
	SystemNamespace  NamespaceID = 0 // the cell's own blocks: the change journal
	DefaultNamespace NamespaceID = 1 // "default", what clients use when they name none
)

// DefaultNamespaceName is the name of DefaultNamespace.
const DefaultNamespaceName = "default"
