// Package volume keeps erasure-coded extents on disks.
package volume

import (
	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
)

// Grant allows one extent to be created. Metadata gives it; a disk checks that
// it is the one named.
type Grant struct {
	Disk   holdall.DiskID
	Extent holdall.ExtentID
	Scheme holdall.Scheme
	Limit  int64 // the most bytes of records and footer that the extent may hold
}

// Append is one shard of one stripe on its way to its extent.
type Append struct {
	Extent holdall.ExtentID
	Epoch  holdall.Epoch  // of the lease under which it is written
	Offset int64          // where the writer believes the extent ends; anything else is ErrStale
	Stripe holdall.Stripe // the whole stripe's table, written in the record header
	Shard  int            // which shard this is

	// Record is RecordSize(Stripe.Shards[Shard].Length) bytes: a header sector
	// of undefined content, which the volume server fills in place, then the
	// payload, then zeros to the next sector. The caller keeps it, and lets
	// nobody write to it until Append has returned.
	Record *buffer.Buffer
}

// ExtentState is what a disk can say of an extent's end.
type ExtentState uint8

// The states of an extent.
const (
	ExtentOpen    ExtentState = 1 // ends cleanly after its last whole record
	ExtentTorn    ExtentState = 2 // bytes after the last whole record: nothing is appended there
	ExtentCorrupt ExtentState = 3 // a record before the committed end is bad or missing
	ExtentSealed  ExtentState = 4 // has its footer
	ExtentTrashed ExtentState = 5 // waits to be freed
)

// ExtentInfo describes an extent on a disk.
type ExtentInfo struct {
	Disk   holdall.DiskID
	Extent holdall.ExtentID
	Scheme holdall.Scheme
	Limit  int64
	Epoch  holdall.Epoch // the highest it was fenced to
	State  ExtentState
	End    int64  // bytes of whole records, footer left out
	Last   uint64 // number of the last stripe with a record here; 0 = none
	Zones  []int  // in order
	Bytes  int64  // written on the device for it, zone headers and footer too
}

// Record is one record as found by a sequential, verified scan.
type Record struct {
	Extent holdall.ExtentID
	Offset int64
	Shard  int
	Stripe holdall.Stripe
	Blocks []BlockEntry // the pack's directory; nil for parity shards
}

// BlockEntry is one line of a pack's directory.
type BlockEntry struct {
	ID        holdall.BlockID
	Namespace holdall.NamespaceID
	Offset    uint32 // in the payload
	Length    uint32
	Flags     uint32 // see BlockFlags
}

// DiskStatus is what operators and planners want to know of a disk.
type DiskStatus struct {
	ID          holdall.DiskID
	Path        string
	State       holdall.DiskState
	Reason      string // why it is not active
	Capacity    int64  // bytes, in whole zones
	Written     int64  // bytes below write pointers
	FreeZones   int
	TotalZones  int
	OpenZones   int
	MaxOpen     int // 0 = no limit
	ZoneSize    int64
	Incarnation uint64
}
