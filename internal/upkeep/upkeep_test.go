package upkeep

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

var rs = holdall.Scheme{Kind: holdall.ReedSolomon, Data: 3, Global: 2}

// someBlocks is stripes of blocks: two wide, the last narrow.
func someBlocks(tag string) [][]string {
	var stripes [][]string
	for s := range 3 {
		var blocks []string
		for b := range 7 - 3*s {
			blocks = append(blocks, strings.Repeat(fmt.Sprint(tag, s, b, "-"), 1+1000*b))
		}
		stripes = append(stripes, blocks)
	}
	return stripes
}

func metricValue(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

func TestDeadVolumeIsFreedAfterTheHold(t *testing.T) {
	f := newFakeCell()
	v := f.addVolume(t, 7, rs, someBlocks("a"))
	u := f.upkeep(t, time.Hour)
	round := func() {
		t.Helper()
		u.nextScan = time.Time{}
		if err := u.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	round()
	if v.State != holdall.VolumeSealed {
		t.Fatal("a volume with rows was freed")
	}
	f.forget(v)
	round()
	if v.State != holdall.VolumeFreed || len(f.trashed) != rs.N() || len(f.freed) != 0 {
		t.Fatalf("%v, %d extents in trash, %d reset", v.State, len(f.trashed), len(f.freed))
	}
	f.now = f.now.Add(59 * time.Minute)
	round()
	if len(f.freed) != 0 {
		t.Fatal("zones were reset before the hold was over")
	}
	f.now = f.now.Add(time.Minute)
	round()
	if len(f.freed) != rs.N() || f.volumes[7] != nil {
		t.Errorf("%d extents reset, row %v", len(f.freed), f.volumes[7])
	}
}

func TestDeadVolumeGoesInOneRoundWithoutAHold(t *testing.T) {
	f := newFakeCell()
	v := f.addVolume(t, 7, rs, someBlocks("a"))
	f.forget(v)
	if err := f.upkeep(t, 0).Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(f.freed) != rs.N() || f.volumes[7] != nil {
		t.Errorf("%d extents reset, row %v", len(f.freed), f.volumes[7])
	}
}

// A member that a rebuild went on without is on no disk: nothing would ever free
// it, and the volume's row would stay.
func TestFreedMemberOnNoDiskIsDone(t *testing.T) {
	f := newFakeCell()
	v := f.addVolume(t, 7, rs, someBlocks("a"))
	f.forget(v)
	v.Members[1].Disk = holdall.DiskID{}
	f.away[holdall.DiskID{}] = true
	u := f.upkeep(t, time.Hour)
	for range 2 {
		u.nextScan = time.Time{}
		if err := u.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.now = f.now.Add(2 * time.Hour)
	}
	if len(f.freed) != rs.N()-1 || f.volumes[7] != nil {
		t.Errorf("%d extents reset, row %+v", len(f.freed), f.volumes[7])
	}
}

func TestProofsThatDisagreeFreeNothing(t *testing.T) {
	for _, away := range []int{0, 1, 2} {
		f := newFakeCell()
		v := f.addVolume(t, 7, rs, someBlocks("a"))
		v.Rows = 0 // the count is wrong: every row is still there
		for i := range away {
			f.away[f.disks[i].ID] = true
		}
		u := f.upkeep(t, 0)
		if err := u.Round(t.Context()); !errors.Is(err, holdall.ErrRefused) {
			t.Errorf("%d disks away: %v", away, err)
		}
		if v.State != holdall.VolumeSealed || len(f.freed) != 0 {
			t.Errorf("%d disks away: %v, %d extents reset", away, v.State, len(f.freed))
		}
		if metricValue(t, u.metrics.disagreements) == 0 {
			t.Errorf("%d disks away: no alarm", away)
		}
	}
}

func TestOneRowIsFoundWhereverItsPackLies(t *testing.T) {
	// Each block in turn is the only one with a row, and its own disk is away.
	f := newFakeCell()
	v := f.addVolume(t, 7, rs, someBlocks("a"))
	rows := f.rows
	for k, b := range rows {
		f.rows = map[metadata.BlockKey]metadata.Block{k: b}
		v.Rows, v.State = 0, holdall.VolumeSealed
		f.away = map[holdall.DiskID]bool{v.Members[b.Location.Member].Disk: true}
		if err := f.upkeep(t, 0).Round(t.Context()); !errors.Is(err, holdall.ErrRefused) || len(f.freed) != 0 {
			t.Errorf("block at %+v: %v", b.Location, err)
		}
	}
}

func TestVolumeThatCannotBeReadIsNotFreed(t *testing.T) {
	f := newFakeCell()
	v := f.addVolume(t, 7, rs, someBlocks("a"))
	f.forget(v)
	for i := range 3 { // one more than the scheme bears
		f.away[f.disks[i].ID] = true
	}
	u := f.upkeep(t, 0)
	if err := u.Round(t.Context()); err == nil || v.State != holdall.VolumeSealed {
		t.Fatalf("%v, %v", err, v.State)
	}
	// It is left alone for a while, then tried again, and freed once it can be.
	f.away = map[holdall.DiskID]bool{}
	u.nextScan = time.Time{}
	if err := u.Round(t.Context()); err != nil || v.State != holdall.VolumeSealed {
		t.Fatalf("before the wait was over: %v, %v", err, v.State)
	}
	f.now = f.now.Add(firstRetry)
	u.nextScan = time.Time{}
	if err := u.Round(t.Context()); err != nil || f.volumes[7] != nil {
		t.Errorf("after the wait: %v, %v", err, f.volumes[7])
	}
}

func TestTablesThatDisagreeFreeNothing(t *testing.T) {
	f := newFakeCell()
	v := f.addVolume(t, 7, rs, someBlocks("a"))
	f.forget(v)
	other := f.tables[7][1]
	other.Epoch++
	f.tables[7] = append(f.tables[7], other)
	if err := f.upkeep(t, 0).Round(t.Context()); !errors.Is(err, holdall.ErrCorrupt) || v.State != holdall.VolumeSealed {
		t.Errorf("%v, %v", err, v.State)
	}
}

func TestRefereeHasTheLastWord(t *testing.T) {
	for what, lie := range map[string]func(*metadata.Volume){
		"sealed":       func(v *metadata.Volume) { v.State = holdall.VolumeSealed },
		"other extent": func(v *metadata.Volume) { v.Members = []metadata.Member{{Created: 99}, {}, {}, {}, {}} },
	} {
		f := newFakeCell()
		v := f.addVolume(t, 7, rs, someBlocks("a"))
		f.forget(v)
		f.referee = lie
		u := f.upkeep(t, 0)
		if err := u.Round(t.Context()); !errors.Is(err, holdall.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
		if f.freed[v.Extent(0)] || metricValue(t, u.metrics.disagreements) == 0 {
			t.Errorf("%s: an extent was reset, or there was no alarm", what)
		}
	}
}

func TestExtentsOnDisksThatAreAwayWait(t *testing.T) {
	f := newFakeCell()
	v := f.addVolume(t, 7, rs, someBlocks("a"))
	f.forget(v)
	f.disks[1].State = holdall.DiskFailed
	f.away[f.disks[1].ID] = true
	u := f.upkeep(t, 0)
	if err := u.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(f.freed) != rs.N()-1 || f.volumes[7] == nil {
		t.Fatalf("%d reset, row %v", len(f.freed), f.volumes[7])
	}
	f.disks[1].State, f.away = holdall.DiskActive, map[holdall.DiskID]bool{}
	u.nextScan = time.Time{}
	if err := u.Round(t.Context()); err != nil || f.volumes[7] != nil {
		t.Errorf("after the disk is back: %v, row %v", err, f.volumes[7])
	}
}

func TestPurgeKeepsRetentionAndHeedsTheBreaker(t *testing.T) {
	f := newFakeCell()
	f.addVolume(t, 7, rs, someBlocks("a"))
	n, old := len(f.rows), 0
	for k, b := range f.rows {
		age := 59 * time.Minute
		if old < 5 {
			age, old = time.Hour, old+1
		}
		b.Direct, b.TrashedAt = false, f.now.Add(-age)
		f.rows[k] = b
	}
	u := f.upkeep(t, time.Hour)
	f.stopped = true
	if err := u.Round(t.Context()); err != nil || len(f.rows) != n || metricValue(t, u.metrics.breaker) != 1 {
		t.Errorf("with the breaker tripped: %v, %d rows of %d", err, len(f.rows), n)
	}
	f.stopped = false
	if err := u.Round(t.Context()); err != nil || len(f.rows) != n-5 || metricValue(t, u.metrics.breaker) != 0 {
		t.Errorf("released: %v, %d rows of %d", err, len(f.rows), n)
	}
}

// TestLongRetentionHoldsUpNoOther: the oldest trash is of a namespace that keeps
// it for long, and is more than a round looks at.
func TestLongRetentionHoldsUpNoOther(t *testing.T) {
	f := newFakeCell()
	f.addVolume(t, 7, rs, someBlocks("a"))
	for k, b := range f.rows {
		b.Direct, b.TrashedAt = false, f.now.Add(-2*time.Hour)
		f.rows[k] = b
	}
	const waiting = (purgePages + 1) * holdall.MaxIDsPerCall
	for i := range waiting {
		k := metadata.BlockKey{Namespace: patient, ID: holdall.BlockID{byte(i), byte(i >> 8), byte(i >> 16)}}
		f.rows[k] = metadata.Block{Namespace: k.Namespace, ID: k.ID, Found: true, TrashedAt: f.now.Add(-50 * time.Hour)}
	}
	u := f.upkeep(t, time.Hour)
	for range 2 {
		if _, err := u.purge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.rows) != waiting {
		t.Errorf("%d rows are left, want the %d whose retention is long", len(f.rows), waiting)
	}
	if u.purgeAt != (metadata.Trashed{}) {
		t.Errorf("at the end of trash, the next purge would begin after %+v", u.purgeAt)
	}
}

func TestNothingIsPurgedOrFreedInQuarantine(t *testing.T) {
	f := newFakeCell()
	v := f.addVolume(t, 7, rs, someBlocks("a"))
	f.forget(v)
	w := f.addVolume(t, 8, rs, someBlocks("b"))
	w.Members[2].Footer = false
	for k, b := range f.rows {
		b.TrashedAt = f.now.Add(-2 * time.Hour)
		f.rows[k] = b
	}
	n := len(f.rows)
	f.cell.Quarantine = "rebuilt"
	if err := f.upkeep(t, 0).Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(f.rows) != n || v.State != holdall.VolumeSealed {
		t.Errorf("%d rows of %d, %v", len(f.rows), n, v.State)
	}
	if !w.Members[2].Footer {
		t.Error("footers are harmless and were not written")
	}
}

func TestDeadOpenVolumesAreSealedOnlyWhenSpaceIsShort(t *testing.T) {
	f := newFakeCell()
	v := f.addVolume(t, 7, rs, someBlocks("a"))
	v.State = holdall.VolumeOpen
	f.forget(v)
	u := f.upkeep(t, 0)
	if err := u.Round(t.Context()); err != nil || len(f.sealed) != 0 {
		t.Fatalf("with room: %v, sealed %v", err, f.sealed)
	}
	for i := range f.status {
		f.status[i].FreeZones = 10
	}
	u.nextScan = time.Time{}
	if err := u.Round(t.Context()); err != nil || len(f.sealed) != 1 {
		t.Fatalf("short: %v, sealed %v", err, f.sealed)
	}
	if err := u.Round(t.Context()); err != nil || f.volumes[7] != nil {
		t.Errorf("the round after: %v, row %v", err, f.volumes[7])
	}
}

func TestPlanOfFooters(t *testing.T) {
	f := newFakeCell()
	v := f.addVolume(t, 7, rs, someBlocks("a"))
	v.Members[1].Footer, v.Members[3].Footer = false, false
	f.disks[3].State = holdall.DiskFailed
	if err := f.upkeep(t, 0).Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.footers != 1 || !v.Members[1].Footer || v.Members[3].Footer {
		t.Errorf("%d footers written, members %+v", f.footers, v.Members)
	}
}

func TestFlushForgetsOnlyWhatIsOnDisks(t *testing.T) {
	f := newFakeCell()
	for i := range flushBatch + 1000 {
		f.changes = append(f.changes, metadata.Change{Seq: uint64(i + 5), Time: f.now, Kind: metadata.ChangeDelete, Namespace: 1, ID: holdall.BlockID{byte(i)}})
	}
	want := len(f.changes)
	u := f.upkeep(t, 0)
	f.putErr = fmt.Errorf("no disks: %w", holdall.ErrUnavailable)
	if err := u.Flush(t.Context()); !errors.Is(err, holdall.ErrUnavailable) || len(f.changes) != want {
		t.Fatalf("without disks: %v, %d changes of %d left", err, len(f.changes), want)
	}
	f.putErr = nil
	if err := u.Flush(t.Context()); err != nil || len(f.changes) != 0 {
		t.Fatalf("%v, %d changes left", err, len(f.changes))
	}
	next, total := uint64(5), 0
	for _, block := range f.journal {
		h, changes, err := ParseJournal(block)
		if err != nil || h.First != next || h.Cell != exampleCell || len(block) > holdall.MaxBlockSize {
			t.Fatalf("journal block %+v: %v", h, err)
		}
		next, total = h.Last+1, total+len(changes)
	}
	if total != want {
		t.Errorf("%d changes in blocks, want %d", total, want)
	}
	n := len(f.journal)
	if err := u.Flush(t.Context()); err != nil || len(f.journal) != n {
		t.Error("an empty journal was written")
	}
}

func TestConfigReportsEveryFault(t *testing.T) {
	_, err := New(Config{Retention: -1, FlushEvery: time.Hour})
	if !errors.Is(err, holdall.ErrInvalid) {
		t.Fatal(err)
	}
	for _, name := range []string{"Tables", "Referee", "Volumes", "Trash", "Journal", "Extents", "Disks", "Blocks", "Pool", "Retention", "FlushEvery"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
}
