package volume

import (
	"encoding/binary"

	"github.com/holdall/holdall"
)

// Offsets in the body of a checkpoint (docs/format/superblock.md): a head, the
// reason, a generation for each zone, then each extent followed by its zones.
const (
	cpZoneSize    = 0
	cpIncarnation = 8
	cpState       = 16
	cpReserved    = 17
	cpReason      = 18
	cpZones       = 20
	cpExtents     = 24
	cpSpare       = 28
	cpHead        = 32

	cxSealed     = 0
	cxTrashed    = 1
	cxMember     = 2
	cxReserved   = 3
	cxScheme     = 4
	cxVolume     = 8
	cxCreated    = 16
	cxEpoch      = 24
	cxLimit      = 32
	cxEnd        = 40
	cxLast       = 48
	cxFooter     = 56
	cxFooterSize = 64
	cxZones      = 68
	cxSize       = 72

	// checkpointPerZone is the most bytes a zone adds to a checkpoint: its
	// generation, its place in a list, and an extent of its own.
	checkpointPerZone = 4 + 4 + cxSize
)

// encodeCheckpoint returns the body of a checkpoint of c.
func encodeCheckpoint(c *catalog) []byte {
	le := binary.LittleEndian
	b := make([]byte, cpHead, cpHead+len(c.reason)+4*len(c.gens)+len(c.extents)*(cxSize+16))
	le.PutUint64(b[cpZoneSize:], uint64(c.ident.ZoneSize))
	le.PutUint64(b[cpIncarnation:], c.incarnation)
	b[cpState] = byte(c.state)
	le.PutUint16(b[cpReason:], uint16(len(c.reason)))
	le.PutUint32(b[cpZones:], uint32(len(c.gens)))
	le.PutUint32(b[cpExtents:], uint32(len(c.extents)))
	b = append(b, c.reason...)
	for _, g := range c.gens {
		b = le.AppendUint32(b, g)
	}
	var x [cxSize]byte
	for _, e := range c.sorted() {
		clear(x[:])
		x[cxSealed], x[cxTrashed], x[cxMember] = asByte(e.sealed), asByte(e.trashed), e.id.Member
		putScheme(x[cxScheme:], e.scheme)
		le.PutUint64(x[cxVolume:], uint64(e.id.Volume))
		le.PutUint64(x[cxCreated:], uint64(e.id.Created))
		le.PutUint64(x[cxEpoch:], uint64(e.epoch))
		le.PutUint64(x[cxLimit:], uint64(e.limit))
		if e.sealed { // an open extent's end is found in its records
			le.PutUint64(x[cxEnd:], uint64(e.end))
			le.PutUint64(x[cxLast:], e.last)
			le.PutUint64(x[cxFooter:], uint64(e.footer))
			le.PutUint32(x[cxFooterSize:], e.footerSize)
		}
		le.PutUint32(x[cxZones:], uint32(len(e.zones)))
		b = append(b, x[:]...)
		for _, z := range e.zones {
			b = le.AppendUint32(b, z)
		}
	}
	return b
}

func asByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// parseCheckpoint reads the body of a checkpoint frame. Its errors wrap
// ErrCorrupt. It rebuilds the catalog through check and apply, so a checkpoint
// can say nothing that a log could not.
func parseCheckpoint(f *frame, b []byte) (*catalog, error) {
	le := binary.LittleEndian
	if len(b) < cpHead || len(b) != int(f.body) || checksum(b) != f.bodySum {
		return nil, malformed("superblock checkpoint %d: checksum of its body differs", f.sequence)
	}
	c := newCatalog(Identity{Cell: f.cell, Disk: f.disk, ZoneSize: int64(le.Uint64(b[cpZoneSize:]))})
	reason, zones, extents := int(le.Uint16(b[cpReason:])), int64(le.Uint32(b[cpZones:])), int64(le.Uint32(b[cpExtents:]))
	switch {
	case b[cpReserved] != 0 || le.Uint32(b[cpSpare:]) != 0:
		return nil, malformed("superblock checkpoint: reserved bytes are not zero")
	case c.ident.ZoneSize < MinZoneSize || c.ident.ZoneSize > MaxExtentBytes || c.ident.ZoneSize%SectorSize != 0:
		return nil, malformed("superblock checkpoint: zone size %d", c.ident.ZoneSize)
	case reason > maxReason || zones > maxZones || cpHead+int64(reason)+4*zones+extents*cxSize > int64(len(b)):
		return nil, malformed("superblock checkpoint of %d bytes: %d zones, %d extents", len(b), zones, extents)
	}
	head, rest := b[:cpHead], b[cpHead:]
	state := change{kind: changeState, state: holdall.DiskState(head[cpState]), reason: string(rest[:reason])}
	if err := c.check(&state); err != nil {
		return nil, err
	}
	c.apply(&state)
	c.incarnation = le.Uint64(head[cpIncarnation:])
	rest = rest[reason:]
	gens := make([]uint32, zones)
	for i := range gens {
		gens[i] = le.Uint32(rest[4*i:])
	}
	rest = rest[4*zones:]
	for range extents {
		var err error
		if rest, err = c.parseExtent(rest, gens); err != nil {
			return nil, err
		}
	}
	if len(rest) != 0 {
		return nil, malformed("superblock checkpoint: %d bytes after the last extent", len(rest))
	}
	c.gens = gens
	return c, nil
}

// parseExtent reads one extent and its zones from b, and returns what follows.
func (c *catalog) parseExtent(b []byte, gens []uint32) ([]byte, error) {
	if len(b) < cxSize {
		return nil, malformed("superblock checkpoint: extent of %d bytes", len(b))
	}
	le := binary.LittleEndian
	id := holdall.ExtentID{Volume: holdall.VolumeID(le.Uint64(b[cxVolume:])), Member: b[cxMember], Created: holdall.Epoch(le.Uint64(b[cxCreated:]))}
	epoch := holdall.Epoch(le.Uint64(b[cxEpoch:]))
	made := change{kind: changeExtent, extent: id, epoch: epoch, limit: int64(le.Uint64(b[cxLimit:])),
		scheme: holdall.Scheme{Kind: holdall.SchemeKind(b[cxScheme]), Data: b[cxScheme+1], Local: b[cxScheme+2], Global: b[cxScheme+3]}}
	sealed := change{kind: changeSealed, extent: id, epoch: epoch, end: int64(le.Uint64(b[cxEnd:])), last: le.Uint64(b[cxLast:]),
		footer: int64(le.Uint64(b[cxFooter:])), footerSize: le.Uint32(b[cxFooterSize:])}
	zones := int64(le.Uint32(b[cxZones:]))
	switch {
	case b[cxSealed] > 1 || b[cxTrashed] > 1 || b[cxReserved] != 0 || (b[cxSealed] == 0 && !allZero(b[cxEnd:cxZones])):
		return nil, malformed("superblock checkpoint: extent %v: flags", id)
	case zones*4 > int64(len(b)-cxSize):
		return nil, malformed("superblock checkpoint: extent %v with %d zones", id, zones)
	}
	changes := []change{made}
	for i := range uint32(zones) {
		z := le.Uint32(b[cxSize+4*i:])
		if int64(z) >= int64(len(gens)) || gens[z] == 0 {
			return nil, malformed("superblock checkpoint: zone %d of %v was never given", z, id)
		}
		changes = append(changes, change{kind: changeZone, extent: id, zone: z, place: i, generation: 1})
	}
	if b[cxSealed] == 1 {
		changes = append(changes, sealed)
	}
	if b[cxTrashed] == 1 {
		changes = append(changes, change{kind: changeTrashed, extent: id})
	}
	for i := range changes {
		if err := c.check(&changes[i]); err != nil {
			return nil, err
		}
		c.apply(&changes[i])
	}
	return b[cxSize+4*zones:], nil
}
