package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// A Gate is a step in what apply does. A release that changes what an entry
// means puts the change behind the next gate, and the change starts at the entry
// that raises the gate, which is proposed once every voter knows it: so voters
// of two releases apply the same entries to the same effect. Gates are raised in
// order and never lowered.
type Gate uint32

// The gates. Add below, with what starts there; never change or remove one.
const (
	// GateBase is where every cell begins: all that this release does.
	GateBase Gate = 1

	newestGate = GateBase
)

// commandGate returns the gate from which a command may be applied. A command
// that came with a later gate has a case here.
func commandGate(tag commandTag) Gate {
	switch tag {
	case tagOpenSession, tagInitCell:
		return 0 // a state that has not begun
	}
	return GateBase
}

// raiseGate raises the feature gate by one.
type raiseGate struct{ Gate Gate }

func (*raiseGate) tag() commandTag { return tagRaiseGate }

func (c *raiseGate) check() error {
	if c.Gate == 0 {
		return fmt.Errorf("metadata: gate 0 is never raised: %w", holdall.ErrInvalid)
	}
	return nil
}

func (c *raiseGate) encode(dst []byte) []byte { return putUvarint(dst, uint64(c.Gate)) }
func (c *raiseGate) decode(d *decoder)        { c.Gate = Gate(d.uint32()) }

func (c *raiseGate) run(t *tx) (result, error) {
	switch {
	case c.Gate <= t.sys.Gate:
		return noResult{}, nil
	case c.Gate > t.sys.Gate+1:
		return nil, fmt.Errorf("metadata: gate %d cannot be raised: the cell is at %d, gates are raised one by one: %w",
			c.Gate, t.sys.Gate, holdall.ErrRefused)
	case c.Gate > t.m.known:
		return nil, &fault{fmt.Errorf("gate %d is raised, this process knows gates up to %d: %w", c.Gate, t.m.known, errTooNew)}
	}
	t.sys.Gate = c.Gate
	return noResult{}, nil
}
