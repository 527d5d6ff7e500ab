package worker

import (
	"time"

	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/source"
)

// verdict is what a key of the source's listing is to the cell.
type verdict uint8

const (
	same  verdict = iota // the cell has it, as a copy of just this
	taken                // a client has written or deleted it in the cell: nothing to copy
	older                // the cell has a copy of what the source held before
	fresh                // the cell has never heard of it
)

// judge compares a listing's entry with the newest row of its key; nil = there is
// none. By this alone a second run copies nothing.
func judge(e *source.Entry, row *metadata.Object) verdict {
	switch {
	case row == nil:
		return fresh
	case row.Marker || row.Origin != metadata.OriginBackfill:
		return taken
	case (row.ETag == e.ETag || row.Source.ETag == e.ETag) && row.Size == e.Size && sameSecond(row.Source.Modified, e.Modified):
		return same
	}
	return older
}

// sameSecond compares times as headers tell them: listings have fractions, heads
// have none.
func sameSecond(a, b time.Time) bool { return a.Unix() == b.Unix() }

// only is the condition under which a copy may take the place of what was seen of
// its key, so that nothing that came in between is overwritten.
func only(row *metadata.Object) metadata.Condition {
	if row == nil {
		return metadata.Condition{Backfill: true, Absent: true}
	}
	return metadata.Condition{Backfill: true, Version: row.Version}
}
