package volume

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
)

// superLogBytes is how long the superblock log grows, where zones are larger,
// before a new checkpoint replaces it: a start reads all of it.
const superLogBytes = 8 << 20

// superRoom returns how long the log grows after a checkpoint of so many bytes.
func superRoom(checkpoint int64) int64 { return max(superLogBytes, 4*checkpoint) }

// superLog is the superblock log of one disk, over its zones 0 and 1. One of
// them holds a checkpoint and the entries after it; the other is empty, but
// while the log moves there. Only the disk's writer uses it.
//
// A superLog never writes after bytes that it did not write itself: its first
// commit after an open begins with a checkpoint in the other zone. So what a
// crash tore is never appended to, and never taken for rot later.
type superLog struct {
	dev   Device
	pool  *buffer.Pool
	ident Identity
	count func() // called for every frame written

	zone int              // where the log is
	off  int64            // where its next frame goes
	seq  uint64           // of the last frame
	base uint64           // of the checkpoint it follows
	room int64            // bytes at which a checkpoint is due
	due  bool             // the next commit begins with a checkpoint
	bad  [superZones]bool // zones where a call failed: not written again
}

// most is how many changes one entry takes: no more than fill the half of a
// zone that a checkpoint leaves.
func (l *superLog) most() int {
	return int(min(maxFrameChanges, (l.ident.ZoneSize/2-frSize)/(chSize+maxReason)))
}

// commit makes changes durable: all of them or, after a crash, none. c is the
// state before them; the caller applies them to it after commit returned nil.
func (l *superLog) commit(c *catalog, changes []change) error {
	var body []byte
	for i := range changes {
		body = appendChange(body, &changes[i])
	}
	invariant(len(changes) > 0 && len(changes) <= maxFrameChanges, "superblock entry of no, or too many, changes")
	size := roundUp(frSize + int64(len(body)))
	if l.due || l.bad[l.zone] || l.off+size+SectorSize > l.room { // a sector for the mark
		if err := l.checkpoint(c); err != nil {
			return err
		}
	}
	f := frame{kind: frameEntry, base: l.base, offset: l.off, zone: uint32(l.zone), count: uint32(len(changes))}
	return l.write(&f, l.zone, body)
}

// checkpoint moves the log to the other zone:
//  1. the other zone is reset, unless it is known to be empty;
//  2. the whole state is written there, and synced;
//  3. only then is the full zone reset, after a mark at its log's end: a
//     conventional disk keeps what was there, and should the new checkpoint
//     rot, the old log would be taken for the present one.
//
// A crash before the end of 2 leaves the full zone the only whole one; after
// it both are whole and say the same, for no entry is written until 3 is done.
func (l *superLog) checkpoint(c *catalog) error {
	full, other := l.zone, 1-l.zone
	if l.bad[other] {
		return fmt.Errorf("disk %v: superblock: no zone left to write to: %w", l.ident.Disk, holdall.ErrDiskFailed)
	}
	if at, known := l.dev.WritePointer(other); !known || at != 0 { // 1
		if err := l.dev.Reset(other); err != nil {
			l.bad[other] = true
			return fmt.Errorf("disk %v: superblock: reset zone %d: %w", l.ident.Disk, other, err)
		}
	}
	body := encodeCheckpoint(c)
	f := frame{kind: frameCheckpoint, base: l.seq + 1, zone: uint32(other)}
	if f.body = uint32(len(body)); f.size() > l.ident.ZoneSize/2 {
		return fmt.Errorf("disk %v: superblock: checkpoint of %d bytes does not fit half a zone: %w", l.ident.Disk, len(body), holdall.ErrDiskFull)
	}
	old := frame{kind: frameMoved, base: l.base, offset: l.off, zone: uint32(full)}
	l.off = 0
	if err := l.write(&f, other, body); err != nil { // 2
		l.off = old.offset
		if errors.Is(err, holdall.ErrDiskFull) { // it has not failed: it may be tried again when there is room
			l.bad[other] = l.dev.Reset(other) != nil
		}
		return err
	}
	l.zone, l.base, l.due = other, l.seq, false
	l.room = min(l.ident.ZoneSize, superRoom(l.off))
	if err := l.mark(old); err != nil { // 3
		return err
	}
	if err := l.dev.Reset(full); err != nil {
		l.bad[full] = true
		return fmt.Errorf("disk %v: superblock: reset zone %d: %w", l.ident.Disk, full, err)
	}
	l.bad[full] = false // a reset zone is a new one
	return nil
}

// mark writes f, which says that the log has left its zone, where the log there
// ends. Where the zone ends elsewhere there is no place for it, nor a need: a
// device that remembers that erases what it resets.
func (l *superLog) mark(f frame) error {
	zone, off := int(f.zone), l.off
	at, known := l.dev.WritePointer(zone)
	switch {
	case f.base == 0 || l.bad[zone] || (known && at != f.offset):
		return nil
	case !known:
		if err := l.dev.SetPointer(zone, f.offset); err != nil {
			return fmt.Errorf("disk %v: superblock: zone %d ends at %d: %w", l.ident.Disk, zone, f.offset, err)
		}
	}
	l.seq--
	l.off = f.offset
	err := l.write(&f, zone, nil)
	l.off = off
	return err
}

// write appends one frame to zone at l.off, and syncs it. The sequence number
// is used up even if that fails: what a failed write left behind must not be
// taken for what comes after it.
func (l *superLog) write(f *frame, zone int, body []byte) error {
	l.seq++
	f.cell, f.disk, f.sequence = l.ident.Cell, l.ident.Disk, l.seq
	f.body, f.bodySum = uint32(len(body)), checksum(body)
	if f.kind == frameCheckpoint {
		f.base = f.sequence
	}
	total := f.size()
	buf := l.pool.Take(int(min(total, 1<<20)))
	defer buf.Release()
	clear(buf.Bytes())
	f.encode(buf.Bytes())
	for done, at := int64(0), int64(frSize); done < total; at = 0 {
		piece := buf.Bytes()[:min(total-done, int64(buf.Len()))]
		n := copy(piece[at:], body)
		clear(piece[at+int64(n):])
		body = body[n:]
		if err := l.dev.Append(zone, l.off+done, piece); err != nil {
			l.bad[zone] = true
			return fmt.Errorf("disk %v: superblock: write zone %d at %d: %w", l.ident.Disk, zone, l.off+done, err)
		}
		done += int64(len(piece))
	}
	if err := l.dev.Sync(zone); err != nil {
		l.bad[zone] = true
		return fmt.Errorf("disk %v: superblock: sync zone %d: %w", l.ident.Disk, zone, err)
	}
	l.off += total
	l.count()
	return nil
}

// superState is what openSuper found.
type superState struct {
	log   *superLog
	state *catalog
	// torn says what lies after the last whole entry: what a crash during a
	// write leaves, or a last entry that rotted. Empty = nothing.
	torn string
}

// openSuper reads the superblock log of dev. It writes nothing. Its errors wrap
// ErrNotFound (no superblock: not a disk of ours), ErrRefused (one of another
// version or zone size) or ErrCorrupt.
func openSuper(dev Device, pool *buffer.Pool) (*superState, error) {
	var best *superState
	var faults []error
	for zone := range superZones {
		s, err := openSuperZone(dev, pool, zone)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if best == nil || s.log.base > best.log.base {
			best = s
		}
	}
	if best == nil {
		for _, kind := range []error{holdall.ErrRefused, holdall.ErrCorrupt} {
			for _, err := range faults {
				if errors.Is(err, kind) {
					return nil, err
				}
			}
		}
		return nil, faults[0]
	}
	if g := dev.Geometry(); best.state.ident.ZoneSize != g.ZoneSize {
		return nil, fmt.Errorf("disk %v: was formatted with zones of %d bytes, is opened with %d: %w", best.state.ident.Disk, best.state.ident.ZoneSize, g.ZoneSize, holdall.ErrRefused)
	}
	err := best.replay(pool)
	return best, err
}

// openSuperZone reads the checkpoint at the start of zone.
func openSuperZone(dev Device, pool *buffer.Pool, zone int) (*superState, error) {
	limit := dev.Geometry().ZoneSize
	if at, known := dev.WritePointer(zone); known {
		limit = at
	}
	if limit == 0 {
		return nil, fmt.Errorf("zone %d is empty: no superblock: %w", zone, holdall.ErrNotFound)
	}
	buf := pool.Take(1 << 20)
	defer buf.Release()
	sector := buf.Bytes()[:SectorSize]
	if err := dev.ReadAt(zone, 0, sector); err != nil {
		return nil, fmt.Errorf("read superblock in zone %d: %w", zone, err)
	}
	var f frame
	if err := f.decode(sector); err != nil {
		if allZero(sector) {
			return nil, fmt.Errorf("zone %d is blank: no superblock: %w", zone, holdall.ErrNotFound)
		}
		return nil, fmt.Errorf("superblock in zone %d: %w", zone, err)
	}
	if f.kind != frameCheckpoint || int(f.zone) != zone || f.size() > limit {
		return nil, malformed("superblock in zone %d: a frame of kind %d for zone %d, %d bytes", zone, f.kind, f.zone, f.size())
	}
	whole := make([]byte, 0, f.size())
	for int64(len(whole)) < f.size() {
		piece := buf.Bytes()[:min(f.size()-int64(len(whole)), int64(buf.Len()))]
		if err := dev.ReadAt(zone, int64(len(whole)), piece); err != nil {
			return nil, fmt.Errorf("read superblock checkpoint in zone %d: %w", zone, err)
		}
		whole = append(whole, piece...)
	}
	if !allZero(whole[frSize+int64(f.body):]) {
		return nil, malformed("superblock checkpoint in zone %d: padding is not zero", zone)
	}
	c, err := parseCheckpoint(&f, whole[frSize:frSize+int64(f.body)])
	if err != nil {
		return nil, err
	}
	l := &superLog{dev: dev, pool: pool, ident: c.ident, count: func() {}, zone: zone, off: f.size(), seq: f.sequence, base: f.sequence, due: true}
	return &superState{log: l, state: c}, nil
}

// replay applies the entries after the checkpoint, up to the first that is not
// whole. If a whole one follows that, an entry that was durable is lost:
// ErrCorrupt, for nothing after it can be trusted.
func (s *superState) replay(pool *buffer.Pool) error {
	l := s.log
	limit, known := l.dev.WritePointer(l.zone)
	if !known {
		limit = l.dev.Geometry().ZoneSize
	}
	w := newWindow(pool, readAhead, limit, func(off int64, b []byte) error { return l.dev.ReadAt(l.zone, off, b) })
	defer w.close()
	for l.off < limit {
		f, changes, err := l.readEntry(w, l.off)
		if err == nil && (f.sequence <= l.seq || (f.kind == frameEntry && f.sequence != l.seq+1)) {
			err = malformed("superblock entry %d after %d", f.sequence, l.seq)
		}
		if err != nil {
			return s.end(w, known, err)
		}
		if f.kind == frameMoved {
			return fmt.Errorf("disk %v: superblock: the log went on in zone %d, whose checkpoint %d cannot be read: %w", l.ident.Disk, 1-l.zone, f.sequence, holdall.ErrCorrupt)
		}
		for i := range changes {
			if err := s.state.check(&changes[i]); err != nil {
				return fmt.Errorf("disk %v: superblock entry %d: %w", l.ident.Disk, f.sequence, err)
			}
			s.state.apply(&changes[i])
		}
		l.off += f.size()
		l.seq = f.sequence
	}
	return nil
}

// readEntry reads the entry frame of this log at off.
func (l *superLog) readEntry(w *window, off int64) (*frame, []change, error) {
	b, err := w.at(off, SectorSize)
	if err != nil {
		return nil, nil, err
	}
	var f frame
	if err := f.decode(b); err != nil {
		return nil, nil, err
	}
	if f.kind == frameCheckpoint || f.base != l.base || f.offset != off || int(f.zone) != l.zone || f.disk != l.ident.Disk || f.cell != l.ident.Cell {
		return nil, nil, malformed("a superblock frame that belongs elsewhere")
	}
	if b, err = w.at(off, int(f.size())); err != nil {
		return nil, nil, err
	}
	if !allZero(b[frSize+int(f.body):]) {
		return nil, nil, malformed("superblock entry %d: padding is not zero", f.sequence)
	}
	changes, err := parseEntry(&f, b[frSize:frSize+int(f.body)])
	return &f, changes, err
}

// end judges the first place at which no whole entry lies.
func (s *superState) end(w *window, known bool, cause error) error {
	l := s.log
	last := w.limit
	if !known { // beyond the log lies whatever the medium held before
		last = min(last, l.off+maxEntryBody+SectorSize)
	}
	blank := true
	for off := l.off; off < last; off += SectorSize {
		b, err := w.at(off, SectorSize)
		blank = blank && err == nil && (allZero(b) || (!known && !l.remains(b)))
		if f, _, err := l.readEntry(w, off); err == nil && f.sequence > l.seq && off > l.off {
			return fmt.Errorf("disk %v: superblock entry %d at %d is bad, entry %d after it is whole: %v: %w", l.ident.Disk, l.seq+1, l.off, f.sequence, cause, holdall.ErrCorrupt)
		}
	}
	if known || !blank {
		s.torn = fmt.Sprintf("superblock: bytes after entry %d in zone %d at %d: %v", l.seq, l.zone, l.off, cause)
	}
	return nil
}

// remains reports whether sector b, which is no whole frame, is what is left of
// one of this log, and not of what the medium held before.
func (l *superLog) remains(b []byte) bool {
	le := binary.LittleEndian
	magic := string(b[:8]) == SuperMagic
	ident := holdall.CellID(b[frCell:frDisk]) == l.ident.Cell && holdall.DiskID(b[frDisk:frSequence]) == l.ident.Disk
	if le.Uint64(b[frBase:]) == l.base {
		return magic || ident
	}
	return magic && ident && le.Uint32(b[frSum:]) != checksum(b[:frSum]) // a whole older one has another base
}
