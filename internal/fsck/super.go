package fsck

import (
	"errors"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/volume"
)

// frameHead is the bytes of a superblock frame before its body.
const frameHead = 96

// frame is one frame of the superblock log.
type frame struct {
	kind           uint8
	cell           holdall.CellID
	disk           holdall.DiskID
	sequence, base uint64
	offset         int64
	zone           int
	changes        int
	body           []byte
}

// readSuper reads the superblock log of m. It returns no disk where there is
// none that can be understood.
func readSuper(m *medium) (*disk, []Finding) {
	var findings []Finding
	find := func(zone int, format string, args ...any) {
		findings = append(findings, Finding{Kind: KindSuperblock, Path: m.path, Zone: zone, Member: -1, Detail: fmt.Sprintf(format, args...)})
	}
	if m.zone = zoneSize(m); m.zone == 0 {
		find(0, "there is no superblock checkpoint in zone 0 or 1")
		return nil, findings
	}
	var logs [2][]frame
	best := -1
	for zone := range logs {
		frames, err := readLog(m, zone)
		if err != nil {
			find(zone, "%v", err)
		}
		logs[zone] = frames
		if len(frames) > 0 && (best < 0 || frames[0].sequence > logs[best][0].sequence) {
			best = zone
		}
	}
	if best < 0 {
		find(0, "there is no whole superblock checkpoint in zone 0 or 1")
		return nil, findings
	}
	log := logs[best]
	d := &disk{medium: m, cell: log[0].cell, id: log[0].disk, gens: map[int]uint32{}, extents: map[holdall.ExtentID]*extent{}}
	err := d.checkpoint(log[0].body)
	for i := 1; err == nil && i < len(log); i++ {
		err = d.entry(&log[i])
	}
	if err != nil {
		find(best, "%v", err)
		return nil, findings
	}
	for i := range findings {
		findings[i].Disk = d.id.String()
	}
	return d, findings
}

// zoneSize learns the size of zones from a checkpoint: at the start of zone 0
// or, where that is empty or damaged, of zone 1, which in an image begins where
// its own checkpoint says that zones end.
func zoneSize(m *medium) int64 {
	try := func(zone int, at int64) int64 {
		b := m.pool.Take(sector)
		defer b.Release()
		m.zone = at
		if m.read(zone, 0, b.Bytes()) != nil || string(b.Bytes()[:8]) != volume.SuperMagic || sum(b.Bytes()[:92]) != u32(b.Bytes(), 92) || b.Bytes()[10] != 1 {
			return 0
		}
		return int64(u64(b.Bytes(), frameHead))
	}
	if z := try(0, 0); z > 0 {
		return z
	}
	if m.dir {
		return try(1, 0)
	}
	for at := int64(volume.MinZoneSize); at <= volume.MaxExtentBytes; at *= 2 {
		if try(1, at) == at {
			return at
		}
	}
	return 0
}

// readLog reads the frames of one zone of the log: a checkpoint and the entries
// that follow it. An error is of durable frames that have rotted.
func readLog(m *medium, zone int) ([]frame, error) {
	var frames []frame
	for off := int64(0); off+sector <= m.zone; {
		f, size, err := readFrame(m, zone, off)
		switch {
		case errors.Is(err, errEnd):
			return frames, nil
		case err == nil && len(frames) == 0 && f.kind == 1, err == nil && len(frames) > 0 && follows(&f, frames):
			frames = append(frames, f)
			off += size
			continue
		}
		if len(frames) == 0 {
			return nil, nil // no log is here, or one that was being begun
		}
		return frames, rotten(m, zone, off, frames)
	}
	return frames, nil
}

func follows(f *frame, frames []frame) bool {
	last := &frames[len(frames)-1]
	return f.kind == 2 && f.base == frames[0].sequence && f.sequence == last.sequence+1 && f.cell == last.cell && f.disk == last.disk
}

// rotten says whether the frame at off, which is not whole, was durable once: a
// whole one of the same log follows it.
func rotten(m *medium, zone int, off int64, frames []frame) error {
	for at := off + sector; at+sector <= m.zone; at += sector {
		f, _, err := readFrame(m, zone, at)
		if errors.Is(err, errEnd) {
			return nil
		}
		if err == nil && f.base == frames[0].sequence && f.sequence > frames[len(frames)-1].sequence && f.kind == 2 {
			return fmt.Errorf("the frame at %d is bad, and frame %d at %d follows it: it was durable and has rotted", off, f.sequence, at)
		}
	}
	return nil
}

var errFrame = errors.New("not a frame")

// readFrame reads the frame at off, body included.
func readFrame(m *medium, zone int, off int64) (frame, int64, error) {
	head := m.pool.Take(sector)
	defer head.Release()
	b := head.Bytes()
	if err := m.read(zone, off, b); err != nil {
		return frame{}, 0, err
	}
	if string(b[:8]) != volume.SuperMagic || sum(b[:92]) != u32(b, 92) || u16(b, 8) != volume.FormatVersion || b[11] != 0 || !zeros(b[84:92]) {
		return frame{}, 0, errFrame
	}
	f := frame{
		kind: b[10], cell: holdall.CellID(b[16:32]), disk: holdall.DiskID(b[32:48]), sequence: u64(b, 48), base: u64(b, 56),
		offset: int64(u64(b, 64)), zone: int(u32(b, 72)), changes: int(u32(b, 76)),
	}
	length := int64(u32(b, 12))
	size := pad(frameHead + length)
	if f.offset != off || f.zone != zone || off+size > m.zone || f.kind == 1 && (off != 0 || f.base != f.sequence) || f.kind != 1 && f.kind != 2 {
		return frame{}, 0, errFrame
	}
	whole := append([]byte(nil), b...)
	for rest := size - sector; rest > 0; rest = size - int64(len(whole)) {
		if err := m.read(zone, off+int64(len(whole)), b); err != nil {
			return frame{}, 0, err
		}
		whole = append(whole, b...)
	}
	f.body = whole[frameHead : frameHead+length]
	if sum(f.body) != u32(whole, 80) || !zeros(whole[frameHead+length:]) {
		return frame{}, 0, errFrame
	}
	return f, size, nil
}

// checkpoint takes the whole state from the body of a checkpoint.
func (d *disk) checkpoint(b []byte) error {
	bad := errors.New("the checkpoint contradicts itself")
	if len(b) < 32 || int64(u64(b, 0)) != d.medium.zone || b[17] != 0 || u32(b, 28) != 0 {
		return bad
	}
	d.incarnation, d.state = u64(b, 8), b[16]
	reason, zones, extents := int(u16(b, 18)), int(u32(b, 20)), int(u32(b, 24))
	b = b[32:]
	if len(b) < reason+4*zones {
		return bad
	}
	d.reason, b = string(b[:reason]), b[reason:]
	for z := range zones {
		if g := u32(b, 4*z); g > 0 {
			d.gens[z] = g
		}
	}
	b = b[4*zones:]
	for range extents {
		if len(b) < 72 {
			return bad
		}
		e := &extent{
			id:     holdall.ExtentID{Volume: holdall.VolumeID(u64(b, 8)), Member: b[2], Created: holdall.Epoch(u64(b, 16))},
			scheme: scheme(b[4:8]), epoch: holdall.Epoch(u64(b, 24)), limit: int64(u64(b, 32)), sealed: b[0] == 1, trashed: b[1] == 1,
			end: int64(u64(b, 40)), last: u64(b, 48), footer: int64(u64(b, 56)), footerSize: u32(b, 64),
		}
		n := int(u32(b, 68))
		if b[0] > 1 || b[1] > 1 || b[3] != 0 || len(b) < 72+4*n || e.scheme.Validate() != nil || d.extents[e.id] != nil {
			return bad
		}
		for i := range n {
			e.zones = append(e.zones, int(u32(b, 72+4*i)))
		}
		d.extents[e.id] = e
		b = b[72+4*n:]
	}
	if len(b) != 0 {
		return bad
	}
	return nil
}

func scheme(b []byte) holdall.Scheme {
	return holdall.Scheme{Kind: holdall.SchemeKind(b[0]), Data: b[1], Local: b[2], Global: b[3]}
}

// entry applies the changes of an entry.
func (d *disk) entry(f *frame) error {
	b := f.body
	for i := range f.changes {
		if len(b) < 96 {
			return fmt.Errorf("entry %d: change %d is cut off", f.sequence, i)
		}
		reason := int(u16(b, 88))
		if len(b) < 96+reason || reason > 0 && b[0] != 7 || b[3] != 0 || !zeros(b[90:96]) {
			return fmt.Errorf("entry %d: change %d of kind %d contradicts itself", f.sequence, i, b[0])
		}
		if err := d.change(b[:96], string(b[96:96+reason])); err != nil {
			return fmt.Errorf("entry %d: change %d: %w", f.sequence, i, err)
		}
		b = b[96+reason:]
	}
	if len(b) != 0 {
		return fmt.Errorf("entry %d: %d bytes after its changes", f.sequence, len(b))
	}
	return nil
}

// change applies one change.
func (d *disk) change(b []byte, reason string) error {
	id := holdall.ExtentID{Volume: holdall.VolumeID(u64(b, 8)), Member: b[1], Created: holdall.Epoch(u64(b, 16))}
	e := d.extents[id]
	if b[0] >= 2 && b[0] <= 6 && e == nil {
		return fmt.Errorf("extent %v is not there", id)
	}
	switch b[0] {
	case 1:
		if e != nil {
			return fmt.Errorf("extent %v is made twice", id)
		}
		d.extents[id] = &extent{id: id, scheme: scheme(b[4:8]), epoch: holdall.Epoch(u64(b, 24)), limit: int64(u64(b, 32))}
	case 2:
		zone, gen, place := int(u32(b, 68)), u32(b, 72), int(u32(b, 76))
		if place != len(e.zones) || gen != d.gens[zone]+1 {
			return fmt.Errorf("zone %d, generation %d, at place %d of extent %v, which has %d zones; the zone had generation %d", zone, gen, place, id, len(e.zones), d.gens[zone])
		}
		e.zones, d.gens[zone] = append(e.zones, zone), gen
	case 3:
		e.epoch = holdall.Epoch(u64(b, 24))
	case 4:
		e.sealed, e.epoch = true, holdall.Epoch(u64(b, 24))
		e.end, e.last, e.footer, e.footerSize = int64(u64(b, 40)), u64(b, 48), int64(u64(b, 56)), u32(b, 64)
	case 5:
		e.trashed = true
	case 6:
		delete(d.extents, id)
	case 7:
		d.state, d.reason = b[2], reason
	case 8:
		d.incarnation = u64(b, 80)
	default:
		return fmt.Errorf("unknown kind %d", b[0])
	}
	return nil
}
