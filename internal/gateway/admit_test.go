package gateway

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
)

func TestBudgetLetsWaitersInInOrder(t *testing.T) {
	b := newBudget(10)
	if !b.try(8) || b.try(3) {
		t.Fatal("8 of 10 must fit, 3 more must not")
	}
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- b.take(t.Context(), 5) }()
	waitFor(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.wait) == 1 })
	go func() { second <- b.take(t.Context(), 1) }()
	waitFor(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.wait) == 2 })
	if b.try(1) {
		t.Fatal("a late one must not overtake those that wait")
	}
	b.hold(-8)
	if err := errors.Join(<-first, <-second); err != nil {
		t.Fatal(err)
	}
	if b.inUse() != 6 {
		t.Fatalf("in use %d, want 6", b.inUse())
	}
}

func TestBudgetForgetsWaiterWhoseContextEnds(t *testing.T) {
	b := newBudget(10)
	b.hold(10)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() { got <- b.take(ctx, 5) }()
	waitFor(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.wait) == 1 })
	cancel()
	if err := <-got; !errors.Is(err, holdall.ErrUnavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	b.hold(-10)
	if b.inUse() != 0 || len(b.wait) != 0 {
		t.Fatalf("in use %d, waiting %d, want none", b.inUse(), len(b.wait))
	}
}

func TestBudgetAdmitsOneLargerThanItself(t *testing.T) {
	b := newBudget(10)
	if !b.try(20) {
		t.Fatal("with nobody else there, everything must be let in")
	}
	if b.try(1) {
		t.Fatal("a second one must wait")
	}
}

func TestArrivalsDropStalledPuts(t *testing.T) {
	now := time.Unix(1000, 0)
	a := newArrivals(func() time.Time { return now })
	var stalled, moving arrival
	a.begin(&stalled)
	a.begin(&moving)
	if a.count() != 2 {
		t.Fatalf("count %d, want 2", a.count())
	}
	for range 5 {
		now = now.Add(arrivalSlice)
		a.moved(&moving)
	}
	if a.count() != 1 {
		t.Fatalf("count %d with one stalled, want 1", a.count())
	}
	a.moved(&stalled)
	if a.count() != 2 {
		t.Fatalf("count %d after it moved again, want 2", a.count())
	}
	if !a.end(&moving) || a.end(&moving) {
		t.Fatal("an arrival ends once")
	}
	if a.count() != 1 {
		t.Fatalf("count %d after one ended, want 1", a.count())
	}
	now = now.Add(-time.Hour) // a clock that runs back
	a.end(&stalled)
	if a.count() != 0 {
		t.Fatalf("count %d at the end, want 0", a.count())
	}
}

func TestAppendTimeoutFollowsMedianWithinBounds(t *testing.T) {
	a := newAppendTimes(500*time.Millisecond, 10*time.Second)
	if a.timeout() != 10*time.Second {
		t.Fatalf("nothing known: %v, want the most", a.timeout())
	}
	for range 128 {
		a.add(5 * time.Millisecond)
	}
	if a.timeout() != 500*time.Millisecond {
		t.Fatalf("fast disks: %v, want the least", a.timeout())
	}
	for range 128 {
		a.add(200 * time.Millisecond)
	}
	if a.timeout() != 2*time.Second {
		t.Fatalf("median 200ms: %v, want 2s", a.timeout())
	}
	for range 128 {
		a.add(3 * time.Second)
	}
	if a.timeout() != 10*time.Second {
		t.Fatalf("median 3s: %v, want the most", a.timeout())
	}
}

func TestHedgesAreFewAndNoneWhileQueuesAreLong(t *testing.T) {
	r := newReadTimes()
	for range hedgeMinSample {
		if d := r.begin(time.Millisecond); d != 0 {
			t.Fatalf("hedge after %v with too few reads seen", d)
		}
		r.end(10 * time.Millisecond)
	}
	if d := r.begin(time.Millisecond); d != 20*time.Millisecond {
		t.Fatalf("hedge after %v, want twice the p95 of 10ms", d)
	}
	hedged := 0
	for range 1000 {
		r.begin(time.Millisecond)
		if r.hedge(9) {
			hedged++
		}
		r.end(10 * time.Millisecond)
	}
	if hedged == 0 || hedged > 1000/20+hedgeBurst {
		t.Fatalf("%d of 1000 hedged, want some, at most 5 %%", hedged)
	}
	for range 100 {
		r.begin(time.Millisecond)
	}
	if r.tokens = 5; r.hedge(9) {
		t.Fatal("hedged behind a long queue")
	}
}

// TestRecordOfManyBlocksCounts: the record that blocks are packed in may take a
// larger buffer than theirs together, and counts until the pack is released.
func TestRecordOfManyBlocksCounts(t *testing.T) {
	g := &Gateway{pool: buffer.NewPool(0), receive: newBudget(1 << 30)}
	p := new(pack)
	for range 2 {
		buf := g.pool.Take(receiveBytes(7000))
		p.items = append(p.items, &item{flight: new(flight), size: 7000, buf: buf, data: buf.Bytes()[holdall.RecordHeaderSize:][:7000], fresh: true})
		g.receive.hold(receiveCost(7000))
	}
	p.build(g)
	if g.pool.Lent() <= 2*receiveCost(7000) || g.receive.inUse() != g.pool.Lent() {
		t.Errorf("%d bytes count of %d that are held; two blocks came in with %d", g.receive.inUse(), g.pool.Lent(), 2*receiveCost(7000))
	}
	for _, it := range p.items {
		it.buf.Release()
		g.receive.hold(-receiveCost(7000))
	}
	p.release(g)
	if g.receive.inUse() != 0 || g.pool.Lent() != 0 {
		t.Errorf("%d bytes count, %d are held at the end", g.receive.inUse(), g.pool.Lent())
	}
}

// waitFor spins until what other goroutines do has come true.
func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("did not come true within 20 s")
		}
	}
}
