package metadata

import (
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// Limits on doors.
const (
	maxDoors      = 1000      // each is looked at by every step
	doorForgotten = time.Hour // of silence, after which a door is dropped, when another comes
)

// seeDoor notes that a door is there, or forgets it.
type seeDoor struct {
	Verb commandTag
	Door DoorID
}

func (c *seeDoor) tag() commandTag { return c.Verb }

func (c *seeDoor) check() error {
	if c.Door == (DoorID{}) {
		return fmt.Errorf("metadata: a door without an id: %w", holdall.ErrInvalid)
	}
	return nil
}

func (c *seeDoor) encode(dst []byte) []byte { return append(dst, c.Door[:]...) }
func (c *seeDoor) decode(d *decoder)        { c.Door = d.doorID() }

func (c *seeDoor) run(t *tx) (result, error) {
	w, err := t.door(c.Door)
	if err != nil {
		return nil, err
	}
	if c.Verb == tagDropDoor {
		if w != nil {
			t.unset(appendDoorKey(t.key[:0], c.Door))
		}
		return noResult{}, nil
	}
	answer := &fencedAnswer{w == nil || w.silent(t.now.time())}
	if w == nil {
		if err := t.roomForDoor(); err != nil {
			return nil, err
		}
		w = &Door{ID: c.Door, Started: t.now.time()}
	}
	w.Seen = t.now.time()
	t.set(appendDoorKey(t.key[:0], w.ID), appendDoor(t.val[:0], w))
	return answer, nil
}

// roomForDoor drops the doors that have not been heard of for long.
func (t *tx) roomForDoor() error {
	n := 0
	for w, err := range doors(t.b) {
		if err != nil {
			return &fault{err}
		}
		if t.now.time().Sub(w.Seen) >= doorForgotten {
			t.unset(appendDoorKey(nil, w.ID))
			continue
		}
		n++
	}
	if n >= maxDoors {
		return fmt.Errorf("metadata: the cell has %d doors, that is the most: %w", n, holdall.ErrExhausted)
	}
	return nil
}

// ackStep notes that a door has stopped for an announced step.
type ackStep struct {
	Door   DoorID
	Bucket holdall.BucketID
	Number uint64
}

func (*ackStep) tag() commandTag { return tagAckStep }
func (*ackStep) check() error    { return nil }

func (c *ackStep) encode(dst []byte) []byte {
	return putUvarint(putBucketID(append(dst, c.Door[:]...), c.Bucket), c.Number)
}

func (c *ackStep) decode(d *decoder) {
	c.Door, c.Bucket, c.Number = d.doorID(), d.bucketID(), d.uvarint()
}

func (c *ackStep) run(t *tx) (result, error) {
	m, err := t.knownMigration(c.Bucket)
	if err != nil {
		return nil, err
	}
	if m.Step == 0 || m.Number != c.Number {
		return nil, fmt.Errorf("metadata: bucket %d is at %d, step to %v: there is nothing to acknowledge at %d: %w", m.Bucket, m.Number, m.Step, c.Number, holdall.ErrStale)
	}
	w, err := t.door(c.Door)
	if err != nil {
		return nil, err
	}
	if w == nil {
		return nil, fmt.Errorf("metadata: door %v was not seen: %w", c.Door, holdall.ErrStale)
	}
	t.key = appendAckKey(t.key[:0], m.Bucket, c.Door)
	t.val = appendAck(t.val[:0], c.Number)
	t.set(t.key, t.val)
	return noResult{}, nil
}
