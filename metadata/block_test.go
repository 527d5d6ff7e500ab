package metadata

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

func (r *rig) changes() (all []Change) {
	r.t.Helper()
	cell := r.cell()
	for c, err := range changes(r.db, &cell) {
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func (r *rig) hold(verb commandTag, ids ...holdall.BlockID) []holdall.BlockID {
	r.t.Helper()
	var gone idsResult
	r.ok(&changeBlocks{verb, holdall.DefaultNamespace, ids}, &gone)
	return gone.IDs
}

func TestDeleteTrashesAndMayBeRepeated(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	r.put(&v, id(1), id(2))
	if gone := r.delete(id(1), id(9)); !slices.Equal(gone, []holdall.BlockID{id(9)}) {
		t.Errorf("absent: %v", gone)
	}
	trashed := r.block(id(1))
	if trashed.Live() || toInstant(trashed.TrashedAt) != r.now {
		t.Errorf("deleted row is %+v", trashed)
	}
	r.pass(time.Hour)
	journal := len(r.changes())
	r.delete(id(1), id(1))
	if got := r.block(id(1)); got != trashed || len(r.changes()) != journal {
		t.Errorf("second delete changed the row to %+v, journal from %d to %d", got, journal, len(r.changes()))
	}
	if v = r.readVolume(v.ID); v.Rows != 2 || v.Bytes != 2000 || v.Live != 1000 {
		t.Errorf("counts: %+v", v)
	}
	audit(t, r.db)
}

func TestClaimAndUndeleteBringBack(t *testing.T) {
	for verb, kind := range map[commandTag]ChangeKind{tagClaim: ChangeClaim, tagUndelete: ChangeUndelete} {
		r := newCell(t, 3)
		v := r.volume()
		r.put(&v, id(1))
		before := r.block(id(1))
		r.delete(id(1))
		if gone := r.hold(verb, id(1), id(2)); !slices.Equal(gone, []holdall.BlockID{id(2)}) {
			t.Errorf("verb %d: gone: %v", verb, gone)
		}
		if got := r.block(id(1)); got != before {
			t.Errorf("verb %d: row is %+v, want %+v", verb, got, before)
		}
		all := r.changes()
		if last := all[len(all)-1]; last.Kind != kind || last.ID != id(1) {
			t.Errorf("verb %d: journal ends with %+v", verb, last)
		}
		r.hold(verb, id(1))
		if got := r.changes(); len(got) != len(all) {
			t.Errorf("verb %d: a live block was journaled again: %+v", verb, got)
		}
		audit(t, r.db)
	}
}

func TestUnknownNamespaceIsRefusedAndNotMade(t *testing.T) {
	r := newCell(t, 3)
	for _, verb := range []commandTag{tagClaim, tagDelete, tagUndelete} {
		r.refused(&changeBlocks{verb, 5, []holdall.BlockID{id(1)}}, holdall.ErrInvalid)
	}
	if _, err := lookup(r.db, 5, []holdall.BlockID{id(1)}, nil); err == nil {
		t.Error("lookup in an unknown namespace")
	}
	r.refused(&setNamespace{5, time.Hour, -1}, holdall.ErrInvalid)
}

func TestPurgeWaitsForRetention(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	r.put(&v, id(1), id(2), id(3))
	r.delete(id(1), id(2))
	r.pass(DefaultRetention - time.Millisecond)
	if got := r.purge(id(1), id(3), id(9)); !reflect.DeepEqual(got, PurgeResult{Waiting: 3}) {
		t.Errorf("early purge: %+v", got)
	}
	r.pass(time.Millisecond)
	r.hold(tagUndelete, id(2))
	if got := r.purge(id(1), id(2), id(3)); !reflect.DeepEqual(got, PurgeResult{Purged: 1, Waiting: 2}) {
		t.Errorf("purge: %+v", got)
	}
	if kept := r.block(id(2)); r.block(id(1)).Found || !kept.Live() {
		t.Error("purged the wrong row")
	}
	if gone := r.hold(tagUndelete, id(1)); len(gone) != 1 {
		t.Error("a purged block was undeleted")
	}
	if v = r.readVolume(v.ID); v.Rows != 2 || v.Bytes != 2000 {
		t.Errorf("counts after the purge: %+v", v)
	}
	audit(t, r.db)
}

func TestPurgeLowersTheVolumeThatTheRowNamesAtApply(t *testing.T) {
	r := newCell(t, 3)
	v, w := r.volume(), r.volume()
	r.put(&v, id(1))
	c := stripe(&w, id(1))
	c.Blocks[0].Replace = r.block(id(1)).Location
	r.ok(c, new(commitAnswer))
	r.delete(id(1))
	r.pass(DefaultRetention)
	r.purge(id(1))
	if v, w = r.readVolume(v.ID), r.readVolume(w.ID); v.Rows != 0 || w.Rows != 0 {
		t.Errorf("rows: %d and %d", v.Rows, w.Rows)
	}
	audit(t, r.db)
}

func TestRetentionIsTheNamespaces(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	r.put(&v, id(1))
	r.ok(&setNamespace{holdall.DefaultNamespace, 0, -1}, noResult{})
	r.delete(id(1))
	if got := r.purge(id(1)); got.Purged != 1 {
		t.Errorf("purge without retention: %+v", got)
	}
}

func TestBreakerTripsAndIsReleased(t *testing.T) {
	r := newCell(t, 3)
	r.ok(&setNamespace{holdall.DefaultNamespace, 0, -1}, noResult{})
	r.ok(&setBreaker{Share: 200_000, Floor: 2}, noResult{}) // a fifth of the rows
	v := r.volume()
	var ids []holdall.BlockID
	for i := range 20 {
		ids = append(ids, id(i))
	}
	r.put(&v, ids...)
	r.delete(ids...)
	if got := r.purge(ids[:3]...); !reflect.DeepEqual(got, PurgeResult{Purged: 3}) {
		t.Fatalf("within the allowance: %+v", got)
	}
	if got := r.purge(ids[3:6]...); !reflect.DeepEqual(got, PurgeResult{Purged: 1, Stopped: true}) {
		t.Fatalf("over the allowance of 4: %+v", got)
	}
	r.pass(10 * time.Hour)
	if got := r.purge(ids[4]); !reflect.DeepEqual(got, PurgeResult{Stopped: true}) {
		t.Fatalf("tripped, without a release: %+v", got)
	}
	if b := r.cell().Breaker; !b.Tripped || b.Allowance != 4 {
		t.Errorf("breaker: %+v", b)
	}
	r.ok(&releaseBreaker{time.Hour}, noResult{})
	if got := r.purge(ids[4:10]...); !reflect.DeepEqual(got, PurgeResult{Purged: 6}) {
		t.Fatalf("released: %+v", got)
	}
	r.pass(time.Hour)
	if got := r.purge(ids[10:]...); !reflect.DeepEqual(got, PurgeResult{Purged: 2, Stopped: true}) {
		t.Fatalf("after the release, 10 rows, floor 2: %+v", got)
	}
	audit(t, r.db)
}

func TestBreakerCountsAnewEachHour(t *testing.T) {
	r := newCell(t, 3)
	r.ok(&setNamespace{holdall.DefaultNamespace, 0, -1}, noResult{})
	r.ok(&setBreaker{Share: 0, Floor: 2}, noResult{})
	v := r.volume()
	r.put(&v, id(1), id(2), id(3), id(4))
	r.delete(id(1), id(2), id(3), id(4))
	for i := 1; i <= 3; i += 2 {
		if got := r.purge(id(i), id(i+1)); !reflect.DeepEqual(got, PurgeResult{Purged: 2}) {
			t.Fatalf("hour %d: %+v", i, got)
		}
		r.pass(time.Hour)
	}
}

func TestJournalIsFlushed(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	r.put(&v, id(1))
	r.delete(id(1))
	r.hold(tagClaim, id(1))
	var kinds []ChangeKind
	for i, c := range r.changes() {
		kinds = append(kinds, c.Kind)
		if c.Seq != uint64(i+1) {
			t.Errorf("change %d has number %d", i+1, c.Seq)
		}
	}
	if want := []ChangeKind{ChangeStripe, ChangeDelete, ChangeClaim}; !slices.Equal(kinds, want) {
		t.Fatalf("journal is %v, want %v", kinds, want)
	}
	r.refused(&flushChanges{4}, holdall.ErrInvalid)
	r.ok(&flushChanges{2}, noResult{})
	r.ok(&flushChanges{1}, noResult{})
	if all := r.changes(); len(all) != 1 || all[0].Seq != 3 {
		t.Errorf("after the flush: %+v", all)
	}
	r.reload()
	r.delete(id(1))
	if all := r.changes(); len(all) != 2 || all[1].Seq != 4 {
		t.Errorf("after the flush and a change: %+v", all)
	}
}

func TestTrashComesInPages(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	for i := range 10 {
		r.put(&v, id(i))
		r.delete(id(i))
		r.pass(time.Duration(i%2) * time.Second) // two at a time are trashed in the same instant
	}
	var all, paged []waiting
	for w, err := range trash(r.db, waiting{}, r.now+1) {
		if all = append(all, w); err != nil {
			t.Fatal(err)
		}
	}
	for at := (waiting{}); len(paged) <= 10; paged = append(paged, at) {
		found := false
		for w, err := range trash(r.db, at, r.now+1) {
			if at, found = w, true; err != nil {
				t.Fatal(err)
			}
			break
		}
		if !found {
			break
		}
	}
	if len(all) != 10 || !slices.Equal(all, paged) {
		t.Errorf("all at once: %v; one by one: %v", all, paged)
	}
}
