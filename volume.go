package holdall

import (
	"fmt"
	"strconv"
)

// Epoch is a fencing number: (cell incarnation, counter). The counter rises on
// every lease change, member change and seal; the incarnation on every restore,
// rebuild or forced bootstrap, so no epoch is given twice. Epochs compare as
// integers. The zero Epoch is before all others.
type Epoch uint64

// MakeEpoch joins an incarnation (at most 2^20-1) and a counter (at most 2^44-1).
func MakeEpoch(incarnation uint32, counter uint64) Epoch {
	if incarnation >= 1<<20 || counter >= 1<<44 {
		panic("holdall: epoch out of range")
	}
	return Epoch(uint64(incarnation)<<44 | counter)
}

// Incarnation returns the cell incarnation under which e was given.
func (e Epoch) Incarnation() uint32 { return uint32(e >> 44) }

// Counter returns the counter of e within its incarnation.
func (e Epoch) Counter() uint64 { return uint64(e) & (1<<44 - 1) }

// String returns "incarnation.counter".
func (e Epoch) String() string { return fmt.Sprintf("%d.%d", e.Incarnation(), e.Counter()) }

// VolumeID names a volume: cell incarnation (16 bits), then a counter (48
// bits). The zero VolumeID names none.
type VolumeID uint64

// MakeVolumeID joins an incarnation and a counter.
func MakeVolumeID(incarnation uint32, counter uint64) VolumeID {
	if incarnation >= 1<<16 || counter >= 1<<48 {
		panic("holdall: volume id out of range")
	}
	return VolumeID(uint64(incarnation)<<48 | counter)
}

// Incarnation returns the cell incarnation under which v was made.
func (v VolumeID) Incarnation() uint32 { return uint32(v >> 48) }

// Counter returns the counter of v within its incarnation.
func (v VolumeID) Counter() uint64 { return uint64(v) & (1<<48 - 1) }

// String returns v as 16 hex digits.
func (v VolumeID) String() string { return fmt.Sprintf("%016x", uint64(v)) }

// MarshalText makes a VolumeID its hex digits in JSON.
func (v VolumeID) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (v *VolumeID) UnmarshalText(b []byte) (err error) {
	*v, err = ParseVolumeID(string(b))
	return err
}

// ParseVolumeID reads up to 16 hex digits.
func ParseVolumeID(s string) (VolumeID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("volume id %.40q: want 1 to 16 hex digits, not zero: %w", s, ErrInvalid)
	}
	return VolumeID(n), nil
}

// MaxMembers is the most members, k+m, that a volume may have: the record
// header holds this many shard places in its one sector.
const MaxMembers = 32

// MaxVolumeStripes is the most stripes a volume may hold: it bounds the footer
// and the memory of an open extent. A volume that reaches it is sealed.
const MaxVolumeStripes = 65536

// ExtentID names one member's log. A member that comes back to a disk it once
// left does so under another epoch, so an ExtentID is never used twice.
type ExtentID struct {
	Volume  VolumeID
	Member  uint8 // 0 to n-1
	Created Epoch // the volume's epoch when the extent was made
}

// String returns "volume/member@epoch".
func (e ExtentID) String() string { return fmt.Sprintf("%v/%d@%v", e.Volume, e.Member, e.Created) }

// Location says where a block's bytes lie: Length bytes at Offset of the extent
// of Member in Volume. Offsets count bytes of the extent; zone headers are left
// out.
type Location struct {
	Volume VolumeID
	Member uint8
	Offset int64
	Length uint32
}

// ShardPlace is where one shard of a stripe lies in its member's extent.
// Offset is that of the record (its header sector); the payload begins
// RecordHeaderSize later. A pack that is absent from a narrow stripe has
// Length 0 and takes no space on its member.
type ShardPlace struct {
	Offset int64  // of the record, in the extent of ShardMember(number, shard, n)
	Length uint32 // payload bytes
}

// Stripe is the table that every record of a stripe carries and every footer
// lists: where each shard lies. Shards are indexed by shard, not by member.
type Stripe struct {
	Volume VolumeID
	Epoch  Epoch
	Number uint64 // from 1, in order of writing, without gaps among the committed
	Scheme Scheme
	Shards []ShardPlace // k+m of them
}

// Height returns the payload length of the parity shards: that of the longest
// pack.
func (s *Stripe) Height() uint32 {
	var h uint32
	for _, p := range s.Shards {
		h = max(h, p.Length)
	}
	return h
}

// RecordHeaderSize is the bytes before a shard's payload in its record, and the
// unit (the sector) to which records are padded.
const RecordHeaderSize = 4096

// RecordSize returns the bytes that a shard with a payload of n bytes takes in
// its extent: header, payload, padding. An absent shard takes none.
func RecordSize(n uint32) int64 {
	if n == 0 {
		return 0
	}
	return RecordHeaderSize + (int64(n)+RecordHeaderSize-1)/RecordHeaderSize*RecordHeaderSize
}

// ShardMember returns the member that holds shard i of stripe number s in a
// volume of n members: parity and absent packs rotate, so extents fill alike.
func ShardMember(s uint64, shard, n int) int { return int((uint64(shard) + s) % uint64(n)) }

// MemberShard is the inverse of ShardMember: the shard of stripe s that member
// holds.
func MemberShard(s uint64, member, n int) int {
	return int((uint64(member) + uint64(n) - s%uint64(n)) % uint64(n))
}

// VolumeState is a volume's place in its life.
type VolumeState uint8

// The states of a volume. A volume goes forward through them, never back.
const (
	VolumeOpen   VolumeState = 1 // takes appends from the gateway that holds its lease
	VolumeSealed VolumeState = 2 // takes no more appends, for ever
	VolumeFreed  VolumeState = 3 // no row names it; its extents may be reset after the hold
)

var volumeStates = map[VolumeState]string{VolumeOpen: "open", VolumeSealed: "sealed", VolumeFreed: "freed"}

// String returns the word operators see.
func (s VolumeState) String() string {
	if w, ok := volumeStates[s]; ok {
		return w
	}
	return fmt.Sprintf("state-%d", uint8(s))
}
