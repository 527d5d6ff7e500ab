package door

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdall/holdall"
)

// breaker leaves a source alone that fails call after call, where the cell decides
// without it: a source that hangs must not hold up every write for its timeout.
type breaker struct {
	mu    sync.Mutex // guards all below
	fails int        // in a row
	until time.Time  // nobody asks before, once fails are too many; then one does
}

// tooMany is how many failures in a row are.
const tooMany = 4

var errLeftAlone = fmt.Errorf("door: the source has failed %d times in a row and is left alone for a while: %w", tooMany, holdall.ErrUnavailable)

// allow says whether the source may be asked. After a rest one caller may, and the
// others rest on.
func (b *breaker) allow(now time.Time, rest time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails < tooMany {
		return true
	}
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(rest)
	return true
}

// note notes how a call ended. It returns true when the source is left alone from
// now on.
func (b *breaker) note(err error, now time.Time, rest time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !errors.Is(err, holdall.ErrUnavailable) {
		b.fails = 0
		return false
	}
	b.fails++
	if b.fails >= tooMany {
		b.until = now.Add(rest)
	}
	return b.fails == tooMany
}

// asked notes what the source said.
func (c *call) asked(err error) {
	if c.b.breaker.note(err, time.Now(), c.d.cfg.Rest) {
		c.d.log.Warn("migration: the source fails call after call", "bucket", c.id, "err", err)
	}
}

// leaveAlone says whether the source is not to be asked: it fails, and the cell
// decides.
func (c *call) leaveAlone() bool {
	return c.m.State.CellDecides() && !c.b.breaker.allow(time.Now(), c.d.cfg.Rest)
}
