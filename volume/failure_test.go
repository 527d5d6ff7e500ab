package volume_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

// serve puts the rig's disk behind a server that counts OnDiskFailed.
func (r *rig) serve() (calls func() []string) {
	var mu sync.Mutex
	var got []string
	s := volume.NewServer(volume.ServerConfig{OnDiskFailed: func(_ holdall.DiskID, reason string) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, reason)
	}})
	if err := s.Add(r.disk); err != nil {
		r.t.Fatal(err)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

// TestFirstFailedCallStopsWrites fails each write and each sync in turn, at
// every position of a script, on zoned and conventional disks: the disk stops
// at once, no call is tried again, no acknowledged record is lost, a restart
// does not forget, and a readmitted disk takes writes again.
func TestFirstFailedCallStopsWrites(t *testing.T) {
	ctx := context.Background()
	for _, b := range backends {
		for _, op := range []faultdisk.OpKind{faultdisk.OpAppend, faultdisk.OpSync} {
			for skip := range 11 { // calls of each kind in the script
				name := fmt.Sprintf("%s, %v %d", b.name, op, skip)
				a, dev := memory(b.cfg)
				r := newRig(t, dev, volume.DiskConfig{})
				calls := r.serve()
				fault := dev.Inject(faultdisk.Fault{Op: op, Zone: faultdisk.AnyZone, Skip: skip})
				l, err := r.script()
				if !errors.Is(err, holdall.ErrDiskFailed) || fault.Hits() != 1 {
					t.Fatalf("%s: %v after %d faults, want ErrDiskFailed after 1", name, err, fault.Hits())
				}
				if err := r.disk.CreateExtent(ctx, volume.Grant{Disk: diskID, Extent: holdall.ExtentID{Volume: 99}, Scheme: scheme, Limit: 8192}); !errors.Is(err, holdall.ErrDiskFailed) {
					t.Fatalf("%s: create on a failed disk: %v, want ErrDiskFailed", name, err)
				}
				if s := r.disk.Status(); s.State != holdall.DiskFailed || s.Reason == "" {
					t.Fatalf("%s: status %+v", name, s)
				}
				if err := l.verify(); err != nil && l.records != nil {
					t.Fatalf("%s: reads of a failed disk: %v", name, err)
				}
				_ = r.disk.Close() // waits for the hook
				if got := calls(); len(got) != 1 {
					t.Fatalf("%s: OnDiskFailed called with %q", name, got)
				}
				if n := dev.Counts().Retries; n != 0 {
					t.Fatalf("%s: %d calls on a zone after one failed there", name, n)
				}
				r.dev = a.Kill().Disk(0)
				r.open()
				l.surplus = true // kill -9 keeps what the failed call left behind
				if s := r.disk.Status(); s.State != holdall.DiskFailed || !strings.Contains(s.Reason, "disk") {
					t.Fatalf("%s: after a restart: status %+v", name, s)
				}
				if err := l.verify(); err != nil && l.records != nil {
					t.Fatalf("%s: after a restart: %v", name, err)
				}
				r.readmitted(name, l)
			}
		}
	}
}

// script appends until something fails.
func (r *rig) script() (*log, error) {
	ctx := context.Background()
	l := &log{rig: r, id: holdall.ExtentID{Volume: 7, Member: 1, Created: 1}, epoch: 1, ends: make([]int64, scheme.N())}
	if err := r.disk.CreateExtent(ctx, l.grant()); err != nil {
		return l, err
	}
	for range 6 {
		if err := l.append(5000); err != nil {
			return l, err
		}
	}
	if err := r.disk.Seal(ctx, l.id, 2, l.last, l.end()); err != nil {
		return l, err
	}
	return l, r.fill(3)
}

func (r *rig) fill(n int) error {
	for i := range n {
		g := volume.Grant{Disk: diskID, Extent: holdall.ExtentID{Volume: holdall.VolumeID(20 + i), Created: 1}, Scheme: scheme, Limit: extentLimit}
		if err := r.disk.CreateExtent(context.Background(), g); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) readmitted(name string, l *log) {
	r.t.Helper()
	sum, err := r.disk.Readmit(context.Background())
	if err != nil {
		r.t.Fatalf("%s: readmit: %v", name, err)
	}
	if err := r.disk.Mount(r.disk.Status().Incarnation + 1); err != nil {
		r.t.Fatalf("%s: mount: %v", name, err)
	}
	if s := r.disk.Status(); s.State != holdall.DiskActive || s.Reason != "" {
		r.t.Fatalf("%s: readmitted: %+v (%+v)", name, s, sum)
	}
	fresh := r.create(50, 0)
	if err := fresh.append(100); err != nil {
		r.t.Fatalf("%s: append to a readmitted disk: %v", name, err)
	}
	fresh.check()
	_ = r.disk.Close()
}

// TestReadmitRefusesWhatCannotBeReadBack: an unsealed record that rotted, with
// whole ones after it, keeps the disk out of service.
func TestReadmitRefusesWhatCannotBeReadBack(t *testing.T) {
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	for range 3 {
		l.mustAppend(9000)
	}
	dev.Inject(faultdisk.Fault{Op: faultdisk.OpSync, Zone: faultdisk.AnyZone})
	if err := l.append(100); !errors.Is(err, holdall.ErrDiskFailed) {
		t.Fatal(err)
	}
	dev.Rot(r.zone(l, 0), 3*volume.SectorSize, 4)
	if sum, err := r.disk.Readmit(context.Background()); !errors.Is(err, holdall.ErrRefused) || len(sum.Faults) != 1 {
		t.Fatalf("readmit: %v with faults %v, want ErrRefused and one", err, sum.Faults)
	}
	if r.disk.Status().State != holdall.DiskFailed {
		t.Fatal("the disk is in service")
	}
}

// zone returns the number of a zone of the extent.
func (r *rig) zone(l *log, place int) int {
	r.t.Helper()
	all, err := r.disk.Extents(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, info := range all {
		if info.Extent == l.id {
			return info.Zones[place]
		}
	}
	r.t.Fatalf("no extent %v", l.id)
	return 0
}

// TestVanishedDirectoryIsNoticed: nothing is acknowledged by a disk whose
// directory went, though writes through open handles work; and reads fail, until
// it is back.
func TestVanishedDirectoryIsNoticed(t *testing.T) {
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	l.mustAppend(5000)
	calls := r.serve()
	dev.Detach()
	if err := l.append(5000); !errors.Is(err, holdall.ErrDiskFailed) {
		t.Fatalf("append to a directory that is gone: %v, want ErrDiskFailed", err)
	}
	if _, err := r.disk.Read(context.Background(), l.id, 4096, 10); !errors.Is(err, holdall.ErrDiskFailed) {
		t.Fatalf("read of a directory that is gone: %v, want ErrDiskFailed", err)
	}
	if s := r.disk.Status(); s.State != holdall.DiskFailed || !s.Gone {
		t.Fatalf("status %+v", s)
	}
	_ = r.disk.Close()
	if len(calls()) != 1 {
		t.Fatalf("OnDiskFailed called %d times", len(calls()))
	}
}

// TestWatchNoticesWithoutTraffic lets the watch find that a directory went and
// came back.
func TestWatchNoticesWithoutTraffic(t *testing.T) {
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	l.mustAppend(5000)
	_ = r.disk.Close()
	dev = dev.Reopen()
	failed := make(chan struct{})
	cfg := r.cfg
	cfg.CheckEvery = time.Millisecond
	d, err := volume.OpenDisk(context.Background(), dev, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := volume.NewServer(volume.ServerConfig{OnDiskFailed: func(holdall.DiskID, string) { close(failed) }})
	if err := s.Add(d); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	dev.Detach()
	<-failed
	dev.Heal()
	until(t, func() bool { return !d.Status().Gone }) // the watch looks again every millisecond
	v, err := d.Read(context.Background(), l.id, 4096, 10)
	if err != nil {
		t.Fatalf("read of a directory that came back: %v", err)
	}
	v.Release()
	if d.Status().State != holdall.DiskFailed {
		t.Fatal("a disk that went takes writes before it was readmitted")
	}
}

// TestFullDeviceIsNotAFailedDisk: a filesystem without room for another zone
// ends an extent, not the disk.
func TestFullDeviceIsNotAFailedDisk(t *testing.T) {
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	l.mustAppend(5000)
	other := r.create(8, 0)
	dev.SetRoom(0)
	if err := other.append(5000); !errors.Is(err, holdall.ErrDiskFull) {
		t.Fatalf("append to a zone without room: %v, want ErrDiskFull", err)
	}
	l.mustAppend(5000)
	l.check()
	if s := r.disk.Status(); s.State != holdall.DiskActive {
		t.Fatalf("status %+v", s)
	}
}

// TestDiskFullIsKnownBeforeItHappens: extents are refused while what the open
// ones may still take, and the reserve, would not fit; the open ones never are.
func TestDiskFullIsKnownBeforeItHappens(t *testing.T) {
	_, dev := memory(faultdisk.Config{ZoneSize: 64 << 10, Zones: 18})
	r := newRig(t, dev, volume.DiskConfig{ReserveZones: 4})
	grant := func(v uint64, reserved bool) volume.Grant {
		return volume.Grant{Disk: diskID, Extent: holdall.ExtentID{Volume: holdall.VolumeID(v), Created: 1}, Scheme: scheme,
			Limit: volume.ExtentCapacity(64<<10, 4), Reserved: reserved}
	}
	ctx := context.Background()
	var logs []*log
	for v := range uint64(3) { // 16 zones: 12 for these, 4 in reserve
		if err := r.disk.CreateExtent(ctx, grant(v+1, false)); err != nil {
			t.Fatalf("extent %d: %v", v, err)
		}
		logs = append(logs, &log{rig: r, id: grant(v+1, false).Extent, epoch: 1, ends: make([]int64, 3)})
	}
	err := r.disk.CreateExtent(ctx, grant(4, false))
	if !errors.Is(err, holdall.ErrDiskFull) || !strings.Contains(err.Error(), "kept for repair") {
		t.Fatalf("a fourth extent: %v, want ErrDiskFull with the reason", err)
	}
	if err := r.disk.CreateExtent(ctx, grant(4, true)); err != nil {
		t.Fatalf("a reserved grant: %v", err)
	}
	for _, l := range logs {
		for l.end() < 200_000 {
			l.mustAppend(9000)
		}
		if err := r.disk.Seal(ctx, l.id, 2, l.last, l.end()); err != nil {
			t.Fatalf("seal: %v", err)
		}
		l.check()
	}
}

// TestOpenZonesAreBounded: a disk with few open zones refuses extents, with the
// reason, rather than have a write fail.
func TestOpenZonesAreBounded(t *testing.T) {
	_, dev := memory(faultdisk.Config{MaxOpen: 6})
	r := newRig(t, dev, volume.DiskConfig{})
	for v := range uint64(2) {
		l := r.create(v+1, 0)
		l.mustAppend(5000)
	}
	g := volume.Grant{Disk: diskID, Extent: holdall.ExtentID{Volume: 9, Created: 1}, Scheme: scheme, Limit: extentLimit}
	if err := r.disk.CreateExtent(context.Background(), g); !errors.Is(err, holdall.ErrExhausted) {
		t.Fatalf("a third extent with 6 open zones: %v, want ErrExhausted", err)
	}
}

// TestQueuedAppendEndsWithItsDeadline: behind a stalled disk an append gives up
// with its deadline and is never written; the one the disk is at does not
// return, for its buffer is in use.
func TestQueuedAppendEndsWithItsDeadline(t *testing.T) {
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l, other := r.create(7, 0), r.create(8, 0)
	held := make(chan struct{})
	stall := dev.Inject(faultdisk.Fault{Op: faultdisk.OpAppend, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: held})
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan error, 1)
	a, rec := l.next(5000)
	go func() { first <- r.disk.Append(ctx, a) }()
	until(t, func() bool { return stall.Hits() > 0 })
	b, _ := other.next(5000)
	short, stop := context.WithTimeout(context.Background(), time.Millisecond)
	defer stop()
	if err := r.disk.Append(short, b); !errors.Is(err, holdall.ErrUnavailable) {
		t.Fatalf("queued append: %v, want ErrUnavailable", err)
	}
	b.Record.Release()
	cancel()
	select {
	case err := <-first:
		t.Fatalf("the append that the disk is at returned early: %v", err)
	default:
	}
	close(held)
	if err := <-first; err != nil {
		t.Fatalf("the append that the disk was at: %v", err)
	}
	a.Record.Release()
	l.committed(rec)
	l.check()
	other.mustAppend(100)
	other.check()
}

// TestReadEndsWithItsDeadline: a read that the disk stalls on returns with its
// deadline, and leaves nothing lent once the disk goes on.
func TestReadEndsWithItsDeadline(t *testing.T) {
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{Readers: 1})
	l := r.create(7, 0)
	l.mustAppend(5000)
	lent := r.pool.Lent()
	held := make(chan struct{})
	dev.Inject(faultdisk.Fault{Op: faultdisk.OpRead, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: held})
	for range 2 { // the second waits for the only place
		short, stop := context.WithTimeout(context.Background(), time.Millisecond)
		if _, err := r.disk.Read(short, l.id, 4096, 100); !errors.Is(err, holdall.ErrUnavailable) {
			t.Fatalf("read: %v, want ErrUnavailable", err)
		}
		stop()
	}
	close(held)
	l.check()
	_ = r.disk.Close()
	if got := r.pool.Lent(); got >= lent {
		t.Fatalf("%d bytes lent after close, %d before", got, lent)
	}
}

// TestZonesOfAnInterruptedFreeAreReset: a process that dies between the note
// that an extent is gone and the reset of its zones leaves that to the next.
func TestZonesOfAnInterruptedFreeAreReset(t *testing.T) {
	ctx := context.Background()
	array, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	l.mustAppend(5000)
	zone := r.zone(l, 0)
	if err := r.disk.Trash(ctx, l.id); err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	stall := dev.Inject(faultdisk.Fault{Op: faultdisk.OpReset, Zone: zone, Effect: faultdisk.Hang, Until: held})
	short, cancel := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- r.disk.Free(short, l.id) }()
	until(t, func() bool { return stall.Hits() > 0 })
	cancel()
	if err := <-done; !errors.Is(err, holdall.ErrUnavailable) {
		t.Fatalf("free that the disk stalls on: %v, want ErrUnavailable", err)
	}
	old := r.disk
	_, dev = r.kill(array)
	close(held)
	_ = old.Close()
	until(t, func() bool {
		at, _ := dev.WritePointer(zone)
		return at == 0
	})
	if err := r.disk.Free(ctx, l.id); err != nil {
		t.Fatalf("free of what is gone: %v", err)
	}
}

// until waits for what another goroutine brings about.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-t.Context().Done():
			t.Fatal("the test ended first")
		}
	}
}

// TestDiskThatWasNotMountedIsNotWrittenTo: a disk that goes and comes back before
// its mount was granted may be in use elsewhere, or a copy; that it went is not
// noted on it. Once mounted, it is.
func TestDiskThatWasNotMountedIsNotWrittenTo(t *testing.T) {
	for _, mounted := range []bool{false, true} {
		_, dev := memory(faultdisk.Config{})
		r := newRig(t, dev, volume.DiskConfig{})
		_ = r.disk.Close()
		dev = dev.Reopen()
		r.cfg.CheckEvery = time.Millisecond
		d, err := volume.OpenDisk(context.Background(), dev, r.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if mounted {
			if err := d.Mount(d.Status().Incarnation + 1); err != nil {
				t.Fatal(err)
			}
		}
		before := dev.Counts().Appends
		dev.Unplug()
		until(t, func() bool { s := d.Status(); return s.Gone && s.State == holdall.DiskFailed })
		dev.Plug()
		until(t, func() bool { return !d.Status().Gone && (!mounted || dev.Counts().Appends != before) })
		_ = d.Close() // what is queued is done
		if wrote := dev.Counts().Appends != before; wrote != mounted {
			t.Fatalf("mounted %v, written to %v", mounted, wrote)
		}
	}
}
