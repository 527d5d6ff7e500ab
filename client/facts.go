package client

import (
	"time"

	"github.com/holdall/holdall"
)

// The facts that a cell tells of itself. Field names in JSON are a contract
// with scripts; bytes are integers, times are RFC 3339.

// BlockStat is where a block lies.
type BlockStat struct {
	ID          holdall.BlockID  `json:"id"`
	Size        uint32           `json:"size"` // bytes
	Namespace   string           `json:"namespace"`
	Volume      holdall.VolumeID `json:"volume"`
	Scheme      holdall.Scheme   `json:"scheme"`
	Stripe      uint64           `json:"stripe"` // number in its volume, from 1; 0 = no member can tell
	Shard       int              `json:"shard"`  // of the stripe, the one that holds the block; -1 = no member can tell
	Member      int              `json:"member"` // of the volume, the one that holds the shard
	Offset      int64            `json:"offset"` // bytes, in the member's extent
	Members     []StatMember     `json:"members"`
	ShardsOK    int              `json:"shards_ok"`    // members that answer and agree on the stripe
	ShardsTotal int              `json:"shards_total"` // members
	Direct      bool             `json:"direct"`       // put by id, not deleted since
	References  uint32           `json:"references"`   // manifest nodes and uploads that list it
	TrashedAt   *time.Time       `json:"trashed_at"`   // nil: not in trash
}

// StatMember is one place of a block's volume.
type StatMember struct {
	Disk  holdall.DiskID `json:"disk"`
	Node  string         `json:"node"`
	State string         `json:"state"` // of the disk
}

// CellStatus is the health of a cell in one screen.
//
// StripesMissing counts the stripes of a volume by how many of its members hold
// records and do not answer. That is an upper bound of the shards that a stripe
// lacks: a narrow one may have none on such a member. Stripes under 0 have every
// shard on a disk that answers. Health follows from it.
type CellStatus struct {
	Health         string            `json:"health"` // ok, degraded, at_risk, unavailable
	Cell           string            `json:"cell"`   // 32 hex digits
	Version        string            `json:"version"`
	Started        time.Time         `json:"started"` // the server process
	Incarnation    uint32            `json:"incarnation"`
	Quarantine     bool              `json:"quarantine"` // after a rebuild, until released
	RaftIndex      uint64            `json:"raft_index"`
	Scheme         string            `json:"scheme"` // of new volumes
	Domain         string            `json:"domain"` // what a volume's members may not share
	Blocks         uint64            `json:"blocks"` // live
	UserBytes      uint64            `json:"user_bytes"`
	DiskBytes      uint64            `json:"disk_bytes"` // by write pointers
	Overhead       float64           `json:"overhead"`   // disk_bytes / user_bytes; 0 = no blocks
	TrashBlocks    uint64            `json:"trash_blocks"`
	TrashBytes     uint64            `json:"trash_bytes"`
	StripesMissing map[uint32]uint64 `json:"stripes_missing"` // shards missing at most → stripes: see below
	Disks          DiskCounts        `json:"disks"`
	VolumesOpen    uint32            `json:"volumes_open"`
	VolumesSealed  uint32            `json:"volumes_sealed"`
	Tasks          []TaskStatus      `json:"tasks"`
	Notes          []string          `json:"notes"` // most urgent first
}

// DiskCounts counts disks by state.
type DiskCounts struct {
	Active   uint32 `json:"active"`
	Failed   uint32 `json:"failed"`
	Draining uint32 `json:"draining"`
}

// TaskStatus is all upkeep work of one kind.
type TaskStatus struct {
	Kind  string   `json:"kind"`
	Count uint64   `json:"count"` // waiting or under way
	Rate  *uint64  `json:"rate"`  // bytes a second, measured over the last minute; nil = not known yet
	ETA   *float64 `json:"eta"`   // seconds until all are done at that rate; nil = not known
}

// DiskStatus is one disk of a cell.
type DiskStatus struct {
	ID          holdall.DiskID `json:"id"`
	Path        string         `json:"path"` // where it was last mounted
	Node        string         `json:"node"`
	Domain      string         `json:"domain"` // labels, outermost first
	State       string         `json:"state"`
	Reason      string         `json:"reason"`   // why it is not active
	Since       time.Time      `json:"since"`    // in this state
	Capacity    uint64         `json:"capacity"` // bytes
	Written     uint64         `json:"written"`  // bytes below write pointers
	FreeZones   uint32         `json:"free_zones"`
	TotalZones  uint32         `json:"total_zones"`
	OpenZones   uint32         `json:"open_zones"`
	MaxOpen     uint32         `json:"max_open"`  // 0 = no limit
	ZoneSize    uint64         `json:"zone_size"` // bytes
	Incarnation uint64         `json:"incarnation"`
	Extents     uint32         `json:"extents"` // members of volumes that it holds
}

// VolumeStatus is one volume of a cell.
type VolumeStatus struct {
	ID         holdall.VolumeID `json:"id"`
	Scheme     string           `json:"scheme"`
	State      string           `json:"state"`
	Epoch      string           `json:"epoch"`   // incarnation.counter
	Gateway    string           `json:"gateway"` // holds, or last held, the lease
	Created    time.Time        `json:"created"`
	Sealed     *time.Time       `json:"sealed"`  // nil = not sealed
	Limit      uint64           `json:"limit"`   // bytes that an extent may hold
	Stripes    uint64           `json:"stripes"` // committed
	Blocks     uint64           `json:"blocks"`  // with a row, trashed ones too
	BlockBytes uint64           `json:"block_bytes"`
	LiveBytes  uint64           `json:"live_bytes"`  // of blocks not in trash
	PackBytes  uint64           `json:"pack_bytes"`  // committed
	ShardBytes uint64           `json:"shard_bytes"` // of records committed, all members
	System     bool             `json:"system"`      // holds the cell's own blocks
	Members    []VolumeMember   `json:"members,omitempty"`
}

// VolumeMember is one place of a volume.
type VolumeMember struct {
	Disk   holdall.DiskID `json:"disk"`
	Path   string         `json:"path"`
	State  string         `json:"state"`  // of the disk
	End    uint64         `json:"end"`    // bytes of committed records
	Footer bool           `json:"footer"` // sealed volumes: its footer is durable
}

// PurgeStatus is what waits in trash, and whether purging goes on.
type PurgeStatus struct {
	Trash            []TrashAge `json:"trash"` // youngest first
	PurgedLastHour   uint64     `json:"purged_last_hour"`
	LimitPerHour     uint64     `json:"limit_per_hour"` // blocks; above it the breaker trips
	BreakerTripped   bool       `json:"breaker_tripped"`
	Reason           string     `json:"reason"`
	RetentionSeconds float64    `json:"retention_seconds"`
	FreeHoldSeconds  float64    `json:"free_hold_seconds"`
}

// TrashAge is trash of about one age.
type TrashAge struct {
	UpToSeconds float64 `json:"up_to_seconds"` // since it was trashed; 0 = older than all others
	Blocks      uint64  `json:"blocks"`
	Bytes       uint64  `json:"bytes"`
}

// ProcessStats is what a server process used since it began.
type ProcessStats struct {
	CPUSeconds         float64   `json:"cpu_seconds"` // user and system
	RSSBytes           uint64    `json:"rss_bytes"`
	PeakRSSBytes       uint64    `json:"peak_rss_bytes"`
	Goroutines         uint32    `json:"goroutines"`
	Started            time.Time `json:"started"`
	DeviceReads        uint64    `json:"device_reads"` // calls, all disks
	DeviceWrites       uint64    `json:"device_writes"`
	DeviceSyncs        uint64    `json:"device_syncs"`
	DeviceReadBytes    uint64    `json:"device_read_bytes"`
	DeviceWrittenBytes uint64    `json:"device_written_bytes"`
}
