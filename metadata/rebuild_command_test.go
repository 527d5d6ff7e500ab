package metadata

import (
	"slices"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

// newQuarantine returns a cell of three disks that is being rebuilt.
func newQuarantine(t *testing.T) *rig {
	r := newCell(t, 3)
	r.ok(&raiseCell{Above: 1, Reason: "rebuild"}, new(numberResult))
	return r
}

func (r *rig) adopt(n uint64) Volume {
	r.t.Helper()
	v := Volume{ID: holdall.MakeVolumeID(1, n), Scheme: scheme21, Limit: 1 << 28, State: holdall.VolumeOpen, Epoch: holdall.MakeEpoch(1, 4), Members: make([]Member, 3)}
	for m := range v.Members {
		v.Members[m] = Member{Disk: disk(m), Created: v.Epoch}
	}
	r.ok(&adoptVolume{v}, noResult{})
	return r.readVolume(v.ID)
}

func (r *rig) adoptStripe(v *Volume, c *adoptStripe) {
	r.t.Helper()
	r.ok(c, new(commitAnswer))
	*v = r.readVolume(v.ID)
}

func TestRebuildCommandsNeedQuarantine(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	row := v
	row.ID++
	r.refused(&adoptVolume{row}, holdall.ErrRefused)
	r.refused(&adoptStripe{StripeCommit: stripe(&v, id(1)).StripeCommit}, holdall.ErrRefused)
	r.refused(&replayChanges{[]Change{{Kind: ChangeDelete, Namespace: 1, ID: id(1)}}}, holdall.ErrRefused)
}

func TestAdoptedVolumeIsAboveWhatItWas(t *testing.T) {
	r := newQuarantine(t)
	v := r.adopt(7)
	if v.Epoch != holdall.MakeEpoch(2, 5) {
		t.Errorf("adopted at %v, was at 1.4", v.Epoch)
	}
	r.refused(&adoptVolume{Volume{ID: v.ID, Scheme: scheme21, Limit: 1 << 28, State: holdall.VolumeOpen, Members: make([]Member, 3)}}, holdall.ErrRefused)
	r.refused(&adoptVolume{Volume{ID: holdall.MakeVolumeID(3, 1), Scheme: scheme21, Limit: 1 << 28, State: holdall.VolumeOpen, Members: make([]Member, 3)}}, holdall.ErrInvalid)
	if r.cell().Volumes != 1 {
		t.Errorf("cell: %+v", r.cell())
	}
}

// TestReplayRepeatsWhatHappened rebuilds from a cell's own stripes and journal,
// and must come to the cell's rows.
func TestReplayRepeatsWhatHappened(t *testing.T) {
	a := newCell(t, 3)
	v, w := a.volume(), a.volume()
	stripes := map[holdall.VolumeID][]*commitStripe{}
	put := func(v *Volume, c *commitStripe) {
		t.Helper()
		stripes[v.ID] = append(stripes[v.ID], c)
		a.ok(c, new(commitAnswer))
		*v = a.readVolume(v.ID)
	}
	put(&v, stripe(&v, id(1), id(2), id(3), id(4), id(5)))
	a.delete(id(1), id(2), id(3))
	a.pass(time.Hour)
	a.hold(tagUndelete, id(2))
	put(&w, stripe(&w, id(3))) // un-trashes it, the row stays in v
	moved := stripe(&w, id(4))
	moved.Blocks[0].Replace = a.block(id(4)).Location
	put(&w, moved)
	a.delete(id(5))
	a.pass(DefaultRetention)
	a.purge(id(5))
	put(&w, stripe(&w, id(5)))
	a.delete(id(4))
	a.seal(&v)

	b := newQuarantine(t)
	b.now = a.now
	for n := range uint64(2) {
		b.adopt(n + 1)
	}
	for _, c := range a.changes() {
		if c.Kind == ChangeStripe {
			s := stripes[c.Volume][c.Stripe-1].StripeCommit
			for i := range s.Blocks {
				s.Blocks[i].Replace = holdall.Location{} // directories do not say
			}
			b.ok(&adoptStripe{StripeCommit: s, Journaled: true, Time: toInstant(c.Time)}, new(commitAnswer))
		}
		b.ok(&replayChanges{[]Change{c}}, noResult{})
	}
	for n := range 6 {
		got, want := b.block(id(n)), a.block(id(n))
		if got != want {
			t.Errorf("block %d is\n%+v, was\n%+v", n, got, want)
		}
	}
	for _, id := range []holdall.VolumeID{v.ID, w.ID} {
		got, want := b.readVolume(id), a.readVolume(id)
		if got.State != want.State || got.Last != want.Last || got.Rows != want.Rows || got.Live != want.Live || got.Packs != want.Packs || got.Members[0].End != want.Members[0].End {
			t.Errorf("volume is\n%+v, was\n%+v", got, want)
		}
	}
	if cell := b.cell(); len(b.changes()) != 0 || cell.LastChange != a.cell().LastChange || cell.FirstChange != cell.LastChange+1 {
		t.Errorf("changes %d to %d wait, want none, numbers to go on from %d", cell.FirstChange, cell.LastChange, a.cell().LastChange)
	}
	audit(t, b.db)
}

func TestStripeOutsideTheJournalIsJournaledAnew(t *testing.T) {
	r := newQuarantine(t)
	v := r.adopt(1)
	r.ok(&replayChanges{[]Change{{Seq: 40, Kind: ChangeDelete, Namespace: 1, ID: id(1)}}}, noResult{})
	c := &adoptStripe{StripeCommit: stripe(&v, id(1)).StripeCommit}
	c.Stripe = 3 // numbers may have gaps: not all need be found
	r.adoptStripe(&v, c)
	all := r.changes()
	if len(all) != 1 || all[0].Kind != ChangeStripe || all[0].Stripe != 3 || all[0].Seq != 41 {
		t.Errorf("journal: %+v", all)
	}
	if v.Last != 3 || v.Rows != 1 {
		t.Errorf("volume: %+v", v)
	}
}

func TestStripeOfUnknownOrderComesBackAsTrash(t *testing.T) {
	r := newQuarantine(t)
	v := r.adopt(1)
	r.adoptStripe(&v, &adoptStripe{StripeCommit: stripe(&v, id(1)).StripeCommit, Journaled: true})
	r.adoptStripe(&v, &adoptStripe{StripeCommit: stripe(&v, id(1), id(2)).StripeCommit, Journaled: true, Trashed: true})
	if one, two := r.block(id(1)), r.block(id(2)); !one.Live() || !two.Found || two.Live() || toInstant(two.TrashedAt) != r.now {
		t.Errorf("rows: %+v, %+v", one, two)
	}
	audit(t, r.db)
}

func TestReplayOfAFreeKeepsAVolumeThatHasRows(t *testing.T) {
	r := newQuarantine(t)
	v, empty := r.adopt(1), r.adopt(2)
	r.adoptStripe(&v, &adoptStripe{StripeCommit: stripe(&v, id(1)).StripeCommit, Journaled: true})
	var all []Change
	for _, id := range []holdall.VolumeID{v.ID, empty.ID, 99} {
		all = append(all, Change{Kind: ChangeSeal, Volume: id, Epoch: holdall.MakeEpoch(1, 9)}, Change{Kind: ChangeFree, Volume: id, Epoch: holdall.MakeEpoch(1, 10)})
	}
	r.ok(&replayChanges{all}, noResult{})
	if v, empty = r.readVolume(v.ID), r.readVolume(empty.ID); v.State != holdall.VolumeSealed || empty.State != holdall.VolumeFreed {
		t.Errorf("states: %v and %v", v.State, empty.State)
	}
	if v.Epoch < holdall.MakeEpoch(2, 9) {
		t.Errorf("epoch %v is not above what the journal says", v.Epoch)
	}
	kinds := []string{}
	for _, k := range r.tasks() {
		kinds = append(kinds, k.Kind)
	}
	if !slices.Equal(kinds, []string{TaskFooter, TaskFree}) {
		t.Errorf("tasks: %v", kinds)
	}
}

func TestReplayedTrashKeepsItsTime(t *testing.T) {
	r := newQuarantine(t)
	v := r.adopt(1)
	r.adoptStripe(&v, &adoptStripe{StripeCommit: stripe(&v, id(1)).StripeCommit, Journaled: true})
	then := day - 1000
	away := holdall.Location{Volume: v.ID, Member: 1, Offset: 4096, Length: 1000}
	r.ok(&replayChanges{[]Change{
		{Kind: ChangeDelete, Namespace: 1, ID: id(1), Time: then.time()},
		{Kind: ChangeMove, Namespace: 1, ID: id(1), Time: day.time(), Location: away},
	}}, noResult{})
	if b := r.block(id(1)); toInstant(b.TrashedAt) != then || b.Location != away {
		t.Errorf("row: %+v", b)
	}
	audit(t, r.db)
}

// Blocks of a namespace whose making the journal does not tell are not given up,
// and do not keep the rest from being rebuilt.
func TestAdoptedBlocksMakeTheirNamespace(t *testing.T) {
	r := newQuarantine(t)
	r.ok(&replayChanges{[]Change{{Seq: 1, Kind: ChangeNamespace, Namespace: 5, Name: "told", Retention: time.Hour, Quota: 7}}}, noResult{})
	v := r.adopt(1)
	c := stripe(&v, id(1), id(2))
	c.Blocks[0].Namespace, c.Blocks[1].Namespace = 5, 9
	r.adoptStripe(&v, &adoptStripe{StripeCommit: c.StripeCommit, Journaled: true, Time: r.now})
	want := map[holdall.NamespaceID]string{0: "system", 1: "default", 5: "told", 9: "rebuilt-9"}
	for n, err := range namespaces(r.db) {
		if err != nil || n.Name != want[n.ID] || n.ID > 1 && n.Blocks != 1 {
			t.Errorf("%+v, %v", n, err)
		}
		delete(want, n.ID)
	}
	if len(want) != 0 {
		t.Errorf("not there: %v", want)
	}
	r.ok(&releaseCell{}, noResult{})
	var a spaceAnswer
	if r.ok(&createNamespace{"next", time.Hour, 0}, &a); a.Namespace.ID != 10 {
		t.Errorf("the next namespace is %+v", a.Namespace)
	}
	r.ok(&raiseCell{Above: 5, Reason: "again"}, new(numberResult))
	r.ok(&replayChanges{[]Change{{Seq: 2, Kind: ChangeNamespaceGone, Namespace: 10}, {Seq: 3, Kind: ChangeNamespaceGone, Namespace: 9}}}, noResult{})
	if n, ok, err := readNamespace(r.db, 10); ok || err != nil {
		t.Errorf("%+v, %v", n, err)
	}
	if n, ok, err := readNamespace(r.db, 9); !ok || err != nil {
		t.Errorf("%+v, which has a block, %v", n, err)
	}
	audit(t, r.db)
}
