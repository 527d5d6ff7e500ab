package metadata

import (
	"testing"
	"time"

	"github.com/holdall/holdall"
)

// TestADoorThatDiesLeavesAnEntry lets a door die between its intent and its end,
// with and without the version, in every state that is mirrored.
func TestADoorThatDiesLeavesAnEntry(t *testing.T) {
	for state := StateMirror; state <= StateCutOver; state++ {
		for _, committed := range []bool{false, true} {
			m := newMoving(t).in(state)
			m.see(1)
			m.see(2)
			m.granted(1, "k", 1)
			if committed {
				_, err := m.commit("k", m.settled(1))
				m.want("commit", err, nil)
			}
			held := heldKey{Key: "k", Op: putID(1)}
			_, err := m.lapse(1, held)
			m.want("lapse of a live door", err, holdall.ErrRefused)
			m.pass(DoorSilence)
			m.see(2)
			n, err := m.lapse(1, held, heldKey{Key: "k", Op: putID(2)}, heldKey{Key: "l", Op: putID(1)})
			m.want("lapse", err, nil)
			e := m.entry("k")
			if n != 1 || e == nil || e.Missed != state.Follows() || !e.Until.Equal(m.now.after(IntentLife).time()) || !e.Next.Equal(e.Until) || m.status().Intents != 0 {
				t.Fatalf("%v: lapsed %d, entry %+v, %+v", state, n, e, m.status())
			}
			if n, err := m.lapse(1, held); n != 0 || err != nil {
				t.Errorf("%v: lapsed again: %d, %v", state, n, err)
			}

			// The door was not dead: nothing that it says counts any more.
			late := m.settled(1)
			_, err = m.commit("k", late)
			m.want("late commit", err, holdall.ErrStale)
			late.Miss = state.Follows()
			m.want("late miss", m.end("k", late), holdall.ErrStale)
			late.Miss, late.Clear = SideNone, e.Seq
			m.want("late clear", m.end("k", late), holdall.ErrStale)
			late.Clear = e.Seq - 1
			m.want("late clear of an entry before", m.end("k", late), nil)
			late.Clear = 0
			m.want("late end", m.end("k", late), nil)
			if got := m.entry("k"); got == nil || *got != *e {
				t.Errorf("%v: the entry became %+v", state, got)
			}

			// Its request may still land: a repair comes too early.
			m.granted(2, "k", 2)
			clear := m.settled(2)
			clear.Clear = e.Seq
			m.want("clear before the request is dead", m.end("k", clear), nil)
			if got := m.entry("k"); got == nil || got.Seq != e.Seq || got.Next.Before(e.Until) {
				t.Errorf("%v: the entry became %+v", state, got)
			}
			m.pass(IntentLife)
			m.see(2)
			m.granted(2, "k", 3)
			clear.Op = putID(3)
			m.want("clear", m.end("k", clear), nil)
			if got := m.entry("k"); got != nil || m.status().Entries != 0 {
				t.Errorf("%v: the entry became %+v", state, got)
			}
			audit(t, m.db)
		}
	}
}

func TestAnEntryThatCameMeanwhileIsNotDropped(t *testing.T) {
	for _, how := range []commandTag{tagNoteMiss, tagNoteMismatch} {
		m := newMoving(t).in(StateFlipped)
		m.see(1)
		m.ok(&noteKey{tagNoteMiss, m.bucket, "k", "first"}, noResult{})
		g := m.granted(1, "k", 1)
		m.pass(time.Second)
		m.ok(&noteKey{how, m.bucket, "k", "second"}, noResult{})
		s := m.settled(1)
		s.Clear = g.Entry.Seq
		m.want("repair of the first", m.end("k", s), nil)
		e := m.entry("k")
		if e == nil || e.Reason != "second" || e.Seq == g.Entry.Seq || !e.Since.Equal(g.Entry.Since) || m.status().Entries != 1 {
			t.Errorf("entry %+v, %+v", e, m.status())
		}
		m.ok(&touchEntry{m.bucket, "k", g.Entry.Seq, m.now.after(time.Hour), "try of the first"}, noResult{})
		if got := m.entry("k"); *got != *e {
			t.Errorf("a try of the first entry changed the second: %+v", got)
		}
		m.ok(&touchEntry{m.bucket, "k", e.Seq, m.now.after(time.Hour), "503"}, noResult{})
		if got := m.entry("k"); got.Tries != 1 || !got.Next.Equal(m.now.after(time.Hour).time()) || got.Reason != "503" || got.Seq != e.Seq {
			t.Errorf("after a try: %+v", got)
		}
		audit(t, m.db)
	}
}

func TestAnAnnouncementLetsRunningWritesEnd(t *testing.T) {
	m := newMoving(t).in(StateMirror)
	m.see(1)
	m.evidence(StateShadow)
	m.granted(1, "k", 1)
	m.granted(1, "l", 2)
	m.granted(1, "m", 3)
	before := m.settled(1)
	m.announce(StateShadow)
	_, err := m.take(m.request(1, "n", 4))
	m.want("an intent while a step is announced", err, holdall.ErrStale)
	m.granted(1, "k", 1) // granted before: again
	repair := m.request(1, "n", 5)
	repair.Kind = IntentRepair
	if a, err := m.take(repair); err != nil || a.Holder != nil {
		t.Errorf("a repair while a step is announced: %+v, %v", a, err)
	}
	_, err = m.commit("k", before)
	m.want("a commit that was decided before the announcement", err, nil)

	m.acknowledge()
	m.ok(m.doStep(), new(migrationAnswer))
	late := before
	late.Op = putID(2)
	_, err = m.commit("l", late)
	m.want("a commit that was decided before the step", err, holdall.ErrStale)
	late.Miss = SideCell
	m.want("a miss that was decided before the step", m.end("l", late), holdall.ErrStale)
	straddles := func() bool {
		i, ok, err := readIntent(m.db, m.bucket, "l")
		s := m.status()
		return err == nil && ok && i.Straddles(&s)
	}
	if !straddles() {
		t.Error("a write from before the step does not straddle")
	}
	_, err = m.commit("l", m.settled(2))
	m.want("decided again", err, nil)
	if straddles() {
		t.Error("a write that was decided by the new state straddles")
	}
	m.want("end of one that has nothing to note", m.end("m", Settlement{Op: putID(3), Number: before.Number}), nil)
}

// TestAFlipWaitsForWhatTheSilentLeft is for a write that readers may have seen at
// the source: it must not be undone by the cell's coming to decide.
func TestAFlipWaitsForWhatTheSilentLeft(t *testing.T) {
	m := newMoving(t).in(StateShadow)
	m.see(1)
	m.see(2)
	m.granted(1, "k", 1)
	m.granted(2, "l", 2)
	m.evidence(StateFlipped) // an hour passes
	m.see(2)
	m.announce(StateFlipped)
	m.acknowledge()
	m.refused(m.doStep(), holdall.ErrUnavailable)
	n, err := m.lapse(1, heldKey{Key: "k", Op: putID(1)})
	m.want("lapse", err, nil)
	if n != 1 {
		t.Fatalf("lapsed %d", n)
	}
	m.refused(m.doStep(), holdall.ErrRefused) // the outbox has a key
	m.pass(IntentLife)
	m.see(2)
	repair := m.request(2, "k", 3)
	repair.Kind = IntentRepair
	if a, err := m.take(repair); err != nil || a.Holder != nil {
		t.Fatalf("repair: %+v, %v", a, err)
	}
	s := m.settled(3)
	s.Clear, s.End = m.entry("k").Seq, true
	_, err = m.commit("k", s)
	m.want("repair", err, nil)
	m.ok(m.doStep(), new(migrationAnswer))

	// The write of the live door goes on under the new state.
	s = m.settled(2)
	s.Miss = SideSource
	_, err = m.commit("l", s)
	m.want("a straddler", err, nil)
	m.want("its end", m.end("l", Settlement{Op: putID(2)}), nil)
	if e := m.entry("l"); e == nil || e.Missed != SideSource {
		t.Errorf("entry %+v", e)
	}
	audit(t, m.db)
}

func TestStepsBackDrainTheSourcesOutbox(t *testing.T) {
	for from := StateFlipped; from <= StateCutOver; from++ {
		for to := StateAssess; to < from; to++ {
			m := newMoving(t).in(from)
			m.see(1)
			m.granted(1, "k", 1)
			s := m.settled(1)
			s.Miss, s.End = SideSource, true
			_, err := m.commit("k", s)
			m.want("commit", err, nil)
			back := &stepMigration{tagAnnounce, m.bucket, m.status().Number, to}
			if to.CellDecides() {
				m.ok(back, new(migrationAnswer))
				m.ok(&stepMigration{tagCancelStep, m.bucket, m.status().Number, 0}, new(migrationAnswer))
			} else {
				m.refused(back, holdall.ErrRefused)
			}
			m.granted(1, "k", 2)
			s = m.settled(2)
			s.Clear = m.entry("k").Seq
			m.want("repair", m.end("k", s), nil)
			m.announce(to)
			// A write that ends while the step is announced may still miss the source.
			m.ok(&noteKey{tagNoteMiss, m.bucket, "l", "late"}, noResult{})
			m.acknowledge()
			if !to.CellDecides() {
				m.refused(m.doStep(), holdall.ErrRefused)
				repair := m.request(1, "l", 3)
				repair.Kind = IntentRepair
				if _, err := m.take(repair); err != nil {
					t.Fatal(err)
				}
				s = m.settled(3)
				s.Clear = m.entry("l").Seq
				m.want("repair", m.end("l", s), nil)
			}
			m.ok(m.doStep(), new(migrationAnswer))
			audit(t, m.db)
			if s := m.status(); s.State != to || s.Evidence.Passes != 0 || m.row().KeepsMarkers != to.Mirrored() {
				t.Errorf("back from %v to %v: %+v, %+v", from, to, s, m.row())
			}
			if to == StateAssess {
				m.ok(&removeMigration{m.bucket}, noResult{})
				audit(t, m.db)
			}
		}
	}
}

func TestFactsAreNotedOfAVersion(t *testing.T) {
	m := newMoving(t).in(StateMirror)
	m.see(1)
	m.granted(1, "k", 1)
	o, err := m.commit("k", m.settled(1))
	m.want("commit", err, nil)
	facts := SourceFacts{ETag: "e", Version: "v", Modified: m.now.time()}
	end := EndIntent{Bucket: m.bucket, Key: "k", Settlement: Settlement{Op: putID(1), End: true}, FactsOf: o.Version, Facts: facts}
	m.ok(&endIntent{end}, noResult{})
	got, ok, err := readObject(m.db, o.name())
	if err != nil || !ok || got.Source != facts || got.Version != o.Version {
		t.Errorf("%+v, %t, %v", got, ok, err)
	}
	m.granted(1, "k", 2)
	end.Op, end.FactsOf = putID(2), o.Version+1
	m.ok(&endIntent{end}, noResult{}) // of a version that is gone
	audit(t, m.db)
}

// TestRetiringForgetsTheSource drops what was under way.
func TestRetiringForgetsTheSource(t *testing.T) {
	m := newMoving(t).in(StateCutOver)
	m.see(1)
	m.granted(1, "k", 1)
	m.ok(&noteKey{tagNoteMiss, m.bucket, "l", ""}, noResult{})
	was := m.settled(1)
	m.in(StateRetired)
	if s := m.status(); s.Intents != 0 || s.Entries != 0 {
		t.Errorf("%+v", s)
	}
	_, err := m.commit("k", was)
	m.want("a straddler", err, holdall.ErrStale)
	m.want("its end", m.end("k", was), nil)
	_, err = m.take(m.request(1, "k", 2))
	m.want("an intent", err, holdall.ErrStale)
	m.refused(&noteKey{tagNoteMiss, m.bucket, "l", ""}, holdall.ErrRefused)
	audit(t, m.db)
}

// TestAStraddlerThatDiesIsRepairedFromWhereItWasSeen is for a write that readers
// may have seen at the source before the flip, whose door dies after it.
func TestAStraddlerThatDiesIsRepairedFromWhereItWasSeen(t *testing.T) {
	for _, how := range []string{"lapse", "the cell refuses it", "it is committed"} {
		m := newMoving(t).in(StateShadow)
		m.evidence(StateFlipped)
		m.see(1)
		m.granted(1, "k", 1)
		m.announce(StateFlipped)
		m.acknowledge()
		m.ok(m.doStep(), new(migrationAnswer))
		read := func() Side {
			t.Helper()
			s := m.status()
			side, err := readSide(m.db, &s, "k")
			if err != nil {
				t.Fatal(err)
			}
			return side
		}
		if got := read(); got != SideSource {
			t.Errorf("%s: a straddler's key is read from the %v", how, got)
		}
		miss := m.settled(1)
		miss.Miss = SideSource
		missed := SideCell
		var err error
		switch how {
		case "lapse":
			m.pass(DoorSilence)
			_, err = m.lapse(1, heldKey{Key: "k", Op: putID(1)})
		case "the cell refuses it":
			err = m.end("k", miss)
		default:
			missed = SideSource
			_, err = m.commit("k", miss)
			m.want("end", m.end("k", Settlement{Op: putID(1)}), nil)
		}
		m.want(how, err, nil)
		if e := m.entry("k"); e == nil || e.Missed != missed || read() == missed {
			t.Errorf("%s: entry %+v, the key is read from the %v", how, e, read())
		}
		// Before another write, repair makes the cell equal.
		m.pass(IntentLife)
		m.see(2)
		kind := holdall.ErrUnavailable
		if missed == SideSource {
			kind = nil
		}
		_, err = m.take(m.request(2, "k", 2))
		m.want("another write", err, kind)
		m.want("its end", m.end("k", Settlement{Op: putID(2)}), nil)
		repair := m.request(2, "k", 3)
		repair.Kind = IntentRepair
		_, err = m.take(repair)
		m.want("repair", err, nil)
		clear := m.settled(3)
		clear.Clear, clear.End = m.entry("k").Seq, true
		_, err = m.commit("k", clear)
		m.want("repair", err, nil)
		m.granted(2, "k", 4)
		if e := m.entry("k"); e != nil || read() != SideCell {
			t.Errorf("%s, then repaired: entry %+v, the key is read from the %v", how, e, read())
		}
		audit(t, m.db)
	}
}
