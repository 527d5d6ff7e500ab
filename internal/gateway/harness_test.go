package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/sim"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ns = holdall.DefaultNamespace

// cell is a sim.Cell under test, with what was acknowledged by it.
type cell struct {
	*sim.Cell
	t    *testing.T
	mu   sync.Mutex // guards rnd, acks
	rnd  *rand.Rand
	acks map[holdall.BlockID][]byte
}

// newCell starts a cell of 9 disks with small zones. It is stopped at the end of
// the test, and must then have given all its memory back.
func newCell(t *testing.T, cfg sim.Config) *cell {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	if os.Getenv("HOLDALL_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if cfg.Seed == 0 {
		cfg.Seed = seed
	}
	sc, err := sim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &cell{Cell: sc, t: t, rnd: rand.New(rand.NewPCG(seed, 0)), acks: map[holdall.BlockID][]byte{}}
	t.Cleanup(func() {
		if err := sc.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return c
}

func tune(f func(*gateway.Config)) sim.Config { return sim.Config{Gateway: f} }

// large is a cell that has room for blocks of 4 MiB.
func large() sim.Config {
	return sim.Config{Disk: faultdisk.Config{ZoneSize: 4 << 20, Zones: 64}, ExtentZones: 4}
}

func (c *cell) bytes(n int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		v := c.rnd.Uint64()
		for j := i; j < min(i+8, n); j++ {
			b[j] = byte(v >> (8 * (j - i)))
		}
	}
	return b
}

// tryPut puts data the way the front door does, and notes the acknowledgement.
func (c *cell) tryPut(ctx context.Context, data []byte) (gateway.PutResult, error) {
	a, err := c.Gateway.Admit(int64(len(data)))
	if err != nil {
		return gateway.PutResult{}, err
	}
	defer a.Release()
	in, err := a.Receive(ns, len(data))
	if err != nil {
		return gateway.PutResult{}, err
	}
	defer in.Discard()
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 16<<10)
		if _, err := in.Write(rest[:n]); err != nil {
			return gateway.PutResult{}, err
		}
		rest = rest[n:]
	}
	id := holdall.HashBlock(data)
	res, err := in.Put(ctx, &id)
	if err == nil {
		c.mu.Lock()
		c.acks[res.ID] = data
		c.mu.Unlock()
	}
	return res, err
}

func (c *cell) put(n int) holdall.BlockID {
	c.t.Helper()
	res, err := c.tryPut(c.t.Context(), c.bytes(n))
	if err != nil {
		c.t.Fatal(err)
	}
	return res.ID
}

func (c *cell) putData(data []byte) holdall.BlockID {
	c.t.Helper()
	res, err := c.tryPut(c.t.Context(), data)
	if err != nil {
		c.t.Fatal(err)
	}
	return res.ID
}

// putMany puts count blocks of n bytes at the same time.
func (c *cell) putMany(count, n int) (ids []holdall.BlockID) {
	c.t.Helper()
	ids = make([]holdall.BlockID, count)
	errs := make([]error, count)
	blocks := make([][]byte, count)
	for i := range blocks {
		blocks[i] = c.bytes(n)
	}
	var wg sync.WaitGroup
	for i, data := range blocks {
		wg.Go(func() {
			res, err := c.tryPut(c.t.Context(), data)
			ids[i], errs[i] = res.ID, err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		c.t.Fatal(err)
	}
	return ids
}

func (c *cell) get(id holdall.BlockID) ([]byte, error) {
	return c.getRange(id, gateway.GetOptions{})
}

func (c *cell) getRange(id holdall.BlockID, o gateway.GetOptions) ([]byte, error) {
	res, err := c.Gateway.Get(c.t.Context(), ns, id, o)
	if err != nil {
		return nil, err
	}
	defer res.View.Release()
	return bytes.Clone(res.View.Data), nil
}

// check reads every acknowledged block.
func (c *cell) check() {
	c.t.Helper()
	for id, want := range c.acks {
		got, err := c.get(id)
		if err != nil {
			c.t.Fatalf("acknowledged block: %v", err)
		}
		if !bytes.Equal(got, want) {
			c.t.Fatalf("block %v of %d bytes: other bytes", id, len(want))
		}
	}
}

// cold starts the cell anew, so that nothing comes from a cache.
func (c *cell) cold() {
	c.t.Helper()
	if err := c.Restart(); err != nil {
		c.t.Fatal(err)
	}
}

// seal seals all open volumes and waits for their footers.
func (c *cell) seal() {
	c.t.Helper()
	if _, err := c.Gateway.SealVolumes(c.t.Context(), nil); err != nil {
		c.t.Fatal(err)
	}
	c.waitFor("footers", func() bool { return c.Gateway.Status().Unsealed == 0 })
}

func (c *cell) waitFor(what string, cond func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); runtime.Gosched() {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: did not come true within 20 s", what)
		}
	}
}

// counts sums what was called on all disks.
func (c *cell) counts() (sum faultdisk.Counts) {
	for i := range c.Array.Len() {
		n := c.Array.Disk(i).Counts()
		sum.Appends += n.Appends
		sum.Syncs += n.Syncs
		sum.Reads += n.Reads
		sum.AppendBytes += n.AppendBytes
		sum.Retries += n.Retries
	}
	return sum
}

// place returns where a block lies: the place of its disk in the array, and what
// Stat says.
func (c *cell) place(id holdall.BlockID) (disk int, st gateway.BlockStat) {
	c.t.Helper()
	st, err := c.Gateway.Stat(c.t.Context(), ns, id)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.diskAt(st.Members[st.Member].Disk), st
}

func (c *cell) diskAt(id holdall.DiskID) int {
	for i := range c.Array.Len() {
		if c.DiskID(i) == id {
			return i
		}
	}
	panic(fmt.Sprintf("no disk %v", id))
}
