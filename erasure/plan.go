package erasure

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/holdall/holdall"
)

// Shard says what is known of one shard of a stripe.
type Shard struct {
	Have bool // its bytes can be read
	Zero bool // it is an absent pack: all zeros, and no read is needed to know
	Cost int  // what reading it costs, in units of the caller's choosing; less is better
}

// Plan says which shards to read to rebuild another one, and does it. It never
// changes and is safe for concurrent use.
type Plan struct {
	want  int
	reads []int
	sum   *linear // one row over reads; nil when there are none
}

// planKey is all that a plan depends on: the shard wanted, and the usable shards
// in the order in which they are preferred.
type planKey struct {
	want  uint8
	count uint8
	order [holdall.MaxMembers]uint8 // a shard's number, or with knownZero if it is zeros
}

const knownZero = 0x80

// Plan returns how to rebuild shard want, which is never read itself, from as few
// of the n shards as suffice, and of those the cheapest: for an LRC those of the
// local group where they are there. A shard that is zeros costs no read.
//
// When the shards do not suffice its error says what is missing and wraps
// holdall.ErrUnavailable; a wrong count or index wraps holdall.ErrInvalid.
func (c *Coder) Plan(want int, shards []Shard) (*Plan, error) {
	if len(shards) != c.scheme.N() || want < 0 || want >= len(shards) {
		return nil, fmt.Errorf("erasure: plan %v: shard %d of %d, want one of %d: %w",
			c.scheme, want, len(shards), c.scheme.N(), holdall.ErrInvalid)
	}
	key := newPlanKey(want, shards)
	if p, ok := c.plans.find(key); ok {
		return p, nil
	}
	p := c.plan(want, shards, &key)
	if p == nil {
		return nil, c.unrecoverable(want, shards)
	}
	c.plans.put(key, p)
	return p, nil
}

func newPlanKey(want int, shards []Shard) planKey {
	key := planKey{want: uint8(want)}
	for i, s := range shards {
		if i == want && !s.Zero || !s.Have && !s.Zero {
			continue
		}
		v := uint8(i)
		if s.Zero {
			v |= knownZero
		}
		key.order[key.count] = v
		key.count++
	}
	slices.SortStableFunc(key.order[:key.count], func(a, b uint8) int {
		if za, zb := a&knownZero, b&knownZero; za != zb {
			return int(zb) - int(za) // what is known already comes first
		}
		return cmp.Compare(shards[a&^knownZero].Cost, shards[b&^knownZero].Cost)
	})
	return key
}

// plan returns the best plan, or nil when there is none.
//
// Taking shards in order of cost, each that does not depend on those before it,
// gives the cheapest set that spans all that can be known. In an MDS code no
// fewer than that suffice. In an LRC fewer do when a local group is whole.
func (c *Coder) plan(want int, shards []Shard, key *planKey) *Plan {
	order := key.order[:key.count]
	best := c.solve(want, order)
	if g := c.groupOf(want); g >= 0 {
		local := slices.DeleteFunc(slices.Clone(order), func(v uint8) bool { return c.groupOf(int(v&^knownZero)) != g })
		if p := c.solve(want, local); p != nil && (best == nil || p.better(best, shards)) {
			best = p
		}
	}
	return best
}

// groupOf returns the local group of a shard, -1 for a global parity and for
// schemes without groups.
func (c *Coder) groupOf(shard int) int {
	k, l := c.scheme.K(), int(c.scheme.Local)
	switch {
	case l == 0 || shard >= k+l:
		return -1
	case shard >= k:
		return shard - k
	}
	return shard / (k / l)
}

func (p *Plan) better(q *Plan, shards []Shard) bool {
	cost := func(p *Plan) (sum int) {
		for _, i := range p.reads {
			sum += shards[i].Cost
		}
		return sum
	}
	if len(p.reads) != len(q.reads) {
		return len(p.reads) < len(q.reads)
	}
	return cost(p) < cost(q)
}

// solve expresses shard want by the first shards of order that span it, or
// returns nil.
func (c *Coder) solve(want int, order []uint8) *Plan {
	var known basis
	columns := inOrder(c.scheme.K())
	for _, v := range order {
		known.offer(c.rows[v&^knownZero], columns)
	}
	factors, ok := known.express(c.rows[want])
	if !ok {
		return nil
	}
	p := &Plan{want: want}
	var row []byte
	for i, f := range factors {
		if f != 0 && order[i]&knownZero == 0 {
			p.reads = append(p.reads, int(order[i]))
			row = append(row, f)
		}
	}
	if len(row) > 0 {
		p.sum = newLinear([][]byte{row})
	}
	return p
}

// unrecoverable says why there is no plan.
func (c *Coder) unrecoverable(want int, shards []Shard) error {
	var missing []string
	left := 0
	for i, s := range shards {
		if s.Have || s.Zero {
			left++
		} else {
			missing = append(missing, fmt.Sprint(i))
		}
	}
	return fmt.Errorf("erasure: %v: shard %d cannot be rebuilt from the %d shards left; missing %s: %w",
		c.scheme, want, left, strings.Join(missing, ", "), holdall.ErrUnavailable)
}

// Reads returns the shards to read, in the order in which Rebuild takes them. It
// is empty when the shard wanted is zeros. The caller must not change it.
func (p *Plan) Reads() []int { return p.reads }

// Rebuild sets dst to a range of the shard wanted, given the same range of each
// of Reads, in that order. One that is shorter than dst goes on as zeros, as the
// tail of a short pack does.
//
// Rebuild reads reads and overwrites dst. It keeps neither. Its error wraps
// holdall.ErrInvalid and says which length is wrong.
func (p *Plan) Rebuild(dst []byte, reads [][]byte) error {
	if len(reads) != len(p.reads) {
		return fmt.Errorf("erasure: rebuild shard %d: %d ranges, want %d: %w", p.want, len(reads), len(p.reads), holdall.ErrInvalid)
	}
	for i, r := range reads {
		if len(r) > len(dst) {
			return fmt.Errorf("erasure: rebuild shard %d: %d bytes of shard %d for a range of %d: %w",
				p.want, len(r), p.reads[i], len(dst), holdall.ErrInvalid)
		}
	}
	if p.sum == nil {
		clear(dst)
		return nil
	}
	p.sum.apply([][]byte{dst}, reads)
	return nil
}

// Recoverable reports whether every shard could be rebuilt with those lost for
// which lost, n long, is true.
func (c *Coder) Recoverable(lost []bool) bool {
	var known basis
	columns := inOrder(c.scheme.K())
	for i, row := range c.rows {
		if !lost[i] {
			known.offer(row, columns)
		}
	}
	return len(known.vectors) == c.scheme.K()
}
