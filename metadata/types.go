// Package metadata maps blocks to places. It owns the tables of blocks, volumes,
// disks, sessions and tasks, kept in Pebble behind Raft, and the rules by which
// they change. It never sees a block's bytes and never touches the disks that
// hold them.
package metadata

import (
	"time"

	"github.com/holdall/holdall"
)

// Block is a row of the blocks table. A block is found while any of Direct,
// References and PendingUntil holds; otherwise it is in trash since TrashedAt.
type Block struct {
	Namespace    holdall.NamespaceID
	ID           holdall.BlockID
	Location     holdall.Location
	Direct       bool      // put by id, not deleted since
	References   uint32    // manifest nodes and open uploads that list it
	PendingUntil time.Time // put on behalf of an object; zero = not
	TrashedAt    time.Time // zero = not in trash
	Node         bool      // a manifest node whose children's references are counted
	Found        bool      // false: there is no row; every other field but the ids is zero
}

// Live says whether a get finds the block.
func (b *Block) Live() bool { return b.Found && b.TrashedAt.IsZero() }

// Member is one member of a volume.
type Member struct {
	Disk    holdall.DiskID
	Created holdall.Epoch // the volume's epoch when this extent was made
	End     int64         // committed end: bytes of records, by the last commit
	Footer  bool          // sealed volumes: its footer is durable (or will never be: disk gone)
	Freed   bool          // freed volumes: its zones were reset (or its disk is gone)
}

// Volume is a row of the volumes table.
type Volume struct {
	ID      holdall.VolumeID
	Scheme  holdall.Scheme
	Limit   int64 // bytes an extent may hold, footer included
	State   holdall.VolumeState
	Epoch   holdall.Epoch
	Gateway string    // who holds, or last held, the lease
	Expires time.Time // of the lease, by the leader's clock at apply
	Created time.Time
	Sealed  time.Time
	Freed   time.Time
	System  bool // holds the cell's own blocks (the change journal) and nothing else
	Members []Member
	Last    uint64 // last committed stripe; 0 = none
	Rows    int64  // blocks with a row that names this volume, trashed ones too
	Bytes   int64  // their bytes
	Live    int64  // bytes of those not in trash
	Packs   int64  // bytes of packs committed
	Shards  int64  // bytes of records committed, all members
}

// Extent returns the id of member m's extent.
func (v *Volume) Extent(m int) holdall.ExtentID {
	return holdall.ExtentID{Volume: v.ID, Member: uint8(m), Created: v.Members[m].Created}
}

// Disk is a row of the disks table.
type Disk struct {
	ID          holdall.DiskID
	Path        string // where it was last mounted
	Node        string
	Domain      string // labels, outermost first, as in "rack1/host3"; "" = none
	Capacity    int64  // bytes
	ZoneSize    int64
	State       holdall.DiskState
	Reason      string // why it is not active
	Since       time.Time
	Incarnation uint64 // confirmed by the disk
	Granted     uint64 // last given; above Incarnation until confirmed
}

// PutBlock is one block of a stripe to commit.
type PutBlock struct {
	Namespace holdall.NamespaceID
	ID        holdall.BlockID
	Member    uint8
	Offset    int64
	Length    uint32
	Pending   bool // on behalf of an object: pending, not direct

	// Replace, when not zero, moves the row there to this copy if the row
	// still names Replace (compare and swap); the block keeps its flags and
	// becomes direct.
	Replace holdall.Location
}

// StripeCommit is the commit point of a put: all blocks of one stripe.
type StripeCommit struct {
	Volume     holdall.VolumeID
	Epoch      holdall.Epoch
	Stripe     uint64  // must be the volume's Last + 1
	Ends       []int64 // every member's end after this stripe
	PackBytes  int64   // payload bytes of its packs
	ShardBytes int64   // bytes of its records
	Blocks     []PutBlock
}

// CommitResult says what became of each block of a StripeCommit, by index.
type CommitResult struct {
	// Kept[i] is where the row of block i now points: the new copy, or an
	// older one that was first (the new copy is then dead bytes).
	Kept []holdall.Location
}

// Task is something upkeep has to do. Tasks survive a leader's death.
type Task struct {
	ID       uint64
	Kind     string // "footer", "free", "repair"
	Volume   holdall.VolumeID
	Member   int // -1: the whole volume
	Reason   string
	Created  time.Time
	Priority int
}

// Change is one line of the change journal: something that rebuild needs and
// that leaves no bytes on disks, or the order in which bytes became committed.
type Change struct {
	Seq       uint64 // order of apply
	Time      time.Time
	Kind      ChangeKind
	Namespace holdall.NamespaceID
	ID        holdall.BlockID
	Volume    holdall.VolumeID
	Epoch     holdall.Epoch
	Stripe    uint64
	Location  holdall.Location // ChangeMove only: where the row points now

	// What follows is of ChangeNamespace and above only.
	Bucket    holdall.BucketID
	Key       string
	Version   holdall.Version
	Put       holdall.PutID // of an upload, but for ChangeMarker
	Name      string        // of a namespace or a bucket
	Retention time.Duration
	Quota     int64
	Number    uint64
	Data      []byte
}

// ChangeKind is what a Change records.
type ChangeKind uint8

// The kinds of Change.
const (
	ChangeStripe   ChangeKind = 1 // (Volume, Epoch, Stripe) was committed
	ChangeSeal     ChangeKind = 2 // Volume was sealed with Stripe the last committed
	ChangeFree     ChangeKind = 3 // Volume was freed
	ChangeDelete   ChangeKind = 4 // (Namespace, ID) lost direct
	ChangeUndelete ChangeKind = 5 // (Namespace, ID) became direct again
	ChangeClaim    ChangeKind = 6 // (Namespace, ID) was claimed by a dedup hit
	ChangePurge    ChangeKind = 7 // the row of (Namespace, ID) was removed
	ChangeMove     ChangeKind = 8 // the row of (Namespace, ID) was moved to Location, by compare and swap

	ChangeNamespace     ChangeKind = 9  // Namespace was made or set: it has Name, Retention, Quota
	ChangeNamespaceGone ChangeKind = 10 // Namespace was removed
	ChangeBucket        ChangeKind = 11 // Bucket of Namespace was made or set: it has Name; Number 1: it keeps markers
	ChangeBucketGone    ChangeKind = 12 // Bucket was removed
	ChangeNode          ChangeKind = 13 // (Namespace, ID) became a node: the references of its children were counted
	ChangeNodeGone      ChangeKind = 14 // the row of the node (Namespace, ID) was removed, its children's references dropped
	ChangeObject        ChangeKind = 15 // the manifest with the root (Namespace, ID) became Version of Bucket, and a node, by Put if that completed an upload
	ChangeMarker        ChangeKind = 16 // Put made the delete marker Version of (Bucket, Key), in place of the newest row if that was one; Number is its origin
	ChangeUnmark        ChangeKind = 17 // the delete marker Version of (Bucket, Key) was taken away
	ChangeObjectGone    ChangeKind = 18 // the row of (Bucket, Key, Version) was removed
	ChangeTags          ChangeKind = 19 // (Bucket, Key, Version) has the tags Data
	ChangeUpload        ChangeKind = 20 // upload Put was made; Data is its row
	ChangePart          ChangeKind = 21 // part Number of upload Put was put, in place of one before; Data is its row
	ChangeAbort         ChangeKind = 22 // upload Put was aborted
	ChangePartsGone     ChangeKind = 23 // the parts up to Number of the ended upload Put were dropped
	ChangeUploadGone    ChangeKind = 24 // the row of upload Put was removed

	ChangeMigration ChangeKind = 25 // Data is a row of Bucket's migration, or none any more: Number 1 its own, 2 the outbox entry of Key, 3 its exception

	lastChange = ChangeMigration
)
