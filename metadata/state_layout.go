package metadata

import (
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// layoutState sets those of o that decide how the state lies on disk and what a
// lookup costs; where it lies, its memory and its logger are the caller's.
//
// Rows of blocks are small, their keys random, half of all lookups find nothing:
// hence a filter at every level, and blocks so small that a miss of the cache
// reads and decompresses little.
func layoutState(o *pebble.Options) {
	o.FormatMajorVersion = pebbleFormat
	o.DisableWAL = true // the Raft log is that
	for i := range o.Levels {
		l := &o.Levels[i]
		l.BlockSize, l.IndexBlockSize = stateBlock, stateIndexBlock
		l.FilterPolicy, l.FilterType = bloom.FilterPolicy(10), pebble.TableFilter
		l.Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
}

// Sizes of the blocks of tables, in bytes.
const (
	stateBlock      = 4 << 10
	stateIndexBlock = 64 << 10
)
