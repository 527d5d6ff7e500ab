package metadata

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// moving is a machine with a bucket under migration.
type moving struct {
	*rig
	bucket holdall.BucketID
	root   holdall.BlockID
	puts   int
}

const cleanRun, window = time.Hour, 2 * time.Hour

// newMoving returns a bucket in StateAssess, and no door.
func newMoving(t testing.TB) *moving {
	t.Helper()
	r := newCell(t, 3)
	v := r.volume()
	s := stripe(&v, id(1))
	s.Blocks[0].Pending = true
	r.ok(s, new(commitAnswer))
	var b bucketAnswer
	r.ok(&createBucket{holdall.DefaultNamespace, "photos"}, &b)
	m := &moving{rig: r, bucket: b.Bucket.ID, root: id(1)}
	r.ok(&createMigration{m.bucket, m.settings()}, new(migrationAnswer))
	// A version of another bucket holds the root for good.
	r.ok(&createBucket{holdall.DefaultNamespace, "other"}, &b)
	r.ok(&commitObject{ObjectCommit{Bucket: b.Bucket.ID, Key: "k", Put: putID(200), Root: m.root}}, new(objectAnswer))
	return m
}

func (m *moving) settings() MigrationSettings {
	return MigrationSettings{Source: Source{Endpoint: "http://s3", Bucket: "photos"}, Policy: MissOutbox, CleanRun: cleanRun, Window: window}
}

// in brings the bucket to a state by steps forward.
func (m *moving) in(to MigrationState) *moving {
	m.t.Helper()
	for s := m.status().State; s < to; s++ {
		m.evidence(s + 1)
		m.step(s + 1)
	}
	return m
}

// evidence makes true what the guard of a state asks for.
func (m *moving) evidence(to MigrationState) {
	m.t.Helper()
	note := WalkerNote{Bucket: m.bucket, Walker: "backfill", Number: m.status().Number}
	switch to {
	case StateShadow:
		for _, note.Find = range []Finding{FindBackfill, FindCaughtUp} {
			m.ok(&noteWalker{note}, noResult{})
		}
	case StateFlipped:
		for range CleanPasses {
			m.ok(&notePass{PassResult{Bucket: m.bucket, Number: note.Number, Began: m.index}}, noResult{})
		}
		m.pass(cleanRun)
	case StateCutOver:
		m.ok(&certify{m.bucket, [32]byte{1}}, noResult{})
	case StateRetired:
		m.pass(window)
	}
}

// step announces a step and does it, every door acknowledging.
func (m *moving) step(to MigrationState) {
	m.t.Helper()
	m.announce(to)
	m.acknowledge()
	m.ok(m.doStep(), new(migrationAnswer))
}

func (m *moving) announce(to MigrationState) {
	m.t.Helper()
	m.ok(&stepMigration{tagAnnounce, m.bucket, m.status().Number, to}, new(migrationAnswer))
}

func (m *moving) doStep() command { return &stepMigration{tagStep, m.bucket, m.status().Number, 0} }

func (m *moving) acknowledge() {
	m.t.Helper()
	for w, err := range doors(m.db) {
		if err != nil {
			m.t.Fatal(err)
		}
		m.ok(&ackStep{w.ID, m.bucket, m.status().Number}, noResult{})
	}
}

func (m *moving) status() Migration {
	m.t.Helper()
	s, ok, err := readMigration(m.db, m.bucket)
	if err != nil || !ok {
		m.t.Fatalf("migration: %t, %v", ok, err)
	}
	return s
}

func (m *moving) row() Bucket {
	m.t.Helper()
	b, ok, err := readBucket(m.db, m.bucket)
	if err != nil || !ok {
		m.t.Fatalf("bucket: %t, %v", ok, err)
	}
	return b
}

func (m *moving) see(door int) (fenced bool) {
	m.t.Helper()
	var a fencedAnswer
	m.ok(&seeDoor{tagSeeDoor, doorID(door)}, &a)
	return a.Fenced
}

// request asks for a put of key by an op of a door.
func (m *moving) request(door int, key string, op int) IntentRequest {
	return IntentRequest{Bucket: m.bucket, Key: key, Op: putID(op), Door: doorID(door), Kind: IntentPut}
}

func (m *moving) take(r IntentRequest) (a takeAnswer, err error) {
	m.t.Helper()
	err = m.do(&takeIntent{r}, &a)
	return a, err
}

// granted takes an intent, which must be granted.
func (m *moving) granted(door int, key string, op int) Granted {
	m.t.Helper()
	a, err := m.take(m.request(door, key, op))
	if err != nil || a.Holder != nil {
		m.t.Fatalf("intent of door %d on %q: held by %+v, %v", door, key, a.Holder, err)
	}
	return a.Granted
}

// commit puts a version of key as s settles it.
func (m *moving) commit(key string, s Settlement) (Object, error) {
	m.t.Helper()
	m.puts++
	var a objectAnswer
	err := m.do(&commitObject{ObjectCommit{Bucket: m.bucket, Key: key, Put: holdall.PutID{byte(m.puts), byte(m.puts >> 8), 0xcc}, Root: m.root, Settle: s}}, &a)
	return a.Object, err
}

func (m *moving) end(key string, s Settlement) error {
	m.t.Helper()
	s.End = true
	return m.do(&endIntent{EndIntent{Bucket: m.bucket, Key: key, Settlement: s}}, noResult{})
}

// settled is how op settles a write that was decided by the state as it is.
func (m *moving) settled(op int) Settlement {
	return Settlement{Op: putID(op), Number: m.status().Number}
}

func (m *moving) entry(key string) *Entry {
	m.t.Helper()
	e, ok, err := readEntry(m.db, m.bucket, key)
	if err != nil {
		m.t.Fatal(err)
	}
	if !ok {
		return nil
	}
	return &e
}

func (m *moving) lapse(door int, keys ...heldKey) (n uint64, err error) {
	m.t.Helper()
	var a numberResult
	for i := range keys {
		keys[i].Bucket = m.bucket
	}
	err = m.do(&lapseIntents{doorID(door), keys}, &a)
	return a.N, err
}

// want fails unless err is of a kind; nil is none.
func (m *moving) want(what string, err, kind error) {
	m.t.Helper()
	if !errors.Is(err, kind) || (err != nil) != (kind != nil) {
		m.t.Fatalf("%s: %v, want %v", what, err, kind)
	}
}

// auditMigrations checks what must hold of the tables of migrations in every
// state: counts are those of the rows, the index of the outbox lists it and nothing
// else, entries name the side that follows, and no row is of a bucket without a
// migration.
func auditMigrations(t testing.TB, r pebble.Reader) {
	t.Helper()
	all := map[holdall.BucketID]Migration{}
	for m, err := range countedMigrations(r) {
		if err != nil {
			t.Fatal(err)
		}
		all[m.Bucket] = m
		auditMigration(t, r, &m)
	}
	listed := 0
	for l, err := range dueKeys(r, 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		listed++
		if e, ok, err := readEntry(r, l.Bucket, l.Key); err != nil || !ok || toInstant(e.Next) != l.Next {
			t.Errorf("%+v is listed as due; its entry is %+v, %t, %v", l, e, ok, err)
		}
	}
	rows := [...]int{countRows(t, intents(r, 0, "")), countRows(t, outbox(r, 0, "")), countRows(t, quarantines(r, 0, "")), countRows(t, exceptions(r, 0, ""))}
	var counted [4]int
	for _, m := range all {
		for i, n := range [...]int64{m.Intents, m.Entries, m.Quarantined, m.Exceptions} {
			counted[i] += int(n)
		}
	}
	if rows != counted || listed != counted[1] {
		t.Errorf("intents, entries, quarantine, exceptions: %v rows, %v counted; %d entries listed as due", rows, counted, listed)
	}
	for a, err := range acksIn(r, []byte{prefixMigration, tableAck}) {
		if m := all[a.Bucket]; err != nil || m.Step == 0 || a.Number != m.Number {
			t.Errorf("%+v is acknowledged; the migration is at %d, step to %v, %v", a, m.Number, m.Step, err)
		}
	}
	for b, err := range buckets(r) {
		m, ok := all[b.ID]
		if err != nil || b.Migrates != (ok && m.State != StateRetired) || ok && b.KeepsMarkers != m.State.Mirrored() {
			t.Errorf("bucket %+v; its migration: %t, in %v, %v", b, ok, m.State, err)
		}
		delete(all, b.ID)
	}
	for b := range all {
		t.Errorf("there is a migration of bucket %d, which is not there", b)
	}
}

func auditMigration(t testing.TB, r pebble.Reader, m *Migration) {
	t.Helper()
	if n := countRows(t, intents(r, m.Bucket, "")); int64(n) != m.Intents {
		t.Errorf("migration %+v counts %d intents, there are %d", m, m.Intents, n)
	}
	entries := int64(0)
	for e, err := range outbox(r, m.Bucket, "") {
		if err != nil {
			t.Fatal(err)
		}
		if entries++; e.Missed != m.State.Follows() && !m.State.CellDecides() || e.Next.Before(e.Until) {
			t.Errorf("in %v: entry %+v", m.State, e)
		}
	}
	if entries != m.Entries || m.Began > m.Number || m.Number == 0 {
		t.Errorf("migration %+v has %d entries", m, entries)
	}
}

func countRows[T any](t testing.TB, rows func(func(T, error) bool)) (n int) {
	t.Helper()
	for _, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}
