package metadata

import (
	"context"
	"fmt"
	"sync"

	"github.com/holdall/holdall"
)

// appliedIndex is how far the state is, for those who wait for it to get
// somewhere.
type appliedGate struct {
	mu    sync.Mutex // guards all below
	index uint64
	moved chan struct{} // closed at the next advance; nil while nobody waits
}

func (g *appliedGate) advance(index uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.index = max(g.index, index)
	if g.moved != nil {
		close(g.moved)
		g.moved = nil
	}
}

func (g *appliedGate) load() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.index
}

// wait returns when the state has reached index, or ErrUnavailable when ctx ends
// before.
func (g *appliedGate) wait(ctx context.Context, index uint64) error {
	for {
		g.mu.Lock()
		if g.index >= index {
			g.mu.Unlock()
			return nil
		}
		if g.moved == nil {
			g.moved = make(chan struct{})
		}
		moved, at := g.moved, g.index
		g.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("metadata: state is at entry %d, waiting for %d: %w: %w", at, index, context.Cause(ctx), holdall.ErrUnavailable)
		}
	}
}
