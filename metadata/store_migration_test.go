package metadata

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
)

// TestMigrationOfAStore goes through the methods of a Store: what is cached is what
// was acknowledged last, holders are told, lists have their pages.
func TestMigrationOfAStore(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, testConfig(t, vfs.NewMem()))
	defer closeTest(t, s)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := s.CreateBucket(ctx, holdall.DefaultNamespace, "photos")
	must(err)
	if _, ok, err := s.Migration(b.ID); ok || err != nil {
		t.Errorf("a bucket that nobody moves has a migration, %v", err)
	}
	m, err := s.CreateMigration(ctx, Migration{Bucket: b.ID, Source: Source{Bucket: "photos"}})
	must(err)
	if got, ok, err := s.Migration(b.ID); err != nil || !ok || got != m.steady() || got.CleanRun != DefaultCleanRun || got.Policy != MissOutbox {
		t.Errorf("migration %+v, %t, %v", got, ok, err)
	}
	door := doorID(1)
	if fenced, err := s.SeeDoor(ctx, door); !fenced || err != nil {
		t.Errorf("a new door: fenced %t, %v", fenced, err)
	}
	m, err = s.Announce(ctx, b.ID, m.Number, StateMirror)
	must(err)
	must(s.Acknowledge(ctx, door, b.ID, m.Number))
	if all, err := s.Acknowledged(b.ID); err != nil || len(all) != 1 || all[0] != door {
		t.Errorf("acknowledged by %v, %v", all, err)
	}
	_, err = s.Step(ctx, b.ID, m.Number)
	must(err)
	if got, _, err := s.Migration(b.ID); err != nil || got.State != StateMirror {
		t.Errorf("after a step: %+v, %v", got, err)
	}

	r := IntentRequest{Bucket: b.ID, Key: "k", Op: putID(1), Door: door, Kind: IntentPut}
	g, err := s.TakeIntent(ctx, r)
	must(err)
	r.Op = putID(2)
	var held *HeldError
	if _, err := s.TakeIntent(ctx, r); !errors.As(err, &held) || held.By.Op != putID(1) {
		t.Errorf("a key that is held: %v", err)
	}
	if side, err := s.ReadSide(&g.Migration, "k"); side != SideSource || err != nil {
		t.Errorf("in mirror a key is read from the %v, %v", side, err)
	}
	must(s.EndIntent(ctx, EndIntent{Bucket: b.ID, Key: "k", Settlement: Settlement{Op: putID(1), Number: g.Migration.Number, Miss: SideCell, Reason: "full"}}))
	e, ok, err := s.Entry(b.ID, "k")
	if err != nil || !ok || e.Reason != "full" {
		t.Errorf("entry %+v, %t, %v", e, ok, err)
	}
	must(s.NoteMiss(ctx, b.ID, "l", "found"))
	if due, err := s.DueEntries(b.ID, time.Now().Add(time.Minute), 10); err != nil || len(due) != 2 {
		t.Errorf("due: %+v, %v", due, err)
	}
	if page, err := s.Entries(b.ID, "k", 10); err != nil || len(page) != 1 || page[0].Key != "l" {
		t.Errorf("entries after k: %+v, %v", page, err)
	}

	testLapse(t, s, r)
}

// testLapse lets the door of r go, and reads what that leaves.
func testLapse(t *testing.T, s *Store, r IntentRequest) {
	t.Helper()
	ctx, must := context.Background(), func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g, err := s.TakeIntent(ctx, r)
	must(err)
	must(s.DropDoor(ctx, r.Door))
	if n, more, err := s.LapseIntents(ctx, r.Door, 10); n != 1 || more || err != nil {
		t.Errorf("lapsed %d, more %t, %v", n, more, err)
	}
	if status, err := s.MigrationStatus(r.Bucket); err != nil || status.Intents != 0 || status.Entries != 2 {
		t.Errorf("%+v, %v", status, err)
	}
	must(s.NoteWalker(ctx, WalkerNote{Bucket: r.Bucket, Walker: "backfill", Number: g.Migration.Number, Progress: []byte("at")}))
	if p, err := s.Walker(r.Bucket, "backfill"); err != nil || string(p) != "at" {
		t.Errorf("progress %q, %v", p, err)
	}
	var dump bytes.Buffer
	must(s.Dump(ctx, &dump))
	for _, table := range []string{"migrations", "outbox", "walkers"} {
		if !strings.Contains(dump.String(), `{"table":"`+table+`"`) {
			t.Errorf("the dump has no %s", table)
		}
	}
}

// BenchmarkMirroredWrite is what a write costs metadata beyond its version.
func BenchmarkMirroredWrite(b *testing.B) {
	m := newMoving(b).in(StateMirror)
	m.see(1)
	number := m.status().Number
	for n := range b.N {
		op := holdall.PutID{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), 1}
		key := strconv.Itoa(n)
		m.ok(&takeIntent{IntentRequest{Bucket: m.bucket, Key: key, Op: op, Door: doorID(1), Kind: IntentPut}}, new(takeAnswer))
		m.ok(&endIntent{EndIntent{Bucket: m.bucket, Key: key, Settlement: Settlement{Op: op, Number: number, End: true}}}, noResult{})
	}
}
