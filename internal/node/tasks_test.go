package node

import (
	"testing"
	"time"

	"github.com/holdall/holdall/metadata"
)

func TestTaskRatesAreMeasured(t *testing.T) {
	var r taskRates
	now := time.Unix(1000, 0)
	look := func(after time.Duration, left map[uint64]taskLeft) {
		now = now.Add(after)
		r.observe(now, left)
	}
	expect := func(what, kind string, left int64, wantRate, wantETA float64) { // negative: not known
		t.Helper()
		rate, eta := r.estimate(kind, left)
		if (rate == nil) != (wantRate < 0) || rate != nil && *rate != uint64(wantRate) {
			t.Errorf("%s: rate %v, want %v", what, rate, wantRate)
		}
		if (eta == nil) != (wantETA < 0) || eta != nil && *eta != wantETA {
			t.Errorf("%s: eta %v, want %v", what, eta, wantETA)
		}
	}
	expect("never seen", "free", 900, -1, -1)
	look(0, map[uint64]taskLeft{1: {"free", 600}, 2: {"free", 400}, 3: {"footer", 50}})
	expect("seen once", "free", 1000, -1, -1)
	look(5*time.Second, map[uint64]taskLeft{1: {"free", 500}, 2: {"free", 400}, 3: {"footer", 50}})
	expect("watched for too short", "free", 900, -1, -1)
	look(5*time.Second, map[uint64]taskLeft{2: {"free", 400}, 3: {"footer", 50}, 4: {"free", 5000}})
	expect("one smaller, one gone, one new", "free", 5400, 60, 90)
	expect("no progress", "footer", 50, 0, -1)
	look(time.Millisecond, map[uint64]taskLeft{})
	expect("looked at again at once", "free", 600, 60, 10)
	for range 20 {
		look(10*time.Second, map[uint64]taskLeft{4: {"free", 5000}})
	}
	expect("stuck for longer than the window", "free", 5000, 0, -1)
	look(10*time.Second, map[uint64]taskLeft{})
	look(10*time.Second, map[uint64]taskLeft{5: {"free", 100}})
	expect("begun anew after a rest", "free", 100, -1, -1)
}

func TestBytesLeftAreThoseOfMembersNotDone(t *testing.T) {
	members := []metadata.Member{{End: 1, Footer: true}, {End: 10, Freed: true}, {End: 100, Footer: true, Freed: true}}
	for _, c := range []struct {
		task metadata.Task
		want int64
	}{
		{metadata.Task{Kind: metadata.TaskFooter, Member: -1}, 10},
		{metadata.Task{Kind: metadata.TaskFree, Member: -1}, 1},
		{metadata.Task{Kind: "repair", Member: 2}, 100},
	} {
		if got := bytesLeft(&c.task, members); got != c.want {
			t.Errorf("%+v: %d bytes left, want %d", c.task, got, c.want)
		}
	}
}
