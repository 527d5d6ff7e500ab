package metadata

import (
	"fmt"
	"iter"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// Migration returns the migration of a bucket, or false if it has none: from
// memory, to be asked with every call. Its Evidence and counts are zero:
// MigrationStatus has them.
func (s *Store) Migration(bucket holdall.BucketID) (m Migration, ok bool, err error) {
	m, ok, known, changes := s.r.fsm.tables.migration(bucket)
	if known {
		return m, ok, nil
	}
	all, err := collect(during(s, migrations), -1)
	if err != nil {
		return Migration{}, false, err
	}
	s.r.fsm.tables.putMigrations(all, changes)
	for _, m := range all {
		if m.Bucket == bucket {
			return m, true, nil
		}
	}
	return Migration{}, false, nil
}

// MigrationStatus returns the migration of a bucket with its evidence and counts;
// ErrNotFound if it has none here.
func (s *Store) MigrationStatus(bucket holdall.BucketID) (m Migration, err error) {
	err = s.view(func(st *state) error {
		snap := st.db.NewSnapshot()
		defer snap.Close()
		var ok bool
		if m, ok, err = readMigration(snap, bucket); err == nil && !ok {
			err = fmt.Errorf("metadata: bucket %d has no migration: %w", bucket, holdall.ErrNotFound)
		}
		return err
	})
	return m, err
}

// Migrations returns all migrations with their evidence and counts, by bucket.
func (s *Store) Migrations() ([]Migration, error) { return collect(during(s, countedMigrations), -1) }

// Doors returns all doors, silent ones too, by id.
func (s *Store) Doors() ([]Door, error) { return collect(during(s, doors), -1) }

// Acknowledged returns the doors that have acknowledged the announced step of a
// bucket.
func (s *Store) Acknowledged(bucket holdall.BucketID) (all []DoorID, err error) {
	for a, err := range during(s, func(r pebble.Reader) iter.Seq2[ack, error] { return acks(r, bucket) }) {
		if err != nil {
			return nil, err
		}
		all = append(all, a.Door)
	}
	return all, nil
}

// ReadSide returns where a key is read of a bucket that is mirrored, as m says: at
// the side that decides, unless a write from before the last flip is under way, or
// was left behind, that readers may have seen at the other. It is a local read, to
// be done after a linearizable one and before the sides are read. In flipped, a key
// that is read in the cell and has no record there is read at the source.
func (s *Store) ReadSide(m *Migration, key string) (side Side, err error) {
	err = s.view(func(st *state) error {
		snap := st.db.NewSnapshot()
		defer snap.Close()
		side, err = readSide(snap, m, key)
		return err
	})
	return side, err
}

// Entry returns the outbox entry of a key, or false. It is a local read: what was
// acknowledged before a linearizable read that has ended is in it.
func (s *Store) Entry(bucket holdall.BucketID, key string) (e Entry, ok bool, err error) {
	err = s.view(func(st *state) error { e, ok, err = readEntry(st.db, bucket, key); return err })
	return e, ok, err
}

// Intent returns the intent on a key, or false: a local read, as Entry is.
func (s *Store) Intent(bucket holdall.BucketID, key string) (i Intent, ok bool, err error) {
	err = s.view(func(st *state) error { i, ok, err = readIntent(st.db, bucket, key); return err })
	return i, ok, err
}

// DueEntries returns at most limit entries of a bucket that are due, the longest
// due first.
func (s *Store) DueEntries(bucket holdall.BucketID, now time.Time, limit int) ([]Entry, error) {
	return collect(during(s, func(r pebble.Reader) iter.Seq2[Entry, error] {
		return looked(dueKeys(r, bucket, toInstant(now)), func(l due) (Entry, bool, error) { return readEntry(r, bucket, l.Key) })
	}), limit)
}

// page returns at most limit rows of a bucket with keys above after.
func page[T any](s *Store, read func(pebble.Reader, holdall.BucketID, string) iter.Seq2[T, error], bucket holdall.BucketID, after string, limit int) ([]T, error) {
	return collect(during(s, func(r pebble.Reader) iter.Seq2[T, error] { return read(r, bucket, after) }), limit)
}

// Entries returns at most limit entries of a bucket with keys above after, by key.
func (s *Store) Entries(bucket holdall.BucketID, after string, limit int) ([]Entry, error) {
	return page(s, outbox, bucket, after, limit)
}

// Intents returns at most limit intents on keys of a bucket above after, by key.
func (s *Store) Intents(bucket holdall.BucketID, after string, limit int) ([]Intent, error) {
	return page(s, intents, bucket, after, limit)
}

// Quarantined returns at most limit keys in quarantine above after, by key.
func (s *Store) Quarantined(bucket holdall.BucketID, after string, limit int) ([]Quarantine, error) {
	return page(s, quarantines, bucket, after, limit)
}

// Exceptions returns at most limit exceptions of keys above after, by key.
func (s *Store) Exceptions(bucket holdall.BucketID, after string, limit int) ([]Exception, error) {
	return page(s, exceptions, bucket, after, limit)
}

// Walker returns what NoteWalker noted last of a walker of a bucket; nil if
// nothing.
func (s *Store) Walker(bucket holdall.BucketID, walker string) (progress []byte, err error) {
	err = s.view(func(st *state) error {
		key := append(appendMigrationKey(nil, tableWalker, bucket), walker...)
		_, err := get(st.db, key, func(d *decoder) { progress = d.progressOf() })
		return err
	})
	return progress, err
}
