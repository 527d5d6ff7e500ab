package fsck

import (
	"errors"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// member is one place of a volume, as it is on its disk.
type member struct {
	index   int
	disk    *disk             // nil: the disk, or the extent, is not here
	extent  *extent           // nil with disk
	footer  *footer           // of a sealed extent, if it can be read
	headers map[uint64]uint32 // stripe → checksum of its record's header, of headers that were read
	end     int64             // how far the records are known
	stuck   bool              // at end is no header, and no other member says what should be there
}

// theVolume is a volume under check.
type theVolume struct {
	id      holdall.VolumeID
	scheme  holdall.Scheme
	row     *metadata.Volume // nil: metadata knows none
	last    uint64           // the last committed stripe
	members []*member
	stripes map[uint64]*holdall.Stripe // by number, as any member lists them
}

// at is a finding at an offset of a member's extent.
func (v *theVolume) at(m *member, kind string, stripe uint64, off int64) Finding {
	f := Finding{Kind: kind, Volume: v.id.String(), Member: m.index, Stripe: stripe, Offset: off, Zone: -1}
	if m.disk != nil {
		f.Disk, f.Path, f.Zone = m.disk.id.String(), m.disk.medium.path, m.disk.zoneOf(m.extent, off)
	} else if v.row != nil {
		f.Disk = v.row.Members[m.index].Disk.String()
	}
	return f
}

// about is a finding about the volume as a whole.
func (v *theVolume) about(kind string, stripe uint64) Finding {
	return Finding{Kind: kind, Volume: v.id.String(), Member: -1, Zone: -1, Stripe: stripe}
}

// gather finds the extents of a volume. It returns nil where there is nothing to
// check: the volume was freed, or its extents are all in trash.
func (c *checker) gather(id holdall.VolumeID) *theVolume {
	v := &theVolume{id: id, row: c.rows[id], stripes: map[uint64]*holdall.Stripe{}}
	if v.row != nil && v.row.State == holdall.VolumeFreed {
		return nil
	}
	placed := map[*extent]bool{}
	if v.row != nil {
		v.scheme, v.last = v.row.Scheme, v.row.Last
		for i := range v.row.Members {
			v.members = append(v.members, c.memberOf(v, i, placed))
		}
	}
	for _, d := range c.disks {
		for _, e := range d.extents {
			if e.id.Volume != id || e.trashed || placed[e] {
				continue
			}
			if v.row != nil || c.reader != nil {
				c.find(Finding{Kind: KindExtent, Disk: d.id.String(), Path: d.medium.path, Zone: d.zoneOf(e, 0), Volume: id.String(), Member: int(e.id.Member),
					Detail: fmt.Sprintf("extent %v is of no member that metadata knows", e.id)})
				continue
			}
			v.adopt(d, e) // metadata cannot be read: the disks alone tell
		}
	}
	if len(v.members) == 0 {
		return nil
	}
	return v
}

// memberOf finds the extent of member i of a volume with a row.
func (c *checker) memberOf(v *theVolume, i int, placed map[*extent]bool) *member {
	m := &member{index: i, headers: map[uint64]uint32{}}
	row := &v.row.Members[i]
	d := c.disks[row.Disk]
	if d == nil {
		if !c.gone[row.Disk] {
			c.find(v.at(m, KindExtent, 0, 0).say("its disk, %v, is not one of the cell's", row.Disk))
		}
		return m
	}
	e := d.extents[v.row.Extent(i)]
	switch {
	case e == nil && row.End == 0:
		return m // granted and not made, or made by nobody yet
	case e == nil:
		c.find(d.finding(KindExtent, -1).say("extent %v, member %d of volume %v, is not there", v.row.Extent(i), i, v.id))
		return m
	case e.trashed:
		c.find(d.finding(KindExtent, d.zoneOf(e, 0)).say("extent %v is in trash, its volume is %v", e.id, v.row.State))
	}
	placed[e] = true
	if e.scheme != v.scheme || e.limit != v.row.Limit {
		c.find(d.finding(KindExtent, d.zoneOf(e, 0)).say("extent %v has %v and limit %d, its volume %v and %d", e.id, e.scheme, e.limit, v.scheme, v.row.Limit))
	}
	m.disk, m.extent = d, e
	return m
}

// adopt takes an extent for its place in a volume without a row.
func (v *theVolume) adopt(d *disk, e *extent) {
	if v.members == nil {
		v.scheme, v.last = e.scheme, 1<<64-1
		for i := range e.scheme.N() {
			v.members = append(v.members, &member{index: i, headers: map[uint64]uint32{}})
		}
	}
	if e.sealed {
		v.last = min(v.last, e.last)
	}
	m := v.members[min(int(e.id.Member), len(v.members)-1)]
	if m.extent == nil || m.extent.id.Created < e.id.Created {
		m.disk, m.extent = d, e
	}
}

// readFooter reads the footer of a sealed extent.
func (c *checker) readFooter(v *theVolume, m *member) {
	e := m.extent
	if e != nil && !e.sealed && v.row != nil && v.row.State == holdall.VolumeSealed {
		m.disk.seekFooter(e, v.row.Members[m.index].End)
	}
	if e == nil || !e.sealed {
		return
	}
	buf := m.disk.medium.pool.Take(sector)
	defer buf.Release()
	read := func(off int64) error { return m.disk.read(e, off, buf.Bytes()) }
	if err := read(e.footer); err != nil {
		c.find(v.at(m, KindFooter, 0, e.footer).say("the footer cannot be read: %v", err))
		return
	}
	head := append([]byte(nil), buf.Bytes()...)
	var body []byte
	for off := e.footer + sector; off < e.footer+int64(e.footerSize); off += sector {
		if err := read(off); err != nil {
			c.find(v.at(m, KindFooter, 0, off).say("the footer cannot be read: %v", err))
			return
		}
		body = append(body, buf.Bytes()...)
	}
	f, err := parseFooter(head, body, m.disk, e, e.footer)
	if err != nil {
		c.find(v.at(m, KindFooter, 0, e.footer).say("the footer is bad: %v", err))
		return
	}
	if f.last != e.last || f.end != e.end {
		c.find(v.at(m, KindFooter, 0, e.footer).say("the footer says stripe %d, end %d; the superblock %d and %d", f.last, f.end, e.last, e.end))
	}
	m.footer = f
	for _, s := range f.stripes {
		c.list(v, m, s)
	}
}

// list adds a stripe to those of the volume; whoever lists it must say the same.
func (c *checker) list(v *theVolume, m *member, s *holdall.Stripe) {
	have := v.stripes[s.Number]
	if have == nil {
		v.stripes[s.Number] = s
		return
	}
	same := have.Epoch == s.Epoch
	for i := range s.Shards {
		same = same && have.Shards[i] == s.Shards[i]
	}
	if !same && s.Number <= v.last {
		off := s.Shards[holdall.MemberShard(s.Number, m.index, len(s.Shards))].Offset
		c.find(v.at(m, KindStripe, s.Number, off).say("this member lists the stripe with epoch %v at %v, another with epoch %v at %v", s.Epoch, s.Shards, have.Epoch, have.Shards))
	}
}

// walk follows the records of m by their headers from where it stopped. A bad
// header is stepped over where another member says what lies there. It returns
// whether it came further.
func (c *checker) walk(v *theVolume, m *member, places map[int64]*holdall.Stripe) bool {
	if m.extent == nil {
		return false
	}
	begin := m.end
	buf := m.disk.medium.pool.Take(sector)
	defer buf.Release()
	for m.end < c.recordsEnd(v, m) {
		err := m.disk.read(m.extent, m.end, buf.Bytes())
		var r *record
		if err == nil {
			r, err = parseRecord(buf.Bytes(), m.disk, m.extent, m.end)
		}
		if err == nil {
			c.list(v, m, &r.stripe)
			m.headers[r.stripe.Number] = r.sum
			m.end += holdall.RecordSize(r.length)
			continue
		}
		s := places[m.end]
		if s == nil {
			m.stuck = true
			break
		}
		// Whether the record is bad, or was never acknowledged, is told when its
		// stripe is checked.
		m.end += holdall.RecordSize(s.Shards[holdall.MemberShard(s.Number, m.index, len(s.Shards))].Length)
	}
	return m.end > begin
}

// recordsEnd is where the committed records of m end at most.
func (c *checker) recordsEnd(v *theVolume, m *member) int64 {
	switch {
	case v.row != nil:
		return v.row.Members[m.index].End
	case m.extent.sealed:
		return m.extent.end
	}
	return m.disk.capacity(m.extent)
}

// learn reads footers, then headers of all members, until nothing more is found.
func (c *checker) learn(v *theVolume) {
	for _, m := range v.members {
		c.readFooter(v, m)
	}
	for more := true; more; {
		more = false
		for _, m := range v.members {
			places := map[int64]*holdall.Stripe{}
			for _, s := range v.stripes {
				if p := s.Shards[holdall.MemberShard(s.Number, m.index, len(s.Shards))]; p.Length > 0 {
					places[p.Offset] = s
				}
			}
			more = c.walk(v, m, places) || more
		}
	}
}

// checkZones checks the header sector of every zone of m that was written.
func (c *checker) checkZones(v *theVolume, m *member) {
	if m.extent == nil {
		return
	}
	buf := m.disk.medium.pool.Take(sector)
	defer buf.Release()
	room := m.disk.medium.zone - sector
	end := c.recordsEnd(v, m)
	if m.extent.sealed {
		end = m.extent.footer + int64(m.extent.footerSize)
	}
	for place, zone := range m.extent.zones {
		if int64(place)*room >= end {
			break // given, and perhaps not written yet
		}
		err := m.disk.medium.read(zone, 0, buf.Bytes())
		if err == nil {
			err = checkZone(buf.Bytes(), m.disk, m.extent, place)
		}
		if err != nil {
			f := v.at(m, KindZone, 0, int64(place)*room).say("zone header: %v", err)
			f.Zone = zone
			c.find(f)
		}
	}
	if m.extent.sealed || v.row == nil {
		return
	}
	for off := end; off < m.disk.capacity(m.extent); off += sector {
		if err := m.disk.read(m.extent, off, buf.Bytes()); errors.Is(err, errEnd) || err == nil && zeros(buf.Bytes()) {
			break
		}
		c.mu.Lock()
		c.result.Dead += sector
		c.mu.Unlock()
	}
}
