package gateway

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdall/holdall"
)

// budget counts bytes in flight against a limit.
type budget struct {
	limit int64
	mu    sync.Mutex // guards used, wait
	used  int64
	wait  []*waiter // in order of arrival
}

type waiter struct {
	n     int64
	ready chan struct{}
}

func newBudget(limit int64) *budget { return &budget{limit: limit} }

// try takes n bytes if they are free.
func (b *budget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.wait) > 0 || b.used+n > b.limit && b.used > 0 {
		return false
	}
	b.used += n
	return true
}

// take takes n bytes, waiting for them until ctx ends. One caller is let in
// whatever it asks for, when nobody else holds any.
func (b *budget) take(ctx context.Context, n int64) error {
	if b.try(n) {
		return nil
	}
	w := &waiter{n, make(chan struct{})}
	b.mu.Lock()
	b.wait = append(b.wait, w)
	b.admit()
	b.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, o := range b.wait {
		if o == w {
			b.wait = append(b.wait[:i], b.wait[i+1:]...)
			b.admit()
			return fmt.Errorf("gateway: waiting for %d bytes of memory: %w: %w", n, context.Cause(ctx), holdall.ErrUnavailable)
		}
	}
	return nil // it was let in just now
}

// hold adds n bytes without asking: they are held already, and new ones must
// wait for them. Negative n gives bytes back.
func (b *budget) hold(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += n
	b.admit()
}

// admit lets waiters in, in order. Callers hold mu.
func (b *budget) admit() {
	for len(b.wait) > 0 && (b.used == 0 || b.used+b.wait[0].n <= b.limit) {
		b.used += b.wait[0].n
		close(b.wait[0].ready)
		b.wait = b.wait[1:]
	}
}

func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// retryDelay is what a refused put is told to wait: about what a few stripes
// take.
const retryDelay = 50 * time.Millisecond

// Admission is leave to send one block. The capacity of the block's buffer
// counts against the memory budget until Release.
type Admission struct {
	g        *Gateway
	size     int64 // the most bytes that the block may have
	held     int64 // bytes that count
	waited   bool  // they count among those that waited, too
	arrival  arrival
	released atomic.Bool
}

// Admit makes room for a put of size bytes before any of them is read. It
// returns an ErrExhausted inside a holdall.RetryAfter when the memory for puts
// is all in use, and ErrInvalid for a size that no block has. The caller
// releases the Admission when the put is answered, or the caller gone.
func (g *Gateway) Admit(size int64) (*Admission, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	if g.isClosing() {
		return nil, errClosing()
	}
	held := receiveCost(int(size))
	if !g.receive.try(held) {
		g.metrics.refused.Inc()
		return nil, &holdall.RetryAfter{Delay: retryDelay, Err: fmt.Errorf(
			"gateway: put of %d bytes, %d with its buffer: %d of %d bytes for puts in use: %w", size, held, g.receive.inUse(), g.receive.limit, holdall.ErrExhausted)}
	}
	a := &Admission{g: g, size: size, held: held}
	g.arrivals.begin(&a.arrival)
	return a, nil
}

// AdmitWait is Admit for callers inside the process, whose bytes come from a
// stream that can be held back: where Admit refuses it waits, in order, until
// there is room or ctx ends (ErrUnavailable). A caller that holds Admissions
// may wait for another as long as the ones it holds end without it.
func (g *Gateway) AdmitWait(ctx context.Context, size int64) (*Admission, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	held := receiveCost(int(size))
	if err := g.waiting.take(ctx, held); err != nil {
		return nil, err
	}
	if err := g.receive.take(ctx, held); err != nil {
		g.waiting.hold(-held)
		return nil, err
	}
	a := &Admission{g: g, size: size, held: held, waited: true}
	if g.isClosing() {
		a.Release()
		return nil, errClosing()
	}
	g.arrivals.begin(&a.arrival)
	return a, nil
}

// Release gives the room back. Calls after the first do nothing.
func (a *Admission) Release() {
	if a.released.CompareAndSwap(false, true) {
		a.g.arrived(&a.arrival)
		a.g.receive.hold(-a.held)
		if a.waited {
			a.g.waiting.hold(-a.held)
		}
	}
}

func checkSize(size int64) error {
	if size < 1 || size > holdall.MaxBlockSize {
		return fmt.Errorf("gateway: block of %d bytes, a block has 1 to %d: %w", size, holdall.MaxBlockSize, holdall.ErrInvalid)
	}
	return nil
}

// arrivals counts the puts whose bytes are on their way in. The packer waits
// for them, so one that stalls drops out after a while.
type arrivals struct {
	now    func() time.Time
	start  time.Time
	mu     sync.Mutex // guards all below and every arrival
	slice  int64      // number of the current time slice
	counts [2]int     // arrivals that moved in the current slice, and in the one before
}

// arrivalSlice is the grain of arrivals: a put that shows no progress for one
// to two slices has stalled.
const arrivalSlice = 50 * time.Millisecond

// arrival is one put on its way in. The zero arrival is not under way.
type arrival struct {
	on    bool
	slice int64 // in which it last moved
}

func newArrivals(now func() time.Time) *arrivals { return &arrivals{now: now, start: now()} }

// turn moves to the present time slice. Callers hold mu.
func (a *arrivals) turn() {
	slice := max(a.slice, int64(a.now().Sub(a.start)/arrivalSlice)) // a clock that runs back stands still
	switch {
	case slice == a.slice+1:
		a.counts = [2]int{0, a.counts[0]}
	case slice != a.slice:
		a.counts = [2]int{}
	}
	a.slice = slice
}

func (a *arrivals) begin(r *arrival) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn()
	*r = arrival{on: true, slice: a.slice}
	a.counts[0]++
}

// drop takes r out of the counts. Callers hold mu and have called turn.
func (a *arrivals) drop(r *arrival) {
	if age := a.slice - r.slice; age == 0 || age == 1 {
		a.counts[age]--
	}
}

// moved notes that bytes of r came.
func (a *arrivals) moved(r *arrival) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !r.on {
		return
	}
	a.turn()
	a.drop(r)
	r.slice = a.slice
	a.counts[0]++
}

// end notes that r is in the packer, or will never be. It returns false if that
// was known.
func (a *arrivals) end(r *arrival) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !r.on {
		return false
	}
	a.turn()
	a.drop(r)
	r.on = false
	return true
}

// count returns how many are on their way and have not stalled.
func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn()
	return a.counts[0] + a.counts[1]
}

// arrived ends an arrival and lets the lane look again: it may have been the
// last that others waited for.
func (g *Gateway) arrived(r *arrival) {
	if g.arrivals.end(r) {
		g.user.wake()
	}
}
