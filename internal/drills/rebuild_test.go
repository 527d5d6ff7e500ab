package drills

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

// TestRebuildFromDisksRestoresTheIndex loses the metadata directory of a cell
// with a history of puts, deletes, undeletes, second puts, purges and kills,
// and compares what the disks give back with a dump taken before.
func TestRebuildFromDisksRestoresTheIndex(t *testing.T) {
	c := newCell(t, "--retention", "20s")
	c.start()
	cl := c.dial()
	l := &ledger{}
	rounds, each := pick(3, 6), pick(600, 18_000)
	deleted := map[holdall.BlockID]bool{}
	for r := range rounds {
		before := l.count()
		l.put(t, cl, each, 64, 3000)
		ids := l.ids()[before:]
		c.batches(ids[:each/3], func(ctx context.Context, ids []holdall.BlockID) ([]holdall.BlockID, error) {
			return cl.Delete(ctx, ids)
		})
		c.batches(ids[:each/9], func(ctx context.Context, ids []holdall.BlockID) ([]holdall.BlockID, error) {
			return cl.Undelete(ctx, ids)
		})
		for _, id := range ids[each/9 : each/3] {
			deleted[id] = true
		}
		if r == 1 { // those deleted in the round before are purged by now; put some again
			l.next.Store(0)
			l.put(t, cl, each/10, 16, 3000)
			for _, id := range l.ids()[len(l.ids())-each/10:] {
				delete(deleted, id)
			}
			l.next.Store(uint64(r+1) * 1_000_000)
		}
		c.kill()
		c.start()
		if r == 0 {
			time.Sleep(pick(time.Second, 25*time.Second))
		}
	}
	settle := pick(25*time.Second, 65*time.Second) // past the journal's flush; in full, past the contract's minute
	time.Sleep(settle)
	live := liveBlocks(t, c.must("metadata", "dump"))
	c.kill()
	t.Logf("%d blocks put, %d live in the dump before the loss", l.count(), len(live))
	if err := os.RemoveAll(filepath.Join(c.dir, "metadata")); err != nil {
		t.Fatal(err)
	}
	report := c.must("metadata", "rebuild", "--from-disks", "--data", c.dir)
	t.Logf("rebuild says:\n%.2000s", report)
	c.start()
	cl = c.dial()
	var ids []holdall.BlockID
	for id := range live {
		ids = append(ids, id)
	}
	mustReadAll(t, cl, ids, "after the rebuild")
	back := liveBlocks(t, c.must("metadata", "dump"))
	risen := 0
	for id := range back {
		if !live[id] && deleted[id] {
			risen++
		}
	}
	if risen > 0 {
		t.Errorf("%d blocks deleted more than a minute before the loss are live again", risen)
	}
	t.Logf("%d live after the rebuild", len(back))
	var v struct{ Quarantine bool }
	c.json(&v, "cell", "status")
	if !v.Quarantine {
		t.Error("a rebuilt cell is not in quarantine")
	}
	c.must("metadata", "release")
	l.put(t, cl, 100, 16, 3000)
	mustReadAll(t, cl, ids, "after the release")
}

// batches calls f with ids in calls of at most the limit.
func (c *cell) batches(ids []holdall.BlockID, f func(context.Context, []holdall.BlockID) ([]holdall.BlockID, error)) {
	c.t.Helper()
	for i := 0; i < len(ids); i += holdall.MaxIDsPerCall {
		gone, err := f(c.t.Context(), ids[i:min(i+holdall.MaxIDsPerCall, len(ids))])
		if err != nil || len(gone) > 0 {
			c.t.Fatalf("%d ids gone, error %v", len(gone), err)
		}
	}
}

// liveBlocks reads the ids of the user blocks that a dump shows as live.
func liveBlocks(t *testing.T, dump string) map[holdall.BlockID]bool {
	t.Helper()
	live := map[holdall.BlockID]bool{}
	scan := bufio.NewScanner(strings.NewReader(dump))
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var row struct {
			Table     string
			ID        holdall.BlockID
			Namespace uint32
			TrashedAt *time.Time `json:"trashed_at"`
		}
		if !strings.HasPrefix(scan.Text(), `{"table":"blocks"`) {
			continue
		}
		if err := json.Unmarshal(scan.Bytes(), &row); err != nil {
			t.Fatalf("dump line %q: %v", scan.Text(), err)
		}
		if row.Table == "blocks" && row.Namespace == uint32(holdall.DefaultNamespace) && row.TrashedAt == nil {
			live[row.ID] = true
		}
	}
	if len(live) == 0 {
		t.Fatal("the dump shows no live block")
	}
	return live
}
