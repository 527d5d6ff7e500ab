package metadata

import (
	"testing"
	"time"

	"github.com/holdall/holdall"
)

// TestTheJournalBringsAMigrationBack replays the journal of a bucket that has gone
// through everything: its state, its outbox and its exceptions are there, its
// evidence is not.
func TestTheJournalBringsAMigrationBack(t *testing.T) {
	for upTo := StateAssess; upTo <= StateRetired; upTo++ {
		m := newMoving(t).in(min(upTo, StateMirror))
		m.see(1)
		if upTo.Mirrored() {
			m.ok(&noteKey{tagNoteMiss, m.bucket, "gone", ""}, noResult{})
			m.granted(1, "gone", 1)
			s := m.settled(1)
			s.Clear = m.entry("gone").Seq
			m.want("clear", m.end("gone", s), nil)
		}
		for _, key := range []string{"x", "y"} {
			m.ok(&putException{Exception{Bucket: m.bucket, Key: key, SignedBy: "who"}}, noResult{})
		}
		m.ok(&noteKey{tagDropException, m.bucket, "y", ""}, noResult{})
		m.in(upTo)
		if upTo.Mirrored() {
			m.ok(&noteKey{tagNoteMiss, m.bucket, "k", "left"}, noResult{})
		}
		if upTo == StateAssess || upTo == StateFlipped || upTo == StateCutOver { // else the outbox is against it
			m.evidence(upTo + 1)
			m.announce(upTo + 1)
		}
		want := m.status()

		r := newQuarantine(t)
		r.pass(time.Hour)
		var b bucketAnswer
		r.ok(&createBucket{holdall.DefaultNamespace, "photos"}, &b)
		var journal []Change
		for _, c := range m.changes() {
			if c.Bucket = b.Bucket.ID; c.Kind == ChangeMigration {
				journal = append(journal, c)
			}
		}
		r.ok(&replayNames{replayChanges{journal}}, noResult{})
		got, ok, err := readMigration(r.db, b.Bucket.ID)
		if err != nil || !ok || got.State != upTo || got.Step != 0 || got.Source != want.Source || got.Number <= want.Number || got.Began != got.Number ||
			got.Entries != want.Entries || got.Exceptions != 1 || got.Intents != 0 || got.Evidence.Passes != 0 || got.Certificate != want.Certificate {
			t.Errorf("%v: %+v, was %+v, %t, %v", upTo, got, want, ok, err)
		}
		if e, ok, err := readEntry(r.db, b.Bucket.ID, "k"); err != nil || ok != upTo.Mirrored() || ok && e.Missed != upTo.Follows() {
			t.Errorf("%v: entry %+v, %t, %v", upTo, e, ok, err)
		}
		audit(t, r.db)
	}
}
