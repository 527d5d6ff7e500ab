package metadata

import (
	"time"

	"github.com/holdall/holdall"
)

// Entry is a row of the outbox: a key, never a value, whose sides may differ. To
// repair it is to make the side that missed it what the other one holds now. That
// is the side that follows, but for what a write from before a flip left behind
// that the cell never got: the source has shown it, so the cell is made equal.
type Entry struct {
	Bucket holdall.BucketID
	Key    string
	Missed Side   // is made what the other one holds, and not read: see State.Follows
	Seq    uint64 // of the latest miss: whoever drops the entry names it
	Since  time.Time
	Tries  uint32    // of repairing it
	Next   time.Time // when it is due
	Until  time.Time // it is not dropped before: a lost request may land at the source until then
	Reason string
}

// Quarantine is a key that could not be copied.
type Quarantine struct {
	Bucket holdall.BucketID
	Key    string
	Reason string
	Tries  uint32
	Since  time.Time
}

// Exception is a key, or something of it, that an operator lets be different.
type Exception struct {
	Bucket   holdall.BucketID
	Key      string
	What     string // what differs
	Reason   string
	SignedBy string
	At       time.Time // set by PutException
}

// MigrationSettings are what an operator may change of a migration at any time,
// but for Source.Endpoint, Region and Bucket, which only assess can.
type MigrationSettings struct {
	Source   Source
	Policy   MissPolicy
	CleanRun time.Duration
	Window   time.Duration
}

// Finding is what a walk over the source has come to.
type Finding uint8

// The findings.
const (
	FindNothing  Finding = 0 // it goes on
	FindBackfill Finding = 1 // the backfill has reached the end of the source
	FindCaughtUp Finding = 2 // a listing after the backfill has ended, and found nothing new
	FindNew      Finding = 3 // a listing has found something: there is to be another
)

// WalkerNote is how far a walker of a bucket has come: what it reads when it
// begins again.
type WalkerNote struct {
	Bucket holdall.BucketID
	Walker string // "backfill", "catch-up", "verify": at most 64 bytes

	// Number is that of the migration when the walk began: ErrStale if the state
	// has changed since.
	Number   uint64
	Progress []byte // at most MaxProgress

	// What comes to the evidence with it.
	Copied, CopiedBytes int64 // since the note before
	Find                Finding
}

// MaxProgress bounds WalkerNote.Progress, in bytes.
const MaxProgress = 4 << 10

// PassResult is what a full verification came to.
type PassResult struct {
	Bucket holdall.BucketID
	Number uint64 // of the migration when it began

	// Began is Cell.Applied when it began. A pass counts only if nothing was found,
	// and no other pass ended, since then.
	Began       uint64
	Differences int64 // that NoteMismatch was not told of
}
