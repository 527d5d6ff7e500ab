package metadata

import (
	"time"

	"github.com/holdall/holdall"
)

// FormatVersion is the version of the key space. A state with a higher one is
// refused: it was written by a later release.
const FormatVersion = 1

// BlockKey names a row of the blocks table.
type BlockKey struct {
	Namespace holdall.NamespaceID
	ID        holdall.BlockID
}

// Namespace is a row of the namespaces table.
type Namespace struct {
	ID        holdall.NamespaceID
	Name      string
	Retention time.Duration // how long trashed blocks wait before they may be purged
	Quota     int64         // bytes it may use; 0 = any
	Blocks    int64         // live rows
	Bytes     int64         // their bytes: what the namespace uses
	Buckets   int64         // that have a name

	Credentials int64 // rows of that table
	Leaving     int64 // buckets that were removed, with rows that wait to be purged
}

// Cell is what the system table says of the cell as a whole.
type Cell struct {
	ID          holdall.CellID
	Format      uint32
	Incarnation uint32 // raised by every restore, rebuild and forced bootstrap
	Quarantine  string // why purge and free are off; "" = they are not
	Gate        Gate   // the highest feature gate that was raised
	Applied     uint64 // Raft index of the last entry applied
	Term        uint64 // and its term
	Clock       time.Time
	Blocks      int64  // rows, trashed ones too
	Bytes       int64  // their bytes
	Live        int64  // rows not in trash
	LiveBytes   int64  // their bytes
	Volumes     int64  // rows of the volumes table
	FirstChange uint64 // the oldest change not yet flushed, if it is not above LastChange
	LastChange  uint64 // the newest change; 0 = none yet
	Breaker     Breaker
}

// Breaker is the purge breaker: it stops purging when more blocks would go in
// an hour than mistakes should be able to cost.
type Breaker struct {
	Share       uint32    // of all rows, in millionths, that may be purged in an hour
	Floor       int64     // rows that may be purged in an hour whatever the share says
	Tripped     bool      // nothing is purged until an operator releases it
	WindowStart time.Time // of the hour that is being counted
	Allowance   int64     // rows that may be purged in that hour
	Purged      int64     // rows purged in that hour
	Released    time.Time // until then an operator has lifted the limit
}

// Defaults of the purge breaker: 0.1 % of the rows, never fewer than 10,000.
const (
	DefaultBreakerShare = 1000
	DefaultBreakerFloor = 10_000
)

// PurgeResult says what a purge did.
type PurgeResult struct {
	Purged  int64 // rows removed
	Waiting int64 // rows not removed: live again, or their retention has not ended
	Stopped bool  // the breaker tripped, or had tripped: the rest was left alone

	// Nodes are rows that are due, and whose children's references are counted:
	// ReleaseNode removes them.
	Nodes []BlockKey
}

// MountGrant is the answer to a disk that wants to be mounted.
type MountGrant struct {
	Incarnation uint64 // what the disk must write, durably, then confirm
	State       holdall.DiskState
}
