package volume

import (
	"fmt"
	"sync"

	"github.com/holdall/holdall"
)

// zoneBook is the bookkeeping that the file backends share: where each zone's
// write pointer is, which zones are part-written, which have bytes that were
// not synced, and which must not be written. It does no I/O.
type zoneBook struct {
	path     string // for errors
	zoneSize int64
	zones    int
	maxOpen  int

	mu    sync.Mutex // guards all below
	known map[int]*zoneState
	open  int // zones with 0 < off < zoneSize, or being opened
}

// zoneState is one zone whose pointer is known.
type zoneState struct {
	off     int64
	writing bool  // an append is at work
	dirty   bool  // has bytes that no Sync covered
	broken  error // why it takes no more appends; a reset clears it
}

func newZoneBook(path string, geo Geometry) *zoneBook {
	return &zoneBook{path: path, zoneSize: geo.ZoneSize, zones: geo.Zones, maxOpen: geo.MaxOpen, known: map[int]*zoneState{}}
}

// fail makes an error that names the disk and the zone.
func (b *zoneBook) fail(zone int, kind error, format string, args ...any) error {
	return fmt.Errorf("disk %s: zone %d: %s: %w", b.path, zone, fmt.Sprintf(format, args...), kind)
}

func (b *zoneBook) checkZone(zone int) error {
	if zone < 0 || zone >= b.zones {
		return b.fail(zone, holdall.ErrInvalid, "no such zone, the disk has %d", b.zones)
	}
	return nil
}

// pointer returns the write pointer of zone, if it is known.
func (b *zoneBook) pointer(zone int) (int64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if z := b.known[zone]; z != nil {
		return z.off, true
	}
	return 0, false
}

// learn sets the pointer of a zone that is not known yet; of a known one it is
// ErrStale to name another.
func (b *zoneBook) learn(zone int, off int64) error {
	if err := b.checkZone(zone); err != nil {
		return err
	}
	if off < 0 || off > b.zoneSize || off%SectorSize != 0 {
		return b.fail(zone, holdall.ErrInvalid, "write pointer %d is not a sector of a zone of %d bytes", off, b.zoneSize)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if z := b.known[zone]; z != nil {
		if z.off != off {
			return b.fail(zone, holdall.ErrStale, "write pointer is %d, not %d", z.off, off)
		}
		return nil
	}
	b.known[zone] = &zoneState{}
	b.move(zone, off, false)
	return nil
}

// first sets the pointer of a zone that is not known yet to what its medium
// showed, and returns the pointer. Two may look at a zone for the first time at
// once; what the slower one saw is of the past when the faster one has gone on.
func (b *zoneBook) first(zone int, off int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if z := b.known[zone]; z != nil {
		return z.off
	}
	b.known[zone] = &zoneState{}
	b.move(zone, off, false)
	return off
}

// move sets the pointer of a known zone and counts the open ones. The caller
// holds b.mu.
func (b *zoneBook) move(zone int, off int64, writing bool) {
	z := b.known[zone]
	b.open -= b.isOpen(z)
	z.off, z.writing = off, writing
	b.open += b.isOpen(z)
}

func (b *zoneBook) isOpen(z *zoneState) int {
	if (z.off > 0 || z.writing) && z.off < b.zoneSize {
		return 1
	}
	return 0
}

// unwritten returns how many bytes the open zones still take until they are
// full.
func (b *zoneBook) unwritten() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var n int64
	for zone, z := range b.known {
		if zone >= superZones && b.isOpen(z) > 0 {
			n += b.zoneSize - z.off
		}
	}
	return n
}

// begin checks an append of n bytes at off, and claims the zone and, for the
// first append to it, a place among the open ones. Exactly one of end, cancel
// and breakZone follows.
func (b *zoneBook) begin(zone int, off, n int64) error {
	if err := b.checkZone(zone); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	z := b.known[zone]
	switch {
	case z == nil:
		return b.fail(zone, holdall.ErrInvalid, "append at %d before anyone said where the log ends", off)
	case z.broken != nil:
		return b.fail(zone, holdall.ErrDiskFailed, "takes no appends since: %v", z.broken)
	case z.writing:
		return b.fail(zone, holdall.ErrInvalid, "append at %d while another is at work", off)
	case off != z.off:
		return b.fail(zone, holdall.ErrStale, "append at %d, write pointer is %d", off, z.off)
	case n <= 0 || off+n > b.zoneSize:
		return b.fail(zone, holdall.ErrInvalid, "append of %d bytes at %d of a zone of %d", n, off, b.zoneSize)
	case off == 0 && b.maxOpen > 0 && b.open >= b.maxOpen:
		return b.fail(zone, holdall.ErrExhausted, "%d zones are open, the most that the disk allows", b.open)
	}
	b.move(zone, off, true)
	return nil
}

// end says that the n bytes of an append are written.
func (b *zoneBook) end(zone int, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	z := b.known[zone]
	z.dirty = true
	b.move(zone, z.off+n, false)
}

// cancel says that an append wrote nothing and changed nothing.
func (b *zoneBook) cancel(zone int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.move(zone, b.known[zone].off, false)
}

// breakZone closes zone to appends because of err.
func (b *zoneBook) breakZone(zone int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	z := b.known[zone]
	if z == nil {
		return
	}
	if z.broken == nil {
		z.broken = err
	}
	b.move(zone, z.off, false)
}

// set puts the pointer of zone, after a reset (which heals a broken zone) or a
// finish.
func (b *zoneBook) set(zone int, off int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known[zone] == nil {
		b.known[zone] = &zoneState{}
	}
	b.move(zone, off, false)
	if off == 0 {
		*b.known[zone] = zoneState{}
	}
}

// brokenBy returns why zone takes no appends, or nil.
func (b *zoneBook) brokenBy(zone int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if z := b.known[zone]; z != nil {
		return z.broken
	}
	return nil
}

// takeDirty returns which of zones (all of them, when none are named) have
// bytes that no sync covered, and counts those bytes as covered by the sync
// that the caller is about to make. If that fails the caller breaks them.
func (b *zoneBook) takeDirty(zones ...int) []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	var dirty []int
	if len(zones) == 0 {
		for zone, z := range b.known {
			if z.dirty {
				z.dirty = false
				dirty = append(dirty, zone)
			}
		}
		return dirty
	}
	for _, zone := range zones {
		if z := b.known[zone]; z != nil && z.dirty {
			z.dirty = false
			dirty = append(dirty, zone)
		}
	}
	return dirty
}

// checkRead checks a read of n bytes at off. Where the pointer is not known any
// place in the zone may be read.
func (b *zoneBook) checkRead(zone int, off, n int64) error {
	if err := b.checkZone(zone); err != nil {
		return err
	}
	end, known := b.pointer(zone)
	if !known {
		end = b.zoneSize
	}
	if off < 0 || n <= 0 || off+n > end {
		return b.fail(zone, holdall.ErrInvalid, "read of %d bytes at %d, the zone ends at %d", n, off, end)
	}
	return nil
}
