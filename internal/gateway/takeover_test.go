package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

func TestTakeoverWritesOnWhereEverythingEndsAsCommitted(t *testing.T) {
	c := newCell(t, sim.Config{})
	_, was := c.place(c.put(10_000))
	for range 5 {
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, now := c.place(c.put(10_000)); now.Volume != was.Volume {
			t.Fatalf("a put went to volume %v, and %v could be written on", now.Volume, was.Volume)
		}
	}
	v, err := c.Store.Volume(was.Volume)
	if err != nil || v.Last != 6 || v.Epoch.Counter() < 6 {
		t.Errorf("%+v, %v: want six stripes, and an epoch more for each start", v, err)
	}
	c.check()
}

// surplus kills the cell while a stripe is durable on some of its disks and not
// on others, and returns the volume that it was written to.
func surplus(c *cell) holdall.VolumeID {
	c.t.Helper()
	_, st := c.place(c.put(10_000))
	hang := make(chan struct{})
	var hits []*faultdisk.Injection
	for i := range 9 {
		if i%2 == 0 {
			hits = append(hits, c.Array.Disk(i).Inject(faultdisk.Fault{Op: faultdisk.OpSync, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: hang, Count: -1}))
		}
	}
	var wg sync.WaitGroup
	gw := c.Gateway
	for range 6 {
		data := c.bytes(50_000)
		wg.Go(func() { _, _ = gw.PutBytes(c.t.Context(), ns, data) })
	}
	c.waitFor("syncs to hang", func() bool {
		return slices.ContainsFunc(hits, func(in *faultdisk.Injection) bool { return in.Hits() > 0 })
	})
	next := make(chan error)
	go func() { next <- c.Kill() }()
	close(hang)
	if err := <-next; err != nil {
		c.t.Fatal(err)
	}
	wg.Wait()
	return st.Volume
}

func TestTakeoverSealsWhereBytesLieBehindTheCommittedEnd(t *testing.T) {
	sealed := false
	for range 20 { // whether the stripe had come to the volume is chance
		c := newCell(t, sim.Config{})
		id := surplus(c)
		c.waitFor("takeover", func() bool {
			v, err := c.Store.Volume(id)
			return err == nil && (v.State == holdall.VolumeSealed ||
				slices.ContainsFunc(c.Gateway.Status().Volumes, func(o gateway.OpenVolume) bool { return o.ID == id }))
		})
		v, err := c.Store.Volume(id)
		if err != nil {
			t.Fatal(err)
		}
		c.putMany(6, 20_000)
		c.check()
		if v.State == holdall.VolumeSealed {
			sealed = true
			c.waitFor("footers", func() bool { return c.Gateway.Status().Unsealed == 0 })
			c.cold()
			c.check()
			break
		}
	}
	if !sealed {
		t.Error("20 kills in a put, and every volume ended as committed: nothing was tested")
	}
}

func TestCrashesLeaveFewVolumesOpen(t *testing.T) {
	c := newCell(t, sim.Config{})
	for range 12 {
		surplus(c)
		c.putMany(12, 20_000)
	}
	all, err := c.Store.Volumes()
	if err != nil {
		t.Fatal(err)
	}
	open := 0
	for _, v := range all {
		if v.State == holdall.VolumeOpen {
			open++
		}
	}
	if open > 8 {
		t.Errorf("%d volumes open after twelve kills, want at most 8", open)
	}
	c.check()
}

func TestOtherSchemesBearTheirLosses(t *testing.T) {
	for _, s := range []struct {
		scheme string
		disks  int
		lost   []int
	}{{"lrc-4-2-2", 8, []int{0, 3, 5}}, {"rep-3", 3, []int{0, 2}}, {"rs-10-4", 14, []int{1, 4, 8, 12}}, {"rs-1-2", 4, []int{0, 1}}} {
		t.Run(s.scheme, func(t *testing.T) {
			scheme, err := holdall.ParseScheme(s.scheme)
			if err != nil {
				t.Fatal(err)
			}
			c := newCell(t, sim.Config{Disks: s.disks, Gateway: func(g *gateway.Config) { g.Scheme = scheme }})
			c.putMany(40, 20_000)
			c.put(1)
			c.seal()
			c.putMany(10, 3000)
			c.cold()
			for _, i := range s.lost {
				c.Array.Disk(i).Unplug()
			}
			c.check()
		})
	}
}

func TestFullDisksRefusePutsAndTakeThemAgainAfterAFree(t *testing.T) {
	c := newCell(t, sim.Config{Disk: faultdisk.Config{ZoneSize: 256 << 10, Zones: 40}})
	var ids []holdall.BlockID
	fill := func() (n int) {
		for {
			data := c.bytes(60_000)
			res, err := c.tryPut(t.Context(), data)
			if errors.Is(err, holdall.ErrExhausted) {
				return n
			}
			if err != nil {
				t.Fatalf("put into a cell that fills: %v", err)
			}
			ids = append(ids, res.ID)
			n++
		}
	}
	first := fill()
	c.check() // reads go on
	if _, err := c.Gateway.SealVolumes(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for rest := ids; len(rest) > 0; rest = rest[min(len(rest), 100):] {
		if _, err := c.Gateway.Delete(t.Context(), ns, rest[:min(len(rest), 100)]); err != nil {
			t.Fatal(err)
		}
	}
	clear(c.acks)
	c.waitFor("footers", func() bool { return c.Gateway.Status().Unsealed == 0 })
	c.Advance(sim.Retention + 1e9)
	c.Upkeep.Kick()
	for range 2 {
		if err := c.Upkeep.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.Advance(1e9)
	if second := fill(); second < first/2 {
		t.Errorf("%d puts fit at first, %d after all were deleted and purged", first, second)
	}
	c.check()
}

// forgetful is Leases whose first creation is carried out, and its answer lost.
type forgetful struct {
	gateway.Leases
	made chan holdall.VolumeID // holds one
}

func (f *forgetful) CreateVolume(ctx context.Context, n metadata.NewVolume) (metadata.Volume, error) {
	v, err := f.Leases.CreateVolume(ctx, n)
	if err != nil {
		return v, err
	}
	select {
	case f.made <- v.ID:
		return metadata.Volume{}, fmt.Errorf("lost by the test: %w", holdall.ErrUnavailable)
	default:
		return v, nil
	}
}

func TestVolumesThatLapseAreTakenWhileRunning(t *testing.T) {
	f := &forgetful{made: make(chan holdall.VolumeID, 1)}
	c := newCell(t, tune(func(cfg *gateway.Config) {
		f.Leases, cfg.Leases, cfg.Lease = cfg.Leases, f, 3*time.Second
	}))
	if _, err := c.tryPut(t.Context(), c.bytes(1000)); err != nil && !errors.Is(err, holdall.ErrUnavailable) {
		t.Fatal(err)
	}
	if len(f.made) != 1 {
		t.Fatal("no volume was made")
	}
	dead, err := c.Store.CreateVolume(t.Context(), metadata.NewVolume{Scheme: holdall.DefaultScheme, Limit: 1 << 20, Disks: c.disks(), Gateway: "dead", Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	c.waitFor("a put", func() bool { _, err := c.tryPut(t.Context(), c.bytes(1000)); return err == nil })
	c.Advance(5 * time.Second) // as if the process had been suspended
	lost := <-f.made
	f.made <- lost // no other answer is lost
	for _, id := range []holdall.VolumeID{lost, dead.ID} {
		c.waitFor("a lapsed volume to be sealed", func() bool {
			v, err := c.Store.Volume(id)
			return err == nil && v.State == holdall.VolumeSealed
		})
	}
	_, st := c.place(c.put(1000))
	if v, err := c.Store.Volume(st.Volume); err != nil || v.Epoch.Counter() != 1 {
		t.Errorf("%+v, %v: the volume in use changed hands", v, err)
	}
	c.check()
}

// hungFence is a Writer whose fences do not return until the disk answers.
type hungFence struct {
	gateway.Writer
	answers chan struct{}
}

func (h hungFence) Fence(ctx context.Context, disk holdall.DiskID, id holdall.ExtentID, e holdall.Epoch, end int64, last uint64) (volume.ExtentInfo, error) {
	<-h.answers
	return h.Writer.Fence(ctx, disk, id, e, end, last)
}

// TestALeaseIsKeptWhileATakeoverWaitsForADisk: otherwise two gateways would take
// the volume from each other for as long as the disk hangs.
func TestALeaseIsKeptWhileATakeoverWaitsForADisk(t *testing.T) {
	answers := make(chan struct{})
	c := newCell(t, tune(func(cfg *gateway.Config) { cfg.Writer, cfg.Lease = hungFence{cfg.Writer, answers}, 3*time.Second }))
	t.Cleanup(func() { close(answers) })
	dead, err := c.Store.CreateVolume(t.Context(), metadata.NewVolume{Scheme: holdall.DefaultScheme, Limit: 1 << 20, Disks: c.disks(), Gateway: "dead", Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	c.Advance(2 * time.Second)
	var taken metadata.Volume
	c.waitFor("the takeover", func() bool {
		taken, err = c.Store.Volume(dead.ID)
		return err == nil && taken.Epoch != dead.Epoch
	})
	c.waitFor("its lease to be prolonged", func() bool {
		v, err := c.Store.Volume(dead.ID)
		return err == nil && v.Epoch == taken.Epoch && v.Expires.After(taken.Expires)
	})
}

// disks returns the disks of a volume of the default scheme.
func (c *cell) disks() (ids []holdall.DiskID) {
	for i := range holdall.DefaultScheme.N() {
		ids = append(ids, c.DiskID(i))
	}
	return ids
}
