package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/erasure"
)

// CPUConfig says how fast one core works on blocks that are not in its caches.
type CPUConfig struct {
	Size     int            // bytes of a block; 0 = 4 MiB
	Scheme   holdall.Scheme // zero = holdall.DefaultScheme
	Duration time.Duration  // of each figure; 0 = 1 s
}

// cpuSet is the bytes worked on in turn: more than a core's caches hold.
const cpuSet = 128 << 20

func (c CPUConfig) defaults() (CPUConfig, error) {
	if c.Size == 0 {
		c.Size = holdall.MaxBlockSize
	}
	if c.Scheme == (holdall.Scheme{}) {
		c.Scheme = holdall.DefaultScheme
	}
	if c.Duration == 0 {
		c.Duration = time.Second
	}
	if err := (Sizes{Fixed: c.Size}).validate(); err != nil {
		return c, fmt.Errorf("bench: %w", err)
	}
	return c, c.Scheme.Validate()
}

// MeasureHash returns the rate at which one core names blocks.
func (c CPUConfig) MeasureHash(ctx context.Context) (RateFigure, error) {
	c, err := c.defaults()
	if err != nil {
		return RateFigure{}, err
	}
	blocks := shards(max(2, cpuSet/c.Size), c.Size)
	i := 0
	return measure(ctx, 1, c.Duration, func(int) operation {
		return func(context.Context) (int, error) {
			i++
			holdall.HashBlock(blocks[i%len(blocks)])
			return c.Size, nil
		}
	})
}

// MeasureEncode returns the rate at which one core makes parity, in bytes of
// data.
func (c CPUConfig) MeasureEncode(ctx context.Context) (RateFigure, error) {
	c, err := c.defaults()
	if err != nil {
		return RateFigure{}, err
	}
	coder, err := erasure.New(c.Scheme)
	if err != nil {
		return RateFigure{}, err
	}
	n := c.Scheme.N()
	stripes := make([][][]byte, max(2, cpuSet/c.Size/n))
	for i := range stripes {
		stripes[i] = shards(n, c.Size)
	}
	i := 0
	return measure(ctx, 1, c.Duration, func(int) operation {
		return func(context.Context) (int, error) {
			i++
			s := stripes[i%len(stripes)]
			return c.Scheme.K() * c.Size, coder.Encode(s[:c.Scheme.K()], s[c.Scheme.K():])
		}
	})
}

// shards makes n different blocks of size bytes.
func shards(n, size int) [][]byte {
	from := newSource(netRun, n)
	all := make([][]byte, n)
	for i := range all {
		all[i] = append([]byte(nil), from.block(size)...)
	}
	return all
}
