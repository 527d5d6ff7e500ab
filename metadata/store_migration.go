package metadata

import (
	"context"
	"iter"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// migration carries out a command whose result is a migration.
func (s *Store) migration(ctx context.Context, c command) (Migration, error) {
	var r migrationAnswer
	err := s.r.do(ctx, c, &r)
	return r.Migration, err
}

// CreateMigration begins a migration into an empty bucket, in StateAssess: with
// m's Bucket, Source, Policy, CleanRun and Window, of which the last three have
// defaults. ErrNoBucket; ErrExists if the bucket has one; ErrRefused if it is not
// empty.
func (s *Store) CreateMigration(ctx context.Context, m Migration) (Migration, error) {
	set := MigrationSettings{Source: m.Source, Policy: m.Policy, CleanRun: m.CleanRun, Window: m.Window}
	return s.migration(ctx, &createMigration{Bucket: m.Bucket, Set: set.withDefaults()})
}

// SetMigration changes the settings of a migration.
func (s *Store) SetMigration(ctx context.Context, bucket holdall.BucketID, set MigrationSettings) (Migration, error) {
	return s.migration(ctx, &setMigration{createMigration{Bucket: bucket, Set: set.withDefaults()}})
}

// RemoveMigration forgets a migration that is retired, or back in assess with
// nothing under way. ErrRefused else.
func (s *Store) RemoveMigration(ctx context.Context, bucket holdall.BucketID) error {
	return s.r.do(ctx, &removeMigration{Bucket: bucket}, noResult{})
}

// Announce announces a step of the migration, which must be at Number: ErrStale if
// it is not. Doors admit no more calls of the bucket, let those that run end, and
// Acknowledge. ErrRefused if Guard is against it, or another step is announced.
func (s *Store) Announce(ctx context.Context, bucket holdall.BucketID, number uint64, to MigrationState) (Migration, error) {
	return s.migration(ctx, &stepMigration{Verb: tagAnnounce, Bucket: bucket, Number: number, To: to})
}

// CancelStep takes an announcement back: ErrStale unless the migration is at
// number. Whoever drives steps cancels what does not come about within a minute,
// because as long nobody writes the bucket.
func (s *Store) CancelStep(ctx context.Context, bucket holdall.BucketID, number uint64) (Migration, error) {
	return s.migration(ctx, &stepMigration{Verb: tagCancelStep, Bucket: bucket, Number: number})
}

// Acknowledge notes that a door has seen the announcement of number, and has no
// call running that it can wait for. ErrStale if it is not the present one.
func (s *Store) Acknowledge(ctx context.Context, door DoorID, bucket holdall.BucketID, number uint64) error {
	return s.r.do(ctx, &ackStep{Door: door, Bucket: bucket, Number: number}, noResult{})
}

// Step does what was announced under number. ErrUnavailable, naming the doors,
// while one that is not silent has not acknowledged it, and, where another side is
// to decide, while a silent one has intents: LapseIntents makes entries of them.
// ErrRefused if Guard is against it by now; ErrStale if number is not the present
// one. Whoever steps or lapses has led for DoorSilence, so that doors had the time
// to be seen.
func (s *Store) Step(ctx context.Context, bucket holdall.BucketID, number uint64) (Migration, error) {
	return s.migration(ctx, &stepMigration{Verb: tagStep, Bucket: bucket, Number: number})
}

// SeeDoor notes that a door is there: it calls this every 2 s, first of all, and
// reads migrations only after. fenced says that it was silent for so long, or not
// known, that steps may have been taken without it, and its intents be gone: what it
// has not sent to the source yet under an intent from before it must not send.
func (s *Store) SeeDoor(ctx context.Context, door DoorID) (fenced bool, err error) {
	var r fencedAnswer
	err = s.r.do(ctx, &seeDoor{Verb: tagSeeDoor, Door: door}, &r)
	return r.Fenced, err
}

// DropDoor forgets a door that has ended. No step waits for it, and what intents
// it left may be lapsed at once.
func (s *Store) DropDoor(ctx context.Context, door DoorID) error {
	return s.r.do(ctx, &seeDoor{Verb: tagDropDoor, Door: door}, noResult{})
}

// TakeIntent locks a key over all doors for one write. ErrStale: a step is
// announced (wait for it), or writes take no intents in the migration's state, or
// the door is fenced (SeeDoor, then read everything again). A *HeldError: another
// op holds the key. ErrUnavailable too where the key is to be repaired first.
func (s *Store) TakeIntent(ctx context.Context, r IntentRequest) (Granted, error) {
	var a takeAnswer
	if err := s.r.do(ctx, &takeIntent{r}, &a); err != nil {
		return Granted{}, err
	}
	if a.Holder != nil {
		return Granted{}, &HeldError{By: *a.Holder}
	}
	return a.Granted, nil
}

// EndIntent settles and ends an intent. Ending one that is gone is no error, if
// there is nothing to note; else it is ErrStale, as under an old Number.
func (s *Store) EndIntent(ctx context.Context, e EndIntent) error {
	e.End = true
	return s.r.do(ctx, &endIntent{e}, noResult{})
}

// SettleTags is SetTags in a bucket under migration.
func (s *Store) SettleTags(ctx context.Context, key ObjectKey, tags []byte, how Settlement) (Object, error) {
	r, err := s.object(ctx, &setTags{Of: key, Tags: tags, Settle: how})
	return r.Object, err
}

// LapseIntents makes outbox entries of the intents of a door that is silent or
// gone, of at most limit (at most 500) of them, and says whether there are more.
// ErrRefused if the door is not silent.
func (s *Store) LapseIntents(ctx context.Context, door DoorID, limit int) (lapsed int, more bool, err error) {
	c := &lapseIntents{Door: door}
	for i, err := range during(s, func(r pebble.Reader) iter.Seq2[Intent, error] { return intents(r, 0, "") }) {
		if err != nil {
			return 0, false, err
		}
		if i.Door != door {
			continue
		}
		if more = len(c.Of) == min(limit, maxLapse); more {
			break
		}
		c.Of = append(c.Of, heldKey{i.Bucket, i.Key, i.Op})
	}
	n, err := s.number(ctx, c)
	return int(n), more, err
}

func (s *Store) noteKey(ctx context.Context, c *noteKey) error { return s.r.do(ctx, c, noResult{}) }

// NoteMiss puts a key into the outbox without an intent: for what was found on the
// way, and for writes that began before the bucket was mirrored.
func (s *Store) NoteMiss(ctx context.Context, bucket holdall.BucketID, key, reason string) error {
	return s.noteKey(ctx, &noteKey{tagNoteMiss, bucket, key, reason})
}

// TouchEntry notes that the entry of a key was tried in vain, why, and when it is
// due again. Nothing happens if its Seq is not seq any more.
func (s *Store) TouchEntry(ctx context.Context, e Entry, next time.Time, reason string) error {
	return s.r.do(ctx, &touchEntry{Bucket: e.Bucket, Key: e.Key, Seq: e.Seq, Next: toInstant(next), Reason: reason}, noResult{})
}

// PutQuarantine notes that a key could not be copied, once more if it is noted
// already. A key with an exception is left out.
func (s *Store) PutQuarantine(ctx context.Context, bucket holdall.BucketID, key, reason string) error {
	return s.noteKey(ctx, &noteKey{tagPutQuarantine, bucket, key, reason})
}

// DropQuarantine forgets that a key could not be copied.
func (s *Store) DropQuarantine(ctx context.Context, bucket holdall.BucketID, key string) error {
	return s.noteKey(ctx, &noteKey{tagDropQuarantine, bucket, key, ""})
}

// PutException notes that an operator lets a key be different, in place of its
// quarantine.
func (s *Store) PutException(ctx context.Context, e Exception) error {
	e.At = time.Time{}
	return s.r.do(ctx, &putException{e}, noResult{})
}

// DropException takes an exception back.
func (s *Store) DropException(ctx context.Context, bucket holdall.BucketID, key string) error {
	return s.noteKey(ctx, &noteKey{tagDropException, bucket, key, ""})
}

// NoteWalker notes how far a walker has come, and what comes to the evidence with
// it.
func (s *Store) NoteWalker(ctx context.Context, n WalkerNote) error {
	return s.r.do(ctx, &noteWalker{n}, noResult{})
}

// NotePass notes a full verification: a clean one counts towards a flip, one with
// differences starts the clean-run clock again.
func (s *Store) NotePass(ctx context.Context, p PassResult) error {
	return s.r.do(ctx, &notePass{p}, noResult{})
}

// NoteMismatch notes that the sides differ at a key that has neither intent nor
// entry: the clean-run clock starts again, and the key gets an entry.
func (s *Store) NoteMismatch(ctx context.Context, bucket holdall.BucketID, key, what string) error {
	return s.noteKey(ctx, &noteKey{tagNoteMismatch, bucket, key, what})
}

// Certify notes the digest of the certificate that lets a flipped bucket cut over.
// ErrRefused in any other state.
func (s *Store) Certify(ctx context.Context, bucket holdall.BucketID, digest [32]byte) error {
	return s.r.do(ctx, &certify{Bucket: bucket, Digest: digest}, noResult{})
}
