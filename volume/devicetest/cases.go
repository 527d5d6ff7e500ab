package devicetest

import (
	"math/rand/v2"
	"sync"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/volume"
)

func testMaxOpen(s *suite) {
	s.fresh()
	for zone := range geo.MaxOpen {
		s.append(zone, 0, sector, 1)
	}
	b := s.bytes(sector, 2)
	s.want("one zone too many", s.dev.Append(9, 0, b), holdall.ErrExhausted)
	s.at(9, 0)
	s.append(1, sector, sector, 3) // those that are open go on

	s.check(s.dev.Finish(0))
	s.check(s.dev.Append(9, 0, b))
	s.want("one too many after a finish", s.dev.Append(10, 0, b), holdall.ErrExhausted)

	s.append(1, 2*sector, int(geo.ZoneSize)-2*sector, 4)
	s.check(s.dev.Append(10, 0, b))
	s.want("one too many after a zone was filled", s.dev.Append(11, 0, b), holdall.ErrExhausted)

	s.check(s.dev.Reset(2))
	s.check(s.dev.Append(11, 0, b))
	s.want("one too many after a reset", s.dev.Append(2, 0, b), holdall.ErrExhausted)

	if !s.m.Forgets {
		s.check(s.dev.Sync(1, 3, 9, 10, 11))
		s.again()
		s.want("one too many after reopening", s.dev.Append(12, 0, b), holdall.ErrExhausted)
		s.check(s.dev.Finish(3))
		s.check(s.dev.Append(12, 0, b))
	}
}

func testFinish(s *suite) {
	s.fresh()
	a := s.append(7, 0, 2*sector, 1)
	s.check(s.dev.Sync(7))
	s.check(s.dev.Finish(7))
	s.at(7, geo.ZoneSize)
	s.want("append where the log ended", s.dev.Append(7, 2*sector, s.bytes(sector, 2)), holdall.ErrStale)
	s.want("append at the end", s.dev.Append(7, geo.ZoneSize, s.bytes(sector, 2)), holdall.ErrInvalid)
	s.reads(7, 0, a)
	s.check(s.dev.ReadAt(7, geo.ZoneSize-sector, s.bytes(sector, 0))) // bytes of no meaning, but no error
	s.check(s.dev.Finish(7))
	s.check(s.dev.Finish(8)) // an empty one
	s.at(8, geo.ZoneSize)
	s.check(s.dev.Sync(7, 8))

	s.again()
	if !s.m.Forgets {
		s.at(7, geo.ZoneSize)
		s.at(8, geo.ZoneSize)
	}
	s.reads(7, 0, a)
}

func testReset(s *suite) {
	s.fresh()
	s.append(4, 0, 3*sector, 1)
	s.check(s.dev.Sync(4))
	kept := s.append(5, 0, sector, 2)
	s.check(s.dev.Sync(5))

	s.check(s.dev.Reset(4))
	s.at(4, 0)
	s.want("read of a reset zone", s.dev.ReadAt(4, 0, s.bytes(sector, 0)), holdall.ErrInvalid)
	s.want("append where the old log ended", s.dev.Append(4, 3*sector, s.bytes(sector, 3)), holdall.ErrStale)
	s.check(s.dev.Reset(4)) // of an empty zone
	b := s.append(4, 0, sector, 4)
	s.check(s.dev.Sync(4))
	s.reads(4, 0, b)

	s.check(s.dev.Finish(4))
	s.check(s.dev.Reset(4))
	if !s.m.Forgets {
		s.again()
	}
	s.at(4, 0) // durable without a sync
	s.append(4, 0, sector, 5)
	s.reads(5, 0, kept)
}

func testReopen(s *suite) {
	s.fresh()
	a := s.append(0, 0, 2*sector, 1)
	b := s.append(15, 0, int(geo.ZoneSize), 2)
	s.check(s.dev.Sync(0, 15))
	s.again()
	s.reads(0, 0, a)
	s.reads(15, 0, b)
	if s.m.Forgets {
		s.want("append before the end is known", s.dev.Append(0, 2*sector, s.bytes(sector, 3)), holdall.ErrInvalid)
		s.check(s.dev.SetPointer(0, 2*sector))
		s.check(s.dev.SetPointer(15, geo.ZoneSize))
	}
	s.at(0, 2*sector)
	s.at(15, geo.ZoneSize)
	c := s.append(0, 2*sector, sector, 4)
	s.check(s.dev.Sync(0))
	s.reads(0, 2*sector, c)
	s.check(s.dev.Check())
}

func testSetPointer(s *suite) {
	s.fresh()
	s.append(2, 0, 2*sector, 1)
	s.check(s.dev.SetPointer(2, 2*sector))
	s.want("another pointer", s.dev.SetPointer(2, sector), holdall.ErrStale)
	s.at(2, 2*sector)
	for _, off := range []int64{-sector, 1, geo.ZoneSize + sector} {
		s.want("a pointer that cannot be", s.dev.SetPointer(2, off), holdall.ErrInvalid)
	}
}

func testSyncNothing(s *suite) {
	s.fresh()
	s.check(s.dev.Sync())
	s.check(s.dev.Sync(3))
	s.append(3, 0, sector, 1)
	s.check(s.dev.Sync(3, 4))
	s.check(s.dev.Sync(3))
}

func testConcurrent(s *suite) {
	s.fresh()
	var all sync.WaitGroup
	errs := make([]error, geo.MaxOpen)
	for w := range geo.MaxOpen {
		b := s.bytes(int(geo.ZoneSize), uint64(w))
		got := s.bytes(sector, 0)
		all.Go(func() {
			for off := int64(0); off < geo.ZoneSize && errs[w] == nil; off += sector {
				errs[w] = s.dev.Append(w, off, b[off:off+sector])
				if errs[w] == nil && off%(4*sector) == 0 {
					errs[w] = s.dev.Sync(w)
				}
				if errs[w] == nil {
					errs[w] = s.dev.ReadAt(w, off/2/sector*sector, got)
				}
			}
		})
	}
	all.Wait()
	for w, err := range errs {
		s.check(err)
		s.reads(w, 0, s.bytes(int(geo.ZoneSize), uint64(w)))
	}
}

func testRemoved(s *suite) {
	if s.m.Remove == nil {
		s.Skip("this medium cannot be removed")
	}
	s.fresh()
	s.append(0, 0, sector, 1)
	s.append(3, 0, sector, 1)
	s.check(s.dev.Sync(0, 3))
	s.check(s.dev.Check())
	s.check(s.m.Remove())
	s.want("check after removal", s.dev.Check(), holdall.ErrDiskFailed)
}

func testExclusive(s *suite) {
	if s.m.Shared {
		s.Skip("this backend locks nothing")
	}
	dev, err := s.m.Open()
	if err == nil {
		dev.Close()
	}
	s.want("a second open", err, holdall.ErrRefused)
	s.again() // the lock goes with the device
}

// testModel makes random calls and compares each outcome with what a plain list
// of bytes would do.
func testModel(s *suite) {
	seed := rand.Uint64()
	s.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s.fresh()
	m := model{suite: s, zones: map[int]*modelZone{}}
	for zone := range 8 {
		m.zones[zone] = &modelZone{}
	}
	for range 400 {
		m.step(r, r.IntN(8))
	}
	for zone, z := range m.zones {
		s.at(zone, z.ptr)
		if len(z.data) > 0 {
			s.reads(zone, 0, z.data)
		}
	}
}

type model struct {
	*suite
	zones map[int]*modelZone
}

type modelZone struct {
	data []byte
	ptr  int64
}

func (m *model) open() (n int) {
	for _, z := range m.zones {
		if z.ptr > 0 && z.ptr < geo.ZoneSize {
			n++
		}
	}
	return n
}

func (m *model) step(r *rand.Rand, zone int) {
	z := m.zones[zone]
	switch r.IntN(12) {
	case 0:
		m.check(m.dev.Reset(zone))
		*z = modelZone{}
	case 1:
		m.check(m.dev.Finish(zone))
		z.ptr = geo.ZoneSize
	case 2:
		m.check(m.dev.Sync(zone, r.IntN(8)))
	case 3:
		if len(z.data) > 0 {
			at := r.IntN(len(z.data)/sector) * sector
			m.reads(zone, int64(at), z.data[at:])
		}
	case 4:
		if !m.m.Forgets {
			m.again()
		}
	default:
		m.append(r, zone, z)
	}
}

func (m *model) append(r *rand.Rand, zone int, z *modelZone) {
	b := m.bytes((1+r.IntN(6))*sector, r.Uint64())
	err := m.dev.Append(zone, z.ptr, b)
	switch {
	case z.ptr+int64(len(b)) > geo.ZoneSize:
		m.want("append over the end", err, holdall.ErrInvalid)
	case z.ptr == 0 && m.open() >= geo.MaxOpen:
		m.want("one zone too many", err, holdall.ErrExhausted)
	default:
		m.check(err)
		z.data = append(z.data, b...)
		z.ptr += int64(len(b))
	}
}

var _ volume.Device = (*volume.DirDevice)(nil)
var _ volume.Device = (*volume.BlockDevice)(nil)
