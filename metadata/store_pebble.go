package metadata

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
)

// pebbleFormat is pinned: a newer one is a decision, because it is one-way.
const pebbleFormat = pebble.FormatValueSeparation

// Sizes of the two Pebbles. Pebble takes its memtables out of the cache, the one
// in use and one kept to be used again: of Config.CacheBytes, 64 MiB are theirs.
const (
	stateMemTable = 16 << 20 // bytes; flushes often come sooner, see flushBytes
	logMemTable   = 16 << 20 // bytes: what is read at a start to rebuild the memtable
	logCache      = 1 << 20  // bytes: the tail is cached above Pebble
)

// stateOptions are those of the state; layoutState decides how it lies on disk.
func stateOptions(fs vfs.FS, cache *pebble.Cache, dead *fatality) *pebble.Options {
	o := &pebble.Options{
		FS:                          fs,
		Cache:                       cache,
		Logger:                      pebbleLogger{dead, "state"},
		MemTableSize:                stateMemTable,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       8, // flushes are small and frequent: see minFlush
		MaxOpenFiles:                1000,
	}
	layoutState(o)
	return o
}

// logOptions are those of the log: every commit is synced, almost nothing is
// read, and most entries are deleted before they leave the memtable.
func logOptions(fs vfs.FS, cache *pebble.Cache, dead *fatality) *pebble.Options {
	return &pebble.Options{
		FS:                          fs,
		Cache:                       cache,
		FormatMajorVersion:          pebbleFormat,
		Logger:                      pebbleLogger{dead, "log"},
		MemTableSize:                logMemTable,
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                100,
	}
}

func openPebble(dir string, o *pebble.Options) (*pebble.DB, error) {
	db, err := pebble.Open(dir, o)
	if err != nil {
		kind := holdall.ErrUnavailable
		if pebble.IsCorruptionError(err) {
			kind = holdall.ErrCorrupt
		}
		return nil, fmt.Errorf("metadata: open %s: %w: %w", dir, err, kind)
	}
	return db, nil
}
