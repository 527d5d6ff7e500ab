package placement

import (
	"cmp"
	"slices"

	"github.com/holdall/holdall"
)

// attempts is how often pick tries to find members that keep the scatter, before
// it takes a set that is in use already; choices is how many such it compares.
const (
	attempts = 32
	choices  = 8
)

// pick returns n of the usable disks. There is room for them.
//
// Where the scatter leaves a choice of few sets, chance is no longer fair to
// disks with few mates, so of several sets it takes the one with the most room:
// the least sum of 1/free, which one nearly full disk makes large.
func (p *picker) pick(n int) []int {
	m := p.newMates()
	var best, widest set
	found := 0
	for range attempts {
		s := p.attempt(n, m)
		switch {
		case s.against > 0:
			if widest.members == nil || s.against < widest.against {
				widest = s
			}
			continue
		case !s.limited:
			return s.members
		case best.members == nil || s.crowd < best.crowd:
			best = s
		}
		if found++; found == choices {
			break
		}
	}
	if best.members != nil {
		return best.members
	}
	if again := p.reuse(n); again != nil {
		return again
	}
	return widest.members // the scatter is a wish, a volume a need
}

// set is a candidate for a volume's members.
type set struct {
	members []int
	crowd   float64 // the sum of 1/free
	against int     // pairs that it joins against the scatter
	limited bool    // the scatter ruled some disk out
}

// attempt picks n disks one by one: of those whose domain holds the fewest
// members so far, and of these one that keeps the scatter if there is any, at
// random by free space.
func (p *picker) attempt(n int, m *mates) set {
	held := make([]map[string]int, p.Level+1)
	for l := range held {
		held[l] = map[string]int{}
	}
	left := slices.Clone(p.usable)
	var s set
	for len(s.members) < n {
		best := p.spread(left, held)
		keep := slices.DeleteFunc(slices.Clone(best), func(d int) bool { return m.against(d, s.members) > 0 })
		s.limited = s.limited || len(keep) < len(best)
		if len(keep) > 0 {
			best = keep
		}
		d := p.draw(best)
		s.against += m.against(d, s.members)
		s.members = append(s.members, d)
		s.crowd += 1 / float64(p.disks[d].Free)
		left = slices.DeleteFunc(left, func(i int) bool { return i == d })
		for l := range held {
			held[l][p.names[l][d]]++
		}
	}
	return s
}

// spread returns those of disks that share the least with the members counted in
// held: first at the outermost level, then at the levels inside it.
func (p *picker) spread(disks []int, held []map[string]int) []int {
	sharing := func(d int) (s []int) {
		for l := len(held) - 1; l >= 0; l-- {
			s = append(s, held[l][p.names[l][d]])
		}
		return s
	}
	var best []int
	var least []int
	for _, d := range disks {
		s := sharing(d)
		switch c := slices.Compare(s, least); {
		case best == nil || c < 0:
			best, least = []int{d}, s
		case c == 0:
			best = append(best, d)
		}
	}
	return best
}

// draw returns one of disks, each with a chance in proportion to its free space.
func (p *picker) draw(disks []int) int {
	var total float64
	for _, d := range disks {
		total += float64(p.disks[d].Free)
	}
	x := p.rnd.Float64() * total
	for _, d := range disks {
		if x -= float64(p.disks[d].Free); x < 0 {
			return d
		}
	}
	return disks[len(disks)-1]
}

// reuse returns n members of a volume that there is, all usable, or nil. Of all
// such it takes the one whose fullest disk is the emptiest.
func (p *picker) reuse(n int) []int {
	index := p.index(p.usable)
	var best []int
	var most int64
	for _, v := range p.Volumes {
		var members []int
		for _, id := range v {
			if i, ok := index[id]; ok {
				members = append(members, i)
			}
		}
		if len(members) < n || p.room(members) < n {
			continue
		}
		slices.SortStableFunc(members, func(a, b int) int { return cmp.Compare(p.disks[b].Free, p.disks[a].Free) })
		if members = p.first(n, members); len(members) == n && p.disks[members[n-1]].Free > most {
			best, most = members, p.disks[members[n-1]].Free
		}
	}
	p.rnd.Shuffle(len(best), func(i, j int) { best[i], best[j] = best[j], best[i] })
	return best
}

// first returns the first n of disks of which no domain holds more than its
// share.
func (p *picker) first(n int, disks []int) (members []int) {
	held := map[string]int{}
	for _, d := range disks {
		if held[p.domain(d)] < p.share && len(members) < n {
			held[p.domain(d)]++
			members = append(members, d)
		}
	}
	return members
}

func (p *picker) index(disks []int) map[holdall.DiskID]int {
	m := make(map[holdall.DiskID]int, len(disks))
	for _, i := range disks {
		m[p.disks[i].ID] = i
	}
	return m
}

// mates tells which disks share a volume.
type mates struct {
	rows  [][]uint64 // rows[a] has bit b set when a and b are mates
	count []int
	bound int
}

// newMates finds the mates in the volumes there are. A pair may be joined while
// either disk has fewer than half the scatter width of mates: each pair uses up
// one place, so disks have no more mates than the width on average, and a new
// disk always finds some.
func (p *picker) newMates() *mates {
	m := &mates{rows: make([][]uint64, len(p.disks)), count: make([]int, len(p.disks)), bound: max(1, p.Scatter/2)}
	index := p.index(indices(len(p.disks)))
	var members []int
	for _, v := range p.Volumes {
		members = members[:0]
		for _, id := range v {
			if i, ok := index[id]; ok {
				members = append(members, i)
			}
		}
		for _, a := range members {
			for _, b := range members {
				m.join(a, b)
			}
		}
	}
	return m
}

func (m *mates) join(a, b int) {
	if a == b || m.joined(a, b) {
		return
	}
	if m.rows[a] == nil {
		m.rows[a] = make([]uint64, (len(m.rows)+63)/64)
	}
	m.rows[a][b/64] |= 1 << (b % 64)
	m.count[a]++
}

func (m *mates) joined(a, b int) bool { return m.rows[a] != nil && m.rows[a][b/64]>>(b%64)&1 == 1 }

// against returns how many of members d would be joined with against the bound.
func (m *mates) against(d int, members []int) (n int) {
	for _, e := range members {
		if !m.joined(d, e) && m.count[d] >= m.bound && m.count[e] >= m.bound {
			n++
		}
	}
	return n
}

func indices(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}
