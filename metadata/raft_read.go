package metadata

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

// readRounds lets all linearizable reads that arrive while the lead is being
// confirmed share the next confirmation. None may join one that has begun: it
// could miss what was acknowledged since.
type readRounds struct {
	mu      sync.Mutex // guards all below
	next    *readRound // not begun; nil if nobody waits
	running bool
}

// readRound is one confirmation of the lead.
type readRound struct {
	done  chan struct{}
	index uint64 // everything acknowledged before the round is at or below
	err   error
}

// join returns the round that will begin next, and whether the caller must see
// to it that rounds are run.
func (s *readRounds) join() (round *readRound, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &readRound{done: make(chan struct{})}
	}
	first = !s.running
	s.running = true
	return s.next, first
}

// take returns the round to run now, nil when nobody waits for one.
func (s *readRounds) take() *readRound {
	s.mu.Lock()
	defer s.mu.Unlock()
	round := s.next
	s.next = nil
	s.running = round != nil
	return round
}

// linearize returns when the state holds everything that was acknowledged, by
// any voter, before the call. Only the leader can say so; ErrUnavailable
// otherwise.
func (r *replica) linearize(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, leaderWait, errNoLeader)
	defer cancel()
	for {
		if err := r.lead.wait(ctx); err != nil {
			return err
		}
		round, first := r.reads.join()
		if first {
			r.ops.add()
			go r.runReadRounds()
		}
		select {
		case <-round.done:
		case <-ctx.Done():
			return fmt.Errorf("metadata: confirm the lead: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
		}
		if round.err == nil {
			return r.awaitApplied(ctx, round.index)
		}
		if !errors.Is(round.err, errLeadChanged) {
			return round.err
		}
		if err := r.pause(ctx); err != nil {
			return err
		}
	}
}

func (r *replica) runReadRounds() {
	defer r.ops.exit()
	for round := r.reads.take(); round != nil; round = r.reads.take() {
		round.index, round.err = r.readIndex()
		close(round.done)
	}
}

var (
	errNoLeader    = errors.New("no leader for 2 s")
	errLeadChanged = errors.New("the lead changed hands")
)

// readIndex returns an index at or above everything acknowledged so far, once a
// majority has confirmed that this voter leads (Ongaro's thesis, 6.4).
func (r *replica) readIndex() (uint64, error) {
	term, _ := r.lead.get()
	if term == 0 || r.raft.CurrentTerm() != term {
		return 0, errLeadChanged
	}
	index := r.raft.CommitIndex()
	err := r.raft.VerifyLeader().Error()
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost):
		return 0, errLeadChanged
	case err != nil:
		return 0, fmt.Errorf("metadata: confirm the lead: %w: %w", err, holdall.ErrUnavailable)
	case r.raft.CurrentTerm() != term:
		return 0, errLeadChanged
	}
	return index, nil
}

// awaitApplied waits until the state has applied every entry up to index. Raft
// keeps entries of its own from the state, so the last that the state will see
// may be below.
func (r *replica) awaitApplied(ctx context.Context, index uint64) error {
	for index > r.fsm.applied.load() {
		var l raft.Log
		err := r.log.GetLog(index, &l)
		if errors.Is(err, raft.ErrLogNotFound) {
			break // truncated since: it was flushed, so it was applied
		}
		if err != nil {
			return fmt.Errorf("%w: %w", err, holdall.ErrUnavailable)
		}
		if l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
			return r.fsm.applied.wait(ctx, index)
		}
		index--
	}
	return nil
}
