package packer

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

var (
	rs63  = holdall.DefaultScheme
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

const mib = 1 << 20

func at(d time.Duration) time.Time { return start.Add(d) }

// wait calls Wait and fails the test unless something waits.
func wait(t *testing.T, p *Packer[int], now time.Time, arriving int) time.Duration {
	t.Helper()
	d, ok := p.Wait(now, arriving, 0)
	if !ok {
		t.Fatal("nothing waits")
	}
	return d
}

func bytesOf(packs []Pack[int]) []int {
	var b []int
	for _, p := range packs {
		b = append(b, p.Bytes)
	}
	return b
}

func TestWait(t *testing.T) {
	p := New[int](rs63)
	if _, ok := p.Wait(start, 5, 5); ok || p.Cut() != nil {
		t.Fatal("an empty packer has something to cut")
	}
	p.Add(start, 1, mib)
	if d := wait(t, p, start, 0); d != 0 {
		t.Errorf("alone: waits %v, want no wait at all", d)
	}
	if d := wait(t, p, at(10*time.Millisecond), 1); d != MaxWait-10*time.Millisecond {
		t.Errorf("with another in flight, at a low rate: waits %v, want what is left of %v", d, MaxWait)
	}
	if d := wait(t, p, at(time.Second), 1); d != 0 {
		t.Errorf("after its window: waits %v, want 0", d)
	}
}

func TestWidthDecidesWhetherAStripeWaitsForWrites(t *testing.T) {
	for _, c := range []struct {
		name   string
		blocks int
		size   int
		waits  bool
	}{
		{"one block", 1, mib, true},
		{"five packs of six", 5, 4 * mib, true},
		{"six even packs", 18, 64 << 10, false},
		{"six packs and a block over", 19, 64 << 10, true},
		{"headers outweigh the blocks", 60, 1 << 10, true},
	} {
		p := New[int](rs63)
		for i := range c.blocks {
			p.Add(start, i, c.size)
		}
		if d, _ := p.Wait(start, 0, 7); (d > 0) != c.waits {
			t.Errorf("%s, 7 puts being written: waits %v", c.name, d)
		}
		if d, _ := p.Wait(start, 1, 7); d == 0 {
			t.Errorf("%s, one arriving: does not wait", c.name)
		}
		if d, _ := p.Wait(start, 0, 0); d != 0 {
			t.Errorf("%s, nothing else in flight: waits %v", c.name, d)
		}
	}
}

// A window is the time that k full packs take to arrive: 24 MiB here.
func TestWindowFollowsTheRate(t *testing.T) {
	p := New[int](rs63)
	now := start
	for range 2000 { // 1 MiB a millisecond, long enough for the rate to settle
		now = now.Add(time.Millisecond)
		p.Add(now, 0, mib)
		p.Cut()
	}
	p.Add(now, 0, 1)
	if d := wait(t, p, now, 1); d < 20*time.Millisecond || d > 28*time.Millisecond {
		t.Errorf("at 1 MiB/ms: waits %v, want about 24 ms", d)
	}
	if d := wait(t, p, now.Add(25*time.Millisecond), 1); d > 5*time.Millisecond {
		t.Errorf("25 ms later: waits another %v, want next to nothing", d)
	}
}

func TestFullStripeDoesNotWait(t *testing.T) {
	p := New[int](rs63)
	for i := range 6 {
		if p.Len() > 0 && wait(t, p, start, 9) == 0 {
			t.Fatalf("due with %d full packs", i)
		}
		p.Add(start, i, 4*mib)
	}
	if d := wait(t, p, start, 9); d != 0 {
		t.Fatalf("six full packs wait %v", d)
	}
	p.Add(start, 6, 4*mib)
	if got := p.Cut(); len(got) != 6 || got[0].Items[0] != 0 || got[5].Items[0] != 5 {
		t.Fatalf("cut %v, want the first six blocks", got)
	}
	if p.Len() != 1 || wait(t, p, start, 9) == 0 {
		t.Fatal("the seventh block did not start a stripe of its own")
	}
}

func TestBlockThatDoesNotFitClosesTheStripe(t *testing.T) {
	p := New[int](rs63)
	for i := range 7 {
		p.Add(start, i, 3*mib)
	}
	if d := wait(t, p, start, 9); d != 0 {
		t.Fatalf("waits %v though the seventh block does not fit", d)
	}
	if got := bytesOf(p.Cut()); len(got) != 6 || p.Len() != 1 {
		t.Fatalf("cut %v and left %d, want six packs and one block", got, p.Len())
	}
}

func TestCutIsEven(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes []int // MiB
		want  []int // MiB
	}{
		{"one", []int{3}, []int{3}},
		{"three of a size", []int{2, 2, 2}, []int{2, 2, 2}},
		{"many of a size", []int{1, 1, 1, 1, 1, 1, 1, 1}, []int{2, 2, 2, 2}},
		{"small ones beside a large one", []int{1, 1, 1, 4}, []int{4, 3}},
		{"the largest first", []int{1, 1, 2, 2, 3, 3, 3, 3}, []int{3, 3, 3, 3, 3, 3}},
		{"that fit only in order of size", []int{1, 1, 1, 1, 4, 4, 4, 4, 4}, []int{4, 4, 4, 4, 4, 4}},
	} {
		p := New[int](rs63)
		for i, s := range c.sizes {
			p.Add(start, i, s*mib)
		}
		got := bytesOf(p.Cut())
		ok := len(got) == len(c.want)
		for i := range min(len(got), len(c.want)) {
			ok = ok && got[i] == c.want[i]*mib
		}
		if !ok {
			t.Errorf("%s: packs of %v bytes, want %v MiB", c.name, got, c.want)
		}
	}
}

func TestSchemeChangeReachesWhatWaits(t *testing.T) {
	p := New[int](rs63)
	for i := range 6 {
		p.Add(start, i, 4*mib)
	}
	p.SetScheme(rs63.Narrow(4))
	if got := p.Cut(); len(got) != 4 || p.Len() != 2 {
		t.Fatalf("cut %d packs and left %d, want 4 and 2", len(got), p.Len())
	}
	p.SetScheme(rs63)
	if d := wait(t, p, start, 1); d == 0 {
		t.Fatal("two packs of six are due")
	}
}

func TestPackBlockLimit(t *testing.T) {
	p := New[int](holdall.Scheme{Kind: holdall.Copies, Data: 1, Global: 2})
	for i := range holdall.MaxPackBlocks + 1 {
		p.Add(start, i, 1)
	}
	if d := wait(t, p, start, 1); d != 0 {
		t.Fatalf("waits %v with the directory full", d)
	}
	if got := p.Cut(); len(got) != 1 || len(got[0].Items) != holdall.MaxPackBlocks || p.Len() != 1 {
		t.Fatalf("cut %d packs and left %d", len(got), p.Len())
	}
}

func TestStripeBlockLimit(t *testing.T) {
	p := New[int](holdall.Scheme{Kind: holdall.ReedSolomon, Data: 20, Global: 4})
	for i := range 20 * holdall.MaxPackBlocks {
		p.Add(start, i, 1)
	}
	n := 0
	for _, a := range p.Cut() {
		n += len(a.Items)
	}
	if n != MaxBlocks {
		t.Fatalf("a stripe of %d blocks, want %d", n, MaxBlocks)
	}
}

// Every block comes out once; packs keep their limits; a stripe holds a prefix of
// what waited; and it is never taller than filling in order of arrival makes it.
func TestRandomStripesKeepTheirPromises(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		s := holdall.Scheme{Kind: holdall.ReedSolomon, Data: uint8(1 + rnd.IntN(12)), Global: uint8(1 + rnd.IntN(4))}
		p := New[int](s)
		sizes := make([]int, 1+rnd.IntN(200))
		limit := 1 + rnd.IntN(holdall.MaxBlockSize)
		for i := range sizes {
			sizes[i] = 1 + rnd.IntN(limit)
			p.Add(start, i, sizes[i])
		}
		for first := 0; p.Len() > 0; {
			checkStripe(t, s, p.Cut(), sizes, &first)
		}
	}
}

// checkStripe checks packs against the sizes from index *first on, and moves
// *first to the block after them.
func checkStripe(t *testing.T, s holdall.Scheme, packs []Pack[int], sizes []int, first *int) {
	t.Helper()
	if len(packs) == 0 || len(packs) > s.K() {
		t.Fatalf("%v: %d packs", s, len(packs))
	}
	seen, n := map[int]bool{}, 0
	for i, a := range packs {
		sum := 0
		for _, b := range a.Items {
			if seen[b] {
				t.Fatalf("block %d is packed twice", b)
			}
			seen[b] = true
			sum += sizes[b]
		}
		n += len(a.Items)
		if sum != a.Bytes || sum == 0 || sum > holdall.MaxBlockSize || len(a.Items) > holdall.MaxPackBlocks {
			t.Fatalf("pack of %d blocks says %d bytes and has %d", len(a.Items), a.Bytes, sum)
		}
		if i > 0 && a.Bytes > packs[i-1].Bytes {
			t.Fatal("the larger pack does not come first")
		}
	}
	for b := *first; b < *first+n; b++ {
		if !seen[b] {
			t.Fatalf("block %d was passed over", b)
		}
	}
	*first += n
}

func TestAddAndCutAllocateLittle(t *testing.T) {
	p := New[int](rs63)
	n := testing.AllocsPerRun(100, func() {
		for i := range 6 {
			p.Add(start, i, 4*mib)
		}
		p.Cut()
	})
	if n > 40 {
		t.Errorf("a stripe of six blocks takes %.0f allocations", n)
	}
}

func BenchmarkStripe(b *testing.B) {
	for _, c := range []struct {
		name         string
		blocks, size int
	}{{"6x4MiB", 6, 4 * mib}, {"64x4KiB", 64, 4096}, {"6000x4KiB", 6000, 4096}} {
		b.Run(c.name, func(b *testing.B) {
			p := New[int](rs63)
			b.ReportAllocs()
			for b.Loop() {
				for i := range c.blocks {
					p.Add(start, i, c.size)
				}
				for p.Len() > 0 {
					p.Cut()
				}
			}
		})
	}
}
