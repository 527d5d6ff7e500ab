package metadata

import (
	"fmt"
	"sync"

	"github.com/holdall/holdall"
)

// opGate counts the calls being served, so that closing can refuse new ones and
// wait for the rest: Raft forgets those who still wait for it when it stops.
type opGate struct {
	mu     sync.Mutex // guards all below
	n      int
	closed bool
	idle   chan struct{} // closed when the last call has ended; nil until somebody waits
}

// enter counts a call in, or is ErrUnavailable once the gate is closed.
func (g *opGate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return fmt.Errorf("metadata: closed: %w", holdall.ErrUnavailable)
	}
	g.n++
	return nil
}

// add counts in what a call that has entered leaves behind it.
func (g *opGate) add() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
}

// exit counts a call out.
func (g *opGate) exit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// close refuses new calls and returns when none is being served.
func (g *opGate) close() {
	g.mu.Lock()
	g.closed = true
	if g.n > 0 && g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	if idle != nil {
		<-idle
	}
}
