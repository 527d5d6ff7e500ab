package faultdisk

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
)

// OpKind is a kind of call on a disk.
type OpKind uint8

// The kinds of call. Reads are never in a trace.
const (
	OpAppend OpKind = iota + 1
	OpSync
	OpReset
	OpFinish
	OpRead
	OpMark // the test's own event, see Array.Mark
)

// String returns the name of k.
func (k OpKind) String() string {
	return [...]string{"none", "append", "sync", "reset", "finish", "read", "mark"}[k]
}

// Op is one call that changed a disk. A sync of several zones is an op a zone.
type Op struct {
	Kind OpKind
	Disk int
	Zone int
	Off  int64
	Mark any // OpMark: what the test gave

	sectors [][]byte // OpAppend: never changed
	effect  Effect   // OpAppend: Lose or Misdirect
	toZone  int
	toOff   int64
	covers  int64 // OpSync: the seq at which it began
	seq     int64
}

// String returns op as one line.
func (op *Op) String() string {
	if op.Kind == OpMark {
		return fmt.Sprintf("mark %v", op.Mark)
	}
	return fmt.Sprintf("%v disk %d zone %d at %d, %d bytes", op.Kind, op.Disk, op.Zone, op.Off, len(op.sectors)*sector)
}

// Trace is all that happened to an array between Record and Stop, from which
// every crash on the way can be made.
type Trace struct {
	cfg   []Config
	start []*medium
	seq   int64
	ops   []*Op
}

// Record starts a trace at the present state of the disks.
func (a *Array) Record() {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := &Trace{seq: a.seq}
	for _, d := range a.disks {
		t.cfg = append(t.cfg, d.cfg)
		t.start = append(t.start, d.medium.clone())
	}
	a.trace = t
}

// Stop ends the trace that Record started and returns it.
func (a *Array) Stop() *Trace {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.trace
	a.trace = nil
	return t
}

// Mark puts an event of the test's own into the trace: everything in the trace
// before it had happened when Mark was called.
func (a *Array) Mark(v any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.trace != nil {
		a.trace.ops = append(a.trace.ops, &Op{Kind: OpMark, Mark: v, seq: a.seq})
		a.seq++
	}
}

// Ops returns what happened, in order.
func (t *Trace) Ops() []*Op { return t.ops }

// Marks returns the marks among the first n ops.
func (t *Trace) Marks(n int) []any {
	var marks []any
	for _, op := range t.ops[:n] {
		if op.Kind == OpMark {
			marks = append(marks, op.Mark)
		}
	}
	return marks
}

// Fate is the part of an unsynced write that a crash leaves on the disk, bytes
// From to To of it, in units of 512. The zero Fate is all lost.
type Fate struct{ From, To int64 }

// Crash is a power cut: when, and what became of each write not synced then.
type Crash struct {
	Ops   int    // how many ops of the trace had happened
	Fates []Fate // of the unsynced writes, in the order in which they were made

	// LongPointers leaves zones with the write pointers that they had, though
	// bytes below are lost; otherwise a zone ends after the last byte kept.
	LongPointers bool
}

// String returns c on one line, to print where a test fails.
func (c Crash) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "crash after %d ops, long pointers %v, kept:", c.Ops, c.LongPointers)
	for _, f := range c.Fates {
		fmt.Fprintf(&b, " %d-%d", f.From, f.To)
	}
	return b.String()
}

// Image returns the array that c leaves behind.
func (t *Trace) Image(c Crash) *Array {
	media := t.replay(c.Ops)
	pending := pendingWrites(media)
	if len(pending) != len(c.Fates) {
		panic(fmt.Sprintf("faultdisk: %d fates for %d unsynced writes", len(c.Fates), len(pending)))
	}
	return t.image(media, pending, c)
}

func (t *Trace) image(media []*medium, pending []Write, c Crash) *Array {
	a := &Array{seq: t.seq + int64(c.Ops)}
	for i, m := range media {
		a.disks = append(a.disks, newDisk(a, i, t.cfg[i], m.clone()))
	}
	copies := make([]*medium, len(media))
	for i, d := range a.disks {
		copies[i] = d.medium
	}
	c.hit(copies, pending)
	return a
}

// replay returns the disks as they were after n ops.
func (t *Trace) replay(n int) []*medium {
	media := make([]*medium, len(t.start))
	for i, m := range t.start {
		media[i] = m.clone()
	}
	for _, op := range t.ops[:n] {
		if op.Kind != OpMark {
			media[op.Disk].apply(op)
		}
	}
	return media
}

// Effort says how many of the possible crashes Crashes yields.
type Effort struct {
	// Subsets of the unsynced writes, at each instant: all of them where that
	// is no more than this, else none, all, each alone, all but each, and a
	// random choice. 0 = 64.
	Subsets int

	// NoTears leaves out the crashes with one write torn: at each of several
	// places, with the other writes kept, lost, or either.
	NoTears bool

	Seed uint64 // of the random choices
}

// Crashes yields the crashes that could have happened and the array that each
// leaves behind, from the first op to the last. Instants just before a mark are
// left out: those just after it have the same disks and one event more.
func (t *Trace) Crashes(e Effort) iter.Seq2[Crash, *Array] {
	if e.Subsets == 0 {
		e.Subsets = 64
	}
	return func(yield func(Crash, *Array) bool) {
		r := rand.New(rand.NewPCG(e.Seed, 0))
		media := t.replay(0)
		for n := 0; ; n++ {
			if n == len(t.ops) || t.ops[n].Kind != OpMark {
				pending := pendingWrites(media)
				for c := range fates(pending, e, r) {
					c.Ops = n
					if !yield(c, t.image(media, pending, c)) {
						return
					}
				}
			}
			if n == len(t.ops) {
				return
			}
			if op := t.ops[n]; op.Kind != OpMark {
				media[op.Disk].apply(op)
			}
		}
	}
}

// fates yields what may become of the pending writes.
func fates(pending []Write, e Effort, r *rand.Rand) iter.Seq[Crash] {
	return func(yield func(Crash) bool) {
		for kept := range subsets(len(pending), e.Subsets, r) {
			c := Crash{Fates: whole(pending, kept)}
			if !yield(c) {
				return
			}
			// With all kept, pointers are the same either way.
			c.LongPointers = true
			if len(c.Fates) > 0 && !all(kept) && !yield(c) {
				return
			}
		}
		for i, w := range pending {
			if e.NoTears {
				return
			}
			for _, torn := range tears(w) {
				for others := range 3 {
					c := Crash{Fates: whole(pending, chosen(len(pending), others, r)), LongPointers: r.IntN(2) == 0}
					c.Fates[i] = torn
					if !yield(c) {
						return
					}
				}
			}
		}
	}
}

// whole returns the fates in which the writes of kept survive whole and the
// others not at all.
func whole(pending []Write, kept []bool) []Fate {
	f := make([]Fate, len(pending))
	for i, w := range pending {
		if kept[i] {
			f[i].To = w.Len
		}
	}
	return f
}

func all(b []bool) bool {
	for _, x := range b {
		if !x {
			return false
		}
	}
	return true
}

// chosen returns n times false (how 0), true (how 1), or either (how 2).
func chosen(n, how int, r *rand.Rand) []bool {
	b := make([]bool, n)
	for i := range b {
		b[i] = how == 1 || how == 2 && r.IntN(2) == 0
	}
	return b
}

// subsets yields subsets of n things: all of them, or most of them and about
// as many as limit.
func subsets(n, limit int, r *rand.Rand) iter.Seq[[]bool] {
	return func(yield func([]bool) bool) {
		if n < 30 && 1<<n <= limit {
			for mask := range 1 << n {
				b := make([]bool, n)
				for i := range b {
					b[i] = mask>>i&1 == 1
				}
				if !yield(b) {
					return
				}
			}
			return
		}
		for i := -1; i < n; i++ {
			for _, rest := range []bool{false, true} {
				b := chosen(n, 0, r)
				for j := range b {
					b[j] = rest != (j == i)
				}
				if !yield(b) {
					return
				}
			}
		}
		for range limit - 2*(n+1) {
			if !yield(chosen(n, 2, r)) {
				return
			}
		}
	}
}

// tears returns the ways in which w may be torn: its start, or its end alone,
// cut inside the first sector, after it, in the middle, before and inside the
// last sector.
func tears(w Write) []Fate {
	var fates []Fate
	seen := map[int64]bool{0: true, w.Len: true}
	half := w.Len / 2 / sector * sector
	for _, cut := range []int64{tearUnit, sector, half, half + tearUnit, w.Len - sector, w.Len - tearUnit} {
		if !seen[cut] {
			fates = append(fates, Fate{To: cut}, Fate{From: cut, To: w.Len})
		}
		seen[cut] = true
	}
	return fates
}
