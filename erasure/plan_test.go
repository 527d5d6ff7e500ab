package erasure

import (
	"errors"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"github.com/holdall/holdall"
)

func mustPlan(t *testing.T, c *Coder, want int, shards []Shard) *Plan {
	t.Helper()
	p, err := c.Plan(want, shards)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlanReadsTheCheapest(t *testing.T) {
	c := coder(t, "rs-6-3")
	shards := have(c, 1<<2)
	for i := range shards {
		shards[i].Cost = 10 - i
	}
	got := slices.Sorted(slices.Values(mustPlan(t, c, 2, shards).Reads()))
	if want := []int{3, 4, 5, 6, 7, 8}; !slices.Equal(got, want) {
		t.Errorf("reads %v, want %v", got, want)
	}
	shards[0].Cost = -1
	got = slices.Sorted(slices.Values(mustPlan(t, c, 2, shards).Reads()))
	if want := []int{0, 4, 5, 6, 7, 8}; !slices.Equal(got, want) {
		t.Errorf("with shard 0 cheap: reads %v, want %v", got, want)
	}
}

func TestPlanNeverReadsTheShardItself(t *testing.T) {
	c := coder(t, "rep-3")
	if got := mustPlan(t, c, 1, have(c, 0)).Reads(); len(got) != 1 || got[0] == 1 {
		t.Errorf("reads %v", got)
	}
}

func TestZeroShardsCostNoRead(t *testing.T) {
	for _, name := range []string{"rs-6-3", "lrc-12-2-2"} {
		c := coder(t, name)
		for packs := 1; packs <= c.scheme.K(); packs++ {
			shards := have(c, 1)
			for i := packs; i < c.scheme.K(); i++ {
				shards[i] = Shard{Zero: true, Cost: 1}
			}
			want := packs
			if c.scheme.Kind == holdall.LocalRS {
				want = min(packs, 6)
			}
			if got := mustPlan(t, c, 0, shards).Reads(); len(got) != want {
				t.Errorf("%s, %d packs: reads %v, want %d of them", name, packs, got, want)
			}
			if got := mustPlan(t, c, c.scheme.K()-1, shards).Reads(); packs < c.scheme.K() && len(got) != 0 {
				t.Errorf("%s, %d packs: an absent pack is rebuilt from %v", name, packs, got)
			}
		}
	}
}

func TestLocalGroupComesFirst(t *testing.T) {
	c := coder(t, "lrc-12-2-2")
	for want := range 14 {
		got := mustPlan(t, c, want, have(c, 1<<want)).Reads()
		if len(got) != 6 {
			t.Errorf("shard %d: reads %v, want its group of 6", want, got)
		}
		for _, i := range got {
			if c.groupOf(i) != c.groupOf(want) {
				t.Errorf("shard %d: reads %v, which leaves its group", want, got)
			}
		}
	}
	if got := mustPlan(t, c, 14, have(c, 1<<14)).Reads(); len(got) != 12 {
		t.Errorf("a global parity: reads %v, want 12", got)
	}
}

// Plans are no worse than the best of all sets of survivors.
func TestPlansAreOptimal(t *testing.T) {
	rnd := newRand(t)
	for _, name := range []string{"rs-4-3", "lrc-4-2-1", "lrc-4-2-2", "lrc-6-2-2"} {
		c := coder(t, name)
		n := c.scheme.N()
		for range 60 {
			want := rnd.IntN(n)
			few := uint32(rnd.IntN(1 << n)) // ANDed with another, for a quarter of the members
			lost := uint32(1)<<want | few&uint32(rnd.IntN(1<<n))
			shards := have(c, lost)
			for i := range shards {
				shards[i].Cost = rnd.IntN(4)
				if i < c.scheme.K() && i != want && rnd.IntN(6) == 0 {
					shards[i].Zero = true
				}
			}
			count, cost := fewest(c, want, shards)
			p, err := c.Plan(want, shards)
			if err != nil {
				if count >= 0 {
					t.Fatalf("%s: shard %d, %+v: %v, but %d reads suffice", name, want, shards, err, count)
				}
				continue
			}
			sum := 0
			for _, i := range p.Reads() {
				sum += shards[i].Cost
			}
			if len(p.Reads()) != count || sum != cost {
				t.Fatalf("%s: shard %d, %+v: reads %v at cost %d, want %d reads at %d", name, want, shards, p.Reads(), sum, count, cost)
			}
		}
	}
}

// fewest tries every set of survivors, and returns the count and cost of the
// best one; -1 if none suffices.
func fewest(c *Coder, want int, shards []Shard) (count, cost int) {
	count = -1
	columns := inOrder(c.scheme.K())
	for set := range uint32(1 << len(shards)) {
		var b basis
		usable, sum := true, 0
		for i, s := range shards {
			switch {
			case s.Zero:
				b.offer(c.rows[i], columns)
			case set>>i&1 == 0:
			case i == want || !s.Have:
				usable = false
			default:
				b.offer(c.rows[i], columns)
				sum += s.Cost
			}
			usable = usable && !(s.Zero && set>>i&1 == 1)
		}
		size := bits.OnesCount32(set)
		if !usable || count >= 0 && (size > count || size == count && sum >= cost) {
			continue
		}
		if _, ok := b.express(c.rows[want]); ok {
			count, cost = size, sum
		}
	}
	return count, cost
}

func TestErrorNamesWhatIsMissing(t *testing.T) {
	c := coder(t, "rs-6-3")
	_, err := c.Plan(1, have(c, 1<<1|1<<3|1<<7|1<<8))
	if !errors.Is(err, holdall.ErrUnavailable) || !strings.Contains(err.Error(), "missing 1, 3, 7, 8") ||
		!strings.Contains(err.Error(), "rs-6-3") {
		t.Errorf("error %v", err)
	}
}

func TestCacheStaysBounded(t *testing.T) {
	c := newCache[int, int](4)
	for i := range 100 {
		if got := c.get(i, func() int { return 2 * i }); got != 2*i {
			t.Fatalf("get %d: %d", i, got)
		}
		c.get(0, func() int { return 0 })
	}
	if len(c.slots) != 4 || len(c.index) != 4 {
		t.Fatalf("%d slots, %d keys, want 4", len(c.slots), len(c.index))
	}
	if _, ok := c.find(0); !ok {
		t.Error("the entry in constant use was dropped")
	}
	for key, i := range c.index {
		if c.slots[i].key != key {
			t.Errorf("key %d points at slot of %d", key, c.slots[i].key)
		}
	}
}

// FuzzPlan takes any scheme, losses, pack lengths and range: a plan gives the
// right bytes, and there is one wherever the losses are recoverable.
func FuzzPlan(f *testing.F) {
	f.Add(uint8(1), uint8(6), uint8(0), uint8(3), uint32(7), uint64(1), uint16(100), uint16(50))
	f.Add(uint8(2), uint8(12), uint8(2), uint8(2), uint32(0x1041), uint64(2), uint16(0), uint16(9000))
	f.Add(uint8(3), uint8(1), uint8(0), uint8(3), uint32(7), uint64(3), uint16(1), uint16(1))
	f.Fuzz(func(t *testing.T, kind, data, local, global uint8, lost uint32, seed uint64, from, length uint16) {
		s := holdall.Scheme{Kind: holdall.SchemeKind(kind), Data: data, Local: local, Global: global}
		c, err := New(s)
		if err != nil {
			if s.Validate() == nil {
				t.Fatalf("coder of %v: %v", s, err)
			}
			return
		}
		rnd := newSeeded(seed)
		lengths := make([]int, 1+rnd.IntN(s.K()))
		for i := range lengths {
			lengths[i] = rnd.IntN(1 + rnd.IntN(8192))
		}
		st := newStripe(t, c, rnd, lengths...)
		known := st.known(lost)
		for i := range known {
			known[i].Cost = rnd.IntN(3)
		}
		start := min(int(from), st.height)
		at := span{start, min(start+int(length), st.height)}
		for want := range s.N() {
			p, err := c.Plan(want, known)
			if err != nil {
				if lost>>want&1 == 1 && c.Recoverable(isLost(32, lost)[:s.N()]) {
					t.Fatal(err)
				}
				continue
			}
			if err := st.rebuild(p, at, make([]byte, at.end-at.start)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
