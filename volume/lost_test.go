package volume_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

// rotLastEntries spoils the newest n frames of the superblock log, which must
// be entries, or has it that they never landed.
func rotLastEntries(t testing.TB, dev *faultdisk.Disk, n int, landed bool) {
	t.Helper()
	le := binary.LittleEndian
	for range n {
		zone, at, newest := -1, int64(0), uint64(0)
		for z := range 2 {
			for off := int64(0); off < dev.Geometry().ZoneSize/8; off += volume.SectorSize {
				b := dev.Peek(z, off, volume.SectorSize)
				if string(b[:8]) == volume.SuperMagic && le.Uint64(b[48:]) > newest {
					zone, at, newest = z, off, le.Uint64(b[48:])
				}
			}
		}
		if zone < 0 || at == 0 {
			t.Fatalf("newest frame at %d of zone %d is no entry", at, zone)
		}
		if landed {
			dev.Rot(zone, at+1, 3) // the magic: no longer a frame
		} else {
			dev.Poke(zone, at, make([]byte, volume.SectorSize))
		}
	}
}

// reopened closes the disk, spoils the last n superblock entries and opens it.
func (r *rig) reopened(dev *faultdisk.Disk, n int, landed bool) *faultdisk.Disk {
	r.t.Helper()
	if err := r.disk.Close(); err != nil {
		r.t.Fatal(err)
	}
	dev = dev.Reopen()
	rotLastEntries(r.t, dev, n, landed)
	r.dev = dev
	r.open()
	return dev
}

// TestLostLastSuperblockEntryIsRestored: the last entry rots, and is taken for
// one that a crash tore. The zones that it gave hold acknowledged records: they
// are not given again, and the records are read, then and after a restart.
func TestLostLastSuperblockEntryIsRestored(t *testing.T) {
	for _, b := range backends {
		for _, x := range []struct {
			name   string
			again  bool // the zones were given before
			grown  int  // records appended: more than a zone takes when it is to grow
			rotten int  // entries
			landed bool // and rotted since, or never did
		}{{"new extent", false, 2, 1, true}, {"zone given again", true, 2, 1, true}, {"grown extent", false, 6, 1, true}, {"both", false, 6, 2, true},
			{"never landed", false, 2, 1, false}, {"zone given again, never landed", true, 2, 1, false}} {
			t.Run(b.name+", "+x.name, func(t *testing.T) {
				ctx := context.Background()
				cfg := b.cfg
				cfg.MaxOpen = 0
				_, dev := memory(cfg)
				r := newRig(t, dev, volume.DiskConfig{})
				keep := r.create(5, 0)
				keep.mustAppend(5000)
				if x.again {
					gone := r.create(6, 0)
					gone.mustAppend(5000)
					if err := errors.Join(r.disk.Trash(ctx, gone.id), r.disk.Free(ctx, gone.id)); err != nil {
						t.Fatal(err)
					}
				}
				l := r.create(7, 1)
				for range x.grown {
					l.mustAppend(200_000)
				}
				dev = r.reopened(dev, x.rotten, x.landed)
				if r.disk.Status().Note == "" || r.counted("holdall_volume_faults_total") == 0 {
					t.Fatal("nothing is reported")
				}
				for i := range 3 {
					other := r.create(uint64(20+i), 0)
					other.mustAppend(100_000)
					l.check()
					keep.check()
					_ = r.disk.Close()
					dev = dev.Reopen()
					r.dev = dev
					r.open()
					l.check()
					other.check()
				}
				l.fence(volume.ExtentOpen)
				l.mustAppend(100_000)
				l.check()
			})
		}
	}
}

// TestZoneOfALostEntryThatDoesNotFitIsKept: with the header of the extent's
// first zone spoilt too, nobody can say what the second one is a part of. It is
// not given to another, however full the disk gets, and after every restart.
func TestZoneOfALostEntryThatDoesNotFitIsKept(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			cfg := b.cfg
			cfg.Zones, cfg.MaxOpen = 10, 0
			_, dev := memory(cfg)
			r := newRig(t, dev, volume.DiskConfig{ReserveZones: 1})
			l := r.create(7, 1)
			for range 6 {
				l.mustAppend(200_000)
			}
			first, second := r.zone(l, 0), r.zone(l, 1)
			dev.Rot(first, 100, 1)
			was := dev.Peek(second, 0, 200_000&^(volume.SectorSize-1))
			dev = r.reopened(dev, 2, true)
			for id := uint64(20); ; id++ {
				o := &log{rig: r, id: holdall.ExtentID{Volume: holdall.VolumeID(id), Created: 1}, epoch: 1, ends: make([]int64, scheme.N())}
				g := o.grant()
				g.Limit, g.Reserved = 500_000, true
				err := r.disk.CreateExtent(context.Background(), g)
				if errors.Is(err, holdall.ErrDiskFull) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				o.mustAppend(5000)
				_ = r.disk.Close()
				dev = dev.Reopen()
				r.dev = dev
				r.open()
			}
			if !bytes.Equal(was, dev.Peek(second, 0, int64(len(was)))) {
				t.Fatalf("zone %d was given to another extent", second)
			}
			if s := r.disk.Status(); s.State != holdall.DiskActive || s.Note == "" {
				t.Fatalf("status %+v", s)
			}
		})
	}
}

// TestFreeingDoesNotEmptyAZoneOfALostEntry: the last two entries are lost, that
// which freed a sealed extent and that which gave its zone to another, whose
// records were acknowledged. To free the first extent again does not empty it.
func TestFreeingDoesNotEmptyAZoneOfALostEntry(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			ctx := context.Background()
			_, dev := memory(b.cfg)
			r := newRig(t, dev, volume.DiskConfig{})
			gone := r.create(6, 0)
			gone.mustAppend(5000)
			if err := errors.Join(r.disk.Seal(ctx, gone.id, 2, gone.last, gone.end()), r.disk.Trash(ctx, gone.id), r.disk.Free(ctx, gone.id)); err != nil {
				t.Fatal(err)
			}
			l := r.create(7, 1)
			l.mustAppend(200_000)
			dev = r.reopened(dev, 2, true)
			if err := r.disk.Free(ctx, gone.id); err != nil {
				t.Fatal(err)
			}
			other := r.create(8, 0)
			other.mustAppend(5000)
			if r.disk.Status().Note == "" || r.counted("holdall_volume_faults_total") == 0 {
				t.Fatal("nothing is reported")
			}
			_ = r.disk.Close()
			r.dev = dev.Reopen()
			r.open()
			l.check()
			other.check()
		})
	}
}

// TestStartReadsFewHeaders: a start waits for a seek for every header that it
// reads, and there are many free zones.
func TestStartReadsFewHeaders(t *testing.T) {
	for _, torn := range []bool{false, true} {
		_, dev := memory(faultdisk.Config{Conventional: true, Zones: 2000})
		r := newRig(t, dev, volume.DiskConfig{})
		r.create(7, 0).mustAppend(5000)
		if err := r.disk.Close(); err != nil {
			t.Fatal(err)
		}
		dev = dev.Reopen()
		if torn {
			rotLastEntries(t, dev, 1, true)
		}
		before := dev.Counts().Reads
		r.dev = dev
		r.open()
		if n := dev.Counts().Reads - before; n > 80 {
			t.Fatalf("torn %v: a start made %d reads", torn, n)
		}
	}
}
