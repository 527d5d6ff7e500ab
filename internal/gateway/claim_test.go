package gateway_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/sim"
)

func TestDedupHitOfAPendingPutDoesNotMakeABlockDirect(t *testing.T) {
	var held holds
	c := newCell(t, tune(func(cfg *gateway.Config) { held.Pending = cfg.Pending; cfg.Pending = &held }))
	id := c.put(10_000)
	data := c.acks[id]
	if _, err := c.Gateway.Delete(t.Context(), ns, []holdall.BlockID{id}); err != nil {
		t.Fatal(err)
	}
	res, err := c.putPending(t.Context(), data)
	if err != nil || !res.Existed {
		t.Fatal(res, err)
	}
	if row := c.row(id); row.Direct || !row.Live() || row.PendingUntil.IsZero() {
		t.Errorf("row: %+v", row)
	}
	if gone, err := c.Gateway.ClaimPending(t.Context(), ns, []holdall.BlockID{id, {1}}); err != nil || len(gone) != 1 || gone[0] != (holdall.BlockID{1}) {
		t.Errorf("claim: %v gone, %v", gone, err)
	}
	if len(held.ids) != 2 {
		t.Errorf("%d claims on behalf of objects, want the put's and the call's", len(held.ids))
	}
	c.check()
}

// holds notes what is claimed on behalf of objects.
type holds struct {
	gateway.Pending
	mu  sync.Mutex // guards ids
	ids []holdall.BlockID
}

func (h *holds) ClaimPending(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) ([]holdall.BlockID, error) {
	h.mu.Lock()
	h.ids = append(h.ids, ids...)
	h.mu.Unlock()
	return h.Pending.ClaimPending(ctx, ns, ids)
}

// Puts of one block at the same time, by id and on behalf of an object: each is
// acknowledged only for what it asked for.
func TestPutsOfBothKindsAtOnceGetWhatEachAsked(t *testing.T) {
	c := newCell(t, sim.Config{})
	for range 20 {
		data := c.bytes(5000)
		var wg sync.WaitGroup
		errs := make([]error, 6)
		for i := range errs {
			wg.Go(func() {
				if i%2 == 0 {
					_, errs[i] = c.tryPut(t.Context(), data)
				} else {
					_, errs[i] = c.putPending(t.Context(), data)
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if row := c.row(holdall.HashBlock(data)); !row.Direct || row.PendingUntil.IsZero() {
			t.Fatalf("row: %+v", row)
		}
	}
}
