package drills

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// TestKillUnderLoadLosesNothing kills the server with SIGKILL every two seconds
// while blocks of many sizes are put, restarts it each time, and reads every
// acknowledged block back.
func TestKillUnderLoadLosesNothing(t *testing.T) {
	c := newCell(t)
	c.start()
	cl := c.dial()
	l := &ledger{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	sizes := []int{1, 100, 4096, 65536, 300_000, 1 << 20, 4 << 20}
	go func() {
		defer close(done)
		l.putUntil(ctx, cl, 16, func(i uint64) int { return sizes[i%uint64(len(sizes))] }, func(int) bool { return false })
	}()
	var slowest time.Duration
	kills := pick(3, 30)
	for range kills {
		time.Sleep(2 * time.Second)
		c.kill()
		slowest = max(slowest, c.start().ready)
	}
	cancel()
	<-done
	t.Logf("%d kills, %d blocks acknowledged, %d puts failed, slowest restart %v", kills, l.count(), l.failed, slowest)
	if l.count() < 100*kills {
		t.Errorf("only %d blocks were acknowledged: the drill proves little", l.count())
	}
	mustReadAll(t, cl, l.ids(), "after the kills")
	if open := c.openVolumes(); open > 8 {
		t.Errorf("%d volumes are open after %d kills, want at most 8", open, kills)
	}
}

// TestBenchMixedSurvivesKills does the same under `holdall bench mixed`, which
// checks its own acknowledged blocks at the end.
func TestBenchMixedSurvivesKills(t *testing.T) {
	if !*full {
		t.Skip("only with -full")
	}
	c := newCell(t)
	c.start()
	out := make(chan result, 1)
	go func() {
		out <- c.run("bench", "mixed", "--sizes", "lognormal", "--concurrency", "16", "--duration", "60s",
			"--ids", c.dir+".ids", "--output", "json")
	}()
	var slowest time.Duration
	for {
		select {
		case r := <-out:
			t.Logf("exit %d, slowest restart %v\n%s", r.code, slowest, r.stdout)
			var v struct{ Lost, Wrong, Acked *int }
			if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || v.Lost == nil || v.Wrong == nil {
				t.Fatalf("bench mixed prints no lost and wrong: %v\n%s%s", err, r.stdout, r.stderr)
			}
			if *v.Lost != 0 || *v.Wrong != 0 || r.code != 0 {
				t.Errorf("exit %d, %d lost, %d wrong\n%s", r.code, *v.Lost, *v.Wrong, r.stderr)
			}
			if open := c.openVolumes(); open > 8 {
				t.Errorf("%d volumes are open, want at most 8", open)
			}
			return
		case <-time.After(2 * time.Second):
			c.kill()
			slowest = max(slowest, c.start().ready)
		}
	}
}

// TestRestartIsQuickHoweverMuchIsStored stores 10 GiB in blocks of 1 MiB and
// times the restart after a kill.
func TestRestartIsQuickHoweverMuchIsStored(t *testing.T) {
	if !*full {
		t.Skip("only with -full: it writes 16 GB")
	}
	c := newCell(t)
	c.start()
	cl := c.dial()
	l := &ledger{}
	l.put(t, cl, 10<<10, 16, 1<<20)
	for i := range 5 {
		c.kill()
		s := c.start()
		t.Logf("restart %d with 10 GiB stored: ready after %v", i, s.ready)
		if s.ready > time.Second {
			t.Errorf("restart took %v, want at most 1 s", s.ready)
		}
	}
	ids := l.ids()
	mustReadAll(t, cl, ids[len(ids)-500:], "the newest after five kills")
}

func (c *cell) openVolumes() int {
	c.t.Helper()
	var v struct {
		Open int `json:"volumes_open"`
	}
	c.json(&v, "cell", "status")
	return v.Open
}

// disks returns the state of every disk, by path.
func (c *cell) disks() map[string]string {
	c.t.Helper()
	var rows []struct{ Path, State string }
	c.json(&rows, "disk", "ls")
	states := map[string]string{}
	for _, r := range rows {
		states[r.Path] = r.State
	}
	if len(states) == 0 {
		c.t.Fatal(fmt.Errorf("disk ls printed no disk"))
	}
	return states
}
