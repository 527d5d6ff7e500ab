package faultdisk_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
	"github.com/holdall/holdall/volume/devicetest"
)

func TestConforms(t *testing.T) {
	for _, conventional := range []bool{false, true} {
		t.Run(fmt.Sprintf("conventional=%v", conventional), func(t *testing.T) {
			devicetest.Run(t, func(t *testing.T, geo volume.Geometry) devicetest.Medium {
				a := faultdisk.New(1, faultdisk.Config{ZoneSize: geo.ZoneSize, Zones: geo.Zones, MaxOpen: geo.MaxOpen, Conventional: conventional})
				return devicetest.Medium{
					Open:    func() (volume.Device, error) { return a.Disk(0).Reopen(), nil },
					Remove:  func() error { a.Disk(0).Detach(); return nil },
					Forgets: conventional,
					Shared:  true,
				}
			})
		})
	}
}

var pool = buffer.NewPool(0)

// block returns n aligned bytes of value v.
func block(n int, v byte) []byte {
	b := pool.Take(n).Bytes() // never released: tests are short
	for i := range b {
		b[i] = v
	}
	return b
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("got %v, want %v", err, kind)
	}
}

// readable returns the byte with which every byte of zone's sector at off is
// equal; 0xEE if they differ.
func readable(d *faultdisk.Disk, zone int, off int64) byte {
	b := d.Peek(zone, off, 4096)
	if !bytes.Equal(b, bytes.Repeat(b[:1], 4096)) {
		return 0xEE
	}
	return b[0]
}

func TestCrashKeepsWhatWasSyncedAndOnlyThatForSure(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	lost, kept, torn := 0, 0, 0
	for range 300 {
		a := faultdisk.New(2, faultdisk.Config{})
		d := a.Disk(1)
		must(t, d.Append(3, 0, block(8192, 1)), d.Sync(3), d.Append(3, 8192, block(8192, 2)))
		b, _ := a.Crash(r)
		want(t, d.Append(3, 16384, block(4096, 3)), holdall.ErrDiskFailed) // the dead do nothing
		n := b.Disk(1)
		if readable(n, 3, 0) != 1 || readable(n, 3, 4096) != 1 {
			t.Fatal("a crash lost synced bytes")
		}
		first, second := readable(n, 3, 8192), readable(n, 3, 12288)
		off, known := n.WritePointer(3)
		if !known || off < 8192 || off > 16384 || (second == 2 && off < 16384) {
			t.Fatalf("pointer is %d (known: %v) with sectors of %d, %d", off, known, first, second)
		}
		switch {
		case first == 0 && second == 0:
			lost++
		case first == 2 && second == 2:
			kept++
		default:
			torn++
		}
	}
	if lost == 0 || kept == 0 || torn == 0 {
		t.Errorf("of 300 crashes %d lost, %d kept and %d tore the write; want some of each", lost, kept, torn)
	}
}

func TestKillKeepsAllThatWasWritten(t *testing.T) {
	a := faultdisk.New(1, faultdisk.Config{})
	old := a.Disk(0)
	old.Inject(faultdisk.Fault{Op: faultdisk.OpAppend, Zone: faultdisk.AnyZone, Skip: 1, Count: -1})
	must(t, old.Append(0, 0, block(4096, 7)))
	a = a.Kill()
	d := a.Disk(0)
	got := block(4096, 0)
	must(t, d.ReadAt(0, 0, got), d.Append(0, 4096, got))
	if got[0] != 7 {
		t.Errorf("reads as %d", got[0])
	}
	want(t, old.Check(), holdall.ErrDiskFailed)
	want(t, old.ReadAt(0, 0, got), holdall.ErrDiskFailed)
}

// script makes three unsynced writes on two disks after a synced one.
func script(t *testing.T, a *faultdisk.Array) *faultdisk.Trace {
	t.Helper()
	a.Record()
	must(t, a.Disk(0).Append(0, 0, block(4096, 1)), a.Disk(0).Sync(0))
	a.Mark("one")
	must(t, a.Disk(0).Append(0, 4096, block(4096, 2)), a.Disk(1).Append(5, 0, block(8192, 3)), a.Disk(0).Append(0, 8192, block(4096, 4)))
	must(t, a.Disk(0).Sync(0), a.Disk(1).Sync(5))
	a.Mark("two")
	return a.Stop()
}

func TestCrashesAreEverySubsetAtEveryInstant(t *testing.T) {
	tr := script(t, faultdisk.New(2, faultdisk.Config{}))
	type state struct {
		ops  int
		bits string
	}
	seen := map[state]bool{}
	for c, a := range tr.Crashes(faultdisk.Effort{NoTears: true}) {
		d := a.Disk(0)
		bits := fmt.Sprint(readable(d, 0, 0), readable(d, 0, 4096), readable(d, 0, 8192), readable(a.Disk(1), 5, 0), readable(a.Disk(1), 5, 4096))
		seen[state{c.Ops, bits}] = true
		if n := len(tr.Marks(c.Ops)); n >= 1 && readable(d, 0, 0) != 1 {
			t.Fatalf("%v: what was synced before the mark is lost", c)
		} else if n == 2 && bits != "1 2 4 3 3" {
			t.Fatalf("%v: disks hold %s", c, bits)
		}
	}
	// After 0 ops 1 state; append 2; (sync: seen at the mark) 1; then 2, 4, 8
	// subsets, 2 after the first sync, 1 after the second.
	if wantStates := 1 + 2 + 1 + 2 + 4 + 8 + 2 + 1; len(seen) != wantStates {
		t.Errorf("%d states, want %d: %v", len(seen), wantStates, seen)
	}
}

func TestImageIsTheCrashItNames(t *testing.T) {
	tr := script(t, faultdisk.New(2, faultdisk.Config{}))
	n, torn, long := 0, 0, 0
	for c, a := range tr.Crashes(faultdisk.Effort{Seed: 3}) {
		b := tr.Image(c)
		n++
		for i := range 2 {
			for zone := range 6 {
				x, _ := a.Disk(i).WritePointer(zone)
				y, _ := b.Disk(i).WritePointer(zone)
				if x != y || !bytes.Equal(a.Disk(i).Peek(zone, 0, 16384), b.Disk(i).Peek(zone, 0, 16384)) {
					t.Fatalf("%v: disk %d zone %d differs when made again", c, i, zone)
				}
				if x > 0 && readable(a.Disk(i), zone, x-4096) == 0 {
					long++
				}
			}
		}
		if readable(a.Disk(1), 5, 0) == 0xEE || readable(a.Disk(1), 5, 4096) == 0xEE {
			torn++
		}
		must(t, a.Disk(0).Reset(0), a.Disk(1).Reset(5)) // images do not share what they change
	}
	if torn == 0 || long == 0 {
		t.Errorf("of %d crashes %d tore a sector and %d left a long pointer; want some of each", n, torn, long)
	}
}

func TestSubsetsAreSampledWhenTheyAreMany(t *testing.T) {
	a := faultdisk.New(9, faultdisk.Config{})
	a.Record()
	for i := range 9 {
		must(t, a.Disk(i).Append(0, 0, block(4096, 1)))
	}
	none, all, alone := false, false, 0
	n := 0
	for c, img := range a.Stop().Crashes(faultdisk.Effort{Subsets: 100, NoTears: true}) {
		if c.Ops < 9 || c.LongPointers {
			continue
		}
		n++
		kept := 0
		for i := range 9 {
			kept += int(readable(img.Disk(i), 0, 0))
		}
		none, all = none || kept == 0, all || kept == 9
		if kept == 1 {
			alone++
		}
	}
	if n != 100 || !none || !all || alone < 9 {
		t.Errorf("%d crashes (none kept: %v, all: %v, one alone: %d); want 100 with each extreme", n, none, all, alone)
	}
}

func TestFailedSyncIsNeverMadeGood(t *testing.T) {
	a := faultdisk.New(1, faultdisk.Config{})
	d := a.Disk(0)
	in := d.Inject(faultdisk.Fault{Op: faultdisk.OpSync, Zone: faultdisk.AnyZone, Skip: 1})
	must(t, d.Append(0, 0, block(4096, 1)), d.Sync(0))
	must(t, d.Append(0, 4096, block(4096, 2)), d.Append(1, 0, block(4096, 3)))
	want(t, d.Sync(0), holdall.ErrDiskFailed)
	if in.Hits() != 1 {
		t.Errorf("the fault hit %d calls", in.Hits())
	}
	want(t, d.Append(0, 8192, block(4096, 4)), holdall.ErrDiskFailed)
	want(t, d.Sync(0), holdall.ErrDiskFailed)
	must(t, d.Sync(1)) // another zone is not concerned
	if c := d.Counts(); c.Retries != 2 || c.Syncs != 3 {
		t.Errorf("%d retries of %d syncs were counted, want 2 of 3", c.Retries, c.Syncs)
	}
	r := rand.New(rand.NewPCG(1, 0))
	for range 100 {
		if b, _ := a.Crash(r); readable(b.Disk(0), 0, 4096) == 0 {
			return
		}
	}
	t.Error("no crash ever loses what the failed sync covered")
}

func TestWritesGoWrongAsAsked(t *testing.T) {
	d := faultdisk.New(1, faultdisk.Config{}).Disk(0)
	must(t, d.Append(1, 0, block(16384, 1)), d.Append(2, 0, block(4096, 2)), d.Sync(1, 2))
	old := d.Peek(1, 0, 4096)
	must(t, d.Reset(1))

	d.Inject(faultdisk.Fault{Op: faultdisk.OpAppend, Zone: 1, Effect: faultdisk.Lose})
	must(t, d.Append(1, 0, block(4096, 5)), d.Sync(1))
	if got := d.Peek(1, 0, 4096); !bytes.Equal(got, old) {
		t.Error("a lost write is there, or the bytes of before the reset are not")
	}
	d.Inject(faultdisk.Fault{Op: faultdisk.OpAppend, Zone: 1, Effect: faultdisk.Misdirect, ToZone: 2})
	must(t, d.Append(1, 4096, block(4096, 6)), d.Sync(1))
	if readable(d, 2, 0) != 6 || readable(d, 1, 4096) == 6 {
		t.Error("a misdirected write is not where it was directed")
	}
	d.Inject(faultdisk.Fault{Op: faultdisk.OpAppend, Zone: 1, Lands: 4096, Err: holdall.ErrDiskFull})
	want(t, d.Append(1, 8192, block(8192, 7)), holdall.ErrDiskFull)
	if readable(d, 1, 8192) != 7 || readable(d, 1, 12288) == 7 {
		t.Error("a failed write did not land in part")
	}
	want(t, d.Append(1, 8192, block(8192, 7)), holdall.ErrDiskFailed)
	must(t, d.Reset(1), d.Append(1, 0, block(4096, 8))) // a reset makes the zone whole
}

func TestMediumRotsAndFails(t *testing.T) {
	d := faultdisk.New(1, faultdisk.Config{}).Disk(0)
	must(t, d.Append(1, 0, block(8192, 1)), d.Append(2, 0, block(8192, 2)), d.Sync(1, 2))
	d.Rot(1, 4097, 3)
	if b := d.Peek(1, 4096, 4096); b[1] != 1^8 || b[0] != 1 || b[2] != 1 {
		t.Errorf("one bit flipped makes %v", b[:3])
	}
	d.Swap(1, 2, 0, 4096)
	if readable(d, 1, 0) != 2 || readable(d, 2, 0) != 1 {
		t.Error("sectors were not swapped")
	}
	d.Unreadable(2, 4096)
	got := block(8192, 0)
	want(t, d.ReadAt(2, 0, got), holdall.ErrUnavailable)
	must(t, d.ReadAt(2, 0, got[:4096]))
	d.Inject(faultdisk.Fault{Op: faultdisk.OpRead, Zone: 2})
	want(t, d.ReadAt(2, 0, got[:4096]), holdall.ErrUnavailable)
	must(t, d.ReadAt(2, 0, got[:4096]))
}

func TestStates(t *testing.T) {
	a := faultdisk.New(1, faultdisk.Config{})
	d := a.Disk(0)
	b := block(4096, 1)
	must(t, d.Append(0, 0, b), d.Sync(0))
	d.SetReadOnly(true)
	for _, err := range []error{d.Append(0, 4096, b), d.Sync(0), d.Reset(0), d.Finish(0)} {
		want(t, err, holdall.ErrDiskFailed)
	}
	must(t, d.ReadAt(0, 0, b))
	d.Heal()

	d.SetRoom(1)
	must(t, d.Append(1, 0, b))
	want(t, d.Append(2, 0, b), holdall.ErrDiskFull)
	must(t, d.Append(1, 4096, b), d.Reset(1), d.Append(2, 0, b))

	d.Unplug()
	want(t, d.ReadAt(0, 0, b), holdall.ErrDiskFailed)
	want(t, d.Check(), holdall.ErrDiskFailed)
	d.Plug()
	must(t, d.ReadAt(0, 0, b), d.Check())

	d.Detach()
	must(t, d.Append(0, 4096, b), d.Sync(0))
	want(t, d.Check(), holdall.ErrDiskFailed)

	if off, _ := a.Replace(0).WritePointer(0); off != 0 {
		t.Errorf("a new disk's zone ends at %d", off)
	}
	want(t, d.Append(0, 8192, b), holdall.ErrDiskFailed)
}

func TestHangingCallWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := faultdisk.New(1, faultdisk.Config{}).Disk(0)
		until := make(chan struct{})
		d.Inject(faultdisk.Fault{Op: faultdisk.OpAppend, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: until})
		done := make(chan error, 1)
		go func() { done <- d.Append(0, 0, block(4096, 1)) }()
		synctest.Wait()
		if len(done) != 0 {
			t.Fatal("the call returned")
		}
		close(until)
		must(t, <-done)
	})
}

func TestRotatingDiskTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := faultdisk.New(1, faultdisk.Config{ZoneSize: 64 << 20, Timing: faultdisk.Rotating(), Clock: faultdisk.WallClock{}}).Disk(0)
		took := func(call func() error) time.Duration {
			t.Helper()
			start := time.Now()
			must(t, call())
			return time.Since(start)
		}
		b := block(2_000_000/4096*4096, 1)
		move := time.Duration(float64(len(b)) / 200e6 * 1e9)
		steps := []struct {
			what string
			call func() error
			cost time.Duration
		}{
			{"append at the arm", func() error { return d.Append(0, 0, b) }, move},
			{"append on", func() error { return d.Append(0, int64(len(b)), b) }, move},
			{"append elsewhere", func() error { return d.Append(3, 0, b) }, move + 8*time.Millisecond},
			{"sync", func() error { return d.Sync(0, 3) }, 8 * time.Millisecond},
			{"sync of nothing", func() error { return d.Sync(0, 3) }, 0},
			{"read elsewhere", func() error { return d.ReadAt(0, 0, b) }, move + 8*time.Millisecond},
		}
		var sum time.Duration
		for _, s := range steps {
			if got := took(s.call); got != s.cost {
				t.Errorf("%s takes %v, want %v", s.what, got, s.cost)
			}
			sum += s.cost
		}

		// Two calls at once share the one arm.
		start := time.Now()
		done := make(chan error, 2)
		for zone := 10; zone < 12; zone++ {
			go func() { done <- d.Append(zone, 0, b) }()
		}
		must(t, <-done, <-done)
		if got := time.Since(start); got != 2*(move+8*time.Millisecond) {
			t.Errorf("two appends at once take %v, want %v", got, 2*(move+8*time.Millisecond))
		}
		if got := d.Counts().Busy; got != sum+2*(move+8*time.Millisecond) {
			t.Errorf("the arm was busy for %v", got)
		}
	})
}

func TestSyncCoversOnlyWhatCameBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := faultdisk.New(1, faultdisk.Config{Clock: faultdisk.WallClock{}, Timing: faultdisk.Timing{Flush: time.Second}})
		d := a.Disk(0)
		must(t, d.Append(0, 0, block(4096, 1)))
		done := make(chan error, 1)
		go func() { done <- d.Sync(0) }()
		synctest.Wait()
		must(t, d.Append(0, 4096, block(4096, 2)), <-done)
		r := rand.New(rand.NewPCG(1, 0))
		lost := false
		for range 100 {
			b, _ := a.Crash(r)
			if readable(b.Disk(0), 0, 0) != 1 {
				t.Fatal("a crash lost synced bytes")
			}
			lost = lost || readable(b.Disk(0), 0, 4096) == 0
		}
		if !lost {
			t.Error("the sync covered an append that came while it was at work")
		}
	})
}
