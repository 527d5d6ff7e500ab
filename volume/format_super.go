package volume

import (
	"encoding/binary"

	"github.com/holdall/holdall"
)

// superZones is how many zones, from zone 0, hold the superblock log.
const superZones = 2

// MinZoneSize is the least bytes a zone may have: room for a checkpoint and a
// few entries, or for a few records.
const MinZoneSize = 4 * SectorSize

// Offsets in a frame of the superblock log (docs/format/superblock.md). A frame
// is padded with zeros to whole sectors.
const (
	frVersion  = 8
	frKind     = 10
	frReserved = 11
	frBody     = 12
	frCell     = 16
	frDisk     = 32
	frSequence = 48
	frBase     = 56
	frOffset   = 64
	frZone     = 72
	frCount    = 76
	frBodySum  = 80
	frSpare    = 84
	frSum      = 92
	frSize     = 96
)

// The kinds of frame.
const (
	frameCheckpoint = 1 // the whole state; always first in its zone
	frameEntry      = 2 // changes to it
	frameMoved      = 3 // the log went on in the other zone: what is here is of the past
)

// frame is the header of a superblock frame.
type frame struct {
	kind     uint8
	cell     holdall.CellID
	disk     holdall.DiskID
	sequence uint64 // one more than that of the frame before
	base     uint64 // the sequence of the checkpoint that the frame follows
	offset   int64  // in its zone
	zone     uint32 // 0 or 1
	count    uint32 // changes; 0 in a checkpoint
	body     uint32 // bytes
	bodySum  uint32
}

// size returns the bytes of the whole frame, padding included.
func (f *frame) size() int64 { return roundUp(frSize + int64(f.body)) }

func (f *frame) encode(b []byte) {
	b = b[:frSize]
	clear(b)
	le := binary.LittleEndian
	copy(b, SuperMagic)
	le.PutUint16(b[frVersion:], FormatVersion)
	b[frKind] = f.kind
	le.PutUint32(b[frBody:], f.body)
	copy(b[frCell:], f.cell[:])
	copy(b[frDisk:], f.disk[:])
	le.PutUint64(b[frSequence:], f.sequence)
	le.PutUint64(b[frBase:], f.base)
	le.PutUint64(b[frOffset:], uint64(f.offset))
	le.PutUint32(b[frZone:], f.zone)
	le.PutUint32(b[frCount:], f.count)
	le.PutUint32(b[frBodySum:], f.bodySum)
	le.PutUint32(b[frSum:], checksum(b[:frSum]))
}

// decode reads the header at the start of b. Its errors wrap ErrCorrupt, or
// ErrRefused when the frame is whole but of a version this program does not
// know: such a disk must not be taken for an empty or a broken one.
func (f *frame) decode(b []byte) error {
	le := binary.LittleEndian
	switch {
	case len(b) < frSize:
		return malformed("superblock frame of %d bytes", len(b))
	case string(b[:8]) != SuperMagic:
		return malformed("superblock frame: magic %q", b[:8])
	case le.Uint32(b[frSum:]) != checksum(b[:frSum]):
		return malformed("superblock frame: checksum of its header differs")
	case le.Uint16(b[frVersion:]) != FormatVersion:
		return unknownVersion(le.Uint16(b[frVersion:]))
	}
	*f = frame{
		kind:     b[frKind],
		cell:     holdall.CellID(b[frCell:frDisk]),
		disk:     holdall.DiskID(b[frDisk:frSequence]),
		sequence: le.Uint64(b[frSequence:]),
		base:     le.Uint64(b[frBase:]),
		offset:   int64(le.Uint64(b[frOffset:])),
		zone:     le.Uint32(b[frZone:]),
		count:    le.Uint32(b[frCount:]),
		body:     le.Uint32(b[frBody:]),
		bodySum:  le.Uint32(b[frBodySum:]),
	}
	switch {
	case b[frReserved] != 0 || !allZero(b[frSpare:frSum]):
		return malformed("superblock frame: reserved bytes are not zero")
	case f.zone >= superZones || !validOffset(uint64(f.offset)):
		return malformed("superblock frame of zone %d at %d", f.zone, f.offset)
	case f.kind == frameCheckpoint && (f.offset != 0 || f.base != f.sequence || f.count != 0):
		return malformed("superblock checkpoint %d based on %d at %d", f.sequence, f.base, f.offset)
	case f.kind == frameEntry && (f.offset == 0 || f.base >= f.sequence || f.count == 0 || f.count > maxFrameChanges || f.body > maxEntryBody):
		return malformed("superblock entry %d based on %d at %d: %d changes in %d bytes", f.sequence, f.base, f.offset, f.count, f.body)
	case f.kind == frameMoved && (f.offset == 0 || f.base >= f.sequence || f.count != 0 || f.body != 0):
		return malformed("superblock mark %d based on %d at %d: %d changes in %d bytes", f.sequence, f.base, f.offset, f.count, f.body)
	case f.kind != frameCheckpoint && f.kind != frameEntry && f.kind != frameMoved:
		return malformed("superblock frame of kind %d", f.kind)
	}
	return nil
}

// changeKind says what a change does.
type changeKind uint8

// The kinds of change.
const (
	changeExtent      changeKind = 1 // extent is made, without zones
	changeZone        changeKind = 2 // zone is given to extent, under its next generation
	changeEpoch       changeKind = 3 // extent is fenced to epoch
	changeSealed      changeKind = 4 // extent has its footer
	changeTrashed     changeKind = 5 // extent waits to be freed
	changeFreed       changeKind = 6 // extent is gone; its zones are about to be reset
	changeState       changeKind = 7 // the disk's state
	changeIncarnation changeKind = 8 // the disk's mount
)

// change is one change to what a disk knows of itself. Only the fields that its
// kind uses are set.
type change struct {
	kind        changeKind
	extent      holdall.ExtentID
	scheme      holdall.Scheme    // changeExtent
	epoch       holdall.Epoch     // changeExtent, changeEpoch, changeSealed
	limit       int64             // changeExtent
	end         int64             // changeSealed: where its records end
	last        uint64            // changeSealed
	footer      int64             // changeSealed: where the footer is
	footerSize  uint32            // changeSealed: whole bytes, padding included
	zone        uint32            // changeZone
	generation  uint32            // changeZone
	place       uint32            // changeZone: 0 = the extent's first
	state       holdall.DiskState // changeState
	incarnation uint64            // changeIncarnation
	reason      string            // changeState
}

// Offsets in an encoded change. The reason follows the last.
const (
	chKind        = 0
	chMember      = 1
	chState       = 2
	chReserved    = 3
	chScheme      = 4
	chVolume      = 8
	chCreated     = 16
	chEpoch       = 24
	chLimit       = 32
	chEnd         = 40
	chLast        = 48
	chFooter      = 56
	chFooterSize  = 64
	chZone        = 68
	chGeneration  = 72
	chPlace       = 76
	chIncarnation = 80
	chReason      = 88
	chSpare       = 90
	chSize        = 96

	maxReason       = 256 // bytes of a disk state's reason: a line for an operator
	maxFrameChanges = 512 // a group of appends that all take zones, with room
	maxEntryBody    = maxFrameChanges * (chSize + maxReason)
)

// appendChange appends the encoded c to b.
func appendChange(b []byte, c *change) []byte {
	invariant(len(c.reason) <= maxReason, "reason too long")
	b = append(b, make([]byte, chSize)...)
	s := b[len(b)-chSize:]
	le := binary.LittleEndian
	s[chKind], s[chMember], s[chState] = byte(c.kind), c.extent.Member, byte(c.state)
	putScheme(s[chScheme:], c.scheme)
	le.PutUint64(s[chVolume:], uint64(c.extent.Volume))
	le.PutUint64(s[chCreated:], uint64(c.extent.Created))
	le.PutUint64(s[chEpoch:], uint64(c.epoch))
	le.PutUint64(s[chLimit:], uint64(c.limit))
	le.PutUint64(s[chEnd:], uint64(c.end))
	le.PutUint64(s[chLast:], c.last)
	le.PutUint64(s[chFooter:], uint64(c.footer))
	le.PutUint32(s[chFooterSize:], c.footerSize)
	le.PutUint32(s[chZone:], c.zone)
	le.PutUint32(s[chGeneration:], c.generation)
	le.PutUint32(s[chPlace:], c.place)
	le.PutUint64(s[chIncarnation:], c.incarnation)
	le.PutUint16(s[chReason:], uint16(len(c.reason)))
	return append(b, c.reason...)
}

// parseChange reads the change at the start of b and returns what follows it.
// Its errors wrap ErrCorrupt.
func parseChange(b []byte) (change, []byte, error) {
	if len(b) < chSize {
		return change{}, nil, malformed("superblock change of %d bytes", len(b))
	}
	le := binary.LittleEndian
	c := change{
		kind:   changeKind(b[chKind]),
		scheme: holdall.Scheme{Kind: holdall.SchemeKind(b[chScheme]), Data: b[chScheme+1], Local: b[chScheme+2], Global: b[chScheme+3]},
		extent: holdall.ExtentID{
			Volume:  holdall.VolumeID(le.Uint64(b[chVolume:])),
			Member:  b[chMember],
			Created: holdall.Epoch(le.Uint64(b[chCreated:])),
		},
		epoch:       holdall.Epoch(le.Uint64(b[chEpoch:])),
		limit:       int64(le.Uint64(b[chLimit:])),
		end:         int64(le.Uint64(b[chEnd:])),
		last:        le.Uint64(b[chLast:]),
		footer:      int64(le.Uint64(b[chFooter:])),
		footerSize:  le.Uint32(b[chFooterSize:]),
		zone:        le.Uint32(b[chZone:]),
		generation:  le.Uint32(b[chGeneration:]),
		place:       le.Uint32(b[chPlace:]),
		state:       holdall.DiskState(b[chState]),
		incarnation: le.Uint64(b[chIncarnation:]),
	}
	n := int(le.Uint16(b[chReason:]))
	if b[chReserved] != 0 || !allZero(b[chSpare:chSize]) || n > maxReason || n > len(b)-chSize {
		return change{}, nil, malformed("superblock change of kind %d: reserved bytes or reason", c.kind)
	}
	c.reason = string(b[chSize : chSize+n])
	if c != c.canonical() {
		return change{}, nil, malformed("superblock change of kind %d has fields of another", c.kind)
	}
	return c, b[chSize+n:], nil
}

// canonical returns c with only the fields that its kind uses; the zero change
// for a kind that does not exist.
func (c *change) canonical() change {
	k := change{kind: c.kind, extent: c.extent}
	switch c.kind {
	case changeExtent:
		k.scheme, k.epoch, k.limit = c.scheme, c.epoch, c.limit
	case changeZone:
		k.zone, k.generation, k.place = c.zone, c.generation, c.place
	case changeEpoch:
		k.epoch = c.epoch
	case changeSealed:
		k.epoch, k.end, k.last, k.footer, k.footerSize = c.epoch, c.end, c.last, c.footer, c.footerSize
	case changeTrashed, changeFreed:
	case changeState:
		k = change{kind: c.kind, state: c.state, reason: c.reason}
	case changeIncarnation:
		k = change{kind: c.kind, incarnation: c.incarnation}
	default:
		return change{}
	}
	return k
}

// parseEntry reads the body of an entry frame. Its errors wrap ErrCorrupt.
func parseEntry(f *frame, body []byte) ([]change, error) {
	if len(body) != int(f.body) || checksum(body) != f.bodySum {
		return nil, malformed("superblock entry %d: checksum of its body differs", f.sequence)
	}
	var changes []change
	for len(body) > 0 {
		c, rest, err := parseChange(body)
		if err != nil {
			return nil, err
		}
		changes, body = append(changes, c), rest
	}
	if len(changes) != int(f.count) {
		return nil, malformed("superblock entry %d: %d changes, its header says %d", f.sequence, len(changes), f.count)
	}
	return changes, nil
}
