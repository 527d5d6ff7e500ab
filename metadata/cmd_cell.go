package metadata

import (
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// DefaultRetention is how long trashed blocks wait.
const DefaultRetention = 7 * 24 * time.Hour

// maxRetention bounds it, so that sums of times stay in range.
const maxRetention = 100 * 365 * 24 * time.Hour

// initCell begins the state of a new cell: its id, its first incarnation, the
// namespaces that every cell has. It is the first command of a cell, once.
type initCell struct {
	Cell      holdall.CellID
	Retention time.Duration // of the default namespace
}

func (*initCell) tag() commandTag { return tagInitCell }

func (c *initCell) check() error {
	if c.Cell == (holdall.CellID{}) {
		return fmt.Errorf("metadata: a cell needs an id: %w", holdall.ErrInvalid)
	}
	return checkRetention(c.Retention)
}

func checkRetention(d time.Duration) error {
	if d < 0 || d > maxRetention {
		return fmt.Errorf("metadata: retention of %v, want 0 to %v: %w", d, maxRetention, holdall.ErrInvalid)
	}
	return nil
}

func (c *initCell) encode(dst []byte) []byte {
	return putDuration(append(dst, c.Cell[:]...), c.Retention)
}

func (c *initCell) decode(d *decoder) {
	copy(c.Cell[:], d.take(len(c.Cell)))
	c.Retention = d.duration()
}

func (c *initCell) run(t *tx) (result, error) {
	if t.sys.ID != (holdall.CellID{}) {
		if t.sys.ID == c.Cell {
			return noResult{}, nil
		}
		return nil, fmt.Errorf("metadata: the cell is %v already: %w", t.sys.ID, holdall.ErrRefused)
	}
	t.sys.ID, t.sys.Format, t.sys.Incarnation, t.sys.Gate = c.Cell, FormatVersion, 1, GateBase
	t.sys.FirstChange = 1
	t.sys.Breaker = Breaker{Share: DefaultBreakerShare, Floor: DefaultBreakerFloor}
	t.addSpace(Namespace{ID: holdall.SystemNamespace, Name: "system"})
	t.addSpace(Namespace{ID: holdall.DefaultNamespace, Name: holdall.DefaultNamespaceName, Retention: c.Retention})
	return noResult{}, nil
}

// maxIncarnation is what volume ids have room for.
const maxIncarnation = 1<<16 - 1

// raiseCell follows every restore, rebuild and forced bootstrap: the incarnation
// rises, so that nothing given out before is given out again, and the cell is in
// quarantine until an operator releases it.
type raiseCell struct {
	Above  uint32 // the new incarnation is above this one too: the highest seen on disks
	Reason string // of the quarantine
}

func (*raiseCell) tag() commandTag { return tagRaiseCell }

func (c *raiseCell) check() error {
	if c.Reason == "" || len(c.Reason) > maxReason || c.Above >= maxIncarnation {
		return fmt.Errorf("metadata: quarantine above incarnation %d, for %d bytes of reason, want 1 to %d: %w", c.Above, len(c.Reason), maxReason, holdall.ErrInvalid)
	}
	return nil
}

func (c *raiseCell) encode(dst []byte) []byte {
	return putText(putUvarint(dst, uint64(c.Above)), c.Reason)
}

func (c *raiseCell) decode(d *decoder) { c.Above, c.Reason = d.uint32(), d.text(maxReason) }

func (c *raiseCell) run(t *tx) (result, error) {
	if t.sys.Incarnation >= maxIncarnation {
		return nil, fmt.Errorf("metadata: incarnation %d is the last: %w", t.sys.Incarnation, holdall.ErrExhausted)
	}
	t.sys.Incarnation = max(t.sys.Incarnation, c.Above) + 1
	t.sys.Quarantine = c.Reason
	// Whoever held a lease holds it no more: the state may be older than what it
	// has written since.
	for row, err := range volumes(t.b) {
		if err != nil {
			return nil, &fault{err}
		}
		if row.State != holdall.VolumeOpen {
			continue
		}
		v, err := t.volume(row.ID)
		if err != nil {
			return nil, err
		}
		t.raise(v)
	}
	return &numberResult{uint64(t.sys.Incarnation)}, nil
}

// releaseCell ends the quarantine.
type releaseCell struct{}

func (*releaseCell) tag() commandTag          { return tagReleaseCell }
func (*releaseCell) check() error             { return nil }
func (*releaseCell) encode(dst []byte) []byte { return dst }
func (*releaseCell) decode(*decoder)          {}

func (*releaseCell) run(t *tx) (result, error) {
	t.sys.Quarantine = ""
	return noResult{}, nil
}
