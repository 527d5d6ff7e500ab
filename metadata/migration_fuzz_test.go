package metadata

import (
	"time"
)

func doorID(i int) (d DoorID) { d[0], d[15] = byte(i), 0xd0; return d }

func exampleMigration() Migration {
	return Migration{Bucket: 1<<44 | 1, Namespace: 1, Source: Source{Endpoint: "http://s3", Region: "eu", Bucket: "photos", Profile: "p", PathStyle: true, Unconditional: true},
		Policy: MissFail, CleanRun: time.Hour, Window: 2 * time.Hour, State: StateFlipped, Number: 9, Began: 8, Step: StateCutOver, Announced: day.time(), Entered: day.time(),
		Evidence:    Evidence{Copied: 1, CopiedBytes: 2, Backfilled: day.time(), CaughtUp: day.time(), Passes: 3, Verified: day.time(), Mismatches: 4, LastFinding: day.time(), CleanSince: day.time(), Floor: 5},
		Certificate: [32]byte{1}, Certified: day.time(), Intents: 6, Entries: 7, Quarantined: 8, Exceptions: 9}
}

func exampleIntent() Intent {
	return Intent{IntentRequest: IntentRequest{Bucket: 1<<44 | 1, Key: "k", Op: putID(1), Door: doorID(1), Kind: IntentComplete, Upload: putID(2)}, Since: day.time(), Number: 9, State: StateFlipped}
}

func exampleEntry() Entry {
	return Entry{Bucket: 1<<44 | 1, Key: "a\x00b", Missed: SideSource, Seq: 7, Since: day.time(), Tries: 2, Next: day.time(), Until: day.time(), Reason: "why"}
}

func exampleFacts() SourceFacts {
	return SourceFacts{ETag: "se", Version: "sv", Modified: day.time()}
}

func exampleException() Exception {
	return Exception{Bucket: 1<<44 | 1, Key: "k", What: "tags", Reason: "why", SignedBy: "who"}
}

func exampleMiss() Settlement {
	return Settlement{Op: putID(1), Number: 9, Miss: SideSource, Reason: "why", Until: day.time(), End: true}
}

// migrationExamples has a command of every kind of the tables of migrations.
func migrationExamples() []command {
	const b = 1<<44 | 1
	m := exampleMigration()
	set := createMigration{b, MigrationSettings{m.Source, m.Policy, m.CleanRun, m.Window}}
	clear := Settlement{Op: putID(1), Number: 9, Clear: 7, End: true}
	return []command{
		&set, &setMigration{set}, &removeMigration{b}, &stepMigration{tagAnnounce, b, 9, StateMirror}, &stepMigration{tagCancelStep, b, 9, 0}, &stepMigration{tagStep, b, 9, 0},
		&ackStep{doorID(1), b, 9}, &seeDoor{tagSeeDoor, doorID(1)}, &seeDoor{tagDropDoor, doorID(1)}, &takeIntent{exampleIntent().IntentRequest},
		&endIntent{EndIntent{b, "k", exampleMiss(), 1<<44 | 3, exampleFacts()}}, &endIntent{EndIntent{Bucket: b, Key: "k", Settlement: clear}},
		&lapseIntents{doorID(1), []heldKey{{b, "k", putID(1)}, {b, "l", putID(2)}}}, &noteKey{tagNoteMiss, b, "k", "why"}, &noteKey{tagNoteMismatch, b, "k", "why"},
		&touchEntry{b, "k", 7, day, "why"}, &noteKey{tagPutQuarantine, b, "k", "why"}, &noteKey{tagDropQuarantine, b, "k", ""}, &putException{exampleException()},
		&noteKey{tagDropException, b, "k", ""}, &noteWalker{WalkerNote{b, "backfill", 9, []byte("at"), 3, 4, FindBackfill}}, &notePass{PassResult{b, 9, 100, 5}},
		&certify{b, [32]byte{3}}, &replayChanges{migrationChanges()},
	}
}

// migrationChanges are what the journal has of migrations.
func migrationChanges() (all []Change) {
	m, e, x := exampleMigration(), exampleEntry(), exampleException()
	for i, c := range []Change{{Number: journalMigration, Data: appendMigration(nil, &m)}, {Number: journalEntry, Key: e.Key, Data: appendOutbox(nil, &e)},
		{Number: journalException, Key: x.Key, Data: appendException(nil, &x)}, {Number: journalEntry, Key: e.Key}, {Number: journalException, Key: x.Key}, {Number: journalMigration}} {
		c.Seq, c.Time, c.Kind, c.Bucket = uint64(200+i), day.time(), ChangeMigration, m.Bucket
		all = append(all, c)
	}
	return all
}

func migrationAnswers() []result {
	i, e, m := exampleIntent(), exampleEntry(), exampleMigration()
	return []result{&migrationAnswer{m}, &fencedAnswer{true}, &takeAnswer{Holder: &i}, &takeAnswer{Granted: Granted{Migration: m.steady()}},
		&takeAnswer{Granted: Granted{Migration: m.steady(), Newest: exampleObject(), HasNewest: true, Entry: &e}}}
}

// migrationCodecs are the codecs of the tables of migrations.
func migrationCodecs(value func(func(*decoder), func() []byte) func([]byte) ([]byte, bool)) map[string]rowCodec {
	var (
		m, c Migration
		w    Door
		n    uint64
		i    Intent
		e    Entry
		q    Quarantine
		x    Exception
		p    []byte
	)
	of := func(table byte) func([]byte) ([]byte, bool) {
		return func(k []byte) ([]byte, bool) {
			b, err := parseMigrationKey(k, table)
			return appendMigrationKey(nil, table, b), err == nil
		}
	}
	keyed := func(table byte) func([]byte) ([]byte, bool) {
		return func(k []byte) ([]byte, bool) {
			b, key, err := parseWriteKey(k, table)
			return appendWriteKey(nil, table, b, key), err == nil
		}
	}
	return map[string]rowCodec{
		"migrations": {of(tableMigration), value(func(d *decoder) { m = Migration{}; d.migration(&m) }, func() []byte { return appendMigration(nil, &m) })},
		"counts":     {of(tableCounts), value(func(d *decoder) { d.counts(&c) }, func() []byte { return appendCounts(nil, &c) })},
		"doors": {func(k []byte) ([]byte, bool) {
			id, err := parseDoorKey(k)
			return appendDoorKey(nil, id), err == nil
		}, value(func(d *decoder) { d.door(&w) }, func() []byte { return appendDoor(nil, &w) })},
		"acks": {func(k []byte) ([]byte, bool) {
			b, id, err := parseAckKey(k)
			return appendAckKey(nil, b, id), err == nil
		}, value(func(d *decoder) { n = d.ack() }, func() []byte { return appendAck(nil, n) })},
		"intents": {keyed(tableIntent), value(func(d *decoder) { d.intent(&i) }, func() []byte { return appendIntent(nil, &i) })},
		"outbox":  {keyed(tableOutbox), value(func(d *decoder) { d.entry(&e) }, func() []byte { return appendOutbox(nil, &e) })},
		"due": {func(k []byte) ([]byte, bool) {
			b, next, key, err := parseDueKey(k)
			return appendDueKey(nil, b, next, key), err == nil
		}, func([]byte) ([]byte, bool) { return nil, false }},
		"quarantine": {keyed(tableQuarantine), value(func(d *decoder) { d.quarantine(&q) }, func() []byte { return appendQuarantine(nil, &q) })},
		"exceptions": {keyed(tableException), value(func(d *decoder) { d.exception(&x) }, func() []byte { return appendException(nil, &x) })},
		"walkers":    {keyed(tableWalker), value(func(d *decoder) { p = d.progressOf() }, func() []byte { return appendProgressOf(nil, p) })},
	}
}
