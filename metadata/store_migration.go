package metadata

import (
	"context"
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

var errUnwritten = fmt.Errorf("metadata: migrations are not kept yet: %w", holdall.ErrUnavailable)

// CreateMigration begins a migration into an empty bucket, in StateAssess: with
// m's Bucket, Source, Policy, CleanRun and Window, of which the last three have
// defaults. ErrNoBucket; ErrExists if the bucket has one; ErrRefused if it is not
// empty.
func (s *Store) CreateMigration(ctx context.Context, m Migration) (Migration, error) {
	return m, errUnwritten
}

// SetMigration changes the settings of a migration.
func (s *Store) SetMigration(ctx context.Context, bucket holdall.BucketID, set MigrationSettings) (Migration, error) {
	return Migration{}, errUnwritten
}

// RemoveMigration forgets a migration that is retired, or back in assess with
// nothing under way. ErrRefused else.
func (s *Store) RemoveMigration(ctx context.Context, bucket holdall.BucketID) error {
	return errUnwritten
}

// Announce announces a step of the migration, which must be at Number: ErrStale if
// it is not. Doors admit no more calls of the bucket, let those that run end, and
// Acknowledge. ErrRefused if Guard is against it, or another step is announced.
func (s *Store) Announce(ctx context.Context, bucket holdall.BucketID, number uint64, to MigrationState) (Migration, error) {
	return Migration{}, errUnwritten
}

// CancelStep takes an announcement back: ErrStale unless the migration is at
// number. Whoever drives steps cancels what does not come about within a minute,
// because as long nobody writes the bucket.
func (s *Store) CancelStep(ctx context.Context, bucket holdall.BucketID, number uint64) (Migration, error) {
	return Migration{}, errUnwritten
}

// Acknowledge notes that a door has seen the announcement of number, and has no
// call running that it can wait for. ErrStale if it is not the present one.
func (s *Store) Acknowledge(ctx context.Context, door DoorID, bucket holdall.BucketID, number uint64) error {
	return errUnwritten
}

// Step does what was announced under number. ErrUnavailable, naming the doors,
// while one that is not silent has not acknowledged it, and, where another side is
// to decide, while a silent one has intents: LapseIntents makes entries of them.
// ErrRefused if Guard is against it by now; ErrStale if number is not the present
// one. Whoever steps or lapses has led for DoorSilence, so that doors had the time
// to be seen.
func (s *Store) Step(ctx context.Context, bucket holdall.BucketID, number uint64) (Migration, error) {
	return Migration{}, errUnwritten
}

// SeeDoor notes that a door is there: it calls this every 2 s, first of all, and
// reads migrations only after. fenced says that it was silent for so long that
// steps may have been taken without it, and its intents be gone.
func (s *Store) SeeDoor(ctx context.Context, door DoorID) (fenced bool, err error) {
	return false, errUnwritten
}

// DropDoor forgets a door that has ended. No step waits for it, and what intents
// it left may be lapsed at once.
func (s *Store) DropDoor(ctx context.Context, door DoorID) error { return errUnwritten }

// TakeIntent locks a key over all doors for one write. ErrStale: a step is
// announced (wait for it), or writes take no intents in the migration's state, or
// the door is fenced (SeeDoor, then read everything again). A *HeldError: another
// op holds the key.
func (s *Store) TakeIntent(ctx context.Context, r IntentRequest) (Granted, error) {
	return Granted{}, errUnwritten
}

// EndIntent settles and ends an intent. Ending one that is gone is no error, if
// there is nothing to note; else it is ErrStale, as under an old Number.
func (s *Store) EndIntent(ctx context.Context, e EndIntent) error { return errUnwritten }

// SettleTags is SetTags in a bucket under migration.
func (s *Store) SettleTags(ctx context.Context, key ObjectKey, tags []byte, how Settlement) (Object, error) {
	return Object{}, errUnwritten
}

// LapseIntents makes outbox entries of the intents of a door that is silent or
// gone, of at most limit (at most 1000) of them, and says whether there are more.
// ErrRefused if the door is not silent.
func (s *Store) LapseIntents(ctx context.Context, door DoorID, limit int) (lapsed int, more bool, err error) {
	return 0, false, errUnwritten
}

// NoteMiss puts a key into the outbox without an intent: for what was found on the
// way, and for writes that began before the bucket was mirrored.
func (s *Store) NoteMiss(ctx context.Context, bucket holdall.BucketID, key, reason string) error {
	return errUnwritten
}

// TouchEntry notes that the entry of a key was tried in vain, why, and when it is
// due again. Nothing happens if its Seq is not seq any more.
func (s *Store) TouchEntry(ctx context.Context, e Entry, next time.Time, reason string) error {
	return errUnwritten
}

// PutQuarantine notes that a key could not be copied, once more if it is noted
// already. A key with an exception is left out.
func (s *Store) PutQuarantine(ctx context.Context, bucket holdall.BucketID, key, reason string) error {
	return errUnwritten
}

// DropQuarantine forgets that a key could not be copied.
func (s *Store) DropQuarantine(ctx context.Context, bucket holdall.BucketID, key string) error {
	return errUnwritten
}

// PutException notes that an operator lets a key be different, in place of its
// quarantine.
func (s *Store) PutException(ctx context.Context, e Exception) error { return errUnwritten }

// DropException takes an exception back.
func (s *Store) DropException(ctx context.Context, bucket holdall.BucketID, key string) error {
	return errUnwritten
}

// NoteWalker notes how far a walker has come, and what comes to the evidence with
// it.
func (s *Store) NoteWalker(ctx context.Context, n WalkerNote) error { return errUnwritten }

// NotePass notes a full verification: a clean one counts towards a flip, one with
// differences starts the clean-run clock again.
func (s *Store) NotePass(ctx context.Context, p PassResult) error { return errUnwritten }

// NoteMismatch notes that the sides differ at a key that has neither intent nor
// entry: the clean-run clock starts again, and the key gets an entry.
func (s *Store) NoteMismatch(ctx context.Context, bucket holdall.BucketID, key, what string) error {
	return errUnwritten
}

// Certify notes the digest of the certificate that lets a flipped bucket cut over.
// ErrRefused in any other state.
func (s *Store) Certify(ctx context.Context, bucket holdall.BucketID, digest [32]byte) error {
	return errUnwritten
}
