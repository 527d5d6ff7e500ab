package drills

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

// blockOf returns the bytes of block number i of a drill: random, so that no two
// are equal and none compresses, and made anew from the number alone.
func blockOf(i uint64, size int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], i)
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

// ledger is what a drill was promised: the blocks acknowledged to it.
type ledger struct {
	next atomic.Uint64 // number of the next block to put

	mu     sync.Mutex // guards acked, failed
	acked  []holdall.BlockID
	failed int
}

func (l *ledger) ack(id holdall.BlockID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, id)
}

// ids returns a copy of what was acknowledged so far, in order.
func (l *ledger) ids() []holdall.BlockID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]holdall.BlockID(nil), l.acked...)
}

func (c *cell) dial() *client.Client {
	c.t.Helper()
	cl, err := client.Dial(client.Options{}, c.grpc)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = cl.Close() })
	return cl
}

// putUntil puts new blocks, width at a time, until stop says so; it is told how
// many were acknowledged. Failed puts are counted and not repeated.
func (l *ledger) putUntil(ctx context.Context, cl *client.Client, width int, size func(i uint64) int, stop func(acked int) bool) {
	var wg sync.WaitGroup
	for range width {
		wg.Go(func() {
			for ctx.Err() == nil && !stop(l.count()) {
				i := l.next.Add(1)
				one, cancel := context.WithTimeout(ctx, 10*time.Second)
				id, err := cl.Put(one, blockOf(i, size(i)))
				cancel()
				if err == nil {
					l.ack(id)
					continue
				}
				l.mu.Lock()
				l.failed++
				l.mu.Unlock()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	wg.Wait()
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// put puts n new blocks and fails the test when one is refused.
func (l *ledger) put(t testing.TB, cl *client.Client, n, width, size int) {
	t.Helper()
	before, failed := l.count(), l.failed
	l.putUntil(t.Context(), cl, width, fixed(size), func(acked int) bool { return acked >= before+n || l.failed > failed })
	if l.failed > failed {
		_, err := cl.Put(t.Context(), blockOf(l.next.Add(1), size))
		t.Fatalf("a put was refused after %d of %d; the next one says: %v", l.count()-before, n, err)
	}
}

func fixed(size int) func(uint64) int { return func(uint64) int { return size } }

// reading is how the gets of many blocks ended.
type reading struct {
	ok, unavailable, notFound, other int
	first                            error // of other
}

func (r reading) String() string {
	return fmt.Sprintf("%d right, %d UNAVAILABLE, %d NOT_FOUND, %d other errors (first: %v)", r.ok, r.unavailable, r.notFound, r.other, r.first)
}

// readAll gets every block once, verified, width at a time.
func readAll(ctx context.Context, cl *client.Client, ids []holdall.BlockID, width int) reading {
	var mu sync.Mutex // guards r
	var r reading
	var next atomic.Int64
	var wg sync.WaitGroup
	for range width {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(ids)); i = next.Add(1) - 1 {
				one, cancel := context.WithTimeout(ctx, 20*time.Second)
				b, err := cl.Fetch(one, ids[i], client.GetOptions{})
				cancel()
				mu.Lock()
				switch {
				case err == nil:
					r.ok++
				case errors.Is(err, holdall.ErrUnavailable):
					r.unavailable++
				case errors.Is(err, holdall.ErrNotFound):
					r.notFound++
				default:
					r.other++
					if r.first == nil {
						r.first = fmt.Errorf("block %v: %w", ids[i], err)
					}
				}
				mu.Unlock()
				if err == nil {
					b.Release()
				}
			}
		})
	}
	wg.Wait()
	return r
}

// mustReadAll fails the test unless every block reads back.
func mustReadAll(t testing.TB, cl *client.Client, ids []holdall.BlockID, when string) {
	t.Helper()
	if r := readAll(t.Context(), cl, ids, 16); r.ok != len(ids) {
		t.Fatalf("%s: of %d acknowledged blocks %v", when, len(ids), r)
	}
	t.Logf("%s: all %d acknowledged blocks read back", when, len(ids))
}
