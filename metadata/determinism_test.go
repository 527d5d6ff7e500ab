package metadata

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
	"pgregory.net/rapid"
)

// script returns the entries of a random run, the same for the same seed. Entry
// i has index i+1.
func script(t testing.TB, seed, steps int) [][]byte {
	t.Helper()
	return rapid.Custom(func(rt *rapid.T) [][]byte {
		var all [][]byte
		r := newRig(t)
		record := func(c command, into result) {
			entry, err := encodeCommand(header{Time: r.now}, c)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, entry)
			r.ok(c, into)
		}
		record(&initCell{Cell: holdall.CellID{1}, Retention: DefaultRetention}, noResult{})
		for i := range 3 {
			record(&addDisk{Disk{ID: disk(i), State: holdall.DiskActive}}, noResult{})
		}
		entry, err := encodeCommand(header{Time: r.now}, &openSession{"model"})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry)
		d := newDriver(rt, r)
		for range steps {
			d.step()
		}
		return append(all, d.all...)
	}).Example(seed)
}

// nameScript returns the entries of a random run on buckets, objects and uploads.
func nameScript(t testing.TB, seed, steps int) [][]byte {
	t.Helper()
	return rapid.Custom(func(rt *rapid.T) [][]byte {
		r := newCell(t, 3)
		d := newNameDriver(rt, r)
		for range steps {
			d.step()
		}
		return r.all
	}).Example(seed)
}

func (r *rig) applyEntry(index uint64, entry []byte) []byte {
	r.t.Helper()
	answer, err := r.m.apply(index, 1, entry)
	if err != nil {
		r.t.Fatalf("entry %d: %v", index, err)
	}
	return answer
}

// TestSameEntriesGiveTheSameState applies scripts to two machines: one straight
// through; one that crashes and starts again at random places, from what it had
// flushed, and is given entries again that it has applied. After every crash its
// state is, to the byte, what the other's was at that index, and so is the end.
func TestSameEntriesGiveTheSameState(t *testing.T) {
	crashes := 0
	for seed := range 20 {
		entries := script(t, seed, 250)
		if seed >= 12 {
			entries = nameScript(t, seed, 250)
		}
		a := newRig(t)
		states, answers := []string{everything(t, a.db)}, []string{""}
		for i, entry := range entries {
			answers = append(answers, string(a.applyEntry(uint64(i+1), entry)))
			states = append(states, everything(t, a.db))
		}
		rng := rand.New(rand.NewPCG(uint64(seed), 7))
		mem := vfs.NewCrashableMem()
		b := &rig{t: t, db: openTestState(t, mem, "state")}
		b.reload()
		for i := uint64(1); i <= uint64(len(entries)); i++ {
			known := b.m.appliedIndex()
			got := b.applyEntry(i, entries[i-1])
			if i > known && string(got) != answers[i] || i <= known && got != nil {
				t.Fatalf("seed %d: answer to entry %d is %x, was %x", seed, i, got, answers[i])
			}
			switch rng.IntN(40) {
			case 0, 1:
				if err := b.db.Flush(); err != nil {
					t.Fatal(err)
				}
			case 2:
				mem = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				b.db.Close()
				b.db = openTestState(t, mem, "state")
				b.reload()
				crashes++
				at := b.m.appliedIndex()
				if at > max(known, i) || everything(t, b.db) != states[at] {
					t.Fatalf("seed %d: after a crash at entry %d the state is not that of entry %d", seed, i, at)
				}
				audit(t, b.db)
				i = at - min(at, uint64(rng.IntN(5))) // Raft may give some again
			}
		}
		if everything(t, b.db) != states[len(entries)] {
			t.Errorf("seed %d: the states differ at the end", seed)
		}
		b.db.Close()
	}
	if crashes < 10 {
		t.Errorf("only %d crashes", crashes)
	}
}

// TestStateHoldsWhatWasFlushed is the control: without a flush nothing is there
// after a crash, or the test above would prove nothing.
func TestStateHoldsWhatWasFlushed(t *testing.T) {
	for _, flush := range []bool{false, true} {
		mem := vfs.NewCrashableMem()
		r := &rig{t: t, db: openTestState(t, mem, "state"), now: day}
		r.reload()
		r.ok(&initCell{Cell: holdall.CellID{1}}, noResult{})
		if flush {
			if err := r.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		crashed := mem.CrashClone(vfs.CrashCloneCfg{})
		r.db.Close()
		r.db = openTestState(t, crashed, "state")
		r.reload()
		if got := r.m.appliedIndex() == 1; got != flush {
			t.Errorf("flushed %t: entry there after the crash: %t", flush, got)
		}
		r.db.Close()
	}
}
