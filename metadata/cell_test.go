package metadata

import (
	"errors"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

func TestCellBeginsOnce(t *testing.T) {
	r := newRig(t)
	r.refused(&setNamespace{1, 0, -1}, holdall.ErrRefused) // no gate is raised yet
	init := &initCell{holdall.CellID{1}, time.Hour}
	r.ok(init, noResult{})
	cell := r.cell()
	if cell.ID != init.Cell || cell.Incarnation != 1 || cell.Format != FormatVersion || cell.Gate != GateBase || cell.Breaker.Floor != DefaultBreakerFloor {
		t.Errorf("cell: %+v", cell)
	}
	n, ok, err := readNamespace(r.db, holdall.DefaultNamespace)
	if err != nil || !ok || n.Name != "default" || n.Retention != time.Hour {
		t.Errorf("default namespace: %+v, %v, %v", n, ok, err)
	}
	before := contents(t, r.db)
	r.ok(init, noResult{})
	if contents(t, r.db) != before {
		t.Error("a second init changed the state")
	}
	r.refused(&initCell{holdall.CellID{2}, 0}, holdall.ErrRefused)
}

func TestTimeNeverRunsBack(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	r.put(&v, id(1))
	r.pass(-time.Hour) // no effect: after never goes back
	r.now -= instant(time.Hour.Milliseconds())
	r.delete(id(1))
	if b := r.block(id(1)); toInstant(b.TrashedAt) != day {
		t.Errorf("trashed at %v, before the cell's clock", b.TrashedAt)
	}
	r.reload()
	if r.refused(&takeLease{v.ID, "h", time.Minute}, holdall.ErrRefused); !r.cell().Clock.Equal(day.time()) {
		t.Errorf("clock ran back to %v", r.cell().Clock)
	}
}

func TestQuarantineStopsPurgeAndFree(t *testing.T) {
	r := newCell(t, 3)
	r.ok(&setNamespace{holdall.DefaultNamespace, 0, -1}, noResult{})
	v := r.volume()
	empty := r.volume()
	r.seal(&empty)
	r.put(&v, id(1))
	r.delete(id(1))
	var n numberResult
	r.ok(&raiseCell{Above: 4, Reason: "rebuilt from disks"}, &n)
	if n.N != 5 || r.cell().Quarantine != "rebuilt from disks" {
		t.Fatalf("incarnation %d, %+v", n.N, r.cell())
	}
	r.refused(&purgeBlocks{[]BlockKey{{1, id(1)}}}, holdall.ErrRefused)
	r.refused(&freeVolume{empty.ID, empty.Epoch}, holdall.ErrRefused)
	r.refused(stripe(&v, id(2)), holdall.ErrStale) // whoever held the lease holds it no more
	if err := r.take(&v, "g"); err != nil || v.Epoch != holdall.MakeEpoch(5, 3) {
		t.Errorf("lease in the new incarnation: %v, %v", v.Epoch, err)
	}
	if w := r.volume(); w.ID.Incarnation() != 5 {
		t.Errorf("new volume is %v", w.ID)
	}
	r.ok(&releaseCell{}, noResult{})
	if got := r.purge(id(1)); got.Purged != 1 {
		t.Errorf("purge after the release: %+v", got)
	}
	r.ok(&freeVolume{empty.ID, empty.Epoch}, new(volumeResult))
}

func TestGatesAreRaisedOneByOne(t *testing.T) {
	r := newCell(t, 0)
	r.m.known = 3
	r.refused(&raiseGate{3}, holdall.ErrRefused)
	r.ok(&raiseGate{1}, noResult{})
	r.ok(&raiseGate{2}, noResult{})
	r.ok(&raiseGate{3}, noResult{})
	if g := r.cell().Gate; g != 3 {
		t.Errorf("gate is %d", g)
	}
	entry, err := encodeCommand(header{Time: r.now}, &raiseGate{4})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.m.apply(r.index+1, 1, entry); !errors.Is(err, errTooNew) {
		t.Errorf("a gate that this process does not know: %v", err)
	}
	if _, err := newMachine(r.db); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("start of a process that knows gate %d on a state at 3: %v", newestGate, err)
	}
}

func TestEntriesOfALaterReleaseStopTheVoter(t *testing.T) {
	r := newCell(t, 0)
	good, err := encodeCommand(header{Time: r.now}, &releaseCell{})
	if err != nil {
		t.Fatal(err)
	}
	for at, b := range map[int]byte{0: entryVersion + 1, 1: 200} {
		entry := append([]byte(nil), good...)
		entry[at] = b
		before := everything(t, r.db)
		if _, err := r.m.apply(r.index+1, 1, entry); !errors.Is(err, errTooNew) {
			t.Errorf("byte %d is %d: %v", at, b, err)
		}
		if everything(t, r.db) != before || r.m.appliedIndex() != r.index {
			t.Error("the entry had an effect")
		}
	}
}

func TestChecksumsAreNotedEvery10000Entries(t *testing.T) {
	a, b := newCell(t, 3), newCell(t, 3)
	for _, r := range []*rig{a, b} {
		r.index = checksumEvery - 2
		r.volume()   // entry 9,999
		r.index += 5 // Raft's own entries lie between, 10,000 among them
		r.volume()
		r.index = 3*checksumEvery - 1
		r.volume() // entry 30,000
		r.volume()
	}
	read := func(r *rig) (all []checksum) {
		for c, err := range checksums(r.db) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		return all
	}
	got := read(a)
	if len(got) != 3 || got[0].Index != checksumEvery || got[1].Index != 2*checksumEvery || got[2].Index != 3*checksumEvery {
		t.Fatalf("checksums: %+v", got)
	}
	for i, c := range read(b) {
		if c != got[i] {
			t.Errorf("checksums differ: %+v and %+v", c, got[i])
		}
	}
	if got[0].Sum == got[1].Sum || got[1].Sum == got[2].Sum {
		t.Errorf("checksums do not follow the changes: %+v", got)
	}
}

func TestChecksumShowsADifferenceForEver(t *testing.T) {
	a, b := newCell(t, 3), newCell(t, 3)
	a.delete(id(1))
	va, vb := a.volume(), b.volume()
	a.put(&va, id(1))
	b.put(&vb, id(2)) // what should never be: another entry at the same index
	for _, r := range []*rig{a, b} {
		r.index = checksumEvery
		r.volume()
	}
	if a.m.sys.sum == b.m.sys.sum {
		t.Error("two states that differ have one checksum")
	}
}
