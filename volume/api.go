package volume

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
)

// Identity is who a disk is: written once by Format, repeated in everything
// that is written to it.
type Identity struct {
	Cell     holdall.CellID
	Disk     holdall.DiskID
	ZoneSize int64 // bytes; 0 in Format = the device's
}

// DiskConfig is how a disk is used. The zero DiskConfig is the production
// default.
type DiskConfig struct {
	Path         string         // for status and logs
	Cell         holdall.CellID // that the disk must be of; zero = any
	Pool         *buffer.Pool   // nil = one of its own
	Logger       *slog.Logger   // nil = slog.Default()
	Metrics      *Metrics       // nil = counted, not published
	Readers      int            // reads at once, for queues of disks reorder that many well; 0 = 32
	ReserveZones int            // zones that only reserved grants may use: repair, compaction, the cell's own volumes; 0 = 4
	TableCache   int64          // bytes of stripe tables of sealed extents kept in memory; 0 = 4 MiB
	CheckEvery   time.Duration  // how often an idle disk is checked to be there; 0 = 1 s
	CloseWait    time.Duration  // how long Close waits for a device that hangs; 0 = 1 min
}

// Validate says everything that is wrong with c. Its errors wrap ErrInvalid.
func (c *DiskConfig) Validate() error {
	var faults []error
	for _, f := range []struct {
		name  string
		value int64
	}{{"Readers", int64(c.Readers)}, {"ReserveZones", int64(c.ReserveZones)}, {"TableCache", c.TableCache}, {"CheckEvery", int64(c.CheckEvery)}, {"CloseWait", int64(c.CloseWait)}} {
		if f.value < 0 {
			faults = append(faults, fmt.Errorf("volume.DiskConfig.%s is %d, want 0 (the default) or more: %w", f.name, f.value, holdall.ErrInvalid))
		}
	}
	return errors.Join(faults...)
}

// withDefaults returns c with the defaults filled in.
func (c DiskConfig) withDefaults() DiskConfig {
	if c.Pool == nil {
		c.Pool = buffer.NewPool(16 << 20)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Readers == 0 {
		c.Readers = 32
	}
	if c.ReserveZones == 0 {
		c.ReserveZones = 4
	}
	if c.TableCache == 0 {
		c.TableCache = 4 << 20
	}
	if c.CheckEvery == 0 {
		c.CheckEvery = time.Second
	}
	if c.CloseWait == 0 {
		c.CloseWait = closeWait
	}
	return c
}

// Grant allows one extent to be created. Metadata gives it; a disk checks that
// it is the one named.
type Grant struct {
	Disk   holdall.DiskID
	Extent holdall.ExtentID
	Scheme holdall.Scheme
	Limit  int64 // the most bytes of records and footer that the extent may hold

	// Reserved lets the extent take the zones that DiskConfig.ReserveZones
	// keeps back: for repair, for compaction, which frees more than it takes,
	// and for the cell's own volumes.
	Reserved bool
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
	ExtentTorn    ExtentState = 2 // bytes after the committed end, or after the last whole record: nothing is appended there
	ExtentCorrupt ExtentState = 3 // a record before the committed end is bad or missing
	ExtentSealed  ExtentState = 4 // has its footer
	ExtentTrashed ExtentState = 5 // waits to be freed
)

var extentStates = map[ExtentState]string{ExtentOpen: "open", ExtentTorn: "torn", ExtentCorrupt: "corrupt", ExtentSealed: "sealed", ExtentTrashed: "trashed"}

// String returns the word operators see.
func (s ExtentState) String() string {
	if w, ok := extentStates[s]; ok {
		return w
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// ExtentInfo describes an extent on a disk.
type ExtentInfo struct {
	Disk   holdall.DiskID
	Extent holdall.ExtentID
	Scheme holdall.Scheme
	Limit  int64
	Epoch  holdall.Epoch // the highest it was fenced to
	State  ExtentState
	End    int64   // where its whole records end, footer left out
	Last   uint64  // number of the last stripe with a record here; of a sealed extent, the volume's last; 0 = none
	Zones  []int   // in order
	Bytes  int64   // written on the device for it, zone headers and footer too
	Faults []Fault // places before End where a record should be and is not
}

// Fault is a place on a disk where bytes are not what they should be.
type Fault struct {
	Disk   holdall.DiskID
	Extent holdall.ExtentID
	Zone   int   // where it begins
	Offset int64 // in the extent
	Length int64 // bytes; 0 = unknown
	Err    error // what is wrong; wraps ErrCorrupt, or the device's error
}

// Error returns where and what.
func (f *Fault) Error() string {
	return fmt.Sprintf("disk %v zone %d: extent %v at %d (%d bytes): %v", f.Disk, f.Zone, f.Extent, f.Offset, f.Length, f.Err)
}

// Unwrap returns the kind.
func (f *Fault) Unwrap() error { return f.Err }

// Record is one record as found by a sequential, verified scan.
type Record struct {
	Extent  holdall.ExtentID
	Offset  int64
	Shard   int
	Stripe  holdall.Stripe
	Blocks  []BlockEntry // the pack's directory; nil for parity shards
	Payload []byte       // valid until the callback returns
}

// BlockEntry is one line of a pack's directory.
type BlockEntry struct {
	ID        holdall.BlockID
	Namespace holdall.NamespaceID
	Offset    uint32 // in the payload
	Length    uint32
	Flags     uint32 // BlockPending, BlockCopy
}

// DiskStatus is what operators and planners want to know of a disk.
type DiskStatus struct {
	ID          holdall.DiskID
	Path        string
	State       holdall.DiskState
	Reason      string // why it is not active
	Gone        bool   // it does not answer: reads fail too
	Note        string // what its last start found in the superblock log, if not what a clean stop leaves
	Capacity    int64  // bytes, in whole zones
	Written     int64  // bytes written for extents, zone headers and footers too
	FreeZones   int    // not owned, not waiting to be reset, and with room on the device
	TotalZones  int
	OpenZones   int // part-written, the superblock's too
	MaxOpen     int // 0 = no limit
	ZoneSize    int64
	Incarnation uint64
	Mounted     bool
}

// Free returns the bytes of zones that may still be given.
func (s *DiskStatus) Free() int64 { return int64(s.FreeZones) * s.ZoneSize }

// ExtentCapacity returns the bytes of records and footer that fit in so many
// zones: the limit that fills them, and nothing of another.
func ExtentCapacity(zoneSize int64, zones int) int64 { return int64(zones) * (zoneSize - SectorSize) }
