package erasure

import (
	"sync"

	"github.com/klauspost/reedsolomon"
)

const (
	// chunk is how much of each shard is worked on at a time where results are
	// read again at once: small enough for a dozen of them to stay in the
	// second-level cache.
	chunk = 32 << 10 // bytes

	// maxInputs is the most inputs for which reedsolomon has fast code. More
	// are added up in groups; see BenchmarkEncode for what that saves.
	maxInputs = 10

	// maxSubsets is the most coders a linear keeps, one for each set of inputs
	// that do not end before some byte.
	maxSubsets = 64
)

// linear is a matrix that multiplies shards.
type linear struct {
	rows    [][]byte
	subsets *cache[uint32, *subset]
	work    sync.Pool // of *workspace
}

// subset is a linear restricted to some of its inputs.
type subset struct {
	inputs [][]int               // in groups of at most maxInputs
	coders []reedsolomon.Encoder // one a group
}

// workspace is the memory of one multiplication.
type workspace struct {
	shards [][]byte
	sum    []byte // rows×chunk bytes; only where there is more than one group
}

func newLinear(rows [][]byte) *linear {
	l := &linear{rows: rows, subsets: newCache[uint32, *subset](maxSubsets)}
	l.work.New = func() any { return &workspace{shards: make([][]byte, 0, maxInputs+len(rows))} }
	return l
}

// apply sets dst[r] to the sum over c of rows[r][c]·src[c]. All of dst have one
// length. src has at most as many entries as a row; an entry that is shorter than
// dst, or missing, goes on as zeros. dst and src do not overlap.
func (l *linear) apply(dst, src [][]byte) {
	height := len(dst[0])
	for start := 0; start < height; {
		end, set := height, uint32(0)
		for c, s := range src {
			if len(s) > start {
				set |= 1 << c
				end = min(end, len(s))
			}
		}
		if set == 0 {
			for _, d := range dst {
				clear(d[start:])
			}
			return
		}
		l.multiply(l.subset(set), span{start, end}, dst, src)
		start = end
	}
}

// span is the bytes from start to end-1 of every shard.
type span struct{ start, end int }

// multiply is apply for a span in which the inputs of s have bytes and others
// have none.
func (l *linear) multiply(s *subset, at span, dst, src [][]byte) {
	w := l.work.Get().(*workspace)
	defer func() {
		clear(w.shards[:cap(w.shards)]) // keep no caller's memory alive
		l.work.Put(w)
	}()
	if len(s.inputs) == 1 {
		w.shards = gather(w.shards, s.inputs[0], src, at)
		for _, d := range dst {
			w.shards = append(w.shards, d[at.start:at.end])
		}
		run(s.coders[0], w.shards)
		return
	}
	if w.sum == nil {
		w.sum = make([]byte, len(dst)*chunk)
	}
	for ; at.start < at.end; at.start += chunk {
		l.addUp(s, span{at.start, min(at.end, at.start+chunk)}, w, dst, src)
	}
}

// addUp is multiply for more than one group of inputs and at most a chunk.
func (l *linear) addUp(s *subset, at span, w *workspace, dst, src [][]byte) {
	var xor reedsolomon.LowLevel
	n := at.end - at.start
	for g, inputs := range s.inputs {
		w.shards = gather(w.shards, inputs, src, at)
		for r, d := range dst {
			out := d[at.start:at.end]
			if g > 0 {
				out = w.sum[r*chunk:][:n]
			}
			w.shards = append(w.shards, out)
		}
		run(s.coders[g], w.shards)
		if g == 0 {
			continue
		}
		for r, d := range dst {
			xor.GalMulSliceXor(1, w.sum[r*chunk:][:n], d[at.start:at.end])
		}
	}
}

// gather returns shards with only the spans of some inputs in it.
func gather(shards [][]byte, inputs []int, src [][]byte, at span) [][]byte {
	shards = shards[:0]
	for _, c := range inputs {
		shards = append(shards, src[c][at.start:at.end])
	}
	return shards
}

func run(e reedsolomon.Encoder, shards [][]byte) {
	if err := e.Encode(shards); err != nil {
		panic("erasure: multiply: " + err.Error()) // shapes were checked
	}
}

// subset returns the coder for the inputs whose bits are in set.
func (l *linear) subset(set uint32) *subset {
	return l.subsets.get(set, func() *subset {
		s := &subset{}
		var inputs []int
		for c := range l.rows[0] {
			if set>>c&1 == 1 {
				inputs = append(inputs, c)
			}
		}
		for len(inputs) > 0 {
			n := min(len(inputs), maxInputs)
			s.inputs = append(s.inputs, inputs[:n])
			s.coders = append(s.coders, newEncoder(l.rows, inputs[:n]))
			inputs = inputs[n:]
		}
		return s
	})
}

// newEncoder returns the multiplication with the given columns of rows.
func newEncoder(rows [][]byte, columns []int) reedsolomon.Encoder {
	m := make([][]byte, len(rows))
	for r := range m {
		m[r] = make([]byte, len(columns))
		for i, c := range columns {
			m[r][i] = rows[r][c]
		}
	}
	// One goroutine: splitting a call over more was slower even on idle cores.
	// No inversion cache: decoding is encoding with rows that were solved here.
	e, err := reedsolomon.New(len(columns), len(rows), reedsolomon.WithCustomMatrix(m),
		reedsolomon.WithMaxGoroutines(1), reedsolomon.WithInversionCache(false))
	if err != nil {
		panic("erasure: make coder: " + err.Error()) // at most 32 rows and columns
	}
	return e
}
