package metadata

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// dumpMigrations writes the tables of migrations.
func dumpMigrations(enc *json.Encoder, r pebble.Reader) error {
	for _, table := range []func() error{
		func() error { return dumpTable(enc, countedMigrations(r), dumpMigration) },
		func() error { return dumpTable(enc, doors(r), dumpDoor) },
		func() error { return dumpTable(enc, acksIn(r, []byte{prefixMigration, tableAck}), dumpAck) },
		func() error { return dumpTable(enc, intents(r, 0, ""), dumpIntent) },
		func() error { return dumpTable(enc, outbox(r, 0, ""), dumpEntry) },
		func() error { return dumpTable(enc, quarantines(r, 0, ""), dumpQuarantine) },
		func() error { return dumpTable(enc, exceptions(r, 0, ""), dumpException) },
		func() error { return dumpTable(enc, walkers(r, 0), dumpWalker) },
	} {
		if err := table(); err != nil {
			return err
		}
	}
	return nil
}

// migrationLine has the source as its fields are named in Source.
type migrationLine struct {
	Table       string              `json:"table"`
	Bucket      holdall.BucketID    `json:"bucket"`
	Namespace   holdall.NamespaceID `json:"namespace"`
	Source      Source              `json:"source"`
	Policy      MissPolicy          `json:"policy"`
	CleanRun    int64               `json:"clean_run_ms"`
	Window      int64               `json:"window_ms"`
	State       string              `json:"state"`
	Number      uint64              `json:"number"`
	Began       uint64              `json:"began"`
	Step        string              `json:"step"`
	Announced   *time.Time          `json:"announced,omitempty"`
	Entered     *time.Time          `json:"entered,omitempty"`
	Certificate string              `json:"certificate"`
	Certified   *time.Time          `json:"certified,omitempty"`
	Intents     int64               `json:"intents"`
	Entries     int64               `json:"entries"`
	Quarantined int64               `json:"quarantined"`
	Exceptions  int64               `json:"exceptions"`
	Copied      int64               `json:"copied"`
	CopiedBytes int64               `json:"copied_bytes"`
	Backfilled  *time.Time          `json:"backfilled,omitempty"`
	CaughtUp    *time.Time          `json:"caught_up,omitempty"`
	Passes      uint32              `json:"passes"`
	Verified    *time.Time          `json:"verified,omitempty"`
	Mismatches  int64               `json:"mismatches"`
	LastFinding *time.Time          `json:"last_finding,omitempty"`
	CleanSince  *time.Time          `json:"clean_since,omitempty"`
	Floor       uint64              `json:"floor"`
}

func dumpMigration(m *Migration) any {
	e := &m.Evidence
	return migrationLine{"migrations", m.Bucket, m.Namespace, m.Source, m.Policy, m.CleanRun.Milliseconds(), m.Window.Milliseconds(),
		m.State.String(), m.Number, m.Began, m.Step.String(), utc(m.Announced), utc(m.Entered), fmt.Sprintf("%x", m.Certificate), utc(m.Certified),
		m.Intents, m.Entries, m.Quarantined, m.Exceptions, e.Copied, e.CopiedBytes, utc(e.Backfilled), utc(e.CaughtUp), e.Passes, utc(e.Verified),
		e.Mismatches, utc(e.LastFinding), utc(e.CleanSince), e.Floor}
}

func dumpDoor(w *Door) any {
	return struct {
		Table   string     `json:"table"`
		ID      string     `json:"id"`
		Started *time.Time `json:"started,omitempty"`
		Seen    *time.Time `json:"seen,omitempty"`
	}{"doors", w.ID.String(), utc(w.Started), utc(w.Seen)}
}

func dumpAck(a *ack) any {
	return struct {
		Table  string           `json:"table"`
		Bucket holdall.BucketID `json:"bucket"`
		Door   string           `json:"door"`
		Number uint64           `json:"number"`
	}{"acknowledgements", a.Bucket, a.Door.String(), a.Number}
}

func dumpIntent(i *Intent) any {
	return struct {
		Table  string           `json:"table"`
		Bucket holdall.BucketID `json:"bucket"`
		Key    []byte           `json:"key"`
		Kind   string           `json:"kind"`
		Op     string           `json:"op"`
		Door   string           `json:"door"`
		Upload string           `json:"upload"`
		Since  *time.Time       `json:"since,omitempty"`
		Number uint64           `json:"number"`
	}{"intents", i.Bucket, []byte(i.Key), i.Kind.String(), i.Op.String(), i.Door.String(), i.Upload.String(), utc(i.Since), i.Number}
}

func dumpEntry(e *Entry) any {
	return struct {
		Table  string           `json:"table"`
		Bucket holdall.BucketID `json:"bucket"`
		Key    []byte           `json:"key"`
		Missed string           `json:"missed"`
		Seq    uint64           `json:"seq"`
		Since  *time.Time       `json:"since,omitempty"`
		Tries  uint32           `json:"tries"`
		Next   *time.Time       `json:"next,omitempty"`
		Until  *time.Time       `json:"until,omitempty"`
		Reason string           `json:"reason"`
	}{"outbox", e.Bucket, []byte(e.Key), e.Missed.String(), e.Seq, utc(e.Since), e.Tries, utc(e.Next), utc(e.Until), e.Reason}
}

func dumpQuarantine(q *Quarantine) any {
	return struct {
		Table  string           `json:"table"`
		Bucket holdall.BucketID `json:"bucket"`
		Key    []byte           `json:"key"`
		Reason string           `json:"reason"`
		Tries  uint32           `json:"tries"`
		Since  *time.Time       `json:"since,omitempty"`
	}{"quarantine", q.Bucket, []byte(q.Key), q.Reason, q.Tries, utc(q.Since)}
}

func dumpException(x *Exception) any {
	return struct {
		Table    string           `json:"table"`
		Bucket   holdall.BucketID `json:"bucket"`
		Key      []byte           `json:"key"`
		What     string           `json:"what"`
		Reason   string           `json:"reason"`
		SignedBy string           `json:"signed_by"`
		At       *time.Time       `json:"at,omitempty"`
	}{"exceptions", x.Bucket, []byte(x.Key), x.What, x.Reason, x.SignedBy, utc(x.At)}
}

func dumpWalker(w *walkerRow) any {
	return struct {
		Table    string           `json:"table"`
		Bucket   holdall.BucketID `json:"bucket"`
		Walker   string           `json:"walker"`
		Progress []byte           `json:"progress"`
	}{"walkers", w.Bucket, w.Walker, w.Progress}
}

type sourceLine struct {
	ETag     string     `json:"etag"`
	Version  string     `json:"version,omitempty"`
	Modified *time.Time `json:"modified,omitempty"`
}

func dumpFacts(f *SourceFacts) *sourceLine {
	if *f == (SourceFacts{}) {
		return nil
	}
	return &sourceLine{f.ETag, f.Version, utc(f.Modified)}
}
