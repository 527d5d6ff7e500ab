package metadata

import (
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// migrationRow is a migration as the tx has it so far, and as it found it.
type migrationRow struct {
	Migration
	was  Migration
	gone bool
}

// steady returns m without what changes with every write.
func (m *Migration) steady() Migration {
	s := *m
	s.Evidence, s.Intents, s.Entries, s.Quarantined, s.Exceptions = Evidence{}, 0, 0, 0, 0
	return s
}

// migration returns the migration of a bucket as the tx has it so far, or nil.
// Changes of it are written.
func (t *tx) migration(b holdall.BucketID) (*migrationRow, error) {
	for _, m := range t.migrations {
		if m.Bucket == b {
			if m.gone {
				return nil, nil
			}
			return m, nil
		}
	}
	m := Migration{Bucket: b}
	t.key = appendMigrationKey(t.key[:0], tableMigration, b)
	v, ok, err := t.read(t.key)
	if err != nil || !ok {
		return nil, err
	}
	if err := decodeRow(t.key, v, func(d *decoder) { d.migration(&m) }); err != nil {
		return nil, &fault{err}
	}
	t.key = appendMigrationKey(t.key[:0], tableCounts, b)
	if v, ok, err = t.read(t.key); err != nil {
		return nil, err
	}
	if !ok {
		return nil, faultf("the migration of bucket %d has no counts: %w", b, holdall.ErrCorrupt)
	}
	if err := decodeRow(t.key, v, func(d *decoder) { d.counts(&m) }); err != nil {
		return nil, &fault{err}
	}
	return t.keepMigration(m, m), nil
}

func (t *tx) keepMigration(m, was Migration) *migrationRow {
	row := &migrationRow{Migration: m, was: was}
	t.migrations = append(t.migrations, row)
	return row
}

// knownMigration refuses a bucket that has no migration.
func (t *tx) knownMigration(b holdall.BucketID) (*migrationRow, error) {
	m, err := t.migration(b)
	if err == nil && m == nil {
		err = fmt.Errorf("metadata: bucket %d has no migration: %w", b, holdall.ErrNotFound)
	}
	return m, err
}

func (t *tx) flushMigrations() error {
	for _, m := range t.migrations {
		if m.gone {
			t.unset(appendMigrationKey(t.key[:0], tableMigration, m.Bucket))
			t.unset(appendMigrationKey(t.key[:0], tableCounts, m.Bucket))
			continue
		}
		if min(m.Intents, m.Entries, m.Quarantined, m.Exceptions) < 0 {
			return faultf("counts of the migration of bucket %d fell below zero: %w", m.Bucket, holdall.ErrCorrupt)
		}
		if now := m.steady(); now != m.was.steady() {
			t.set(appendMigrationKey(t.key[:0], tableMigration, m.Bucket), appendMigration(t.val[:0], &now))
		}
		if m.Migration != m.was {
			t.set(appendMigrationKey(t.key[:0], tableCounts, m.Bucket), appendCounts(t.val[:0], &m.Migration))
		}
	}
	return nil
}

// The tables whose rows ChangeMigration journals, as its Number.
const (
	journalMigration = 1 // Data is the row; none: it is gone, with all that it has
	journalEntry     = 2
	journalException = 3
)

// migrationChange journals a row of a migration. That it has none of what came
// later does no harm: a rebuild lets everything be verified again.
func (t *tx) migrationChange(table uint64, b holdall.BucketID, key string, row []byte) {
	t.change(Change{Kind: ChangeMigration, Bucket: b, Key: key, Number: table, Data: row})
}

// stepped journals m, whose state or settings have changed.
func (t *tx) stepped(m *migrationRow) {
	t.migrationChange(journalMigration, m.Bucket, "", appendMigration(nil, &m.Migration))
}

// rowAt reads the row with the key t.key, or returns false.
func (t *tx) rowAt(decode func(*decoder)) (bool, error) {
	v, ok, err := t.read(t.key)
	if err != nil || !ok {
		return false, err
	}
	if err := decodeRow(t.key, v, decode); err != nil {
		return false, &fault{err}
	}
	return true, nil
}

// intent returns the intent on a key, or nil.
func (t *tx) intent(b holdall.BucketID, key string) (*Intent, error) {
	i := Intent{IntentRequest: IntentRequest{Bucket: b, Key: key}}
	t.key = appendWriteKey(t.key[:0], tableIntent, b, key)
	ok, err := t.rowAt(func(d *decoder) { d.intent(&i) })
	if !ok {
		return nil, err
	}
	return &i, nil
}

// addIntent locks a key that nobody has locked.
func (t *tx) addIntent(m *migrationRow, i *Intent) {
	m.Intents++
	t.key = appendWriteKey(t.key[:0], tableIntent, i.Bucket, i.Key)
	t.val = appendIntent(t.val[:0], i)
	t.set(t.key, t.val)
}

// dropIntent unlocks a key that is locked.
func (t *tx) dropIntent(m *migrationRow, key string) {
	m.Intents--
	t.key = appendWriteKey(t.key[:0], tableIntent, m.Bucket, key)
	t.unset(t.key)
}

// entry returns the outbox entry of a key, or nil.
func (t *tx) entry(b holdall.BucketID, key string) (*Entry, error) {
	e := Entry{Bucket: b, Key: key}
	t.key = appendWriteKey(t.key[:0], tableOutbox, b, key)
	ok, err := t.rowAt(func(d *decoder) { d.entry(&e) })
	if !ok {
		return nil, err
	}
	return &e, nil
}

// setEntry replaces the row old by new, of the same key; either may be nil. It is
// the only place where the outbox changes.
func (t *tx) setEntry(m *migrationRow, old, new *Entry) {
	if old != nil {
		m.Entries--
		if new == nil || !new.Next.Equal(old.Next) {
			t.key = appendDueKey(t.key[:0], old.Bucket, toInstant(old.Next), old.Key)
			t.unset(t.key)
		}
	}
	if new == nil {
		t.key = appendWriteKey(t.key[:0], tableOutbox, old.Bucket, old.Key)
		t.unset(t.key)
		return
	}
	m.Entries++
	if old == nil || !new.Next.Equal(old.Next) {
		t.key = appendDueKey(t.key[:0], new.Bucket, toInstant(new.Next), new.Key)
		t.set(t.key, nil)
	}
	t.key = appendWriteKey(t.key[:0], tableOutbox, new.Bucket, new.Key)
	t.val = appendOutbox(t.val[:0], new)
	t.set(t.key, t.val)
}

// missed returns the side that misses a write without a version in the cell, which
// has the given intent. One from before the flip may have been seen at the source,
// which decided then: the source is not to be made what the cell holds, but the cell
// what the source holds.
func (m *migrationRow) missed(i *Intent) Side {
	if m.State.CellDecides() && i.State.Decides() == SideSource {
		return SideCell
	}
	return SideNone
}

// miss puts the key of e, with its Reason and Until, into the outbox, or its entry
// there under another Seq, so that nobody who knew of the old one drops it. missed
// is the side that did; none is the one that follows, unless the entry there says
// otherwise.
func (t *tx) miss(m *migrationRow, missed Side, e Entry) error {
	if err := t.journalRoom(); err != nil {
		return err
	}
	old, err := t.entry(m.Bucket, e.Key)
	if err != nil {
		return err
	}
	e.Bucket, e.Seq, e.Since = m.Bucket, t.index, t.now.time()
	if e.Missed = missed; missed == SideNone {
		e.Missed = m.State.Follows()
	}
	if old != nil {
		e.Since, e.Until = old.Since, later(e.Until, old.Until)
		if missed == SideNone {
			e.Missed = old.Missed
		}
	}
	e.Next = later(t.now.time(), e.Until)
	t.setEntry(m, old, &e)
	if old == nil {
		t.migrationChange(journalEntry, e.Bucket, e.Key, appendOutbox(nil, &e))
	}
	return nil
}

// clear drops the entry of a key if it is that of a Seq, on the word of who holds
// the key that the sides are equal. If a lost request could still land when it was
// granted, one may have landed after all that it wrote or read: then the entry is
// due when no more can.
func (t *tx) clear(m *migrationRow, by *Intent, seq uint64) error {
	key := by.Key
	old, err := t.entry(m.Bucket, key)
	if err != nil || old == nil || old.Seq != seq {
		return err
	}
	if old.Until.After(by.Since) {
		e := *old
		e.Next = later(old.Next, old.Until)
		t.setEntry(m, old, &e)
		return nil
	}
	if err := t.journalRoom(); err != nil {
		return err
	}
	t.setEntry(m, old, nil)
	t.migrationChange(journalEntry, m.Bucket, key, nil)
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// settling is a write that was admitted: where it is to be settled, and the intent
// that its op holds. Either may be nil.
type settling struct {
	m       *migrationRow
	by      *Intent
	version bool // the cell gets a version, a marker or tags by it
}

// admit says whether a change of a key, which is settled as s says, may be made in
// a bucket.
func (t *tx) admit(b *bucketRow, key string, s *Settlement, backfill bool) (w settling, err error) {
	w.version = true
	if !b.Migrates {
		if *s != (Settlement{}) {
			err = fmt.Errorf("metadata: bucket %d does not migrate: %w", b.ID, holdall.ErrStale)
		}
		return w, err
	}
	m, err := t.migration(b.ID)
	if err == nil && m == nil {
		err = faultf("bucket %d is said to migrate, and has no migration: %w", b.ID, holdall.ErrCorrupt)
	}
	if err != nil {
		return w, err
	}
	switch {
	case s.Op != (holdall.PutID{}):
		w.m = m
		w.by, err = t.admitHolder(m, key, s)
		return w, err
	case backfill && *s == (Settlement{}) && m.State >= StateMirror && m.State <= StateFlipped:
		return w, nil
	case s.Miss == SideSource && m.State == StateCutOver:
		w.m = m
		return w, t.admitUnlocked(m, key, s)
	}
	return w, fmt.Errorf("metadata: key %.80q of bucket %d, which is in %v: it is written by the doors of the migration only: %w",
		key, b.ID, m.State, holdall.ErrRefused)
}

// admitHolder returns the intent of a key. It refuses whoever does not hold it, or
// was not told of the present state.
func (t *tx) admitHolder(m *migrationRow, key string, s *Settlement) (*Intent, error) {
	i, err := t.intent(m.Bucket, key)
	if err != nil {
		return nil, err
	}
	if i == nil || i.Op != s.Op {
		return nil, fmt.Errorf("metadata: op %v does not hold key %.80q of bucket %d any more: %w", s.Op, key, m.Bucket, holdall.ErrStale)
	}
	return i, m.decidedNow(s)
}

// admitUnlocked refuses a write without an intent to a key that a write from before
// the step holds, and that is therefore read where it was before.
func (t *tx) admitUnlocked(m *migrationRow, key string, s *Settlement) error {
	i, err := t.intent(m.Bucket, key)
	if err != nil {
		return err
	}
	if i != nil && i.Straddles(&m.Migration) {
		return &HeldError{By: *i}
	}
	if err := t.mayWrite(m, key); err != nil {
		return err
	}
	return m.decidedNow(s)
}

// mayWrite refuses a key that the cell is to get from the source, which decides no
// more: it is repaired before anything else is done to it.
func (t *tx) mayWrite(m *migrationRow, key string) error {
	e, err := t.entry(m.Bucket, key)
	if err != nil || e == nil || e.Missed != m.State.Decides() {
		return err
	}
	return fmt.Errorf("metadata: key %.80q of bucket %d: what a write from before the flip left is to be repaired first, from %v on: %w",
		key, m.Bucket, e.Next.Format(time.RFC3339), holdall.ErrUnavailable)
}

// decidedNow refuses what was decided by another state than the present one.
func (m *migrationRow) decidedNow(s *Settlement) error {
	switch {
	case !m.State.Mirrored() || s.Number < m.Began || s.Number > m.Number:
		return fmt.Errorf("metadata: bucket %d was at %d when the write was decided, is in %v since %d: %w",
			m.Bucket, s.Number, m.State, m.Began, holdall.ErrStale)
	case s.Miss != SideNone && s.Miss != m.State.Follows():
		return fmt.Errorf("metadata: in %v it is the %v that may miss a write, not the %v: %w", m.State, m.State.Follows(), s.Miss, holdall.ErrInvalid)
	}
	return nil
}

// settleWrite does what s says of a write that was admitted.
func (t *tx) settleWrite(w settling, key string, s *Settlement) error {
	var err error
	switch {
	case w.m == nil:
		return nil
	case s.Miss != SideNone:
		missed := s.Miss
		if !w.version && w.m.State.CellDecides() {
			missed = w.m.missed(w.by)
		}
		err = t.miss(w.m, missed, Entry{Key: key, Reason: s.Reason, Until: s.Until})
	case s.Clear != 0:
		err = t.clear(w.m, w.by, s.Clear)
	}
	switch {
	case err != nil || w.by == nil:
		return err
	case s.End:
		t.dropIntent(w.m, key)
	case w.by.Straddles(&w.m.Migration):
		t.decided(w.m, w.by)
	}
	return nil
}

// decided notes of an intent whose write was decided by the present state that it
// straddles no more: its key is read where that state says.
func (t *tx) decided(m *migrationRow, i *Intent) {
	i.Number, i.State = m.Number, m.State
	t.key = appendWriteKey(t.key[:0], tableIntent, i.Bucket, i.Key)
	t.val = appendIntent(t.val[:0], i)
	t.set(t.key, t.val)
}

// door returns a door, or nil.
func (t *tx) door(id DoorID) (*Door, error) {
	w := Door{ID: id}
	t.key = appendDoorKey(t.key[:0], id)
	ok, err := t.rowAt(func(d *decoder) { d.door(&w) })
	if !ok {
		return nil, err
	}
	return &w, nil
}

// silent says whether a door is fenced, or gone.
func (t *tx) silent(id DoorID) (bool, error) {
	w, err := t.door(id)
	return w == nil || w.silent(t.now.time()), err
}
