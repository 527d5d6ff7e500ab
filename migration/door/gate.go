package door

import (
	"context"
	"fmt"
	"sync"

	"github.com/holdall/holdall"
)

// gate counts the calls of one bucket that are under way, and can be shut for a
// step: calls that come then wait, those under way end, and one that takes longer
// than the step can wait straddles it.
type gate struct {
	mu   sync.Mutex // guards all below
	in   map[*pass]struct{}
	shut chan struct{} // closed when the gate opens again; nil = it is open
	idle chan struct{} // closed when the last call that counts ends; nil = nobody waits
}

// pass is one call.
type pass struct {
	g *gate

	// straddles is set, before the step is acknowledged, for a call that began
	// under the state before it and has not ended.
	straddles bool
	over      bool
}

func newGate() *gate { return &gate{in: map[*pass]struct{}{}} }

// enter waits while the gate is shut. Errors wrap ErrUnavailable.
func (g *gate) enter(ctx context.Context) (*pass, error) {
	for {
		g.mu.Lock()
		shut := g.shut
		if shut == nil {
			p := &pass{g: g}
			g.in[p] = struct{}{}
			g.mu.Unlock()
			return p, nil
		}
		g.mu.Unlock()
		select {
		case <-shut:
		case <-ctx.Done():
			return nil, fmt.Errorf("door: the bucket is taking a step of its migration: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
		}
	}
}

// leave ends a call.
func (p *pass) leave() {
	g := p.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.over {
		panic("door: a call left twice")
	}
	p.over = true
	delete(g.in, p)
	g.notify()
}

// straddled says whether the state may have changed since the call began.
func (p *pass) straddled() bool {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	return p.straddles
}

// close shuts the gate and waits for the calls under way to end, or for ctx: those
// that are left then straddle. It returns how many do. Only one caller may close,
// and opens again.
func (g *gate) close(ctx context.Context) int {
	g.mu.Lock()
	if g.shut != nil {
		panic("door: a gate was shut twice")
	}
	g.shut = make(chan struct{})
	g.idle = make(chan struct{})
	idle := g.idle
	g.notify()
	g.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.idle = nil
	for p := range g.in {
		p.straddles = true
	}
	return len(g.in)
}

// open lets calls in again.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

// notify tells close that nothing is left to wait for.
func (g *gate) notify() {
	if g.idle == nil {
		return
	}
	for p := range g.in {
		if !p.straddles { // an older step's straddlers may take hours more
			return
		}
	}
	close(g.idle)
	g.idle = nil
}
