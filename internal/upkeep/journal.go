package upkeep

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// A journal block is a block of the system namespace that lists changes in the
// order in which metadata applied them; docs/format/journal.md is its normative
// description. Its bytes are named by their hash, so they carry no checksum.
const (
	journalMagic      = "HOLDJRNL"
	journalVersion    = 1
	journalHeaderSize = 56
	minChangeSize     = 1 + 1 + 1 + 1 + 1 // of a name: kind, deltas, one field
	usualChangeSize   = 32
	maxChangeSize     = 1 + 2*binary.MaxVarintLen64 + metadata.MaxNames // of a name: kind, deltas, all fields
)

// JournalHeader says what a journal block covers.
type JournalHeader struct {
	Cell        holdall.CellID
	Incarnation uint32 // of the cell when the changes were applied
	First, Last uint64 // order of apply of the first and the last change
}

// AppendJournal encodes changes, which must be in ascending order of Seq and
// not empty, as one journal block appended to dst. It stops before the block
// would exceed limit bytes and returns how many changes it took, at least one.
func AppendJournal(dst []byte, cell holdall.CellID, incarnation uint32, changes []metadata.Change, limit int) ([]byte, int) {
	le, start := binary.LittleEndian, len(dst)
	dst = append(dst, journalMagic...)
	dst = le.AppendUint16(dst, journalVersion)
	dst = le.AppendUint16(dst, 0)
	dst = le.AppendUint32(dst, 0) // count, set below
	dst = le.AppendUint32(dst, incarnation)
	dst = le.AppendUint32(dst, 0)
	dst = append(dst, cell[:]...)
	dst = le.AppendUint64(dst, changes[0].Seq)
	dst = le.AppendUint64(dst, uint64(changes[0].Time.UnixNano()))
	n, before := 0, &changes[0]
	for ; n < len(changes); n++ {
		end := len(dst)
		if dst = appendChange(dst, before, &changes[n]); n > 0 && len(dst)-start > limit {
			dst = dst[:end]
			break
		}
		before = &changes[n]
	}
	le.PutUint32(dst[start+12:], uint32(n))
	return dst, n
}

// appendChange appends c, which comes after before.
func appendChange(dst []byte, before, c *metadata.Change) []byte {
	le := binary.LittleEndian
	dst = append(dst, byte(c.Kind))
	dst = binary.AppendUvarint(dst, c.Seq-before.Seq)
	dst = binary.AppendVarint(dst, c.Time.UnixNano()-before.Time.UnixNano())
	switch {
	case ofName(c.Kind):
		return metadata.AppendNames(dst, c)
	case ofVolume(c.Kind):
		dst = le.AppendUint64(dst, uint64(c.Volume))
		dst = le.AppendUint64(dst, uint64(c.Epoch))
		return binary.AppendUvarint(dst, c.Stripe)
	}
	dst = binary.AppendUvarint(dst, uint64(c.Namespace))
	dst = append(dst, c.ID[:]...)
	if c.Kind == metadata.ChangeMove {
		dst = le.AppendUint64(dst, uint64(c.Location.Volume))
		dst = append(dst, c.Location.Member)
		dst = binary.AppendUvarint(dst, uint64(c.Location.Offset))
		dst = binary.AppendUvarint(dst, uint64(c.Location.Length))
	}
	return dst
}

// ParseJournal decodes one journal block. Its errors wrap ErrCorrupt.
func ParseJournal(block []byte) (JournalHeader, []metadata.Change, error) {
	var h JournalHeader
	bad := func(at int, why string) (JournalHeader, []metadata.Change, error) {
		return JournalHeader{}, nil, fmt.Errorf("journal block: byte %d: %s: %w", at, why, holdall.ErrCorrupt)
	}
	if len(block) < journalHeaderSize || string(block[:8]) != journalMagic {
		return bad(0, "not a journal block")
	}
	le := binary.LittleEndian
	if v := le.Uint16(block[8:]); v != journalVersion {
		return bad(8, fmt.Sprintf("version %d, this binary reads %d", v, journalVersion))
	}
	if le.Uint16(block[10:]) != 0 || le.Uint32(block[20:]) != 0 {
		return bad(10, "reserved bytes are not zero")
	}
	count := int(le.Uint32(block[12:]))
	h.Incarnation = le.Uint32(block[16:])
	copy(h.Cell[:], block[24:])
	h.First = le.Uint64(block[40:])
	if count == 0 || count > len(block)/minChangeSize {
		return bad(12, "impossible count of changes")
	}
	r := &journalReader{rest: block[journalHeaderSize:], seq: h.First, at: int64(le.Uint64(block[48:]))}
	changes := make([]metadata.Change, 0, min(count, len(block)/usualChangeSize))
	for i := range count {
		var c metadata.Change
		if why := r.next(&c, i == 0); why != "" {
			return bad(len(block)-len(r.rest), why)
		}
		changes = append(changes, c)
	}
	if len(r.rest) != 0 {
		return bad(len(block)-len(r.rest), "bytes after the last change")
	}
	h.Last = changes[count-1].Seq
	return h, changes, nil
}

// journalReader takes changes off the front of a block.
type journalReader struct {
	rest []byte
	seq  uint64
	at   int64
}

// next decodes one change into c, or says what is wrong.
func (r *journalReader) next(c *metadata.Change, first bool) string {
	if len(r.rest) == 0 {
		return "fewer changes than counted"
	}
	c.Kind = metadata.ChangeKind(r.rest[0])
	if c.Kind < metadata.ChangeStripe || c.Kind > metadata.ChangeMigration {
		return fmt.Sprintf("unknown kind %d", c.Kind)
	}
	r.rest = r.rest[1:]
	delta, ok1 := r.uvarint()
	shift, ok2 := r.varint()
	if !ok1 || !ok2 {
		return "bad number"
	}
	if (delta == 0) != first || delta > math.MaxUint64-r.seq {
		return "changes out of order"
	}
	if first && shift != 0 {
		return "the first change has another time than the block"
	}
	r.seq, r.at = r.seq+delta, r.at+shift
	c.Seq, c.Time = r.seq, time.Unix(0, r.at).UTC()
	switch {
	case ofVolume(c.Kind):
		return r.volumeBody(c)
	case ofName(c.Kind):
		return r.nameBody(c)
	}
	ns, ok := r.uvarint()
	if !ok || ns > math.MaxUint32 || len(r.rest) < len(c.ID) {
		return "bad block name"
	}
	c.Namespace = holdall.NamespaceID(ns)
	r.rest = r.rest[copy(c.ID[:], r.rest):]
	if c.Kind == metadata.ChangeMove {
		return r.place(&c.Location)
	}
	return ""
}

// place decodes where a move leads.
func (r *journalReader) place(l *holdall.Location) string {
	if len(r.rest) < 9 {
		return "short location"
	}
	l.Volume, l.Member = holdall.VolumeID(binary.LittleEndian.Uint64(r.rest)), r.rest[8]
	r.rest = r.rest[9:]
	offset, ok1 := r.uvarint()
	length, ok2 := r.uvarint()
	if !ok1 || !ok2 || offset > math.MaxInt64 || length > math.MaxUint32 {
		return "bad location"
	}
	l.Offset, l.Length = int64(offset), uint32(length)
	return ""
}

func (r *journalReader) nameBody(c *metadata.Change) string {
	rest, err := metadata.ParseNames(r.rest, c)
	if err != nil {
		return err.Error()
	}
	r.rest = rest
	return ""
}

func (r *journalReader) volumeBody(c *metadata.Change) string {
	if len(r.rest) < 16 {
		return "short volume"
	}
	c.Volume = holdall.VolumeID(binary.LittleEndian.Uint64(r.rest))
	c.Epoch = holdall.Epoch(binary.LittleEndian.Uint64(r.rest[8:]))
	r.rest = r.rest[16:]
	stripe, ok := r.uvarint()
	if !ok {
		return "bad stripe number"
	}
	c.Stripe = stripe
	return ""
}

// uvarint takes a number in its shortest form, so that every block has one
// encoding.
func (r *journalReader) uvarint() (uint64, bool) {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || n > 1 && r.rest[n-1] == 0 {
		return 0, false
	}
	r.rest = r.rest[n:]
	return v, true
}

func (r *journalReader) varint() (int64, bool) {
	u, ok := r.uvarint()
	return int64(u>>1) ^ -int64(u&1), ok
}

// ofName says whether changes of kind k are of namespaces, buckets, objects.
func ofName(k metadata.ChangeKind) bool { return k >= metadata.ChangeNamespace }

// ofVolume says whether changes of kind k name a volume rather than a block.
func ofVolume(k metadata.ChangeKind) bool { return k <= metadata.ChangeFree }
