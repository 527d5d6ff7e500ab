package faultdisk

import (
	"fmt"

	"github.com/holdall/holdall/volume"
)

const sector = volume.SectorSize

// tearUnit is the smallest part of a write that a crash keeps or loses, in
// bytes: disks with sectors of 4 KiB may be built of smaller ones.
const tearUnit = 512

// medium is what one disk holds. It is a single-threaded value: the live disk
// and the replay of a trace both apply ops to one. Sectors are never changed in
// place, so media share them; zones are copied before they are first changed.
type medium struct {
	zoneSize int64
	zones    map[int]*zone
}

// zone is one zone of a medium. Sectors past the end of the slices, and nil
// ones, are zeros. A reset leaves the old sectors where they are, as real disks
// do: only the pointer says that they mean nothing.
type zone struct {
	owner    *medium  // who may change it; nil = copy first
	durable  [][]byte // by sector: what survives a power cut
	volatile [][]byte // by sector: what reads see
	kept     int64    // the write pointer that survives a power cut, unless unsynced writes move it
	ptr      int64    // the write pointer
	pending  []Write  // written, not synced, in order
	bad      map[int64]bool
}

// Write is an append that has not been synced.
type Write struct {
	Disk int
	Zone int
	Off  int64
	Len  int64
	seq  int64 // place of the append among all calls of the array
}

func newMedium(zoneSize int64) *medium {
	return &medium{zoneSize: zoneSize, zones: map[int]*zone{}}
}

// clone returns a medium with the same contents. Both copy a zone before they
// change it.
func (m *medium) clone() *medium {
	c := newMedium(m.zoneSize)
	for n, z := range m.zones {
		if z.owner != nil { // not written otherwise: clones may be read elsewhere
			z.owner = nil
		}
		c.zones[n] = z
	}
	return c
}

// zone returns zone n for reading.
func (m *medium) zone(n int) *zone {
	if z := m.zones[n]; z != nil {
		return z
	}
	return &zone{}
}

// change returns zone n for changing.
func (m *medium) change(n int) *zone {
	z := m.zones[n]
	if z != nil && z.owner == m {
		return z
	}
	c := &zone{owner: m}
	if z != nil {
		*c = *z
		c.owner = m
		c.durable = append([][]byte(nil), z.durable...)
		c.volatile = append([][]byte(nil), z.volatile...)
		c.pending = append([]Write(nil), z.pending...)
		c.bad = nil
		for s := range z.bad {
			c.spoil(s)
		}
	}
	m.zones[n] = c
	return c
}

func (z *zone) spoil(s int64) {
	if z.bad == nil {
		z.bad = map[int64]bool{}
	}
	z.bad[s] = true
}

// put stores sectors at off in both copies, or only in the volatile one.
func (z *zone) put(off int64, sectors [][]byte, durable bool) {
	first := int(off / sector)
	if durable {
		z.durable = store(z.durable, first, sectors)
	}
	z.volatile = store(z.volatile, first, sectors)
}

func store(to [][]byte, first int, sectors [][]byte) [][]byte {
	for len(to) < first+len(sectors) {
		to = append(to, nil)
	}
	copy(to[first:], sectors)
	return to
}

func at(sectors [][]byte, i int64) []byte {
	if i < int64(len(sectors)) {
		return sectors[i]
	}
	return nil
}

// apply makes op happen.
func (m *medium) apply(op *Op) {
	z := m.change(op.Zone)
	switch op.Kind {
	case OpAppend:
		m.append(z, op)
	case OpSync:
		z.sync(op.covers)
	case OpReset:
		*z = zone{owner: m, durable: z.durable, volatile: z.volatile}
	case OpFinish:
		z.ptr, z.kept = m.zoneSize, m.zoneSize
	}
}

func (m *medium) append(z *zone, op *Op) {
	n := int64(len(op.sectors)) * sector
	switch op.effect {
	case Lose: // the pointer moves; the bytes are nowhere
	case Misdirect:
		m.change(op.toZone).put(op.toOff, op.sectors, true)
	default:
		z.put(op.Off, op.sectors, false)
	}
	z.ptr = op.Off + n
	z.pending = append(z.pending, Write{Disk: op.Disk, Zone: op.Zone, Off: op.Off, Len: n, seq: op.seq})
}

// sync makes the pending writes before the call covers durable.
func (z *zone) sync(covers int64) {
	rest := z.pending[:0]
	for _, w := range z.pending {
		if w.seq >= covers {
			rest = append(rest, w)
			continue
		}
		z.land(w, Fate{To: w.Len})
	}
	z.pending = rest
}

// land makes the part of w that fate names durable. A torn sector is part new,
// part old.
func (z *zone) land(w Write, f Fate) {
	for from := f.From; from < f.To; {
		s := (w.Off + from) / sector
		end := min((s+1)*sector-w.Off, f.To)
		now := at(z.volatile, s)
		if end-from < sector {
			mixed := make([]byte, sector)
			copy(mixed, at(z.durable, s))
			lo, hi := (w.Off+from)%sector, (w.Off+from)%sector+end-from
			if now == nil {
				clear(mixed[lo:hi])
			} else {
				copy(mixed[lo:hi], now[lo:hi])
			}
			now = mixed
		}
		z.durable = store(z.durable, int(s), [][]byte{now})
		from = end
	}
	if f.To > f.From {
		end := (w.Off + f.To + sector - 1) / sector * sector
		z.kept = max(z.kept, end)
	}
}

// writes returns the pending writes of all zones.
func (m *medium) writes() []Write {
	var all []Write
	for _, z := range m.zones {
		all = append(all, z.pending...)
	}
	return all
}

// crash cuts the power: each pending write meets its fate, and the durable copy
// is all that is left. With long pointers, a zone whose bytes were lost still
// has the pointer that it had, as a filesystem may keep a file's new length
// without its bytes.
func (m *medium) crash(fates map[int64]Fate, long bool) {
	for n, z := range m.zones {
		if len(z.pending) == 0 {
			continue
		}
		z = m.change(n)
		for _, w := range z.pending {
			z.land(w, fates[w.seq])
		}
		if long {
			z.kept = z.ptr
		}
		z.ptr, z.pending = z.kept, nil
		z.volatile = append([][]byte(nil), z.durable...)
	}
}

// read fills buf from the volatile copy, and says which sector could not be
// read.
func (m *medium) read(n int, off int64, buf []byte) error {
	z := m.zone(n)
	for i := 0; i < len(buf); i += sector {
		s := (off + int64(i)) / sector
		if z.bad[s] {
			return fmt.Errorf("sector at %d is unreadable", s*sector)
		}
		if b := at(z.volatile, s); b != nil {
			copy(buf[i:i+sector], b)
		} else {
			clear(buf[i : i+sector])
		}
	}
	return nil
}

// split copies bufs into sectors of their own.
func split(bufs [][]byte) [][]byte {
	n := 0
	for _, b := range bufs {
		n += len(b)
	}
	all := make([]byte, 0, n)
	for _, b := range bufs {
		all = append(all, b...)
	}
	sectors := make([][]byte, 0, n/sector)
	for ; len(all) > 0; all = all[sector:] {
		sectors = append(sectors, all[:sector:sector])
	}
	return sectors
}
