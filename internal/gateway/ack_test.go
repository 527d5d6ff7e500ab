package gateway_test

import (
	"context"
	"errors"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
)

// elsewhere answers every commit with a copy in a volume that nobody knows.
type elsewhere struct{ gateway.Index }

func (i elsewhere) CommitStripe(ctx context.Context, c metadata.StripeCommit) (metadata.CommitResult, error) {
	r, err := i.Index.CommitStripe(ctx, c)
	for k := range r.Kept {
		r.Kept[k].Volume = holdall.MakeVolumeID(1, 1<<40)
	}
	return r, err
}

// TestCopyThatIsNotSafeIsNeverAcknowledged: however often the row moved on to a
// copy whose volume misses members, the last try is no exception.
func TestCopyThatIsNotSafeIsNeverAcknowledged(t *testing.T) {
	c := newCell(t, tune(func(cfg *gateway.Config) { cfg.Index = elsewhere{cfg.Index} }))
	if res, err := c.tryPut(t.Context(), c.bytes(1000)); !errors.Is(err, holdall.ErrUnavailable) {
		t.Fatalf("%+v, %v; want ErrUnavailable", res, err)
	}
	clear(c.acks)
}

// TestMemoryOfAbandonedPutCounts: a caller that goes away leaves its block in
// the stripe, where it counts until the stripe is done; else callers that come
// and go beside a slow disk would fill the memory.
func TestMemoryOfAbandonedPutCounts(t *testing.T) {
	c := newCell(t, sim.Config{})
	c.put(1000) // a volume is open
	release := make(chan struct{})
	in := c.Array.Disk(0).Inject(faultdisk.Fault{Op: faultdisk.OpAppend, Zone: faultdisk.AnyZone, Count: -1, Effect: faultdisk.Hang, Until: release})
	const size = 50_000
	for in.Hits() == 0 { // until a stripe has a shard on disk 0
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		data := c.bytes(size)
		go func() {
			defer close(done)
			_, _ = c.tryPut(ctx, data)
		}()
		c.waitFor("the put to end or hang", func() bool {
			select {
			case <-done:
				return true
			default:
				return in.Hits() > 0
			}
		})
		cancel()
		<-done
	}
	if held := c.Gateway.Status().PutBytes; held < size {
		t.Errorf("%d bytes count after the caller went away, the stripe holds %d", held, size)
	}
	close(release)
	c.waitFor("memory to come back", func() bool { return c.Gateway.Status().PutBytes == 0 })
}
