package faultdisk

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/holdall/holdall"
)

// Array is disks that lose power together. It is safe for concurrent use.
type Array struct {
	mu    sync.Mutex // guards all below, and the disks' fields that say so
	disks []*Disk
	seq   int64 // calls that changed a disk so far
	trace *Trace
}

// New makes an array of n empty disks.
func New(n int, cfg Config) *Array {
	if cfg.ZoneSize == 0 {
		cfg.ZoneSize = 1 << 20
	}
	if cfg.Zones == 0 {
		cfg.Zones = 64
	}
	a := &Array{}
	for i := range n {
		a.disks = append(a.disks, newDisk(a, i, cfg, newMedium(cfg.ZoneSize)))
	}
	return a
}

func newDisk(a *Array, index int, cfg Config, m *medium) *Disk {
	return &Disk{array: a, index: index, cfg: cfg, medium: m, session: map[int]*session{}, room: -1}
}

// Disk returns disk i, open.
func (a *Array) Disk(i int) *Disk {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.disks[i]
}

// Len returns the number of disks.
func (a *Array) Len() int { return len(a.disks) }

// Replace puts a new, empty disk in place i, and closes the old one.
func (a *Array) Replace(i int) *Disk {
	old := a.Disk(i)
	old.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.disks[i] = newDisk(a, i, old.cfg, newMedium(old.cfg.ZoneSize))
	return a.disks[i]
}

// do applies op to m and records it. The caller holds a.mu.
func (a *Array) do(m *medium, op *Op) {
	op.seq = a.seq
	a.seq++
	m.apply(op)
	if a.trace != nil {
		a.trace.ops = append(a.trace.ops, op)
	}
}

// Kill ends the process that uses the disks: it returns the array as the next
// process finds it, with all that was written. Every call on the old disks
// fails from now on. Injected faults and states end too.
func (a *Array) Kill() *Array { return a.next(nil) }

// Crash cuts the power at this instant, with fates that r chooses for the
// writes that were not synced, and returns the array as it is after that and
// what became of them. Every call on the old disks fails from now on.
func (a *Array) Crash(r *rand.Rand) (*Array, Crash) {
	var c Crash
	n := a.next(func(pending []Write) Crash {
		c = Crash{Fates: make([]Fate, len(pending)), LongPointers: r.IntN(2) == 0}
		for i, w := range pending {
			c.Fates[i] = randomFate(r, w)
		}
		return c
	})
	return n, c
}

// next makes the array that follows a, after the crash that choose describes
// (nil = none).
func (a *Array) next(choose func([]Write) Crash) *Array {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := &Array{seq: a.seq}
	media := make([]*medium, len(a.disks))
	for i, d := range a.disks {
		media[i] = d.medium.clone()
		if d.gone == nil {
			d.gone = d.fail(-1, holdall.ErrDiskFailed, "the process was killed")
		}
	}
	if choose != nil {
		pending := pendingWrites(media)
		choose(pending).hit(media, pending)
	}
	for i, d := range a.disks {
		m := newDisk(n, i, d.cfg, media[i])
		m.counts = d.counts
		n.disks = append(n.disks, m)
	}
	return n
}

// pendingWrites returns the unsynced writes of all media, in order.
func pendingWrites(media []*medium) []Write {
	var all []Write
	for _, m := range media {
		all = append(all, m.writes()...)
	}
	slices.SortFunc(all, func(x, y Write) int { return cmp.Compare(x.seq, y.seq) })
	return all
}

// hit makes c happen to media, whose unsynced writes are pending.
func (c Crash) hit(media []*medium, pending []Write) {
	fates := make(map[int64]Fate, len(pending))
	for i, w := range pending {
		fates[w.seq] = c.Fates[i]
	}
	for _, m := range media {
		m.crash(fates, c.LongPointers)
	}
}

// randomFate chooses among lost, whole and torn.
func randomFate(r *rand.Rand, w Write) Fate {
	units := w.Len / tearUnit
	switch r.IntN(5) {
	case 0, 1:
		return Fate{}
	case 2, 3:
		return Fate{To: w.Len}
	}
	x, y := r.Int64N(units+1)*tearUnit, r.Int64N(units+1)*tearUnit
	switch r.IntN(3) {
	case 0:
		return Fate{To: x} // the start of it
	case 1:
		return Fate{From: x, To: w.Len} // the end: written out of order
	}
	return Fate{From: min(x, y), To: max(x, y)}
}
