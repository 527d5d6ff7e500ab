package metadata

import (
	"errors"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

func TestStepsAreTakenByEvidence(t *testing.T) {
	m := newMoving(t)
	m.see(1)
	if s := m.status(); s.State != StateAssess || s.Number != 1 || s.Began != 1 || !m.row().Migrates || m.row().KeepsMarkers {
		t.Fatalf("a new migration: %+v, bucket %+v", s, m.row())
	}
	for to := StateMirror; to <= StateRetired; to++ {
		before := m.status()
		if to != StateMirror {
			m.refused(&stepMigration{tagAnnounce, m.bucket, before.Number, to}, holdall.ErrRefused)
		}
		m.in(to)
		s := m.status()
		if s.State != to || s.Step != 0 || s.Number != before.Number+2 || s.Began != s.Number || !s.Entered.Equal(m.now.time()) {
			t.Errorf("in %v: %+v", to, s)
		}
		if b := m.row(); b.KeepsMarkers != to.Mirrored() || b.Migrates != (to != StateRetired) {
			t.Errorf("in %v: bucket %+v", to, b)
		}
		audit(t, m.db)
	}
	m.refused(&stepMigration{tagAnnounce, m.bucket, m.status().Number, StateCutOver}, holdall.ErrRefused)
}

func TestAStepWaitsForEveryDoorThatIsNotSilent(t *testing.T) {
	m := newMoving(t)
	m.see(1)
	m.see(2)
	m.refused(&ackStep{doorID(1), m.bucket, 1}, holdall.ErrStale) // nothing is announced
	m.announce(StateMirror)
	number := m.status().Number
	m.refused(m.doStep(), holdall.ErrUnavailable)
	m.ok(&ackStep{doorID(1), m.bucket, number}, noResult{})
	m.ok(&ackStep{doorID(1), m.bucket, number}, noResult{})
	m.refused(m.doStep(), holdall.ErrUnavailable)
	m.refused(&ackStep{doorID(2), m.bucket, number - 1}, holdall.ErrStale)
	m.refused(&ackStep{doorID(9), m.bucket, number}, holdall.ErrStale) // nobody has seen it

	// What was acknowledged is void once the step was called off.
	m.refused(&stepMigration{tagCancelStep, m.bucket, number - 1, 0}, holdall.ErrStale)
	m.ok(&stepMigration{tagCancelStep, m.bucket, number, 0}, new(migrationAnswer))
	m.refused(&stepMigration{tagCancelStep, m.bucket, number + 1, 0}, holdall.ErrStale)
	m.refused(m.doStep(), holdall.ErrStale)
	m.announce(StateMirror)
	m.refused(&stepMigration{tagAnnounce, m.bucket, m.status().Number, StateMirror}, holdall.ErrRefused)
	m.refused(m.doStep(), holdall.ErrUnavailable)

	m.ok(&ackStep{doorID(1), m.bucket, m.status().Number}, noResult{})
	m.pass(DoorSilence - time.Millisecond)
	m.see(1)
	m.refused(m.doStep(), holdall.ErrUnavailable)
	m.pass(time.Millisecond) // now 2 is silent
	m.ok(m.doStep(), new(migrationAnswer))
	if fenced := m.see(2); !fenced {
		t.Error("a door that a step was taken without is not told")
	}
	if fenced := m.see(2); fenced {
		t.Error("a door that was just seen is fenced")
	}
	m.ok(&seeDoor{tagDropDoor, doorID(2)}, noResult{})
	m.ok(&seeDoor{tagDropDoor, doorID(2)}, noResult{})
	m.evidence(StateShadow)
	m.step(StateShadow)
}

func TestAKeyHasOneIntent(t *testing.T) {
	m := newMoving(t).in(StateMirror)
	_, err := m.take(m.request(1, "k", 1))
	m.want("intent of a door that nobody has seen", err, holdall.ErrStale)
	m.see(1)
	m.see(2)
	first := m.granted(1, "k", 1)
	if first.HasNewest || first.Entry != nil || first.Migration.State != StateMirror {
		t.Errorf("granted: %+v", first)
	}
	m.granted(1, "k", 1) // again
	for _, r := range []IntentRequest{m.request(2, "k", 2), m.request(1, "k", 3), m.request(2, "k", 1)} {
		a, err := m.take(r)
		if err != nil || a.Holder == nil || a.Holder.IntentRequest != m.request(1, "k", 1) {
			t.Errorf("%+v: %+v, %v", r, a.Holder, err)
		}
	}
	m.granted(2, "l", 2)
	if s := m.status(); s.Intents != 2 {
		t.Errorf("%d intents", s.Intents)
	}
	s := m.settled(1)
	s.End = true
	o, err := m.commit("k", s)
	m.want("commit", err, nil)
	if g := m.granted(2, "k", 4); !g.HasNewest || g.Newest.Version != o.Version {
		t.Errorf("granted after a commit: %+v", g)
	}
	m.want("end", m.end("k", Settlement{Op: putID(4)}), nil)
	m.want("end again", m.end("k", Settlement{Op: putID(4)}), nil)
	m.want("end of what another holds", m.end("l", Settlement{Op: putID(4)}), nil)
	if s := m.status(); s.Intents != 1 {
		t.Errorf("%d intents", s.Intents)
	}
	var held *HeldError
	if err := error(&HeldError{exampleIntent()}); !errors.Is(err, holdall.ErrUnavailable) || !errors.As(err, &held) {
		t.Error(err)
	}
}

func TestAWriteIsSettledWithItsVersion(t *testing.T) {
	m := newMoving(t).in(StateMirror)
	m.see(1)
	g := m.granted(1, "k", 1)
	s := m.settled(1)
	for what, bad := range map[string]Settlement{"no op": {}, "another op": {Op: putID(2), Number: g.Migration.Number}, "an old number": {Op: putID(1), Number: g.Migration.Began - 1},
		"a number to come": {Op: putID(1), Number: g.Migration.Number + 1}} {
		_, err := m.commit("k", bad)
		kind := holdall.ErrStale
		if what == "no op" {
			kind = holdall.ErrRefused
		}
		m.want(what, err, kind)
	}
	s.Miss = SideSource
	_, err := m.commit("k", s)
	m.want("the source decides, and has missed it", err, holdall.ErrInvalid)
	s.Miss, s.Reason = SideCell, "disk full"
	m.want("end with a miss", m.end("k", s), nil)
	e := m.entry("k")
	if e == nil || e.Missed != SideCell || e.Reason != "disk full" || e.Seq != m.index || !e.Next.Equal(m.now.time()) {
		t.Fatalf("entry %+v", e)
	}
	m.want("the same end again: nobody may take it for noted", m.end("k", s), holdall.ErrStale)

	// Repair makes the cell equal, and drops the entry with the version.
	g = m.granted(1, "k", 2)
	if g.Entry == nil || g.Entry.Seq != e.Seq {
		t.Fatalf("granted: %+v", g.Entry)
	}
	s = m.settled(2)
	s.Clear, s.End = e.Seq, true
	_, err = m.commit("k", s)
	m.want("repair", err, nil)
	if e := m.entry("k"); e != nil || m.status().Entries != 0 || m.status().Intents != 0 {
		t.Errorf("entry %+v, %+v", e, m.status())
	}

	// A delete, and tags.
	m.granted(1, "k", 3)
	s = m.settled(3)
	s.End = true
	m.refused(&setTags{Of: ObjectKey{Bucket: m.bucket, Key: "k"}, Tags: []byte("t")}, holdall.ErrRefused)
	m.ok(&setTags{Of: ObjectKey{Bucket: m.bucket, Key: "k"}, Tags: []byte("t"), Settle: s}, new(objectAnswer))
	m.refused(&deleteObject{ObjectDelete{Bucket: m.bucket, Key: "k", Put: putID(90), Settle: s}}, holdall.ErrStale)
	m.refused(&deleteObject{ObjectDelete{Bucket: m.bucket, Key: "k", Put: putID(90)}}, holdall.ErrRefused)
	m.granted(1, "k", 4)
	s.Op = putID(4)
	m.ok(&deleteObject{ObjectDelete{Bucket: m.bucket, Key: "k", Put: putID(90), Settle: s}}, new(objectAnswer))
	m.ok(&deleteObject{ObjectDelete{Bucket: m.bucket, Key: "k", Put: putID(90), Settle: s}}, new(objectAnswer)) // again
	if m.status().Intents != 0 {
		t.Errorf("%+v", m.status())
	}
	audit(t, m.db)
}

func TestABucketThatMigratesIsWrittenByItsDoorsOnly(t *testing.T) {
	m := newMoving(t)
	copied := ObjectCommit{Bucket: m.bucket, Key: "b", Put: putID(80), Origin: OriginBackfill, Root: m.root, If: Condition{Backfill: true}}
	for state := StateAssess; state <= StateCutOver; state++ {
		m.in(state)
		m.refused(&removeBucket{holdall.DefaultNamespace, "photos"}, holdall.ErrRefused)
		m.refused(&setBucket{m.bucket, !state.Mirrored()}, holdall.ErrRefused)
		m.refused(&undeleteObject{m.bucket, "k"}, holdall.ErrRefused)
		m.refused(&createMigration{m.bucket, m.settings()}, holdall.ErrExists)
		if state != StateAssess {
			m.refused(&removeMigration{m.bucket}, holdall.ErrRefused)
		}
		_, err := m.commit("k", Settlement{})
		m.want("a commit by nobody", err, holdall.ErrRefused)
		if copied.Put[1]++; state == StateMirror || state == StateShadow || state == StateFlipped {
			m.ok(&commitObject{copied}, new(objectAnswer))
		} else {
			m.refused(&commitObject{copied}, holdall.ErrRefused)
		}
	}
	// In cut-over nobody waits for the source, and the outbox needs no lock.
	s := Settlement{Number: m.status().Number, Miss: SideSource}
	_, err := m.commit("k", s)
	m.want("a commit in cut-over", err, nil)
	if e := m.entry("k"); e == nil || e.Missed != SideSource {
		t.Errorf("entry %+v", e)
	}
	s.Number = m.status().Began - 1
	_, err = m.commit("k", s)
	m.want("one that was decided before", err, holdall.ErrStale)

	m.in(StateRetired)
	if s := m.status(); s.Entries != 0 || m.entry("k") != nil {
		t.Errorf("retired: %+v", s)
	}
	_, err = m.commit("k", Settlement{Number: m.status().Number, Miss: SideSource})
	m.want("a commit that a door settles", err, holdall.ErrStale)
	_, err = m.commit("k", Settlement{})
	m.want("a commit like any", err, nil)
	m.ok(&deleteObject{ObjectDelete{Bucket: m.bucket, Key: "k", Put: putID(90)}}, new(objectAnswer))
	m.ok(&deleteObject{ObjectDelete{Bucket: m.bucket, Key: "b", Put: putID(91)}}, new(objectAnswer))
	m.ok(&removeBucket{holdall.DefaultNamespace, "photos"}, noResult{})
	audit(t, m.db)
	if _, ok, err := readMigration(m.db, m.bucket); ok || err != nil {
		t.Errorf("the bucket is removed and has a migration, %v", err)
	}
}

func TestAMigrationNeedsAnEmptyBucket(t *testing.T) {
	m := newMoving(t)
	var b bucketAnswer
	m.ok(&createBucket{holdall.DefaultNamespace, "third"}, &b)
	m.refused(&createMigration{b.Bucket.ID + 1, m.settings()}, ErrNoBucket)
	m.ok(&createUpload{Upload{ID: putID(70), Bucket: b.Bucket.ID, Key: "k"}}, new(uploadAnswer))
	m.refused(&createMigration{b.Bucket.ID, m.settings()}, holdall.ErrRefused)
	m.ok(&abortUpload{putID(70)}, noResult{})
	m.ok(&createMigration{b.Bucket.ID, m.settings()}, new(migrationAnswer))
	m.ok(&removeMigration{b.Bucket.ID}, noResult{})
	m.ok(&commitObject{ObjectCommit{Bucket: b.Bucket.ID, Key: "k", Put: putID(71), Root: m.root}}, new(objectAnswer))
	m.ok(&deleteObject{ObjectDelete{Bucket: b.Bucket.ID, Key: "k", Put: putID(72)}}, new(objectAnswer))
	m.refused(&createMigration{b.Bucket.ID, m.settings()}, holdall.ErrRefused)
	audit(t, m.db)
}

func TestSettingsChangeTheSourceInAssessOnly(t *testing.T) {
	m := newMoving(t)
	set := createMigration{m.bucket, m.settings()}
	set.Set.Source.Bucket = "elsewhere"
	m.ok(&setMigration{set}, new(migrationAnswer))
	m.in(StateMirror)
	set.Set.Source.Profile, set.Set.CleanRun, set.Set.Policy = "p", time.Minute, MissFail
	m.ok(&setMigration{set}, new(migrationAnswer))
	if s := m.status(); s.Source != set.Set.Source || s.CleanRun != time.Minute || s.Policy != MissFail || s.State != StateMirror {
		t.Errorf("%+v", s)
	}
	set.Set.Source.Bucket = "back"
	m.refused(&setMigration{set}, holdall.ErrRefused)
}

func TestEvidenceIsOfWhatBeganAfterTheLastFinding(t *testing.T) {
	m := newMoving(t).in(StateShadow)
	began := m.index
	notePassed := func(began uint64, differences int64) *notePass {
		return &notePass{PassResult{m.bucket, m.status().Number, began, differences}}
	}
	m.ok(notePassed(began, 0), noResult{})
	m.refused(notePassed(began, 0), holdall.ErrStale) // the same pass again
	m.ok(notePassed(m.index, 0), noResult{})
	m.pass(cleanRun)
	if s := m.status(); Guard(&s, StateFlipped, m.now.time()) != nil {
		t.Fatalf("two clean passes and a clean run are not enough: %v", Guard(&s, StateFlipped, m.now.time()))
	}
	began = m.index
	m.ok(&noteKey{tagNoteMismatch, m.bucket, "k", "bytes differ"}, noResult{})
	s := m.status()
	if e := s.Evidence; e.Passes != 0 || e.Mismatches != 1 || !e.CleanSince.Equal(m.now.time()) || !e.LastFinding.Equal(m.now.time()) || m.entry("k") == nil {
		t.Errorf("after a mismatch: %+v", s)
	}
	m.refused(notePassed(began, 0), holdall.ErrStale) // it may have read the key before
	m.ok(notePassed(began, 3), noResult{})
	if e := m.status().Evidence; e.Mismatches != 4 {
		t.Errorf("%+v", e)
	}
	m.refused(&notePass{PassResult{m.bucket, m.status().Began - 1, m.index, 0}}, holdall.ErrStale)

	note := WalkerNote{Bucket: m.bucket, Walker: "catch-up", Number: m.status().Number, Progress: []byte("at"), Copied: 2, CopiedBytes: 3, Find: FindNew}
	m.ok(&noteWalker{note}, noResult{})
	if e := m.status().Evidence; !e.CaughtUp.IsZero() || e.Copied != 2 || e.CopiedBytes != 3 {
		t.Errorf("%+v", e)
	}
	note.Number = m.status().Began - 1
	m.refused(&noteWalker{note}, holdall.ErrStale)
}

func TestQuarantineAndExceptions(t *testing.T) {
	m := newMoving(t).in(StateMirror)
	m.evidence(StateShadow)
	put, drop := &noteKey{tagPutQuarantine, m.bucket, "k", "403"}, &noteKey{tagDropQuarantine, m.bucket, "k", ""}
	m.ok(put, noResult{})
	m.ok(put, noResult{})
	for q, err := range quarantines(m.db, m.bucket, "") {
		if err != nil || q.Tries != 2 || q.Reason != "403" {
			t.Errorf("%+v, %v", q, err)
		}
	}
	m.refused(&stepMigration{tagAnnounce, m.bucket, m.status().Number, StateShadow}, holdall.ErrRefused)
	m.ok(&putException{Exception{Bucket: m.bucket, Key: "k", What: "all", Reason: "gone", SignedBy: "who"}}, noResult{})
	if s := m.status(); s.Quarantined != 0 || s.Exceptions != 1 {
		t.Errorf("%+v", s)
	}
	m.ok(put, noResult{})
	m.ok(drop, noResult{})
	if s := m.status(); s.Quarantined != 0 || s.Exceptions != 1 {
		t.Errorf("%+v", s)
	}
	m.in(StateShadow)
	m.ok(&noteKey{tagDropException, m.bucket, "k", ""}, noResult{})
	m.ok(&noteKey{tagDropException, m.bucket, "k", ""}, noResult{})
	m.ok(put, noResult{})
	m.ok(drop, noResult{})
	if s := m.status(); s.Quarantined != 0 || s.Exceptions != 0 {
		t.Errorf("%+v", s)
	}
	audit(t, m.db)
}
