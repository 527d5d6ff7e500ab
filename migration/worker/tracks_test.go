package worker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/holdall/holdall/migration/source"
)

// walkModel is a walk over keys in memory whose process may die at every moment.
type walkModel struct {
	r       *rand.Rand
	keys    []string
	notes   map[int][]byte // what metadata hold
	settled map[string]int
	resumed int
	run     runID
}

// list answers a request as a server does.
func (m *walkModel) list(q source.ListRequest) (p source.Page) {
	most := 7
	if q.Most > 0 {
		most = q.Most
	}
	for _, key := range m.keys {
		if key <= q.After.Key {
			continue
		}
		if len(p.Entries) == most {
			p.More = true
			break
		}
		p.Entries = append(p.Entries, source.Entry{Key: key})
	}
	if n := len(p.Entries); n > 0 {
		p.Next.Key = p.Entries[n-1].Key
	}
	return p
}

// stored reads the notes as a Runner does.
func (m *walkModel) stored() (all []stretch) {
	for i := 0; m.notes[i] != nil; i++ {
		_, s, err := parseStretch(m.notes[i])
		if err != nil {
			panic(err)
		}
		all = append(all, s)
	}
	if !covered(all) {
		return nil
	}
	return all
}

// flush writes what is due; it may die between two notes.
func (m *walkModel) flush(t *tracks) (died bool) {
	for _, n := range t.notesDue() {
		if m.r.IntN(60) == 0 {
			return true
		}
		m.notes[n.number] = n.encode(m.run)
	}
	return false
}

// live is one life of the process. It says whether the walk has ended.
func (m *walkModel) live() bool {
	tr, plan := newTracks(m.stored()), source.NewPlan("", 5, false)
	if len(tr.ranges) > 0 {
		m.resumed++
	}
	plan.Restore(tr.restore())
	type open struct {
		page *page
		key  string
	}
	var work []open
	var out []source.Task
	for step := 0; ; step++ {
		for len(out) < 5 {
			task, ok := plan.Next()
			if !ok {
				break
			}
			out = append(out, task)
		}
		if len(out) == 0 && len(work) == 0 {
			return !m.flush(tr)
		}
		if len(out) > 0 && m.r.IntN(2) == 0 {
			i := m.r.IntN(len(out))
			task := out[i]
			out = slices.Delete(out, i, i+1)
			entries := plan.Take(task, m.list(task.Request))
			p := tr.take(source.Found{Entries: entries, Ranges: plan.Changed()})
			for _, e := range entries {
				work = append(work, open{p, e.Key})
			}
		}
		for range m.r.IntN(9) {
			if len(work) == 0 {
				break
			}
			i := m.r.IntN(len(work))
			m.settled[work[i].key]++
			tr.settle(work[i].page)
			work = slices.Delete(work, i, i+1)
		}
		if m.r.IntN(10) == 0 && m.flush(tr) || m.r.IntN(60) == 0 {
			return false
		}
	}
}

// Whenever the process dies, every key is settled once at least before the notes
// say so.
func TestAWalkThatDiesLeavesNoKeyOut(t *testing.T) {
	seeds, resumed := uint64(60), 0
	if *full {
		seeds = 5000
	}
	for seed := range seeds {
		m := &walkModel{r: rand.New(rand.NewPCG(seed, 0)), notes: map[int][]byte{}, settled: map[string]int{}, run: runID{byte(seed)}}
		for i := range 300 {
			m.keys = append(m.keys, fmt.Sprintf("%03d/%c", i/2, 'a'+i%2))
		}
		for lives := 0; !m.live(); lives++ {
			if lives > 2000 {
				t.Fatalf("seed %d: it never ends", seed)
			}
		}
		for _, key := range m.keys {
			if m.settled[key] == 0 {
				t.Fatalf("seed %d: %s was left out", seed, key)
			}
		}
		for _, s := range m.stored() {
			if !s.done {
				t.Errorf("seed %d: %+v is not done", seed, s)
			}
		}
		resumed += m.resumed
	}
	if resumed == 0 {
		t.Error("nothing was resumed")
	}
	t.Logf("%d lives resumed a walk", resumed)
}
