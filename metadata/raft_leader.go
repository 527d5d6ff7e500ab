package metadata

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

// leadership says whether this voter leads, and may answer for the cell: only a
// leader that has applied everything its predecessors committed.
type leadership struct {
	mu      sync.Mutex // guards all below
	term    uint64     // in which this voter leads; 0 = it does not
	changed chan struct{}
}

// set records the term in which this voter leads, 0 for none.
func (l *leadership) set(term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term = term
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// get returns the term in which this voter leads, and a channel that is closed
// when that changes.
func (l *leadership) get() (uint64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.term, l.changed
}

// wait returns when this voter leads, or ErrUnavailable when ctx ends before.
func (l *leadership) wait(ctx context.Context) error {
	for {
		term, changed := l.get()
		if term != 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("metadata: no leader: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
		}
	}
}

// watchLeadership follows Raft's elections.
func (r *replica) watchLeadership() {
	for {
		select {
		case leads := <-r.raft.LeaderCh():
			r.lead.set(0)
			if leads {
				r.takeLead()
			}
		case <-r.stopped.Done():
			return
		}
	}
}

// takeLead waits until everything that was committed before this voter led is
// applied.
func (r *replica) takeLead() {
	term := r.raft.CurrentTerm()
	if err := r.raft.Barrier(0).Error(); err != nil {
		r.cfg.Logger.Info("metadata lead lost", "term", term, "err", err)
		return
	}
	if r.raft.State() == raft.Leader && r.raft.CurrentTerm() == term {
		r.lead.set(term)
	}
}
