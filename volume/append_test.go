package volume_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

// TestAppendsThatDoNotFitAreRefused: nothing is written for an append that is
// not the next one of its extent, or contradicts itself.
func TestAppendsThatDoNotFitAreRefused(t *testing.T) {
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	l.mustAppend(5000)
	for name, x := range map[string]struct {
		spoil func(a *volume.Append)
		want  error
	}{
		"at an older end":          {func(a *volume.Append) { move(a, 0) }, holdall.ErrStale},
		"beyond the end":           {func(a *volume.Append) { move(a, a.Offset+4096) }, holdall.ErrStale},
		"of an older stripe":       {func(a *volume.Append) { a.Stripe.Number -= 3 }, holdall.ErrInvalid},
		"of a stripe seen before":  {func(a *volume.Append) { renumber(a, 1, l.id.Member) }, holdall.ErrStale},
		"under an older epoch":     {func(a *volume.Append) { a.Epoch, a.Stripe.Epoch = 0, 0 }, holdall.ErrStale},
		"under a later epoch":      {func(a *volume.Append) { a.Epoch, a.Stripe.Epoch = 9, 9 }, holdall.ErrStale},
		"of two epochs":            {func(a *volume.Append) { a.Stripe.Epoch = 9 }, holdall.ErrInvalid},
		"of another volume":        {func(a *volume.Append) { a.Stripe.Volume++ }, holdall.ErrInvalid},
		"to an extent not here":    {func(a *volume.Append) { a.Extent.Volume++; a.Stripe.Volume++ }, holdall.ErrNotFound},
		"of another member":        {func(a *volume.Append) { a.Shard = (a.Shard + 1) % 3 }, holdall.ErrInvalid},
		"of a shard out of range":  {func(a *volume.Append) { a.Shard = 3 }, holdall.ErrInvalid},
		"of another scheme":        {func(a *volume.Append) { a.Stripe.Scheme.Kind = holdall.LocalRS }, holdall.ErrInvalid},
		"with dirt in its padding": {func(a *volume.Append) { a.Record.Bytes()[a.Record.Len()-1] = 1 }, holdall.ErrInvalid},
		"with a short buffer":      {func(a *volume.Append) { a.Record.Resize(a.Record.Len() - 4096) }, holdall.ErrInvalid},
		"with a short table":       {func(a *volume.Append) { a.Stripe.Shards = a.Stripe.Shards[:2] }, holdall.ErrInvalid},
		"off a sector":             {func(a *volume.Append) { move(a, a.Offset+1) }, holdall.ErrInvalid},
		"below another shard":      {func(a *volume.Append) { a.Stripe.Shards[(a.Shard+1)%3].Offset = 0 }, holdall.ErrStale},
	} {
		writes := dev.Counts().Appends
		a, _ := l.next(5000)
		x.spoil(a)
		if err := r.disk.Append(context.Background(), a); !errors.Is(err, x.want) {
			t.Errorf("append %s: %v, want %v", name, err, x.want)
		}
		a.Record.Release()
		if n := dev.Counts().Appends - writes; n != 0 {
			t.Errorf("append %s: %d device writes", name, n)
		}
	}
	a, rec := l.next(5000)
	if err := r.disk.Append(context.Background(), a); err != nil {
		t.Fatal(err)
	}
	if err := r.disk.Append(context.Background(), a); !errors.Is(err, holdall.ErrStale) {
		t.Errorf("the same append again: %v, want ErrStale", err)
	}
	a.Record.Release()
	l.committed(rec)
	l.check()
}

// move puts the append's own shard at off.
func move(a *volume.Append, off int64) {
	a.Offset, a.Stripe.Shards[a.Shard].Offset = off, off
}

// renumber makes the append one of stripe s.
func renumber(a *volume.Append, s uint64, member uint8) {
	own := a.Stripe.Shards[a.Shard]
	a.Stripe.Number, a.Shard = s, holdall.MemberShard(s, int(member), 3)
	a.Stripe.Shards[a.Shard] = own
}

// TestAppendsOverLimitAreRefused: an extent never outgrows its grant.
func TestAppendsOverLimitAreRefused(t *testing.T) {
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	for l.end()+1<<20 < extentLimit {
		l.mustAppend(1_000_000)
	}
	if err := l.append(1_200_000); !errors.Is(err, holdall.ErrInvalid) {
		t.Fatalf("append over the limit: %v, want ErrInvalid", err)
	}
	l.mustAppend(1000)
	l.check()
}

// TestGroupCommit: appends that wait while the disk is at work share the next
// sync; each is one device write.
func TestGroupCommit(t *testing.T) {
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	var logs []*log
	for v := range uint64(8) {
		logs = append(logs, r.create(v+1, 0))
	}
	until := make(chan struct{})
	stall := dev.Inject(faultdisk.Fault{Op: faultdisk.OpSync, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: until})
	before := dev.Counts()
	var wg sync.WaitGroup
	for i, l := range logs {
		a, rec := l.next(5000)
		wg.Go(func() {
			defer a.Record.Release()
			if err := r.disk.Append(context.Background(), a); err != nil {
				t.Error(err)
			}
		})
		l.committed(rec)
		for i == 0 && stall.Hits() == 0 { // the others come while the first is synced
			runtime.Gosched()
		}
	}
	for queued := 0; queued < 7; queued = r.disk.Queued() {
		runtime.Gosched()
	}
	close(until)
	wg.Wait()
	c := dev.Counts()
	if n := c.Appends - before.Appends; n != 8 {
		t.Errorf("%d device writes for 8 appends", n)
	}
	if n := c.Syncs - before.Syncs; n != 2 {
		t.Errorf("%d syncs for 8 appends of which 7 waited, want 2", n)
	}
	for _, l := range logs {
		l.check()
	}
}

// TestDeviceCallsOfAFill counts what a put costs a disk: one write and at most
// one sync a record, and few superblock entries.
func TestDeviceCallsOfAFill(t *testing.T) {
	const zone, recordBytes = 256 << 10, 5*4096 - 100 // as many records a zone as 256 MiB hold of 4 MiB
	_, dev := memory(faultdisk.Config{ZoneSize: zone, Zones: 200})
	r := newRig(t, dev, volume.DiskConfig{})
	entry := func() int64 { return r.counted("holdall_volume_superblock_entries_total") }
	before, start := dev.Counts(), entry()
	stripes, crossings := 0, int64(0)
	for v := uint64(1); stripes < 1000; v++ {
		l := &log{rig: r, id: holdall.ExtentID{Volume: holdall.VolumeID(v), Created: 1}, epoch: 1, ends: make([]int64, 3)}
		g := l.grant()
		g.Limit = volume.ExtentCapacity(zone, 4)
		if err := r.disk.CreateExtent(context.Background(), g); err != nil {
			t.Fatal(err)
		}
		for l.end()+24*4096+volume.FooterSize(int(l.last)+1, 3) <= g.Limit && stripes < 1000 {
			a := l.end()
			l.mustAppend(recordBytes - volume.DirectorySize(1) - 4096)
			crossings += (l.end()-1)/(zone-4096) - a/(zone-4096)
			stripes++
		}
		if err := r.disk.Seal(context.Background(), l.id, 2, l.last, l.end()); err != nil {
			t.Fatal(err)
		}
	}
	c := dev.Counts()
	entries := entry() - start
	writes := c.Appends - before.Appends - entries
	t.Logf("1000 stripes: %d writes, %d of them for zones' ends, %d syncs, %d superblock frames", writes, crossings, c.Syncs-before.Syncs, entries)
	if seals := int64(30); writes > 1000+crossings+seals {
		t.Errorf("%d writes for 1000 records that run over %d zones' ends", writes, crossings)
	}
	perZone := float64(entries) / (1000 * float64(recordBytes) / zone)
	if perZone > 1.15 {
		t.Errorf("%d superblock entries, %.2f a zone filled", entries, perZone)
	}
}

// TestAppendAllocatesLittle: the hot path makes no garbage to speak of.
func TestAppendAllocatesLittle(t *testing.T) {
	_, dev := memory(faultdisk.Config{ZoneSize: 8 << 20})
	r := newRig(t, dev, volume.DiskConfig{})
	l := &log{rig: r, id: holdall.ExtentID{Volume: 7, Created: 1}, epoch: 1, ends: make([]int64, 3)}
	g := l.grant()
	g.Limit = 7 << 20
	if err := r.disk.CreateExtent(context.Background(), g); err != nil {
		t.Fatal(err)
	}
	a, _ := l.next(1000)
	n := testing.AllocsPerRun(200, func() {
		if err := r.disk.Append(context.Background(), a); err != nil {
			t.Fatal(err)
		}
		l.step(a)
	})
	a.Record.Release()
	if n > 12 { // the fault disk's own copies are most of it
		t.Errorf("%v allocations an append", n)
	}
	t.Logf("%v allocations an append, the fault disk's included", n)
}
