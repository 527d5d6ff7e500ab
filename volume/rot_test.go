package volume_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

var everyBit = flag.Bool("everybit", false, "flip every bit of the image, not one in 64")

// bitImage is a disk of 64 KiB, all of whose extents' bytes are in use: a sealed
// extent, or an open one.
type bitImage struct {
	*rig
	dev      *faultdisk.Disk
	log      *log
	sealed   bool
	infos    []volume.ExtentInfo
	pointers [4]int64
}

const imageZone = 16 << 10

func newImage(t *testing.T, conventional, sealed bool) *bitImage {
	_, dev := memory(faultdisk.Config{ZoneSize: imageZone, Zones: 4, Conventional: conventional})
	r := newRig(t, dev, volume.DiskConfig{ReserveZones: 1})
	l := &log{rig: r, id: holdall.ExtentID{Volume: 7, Member: 1, Created: 1}, epoch: 1, ends: make([]int64, scheme.N())}
	g := l.grant()
	g.Limit = volume.ExtentCapacity(imageZone, 2)
	g.Reserved = true
	if err := r.disk.CreateExtent(context.Background(), g); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l.mustAppend(3000)
	}
	if sealed {
		if err := r.disk.Seal(context.Background(), l.id, 2, l.last, l.end()); err != nil {
			t.Fatal(err)
		}
	}
	_ = r.disk.Close()
	m := &bitImage{rig: r, dev: dev.Reopen(), log: l, sealed: sealed}
	what, err := m.look()
	if err != nil || what != "" {
		t.Fatalf("an undamaged image: %s, %v", what, err)
	}
	for z := range m.pointers {
		m.pointers[z], _ = m.dev.WritePointer(z)
	}
	return m
}

// look opens the disk, reads everything, and says what shows that it is not
// what was written; "" = nothing does, and an error that something is wrong
// which does not show.
func (m *bitImage) look() (string, error) {
	ctx := context.Background()
	d, err := volume.OpenDisk(ctx, m.dev, m.cfg)
	if err != nil {
		return err.Error(), nil
	}
	defer func() { _ = d.Close(); m.dev = m.dev.Reopen() }()
	m.disk = d
	if note := d.Status().Note; note != "" {
		return note, nil
	}
	infos, err := d.Extents(ctx)
	if err != nil {
		return err.Error(), nil
	}
	if m.infos == nil {
		m.infos = infos
	}
	if !reflect.DeepEqual(infos, m.infos) {
		return "metadata knows other extents, ends or epochs", nil
	}
	if err := d.Scan(ctx, m.log.id, func(volume.Record) error { return nil }); err != nil {
		return err.Error(), nil
	}
	return "", m.log.verify()
}

// TestEveryBitOfADiskCounts flips bits of a disk of 64 KiB, one at a time:
// whatever lies below a write pointer is detected.
func TestEveryBitOfADiskCounts(t *testing.T) {
	for _, x := range []struct{ conventional, sealed bool }{{false, true}, {false, false}, {true, true}, {true, false}} {
		m := newImage(t, x.conventional, x.sealed)
		step, flips := 64, 0
		if *everyBit {
			step = 1
		}
		r := rand.New(rand.NewPCG(1, 1))
		for bit := 0; bit < 4*imageZone*8; bit += step {
			at := bit
			if step > 1 {
				at += r.IntN(step)
			}
			zone, off := at/8/imageZone, int64(at/8%imageZone)
			if x.conventional && !m.used(zone, off) || !x.conventional && off >= m.pointers[zone] {
				continue // nothing was written there
			}
			flips++
			m.dev.Rot(zone, off, at%8)
			what, err := m.look()
			if what == "" || err != nil {
				t.Fatalf("%+v: bit %d of byte %d of zone %d flipped: not detected (%v)", x, at%8, off, zone, err)
			}
			m.dev.Rot(zone, off, at%8)
		}
		if flips < 100 {
			t.Fatalf("%d flips", flips)
		}
	}
}

// used says whether what is at off of zone is in use: on a disk that does not
// know, what is not zero, in sectors, but for the superblock log's former zone,
// which such a disk does not erase.
func (m *bitImage) used(zone int, off int64) bool {
	sequence := func(zone int) uint64 {
		return binary.LittleEndian.Uint64(m.dev.Peek(zone, 0, volume.SectorSize)[48:])
	}
	if zone < 2 && sequence(zone) < sequence(1-zone) {
		return false
	}
	for _, c := range m.dev.Peek(zone, off&^(volume.SectorSize-1), volume.SectorSize) {
		if c != 0 {
			return true
		}
	}
	return false
}

// TestMisdirectedWritesAreDetected copies every sector over every other, as a
// misdirected write does, and exchanges them.
func TestMisdirectedWritesAreDetected(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		m := newImage(t, false, sealed)
		type place struct {
			zone int
			off  int64
		}
		var used []place
		for z := range m.pointers {
			for off := int64(0); off < m.pointers[z]; off += volume.SectorSize {
				used = append(used, place{z, off})
			}
		}
		for _, a := range used {
			for _, b := range used {
				was, other := m.dev.Peek(a.zone, a.off, volume.SectorSize), m.dev.Peek(b.zone, b.off, volume.SectorSize)
				if string(was) == string(other) {
					continue
				}
				for _, swap := range []bool{false, true} {
					m.dev.Poke(a.zone, a.off, other)
					if swap {
						m.dev.Poke(b.zone, b.off, was)
					}
					if what, err := m.look(); what == "" || err != nil {
						t.Fatalf("sealed %v: sector %v on %v, exchanged %v: not detected (%v)", sealed, b, a, swap, err)
					}
					m.dev.Poke(a.zone, a.off, was)
					m.dev.Poke(b.zone, b.off, other)
				}
			}
		}
	}
}

// TestLostWritesAreDetected puts back what each sector held before it was last
// written, one at a time: zeros.
func TestLostWritesAreDetected(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		m := newImage(t, false, sealed)
		for z := range m.pointers {
			for off := int64(0); off < m.pointers[z]; off += volume.SectorSize {
				was := m.dev.Peek(z, off, volume.SectorSize)
				m.dev.Poke(z, off, make([]byte, volume.SectorSize))
				if what, err := m.look(); what == "" || err != nil {
					t.Fatalf("sealed %v: sector at %d of zone %d lost: not detected (%v)", sealed, off, z, err)
				}
				m.dev.Poke(z, off, was)
			}
		}
	}
}

// TestRottenCheckpointIsNotTakenForThePast: on a disk that erases nothing the
// zone that the log left still holds an older state, which must not come back.
func TestRottenCheckpointIsNotTakenForThePast(t *testing.T) {
	for _, b := range backends {
		b.cfg.ZoneSize = 32 << 10
		_, dev := memory(b.cfg)
		r := newRig(t, dev, volume.DiskConfig{ReserveZones: 1})
		for i := range 20 { // the log moves several times
			l := &log{rig: r, id: holdall.ExtentID{Volume: holdall.VolumeID(i + 1), Created: 1}, epoch: 1, ends: make([]int64, scheme.N())}
			g := l.grant()
			g.Limit = 20_000
			err := r.disk.CreateExtent(context.Background(), g)
			if err == nil {
				err = errors.Join(r.disk.Trash(context.Background(), l.id), r.disk.Free(context.Background(), l.id))
			}
			if err != nil {
				t.Fatal(err)
			}
			if i < 10 {
				continue
			}
			_ = r.disk.Close()
			dev = dev.Reopen()
			for zone := range 2 {
				if binary.LittleEndian.Uint64(dev.Peek(zone, 0, volume.SectorSize)[48:]) < binary.LittleEndian.Uint64(dev.Peek(1-zone, 0, volume.SectorSize)[48:]) {
					continue
				}
				for _, off := range []int64{0, 50, 70, 100} {
					dev.Rot(zone, off, 0)
					if _, err := volume.OpenDisk(context.Background(), dev, r.cfg); !errors.Is(err, holdall.ErrCorrupt) {
						t.Fatalf("%s, round %d: byte %d of the checkpoint rotten: %v, want ErrCorrupt", b.name, i, off, err)
					}
					dev.Rot(zone, off, 0)
				}
			}
			r.dev = dev
			r.open()
		}
	}
}
