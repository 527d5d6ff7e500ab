// Package erasure turns k shards into k+m and back. It owns the codes: their
// matrices, which losses they bear, and which survivors rebuild what was lost.
// It does arithmetic: no files, no network, no clock, no goroutines.
//
// The reading order is matrix.go (what a scheme means), linear.go (how bytes are
// multiplied), erasure.go (encode), check.go (the encode self-check), plan.go
// (rebuild), field.go (GF(2^8)).
//
// A stripe is k packs of bytes and m parities. A pack may be absent, or shorter
// than the stripe's height; the bytes it lacks count as zeros and cost nothing.
package erasure

import (
	"fmt"
	"sync"

	"github.com/holdall/holdall"
)

// Limits of what a Coder remembers. Making an entry anew costs microseconds.
const (
	maxPlans    = 512 // loss patterns
	maxCheckers = 64  // sets of present packs
)

// Coder encodes the stripes of one scheme and rebuilds their shards. It is safe
// for concurrent use: many puts in flight keep the cores busy, so a call works
// on one core and starts no goroutine.
type Coder struct {
	scheme   holdall.Scheme
	rows     [][]byte // n rows of k: shard i is the sum over j of rows[i][j]·data[j]
	encode   *linear  // the parity rows
	plans    *cache[planKey, *Plan]
	checkers *cache[uint32, *checker]
	checks   sync.Pool // of *checkWork
}

// New returns a Coder for s. Its error wraps holdall.ErrInvalid.
func New(s holdall.Scheme) (*Coder, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("erasure: %v: %w", s, err)
	}
	rows := generator(s)
	c := &Coder{
		scheme:   s,
		rows:     rows,
		encode:   newLinear(rows[s.K():]),
		plans:    newCache[planKey, *Plan](maxPlans),
		checkers: newCache[uint32, *checker](maxCheckers),
	}
	c.checks.New = func() any { return newCheckWork(s) }
	return c, nil
}

// Scheme returns the scheme that c codes.
func (c *Coder) Scheme() holdall.Scheme { return c.scheme }

// Encode sets parity, all m of them, from data. data holds up to k packs in the
// order of their shards; those at the end may be missing, and any may be empty or
// shorter than the stripe. The parities have one length, the stripe's height,
// which no pack exceeds. The time it takes is in proportion to the bytes of data,
// so a narrow stripe is cheap.
//
// Encode reads data and overwrites parity. It keeps neither. Its error wraps
// holdall.ErrInvalid and says which shape is wrong.
func (c *Coder) Encode(data, parity [][]byte) error {
	if _, err := c.shape(data, parity); err != nil {
		return fmt.Errorf("erasure: encode %v: %w", c.scheme, err)
	}
	c.encode.apply(parity, data)
	return nil
}

// shape checks the lengths of a stripe and returns its height.
func (c *Coder) shape(data, parity [][]byte) (int, error) {
	if len(data) == 0 || len(data) > c.scheme.K() {
		return 0, fmt.Errorf("%d packs, want 1 to %d: %w", len(data), c.scheme.K(), holdall.ErrInvalid)
	}
	if len(parity) != c.scheme.M() {
		return 0, fmt.Errorf("%d parities, want %d: %w", len(parity), c.scheme.M(), holdall.ErrInvalid)
	}
	height := len(parity[0])
	for i, p := range parity {
		if len(p) != height {
			return 0, fmt.Errorf("parity %d has %d bytes, parity 0 has %d: %w", i, len(p), height, holdall.ErrInvalid)
		}
	}
	for i, d := range data {
		if len(d) > height {
			return 0, fmt.Errorf("pack %d has %d bytes, the parities %d: %w", i, len(d), height, holdall.ErrInvalid)
		}
	}
	return height, nil
}
