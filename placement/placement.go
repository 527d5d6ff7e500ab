// Package placement picks the disks of a new volume. It owns the rules: which
// disks may hold a member, what members may not share, how free space and
// scatter weigh. It is a pure function of its arguments: it reads no table and no
// clock, makes its choices from a seed, and never moves or writes anything.
package placement

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/holdall/holdall"
)

// ReservedZones is how many of a disk's open zones no volume may use: two for the
// superblock log, two for repair.
const ReservedZones = 4

// DefaultScatter is the default of Request.Scatter, in multiples of n-1: enough
// disks to rebuild a lost one at many times its own speed, and few enough that
// losing any f+1 disks at once mostly hits no volume.
const DefaultScatter = 4

// Disk is what placement needs to know of a disk.
type Disk struct {
	ID        holdall.DiskID
	Domain    string // labels, outermost first, the host last: "rack1/host3"; "" = none
	State     holdall.DiskState
	Reason    string // why it is not active, or why not to use it now; "" = may be used
	Free      int64  // bytes that no extent has or was promised
	OpenZones int
	MaxOpen   int // 0 = no limit
}

// Request asks for the members of one volume.
type Request struct {
	Scheme  holdall.Scheme
	Level   Level              // what members may not share; zero = DomainDisk
	Disks   []Disk             // all of the cell, in any order
	Volumes [][]holdall.DiskID // the members of the volumes there are
	Need    int64              // bytes that must be free on each member: an extent, and what is kept for repair
	Scatter int                // about how many other disks one may share volumes with; 0 = DefaultScatter·(n-1)
	Seed    uint64             // the same Request gives the same Choice
}

// Choice is a placement.
type Choice struct {
	Scheme  holdall.Scheme   // the one asked for, or the widest narrower one that fits
	Disks   []holdall.DiskID // member i lies on Disks[i]
	Refused []Refusal        // every disk that could not be used, by id; those removed left out
}

// Refusal says why a disk could not be used.
type Refusal struct {
	Disk   holdall.DiskID
	Reason string
	kind   refusal
}

// Pick chooses disks for r: n of them in distinct domains, at random, weighted by
// free space, and such that disks share volumes with few others (copysets: Cidon
// et al., USENIX ATC'13).
//
// Where a cell has fewer domains than n, each holds as few members as can be, but
// never more than the scheme tolerates to lose. Where some are out of use, the
// volume takes the widest scheme with the same parities that fits the others;
// compare Choice.Scheme with the Request's and say so.
//
// Its errors name the disks and the reasons. They wrap holdall.ErrExhausted when
// the disks are too full, holdall.ErrUnavailable when too many are out of use,
// holdall.ErrRefused when the cell's layout cannot bear the loss of a domain, and
// holdall.ErrInvalid when r makes no sense.
func Pick(r Request) (Choice, error) {
	if err := r.validate(); err != nil {
		return Choice{}, err
	}
	p := newPicker(r)
	if p.share > 1 && p.share > r.Scheme.Tolerance() {
		return Choice{}, fmt.Errorf("placement: %v over %d of %s domain puts %d members into one, and no more than %d may be lost; add domains, or accept it with domain disk: %w",
			r.Scheme, p.topology, r.Level, p.share, r.Scheme.Tolerance(), holdall.ErrRefused)
	}
	scheme, ok := fit(r.Scheme, p.room(p.usable))
	if !ok {
		return Choice{Refused: p.refused}, p.tooFew()
	}
	c := Choice{Scheme: scheme, Refused: p.refused}
	for _, i := range p.pick(scheme.N()) {
		c.Disks = append(c.Disks, p.disks[i].ID)
	}
	return c, nil
}

func (r *Request) validate() error {
	if err := r.Scheme.Validate(); err != nil {
		return fmt.Errorf("placement: scheme: %w", err)
	}
	if r.Level > DomainRegion {
		return fmt.Errorf("placement: %v is no level of domain: %w", r.Level, holdall.ErrInvalid)
	}
	if r.Scatter < 0 || r.Need < 0 {
		return fmt.Errorf("placement: scatter %d and need %d must not be negative: %w", r.Scatter, r.Need, holdall.ErrInvalid)
	}
	seen := map[holdall.DiskID]bool{}
	for _, d := range r.Disks {
		if seen[d.ID] {
			return fmt.Errorf("placement: disk %v is listed twice: %w", d.ID, holdall.ErrInvalid)
		}
		seen[d.ID] = true
	}
	return nil
}

// fit returns s, or the widest scheme with its parities that has at most n
// members.
func fit(s holdall.Scheme, n int) (holdall.Scheme, bool) {
	if s.N() <= n {
		return s, true
	}
	for k := s.K(); k >= 1; k-- {
		// An LRC narrows to rs, which may fit with the same k.
		if narrow := s.Narrow(k); s.Kind != holdall.Copies && narrow.N() <= n && narrow.N() < s.N() {
			return narrow, true
		}
	}
	return holdall.Scheme{}, false
}

// picker is a Request worked out: disks are known by their index.
type picker struct {
	Request
	disks    []Disk     // by id
	names    [][]string // names[l][i] is the domain of disk i at level l
	usable   []int
	refused  []Refusal
	topology int // domains of the cell, out of use or not
	share    int // the most members a domain may hold
	rnd      *rand.Rand
}

func newPicker(r Request) *picker {
	p := &picker{Request: r, rnd: rand.New(rand.NewPCG(r.Seed, 0))}
	for _, d := range r.Disks {
		if d.State != holdall.DiskRemoved {
			p.disks = append(p.disks, d)
		}
	}
	slices.SortFunc(p.disks, func(a, b Disk) int { return slices.Compare(a.ID[:], b.ID[:]) })
	if p.Scatter == 0 {
		p.Scatter = DefaultScatter * (r.Scheme.N() - 1)
	}
	p.names = make([][]string, p.Level+1)
	topology := map[string]bool{}
	for i, d := range p.disks {
		for l := range p.names {
			name, _ := Level(l).of(d)
			p.names[l] = append(p.names[l], name)
		}
		reason, kind := refuse(d, p.Level, p.Need)
		if kind != misplaced {
			topology[p.domain(i)] = true
		}
		if kind == fine {
			p.usable = append(p.usable, i)
		} else {
			p.refused = append(p.refused, Refusal{d.ID, reason, kind})
		}
	}
	p.topology = max(1, len(topology))
	p.share = 1
	if p.Level != DomainDisk {
		p.share = (r.Scheme.N() + p.topology - 1) / p.topology
	}
	return p
}

// domain returns the name of what disk i must share with few other members.
func (p *picker) domain(i int) string { return p.names[p.Level][i] }

// room returns how many members the given disks can hold.
func (p *picker) room(disks []int) (n int) {
	held := map[string]int{}
	for _, i := range disks {
		if held[p.domain(i)] < p.share {
			held[p.domain(i)]++
			n++
		}
	}
	return n
}
