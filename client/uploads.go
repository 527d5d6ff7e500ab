package client

import (
	"context"
	"fmt"
	"sync"

	"github.com/holdall/holdall"
)

const (
	// maxUploads is how many large blocks are on their way to one server at a
	// time. gRPC sends all that it has in slices, in turn, so that sixteen blocks
	// would arrive together, after sixteen blocks' time, and the server would have
	// nothing to do until then. One after another they arrive as early as they
	// can. Two keep the connection busy between them.
	maxUploads = 2

	// largeUpload is the size of a block in bytes from which on it waits for its
	// turn: below, a block is sent in little more time than it takes to wake up
	// who waits.
	largeUpload = 256 << 10
)

// uploads gives turns at sending large blocks to one server, in the order in
// which they are asked for.
type uploads chan struct{}

func newUploads() uploads { return make(uploads, maxUploads) }

// wait returns when a block of n bytes may be sent. The turn must be ended; a
// small block's is over already. ErrUnavailable: ctx ended first.
func (u uploads) wait(ctx context.Context, n int) (*turn, error) {
	if n < largeUpload {
		return nil, nil
	}
	select {
	case u <- struct{}{}:
		return &turn{uploads: u}, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waited for other blocks to be sent: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
	}
}

// turn is a place among the uploads.
type turn struct {
	uploads uploads
	once    sync.Once
}

// end gives the place to the next. Ending it again does nothing.
func (t *turn) end() {
	if t != nil {
		t.once.Do(func() { <-t.uploads })
	}
}
