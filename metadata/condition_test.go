package metadata

import (
	"errors"
	"testing"

	"github.com/holdall/holdall"
)

func TestACopyDoesNotUndoADelete(t *testing.T) {
	marker := &Object{Version: 2, Marker: true, Origin: OriginBackfill} // a repair's, while the copy was under way
	if err := (&Condition{Backfill: true, Absent: true}).holds(marker); !errors.Is(err, holdall.ErrCondition) {
		t.Errorf("a copy of a key that had no row, over a delete marker: %v", err)
	}
	for name, c := range map[string]Condition{"the marker that was seen": {Backfill: true, Version: 2}, "a client's put where there is no object": {Absent: true}} {
		if err := c.holds(marker); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (&Condition{Backfill: true, Absent: true}).holds(nil); err != nil {
		t.Errorf("a copy of a key that has no row: %v", err)
	}
}
