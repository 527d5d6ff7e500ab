// Package devicetest holds what every volume.Device must do, as tests that each
// backend runs on itself. It knows no backend, and looks at devices through the
// interface alone.
package devicetest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/volume"
)

// Medium is a disk that a backend can open, close and open again.
type Medium struct {
	// Open opens the medium. The suite closes what it opened before it opens
	// it again.
	Open func() (volume.Device, error)

	// Remove takes the medium away while it is open, and nil means that this
	// cannot be done.
	Remove func() error

	// Forgets says that a newly opened device does not know its pointers, as a
	// raw conventional disk does not.
	Forgets bool

	// Shared says that two devices on the same medium cannot be told apart by
	// the backend: it locks nothing.
	Shared bool
}

// New makes a fresh, empty medium with at least geo.Zones zones of geo.ZoneSize
// bytes, of which geo.MaxOpen may be open.
type New func(t *testing.T, geo volume.Geometry) Medium

// geo is small enough to fill, and large enough that four zones can be open.
var geo = volume.Geometry{ZoneSize: 64 << 10, Zones: 16, MaxOpen: 4}

// Run runs the suite on media that fresh makes.
func Run(t *testing.T, fresh New) {
	tests := []struct {
		name string
		run  func(*suite)
	}{
		{"empty zones start at 0", testEmpty},
		{"appends read back", testReadBack},
		{"several buffers are one append", testVectors},
		{"an append off the pointer is stale", testOffPointer},
		{"misaligned and impossible calls are invalid", testInvalid},
		{"a zone cannot be overfilled", testFull},
		{"reads stop at the pointer", testReadLimit},
		{"no more zones open than allowed", testMaxOpen},
		{"a finished zone takes no appends", testFinish},
		{"a reset zone starts again", testReset},
		{"reopening keeps synced bytes and pointers", testReopen},
		{"SetPointer only tells what is not known", testSetPointer},
		{"sync of nothing is fine", testSyncNothing},
		{"zones work side by side", testConcurrent},
		{"a removed disk is noticed", testRemoved},
		{"one process at a time", testExclusive},
		{"any order of calls obeys the model", testModel},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &suite{T: t, m: fresh(t, geo), pool: buffer.NewPool(0)}
			s.open()
			tt.run(s)
			s.check(s.dev.Close())
		})
	}
}

// suite is one test on one medium.
type suite struct {
	*testing.T
	m    Medium
	dev  volume.Device
	pool *buffer.Pool
}

func (s *suite) open() {
	s.Helper()
	dev, err := s.m.Open()
	if err != nil {
		s.Fatalf("open: %v", err)
	}
	s.dev = dev
	if g := dev.Geometry(); g.ZoneSize != geo.ZoneSize || g.Zones < geo.Zones || g.MaxOpen != geo.MaxOpen {
		s.Fatalf("geometry is %+v, want at least %+v", g, geo)
	}
	if s.m.Forgets {
		for zone := range geo.Zones {
			if off, known := dev.WritePointer(zone); known {
				s.Fatalf("zone %d: pointer %d is known to a device that forgets", zone, off)
			}
		}
	}
}

// fresh tells a device that forgets that all of its zones are empty.
func (s *suite) fresh() *suite {
	s.Helper()
	for zone := range geo.Zones {
		if _, known := s.dev.WritePointer(zone); !known {
			s.check(s.dev.SetPointer(zone, 0))
		}
	}
	return s
}

func (s *suite) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// want fails unless err is of kind.
func (s *suite) want(what string, err, kind error) {
	s.Helper()
	if !errors.Is(err, kind) {
		s.Fatalf("%s: got %v, want %v", what, err, kind)
	}
}

// bytes returns aligned memory with n bytes that seed determines.
func (s *suite) bytes(n int, seed uint64) []byte {
	b := s.pool.Take(n)
	s.Cleanup(b.Release)
	r := rand.New(rand.NewPCG(seed, 1))
	mem := b.Bytes()
	for i := range mem {
		mem[i] = byte(r.Uint32())
	}
	return mem
}

func (s *suite) append(zone int, off int64, n int, seed uint64) []byte {
	s.Helper()
	b := s.bytes(n, seed)
	s.check(s.dev.Append(zone, off, b))
	return b
}

// reads fails unless zone holds want at off.
func (s *suite) reads(zone int, off int64, want []byte) {
	s.Helper()
	b := s.pool.Take(len(want))
	defer b.Release()
	s.check(s.dev.ReadAt(zone, off, b.Bytes()))
	if !bytes.Equal(b.Bytes(), want) {
		s.Fatalf("zone %d: %d bytes at %d are not those appended", zone, len(want), off)
	}
}

// at fails unless zone's pointer is known to be off.
func (s *suite) at(zone int, off int64) {
	s.Helper()
	if got, known := s.dev.WritePointer(zone); !known || got != off {
		s.Fatalf("zone %d: pointer is %d (known: %v), want %d", zone, got, known, off)
	}
}

// again closes the device and opens it, as a new process would.
func (s *suite) again() {
	s.Helper()
	s.check(s.dev.Close())
	s.open()
}

const sector = volume.SectorSize

func testEmpty(s *suite) {
	s.fresh()
	for zone := range geo.Zones {
		s.at(zone, 0)
	}
	s.want("read of an empty zone", s.dev.ReadAt(1, 0, s.bytes(sector, 0)), holdall.ErrInvalid)
	s.check(s.dev.Check())
}

func testReadBack(s *suite) {
	s.fresh()
	a := s.append(3, 0, 2*sector, 1)
	s.at(3, 2*sector)
	b := s.append(3, 2*sector, sector, 2)
	s.reads(3, 0, a) // before the sync as after
	s.check(s.dev.Sync(3))
	s.reads(3, 0, a)
	s.reads(3, 2*sector, b)
	s.reads(3, sector, bytes.Join([][]byte{a[sector:], b}, nil))
	s.check(s.dev.Check())
}

func testVectors(s *suite) {
	s.fresh()
	a, b, c := s.bytes(sector, 1), s.bytes(3*sector, 2), s.bytes(sector, 3)
	s.check(s.dev.Append(5, 0, a, b, nil, c))
	s.at(5, 5*sector)
	s.check(s.dev.Sync(5))
	s.reads(5, 0, bytes.Join([][]byte{a, b, c}, nil))
}

func testOffPointer(s *suite) {
	s.fresh()
	a := s.append(2, 0, 2*sector, 1)
	for _, off := range []int64{0, sector, 3 * sector, geo.ZoneSize - sector} {
		s.want("append off the pointer", s.dev.Append(2, off, s.bytes(sector, 2)), holdall.ErrStale)
	}
	s.want("append to an empty zone, not at 0", s.dev.Append(4, sector, s.bytes(sector, 2)), holdall.ErrStale)
	s.at(2, 2*sector)
	s.at(4, 0)
	s.check(s.dev.Sync(2))
	s.reads(2, 0, a)
}

func testInvalid(s *suite) {
	s.fresh()
	b := s.bytes(2*sector, 1)
	s.append(2, 0, sector, 1)
	last := s.dev.Geometry().Zones
	calls := []struct {
		what string
		err  error
	}{
		{"append of part of a sector", s.dev.Append(2, sector, b[:100])},
		{"append of nothing", s.dev.Append(2, sector)},
		{"append from unaligned memory", s.dev.Append(2, sector, b[512:512+sector])},
		{"append to zone -1", s.dev.Append(-1, 0, b)},
		{"append past the last zone", s.dev.Append(last, 0, b)},
		{"read of part of a sector", s.dev.ReadAt(2, 0, b[:100])},
		{"read of nothing", s.dev.ReadAt(2, 0, nil)},
		{"read at -1", s.dev.ReadAt(2, -sector, b[:sector])},
		{"read of zone -1", s.dev.ReadAt(-1, 0, b)},
		{"read past the last zone", s.dev.ReadAt(last, 0, b)},
		{"reset past the last zone", s.dev.Reset(last)},
		{"finish past the last zone", s.dev.Finish(last)},
		{"sync past the last zone", s.dev.Sync(last)},
		{"pointer past the last zone", s.dev.SetPointer(last, 0)},
	}
	for _, c := range calls {
		s.want(c.what, c.err, holdall.ErrInvalid)
	}
	s.append(2, sector, sector, 3) // none of them did harm
}

func testFull(s *suite) {
	s.fresh()
	whole := s.append(6, 0, int(geo.ZoneSize)-sector, 1)
	s.want("append over the end", s.dev.Append(6, geo.ZoneSize-sector, s.bytes(2*sector, 2)), holdall.ErrInvalid)
	s.at(6, geo.ZoneSize-sector)
	end := s.append(6, geo.ZoneSize-sector, sector, 3)
	s.at(6, geo.ZoneSize)
	s.want("append to a full zone", s.dev.Append(6, geo.ZoneSize, s.bytes(sector, 2)), holdall.ErrInvalid)
	s.check(s.dev.Sync(6))
	s.reads(6, 0, whole)
	s.reads(6, geo.ZoneSize-sector, end)
	s.check(s.dev.Finish(6)) // of a full zone: nothing to do
	s.reads(6, 0, whole)
}

func testReadLimit(s *suite) {
	s.fresh()
	s.append(2, 0, 2*sector, 1)
	s.want("read at the pointer", s.dev.ReadAt(2, 2*sector, s.bytes(sector, 0)), holdall.ErrInvalid)
	s.want("read across the pointer", s.dev.ReadAt(2, sector, s.bytes(2*sector, 0)), holdall.ErrInvalid)
}
