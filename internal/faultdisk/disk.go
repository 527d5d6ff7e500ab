package faultdisk

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/volume"
)

// Config describes the disks of an Array.
type Config struct {
	ZoneSize int64 // bytes; 0 = 1 MiB
	Zones    int   // 0 = 64
	MaxOpen  int   // the most part-written zones; 0 = no limit

	// Conventional makes a disk that takes writes anywhere, as a raw disk
	// without zones does: opened again, it knows no pointers.
	Conventional bool

	Timing Timing // what calls cost; zero = nothing
	Clock  Clock  // nil = costs are counted, not waited for
}

// Disk is one disk of an Array, as one process has it open. It implements
// volume.Device and is safe for concurrent use.
type Disk struct {
	array *Array
	index int
	cfg   Config

	// The fields below are guarded by array.mu.
	medium  *medium
	session map[int]*session // zones that this process has used
	faults  []*Injection
	counts  Counts
	delay   time.Duration // added to each read, append and sync
	head    int64         // where the last read or append ended
	free    time.Time     // when the arm is idle again, by the Clock
	room    int           // zones that may still be opened; -1 = all
	gone    error         // every call fails with it
	lost    error         // Check fails with it
	ro      bool
}

// session is what an open device knows of a zone.
type session struct {
	off     int64
	known   bool
	writing bool
	broken  error
}

// Counts are calls on a disk, since it was made; failed ones too. A Sync that
// has nothing to sync is none.
type Counts struct {
	Appends, Syncs, Reads, Resets, Finishes, Checks int64
	AppendBytes, ReadBytes                          int64
	Seeks                                           int64         // reads and appends that were not where the arm was
	Retries                                         int64         // appends to and syncs of zones already broken: must be 0
	Busy                                            time.Duration // by Timing
}

// fail makes an error that names the disk.
func (d *Disk) fail(zone int, kind error, format string, args ...any) error {
	return fmt.Errorf("disk fault-%d: zone %d: %s: %w", d.index, zone, fmt.Sprintf(format, args...), kind)
}

// Geometry implements volume.Device.
func (d *Disk) Geometry() volume.Geometry {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	g := volume.Geometry{ZoneSize: d.cfg.ZoneSize, Zones: d.cfg.Zones, MaxOpen: d.cfg.MaxOpen, Available: d.cfg.Zones}
	if d.room >= 0 {
		g.Available = min(g.Available, d.room)
	}
	return g
}

// at returns what this process knows of zone. The caller holds array.mu.
func (d *Disk) at(zone int) *session {
	s := d.session[zone]
	if s == nil {
		s = &session{}
		if !d.cfg.Conventional {
			s.off, s.known = d.medium.zone(zone).ptr, true
		}
		d.session[zone] = s
	}
	return s
}

func (d *Disk) checkZone(zone int) error {
	if zone < 0 || zone >= d.cfg.Zones {
		return d.fail(zone, holdall.ErrInvalid, "no such zone, the disk has %d", d.cfg.Zones)
	}
	return nil
}

// openZones counts the part-written zones. The caller holds array.mu.
func (d *Disk) openZones() int {
	n := 0
	for zone := range d.medium.zones {
		d.at(zone)
	}
	for _, s := range d.session {
		if s.known && (s.off > 0 || s.writing) && s.off < d.cfg.ZoneSize {
			n++
		}
	}
	return n
}

// WritePointer implements volume.Device.
func (d *Disk) WritePointer(zone int) (int64, bool) {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	if d.checkZone(zone) != nil || d.gone != nil {
		return 0, false
	}
	s := d.at(zone)
	return s.off, s.known
}

// SetPointer implements volume.Device.
func (d *Disk) SetPointer(zone int, off int64) error {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	if err := d.checkZone(zone); err != nil {
		return err
	}
	if off < 0 || off > d.cfg.ZoneSize || off%sector != 0 {
		return d.fail(zone, holdall.ErrInvalid, "write pointer %d", off)
	}
	s := d.at(zone)
	if s.known && s.off != off {
		return d.fail(zone, holdall.ErrStale, "write pointer is %d, not %d", s.off, off)
	}
	s.off, s.known = off, true
	return nil
}

// Append implements volume.Device.
func (d *Disk) Append(zone int, off int64, bufs ...[]byte) error {
	n, err := checkAligned(bufs)
	if err != nil {
		return d.fail(zone, holdall.ErrInvalid, "append: %v", err)
	}
	op := &Op{Kind: OpAppend, Disk: d.index, Zone: zone, Off: off, sectors: split(bufs)}
	in, err := d.beginAppend(op, n)
	if err != nil {
		return err
	}
	err = in.wait(d)
	d.pass(op, n)
	return d.endAppend(op, in, err)
}

// beginAppend checks an append and claims its zone.
func (d *Disk) beginAppend(op *Op, n int64) (*Injection, error) {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	d.counts.Appends++
	if err := d.usable(op.Zone, true); err != nil {
		return nil, err
	}
	s := d.at(op.Zone)
	switch {
	case s.broken != nil:
		d.counts.Retries++
		return nil, d.fail(op.Zone, holdall.ErrDiskFailed, "takes no appends since: %v", s.broken)
	case !s.known:
		return nil, d.fail(op.Zone, holdall.ErrInvalid, "append before anyone said where the log ends")
	case s.writing:
		return nil, d.fail(op.Zone, holdall.ErrInvalid, "append at %d while another is at work", op.Off)
	case op.Off != s.off:
		return nil, d.fail(op.Zone, holdall.ErrStale, "append at %d, write pointer is %d", op.Off, s.off)
	case n == 0 || op.Off+n > d.cfg.ZoneSize:
		return nil, d.fail(op.Zone, holdall.ErrInvalid, "append of %d bytes at %d of a zone of %d", n, op.Off, d.cfg.ZoneSize)
	case op.Off == 0 && d.cfg.MaxOpen > 0 && d.openZones() >= d.cfg.MaxOpen:
		return nil, d.fail(op.Zone, holdall.ErrExhausted, "%d zones are open", d.cfg.MaxOpen)
	case op.Off == 0 && d.room == 0:
		return nil, d.fail(op.Zone, holdall.ErrDiskFull, "no room for a zone")
	}
	s.writing = true
	return d.shot(op.Kind, op.Zone), nil
}

// endAppend puts the bytes where they belong, or where the fault says.
func (d *Disk) endAppend(op *Op, in *Injection, err error) error {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	s := d.at(op.Zone)
	s.writing = false
	if gone := d.usable(op.Zone, true); gone != nil {
		return gone
	}
	if err != nil {
		op.sectors = op.sectors[:min(in.fault.Lands/sector, int64(len(op.sectors)))]
		if op.Off > 0 || len(op.sectors) > 0 || !errors.Is(err, holdall.ErrDiskFull) {
			s.broken = err
		}
	} else if in != nil {
		op.effect, op.toZone, op.toOff = in.fault.Effect, in.fault.ToZone, in.fault.ToOff
	}
	if len(op.sectors) == 0 {
		return err
	}
	if op.Off == 0 && d.room > 0 {
		d.room--
	}
	d.counts.AppendBytes += int64(len(op.sectors)) * sector
	d.array.do(d.medium, op)
	if err == nil {
		s.off += int64(len(op.sectors)) * sector
	}
	return err
}

// ReadAt implements volume.Device.
func (d *Disk) ReadAt(zone int, off int64, buf []byte) error {
	n, err := checkAligned([][]byte{buf})
	if err != nil {
		return d.fail(zone, holdall.ErrInvalid, "read: %v", err)
	}
	in, err := d.beginRead(zone, off, n)
	if err != nil {
		return err
	}
	if err := in.wait(d); err != nil {
		return err
	}
	d.pass(&Op{Kind: OpRead, Zone: zone, Off: off}, n)
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	if err := d.usable(zone, false); err != nil {
		return err
	}
	if err := d.medium.read(zone, off, buf); err != nil {
		return d.fail(zone, holdall.ErrUnavailable, "read of %d bytes at %d: %v", n, off, err)
	}
	return nil
}

func (d *Disk) beginRead(zone int, off, n int64) (*Injection, error) {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	d.counts.Reads++
	if err := d.usable(zone, false); err != nil {
		return nil, err
	}
	s := d.at(zone)
	end := s.off
	if !s.known {
		end = d.cfg.ZoneSize
	}
	if off < 0 || off%sector != 0 || n == 0 || off+n > end {
		return nil, d.fail(zone, holdall.ErrInvalid, "read of %d bytes at %d, the zone ends at %d", n, off, end)
	}
	d.counts.ReadBytes += n
	return d.shot(OpRead, zone), nil
}

// Sync implements volume.Device. It makes durable what was appended to the
// named zones before the call, and no more than that.
func (d *Disk) Sync(zones ...int) error {
	covers, in, err := d.beginSync(&zones)
	if err != nil || len(zones) == 0 {
		return err
	}
	err = in.wait(d)
	d.pass(&Op{Kind: OpSync}, 0)
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	for _, zone := range zones {
		if gone := d.usable(zone, true); gone != nil {
			return gone
		}
		if err != nil {
			d.at(zone).broken = err
		} else if in == nil || in.fault.Effect != Lose {
			d.array.do(d.medium, &Op{Kind: OpSync, Disk: d.index, Zone: zone, covers: covers})
		}
	}
	return err
}

// beginSync returns which calls a sync covers, having cut zones to those that
// have something to sync. A zone whose write or sync failed is not synced again.
func (d *Disk) beginSync(zones *[]int) (int64, *Injection, error) {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	named := *zones
	if len(named) == 0 {
		for zone := range d.medium.zones {
			named = append(named, zone)
		}
	}
	*zones = nil
	hit := 0
	for _, zone := range named {
		if err := d.usable(zone, true); err != nil {
			return 0, nil, err
		}
		if s := d.at(zone); s.broken != nil {
			d.counts.Retries++
			return 0, nil, d.fail(zone, holdall.ErrDiskFailed, "sync: its write failed: %v", s.broken)
		}
		if len(d.medium.zone(zone).pending) > 0 {
			*zones = append(*zones, zone)
			hit = zone
		}
	}
	if len(*zones) == 0 {
		return 0, nil, nil
	}
	d.counts.Syncs++
	return d.array.seq, d.shot(OpSync, hit), nil
}

// Reset implements volume.Device.
func (d *Disk) Reset(zone int) error { return d.change(OpReset, zone) }

// Finish implements volume.Device. It makes the pointer durable, not the bytes
// below it.
func (d *Disk) Finish(zone int) error { return d.change(OpFinish, zone) }

func (d *Disk) change(kind OpKind, zone int) error {
	in, err := d.beginChange(kind, zone)
	if err != nil {
		return err
	}
	if err := in.wait(d); err != nil {
		return err
	}
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	if err := d.usable(zone, true); err != nil {
		return err
	}
	s := d.at(zone)
	if kind == OpReset && s.off > 0 && d.room >= 0 {
		d.room++
	}
	d.array.do(d.medium, &Op{Kind: kind, Disk: d.index, Zone: zone})
	if kind == OpReset {
		*s = session{known: true}
	} else {
		s.off, s.known = d.cfg.ZoneSize, true
	}
	return nil
}

func (d *Disk) beginChange(kind OpKind, zone int) (*Injection, error) {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	if kind == OpReset {
		d.counts.Resets++
	} else {
		d.counts.Finishes++
	}
	if err := d.usable(zone, true); err != nil {
		return nil, err
	}
	if s := d.at(zone); s.broken != nil && kind == OpFinish {
		return nil, d.fail(zone, holdall.ErrDiskFailed, "finish: takes no more since: %v", s.broken)
	}
	return d.shot(kind, zone), nil
}

// Check implements volume.Device.
func (d *Disk) Check() error {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	d.counts.Checks++
	if d.gone != nil {
		return d.gone
	}
	return d.lost
}

// Close implements volume.Device: calls fail from then on. It makes nothing
// durable, and loses nothing: see Reopen.
func (d *Disk) Close() error {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	d.gone = d.fail(-1, holdall.ErrDiskFailed, "closed")
	return nil
}

// Reopen closes d, if it is not, and puts in its place in the array the same
// disk as a new process would find it, without the faults and states of d but
// with its contents, unsynced writes and counts.
func (d *Disk) Reopen() *Disk {
	d.Close()
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	n := newDisk(d.array, d.index, d.cfg, d.medium.clone())
	n.counts = d.counts
	d.array.disks[d.index] = n
	return n
}

// Counts returns what was called so far.
func (d *Disk) Counts() Counts {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	return d.counts
}

// usable says why a call on zone must fail. The caller holds array.mu.
func (d *Disk) usable(zone int, change bool) error {
	if d.gone != nil {
		return d.gone
	}
	if err := d.checkZone(zone); err != nil {
		return err
	}
	if change && d.ro {
		return d.fail(zone, holdall.ErrDiskFailed, "the disk is read-only")
	}
	return nil
}

// checkAligned returns the length of bufs, if a direct read or write could take
// them.
func checkAligned(bufs [][]byte) (int64, error) {
	var n int64
	for _, b := range bufs {
		if len(b)%sector != 0 {
			return 0, fmt.Errorf("%d bytes are not whole sectors", len(b))
		}
		if len(b) > 0 && uintptr(unsafe.Pointer(&b[0]))%sector != 0 {
			return 0, errors.New("memory is not aligned to sectors")
		}
		n += int64(len(b))
	}
	return n, nil
}

var _ volume.Device = (*Disk)(nil)
