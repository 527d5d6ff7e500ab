package volume

import (
	"fmt"
	"slices"
)

// A zone is given by a superblock entry that is durable before anything is
// written to the zone, and the zone's header carries the generation of that
// entry. So a header with a higher generation than the superblock log knows is
// nothing that a crash leaves: it proves that the entry was there and is lost.
// Only the log's last entry can be lost unnoticed, for it looks like one that a
// crash tore; what it gave may hold acknowledged bytes.

// maxLost is how many headers a start reads at most to find what a lost last
// entry gave: zones are given from the lowest on, a group of appends takes about
// one for each, and 64 seeks are half a second.
const maxLost = maxGroup

// fewLost is how many are looked at on a device that does not know its write
// pointers, when the log ends cleanly: an entry that never landed, and left
// nothing behind, shows by the lowest free zone. More would slow every start.
const fewLost = 8

// maxUnreadable is how many headers of free zones may be unreadable in a row
// before it is the disk that has failed, and not a place on it.
const maxUnreadable = 8

// claim reads the header of a zone that has no owner. It returns nil unless the
// header is of this disk and has a higher generation than known, the one that
// the superblock log has. An error means that the header could not be read. b
// is a sector to read into.
func (d *Disk) claim(zone, known uint32, b []byte) (*ZoneHeader, error) {
	if at, ok := d.dev.WritePointer(int(zone)); ok && at < SectorSize {
		return nil, nil
	}
	if err := d.dev.ReadAt(int(zone), 0, b); err != nil {
		return nil, fmt.Errorf("disk %v: read header of zone %d: %w", d.ident.Disk, zone, err)
	}
	var h ZoneHeader
	if err := h.Decode(b); err != nil || h.Cell != d.ident.Cell || h.Disk != d.ident.Disk || h.Zone != zone || h.ZoneSize != d.ident.ZoneSize || h.Generation <= known {
		return nil, nil
	}
	return &h, nil
}

// restoreLost looks for zones that a lost last entry gave, and gives them again
// to the extents that their headers name; the next checkpoint, which precedes
// any entry, makes it durable. What does not fit the rest of the superblock is
// kept out of use. It runs before the disk is used, and writes nothing.
func (d *Disk) restoreLost(torn bool) {
	buf := d.cfg.Pool.Take(SectorSize)
	defer buf.Release()
	var found []ZoneHeader
	for _, z := range d.suspects(torn) {
		h, err := d.claim(z, d.cat.generation(z), buf.Bytes())
		if err != nil {
			d.log.Warn("header of a free zone cannot be read", "zone", z, "error", err)
		} else if h != nil {
			found = append(found, *h)
		}
	}
	slices.SortFunc(found, func(a, b ZoneHeader) int {
		if c := compareExtents(a.Extent, b.Extent); c != 0 {
			return c
		}
		return int(a.Place) - int(b.Place)
	})
	for i := range found {
		h := &found[i]
		if err := d.adopt(h); err != nil {
			d.held.add(h.Zone)
			d.keep(h.Zone, fmt.Sprintf("it is place %d of extent %v by its header: %v", h.Place, h.Extent, err))
			continue
		}
		d.m.faults.Inc()
		d.addNote(fmt.Sprintf("superblock: the entry that gave zone %d to extent %v is lost; restored from the zone's header", h.Zone, h.Extent))
		d.log.Error("superblock entry is lost: zone restored from its header", "zone", h.Zone, "extent", h.Extent.String(), "place", h.Place, "generation", h.Generation)
	}
}

// suspects returns the zones without an owner that a lost entry may have given.
// A device that knows its pointers shows which have bytes. On one that does
// not, the lowest are looked at, and few if the log ends cleanly: a start must
// not read every header, and the others are looked at when they are given.
func (d *Disk) suspects(torn bool) []uint32 {
	var zones []uint32
	total := uint32(d.usableZones(d.dev.Geometry()))
	given := uint32(len(d.cat.gens))
	for z := uint32(superZones); z < min(total, given+maxFrameChanges) && len(zones) < maxLost; z++ {
		if d.cat.owned.has(z) {
			continue
		}
		at, known := d.dev.WritePointer(int(z))
		if (known && at >= SectorSize) || (!known && (torn || len(zones) < fewLost)) {
			zones = append(zones, z)
		}
	}
	return zones
}

// adopt gives the zone of h to the extent that h names, or says why h does not
// fit.
func (d *Disk) adopt(h *ZoneHeader) error {
	e := d.cat.extents[h.Extent]
	made := change{kind: changeExtent, extent: h.Extent, scheme: h.Scheme, epoch: h.Extent.Created, limit: h.Limit}
	given := change{kind: changeZone, extent: h.Extent, zone: h.Zone, generation: h.Generation, place: h.Place}
	switch {
	case e == nil && h.Place != 0:
		return malformed("there is no such extent")
	case h.Generation != d.cat.generation(h.Zone)+1:
		return malformed("its generation is %d, the superblock has %d", h.Generation, d.cat.generation(h.Zone))
	case e == nil:
		if err := d.cat.check(&made); err != nil {
			return err
		}
		d.cat.apply(&made)
	case e.scheme != h.Scheme || e.limit != h.Limit:
		return malformed("the extent is of %v with at most %d bytes, the header says %v and %d", e.scheme, e.limit, h.Scheme, h.Limit)
	case e.sealed || e.trashed:
		return malformed("the extent is sealed or trashed, and takes no more zones")
	}
	if err := d.cat.check(&given); err != nil {
		return err
	}
	d.cat.apply(&given)
	return nil
}

// keep reports a zone that is held for good.
func (d *Disk) keep(zone uint32, why string) {
	d.m.faults.Inc()
	d.addNote(fmt.Sprintf("zone %d is free by the superblock and kept out of use: %s", zone, why))
	d.log.Error("zone is kept out of use: free by the superblock, not by its header", "zone", zone, "reason", why)
}

// maxNote is how long a disk's note gets: a screen for an operator. The log has
// the rest.
const maxNote = 2 << 10

// addNote adds to what Status notes.
func (d *Disk) addNote(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.note != "" {
		s = d.note + "; " + s
	}
	if len(s) <= maxNote {
		d.note = s
	}
}

// nextFree holds the lowest zone below total that may be given. Only the writer
// calls it.
func (d *Disk) nextFree(total uint32) (uint32, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ; d.lowest < total; d.lowest++ {
		if z := d.lowest; !d.cat.owned.has(z) && !d.held.has(z) {
			d.held.add(z)
			d.lowest++
			return z, true
		}
	}
	return 0, false
}

// empty resets a held zone without an owner. ok is false when it must not be
// given: it stays held, and is reported, with err where its header could not be
// read. An error while ok is true says nothing of the zone: the disk has stopped,
// or is full.
func (d *Disk) empty(zone uint32) (ok bool, err error) {
	buf := d.cfg.Pool.Take(SectorSize)
	defer buf.Release()
	d.mu.RLock()
	known := d.cat.generation(zone)
	d.mu.RUnlock()
	h, err := d.claim(zone, known, buf.Bytes())
	switch {
	case err != nil && d.dev.Check() != nil:
		return true, d.broken(err)
	case err != nil:
		d.keep(zone, err.Error())
		return false, err
	case h != nil:
		d.keep(zone, fmt.Sprintf("generation %d, given to extent %v by its header; the superblock has %d", h.Generation, h.Extent, known))
		return false, nil
	}
	if err := d.dev.Reset(int(zone)); err != nil {
		return true, d.broken(fmt.Errorf("disk %v: reset zone %d: %w", d.ident.Disk, zone, err))
	}
	return true, nil
}
