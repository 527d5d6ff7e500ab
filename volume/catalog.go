package volume

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/holdall/holdall"
)

// catalog is what a disk knows of itself: the state that the superblock log
// keeps. It does no I/O. It is changed only by apply, which the log's reader
// and the disk's writer share.
type catalog struct {
	ident       Identity
	incarnation uint64
	state       holdall.DiskState
	reason      string   // why state is not active
	gens        []uint32 // by zone: how often it was given; short of the zones never given
	extents     map[holdall.ExtentID]*extent
	owned       zoneSet // zones of the superblock and of extents
}

// extent is one extent as the catalog knows it, and, while it is open, what its
// disk holds in memory for it. Fields below ID are guarded by Disk.mu; only the
// disk's writer changes them, so it alone may read them without.
type extent struct {
	id         holdall.ExtentID
	scheme     holdall.Scheme
	limit      int64
	epoch      holdall.Epoch // the highest it was fenced to
	sealed     bool          // has its footer; last, end, footer, footerSize hold
	trashed    bool
	last       uint64
	end        int64
	footer     int64
	footerSize uint32
	zones      []uint32
	open       *openExtent    // until sealed
	pins       sync.WaitGroup // reads in flight; added to only while the catalog lists the extent
}

func newCatalog(ident Identity) *catalog {
	c := &catalog{ident: ident, state: holdall.DiskActive, extents: map[holdall.ExtentID]*extent{}}
	for z := range uint32(superZones) {
		c.owned.add(z)
	}
	return c
}

// check says what keeps ch from being applied, or returns nil. Its errors wrap
// ErrCorrupt: in a log that was read they mean that bytes are wrong.
func (c *catalog) check(ch *change) error {
	e := c.extents[ch.extent]
	switch ch.kind {
	case changeState:
		if ch.state < holdall.DiskActive || ch.state > holdall.DiskRemoved {
			return malformed("disk state %d", ch.state)
		}
		return nil
	case changeIncarnation:
		if ch.incarnation < c.incarnation {
			return malformed("incarnation %d after %d", ch.incarnation, c.incarnation)
		}
		return nil
	case changeExtent:
		if e != nil {
			return malformed("extent %v made twice", ch.extent)
		}
		return checkExtent(ch.extent, ch.scheme, ch.limit)
	}
	if e == nil {
		return malformed("change of kind %d to extent %v, which does not exist", ch.kind, ch.extent)
	}
	switch ch.kind {
	case changeZone:
		return c.checkZone(e, ch)
	case changeEpoch:
		if ch.epoch < e.epoch {
			return malformed("extent %v: epoch %v after %v", e.id, ch.epoch, e.epoch)
		}
	case changeSealed:
		return c.checkSealed(e, ch)
	}
	return nil
}

func checkExtent(id holdall.ExtentID, s holdall.Scheme, limit int64) error {
	if err := s.Validate(); err != nil {
		return malformed("extent %v: %v", id, err)
	}
	if int(id.Member) >= s.N() || id.Volume == 0 || limit <= 0 || limit > MaxExtentBytes {
		return malformed("extent %v: of %v with at most %d bytes", id, s, limit)
	}
	return nil
}

func (c *catalog) checkZone(e *extent, ch *change) error {
	switch {
	case ch.zone < superZones || ch.zone >= maxZones:
		return malformed("zone %d given to %v", ch.zone, e.id)
	case c.owned.has(ch.zone):
		return malformed("zone %d given to %v while it has an owner", ch.zone, e.id)
	case int(ch.place) != len(e.zones):
		return malformed("zone %d is place %d of %v, which has %d", ch.zone, ch.place, e.id, len(e.zones))
	case ch.generation != c.generation(ch.zone)+1:
		return malformed("zone %d given under generation %d after %d", ch.zone, ch.generation, c.generation(ch.zone))
	}
	return nil
}

// checkSealed bounds the footer by the most stripes a volume has and by the
// extent's zones, which it was given before its footer was written: a reader
// takes that much memory for it, and looks for it there.
func (c *catalog) checkSealed(e *extent, ch *change) error {
	switch {
	case e.sealed && (ch.epoch != e.epoch || ch.last != e.last || ch.end != e.end || ch.footer != e.footer || ch.footerSize != e.footerSize):
		return malformed("extent %v sealed twice", e.id) // the same twice is what a checkpoint between the two leaves
	case ch.epoch < e.epoch:
		return malformed("extent %v sealed under epoch %v after %v", e.id, ch.epoch, e.epoch)
	case !validOffset(uint64(ch.end)) || !validOffset(uint64(ch.footer)) || ch.end > ch.footer || ch.footerSize%SectorSize != 0 || ch.footerSize == 0:
		return malformed("extent %v: records end at %d, footer of %d bytes at %d", e.id, ch.end, ch.footerSize, ch.footer)
	case int64(ch.footerSize) > FooterSize(holdall.MaxVolumeStripes, e.scheme.N()):
		return malformed("extent %v: footer of %d bytes, the longest of %v has %d", e.id, ch.footerSize, e.scheme, FooterSize(holdall.MaxVolumeStripes, e.scheme.N()))
	case ch.footer+int64(ch.footerSize) > int64(len(e.zones))*(c.ident.ZoneSize-SectorSize):
		return malformed("extent %v: footer of %d bytes at %d, beyond its %d zones", e.id, ch.footerSize, ch.footer, len(e.zones))
	}
	return nil
}

// maxZones bounds zone numbers, and so the memory a hostile superblock can ask
// for: 16 Mi zones, 4 PiB of 256 MiB zones.
const maxZones = 1 << 24

func (c *catalog) generation(zone uint32) uint32 {
	if int(zone) < len(c.gens) {
		return c.gens[zone]
	}
	return 0
}

// apply makes a change that check allows. Freed zones lose their owner here;
// that they must be reset before they are given again is the caller's to see
// to.
func (c *catalog) apply(ch *change) {
	e := c.extents[ch.extent]
	switch ch.kind {
	case changeExtent:
		c.extents[ch.extent] = &extent{id: ch.extent, scheme: ch.scheme, limit: ch.limit, epoch: ch.epoch}
	case changeZone:
		if int(ch.zone) >= len(c.gens) {
			c.gens = append(c.gens, make([]uint32, int(ch.zone)+1-len(c.gens))...)
		}
		c.gens[ch.zone] = ch.generation
		c.owned.add(ch.zone)
		e.zones = append(e.zones, ch.zone)
	case changeEpoch:
		e.epoch = ch.epoch
	case changeSealed:
		e.sealed, e.epoch, e.last, e.end, e.footer, e.footerSize = true, ch.epoch, ch.last, ch.end, ch.footer, ch.footerSize
	case changeTrashed:
		e.trashed = true
	case changeFreed:
		for _, z := range e.zones {
			c.owned.remove(z)
		}
		delete(c.extents, ch.extent)
	case changeState:
		c.state, c.reason = ch.state, ch.reason
	case changeIncarnation:
		c.incarnation = ch.incarnation
	}
}

// sorted returns the extents in the order of their ids.
func (c *catalog) sorted() []*extent {
	return slices.SortedFunc(maps.Values(c.extents), func(a, b *extent) int { return compareExtents(a.id, b.id) })
}

func compareExtents(a, b holdall.ExtentID) int {
	for _, d := range [3][2]uint64{{uint64(a.Volume), uint64(b.Volume)}, {uint64(a.Member), uint64(b.Member)}, {uint64(a.Created), uint64(b.Created)}} {
		if d[0] != d[1] {
			if d[0] < d[1] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// zoneSet is a set of zone numbers. The zero zoneSet is empty.
type zoneSet struct {
	bits  []uint64
	count int
}

func (s *zoneSet) has(z uint32) bool {
	return int(z/64) < len(s.bits) && s.bits[z/64]&(1<<(z%64)) != 0
}

func (s *zoneSet) add(z uint32) {
	invariant(!s.has(z), fmt.Sprintf("zone %d added twice", z))
	if int(z/64) >= len(s.bits) {
		s.bits = append(s.bits, make([]uint64, int(z/64)+1-len(s.bits))...)
	}
	s.bits[z/64] |= 1 << (z % 64)
	s.count++
}

func (s *zoneSet) remove(z uint32) {
	invariant(s.has(z), fmt.Sprintf("zone %d removed, not there", z))
	s.bits[z/64] &^= 1 << (z % 64)
	s.count--
}
