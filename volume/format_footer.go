package volume

import (
	"encoding/binary"

	"github.com/holdall/holdall"
)

// Offsets in a footer's header sector (docs/format/footer.md). The body, a
// table, follows in the next sector.
const (
	ftVersion    = 8
	ftMember     = 10
	ftReserved   = 11
	ftBody       = 12
	ftCell       = 16
	ftDisk       = 32
	ftVolume     = 48
	ftCreated    = 56
	ftEpoch      = 64
	ftLast       = 72
	ftOffset     = 80
	ftZone       = 88
	ftGeneration = 92
	ftScheme     = 96
	ftCount      = 100
	ftRecordsEnd = 104
	ftBodySum    = 112
	ftRunning    = 116
	ftEnd        = 120
)

// Proof that the header fits its sector.
const _ = uint(sectorSum - ftEnd)

// Upper bounds of what a stripe, and the start of a block of stripes, take in a
// table: numbers of 3, 10 and 4 bytes, then per shard a length (4 bytes) and a
// distance in sectors (5 bytes).
const (
	maxStripeBytes = 3 + 10 + 4
	maxShardBytes  = 4 + 5
)

// FooterSize returns an upper bound of the bytes that the footer of an extent
// takes which lists so many stripes of a volume with n members.
func FooterSize(stripes, n int) int64 {
	blocks := (stripes + tableBlock - 1) / tableBlock
	return SectorSize + roundUp(int64(stripes+blocks)*int64(maxStripeBytes+n*maxShardBytes))
}

// FooterHeader is the first sector of a footer.
type FooterHeader struct {
	Cell       holdall.CellID
	Disk       holdall.DiskID
	Extent     holdall.ExtentID
	Zone       uint32
	Generation uint32
	Offset     int64         // of the footer in its extent
	Epoch      holdall.Epoch // of the seal
	Last       uint64        // the volume's last committed stripe
	RecordsEnd int64         // where the records of stripes up to Last end
	Scheme     holdall.Scheme
	Count      uint32 // stripes listed
	Body       uint32 // bytes
	BodySum    uint32 // CRC-32C of the body
	Running    uint32 // running checksum of the headers of the records listed
}

// size returns the bytes of the whole footer, padding included.
func (h *FooterHeader) size() int64 { return SectorSize + roundUp(int64(h.Body)) }

func (h *FooterHeader) encode(b []byte) {
	b = b[:SectorSize]
	clear(b)
	le := binary.LittleEndian
	copy(b, FooterMagic)
	le.PutUint16(b[ftVersion:], FormatVersion)
	b[ftMember] = h.Extent.Member
	le.PutUint32(b[ftBody:], h.Body)
	copy(b[ftCell:], h.Cell[:])
	copy(b[ftDisk:], h.Disk[:])
	le.PutUint64(b[ftVolume:], uint64(h.Extent.Volume))
	le.PutUint64(b[ftCreated:], uint64(h.Extent.Created))
	le.PutUint64(b[ftEpoch:], uint64(h.Epoch))
	le.PutUint64(b[ftLast:], h.Last)
	le.PutUint64(b[ftOffset:], uint64(h.Offset))
	le.PutUint32(b[ftZone:], h.Zone)
	le.PutUint32(b[ftGeneration:], h.Generation)
	putScheme(b[ftScheme:], h.Scheme)
	le.PutUint32(b[ftCount:], h.Count)
	le.PutUint64(b[ftRecordsEnd:], uint64(h.RecordsEnd))
	le.PutUint32(b[ftBodySum:], h.BodySum)
	le.PutUint32(b[ftRunning:], h.Running)
	stampSector(b)
}

// Decode reads the header sector b. Its errors wrap ErrCorrupt.
func (h *FooterHeader) Decode(b []byte) error {
	if err := checkSector(b, FooterMagic); err != nil {
		return err
	}
	le := binary.LittleEndian
	scheme, err := getScheme(b[ftScheme:])
	if err != nil {
		return err
	}
	*h = FooterHeader{
		Cell: holdall.CellID(b[ftCell:ftDisk]),
		Disk: holdall.DiskID(b[ftDisk:ftVolume]),
		Extent: holdall.ExtentID{
			Volume:  holdall.VolumeID(le.Uint64(b[ftVolume:])),
			Member:  b[ftMember],
			Created: holdall.Epoch(le.Uint64(b[ftCreated:])),
		},
		Zone:       le.Uint32(b[ftZone:]),
		Generation: le.Uint32(b[ftGeneration:]),
		Offset:     int64(le.Uint64(b[ftOffset:])),
		Epoch:      holdall.Epoch(le.Uint64(b[ftEpoch:])),
		Last:       le.Uint64(b[ftLast:]),
		RecordsEnd: int64(le.Uint64(b[ftRecordsEnd:])),
		Scheme:     scheme,
		Count:      le.Uint32(b[ftCount:]),
		Body:       le.Uint32(b[ftBody:]),
		BodySum:    le.Uint32(b[ftBodySum:]),
		Running:    le.Uint32(b[ftRunning:]),
	}
	switch {
	case b[ftReserved] != 0 || !allZero(b[ftEnd:sectorSum]):
		return malformed("footer: reserved bytes are not zero")
	case int(h.Extent.Member) >= scheme.N():
		return malformed("footer: member %d of %v", h.Extent.Member, scheme)
	case !validOffset(uint64(h.Offset)) || !validOffset(uint64(h.RecordsEnd)) || h.RecordsEnd > h.Offset:
		return malformed("footer at %d: records end at %d", h.Offset, h.RecordsEnd)
	case h.Count > holdall.MaxVolumeStripes || h.Last > holdall.MaxVolumeStripes || int64(h.Body) > FooterSize(int(h.Count), scheme.N()):
		return malformed("footer: %d stripes in %d bytes", h.Count, h.Body)
	}
	return nil
}

// parseBody reads the table that follows the header. It keeps body.
func (h *FooterHeader) parseBody(body []byte) (*table, error) {
	if len(body) != int(h.Body) || checksum(body) != h.BodySum {
		return nil, malformed("footer of %v: checksum of its %d bytes differs", h.Extent, h.Body)
	}
	t, err := parseTable(h.Scheme.N(), int(h.Count), h.Scheme, body)
	if err != nil {
		return nil, err
	}
	if t.running != h.Running || t.number > h.Last || t.ends[h.Extent.Member] > h.RecordsEnd {
		return nil, malformed("footer of %v: its table is of other records", h.Extent)
	}
	return t, nil
}
