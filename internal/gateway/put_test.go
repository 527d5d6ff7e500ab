package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/sim"
)

var sizes = []int{1, 4095, 4096, 4097, 64<<10 - 1, 64 << 10, 64<<10 + 1, 256<<10 + 7, 1 << 20, 4<<20 - 1, 4 << 20}

func TestEverySizeComesBackOpenSealedAndAfterRestart(t *testing.T) {
	c := newCell(t, large())
	for _, n := range sizes {
		c.put(n)
	}
	c.check() // open
	c.cold()
	c.check() // open, taken over
	c.seal()
	c.cold()
	c.check() // sealed
}

func TestPutsAtTheSameTimeShareStripes(t *testing.T) {
	c := newCell(t, large())
	before := c.counts()
	c.putMany(64, 5000)
	c.check()
	after := c.counts()
	// Alone, each would take four records: 256.
	if n := after.Appends - before.Appends; n > 200 {
		t.Errorf("64 puts took %d appends", n)
	}
}

func TestWideStripesCostTheirSchemeAndNoMore(t *testing.T) {
	cfg := large()
	cfg.Gateway = func(g *gateway.Config) { g.Memory = 640 << 20 }
	c := newCell(t, cfg)
	c.put(1) // the first volume is there, its zones open
	before := c.counts()
	c.putMany(48, 1<<20)
	after := c.counts()
	if over := float64(after.AppendBytes-before.AppendBytes) / float64(48<<20); over > 1.75 {
		t.Errorf("48 puts of 1 MiB at once took %.2f bytes on disk for each", over)
	}
}

func TestBlockOf4MiBBecomesItsRecordWithoutACopy(t *testing.T) {
	c := newCell(t, large())
	before := c.counts()
	c.put(4 << 20)
	after := c.counts()
	if got, want := after.Syncs-before.Syncs, int64(60); got > want {
		t.Errorf("%d syncs for one stripe and its volume, want at most %d", got, want)
	}
	if retries := after.Retries; retries != 0 {
		t.Errorf("%d calls on zones that had failed", retries)
	}
}

func TestBadPutsStoreNothing(t *testing.T) {
	c := newCell(t, sim.Config{})
	c.put(1) // volumes and extents are there
	before := c.counts()
	data := c.bytes(10_000)

	receive := func(size int, write []byte, want *holdall.BlockID) error {
		a, err := c.Gateway.Admit(int64(size))
		if err != nil {
			return err
		}
		defer a.Release()
		in, err := a.Receive(ns, size)
		if err != nil {
			return err
		}
		defer in.Discard()
		if _, err := in.Write(write); err != nil {
			return err
		}
		_, err = in.Put(t.Context(), want)
		return err
	}
	wrong := holdall.HashBlock([]byte("something else"))
	for name, err := range map[string]error{
		"wrong id":                receive(len(data), data, &wrong),
		"fewer bytes than stated": receive(len(data)+1, data, nil),
		"more bytes than stated":  receive(len(data)-1, data, nil),
		"no bytes":                receive(0, nil, nil),
		"too large":               receive(holdall.MaxBlockSize+1, nil, nil),
	} {
		if !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	if after := c.counts(); after.Appends != before.Appends {
		t.Errorf("%d appends", after.Appends-before.Appends)
	}
	if _, err := c.get(holdall.HashBlock(data)); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("get of what was never stored: %v", err)
	}
	if used := c.Gateway.Status().PutBytes; used != 0 {
		t.Errorf("%d bytes still admitted", used)
	}
}

func TestPutsBeyondTheMemoryAreRefusedBeforeTheyCome(t *testing.T) {
	c := newCell(t, sim.Config{})
	limit := c.Gateway.Status().PutLimit
	var held []*gateway.Admission
	for range limit / buffer.MaxSize {
		a, err := c.Gateway.Admit(holdall.MaxBlockSize)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, a)
	}
	_, err := c.Gateway.Admit(holdall.MaxBlockSize)
	var again *holdall.RetryAfter
	if !errors.Is(err, holdall.ErrExhausted) || !errors.As(err, &again) || again.Delay <= 0 {
		t.Errorf("admission over the limit: %v, want exhausted with a delay", err)
	}
	for _, a := range held {
		a.Release()
		a.Release() // twice does nothing
	}
	if used := c.Gateway.Status().PutBytes; used != 0 {
		t.Errorf("%d bytes still admitted", used)
	}
	c.put(1000)
}

// TestAdmissionCountsWhatIsHeld: a buffer's capacity can be four times what is in
// it, and more for the smallest blocks.
func TestAdmissionCountsWhatIsHeld(t *testing.T) {
	c := newCell(t, sim.Config{})
	for _, size := range []int{1, 4096, 8192, 16 << 10, 64 << 10, 80 << 10, 1 << 20, 1<<20 + 64<<10, holdall.MaxBlockSize} {
		before := c.Pool.Lent()
		a, err := c.Gateway.Admit(int64(size))
		if err != nil {
			t.Fatal(err)
		}
		in, err := a.Receive(ns, size)
		if err != nil {
			t.Fatal(err)
		}
		if held, counted := c.Pool.Lent()-before, c.Gateway.Status().PutBytes; counted != held {
			t.Errorf("block of %d bytes: %d are held, %d count", size, held, counted)
		}
		in.Discard()
		a.Release()
	}
	if used := c.Gateway.Status().PutBytes; used != 0 {
		t.Errorf("%d bytes still admitted", used)
	}
}

func TestPutsOfOneBlockShareOneWrite(t *testing.T) {
	c := newCell(t, sim.Config{})
	c.put(1)
	data := c.bytes(50_000)
	before := c.counts()
	var wg sync.WaitGroup
	errs := make([]error, 32)
	existed := make([]bool, 32)
	for i := range errs {
		wg.Go(func() {
			res, err := c.tryPut(t.Context(), data)
			errs[i], existed[i] = err, res.Existed
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if n := c.counts().AppendBytes - before.AppendBytes; n > 2*4*holdall.RecordSize(50_100) {
		t.Errorf("32 puts of one block wrote %d bytes", n)
	}
	first := 0
	for _, e := range existed {
		if !e {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d puts say that they wrote the block, want 1", first)
	}
	c.check()
}

func TestPutAgainUntrashesWithoutWriting(t *testing.T) {
	c := newCell(t, sim.Config{})
	data := c.bytes(10_000)
	id := holdall.HashBlock(data)
	if _, err := c.tryPut(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	if gone, err := c.Gateway.Delete(t.Context(), ns, []holdall.BlockID{id}); err != nil || len(gone) != 0 {
		t.Fatal(gone, err)
	}
	if _, err := c.get(id); !errors.Is(err, holdall.ErrNotFound) {
		t.Fatalf("get of a deleted block: %v", err)
	}
	_, was := c.place(id)
	res, err := c.tryPut(t.Context(), data)
	if err != nil || !res.Existed {
		t.Fatal(res, err)
	}
	if _, now := c.place(id); now.Volume != was.Volume || now.Offset != was.Offset {
		t.Error("the bytes were written again")
	}
	c.check()
}

func TestDedupHitCountsOnlyWhereAtMostOneMemberIsMissing(t *testing.T) {
	c := newCell(t, sim.Config{})
	data := c.bytes(10_000)
	if _, err := c.tryPut(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	id := holdall.HashBlock(data)
	_, was := c.place(id)
	for missing := 1; missing <= 2; missing++ {
		c.Array.Disk(missing).Unplug()
		if err := c.Server.Remove(c.DiskID(missing)); err != nil {
			t.Fatal(err)
		}
		c.Advance(2 * time.Second) // the view of the disks is looked at anew
		res, err := c.tryPut(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		if want := missing < 2; res.Existed != want {
			t.Errorf("%d members missing: existed %t, want %t", missing, res.Existed, want)
		}
	}
	_, now := c.place(id)
	if now.Volume == was.Volume {
		t.Error("the row still points at the volume that misses two members")
	}
	c.check()
}

func TestPutGoesElsewhereWhenDisksFailAtAnyCall(t *testing.T) {
	for failing := 1; failing <= 3; failing++ {
		for _, op := range []faultdisk.OpKind{faultdisk.OpAppend, faultdisk.OpSync} {
			for skip := range 3 {
				t.Run(fmt.Sprintf("%d disks, %v %d", failing, op, skip), func(t *testing.T) {
					t.Parallel()
					c := newCell(t, sim.Config{})
					c.putMany(12, 20_000)
					for i := range failing {
						c.Array.Disk(i).Inject(faultdisk.Fault{Op: op, Zone: faultdisk.AnyZone, Skip: skip + i, Count: -1})
					}
					for range 4 {
						c.putMany(12, 20_000)
					}
					c.check()
					c.putMany(6, 20_000)
					for _, v := range c.Gateway.Status().Volumes {
						if v.Scheme.N() > 9 || v.Scheme.M() != 3 {
							t.Errorf("open volume of %v", v.Scheme)
						}
					}
					if n := c.counts().Retries; n != 0 {
						t.Errorf("%d calls on zones that had failed", n)
					}
					c.cold()
					c.check()
				})
			}
		}
	}
}

func TestPutsGoOnAtTheWidestSchemeThatFits(t *testing.T) {
	c := newCell(t, sim.Config{})
	lost := 0
	for _, want := range []string{"rs-6-3", "rs-5-3", "rs-4-3", "rs-3-3", "rs-2-3", "rs-1-3"} {
		// A stripe that happens to have no shard on the lost disk goes where the
		// others went.
		c.waitFor("a volume of "+want, func() bool {
			c.putMany(8, 10_000)
			return slices.ContainsFunc(c.Gateway.Status().Volumes, func(v gateway.OpenVolume) bool { return v.Scheme.String() == want })
		})
		c.Array.Disk(lost).Unplug()
		lost++
	}
	_, err := c.tryPut(t.Context(), c.bytes(10_000))
	if err == nil || !errors.Is(err, holdall.ErrUnavailable) && !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("put with %d disks gone: %v, want a refusal with the reason", lost, err)
	}
	t.Logf("refused: %v", err)
	for i := range lost {
		c.Array.Disk(i).Plug()
	}
	c.cold()
	c.check()
}

func TestShardThatIsLateCountsAsFailed(t *testing.T) {
	c := newCell(t, tune(func(cfg *gateway.Config) {
		cfg.AppendTimeoutMin, cfg.AppendTimeoutMax = 50*time.Millisecond, 100*time.Millisecond
		cfg.OpenVolumes = 1 // so that what hangs is an append, not a creation
	}))
	c.putMany(6, 20_000)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	c.Array.Disk(3).Inject(faultdisk.Fault{Op: faultdisk.OpSync, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: release, Count: -1})
	c.putMany(12, 20_000)
	if _, on := c.Gateway.Status().Probation[c.DiskID(3)]; !on {
		t.Error("the disk that hangs is not on probation")
	}
	c.putMany(12, 20_000)
	c.check()
	free()
	c.waitFor("buffers to come back", func() bool { return c.Gateway.Status().PutBytes == 0 })
	c.check()
	c.cold()
	c.check()
}

func TestCallerThatGoesAwayLeavesTheBlockWholeOrNotThere(t *testing.T) {
	c := newCell(t, sim.Config{})
	c.put(1)
	release := make(chan struct{})
	hang := faultdisk.Fault{Op: faultdisk.OpSync, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: release}
	hits := func() (n int) { return n }
	for i := range c.Array.Len() { // a narrow stripe has no shard on most disks
		in, before := c.Array.Disk(i).Inject(hang), hits
		hits = func() int { return before() + in.Hits() }
	}
	data := make([][]byte, 12)
	for i := range data {
		data[i] = c.bytes(100_000)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, d := range data {
		wg.Go(func() {
			if _, err := c.Gateway.PutBytes(ctx, ns, d); err != nil && !errors.Is(err, holdall.ErrUnavailable) {
				t.Errorf("cancelled put: %v", err)
			}
		})
	}
	c.waitFor("a sync to hang", func() bool { return hits() > 0 })
	cancel()
	wg.Wait()
	close(release)
	for _, d := range data {
		// It may be on its way still: a second put joins it, or finds it.
		if _, err := c.tryPut(t.Context(), d); err != nil {
			t.Error(err)
		}
	}
	c.check()
}

func TestSecondGatewayOfOneNameFencesTheFirst(t *testing.T) {
	c := newCell(t, sim.Config{})
	c.putMany(6, 20_000)
	open := c.Gateway.Status().Volumes
	cfg := gateway.Config{Index: c.Store, Tables: c.Store, Leases: c.Store, Writer: c.Server, Reader: c.Server, Pool: c.Pool,
		ExtentLimit: 4 << 20, Memory: 64 << 20, Now: c.Now}
	second, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.waitFor("takeover", func() bool { return len(second.Status().Volumes) == len(open) })
	for i, v := range second.Status().Volumes {
		if v.Epoch <= open[i].Epoch {
			t.Errorf("volume %v: epoch %v after takeover, was %v", v.ID, v.Epoch, open[i].Epoch)
		}
	}
	// The first is stale now. What it acknowledges must be right all the same.
	for range 3 {
		c.putMany(6, 20_000)
		data := c.bytes(30_000)
		if _, err := second.PutBytes(t.Context(), ns, data); err != nil {
			t.Fatal(err)
		}
		c.acks[holdall.HashBlock(data)] = data
	}
	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.check()
	c.cold()
	c.check()
}

func TestCloseFinishesWhatIsInFlight(t *testing.T) {
	c := newCell(t, sim.Config{})
	var wg sync.WaitGroup
	results := make(chan error, 64)
	for range 64 {
		data := c.bytes(20_000)
		wg.Go(func() {
			_, err := c.tryPut(context.Background(), data)
			results <- err
		})
	}
	c.waitFor("some puts", func() bool { return len(results) > 4 })
	if err := c.Gateway.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	close(results)
	for err := range results {
		if err != nil && !errors.Is(err, holdall.ErrUnavailable) {
			t.Errorf("put during shutdown: %v", err)
		}
	}
	if _, err := c.tryPut(t.Context(), c.bytes(10)); !errors.Is(err, holdall.ErrUnavailable) {
		t.Errorf("put after shutdown: %v", err)
	}
	c.cold()
	c.check()
}

func TestSystemBlocksHaveVolumesOfTheirOwn(t *testing.T) {
	c := newCell(t, sim.Config{})
	c.put(1000)
	data := c.bytes(1000)
	if err := c.Gateway.PutSystem(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	res, err := c.Gateway.Get(t.Context(), holdall.SystemNamespace, holdall.HashBlock(data), gateway.GetOptions{})
	if err != nil || !bytes.Equal(res.View.Data, data) {
		t.Fatal(err)
	}
	res.View.Release()
	system := 0
	for _, v := range c.Gateway.Status().Volumes {
		if v.System {
			system++
		}
	}
	if system != 1 {
		t.Errorf("%d system volumes, want 1", system)
	}
	if _, err := c.get(holdall.HashBlock(data)); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("a system block through a user's namespace: %v", err)
	}
}

func TestProbationNeverStopsPuts(t *testing.T) {
	c := newCell(t, tune(func(cfg *gateway.Config) {
		cfg.AppendTimeoutMin, cfg.AppendTimeoutMax = 50*time.Millisecond, 100*time.Millisecond
	}))
	c.put(1000)
	for i := range 3 { // gone for good
		c.Array.Disk(i).Unplug()
	}
	c.putMany(12, 10_000)
	release := make(chan struct{})
	for i := 3; i < 6; i++ { // late once
		c.Array.Disk(i).Inject(faultdisk.Fault{Op: faultdisk.OpSync, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: release})
	}
	var wg sync.WaitGroup
	for range 12 {
		data := c.bytes(10_000)
		// Until the disks come back none may be left to write to.
		wg.Go(func() { _, _ = c.tryPut(t.Context(), data) })
	}
	c.waitFor("disks on probation", func() bool { return len(c.Gateway.Status().Probation) > 0 })
	close(release)
	wg.Wait()
	for range 3 {
		c.putMany(12, 10_000) // three gone, up to three on probation
	}
	c.check()
}
