package client

import (
	"context"
	"errors"
	"time"

	"github.com/holdall/holdall"
)

// streamPatience is how long a stream that makes no headway is begun again: a
// server that was killed is back by then.
const streamPatience = 30 * time.Second

// patience decides whether a stream that broke is begun again. Streams have no
// deadline but their caller's, so it goes by time without headway, not by a
// count: of the retry budget a stream takes one for every time that it stops.
type patience struct {
	c       *Client
	now     func() time.Time
	since   time.Time // of the first failure without headway since; zero = none
	backoff time.Duration
}

func (c *Client) patience() *patience { return &patience{c: c, now: time.Now} }

// headway notes that the stream got somewhere.
func (p *patience) headway() { p.since = time.Time{} }

// again waits until the stream may be begun again after err, or says that it may
// not.
func (p *patience) again(ctx context.Context, err error) bool {
	if p.c.options.Attempts == 1 || ctx.Err() != nil {
		return false
	}
	first := p.since.IsZero()
	if first {
		p.since, p.backoff = p.now(), firstBackoff
	}
	wait, ok := p.c.wait(err, p.backoff)
	if !ok || p.now().Add(wait).Sub(p.since) > streamPatience || first && !p.c.budget.spend() {
		return false
	}
	p.backoff = min(2*p.backoff, lastBackoff)
	return p.c.sleep(ctx, wait) == nil
}

// mayRepeat says whether err leaves open what became of a put.
func mayRepeat(err error) bool {
	return errors.Is(err, holdall.ErrUnavailable) || errors.Is(err, holdall.ErrExhausted)
}
