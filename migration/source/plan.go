package source

import (
	"maps"
	"slices"
	"unicode/utf8"
)

// Range is a part of the key space: the keys after From and up to Upto, which is
// included; Upto "" is no bound. From moves as pages come in, so that a walk which
// was cut off goes on where it was.
type Range struct {
	ID   int
	From Position
	Upto string
	Done bool
}

// TaskKind is what a walker is asked to do.
type TaskKind uint8

// The kinds of tasks.
const (
	Seed  TaskKind = iota // list directories, to find ranges to begin with
	Walk                  // list a page of a range
	Probe                 // ask for one key in the middle of what is left of a range
)

// Task is one request of a walk.
type Task struct {
	Kind    TaskKind
	Request ListRequest
	Range   int // of Walk and Probe
}

// Plan divides a listing among walkers. It is a state machine: Next hands out
// requests, Take takes their answers, and every key of the bucket is in exactly one
// range at every moment. It is not for use by many goroutines at once.
type Plan struct {
	walkers  int
	versions bool
	ranges   []*progress  // by ID
	open     []*progress  // those that are not done
	dirty    map[int]bool // ranges that changed since Changed was called
	seeding  string       // directory that all keys seen lie under
	seeded   bool
	asked    bool // a Seed is out
	depth    int
}

// progress is a range and who works at it.
type progress struct {
	Range
	busy    bool
	probing bool
	pages   int // since it was last split
	empty   int // probes in a row that found the upper part empty
}

const (
	seedDepth  = 8  // directories below one another that have nothing beside them
	seedRanges = 4  // for each walker: so that ranges of unlike sizes even out
	minPages   = 2  // of a range before it is split: what is shorter is not worth a probe
	maxEmpty   = 40 // probes without a page between: then the range is left whole
)

// NewPlan plans a walk under a prefix with a number of walkers.
func NewPlan(prefix string, walkers int, versions bool) *Plan {
	return &Plan{walkers: walkers, versions: versions, dirty: map[int]bool{}, seeding: prefix}
}

// Restore puts back the ranges that a walk before this one had. Without any, the
// walk begins anew.
func (p *Plan) Restore(ranges []Range) {
	for _, r := range ranges {
		own := &progress{Range: r}
		p.ranges = append(p.ranges, own)
		if !r.Done {
			p.open = append(p.open, own)
		}
	}
	p.seeded = len(ranges) > 0
}

// Finished says whether every key was listed.
func (p *Plan) Finished() bool { return p.seeded && len(p.open) == 0 }

// Shares returns how many ranges are done, how many are being listed, and how many
// there are.
func (p *Plan) Shares() (done, begun, all int) {
	for _, r := range p.open {
		if r.pages > 0 {
			begun++
		}
	}
	return len(p.ranges) - len(p.open), begun, len(p.ranges)
}

// Next returns a request to make, and false when there is none until an answer
// comes.
func (p *Plan) Next() (Task, bool) {
	if !p.seeded {
		if p.asked {
			return Task{}, false
		}
		p.asked = true
		return Task{Kind: Seed, Request: ListRequest{Prefix: p.seeding, Delimiter: "/"}}, true
	}
	var victim *progress
	for _, r := range p.open {
		switch {
		case !r.busy:
			r.busy = true
			return Task{Kind: Walk, Range: r.ID, Request: ListRequest{After: r.From, Versions: p.versions}}, true
		case !r.probing && r.pages >= minPages && r.empty < maxEmpty && (victim == nil || r.pages > victim.pages):
			victim = r
		}
	}
	if victim == nil {
		return Task{}, false
	}
	at := p.middle(victim)
	if at == "" {
		victim.empty = maxEmpty
		return p.Next()
	}
	victim.probing = true
	return Task{Kind: Probe, Range: victim.ID, Request: ListRequest{After: Position{Key: at}, Most: 1, Versions: p.versions}}, true
}

// middle is where a range is divided. All keys that the seeding saw lie below one
// directory: where that ends is the first place to look whether others follow.
func (p *Plan) middle(r *progress) string {
	end := p.seeding
	if n := len(end); n > 0 && r.Upto == "" && end[n-1] < highest {
		if end = end[:n-1] + string(rune(end[n-1]+1)); end > r.From.Key && utf8.ValidString(end) {
			return end
		}
	}
	return Midpoint(r.From.Key, r.Upto)
}

// Take takes the answer to a task and returns the entries that are the range's
// own. It keeps none of them.
func (p *Plan) Take(t Task, page Page) []Entry {
	if t.Kind == Seed {
		p.seed(t, page)
		return nil
	}
	r := p.ranges[t.Range]
	if t.Kind == Probe {
		p.probed(r, t.Request.After.Key, page)
		return nil
	}
	own := page.Entries
	if r.Upto != "" {
		// The range may have been split after the page was asked for.
		end, _ := slices.BinarySearchFunc(own, r.Upto, func(e Entry, upto string) int {
			if e.Key <= upto {
				return -1
			}
			return 1
		})
		own = own[:end]
	}
	r.busy, r.From, r.pages, r.empty = false, page.Next, r.pages+1, 0
	r.Done = !page.More || r.Upto != "" && (len(own) < len(page.Entries) || page.Next.Key > r.Upto || page.Next == Position{Key: r.Upto})
	p.dirty[r.ID] = true
	if r.Done {
		p.open = slices.DeleteFunc(p.open, func(o *progress) bool { return o == r })
	}
	return own
}

// Failed gives a task back, to be tried again.
func (p *Plan) Failed(t Task) {
	switch t.Kind {
	case Seed:
		p.asked = false
	case Walk:
		p.ranges[t.Range].busy = false
	case Probe:
		p.ranges[t.Range].probing = false
	}
}

// seed makes the first ranges out of the directories found, or looks deeper while
// there is only one.
func (p *Plan) seed(t Task, page Page) {
	p.asked = false
	names := make([]string, 0, len(page.Prefixes)+len(page.Entries))
	names = append(names, page.Prefixes...)
	for i := range page.Entries {
		names = append(names, page.Entries[i].Key)
	}
	slices.Sort(names)
	if len(names) == 1 && len(page.Prefixes) == 1 && !page.More && p.depth < seedDepth && names[0] != t.Request.Prefix {
		p.seeding, p.depth = names[0], p.depth+1
		return
	}
	p.seeded = true
	from := Position{}
	want := p.walkers * seedRanges
	for i := 1; i < want; i++ {
		if at := i * len(names) / want; at > 0 && names[at] > from.Key {
			p.add(from, names[at])
			from = Position{Key: names[at]}
		}
	}
	p.add(from, "")
}

func (p *Plan) add(from Position, upto string) {
	r := &progress{Range: Range{ID: len(p.ranges), From: from, Upto: upto}}
	p.ranges, p.open = append(p.ranges, r), append(p.open, r)
	p.dirty[r.ID] = true
}

// probed splits a range where a probe found keys in its upper part, and shortens
// it where there are none.
func (p *Plan) probed(r *progress, at string, page Page) {
	r.probing = false
	if r.Done || r.From.Key >= at || r.Upto != "" && r.Upto <= at {
		return // it was overtaken
	}
	if len(page.Entries) == 0 && page.More {
		r.empty++ // the server says that there are keys, and names none
		return
	}
	if len(page.Entries) > 0 && (r.Upto == "" || page.Entries[0].Key <= r.Upto) {
		p.add(Position{Key: at}, r.Upto)
		r.pages, r.empty = 0, 0
	} else {
		r.empty++
	}
	r.Upto = at
	p.dirty[r.ID] = true
}

// Changed returns the ranges that changed since it was called before.
func (p *Plan) Changed() (changed []Range) {
	for _, id := range slices.Sorted(maps.Keys(p.dirty)) {
		changed = append(changed, p.ranges[id].Range)
	}
	clear(p.dirty)
	return changed
}

// Bytes of ASCII between which a range is divided. Other bytes are stepped over:
// a key in the middle of a character is one that no server takes.
const (
	lowest  = 0x20
	highest = 0x7f
)

// Midpoint returns a key between lo and hi ("" = no bound) that divides the ASCII
// keys between them about evenly, or "" if there is none worth it.
func Midpoint(lo, hi string) string {
	bounded := hi != ""
	for i := 0; i <= len(lo) && i < maxMidpoint; i++ {
		a, b := lowest-1, highest
		if i < len(lo) {
			a = int(lo[i])
		}
		if bounded && i < len(hi) {
			b = int(hi[i])
		}
		if b > highest {
			b = highest
		}
		if b-a >= 2 {
			mid := lo[:i] + string(rune((a+b)/2))
			if utf8.ValidString(mid) && mid > lo && (hi == "" || mid < hi) {
				return mid
			}
		}
		if bounded && (i >= len(hi) || lo[:min(i+1, len(lo))] != hi[:min(i+1, len(hi))]) {
			bounded = false // below hi already, whatever follows
		}
	}
	return ""
}

// maxMidpoint bounds how deep keys are told apart: longer common beginnings are
// one key's versions, or not worth a probe.
const maxMidpoint = 512 // bytes
