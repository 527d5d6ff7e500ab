package erasure

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

var long = flag.Bool("long", false, "rebuild every lost shard of every pattern whole at 4 MiB too (minutes)")

// newRand returns a source of chance whose seed is in the test's output.
func newRand(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return newSeeded(seed)
}

func newSeeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func coder(t testing.TB, name string) *Coder {
	t.Helper()
	s, err := holdall.ParseScheme(name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// stripe is a coded stripe: shards[i] has the bytes of shard i, which lack the
// zeros at a short pack's end.
type stripe struct {
	c      *Coder
	shards [][]byte
	height int
}

// newStripe encodes random packs of the given lengths, and checks the encode.
func newStripe(t testing.TB, c *Coder, rnd *rand.Rand, lengths ...int) *stripe {
	t.Helper()
	s := &stripe{c: c, shards: make([][]byte, c.scheme.N())}
	for i, n := range lengths {
		s.shards[i] = make([]byte, n)
		fill(s.shards[i], rnd)
		s.height = max(s.height, n)
	}
	k := c.scheme.K()
	for i := k; i < c.scheme.N(); i++ {
		s.shards[i] = make([]byte, s.height)
		fill(s.shards[i], rnd) // what Encode must overwrite
	}
	if err := c.Encode(s.shards[:len(lengths)], s.shards[k:]); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(s.shards[:len(lengths)], s.shards[k:]); err != nil {
		t.Fatal(err)
	}
	again := make([][]byte, c.scheme.M())
	for i := range again {
		again[i] = make([]byte, s.height)
	}
	if err := c.EncodeChecked(s.shards[:len(lengths)], again); err != nil {
		t.Fatal(err)
	}
	for i := range again {
		if !bytes.Equal(again[i], s.shards[k+i]) {
			t.Fatalf("%v: EncodeChecked makes another parity %d than Encode", c.scheme, i)
		}
	}
	return s
}

func fill(b []byte, rnd *rand.Rand) {
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, rnd.Uint64())
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
}

func equal(n, size int) []int {
	l := make([]int, n)
	for i := range l {
		l[i] = size
	}
	return l
}

// known returns what a reader knows of s with the shards in lost gone.
func (s *stripe) known(lost uint32) []Shard {
	k := make([]Shard, len(s.shards))
	for i := range k {
		k[i] = Shard{Have: lost>>i&1 == 0, Zero: i < s.c.scheme.K() && len(s.shards[i]) == 0 && s.height > 0}
	}
	return k
}

// rebuild returns an error unless p gives the right bytes at at.
func (s *stripe) rebuild(p *Plan, at span, dst []byte) error {
	dst = dst[:at.end-at.start]
	reads := make([][]byte, len(p.Reads()))
	for i, r := range p.Reads() {
		reads[i] = cut(s.shards[r], at)
	}
	if err := p.Rebuild(dst, reads); err != nil {
		return err
	}
	want := cut(s.shards[p.want], at)
	if !bytes.Equal(dst[:len(want)], want) || !allZero(dst[len(want):]) {
		return fmt.Errorf("shard %d, bytes %d to %d, rebuilt from %v: wrong bytes", p.want, at.start, at.end, p.reads)
	}
	return nil
}

// patterns calls f with every set of count out of n shards.
func patterns(n, count int, f func(lost uint32)) {
	var choose func(from, left int, set uint32)
	choose = func(from, left int, set uint32) {
		if left == 0 {
			f(set)
			return
		}
		for i := from; i+left <= n; i++ {
			choose(i+1, left-1, set|1<<i)
		}
	}
	choose(0, count, 0)
}

func members(set uint32) (m []int) {
	for i := range 32 {
		if set>>i&1 == 1 {
			m = append(m, i)
		}
	}
	return m
}

func isLost(n int, lost uint32) []bool {
	l := make([]bool, n)
	for _, i := range members(lost) {
		l[i] = true
	}
	return l
}
