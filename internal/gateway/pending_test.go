package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// putPending puts data the way objects do: waiting for room, from a stream.
func (c *cell) putPending(ctx context.Context, data []byte) (gateway.PutResult, error) {
	a, err := c.Gateway.AdmitWait(ctx, int64(len(data)))
	if err != nil {
		return gateway.PutResult{}, err
	}
	defer a.Release()
	in, err := a.Receive(ns, len(data))
	if err != nil {
		return gateway.PutResult{}, err
	}
	defer in.Discard()
	if _, err := in.ReadFrom(bytes.NewReader(data)); err != nil {
		return gateway.PutResult{}, err
	}
	return in.PutPending(ctx)
}

func (c *cell) row(id holdall.BlockID) metadata.Block {
	c.t.Helper()
	rows, err := c.Store.Lookup(c.t.Context(), ns, []holdall.BlockID{id}, true)
	if err != nil {
		c.t.Fatal(err)
	}
	return rows[0]
}

// flags returns what the pack directories on the disks say of blocks.
func (c *cell) flags() map[holdall.BlockID]uint32 {
	c.t.Helper()
	flags := map[holdall.BlockID]uint32{}
	for i := range c.Array.Len() {
		extents, err := c.Server.Extents(c.t.Context(), c.DiskID(i))
		if err != nil {
			c.t.Fatal(err)
		}
		for _, e := range extents {
			err := c.Server.Scan(c.t.Context(), c.DiskID(i), e.Extent, func(r volume.Record) error {
				for _, b := range r.Blocks {
					flags[b.ID] = b.Flags
				}
				return nil
			})
			if err != nil {
				c.t.Fatal(err)
			}
		}
	}
	return flags
}

func TestPendingBlockIsNotTheOwnersByItsID(t *testing.T) {
	c := newCell(t, sim.Config{})
	pending, direct := c.bytes(30_000), c.bytes(20_000)
	res, err := c.putPending(t.Context(), pending)
	if err != nil || res.ID != holdall.HashBlock(pending) {
		t.Fatal(res, err)
	}
	row := c.row(res.ID)
	if row.Direct || !row.Live() || row.PendingUntil.Before(c.Now().Add(23*time.Hour)) {
		t.Errorf("row of a pending block: %+v", row)
	}
	other := c.putData(direct)
	flags := c.flags()
	if flags[res.ID] != volume.BlockPending || flags[other] != 0 {
		t.Errorf("flags on disk: %#x and %#x, want pending and none", flags[res.ID], flags[other])
	}
	// The same bytes by id: the block becomes the owner's, and stays pending.
	if again, err := c.tryPut(t.Context(), pending); err != nil || !again.Existed {
		t.Fatal(again, err)
	}
	if row := c.row(res.ID); !row.Direct || row.PendingUntil.IsZero() {
		t.Errorf("row after a put by id: %+v", row)
	}
	c.check()
}

func TestStreamThatEndsEarlyIsTrimmed(t *testing.T) {
	c := newCell(t, sim.Config{})
	for _, n := range []int{1, 8191, 8192, 8193, 99_999, 100_000} {
		data := c.bytes(n)
		a, err := c.Gateway.AdmitWait(t.Context(), 100_000)
		if err != nil {
			t.Fatal(err)
		}
		in, err := a.Receive(ns, 100_000)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := in.ReadFrom(iotest.HalfReader(bytes.NewReader(data))); err != nil || got != int64(n) || in.Size() != n {
			t.Fatal(got, err)
		}
		in.Trim()
		res, err := in.PutPending(t.Context())
		a.Release()
		if err != nil || res.ID != holdall.HashBlock(data) {
			t.Fatalf("%d bytes: %v, %v", n, res, err)
		}
		c.acks[res.ID] = data
	}
	c.check()
	c.cold()
	c.check()
}

func TestStreamErrorIsHandedOn(t *testing.T) {
	c := newCell(t, sim.Config{})
	a, err := c.Gateway.AdmitWait(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Release()
	in, err := a.Receive(ns, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Discard()
	broken := errors.New("the other side hung up")
	if n, err := in.ReadFrom(io.MultiReader(bytes.NewReader(make([]byte, 10)), iotest.ErrReader(broken))); n != 10 || err != broken {
		t.Errorf("got %d, %v", n, err)
	}
	if n, err := in.ReadFrom(idle{}); n != 0 || err != io.ErrNoProgress {
		t.Errorf("got %d, %v", n, err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestWhoeverWaitsForRoomIsLetInInOrder(t *testing.T) {
	c := newCell(t, tune(func(cfg *gateway.Config) { cfg.Memory = 64 << 20 })) // 4 blocks of 4 MiB for puts, 3 for those that wait
	var held []*gateway.Admission
	for range 3 {
		a, err := c.Gateway.AdmitWait(t.Context(), holdall.MaxBlockSize)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, a)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := c.Gateway.AdmitWait(ctx, holdall.MaxBlockSize)
		gaveUp <- err
	}()
	cancel()
	if err := <-gaveUp; !errors.Is(err, holdall.ErrUnavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	// While they wait, there is room for those that do not.
	direct, err := c.Gateway.Admit(holdall.MaxBlockSize)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Gateway.Admit(holdall.MaxBlockSize); !errors.Is(err, holdall.ErrExhausted) {
		t.Fatalf("got %v, want exhausted", err)
	}
	got := make(chan *gateway.Admission)
	go func() {
		a, err := c.Gateway.AdmitWait(t.Context(), holdall.MaxBlockSize)
		if err != nil {
			t.Error(err)
		}
		got <- a
	}()
	held[0].Release()
	held[0] = <-got
	for _, a := range append(held, direct) {
		a.Release()
		a.Release()
	}
}

func TestPutsOverTheQuotaAreRefusedBeforeTheirBytes(t *testing.T) {
	var q quota
	c := newCell(t, tune(func(cfg *gateway.Config) { q.now = cfg.Now; cfg.Namespaces = &q }))
	q.set(50_000)
	data := c.bytes(20_000)
	for range 3 { // the second and third are the first one's bytes
		c.putData(data)
	}
	c.put(20_000)
	if _, err := c.tryPut(t.Context(), c.bytes(20_000)); !errors.Is(err, holdall.ErrExhausted) {
		t.Fatalf("got %v, want exhausted", err)
	}
	c.put(10_000)
	q.set(0)
	c.Advance(time.Second)
	c.put(20_000)
	c.check()
}

// quota is a namespace that never sees what it uses, so that only the gateway's
// own counting can stop a put.
type quota struct {
	now   func() time.Time
	mu    sync.Mutex // guards bytes
	bytes int64
}

func (q *quota) set(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes = n
}

func (q *quota) NamespaceByID(id holdall.NamespaceID) (metadata.Namespace, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return metadata.Namespace{ID: id, Quota: q.bytes}, nil
}
