package pace

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func parseNumber(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }

func TestBucketGrantsAndCharges(t *testing.T) {
	var b Bucket
	if d := b.Take(noon, 1e12); d != 0 {
		t.Errorf("a bucket without a limit waits %v", d)
	}
	b.SetRate(noon, 100, 0)
	if d := b.Take(noon, 250); d != 2500*time.Millisecond {
		t.Errorf("250 at 100/s wait %v, want 2.5 s", d)
	}
	if d := b.Wait(noon.Add(time.Second)); d != 1500*time.Millisecond {
		t.Errorf("a second later %v are left, want 1.5 s", d)
	}
	if d := b.Take(noon.Add(time.Hour), 1); d != 10*time.Millisecond {
		t.Errorf("an idle hour saved more than the burst: %v", d)
	}
	b.SetRate(noon.Add(2*time.Hour), 0, time.Second)
	if d := b.Take(noon.Add(2*time.Hour), 1); d != Forever {
		t.Errorf("at a rate of zero: %v", d)
	}
}

// Whoever waits as told gets the rate, whatever sizes are taken.
func TestBucketKeepsItsRate(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, seed))
	var b Bucket
	b.SetRate(noon, 1000, 100*time.Millisecond)
	now, taken := noon, 0.0
	for range 10_000 {
		n := float64(r.IntN(5000))
		taken += n
		now = now.Add(b.Take(now, n))
	}
	if rate := taken / now.Sub(noon).Seconds(); rate < 999 || rate > 1001 {
		t.Errorf("seed %d: %.2f a second, want 1000", seed, rate)
	}
}

func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		text string
		want map[int]int64 // by hour
	}{
		{"7", map[int]int64{0: 7, 12: 7, 23: 7}},
		{"none", map[int]int64{0: Unlimited}},
		{"08-18=5,else=50", map[int]int64{7: 50, 8: 5, 17: 5, 18: 50}},
		{"else=50,08-18=5", map[int]int64{7: 50, 8: 5}},
		{"22-06=none,06-22=0", map[int]int64{21: 0, 22: Unlimited, 0: Unlimited, 5: Unlimited, 6: 0}},
		{"00-24=3", map[int]int64{0: 3, 23: 3}},
		{"23-24=3", map[int]int64{22: Unlimited, 23: 3, 0: Unlimited}},
	} {
		s, err := ParseSchedule(c.text, parseNumber)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
		}
		for h, want := range c.want {
			if got := s.At(time.Date(2026, 1, 1, h, 59, 0, 0, time.UTC)); got != want {
				t.Errorf("%q at %d: %d, want %d", c.text, h, got, want)
			}
		}
	}
	for _, bad := range []string{"", "x", "-3", "8-8=1", "25-3=1", "3-25=1", "8=1", "08-18=", "08-18=5,"} {
		if _, err := ParseSchedule(bad, parseNumber); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestBudgetChangesWithTheHour(t *testing.T) {
	l := NoLimits()
	l.Bandwidth, _ = ParseSchedule("12-13=0,13-14=100,else=none", parseNumber)
	b := NewBudget(l, Prices{}, Spent{})
	wait, err := b.Ask(noon.Add(45*time.Minute), Read)
	if err != nil || wait != 15*time.Minute {
		t.Fatalf("in the hour of pause: %v, %v; want to come back at one", wait, err)
	}
	one := noon.Add(time.Hour)
	if wait := b.Again(one); wait != 0 {
		t.Errorf("at one: %v", wait)
	}
	if wait := b.Read(one, 1000); wait != 10*time.Second {
		t.Errorf("1000 bytes at 100/s: %v", wait)
	}
	if wait := b.Read(one.Add(time.Hour), 1<<40); wait != 0 {
		t.Errorf("at two there is no limit: %v", wait)
	}
}

func TestBudgetEndsWithTheMoney(t *testing.T) {
	l := NoLimits()
	l.Money = 1
	p := Prices{Byte: 0.001}
	p.Request[List] = 0.1
	b := NewBudget(l, p, Spent{Bytes: 500}) // by the run before
	for i := range 5 {
		if _, err := b.Ask(noon, List); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if _, err := b.Ask(noon, List); !errors.Is(err, holdall.ErrExhausted) {
		t.Errorf("over the budget: %v", err)
	}
	if _, err := b.Ask(noon, Free); err != nil {
		t.Errorf("what costs nothing: %v", err)
	}
	spent, cost := b.Spent()
	if spent.Requests[List] != 5 || cost < 0.999 || cost > 1.001 {
		t.Errorf("spent %+v, %.3f", spent, cost)
	}
}

func TestRequestsPerSecond(t *testing.T) {
	l := NoLimits()
	l.Requests = Always(10)
	b := NewBudget(l, Prices{}, Spent{})
	now := noon
	for range 101 {
		wait, err := b.Ask(now, Read)
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(wait)
	}
	if took := now.Sub(noon); took < 9*time.Second || took > 11*time.Second {
		t.Errorf("101 requests at 10/s took %v", took)
	}
}

// server is a prefix that answers SlowDown beyond some requests at once.
func TestWindowFindsWhatAPrefixBears(t *testing.T) {
	for _, bears := range []int{1, 3, 16, 50} {
		g, now := NewGate(64), noon
		slowed, asked := 0, 0
		for round := range 2000 {
			n := 0
			for g.Enter("p") {
				n++
			}
			now = now.Add(100 * time.Millisecond)
			for i := range n {
				o := Done
				if i >= bears {
					o = Throttled
				}
				if round >= 500 {
					asked++
					if o == Throttled {
						slowed++
					}
				}
				g.Leave(now, "p", o)
			}
		}
		if share := float64(asked-slowed) / 1500 / float64(bears); share < 0.6 {
			t.Errorf("a prefix that bears %d: %.2f of that is used", bears, share)
		}
		if share := float64(slowed) / float64(asked); share > 0.25 {
			t.Errorf("a prefix that bears %d: %.2f of requests are refused", bears, share)
		}
	}
}

func TestOnePrefixDoesNotSlowAnother(t *testing.T) {
	g := NewGate(64)
	if !g.Enter("hot") || !g.Enter("cold") {
		t.Fatal("a fresh gate is shut")
	}
	g.Leave(noon, "hot", Throttled)
	if g.Limit("hot") != 2 || g.Limit("cold") != 4 {
		t.Errorf("limits %d and %d, want 2 and 4", g.Limit("hot"), g.Limit("cold"))
	}
	// A second SlowDown of the same burst is no new one.
	for range 2 {
		g.Enter("hot")
		g.Leave(noon.Add(calmTime/2), "hot", Throttled)
	}
	if g.Limit("hot") != 2 {
		t.Errorf("limit %d after one burst", g.Limit("hot"))
	}
	g.Enter("hot")
	g.Leave(noon.Add(calmTime), "hot", Failed)
	if g.Limit("hot") != 2 {
		t.Errorf("a failure that says nothing of load changed the limit to %d", g.Limit("hot"))
	}
}

func TestGateIsBounded(t *testing.T) {
	g := NewGate(8)
	entered := 0
	for i := range 100 {
		if g.Enter(strconv.Itoa(i)) {
			entered++
		}
	}
	if entered != 8 {
		t.Errorf("%d in flight, want 8", entered)
	}
	for i := range 8 {
		g.Leave(noon, strconv.Itoa(i), Done)
	}
	for i := range 10 * maxPrefixes {
		p := "p" + strconv.Itoa(i)
		if !g.Enter(p) {
			t.Fatalf("prefix %d is shut out", i)
		}
		g.Leave(noon, p, Done)
	}
	if len(g.windows) > maxPrefixes {
		t.Errorf("%d windows are kept", len(g.windows))
	}
}

func TestBackoffDoublesToItsBound(t *testing.T) {
	var b Backoff
	for n, want := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond, 9: 20 * time.Second, 1000: 20 * time.Second} {
		if got := b.Delay(n, 1); got != want {
			t.Errorf("attempt %d: %v, want %v", n, got, want)
		}
	}
	if b.Delay(3, 0) != 0 || b.Delay(3, 0.5) != 200*time.Millisecond {
		t.Error("chance does not scale the wait")
	}
}
