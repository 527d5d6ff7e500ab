package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/metadata"
)

// refusing is an Index that answers a commit as stale, as often as refuse says.
// Each such answer is preceded by what before does.
type refusing struct {
	gateway.Index
	before func(metadata.StripeCommit) error
	lookup func([]metadata.Block) // changes what linearizable lookups find

	kind    error      // of the answer; nil = ErrStale
	mu      sync.Mutex // guards all below
	refuse  int
	commits []metadata.StripeCommit
}

func (r *refusing) CommitStripe(ctx context.Context, c metadata.StripeCommit) (metadata.CommitResult, error) {
	r.mu.Lock()
	r.commits = append(r.commits, c)
	refused := r.refuse > 0
	r.refuse--
	r.mu.Unlock()
	if !refused {
		return r.Index.CommitStripe(ctx, c)
	}
	if r.before != nil {
		if err := r.before(c); err != nil {
			return metadata.CommitResult{}, err
		}
	}
	kind := r.kind
	if kind == nil {
		kind = holdall.ErrStale
	}
	return metadata.CommitResult{}, fmt.Errorf("refused by the test: %w", kind)
}

func (r *refusing) Lookup(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID, linearizable bool) ([]metadata.Block, error) {
	rows, err := r.Index.Lookup(ctx, ns, ids, linearizable)
	if linearizable && r.lookup != nil {
		r.lookup(rows)
	}
	return rows, err
}

// refusingCell is a cell whose commits go through r.
func refusingCell(t *testing.T, r *refusing) *cell {
	return newCell(t, tune(func(cfg *gateway.Config) {
		r.Index = cfg.Index
		cfg.Index = r
	}))
}

// TestCommittedStripeIsAcknowledgedWhateverBecameOfItsFirstBlock: the answer of
// a commit was lost, and before the gateway looks, its block is deleted.
func TestCommittedStripeIsAcknowledgedWhateverBecameOfItsFirstBlock(t *testing.T) {
	r := new(refusing)
	c := refusingCell(t, r)
	c.put(1000) // a volume is open
	r.before = func(s metadata.StripeCommit) error {
		_, err := r.Index.CommitStripe(t.Context(), s)
		if err == nil {
			_, err = r.Delete(t.Context(), ns, []holdall.BlockID{s.Blocks[0].ID})
		}
		return err
	}
	r.refuse = 1
	data := c.bytes(10_000)
	if _, err := c.tryPut(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	if n := len(r.commits); n != 2 {
		t.Errorf("%d commits for two stripes: the second was written again", n)
	}
	delete(c.acks, holdall.HashBlock(data)) // it was deleted after it was put
	if _, err := c.get(holdall.HashBlock(data)); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("the delete was undone: %v", err)
	}
	c.check()
}

// TestRefusedStripeGoesElsewhere: it is not committed, and the volume may have
// been sealed meanwhile or not.
func TestRefusedStripeGoesElsewhere(t *testing.T) {
	for _, seal := range []bool{false, true} {
		r := new(refusing)
		c := refusingCell(t, r)
		c.put(1000)
		r.before = func(s metadata.StripeCommit) error {
			if seal {
				_, err := c.Store.SealVolume(t.Context(), s.Volume, 0, true)
				return err
			}
			return nil
		}
		r.refuse = 1
		c.put(10_000)
		if n := len(r.commits); n != 3 || r.commits[1].Volume == r.commits[2].Volume {
			t.Errorf("sealed %t: %d commits, want the refused one and another elsewhere", seal, n)
		}
		c.check()
	}
}

// TestCommittedStripeIsNoAckForCopyThatIsNotSafe: of a stripe whose answer was
// lost, a block may have kept an older row.
func TestCommittedStripeIsNoAckForCopyThatIsNotSafe(t *testing.T) {
	r := new(refusing)
	c := refusingCell(t, r)
	c.put(1000)
	r.before = func(s metadata.StripeCommit) error {
		_, err := r.Index.CommitStripe(t.Context(), s)
		return err
	}
	r.lookup = func(rows []metadata.Block) {
		for i := range rows {
			rows[i].Location.Volume = holdall.MakeVolumeID(1, 1<<40)
		}
	}
	r.refuse = 100
	if res, err := c.tryPut(t.Context(), c.bytes(1000)); !errors.Is(err, holdall.ErrUnavailable) {
		t.Errorf("%+v, %v; want ErrUnavailable", res, err)
	}
	if n := len(r.commits); n > 6 {
		t.Errorf("%d commits, want a few tries", n)
	}
}

// TestMetadataWithoutRoomCostsNoVolume: the shards are durable, and the commit
// waits for room.
func TestMetadataWithoutRoomCostsNoVolume(t *testing.T) {
	r := &refusing{kind: holdall.ErrExhausted}
	c := refusingCell(t, r)
	c.put(1000)
	r.refuse = 3
	before := c.counts()
	_, st := c.place(c.put(10_000))
	if n := len(r.commits); n != 5 || r.commits[1].Volume != st.Volume || st.Volume != r.commits[0].Volume {
		t.Errorf("%d commits, the block is in volume %v: want the commit repeated until there is room", n, st.Volume)
	}
	if n := c.counts().Appends - before.Appends; n > 16 {
		t.Errorf("%d appends for one stripe", n)
	}
	c.check()
}

// TestDamagedRowFailsItsOwnPutOnly: a row that gives another length than the block
// has would have the commit of a whole stripe refused.
func TestDamagedRowFailsItsOwnPutOnly(t *testing.T) {
	var c *cell
	damaged := holdall.BlockID{}
	c = newCell(t, tune(func(cfg *gateway.Config) { cfg.Index = &damagedRow{cfg.Index, &damaged} }))
	data := c.bytes(10_000)
	damaged = holdall.HashBlock(data)
	if res, err := c.tryPut(t.Context(), data); !errors.Is(err, holdall.ErrCorrupt) {
		t.Errorf("%+v, %v; want ErrCorrupt", res, err)
	}
	c.put(10_000)
}

// damagedRow is an Index in which one block has a row of another length.
type damagedRow struct {
	gateway.Index
	id *holdall.BlockID
}

func (d *damagedRow) Lookup(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID, linearizable bool) ([]metadata.Block, error) {
	rows, err := d.Index.Lookup(ctx, ns, ids, linearizable)
	for i := range rows {
		if rows[i].ID == *d.id {
			rows[i].Found, rows[i].Location = true, holdall.Location{Volume: 1, Length: 1}
		}
	}
	return rows, err
}
