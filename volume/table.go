package volume

import (
	"encoding/binary"
	"sort"

	"github.com/holdall/holdall"
)

// tableBlock is how many stripes one block of a table holds. A lookup decodes
// at most one block; a block costs n+3 numbers of its own.
const tableBlock = 64

// table lists the stripes that have a record in one extent: for each, every
// shard's place, and the running checksum of record headers up to its own. It
// is kept in its form on disk, the body of a footer (docs/format/footer.md), at
// 5 to 6 bytes a shard, so that an open extent of 65,536 stripes costs
// megabytes, not tens of them. The zero table is not usable; see newTable.
//
// A table is not safe for concurrent use while it is added to.
type table struct {
	n      int      // members of the volume
	buf    []byte   // blocks, end to end
	starts []uint32 // where each block begins in buf
	count  int      // stripes
	cursor          // after the last stripe
}

// cursor is what the next stripe's numbers count from.
type cursor struct {
	ends    [holdall.MaxMembers]int64 // of each member, as far as the stripes listed tell
	number  uint64
	epoch   holdall.Epoch
	running uint32
}

func newTable(n int) *table { return &table{n: n} }

// stripeEntry is one decoded stripe of a table.
type stripeEntry struct {
	number  uint64
	epoch   holdall.Epoch
	running uint32
	shards  [holdall.MaxMembers]holdall.ShardPlace
}

// fits says what keeps a stripe from coming next in t: numbers and epochs rise,
// every member's shards lie one after another.
func (t *table) fits(number uint64, epoch holdall.Epoch, shards []holdall.ShardPlace) error {
	switch {
	case number <= t.number || number > holdall.MaxVolumeStripes:
		return malformed("stripe %d after stripe %d, the last is %d", number, t.number, holdall.MaxVolumeStripes)
	case epoch < t.epoch:
		return malformed("stripe %d of epoch %v after epoch %v", number, epoch, t.epoch)
	}
	for i, p := range shards {
		m := holdall.ShardMember(number, i, t.n)
		switch {
		case p.Length == 0:
		case p.Offset < t.ends[m]:
			return malformed("stripe %d shard %d at %d, member %d has bytes up to %d", number, i, p.Offset, m, t.ends[m])
		case p.Offset+holdall.RecordSize(p.Length) > MaxExtentBytes:
			return malformed("stripe %d shard %d at %d: beyond the longest extent", number, i, p.Offset)
		}
	}
	return nil
}

// add appends a stripe that fits. header is the checksum of the header of this
// extent's record of it.
func (t *table) add(number uint64, epoch holdall.Epoch, shards []holdall.ShardPlace, header uint32) {
	t.put(number, epoch, shards, chain(t.running, header))
}

func (t *table) put(number uint64, epoch holdall.Epoch, shards []holdall.ShardPlace, running uint32) {
	if t.count%tableBlock == 0 {
		t.starts = append(t.starts, uint32(len(t.buf)))
		t.buf = binary.AppendUvarint(t.buf, t.number)
		t.buf = binary.AppendUvarint(t.buf, uint64(t.epoch))
		t.buf = binary.LittleEndian.AppendUint32(t.buf, t.running)
		for _, end := range t.ends[:t.n] {
			t.buf = binary.AppendUvarint(t.buf, uint64(end/SectorSize))
		}
	}
	t.running = running
	t.buf = binary.AppendUvarint(t.buf, number-t.number)
	t.buf = binary.AppendUvarint(t.buf, uint64(epoch-t.epoch))
	t.buf = binary.LittleEndian.AppendUint32(t.buf, t.running)
	for i, p := range shards {
		t.buf = binary.AppendUvarint(t.buf, uint64(p.Length))
		if p.Length == 0 {
			continue
		}
		m := holdall.ShardMember(number, i, t.n)
		t.buf = binary.AppendUvarint(t.buf, uint64(p.Offset-t.ends[m])/SectorSize)
		t.ends[m] = p.Offset + holdall.RecordSize(p.Length)
	}
	t.number, t.epoch = number, epoch
	t.count++
}

// size returns the bytes of memory that t holds.
func (t *table) size() int64 { return int64(cap(t.buf) + 4*cap(t.starts) + 512) }

// tableReader decodes a table. After a failed call it must not be used.
type tableReader struct {
	t    *table
	b    []byte // what is left
	i    int    // index of the next stripe
	from cursor
	bad  bool
}

func (r *tableReader) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most || (n > 1 && r.b[n-1] == 0) { // the last: one number has one form
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *tableReader) uint32() uint32 {
	if len(r.b) < 4 {
		r.bad = true
		return 0
	}
	v := binary.LittleEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

// block returns a reader at the first stripe of block i, its start read.
func (t *table) block(i int) *tableReader {
	r := &tableReader{t: t, b: t.buf[t.starts[i]:], i: i * tableBlock}
	r.start()
	return r
}

func (r *tableReader) start() {
	r.from.number = r.uvarint(holdall.MaxVolumeStripes)
	r.from.epoch = holdall.Epoch(r.uvarint(1<<64 - 1))
	r.from.running = r.uint32()
	for m := range r.t.n {
		r.from.ends[m] = int64(r.uvarint(MaxExtentBytes/SectorSize)) * SectorSize
	}
}

// next decodes the next stripe into e and reports whether there was one.
func (r *tableReader) next(e *stripeEntry) bool {
	if r.bad || r.i >= r.t.count {
		return false
	}
	if r.i%tableBlock == 0 && uint32(len(r.t.buf)-len(r.b)) == r.t.starts[r.i/tableBlock] {
		before := r.from
		r.start()
		r.bad = r.bad || r.from != before
	}
	number := r.uvarint(holdall.MaxVolumeStripes - r.from.number)
	r.bad = r.bad || number == 0
	e.number = r.from.number + number
	e.epoch = r.from.epoch + holdall.Epoch(r.uvarint(uint64(^holdall.Epoch(0)-r.from.epoch)))
	e.running = r.uint32()
	for i := range r.t.n {
		p := &e.shards[i]
		*p = holdall.ShardPlace{Length: uint32(r.uvarint(MaxPayload))}
		if p.Length == 0 {
			continue
		}
		end := &r.from.ends[holdall.ShardMember(e.number, i, r.t.n)]
		p.Offset = *end + int64(r.uvarint(MaxExtentBytes/SectorSize))*SectorSize
		*end = p.Offset + holdall.RecordSize(p.Length)
		r.bad = r.bad || *end > MaxExtentBytes
	}
	r.from.number, r.from.epoch, r.from.running = e.number, e.epoch, e.running
	r.i++
	return !r.bad
}

// parseTable reads the body of a footer that lists count stripes of a volume
// with n members. Its errors wrap ErrCorrupt. It keeps body.
func parseTable(n, count int, scheme holdall.Scheme, body []byte) (*table, error) {
	if count < 0 || count > holdall.MaxVolumeStripes || n != scheme.N() {
		return nil, malformed("table of %d stripes", count)
	}
	t := &table{n: n, buf: body, count: count}
	r := &tableReader{t: t, b: body}
	var e stripeEntry
	for i := range count {
		if i%tableBlock == 0 {
			t.starts = append(t.starts, uint32(len(body)-len(r.b)))
		}
		if !r.next(&e) {
			return nil, malformed("table: stripe %d of %d cannot be read", i, count)
		}
		if err := checkPlaces(e.shards[:n], scheme); err != nil {
			return nil, err
		}
	}
	if len(r.b) != 0 {
		return nil, malformed("table: %d bytes after the last stripe", len(r.b))
	}
	t.cursor = r.from
	return t, nil
}

// seek returns a reader at the block that may hold what key leads to: the last
// block for which start(cursor) does not exceed key. ok is false when the table
// is empty.
func (t *table) seek(key uint64, start func(*cursor) uint64) (*tableReader, bool) {
	i := sort.Search(len(t.starts), func(i int) bool { return start(&t.block(i).from) > key })
	if len(t.starts) == 0 {
		return nil, false
	}
	return t.block(max(i-1, 0)), true
}

// at finds the stripe whose shard on member covers the extent offset off.
func (t *table) at(member int, off int64, e *stripeEntry) bool {
	r, ok := t.seek(uint64(off), func(c *cursor) uint64 { return uint64(c.ends[member]) })
	if !ok {
		return false
	}
	for r.next(e) {
		p := e.shards[holdall.MemberShard(e.number, member, t.n)]
		if p.Length == 0 {
			continue
		}
		if off < p.Offset {
			return false
		}
		if off < p.Offset+holdall.RecordSize(p.Length) {
			return true
		}
	}
	return false
}

// own returns where member's shard of e lies, and where its record ends.
func (t *table) own(member int, e *stripeEntry) (holdall.ShardPlace, int64) {
	p := e.shards[holdall.MemberShard(e.number, member, t.n)]
	return p, p.Offset + holdall.RecordSize(p.Length)
}

// until returns a table of the stripes up to number last whose record of member
// ends at or below end: what a seal keeps. It is t itself when that is all.
func (t *table) until(member int, last uint64, end int64) *table {
	if t.count == 0 || (t.number <= last && t.ends[member] <= end) {
		return t
	}
	cut := newTable(t.n)
	r := t.block(0)
	var e stripeEntry
	for r.next(&e) && e.number <= last {
		if _, e1 := t.own(member, &e); e1 > end {
			break
		}
		cut.put(e.number, e.epoch, e.shards[:t.n], e.running)
	}
	return cut
}
