package fsck

import (
	"cmp"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/volume"
)

// given is what the header of a zone says that the zone was given as.
type given struct {
	id     holdall.ExtentID
	zone   int
	gen    uint32
	place  int
	scheme holdall.Scheme
	limit  int64
}

// readLost finds zones that the newest entry of the superblock log gave, and
// that rotted since: by their headers, which have a higher generation than the
// log. A zone that fits is read as what its header says, as the next start of
// the disk does it, so that what it holds is not taken for missing.
func (d *disk) readLost() []Finding {
	zones, err := d.freeZones()
	if err != nil {
		return []Finding{d.finding(KindSuperblock, -1).say("zones without an owner: %v", err)}
	}
	var found []given
	for _, zone := range zones {
		if g, ok := d.given(zone); ok && g.gen > d.gens[zone] {
			found = append(found, g)
		}
	}
	slices.SortFunc(found, func(a, b given) int {
		return cmp.Or(cmp.Compare(a.id.Volume, b.id.Volume), cmp.Compare(a.id.Member, b.id.Member), cmp.Compare(a.id.Created, b.id.Created), a.place-b.place)
	})
	var findings []Finding
	for _, g := range found {
		f := d.finding(KindSuperblock, g.zone)
		if why := d.restore(g); why != "" {
			f = f.say("it is free by the superblock, and by its header place %d of extent %v, generation %d: %s", g.place, g.id, g.gen, why)
		} else {
			f = f.say("the entry that gave it to extent %v is lost; its header tells, and the next start restores it", g.id)
		}
		findings = append(findings, f)
	}
	return findings
}

// freeZones returns the zones that may have bytes and have no owner.
func (d *disk) freeZones() ([]int, error) {
	owned := map[int]bool{0: true, 1: true}
	for _, e := range d.extents {
		for _, z := range e.zones {
			owned[z] = true
		}
	}
	var zones []int
	if d.medium.dir {
		files, err := filepath.Glob(filepath.Join(d.medium.path, "zone-*"))
		for _, name := range files {
			if z, e := strconv.Atoi(strings.TrimPrefix(filepath.Base(name), "zone-")); e == nil && z >= 0 && !owned[z] {
				zones = append(zones, z)
			}
		}
		return zones, err
	}
	end, err := d.medium.file.Seek(0, io.SeekEnd)
	for z := range int(end / d.medium.zone) {
		if !owned[z] {
			zones = append(zones, z)
		}
	}
	return zones, err
}

// given reads the header of zone. ok is false where there is none of this disk:
// in a zone without an owner that is no fault.
func (d *disk) given(zone int) (given, bool) {
	buf := d.medium.pool.Take(sector)
	defer buf.Release()
	b := buf.Bytes()
	if err := d.medium.read(zone, 0, b); err != nil || string(b[:8]) != volume.ZoneMagic || sum(b[:sector-4]) != u32(b, sector-4) || u16(b, 8) != volume.FormatVersion {
		return given{}, false
	}
	g := given{
		id:   holdall.ExtentID{Volume: holdall.VolumeID(u64(b, 48)), Member: b[10], Created: holdall.Epoch(u64(b, 56))},
		zone: zone, gen: u32(b, 68), place: int(u32(b, 12)), scheme: scheme(b[88:92]), limit: int64(u64(b, 80)),
	}
	ours := holdall.CellID(b[16:32]) == d.cell && holdall.DiskID(b[32:48]) == d.id
	return g, ours && int(u32(b, 64)) == zone && int64(u64(b, 72)) == d.medium.zone && g.scheme.Validate() == nil
}

// restore gives the zone of g to its extent, or says why it does not fit.
func (d *disk) restore(g given) string {
	e := d.extents[g.id]
	switch {
	case g.gen != d.gens[g.zone]+1:
		return "the superblock has generation " + strconv.Itoa(int(d.gens[g.zone]))
	case e == nil && g.place != 0:
		return "there is no such extent"
	case e == nil:
		e = &extent{id: g.id, scheme: g.scheme, epoch: g.id.Created, limit: g.limit}
		d.extents[g.id] = e
	case e.sealed || e.trashed:
		return "the extent is sealed or trashed"
	case g.place != len(e.zones) || g.scheme != e.scheme || g.limit != e.limit:
		return "the extent differs"
	}
	e.zones, d.gens[g.zone] = append(e.zones, g.zone), g.gen
	return ""
}
