package metadata

import (
	"time"

	"github.com/holdall/holdall"
)

// Migration returns the migration of a bucket, or false if it has none: from
// memory, to be asked with every call. Its Evidence and counts are zero:
// MigrationStatus has them.
func (s *Store) Migration(bucket holdall.BucketID) (m Migration, ok bool, err error) {
	return m, false, nil
}

// MigrationStatus returns the migration of a bucket with its evidence and counts;
// ErrNotFound if it has none here.
func (s *Store) MigrationStatus(bucket holdall.BucketID) (Migration, error) {
	return Migration{}, errUnwritten
}

// Migrations returns all migrations with their evidence and counts, by bucket.
func (s *Store) Migrations() ([]Migration, error) { return nil, errUnwritten }

// Doors returns all doors, silent ones too, by id.
func (s *Store) Doors() ([]Door, error) { return nil, errUnwritten }

// Acknowledged returns the doors that have acknowledged the announced step of a
// bucket.
func (s *Store) Acknowledged(bucket holdall.BucketID) ([]DoorID, error) { return nil, errUnwritten }

// Entry returns the outbox entry of a key, or false. It is a local read: what was
// acknowledged before a linearizable read that has ended is in it.
func (s *Store) Entry(bucket holdall.BucketID, key string) (e Entry, ok bool, err error) {
	return e, false, errUnwritten
}

// Intent returns the intent on a key, or false: a local read, as Entry is.
func (s *Store) Intent(bucket holdall.BucketID, key string) (i Intent, ok bool, err error) {
	return i, false, errUnwritten
}

// DueEntries returns at most limit entries of a bucket that are due, the longest
// due first.
func (s *Store) DueEntries(bucket holdall.BucketID, now time.Time, limit int) ([]Entry, error) {
	return nil, errUnwritten
}

// Entries returns at most limit entries of a bucket with keys above after, by key.
func (s *Store) Entries(bucket holdall.BucketID, after string, limit int) ([]Entry, error) {
	return nil, errUnwritten
}

// Intents returns at most limit intents on keys of a bucket above after, by key.
func (s *Store) Intents(bucket holdall.BucketID, after string, limit int) ([]Intent, error) {
	return nil, errUnwritten
}

// Quarantined returns at most limit keys in quarantine above after, by key.
func (s *Store) Quarantined(bucket holdall.BucketID, after string, limit int) ([]Quarantine, error) {
	return nil, errUnwritten
}

// Exceptions returns at most limit exceptions of keys above after, by key.
func (s *Store) Exceptions(bucket holdall.BucketID, after string, limit int) ([]Exception, error) {
	return nil, errUnwritten
}

// Walker returns what NoteWalker noted last of a walker of a bucket; nil if
// nothing.
func (s *Store) Walker(bucket holdall.BucketID, walker string) ([]byte, error) {
	return nil, errUnwritten
}
