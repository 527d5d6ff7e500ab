package faultdisk

import (
	"sync/atomic"
	"time"

	"github.com/holdall/holdall"
)

// AnyZone in a Fault matches calls on every zone.
const AnyZone = -1

// Effect is how a call goes wrong.
type Effect uint8

// The effects.
const (
	// Fail makes the call return Fault.Err. Of a failing append, Fault.Lands
	// bytes reach the disk all the same, unsynced. Bytes of a failing sync stay
	// unsynced for ever.
	Fail Effect = iota

	// Lose makes the call report success and do nothing: a lost write (the
	// pointer moves, the old bytes stay), a sync that syncs nothing.
	Lose

	// Misdirect makes an append report success and land at Fault.ToZone and
	// ToOff, durably, whatever is there.
	Misdirect

	// Hang makes the call wait until Fault.Until is closed, then go on.
	Hang
)

// Fault says which calls on a disk go wrong, and how.
type Fault struct {
	Op     OpKind // the calls it concerns: OpAppend, OpSync, OpRead, OpReset, OpFinish
	Zone   int    // calls on this zone; AnyZone = all. A sync of several zones counts as one of its last
	Skip   int    // how many of those calls go well first
	Count  int    // how many then go wrong; 0 = one, -1 = all
	Effect Effect

	Err    error           // Fail: what the call returns; nil = ErrDiskFailed, of a read ErrUnavailable
	Lands  int64           // Fail: bytes of an append that are written nevertheless
	ToZone int             // Misdirect
	ToOff  int64           // Misdirect
	Until  <-chan struct{} // Hang
}

// Injection is a Fault at work on a disk.
type Injection struct {
	fault Fault
	skip  int // guarded by array.mu
	left  int // guarded by array.mu; -1 = no end
	hits  atomic.Int64
}

// Hits returns how many calls went wrong because of the fault.
func (in *Injection) Hits() int { return int(in.hits.Load()) }

// Inject makes calls on d go wrong from now on. Where several faults match a
// call, the one injected first is tried first.
func (d *Disk) Inject(f Fault) *Injection {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	in := &Injection{fault: f, skip: f.Skip, left: f.Count}
	if f.Count == 0 {
		in.left = 1
	}
	d.faults = append(d.faults, in)
	return in
}

// Heal ends every injected fault of d, and every state but Unplug.
func (d *Disk) Heal() {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	d.faults, d.lost, d.ro, d.room, d.delay = nil, nil, false, -1, 0
}

// shot returns the fault that hits this call, or nil. The caller holds array.mu.
func (d *Disk) shot(kind OpKind, zone int) *Injection {
	for _, in := range d.faults {
		if in.fault.Op != kind || in.left == 0 || (in.fault.Zone != AnyZone && in.fault.Zone != zone) {
			continue
		}
		if in.skip > 0 {
			in.skip--
			continue
		}
		if in.left > 0 {
			in.left--
		}
		in.hits.Add(1)
		return in
	}
	return nil
}

// wait hangs, and returns the error that the call has to return.
func (in *Injection) wait(d *Disk) error {
	if in == nil {
		return nil
	}
	switch in.fault.Effect {
	case Hang:
		<-in.fault.Until
	case Fail:
		kind := in.fault.Err
		if kind == nil && in.fault.Op == OpRead {
			kind = holdall.ErrUnavailable
		} else if kind == nil {
			kind = holdall.ErrDiskFailed
		}
		return d.fail(in.fault.Zone, kind, "injected %v error", in.fault.Op)
	}
	return nil
}

// Unplug takes the disk away: every call fails with ErrDiskFailed, until Plug.
func (d *Disk) Unplug() {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	d.gone = d.fail(-1, holdall.ErrDiskFailed, "unplugged")
}

// Plug gives an unplugged disk back, to the process that had it open.
func (d *Disk) Plug() {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	d.gone = nil
}

// Detach makes the disk one whose directory was removed or renamed: calls
// through open handles go on as if nothing had happened, and Check fails.
func (d *Disk) Detach() {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	d.lost = d.fail(-1, holdall.ErrDiskFailed, "is gone")
}

// SetReadOnly makes every call that changes the disk fail.
func (d *Disk) SetReadOnly(on bool) {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	d.ro = on
}

// SetRoom says how many empty zones can still be opened before appends to them
// are ErrDiskFull; resets make room again. -1 = all. An append that finds no
// room inside a zone is a Fault with Err ErrDiskFull.
func (d *Disk) SetRoom(zones int) {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	d.room = zones
}

// SetDelay adds to the cost of each read, append and sync.
func (d *Disk) SetDelay(t time.Duration) {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	d.delay = t
}

// Peek returns n bytes of the medium at off of zone, whatever the pointer says.
// All four are whole sectors.
func (d *Disk) Peek(zone int, off, n int64) []byte {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	buf := make([]byte, n)
	z := d.medium.zone(zone)
	for i := int64(0); i < n; i += sector {
		copy(buf[i:], at(z.volatile, (off+i)/sector))
	}
	return buf
}

// Poke puts b, whole sectors, at off of zone, durably, whatever is there and
// wherever the pointer is. Unreadable sectors become readable.
func (d *Disk) Poke(zone int, off int64, b []byte) {
	if off%sector != 0 || len(b)%sector != 0 {
		panic("faultdisk: Poke of part of a sector")
	}
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	z := d.medium.change(zone)
	z.put(off, split([][]byte{b}), true)
	for i := int64(0); i < int64(len(b)); i += sector {
		delete(z.bad, (off+i)/sector)
	}
}

// Rot flips bit 0 to 7 of the byte at off of zone, durably.
func (d *Disk) Rot(zone int, off int64, bit int) {
	b := d.Peek(zone, off/sector*sector, sector)
	b[off%sector] ^= 1 << bit
	d.Poke(zone, off/sector*sector, b)
}

// Swap exchanges n bytes at off of zone a with those at the same place of zone
// b, as a disk with a broken map would.
func (d *Disk) Swap(a, b int, off, n int64) {
	x, y := d.Peek(a, off, n), d.Peek(b, off, n)
	d.Poke(a, off, y)
	d.Poke(b, off, x)
}

// Unreadable makes reads that touch the sector at off of zone fail, until it is
// poked or the zone is reset.
func (d *Disk) Unreadable(zone int, off int64) {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	d.medium.change(zone).spoil(off / sector)
}
