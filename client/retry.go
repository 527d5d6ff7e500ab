package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/holdall/holdall"
)

// How calls are tried again.
const (
	firstBackoff = 20 * time.Millisecond // doubles with every attempt, to
	lastBackoff  = 2 * time.Second       // which a restarting server is back within
	longestWait  = 10 * time.Second      // that a server may ask for; more is answered with the error

	budgetMax   = 10.0 // retries at once that a Client may have to its credit
	budgetShare = 0.1  // retries for each call that went well
)

// budget bounds retries to a share of the calls that go well, so that clients
// of a cell in trouble do not multiply its load.
type budget struct {
	mu   sync.Mutex // guards left
	left float64
}

func (b *budget) earn() {
	b.mu.Lock()
	b.left = min(budgetMax, b.left+budgetShare)
	b.mu.Unlock()
}

func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// retry calls f until it goes well, fails for good, or has used up its attempts,
// its context, or the client's retry budget. Errors of f are those of FromStatus.
func (c *Client) retry(ctx context.Context, f func(context.Context) error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.options.Timeout)
		defer cancel()
	}
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		err := f(ctx)
		if err == nil {
			c.budget.earn()
			return nil
		}
		wait, again := c.wait(err, backoff)
		if !again || attempt >= c.options.Attempts || !c.budget.spend() {
			return err
		}
		if until, ok := ctx.Deadline(); ok && time.Until(until) <= wait {
			return err
		}
		if c.sleep(ctx, wait) != nil {
			return err
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// wait returns how long to wait before the call that failed with err is made
// again, and whether it may be. UNAVAILABLE may; RESOURCE_EXHAUSTED may where
// the server says when, as it does for overload and not for want of space.
func (c *Client) wait(err error, backoff time.Duration) (time.Duration, bool) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return 0, false
	}
	// Half fixed, half chance: callers that failed together do not return together.
	jittered := backoff/2 + time.Duration(c.options.Random()*float64(backoff)/2)
	var after *holdall.RetryAfter
	if errors.As(err, &after) {
		return max(after.Delay, jittered), after.Delay <= longestWait
	}
	return jittered, errors.Is(err, holdall.ErrUnavailable)
}

// sleepFor waits for d or for the end of ctx.
func sleepFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
