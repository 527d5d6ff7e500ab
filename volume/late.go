package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
)

// maxLate is how many extents are remembered that were sealed or freed before
// they were made: far more than a cell makes volumes in the time that a request
// may be late. A restart forgets them, and the requests too.
const maxLate = 1024

// lateSet holds the most recent extents whose creation is to be refused.
type lateSet struct {
	ids   map[holdall.ExtentID]struct{}
	order []holdall.ExtentID // a ring, once it is full
	next  int
}

func (s *lateSet) has(id holdall.ExtentID) bool {
	_, ok := s.ids[id]
	return ok
}

func (s *lateSet) add(id holdall.ExtentID) {
	if s.has(id) {
		return
	}
	if s.ids == nil {
		s.ids = map[holdall.ExtentID]struct{}{}
	}
	s.ids[id] = struct{}{}
	if len(s.order) < maxLate {
		s.order = append(s.order, id)
		return
	}
	delete(s.ids, s.order[s.next])
	s.order[s.next] = id
	s.next = (s.next + 1) % maxLate
}

// sealable waits until the extent is indexed. One that is not here is waited for
// if it is being made; else it never will be: a creation whose caller gave up,
// and sealed the volume instead, may still be on its way, and would leave an
// extent that nobody seals or frees.
func (d *Disk) sealable(ctx context.Context, id holdall.ExtentID) error {
	_, err := d.indexed(ctx, id)
	if !errors.Is(err, holdall.ErrNotFound) {
		return err
	}
	if err := d.do(ctx, func() error { return d.refuseLate(id) }); err != nil {
		return err
	}
	_, err = d.indexed(ctx, id)
	return err
}

// refuseLate makes the creation of an extent that is not here refused from now
// on: ErrNotFound. Only the writer calls it.
func (d *Disk) refuseLate(id holdall.ExtentID) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, err := d.find(id)
	if err != nil {
		d.w.late.add(id)
	}
	return err
}

// checkLate says why the extent may not be made any more, or returns nil. Only
// the writer calls it.
func (d *Disk) checkLate(id holdall.ExtentID) error {
	if !d.w.late.has(id) {
		return nil
	}
	return fmt.Errorf("disk %v: create %v: it was sealed or freed before it was made: %w", d.ident.Disk, id, holdall.ErrStale)
}
