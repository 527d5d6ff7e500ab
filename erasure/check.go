package erasure

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/holdall/holdall"
)

// checker tests every parity of stripes with one set of present packs.
type checker struct{ rounds []round }

// round takes as many data shards away as it uses parities, rebuilds them from
// the other data and those parities, and compares. The system is square and
// invertible, so a parity byte that is off by anything shows.
type round struct {
	taken   []int   // data shards
	sources []int   // the other data shards, then parities (k+i is parity i)
	solve   *linear // from sources to taken
}

// Check proves that parity is the encoding of data by decoding: it takes data
// shards away, rebuilds them from the rest and every parity, and compares the
// result with data. A core that multiplies wrongly must not mint parity that
// cannot repair. The shapes are those of Encode.
//
// Check reads both and keeps neither. A mismatch wraps holdall.ErrCorrupt, wrong
// shapes holdall.ErrInvalid.
func (c *Coder) Check(data, parity [][]byte) error {
	height, err := c.shape(data, parity)
	if err != nil {
		return fmt.Errorf("erasure: check %v: %w", c.scheme, err)
	}
	return c.checked(data, parity, height, false)
}

// EncodeChecked is Encode and then Check, a chunk of the stripe at a time, while
// its bytes are in the core's cache. It takes two thirds of the time of both.
func (c *Coder) EncodeChecked(data, parity [][]byte) error {
	height, err := c.shape(data, parity)
	if err != nil {
		return fmt.Errorf("erasure: encode %v: %w", c.scheme, err)
	}
	return c.checked(data, parity, height, true)
}

func (c *Coder) checked(data, parity [][]byte, height int, encode bool) error {
	var present uint32
	for i, d := range data {
		if len(d) > 0 {
			present |= 1 << i
		}
	}
	ch := c.checkers.get(present, func() *checker { return c.newChecker(present) })
	w := c.checks.Get().(*checkWork)
	defer func() {
		clear(w.all) // keep no caller's memory alive
		clear(w.src[:cap(w.src)])
		clear(w.dst[:cap(w.dst)])
		c.checks.Put(w)
	}()
	copy(w.all, data)
	copy(w.all[c.scheme.K():], parity)
	for start := 0; start < height; start += chunk {
		at := span{start, min(height, start+chunk)}
		if encode {
			c.encodeSpan(w, at)
		}
		for _, r := range ch.rounds {
			if err := r.check(w, at); err != nil {
				return fmt.Errorf("erasure: check %v: %w", c.scheme, err)
			}
		}
	}
	return nil
}

// encodeSpan sets at most a chunk of the parities.
func (c *Coder) encodeSpan(w *checkWork, at span) {
	w.src, w.dst = w.src[:0], w.dst[:0]
	for i, s := range w.all {
		if i < c.scheme.K() {
			w.src = append(w.src, cut(s, at))
		} else {
			w.dst = append(w.dst, cut(s, at))
		}
	}
	c.encode.apply(w.dst, w.src)
}

// checkWork is the memory of one Check.
type checkWork struct {
	all      [][]byte // the stripe's shards
	src, dst [][]byte // one round's sources, and what they give
	out      []byte   // m chunks
}

func newCheckWork(s holdall.Scheme) *checkWork {
	return &checkWork{
		all: make([][]byte, s.N()),
		src: make([][]byte, 0, s.N()),
		dst: make([][]byte, 0, s.M()),
		out: make([]byte, s.M()*chunk),
	}
}

// check compares at most a chunk of all shards of a stripe.
func (r *round) check(w *checkWork, at span) error {
	n := at.end - at.start
	w.src, w.dst = w.src[:0], w.dst[:0]
	for _, s := range r.sources {
		w.src = append(w.src, cut(w.all[s], at))
	}
	for i := range r.taken {
		w.dst = append(w.dst, w.out[i*chunk:][:n])
	}
	r.solve.apply(w.dst, w.src)
	for i, shard := range r.taken {
		want := cut(w.all[shard], at)
		if !bytes.Equal(w.dst[i][:len(want)], want) || !allZero(w.dst[i][len(want):]) {
			return fmt.Errorf("the parities do not decode to pack %d between bytes %d and %d: %w",
				shard, at.start, at.end, holdall.ErrCorrupt)
		}
	}
	return nil
}

// cut returns the part of a shard in a span: less than its length, or nothing,
// where the shard ends before.
func cut(shard []byte, at span) []byte {
	return shard[min(at.start, len(shard)):min(at.end, len(shard))]
}

func allZero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// zeros is only ever compared with.
var zeros [4096]byte

// newChecker finds rounds that use every parity once. Of the data shards it takes
// present ones away where it can: an absent one would not be a source anyway.
func (c *Coder) newChecker(present uint32) *checker {
	k := c.scheme.K()
	columns := inOrder(k)
	slices.SortStableFunc(columns, func(a, b int) int { return int(present>>b&1) - int(present>>a&1) })
	ch := &checker{}
	for left := inOrder(c.scheme.M()); len(left) > 0; {
		var b basis
		var used, later []int
		for _, p := range left {
			if b.offer(c.rows[k+p], columns) {
				used = append(used, k+p)
			} else {
				later = append(later, p)
			}
		}
		ch.rounds = append(ch.rounds, c.newRound(b.pivots, used))
		left = later
	}
	return ch
}

// newRound returns the round that takes data shards away and uses as many
// parities, which are independent over them.
func (c *Coder) newRound(taken, parities []int) round {
	r := round{taken: taken}
	for i := range c.scheme.K() {
		if !slices.Contains(taken, i) {
			r.sources = append(r.sources, i)
		}
	}
	r.sources = append(r.sources, parities...)
	var known basis
	for _, s := range r.sources {
		known.offer(c.rows[s], inOrder(c.scheme.K()))
	}
	rows := make([][]byte, len(taken))
	for i, t := range taken {
		factors, ok := known.express(c.rows[t])
		if !ok {
			panic("erasure: a check that cannot be solved")
		}
		rows[i] = factors
	}
	r.solve = newLinear(rows)
	return r
}
