package bench

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/holdall/holdall"
)

// Sizes says how large the blocks of a workload are. The zero Sizes are 4 MiB,
// all of them.
type Sizes struct {
	Fixed     int  // bytes, 16 to holdall.MaxBlockSize; 0 = 4 MiB
	LogNormal bool // in place of Fixed: median 1 MiB, σ 1 (natural), at most 4 MiB
}

// stampSize is the least bytes of a block: what makes it differ from all others.
const stampSize = 16

func (s Sizes) validate() error {
	if s.Fixed != 0 && (s.Fixed < stampSize || s.Fixed > holdall.MaxBlockSize) {
		return fmt.Errorf("block size %d: want %d to %d bytes: %w", s.Fixed, stampSize, holdall.MaxBlockSize, holdall.ErrInvalid)
	}
	if s.LogNormal && s.Fixed != 0 {
		return fmt.Errorf("block sizes are fixed or lognormal, not both: %w", holdall.ErrInvalid)
	}
	return nil
}

// next draws a size.
func (s Sizes) next(r *rand.Rand) int {
	switch {
	case s.LogNormal:
		return max(stampSize, min(holdall.MaxBlockSize, int((1<<20)*math.Exp(r.NormFloat64()))))
	case s.Fixed == 0:
		return holdall.MaxBlockSize
	}
	return s.Fixed
}

// source makes blocks of which no two are equal: random bytes, made once, with
// the number of the block stamped over the first of them. So a block costs
// nothing to make, and does not compress.
type source struct {
	run    uint64 // told apart from every other run
	worker uint32
	count  uint32
	bytes  []byte
}

func newSource(run uint64, worker int) *source {
	s := &source{run: run, worker: uint32(worker), bytes: make([]byte, holdall.MaxBlockSize)}
	r := rand.NewPCG(run, uint64(worker))
	for i := 0; i < len(s.bytes); i += 8 {
		binary.LittleEndian.PutUint64(s.bytes[i:], r.Uint64())
	}
	return s
}

// block returns the next block, of n bytes. It is valid until the next call.
func (s *source) block(n int) []byte {
	s.count++
	binary.LittleEndian.PutUint64(s.bytes, s.run)
	binary.LittleEndian.PutUint32(s.bytes[8:], s.worker)
	binary.LittleEndian.PutUint32(s.bytes[12:], s.count)
	return s.bytes[:n]
}
