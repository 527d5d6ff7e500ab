package source

import (
	"context"
	"sync"
	"time"

	"github.com/holdall/holdall/migration/pace"
)

// slots lets goroutines wait for a place in a pace.Gate.
type slots struct {
	mu      sync.Mutex // guards the fields below
	gate    *pace.Gate
	changed chan struct{} // closed, and replaced, when a place may be free
}

func newSlots(most int) *slots {
	return &slots{gate: pace.NewGate(most), changed: make(chan struct{})}
}

// enter waits for a place.
func (s *slots) enter(ctx context.Context, prefix string) error {
	for {
		s.mu.Lock()
		ok, changed := s.gate.Enter(prefix), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leave gives a place back.
func (s *slots) leave(now time.Time, prefix string, o pace.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate.Leave(now, prefix, o)
	close(s.changed)
	s.changed = make(chan struct{})
}
