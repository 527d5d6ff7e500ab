package volume

import (
	"encoding/binary"

	"github.com/holdall/holdall"
)

// Offsets in a zone's header sector (docs/format/zone.md).
const (
	zhVersion    = 8
	zhMember     = 10
	zhReserved   = 11
	zhPlace      = 12
	zhCell       = 16
	zhDisk       = 32
	zhVolume     = 48
	zhCreated    = 56
	zhZone       = 64
	zhGeneration = 68
	zhZoneSize   = 72
	zhLimit      = 80
	zhScheme     = 88
	zhEnd        = 92
)

// Proof that the header fits its sector.
const _ = uint(sectorSum - zhEnd)

// ZoneHeader is the first sector of a zone that belongs to an extent. The
// superblock log says the same; the header is what remains when that is lost.
type ZoneHeader struct {
	Cell       holdall.CellID
	Disk       holdall.DiskID
	Zone       uint32
	Generation uint32 // how often the zone was given to an extent
	ZoneSize   int64
	Extent     holdall.ExtentID
	Place      uint32 // 0 = the extent's first zone
	Scheme     holdall.Scheme
	Limit      int64 // of the extent
}

func (h *ZoneHeader) encode(b []byte) {
	b = b[:SectorSize]
	clear(b)
	le := binary.LittleEndian
	copy(b, ZoneMagic)
	le.PutUint16(b[zhVersion:], FormatVersion)
	b[zhMember] = h.Extent.Member
	le.PutUint32(b[zhPlace:], h.Place)
	copy(b[zhCell:], h.Cell[:])
	copy(b[zhDisk:], h.Disk[:])
	le.PutUint64(b[zhVolume:], uint64(h.Extent.Volume))
	le.PutUint64(b[zhCreated:], uint64(h.Extent.Created))
	le.PutUint32(b[zhZone:], h.Zone)
	le.PutUint32(b[zhGeneration:], h.Generation)
	le.PutUint64(b[zhZoneSize:], uint64(h.ZoneSize))
	le.PutUint64(b[zhLimit:], uint64(h.Limit))
	putScheme(b[zhScheme:], h.Scheme)
	stampSector(b)
}

// Decode reads the header sector b. Its errors wrap ErrCorrupt.
func (h *ZoneHeader) Decode(b []byte) error {
	if err := checkSector(b, ZoneMagic); err != nil {
		return err
	}
	le := binary.LittleEndian
	scheme, err := getScheme(b[zhScheme:])
	if err != nil {
		return err
	}
	*h = ZoneHeader{
		Cell:       holdall.CellID(b[zhCell:zhDisk]),
		Disk:       holdall.DiskID(b[zhDisk:zhVolume]),
		Zone:       le.Uint32(b[zhZone:]),
		Generation: le.Uint32(b[zhGeneration:]),
		ZoneSize:   int64(le.Uint64(b[zhZoneSize:])),
		Extent: holdall.ExtentID{
			Volume:  holdall.VolumeID(le.Uint64(b[zhVolume:])),
			Member:  b[zhMember],
			Created: holdall.Epoch(le.Uint64(b[zhCreated:])),
		},
		Place:  le.Uint32(b[zhPlace:]),
		Scheme: scheme,
		Limit:  int64(le.Uint64(b[zhLimit:])),
	}
	switch {
	case b[zhReserved] != 0 || !allZero(b[zhEnd:sectorSum]):
		return malformed("zone header: reserved bytes are not zero")
	case h.Zone < superZones || h.Generation == 0:
		return malformed("zone %d generation %d in a zone header", h.Zone, h.Generation)
	case h.ZoneSize < MinZoneSize || h.ZoneSize%SectorSize != 0 || h.ZoneSize > MaxExtentBytes:
		return malformed("zone size %d", h.ZoneSize)
	case h.Limit <= 0 || h.Limit > MaxExtentBytes:
		return malformed("extent limit %d", h.Limit)
	case int(h.Extent.Member) >= scheme.N():
		return malformed("member %d of %v", h.Extent.Member, scheme)
	}
	return nil
}
