package erasure

import (
	"errors"
	"testing"

	"github.com/holdall/holdall"
)

// Every recoverable pattern of losses is rebuilt, at every size, whole and by
// range, byte for byte; every other pattern is an error. The counts are those of
// the codes' theory (losing nothing is a pattern), so neither the patterns nor the codes can go missing.
func TestEveryLossPattern(t *testing.T) {
	for _, c := range []struct {
		scheme                     string
		recoverable, unrecoverable int // of up to m losses; of up to m+1
	}{
		{"rs-6-3", 130, 126},    // 1+9+36+84; C(9,4)
		{"rs-10-4", 1471, 2002}, // 1+14+91+364+1001; C(14,5)
		{"rs-12-4", 2517, 4368}, // 1+16+120+560+1820; C(16,5)
		{"lrc-12-2-2", 2265, 4368 + 252},
		{"rep-4", 15, 1},
	} {
		t.Run(c.scheme, func(t *testing.T) {
			t.Parallel()
			testPatterns(t, c.scheme, c.recoverable, c.unrecoverable)
		})
	}
}

// pattern is a set of lost shards and a plan for each.
type pattern struct {
	lost  uint32
	plans []*Plan
}

func testPatterns(t *testing.T, scheme string, recoverable, unrecoverable int) {
	c := coder(t, scheme)
	var all []pattern
	bad := 0
	for count := 0; count <= c.scheme.M()+1; count++ {
		patterns(c.scheme.N(), count, func(lost uint32) {
			if !c.Recoverable(isLost(c.scheme.N(), lost)) {
				bad++
				testUnrecoverable(t, c, lost)
				return
			}
			all = append(all, pattern{lost, plansFor(t, c, lost)})
		})
	}
	if len(all) != recoverable || bad != unrecoverable {
		t.Fatalf("%d patterns are recoverable and %d are not, want %d and %d", len(all), bad, recoverable, unrecoverable)
	}
	k := c.scheme.K()
	for _, size := range []int{0, 1, k - 1, k, k + 1, 4095, 4096, 4097} {
		testSmall(t, c, all, size)
	}
	testLarge(t, c, all, holdall.MaxBlockSize)
}

func plansFor(t *testing.T, c *Coder, lost uint32) (plans []*Plan) {
	t.Helper()
	for _, want := range members(lost) {
		p, err := c.Plan(want, have(c, lost))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Reads() {
			if lost>>r&1 == 1 {
				t.Fatalf("the plan for %d of %b reads %d, which is lost", want, lost, r)
			}
		}
		plans = append(plans, p)
	}
	return plans
}

func have(c *Coder, lost uint32) []Shard {
	s := make([]Shard, c.scheme.N())
	for i := range s {
		s[i].Have = lost>>i&1 == 0
	}
	return s
}

// testUnrecoverable checks that some lost shard has no plan, and that what plans
// there are give the right bytes.
func testUnrecoverable(t *testing.T, c *Coder, lost uint32) {
	t.Helper()
	failed := 0
	for _, want := range members(lost) {
		p, err := c.Plan(want, have(c, lost))
		switch {
		case err != nil && errors.Is(err, holdall.ErrUnavailable):
			failed++
		case err != nil:
			t.Fatal(err)
		case c.scheme.Kind != holdall.LocalRS:
			t.Fatalf("shard %d of %b is rebuilt from %v", want, lost, p.Reads())
		default:
			if err := newStripe(t, c, newSeeded(uint64(lost)), equal(c.scheme.K(), 70)...).rebuild(p, span{0, 70}, make([]byte, 70)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if failed == 0 {
		t.Fatalf("with %b lost everything has a plan", lost)
	}
}

// testSmall rebuilds every lost shard of every pattern whole and by a range.
func testSmall(t *testing.T, c *Coder, all []pattern, size int) {
	t.Helper()
	rnd := newRand(t)
	s := newStripe(t, c, rnd, equal(c.scheme.K(), size)...)
	dst := make([]byte, size)
	for _, a := range all {
		for _, p := range a.plans {
			start := rnd.IntN(size + 1)
			for _, at := range []span{{0, size}, {start, start + rnd.IntN(size-start+1)}} {
				if err := s.rebuild(p, at, dst); err != nil {
					t.Fatalf("size %d, lost %b: %v", size, a.lost, err)
				}
			}
		}
	}
}

// testLarge rebuilds one lost shard of every pattern from end to end, a window at
// a time, and a range of each of the others; and every 16th pattern's in one
// call. Windows are the outer loop so that their bytes stay in the cache: the
// whole is hundreds of gigabytes. With -long it does all of it in one call each.
func testLarge(t *testing.T, c *Coder, all []pattern, size int) {
	t.Helper()
	rnd := newRand(t)
	s := newStripe(t, c, rnd, equal(c.scheme.K(), size)...)
	dst := make([]byte, size)
	check := func(a pattern, p *Plan, at span) {
		t.Helper()
		if err := s.rebuild(p, at, dst); err != nil {
			t.Fatalf("size %d, lost %b: %v", size, a.lost, err)
		}
	}
	const window = 64 << 10
	for start := 0; start < size && !*long; start += window {
		if testing.Short() && start > 0 { // for the race detector, which is slow at arithmetic
			break
		}
		for i, a := range all[1:] {
			check(a, a.plans[i%len(a.plans)], span{start, start + window})
		}
	}
	for i, a := range all {
		for j, p := range a.plans {
			if *long || i%16 == 0 && j == i/16%len(a.plans) {
				check(a, p, span{0, size})
			}
			start := rnd.IntN(size)
			check(a, p, span{start, min(size, start+rnd.IntN(8<<10))})
		}
	}
}

// With G ≤ 2 an LRC recovers all that any code with its groups could: a group's
// parity makes up for one loss, the global parities for what is left.
func TestLocalCodesRecoverAllThatTheoryAllows(t *testing.T) {
	for _, name := range []string{"lrc-4-2-1", "lrc-12-2-2", "lrc-6-3-2", "lrc-8-4-2", "lrc-10-5-1", "lrc-14-2-2"} {
		c := coder(t, name)
		n := c.scheme.N()
		for count := 1; count <= c.scheme.M(); count++ {
			patterns(n, count, func(lost uint32) {
				excess := 0
				inGroup := make([]int, c.scheme.Local)
				for _, i := range members(lost) {
					if g := c.groupOf(i); g >= 0 {
						inGroup[g]++
					} else {
						excess++
					}
				}
				for _, e := range inGroup {
					excess += max(0, e-1)
				}
				if want := excess <= int(c.scheme.Global); c.Recoverable(isLost(n, lost)) != want {
					t.Fatalf("%s: recoverable with %b lost: %v, want %v", name, lost, !want, want)
				}
			})
		}
	}
}

// Every pattern of as many losses as the scheme says it tolerates is recoverable.
func TestToleranceHolds(t *testing.T) {
	for _, name := range []string{
		"rs-1-1", "rs-1-5", "rs-2-3", "rs-4-4", "rs-17-3", "rs-28-4", "rep-2", "rep-5",
		"lrc-4-2-3", "lrc-8-2-3", "lrc-6-2-4", "lrc-9-3-3", "lrc-20-10-2", "lrc-24-2-3", "lrc-28-2-2",
	} {
		c := coder(t, name)
		n := c.scheme.N()
		patterns(n, c.scheme.Tolerance(), func(lost uint32) {
			if !c.Recoverable(isLost(n, lost)) {
				t.Fatalf("%s does not bear the loss of %b", name, lost)
			}
		})
	}
}
