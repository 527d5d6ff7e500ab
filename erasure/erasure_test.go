package erasure

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

// slowMul multiplies in GF(2^8) bit by bit: nothing in common with the tables.
func slowMul(a, b byte) (p byte) {
	for ; b != 0; b >>= 1 {
		if b&1 == 1 {
			p ^= a
		}
		carry := a & 0x80
		a <<= 1
		if carry != 0 {
			a ^= 0x1d
		}
	}
	return p
}

func TestFieldAgreesWithLongMultiplication(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			if got, want := mul(byte(a), byte(b)), slowMul(byte(a), byte(b)); got != want {
				t.Fatalf("%d·%d = %d, want %d", a, b, got, want)
			}
		}
		if a > 0 && slowMul(byte(a), inv(byte(a))) != 1 {
			t.Fatalf("1/%d = %d", a, inv(byte(a)))
		}
	}
}

// Parities made with these rows are on disks for ever; docs/format/coding.md says
// how rows are made.
func TestParityNeverChanges(t *testing.T) {
	for _, c := range []struct{ scheme, want string }{
		{"rs-6-3", "7aba47a78ef4 ba7aa747f48e ad9ddd983daa "},
		{"rs-10-4", "dd98ad9d5d963daa8ef4 98dd9dad965daa3df48e 3daa5d96ad9ddd9847a7 aa3d965d9dad98dda747 "},
		{"lrc-12-2-2", "010101010101000000000000 000000000000010101010101 01984e0a99d6022d9c142fb1 014e99444fd704255e0d217b "},
		{"lrc-6-2-3", "010101000000 000000010101 bb7ba646f58f c9f453c27ae3 69645a8e4947 "},
		{"rep-3", "01 01 "},
	} {
		co := coder(t, c.scheme)
		got := ""
		for _, row := range co.rows[co.scheme.K():] {
			got += hex.EncodeToString(row) + " "
		}
		if got != c.want {
			t.Errorf("%s: parity rows %s, want %s", c.scheme, got, c.want)
		}
		testAgainstSlowMul(t, co)
	}
}

// testAgainstSlowMul checks Encode, byte by byte, on uneven packs.
func testAgainstSlowMul(t *testing.T, c *Coder) {
	t.Helper()
	rnd := newRand(t)
	lengths := make([]int, c.scheme.K())
	for i := range lengths {
		lengths[i] = rnd.IntN(3000)
	}
	s := newStripe(t, c, rnd, lengths...)
	for i, row := range c.rows {
		for x := range s.height {
			var want byte
			for j, f := range row {
				if x < lengths[j] {
					want ^= slowMul(f, s.shards[j][x])
				}
			}
			if got := append(cut(s.shards[i], span{x, x + 1}), 0)[0]; got != want {
				t.Fatalf("%v: byte %d of shard %d is %d, want %d", c.scheme, x, i, got, want)
			}
		}
	}
}

// randomScheme returns any scheme of at most 32 members.
func randomScheme(rnd *rand.Rand) holdall.Scheme {
	for {
		s := holdall.Scheme{
			Kind: holdall.SchemeKind(1 + rnd.IntN(3)), Data: uint8(1 + rnd.IntN(28)),
			Local: uint8(rnd.IntN(5)), Global: uint8(1 + rnd.IntN(6)),
		}
		if rnd.IntN(2) == 0 {
			s.Data = uint8(1 + rnd.IntN(12)) // so that copies come up too
		}
		if s.Kind == holdall.Copies {
			s.Data = 1
		}
		if s.Kind != holdall.LocalRS {
			s.Local = 0
		}
		if s.Validate() == nil {
			return s
		}
	}
}

// Stripes with absent and uneven packs, in any order, are rebuilt whole and by
// range after any losses that leave enough, of any scheme.
func TestNarrowAndUnevenStripes(t *testing.T) {
	rnd := newRand(t)
	for range 1500 {
		c, err := New(randomScheme(rnd))
		if err != nil {
			t.Fatal(err)
		}
		lengths := make([]int, 1+rnd.IntN(c.scheme.K()))
		for i := range lengths {
			if rnd.IntN(5) > 0 {
				lengths[i] = rnd.IntN(1 + rnd.IntN(3*chunk))
			}
		}
		s := newStripe(t, c, rnd, lengths...)
		few := uint32(rnd.IntN(1 << c.scheme.N())) // ANDed with another, for a quarter of the members
		lost := few & uint32(rnd.IntN(1<<c.scheme.N()))
		whole := c.Recoverable(isLost(c.scheme.N(), lost))
		dst := make([]byte, s.height)
		for _, want := range members(lost) {
			p, err := c.Plan(want, s.known(lost))
			if err != nil {
				if whole || !errors.Is(err, holdall.ErrUnavailable) {
					t.Fatalf("%v, lost %b: %v", c.scheme, lost, err)
				}
				continue
			}
			start := rnd.IntN(s.height + 1)
			for _, at := range []span{{0, s.height}, {start, start + rnd.IntN(s.height-start+1)}} {
				if err := s.rebuild(p, at, dst); err != nil {
					t.Fatalf("%v, lost %b, lengths %v: %v", c.scheme, lost, lengths, err)
				}
			}
		}
	}
}

func TestCheckFindsEveryWrongByte(t *testing.T) {
	rnd := newRand(t)
	for _, name := range []string{"rs-6-3", "rs-12-4", "rs-2-5", "lrc-12-2-2", "lrc-4-2-6", "rep-4"} {
		c := coder(t, name)
		for range 60 {
			lengths := make([]int, 1+rnd.IntN(c.scheme.K()))
			for i := range lengths {
				lengths[i] = 1 + rnd.IntN(2*chunk)
			}
			s := newStripe(t, c, rnd, lengths...)
			k := c.scheme.K()
			shard := k + rnd.IntN(c.scheme.M())
			s.shards[shard][rnd.IntN(s.height)] ^= 1 << rnd.IntN(8)
			if err := c.Check(s.shards[:len(lengths)], s.shards[k:]); !errors.Is(err, holdall.ErrCorrupt) {
				t.Fatalf("%s, %d packs: a bit flipped in parity %d: %v, want corrupt", name, len(lengths), shard-k, err)
			}
		}
	}
}

// A check must read every parity at least once, whichever packs are there.
func TestCheckUsesEveryParity(t *testing.T) {
	for _, name := range []string{"rs-6-3", "rs-1-4", "rs-2-7", "lrc-12-2-2", "lrc-4-2-6", "rep-5"} {
		c := coder(t, name)
		for present := range uint32(1 << c.scheme.K()) {
			used := map[int]bool{}
			for _, r := range c.newChecker(present).rounds {
				for _, s := range r.sources {
					used[s] = s >= c.scheme.K()
				}
			}
			for i := c.scheme.K(); i < c.scheme.N(); i++ {
				if !used[i] {
					t.Fatalf("%s, packs %b: parity %d is not used", name, present, i)
				}
			}
		}
	}
}

func TestBadShapesAreRefused(t *testing.T) {
	c := coder(t, "rs-2-2")
	b := func(n int) []byte { return make([]byte, n) }
	for name, shards := range map[string][2][][]byte{
		"no packs":           {{}, {b(1), b(1)}},
		"too many packs":     {{b(1), b(1), b(1)}, {b(1), b(1)}},
		"too few parities":   {{b(1)}, {b(1)}},
		"uneven parities":    {{b(1)}, {b(1), b(2)}},
		"pack above parity":  {{b(3)}, {b(2), b(2)}},
		"too many parities":  {{b(1)}, {b(1), b(1), b(1)}},
		"parities of a null": {{b(1)}, nil},
	} {
		if err := c.Encode(shards[0], shards[1]); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("encode with %s: %v", name, err)
		}
		if err := c.Check(shards[0], shards[1]); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("check with %s: %v", name, err)
		}
		if err := c.EncodeChecked(shards[0], shards[1]); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("checked encode with %s: %v", name, err)
		}
	}
	if _, err := New(holdall.Scheme{}); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("coder of the zero scheme: %v", err)
	}
	for _, want := range []int{-1, 4} {
		if _, err := c.Plan(want, make([]Shard, 4)); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("plan for shard %d of 4: %v", want, err)
		}
	}
	if _, err := c.Plan(0, make([]Shard, 3)); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("plan from 3 shards of 4: %v", err)
	}
	p, err := c.Plan(0, []Shard{{}, {Have: true}, {Have: true}, {}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Rebuild(b(4), [][]byte{b(4)}); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("rebuild from one range of two: %v", err)
	}
	if err := p.Rebuild(b(4), [][]byte{b(4), b(5)}); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("rebuild 4 bytes from 5: %v", err)
	}
}

// Data that Encode and Check are given stays as it was.
func TestEncodeLeavesDataAlone(t *testing.T) {
	c := coder(t, "rs-12-4")
	rnd := newRand(t)
	s := newStripe(t, c, rnd, equal(12, 100_000)...)
	before := make([][]byte, 12)
	for i := range before {
		before[i] = bytes.Clone(s.shards[i])
	}
	if err := c.Encode(s.shards[:12], s.shards[12:]); err != nil {
		t.Fatal(err)
	}
	for i := range before {
		if !bytes.Equal(before[i], s.shards[i]) {
			t.Fatalf("pack %d changed", i)
		}
	}
}

func TestHotPathsAllocateLittle(t *testing.T) {
	c := coder(t, "rs-6-3")
	s := newStripe(t, c, newRand(t), equal(6, 64<<10)...)
	known := s.known(1)
	p, err := c.Plan(0, known)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 4096)
	for name, f := range map[string]func(){
		"encode": func() { _ = c.Encode(s.shards[:6], s.shards[6:]) },
		"check":  func() { _ = c.Check(s.shards[:6], s.shards[6:]) },
		"plan":   func() { _, _ = c.Plan(0, known) },
		"rebuild": func() {
			if err := s.rebuild(p, span{0, 4096}, dst); err != nil {
				t.Error(err)
			}
		},
	} {
		if n := testing.AllocsPerRun(100, f); n > 8 {
			t.Errorf("%s: %.0f allocations", name, n)
		}
	}
}

// One Coder serves many goroutines, whose loss patterns are more than it
// remembers.
func TestCoderIsSharedByGoroutines(t *testing.T) {
	c := coder(t, "rs-10-4")
	c.plans = newCache[planKey, *Plan](8)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			rnd := newSeeded(seed + g)
			for range 50 {
				lengths := make([]int, 1+rnd.IntN(10))
				for i := range lengths {
					lengths[i] = rnd.IntN(5000)
				}
				s, want := newStripe(t, c, rnd, lengths...), rnd.IntN(14)
				p, err := c.Plan(want, s.known(1<<want))
				if err == nil {
					err = s.rebuild(p, span{0, s.height}, make([]byte, s.height))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
