package metadata

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdall/holdall"
)

// numbering numbers this process's mutations. A session is opened through Raft
// when the first mutation comes, and again should the cell have forgotten it.
type numbering struct {
	opening chan struct{} // holds one token while a session is being opened

	mu      sync.Mutex // guards all below
	present *ownSession
	stamped instant // the last time put on an entry
}

// ownSession is one open session of this process.
type ownSession struct {
	id uint64

	mu     sync.Mutex          // guards all below
	next   uint64              // the number that the next mutation gets
	lowest uint64              // the lowest that is still waited for
	done   map[uint64]struct{} // above lowest, and not waited for any more
}

// begin numbers a mutation, or returns 0 while as many wait for their answers
// as a session may have: one waits for very long.
func (s *ownSession) begin() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next-s.lowest >= sessionWindow {
		return 0
	}
	seq := s.next
	s.next++
	return seq
}

// header returns what goes before mutation seq in its entry.
func (s *ownSession) header(seq uint64, now instant) header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return header{Session: s.id, Seq: seq, Lowest: s.lowest, Time: now}
}

// end says that nobody waits for seq any more. Should it be carried out later
// all the same, the cell refuses it once it has seen a mutation that says so.
func (s *ownSession) end(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[seq] = struct{}{}
	for {
		if _, ok := s.done[s.lowest]; !ok {
			return
		}
		delete(s.done, s.lowest)
		s.lowest++
	}
}

// stamp returns the time for the next entry: the clock's, but never before the
// last.
func (s *numbering) stamp(now time.Time) instant {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamped = max(s.stamped, toInstant(now))
	return s.stamped
}

func (s *numbering) get() *ownSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present
}

// forget makes the next mutation open a session in place of old.
func (s *numbering) forget(old *ownSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.present == old {
		s.present = nil
	}
}

// openSession returns the present session, or a new one.
func (r *replica) openSession(ctx context.Context) (*ownSession, error) {
	if s := r.session.get(); s != nil {
		return s, nil
	}
	select {
	case r.session.opening <- struct{}{}:
		defer func() { <-r.session.opening }()
	case <-ctx.Done():
		return nil, fmt.Errorf("metadata: open a session: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
	}
	if s := r.session.get(); s != nil {
		return s, nil
	}
	entry, err := encodeCommand(header{Time: r.session.stamp(r.cfg.Clock())}, &openSession{Name: r.cfg.NodeID})
	if err != nil {
		return nil, err
	}
	answer, _, err := r.propose(ctx, entry)
	if err != nil {
		return nil, err
	}
	var id numberResult
	if err := decodeAnswer(answer, &id); err != nil {
		return nil, fmt.Errorf("metadata: open a session: %w", err)
	}
	s := &ownSession{id: id.N, next: 1, lowest: 1, done: make(map[uint64]struct{})}
	r.session.mu.Lock()
	defer r.session.mu.Unlock()
	r.session.present = s
	return s, nil
}

// mutate carries c out once and returns its answer. An error that wraps
// errUnknown leaves open whether c was, or will yet be, carried out; never will
// it be carried out twice.
func (r *replica) mutate(ctx context.Context, c command) ([]byte, error) {
	if err := r.ops.enter(); err != nil {
		return nil, err
	}
	defer r.ops.exit()
	begin := time.Now()
	answer, err := r.mutateOnce(ctx, c)
	r.tally.mutations.WithLabelValues(outcomeOf(err)).Inc()
	r.tally.seconds.Observe(time.Since(begin).Seconds())
	return answer, err
}

func (r *replica) mutateOnce(ctx context.Context, c command) ([]byte, error) {
	for {
		s, err := r.openSession(ctx)
		if err != nil {
			return nil, err
		}
		answer, again, err := r.mutateIn(ctx, s, c)
		if err != nil || !isNoSession(answer) {
			return answer, err
		}
		// The cell has forgotten the session, and refuses all that is in it.
		r.session.forget(s)
		if again {
			return nil, mayBeDone(fmt.Errorf("metadata: session %d was dropped: %w", s.id, holdall.ErrUnavailable), true)
		}
	}
}

// isNoSession says whether an answer is errNoSession.
func isNoSession(answer []byte) bool {
	return len(answer) > 0 && int(answer[0]) < len(answerKinds) && answerKinds[answer[0]] == errNoSession
}

// mutateIn carries c out as a mutation of s and returns the answer, and whether
// it was tried more than once.
func (r *replica) mutateIn(ctx context.Context, s *ownSession, c command) (answer []byte, again bool, err error) {
	seq := s.begin()
	for seq == 0 {
		if err := r.pause(ctx); err != nil {
			return nil, false, err
		}
		seq = s.begin()
	}
	defer s.end(seq)
	entry, err := encodeCommand(s.header(seq, r.session.stamp(r.cfg.Clock())), c)
	if err != nil {
		return nil, false, err
	}
	return r.propose(ctx, entry)
}
