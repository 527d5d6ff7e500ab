package metadata

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// DoorID names one run of a front door: the process that starts chooses it, at
// random.
type DoorID [16]byte

// String returns the 32 hex digits of the id.
func (id DoorID) String() string { return hex.EncodeToString(id[:]) }

// Door is a row of the doors table: a front door, and when metadata last heard of
// it.
type Door struct {
	ID            DoorID
	Started, Seen time.Time
}

// DoorSilence is after how long without a SeeDoor a door is fenced: no step waits
// for it, its intents may be lapsed, and it is given no more. It has stopped by
// then what rests on a migration's state, by a shorter time of its own clock.
const DoorSilence = 10 * time.Second

// silent says whether a door is fenced.
func (d *Door) silent(now time.Time) bool { return now.Sub(d.Seen) >= DoorSilence }

// IntentKind is what a write is going to do to a key.
type IntentKind uint8

// The kinds of intent.
const (
	IntentPut      IntentKind = 1
	IntentDelete   IntentKind = 2
	IntentTags     IntentKind = 3
	IntentComplete IntentKind = 4 // of the upload that it names
	IntentCopy     IntentKind = 5
	IntentRepair   IntentKind = 6 // the key's outbox entry: the only kind that is granted while a step is announced
)

// String returns the kind's name.
func (k IntentKind) String() string {
	names := [...]string{"none", "put", "delete", "tags", "complete", "copy", "repair"}
	if int(k) >= len(names) {
		return fmt.Sprintf("intent %d", uint8(k))
	}
	return names[k]
}

// IntentRequest asks for the right to write one key of a bucket under migration.
type IntentRequest struct {
	Bucket holdall.BucketID
	Key    string
	Op     holdall.PutID // chosen at random, once for a write: under the same one it is granted again
	Door   DoorID
	Kind   IntentKind
	Upload holdall.PutID // that IntentComplete completes; else zero
}

// Intent is a row of the intents table: the lock of a key over all front doors,
// and the note that a write to both stores is under way.
type Intent struct {
	IntentRequest
	Since  time.Time
	Number uint64         // of the migration when it was granted, or its write committed
	State  MigrationState // then
}

// Straddles says whether the state of the migration has changed since the intent
// was granted. Until its write is committed or it ends, its key is read where it
// was before: the write may have been seen there already.
func (i *Intent) Straddles(m *Migration) bool { return i.Number < m.Began }

// Granted is an intent that was granted, and what its holder needs to know of the
// key. Nobody else changes it as long as the intent is held.
type Granted struct {
	Migration Migration // without evidence and counts
	Newest    Object    // the newest row of the key, which may be a delete marker
	HasNewest bool
	Entry     *Entry // of the outbox; nil = none
}

// HeldError is the refusal of an intent on a key that another op holds. It wraps
// ErrUnavailable.
type HeldError struct{ By Intent }

// Error says who holds the key.
func (e *HeldError) Error() string {
	return fmt.Sprintf("metadata: key %.80q of bucket %d: %v %v of door %v is under way since %v: %v", e.By.Key, e.By.Bucket,
		e.By.Kind, e.By.Op, e.By.Door, e.By.Since.Format(time.RFC3339), holdall.ErrUnavailable)
}

// Unwrap returns ErrUnavailable.
func (e *HeldError) Unwrap() error { return holdall.ErrUnavailable }

// Settlement is what a write to a bucket under migration comes to. It takes
// effect in one entry with the change of the key that it goes with.
type Settlement struct {
	// Op is that of the intent, which must be held: else ErrStale. It may be zero
	// for a backfill's copy and, in cut-over, for what the source has missed.
	Op holdall.PutID

	// Number is that of the migration as the write was decided by: Granted's, or
	// one read later. If the state has changed since, what was decided is void, and
	// refused with ErrStale: read it again, decide again.
	Number uint64

	// Miss notes that the sides may differ: the key gets an entry in the outbox.
	// It is the side that follows, or none.
	Miss   Side
	Reason string    // for people, at most 512 bytes
	Until  time.Time // a request that nobody waits for any more may land at the source until then; zero = there is none

	// Clear, when not zero, drops the key's entry if it is the one with this Seq, and
	// its Until was over when the intent was granted: the sides are equal as of this
	// write. Not with Miss.
	Clear uint64

	End bool // the intent ends with this; EndIntent implies it
}

// SourceFacts is what the other store of a migration says of a version.
type SourceFacts struct {
	ETag     string // without quotes
	Version  string // its id there; "" = none
	Modified time.Time
}

// MaxSourceVersion bounds SourceFacts.Version, in bytes: S3's limit.
const MaxSourceVersion = 1024

// EndIntent ends an intent.
type EndIntent struct {
	Bucket holdall.BucketID
	Key    string
	Settlement

	// Facts, when FactsOf is not zero, is noted of that version of the key, if it
	// is still there.
	FactsOf holdall.Version
	Facts   SourceFacts
}

// IntentLife is how long a request to the source may live on when the door that
// sent it is dead: its timeout, and what clocks differ. What a lapsed intent
// leaves is not dropped before.
const IntentLife = time.Minute
