package metadata

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

// formatPage is where the key space is described for people.
const formatPage = "../docs/format/metadata.md"

// example makes the state of the page's example: entries 1 to 35.
func example(t *testing.T) *rig {
	r := newRig(t)
	r.ok(&initCell{Cell: holdall.CellID{0xce, 0x11}, Retention: 24 * time.Hour}, noResult{})
	for i := range 3 {
		r.ok(&addDisk{Disk{ID: disk(i), State: holdall.DiskActive, Path: "disk-0" + string(rune('0'+i)), Capacity: 1 << 30, ZoneSize: 16 << 20}}, noResult{})
	}
	s := r.session()
	h := header{Session: s, Seq: 1, Lowest: 1, Time: r.now}
	var v volumeResult
	if err := r.doAs(h, &createVolume{Scheme: scheme21, Limit: 64 << 20, Disks: []holdall.DiskID{disk(0), disk(1), disk(2)}, Gateway: "gw", Lease: time.Minute}, &v); err != nil {
		t.Fatal(err)
	}
	h.Seq, h.Lowest = 2, 2
	if err := r.doAs(h, stripe(&v.Volume, holdall.HashBlock([]byte("one")), holdall.HashBlock([]byte("two"))), new(commitAnswer)); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Second)
	h.Seq, h.Lowest, h.Time = 3, 3, r.now
	if err := r.doAs(h, &changeBlocks{tagDelete, holdall.DefaultNamespace, []holdall.BlockID{holdall.HashBlock([]byte("two"))}}, new(idsResult)); err != nil {
		t.Fatal(err)
	}
	r.ok(&sealVolume{Volume: v.Volume.ID, Epoch: v.Volume.Epoch}, new(volumeResult))
	exampleNames(r)
	exampleMoving(r)
	return r
}

// exampleNames adds a bucket and what lies in it.
func exampleNames(r *rig) {
	one, two := holdall.HashBlock([]byte("one")), holdall.HashBlock([]byte("two"))
	r.ok(&changeBlocks{tagClaimPending, holdall.DefaultNamespace, []holdall.BlockID{one, two}}, new(idsResult))
	r.ok(&createNamespace{"guests", time.Hour, 1 << 30}, new(spaceAnswer))
	r.ok(&putCredential{Credential{AccessKey: "AK", Namespace: 2, Secret: []byte("sealed"), Note: "n"}}, noResult{})
	var b bucketAnswer
	r.ok(&createBucket{holdall.DefaultNamespace, "photos"}, &b)
	at := b.Bucket.ID
	r.ok(&commitObject{ObjectCommit{Bucket: at, Key: "a\x00b", Put: holdall.PutID{1}, Root: one, Children: []holdall.BlockID{two}, Size: 1000, Modified: day.time(),
		ETag: "e", Attributes: []byte("at"), Tags: []byte("t")}}, new(objectAnswer))
	r.pass(time.Second)
	r.ok(&deleteObject{ObjectDelete{Bucket: at, Key: "a\x00b", Put: holdall.PutID{2}}}, new(objectAnswer))
	for i := range 2 {
		r.ok(&createUpload{Upload{ID: holdall.PutID{byte(3 + i)}, Bucket: at, Key: "u"}}, new(uploadAnswer))
	}
	r.ok(&putPart{holdall.PutID{3}, Part{Number: 1, Block: two, Size: 1000, ETag: "p", Modified: day.time()}}, new(goneAnswer))
	r.ok(&abortUpload{holdall.PutID{4}}, noResult{})
}

// exampleMoving adds a bucket under migration.
func exampleMoving(r *rig) {
	r.pass(time.Second)
	var b bucketAnswer
	r.ok(&createBucket{holdall.DefaultNamespace, "moved"}, &b)
	at, door := b.Bucket.ID, DoorID{0xd0}
	set := MigrationSettings{Source: Source{Endpoint: "https://s3", Region: "r", Bucket: "old", Profile: "p"}, Policy: MissOutbox, CleanRun: time.Hour, Window: time.Minute}
	r.ok(&createMigration{at, set}, new(migrationAnswer))
	r.ok(&stepMigration{tagAnnounce, at, 1, StateMirror}, new(migrationAnswer))
	r.ok(&stepMigration{tagStep, at, 2, 0}, new(migrationAnswer))
	r.ok(&seeDoor{tagSeeDoor, door}, new(fencedAnswer))
	for i, key := range []string{"k", "l", "m"} {
		r.ok(&takeIntent{IntentRequest{Bucket: at, Key: key, Op: holdall.PutID{byte(10 + i)}, Door: door, Kind: IntentPut}}, new(takeAnswer))
	}
	r.ok(&endIntent{EndIntent{Bucket: at, Key: "k", Settlement: Settlement{Op: holdall.PutID{10}, Number: 3, Miss: SideCell, Reason: "full", End: true}}}, noResult{})
	one := holdall.HashBlock([]byte("one"))
	r.ok(&commitObject{ObjectCommit{Bucket: at, Key: "l", Put: holdall.PutID{11}, Root: one, Children: []holdall.BlockID{holdall.HashBlock([]byte("two"))}, Size: 1000, ETag: "e",
		Settle: Settlement{Op: holdall.PutID{11}, Number: 3, End: true}}}, new(objectAnswer))
	r.ok(&noteKey{tagPutQuarantine, at, "q", "403"}, noResult{})
	r.ok(&putException{Exception{Bucket: at, Key: "x", What: "tags", Reason: "none", SignedBy: "op"}}, noResult{})
	r.ok(&noteWalker{WalkerNote{Bucket: at, Walker: "backfill", Number: 3, Progress: []byte("at"), Find: FindBackfill}}, noResult{})
	r.ok(&noteWalker{WalkerNote{Bucket: at, Walker: "catch-up", Number: 3, Find: FindCaughtUp}}, noResult{})
	r.ok(&stepMigration{tagAnnounce, at, 3, StateAssess}, new(migrationAnswer))
	r.ok(&ackStep{door, at, 4}, noResult{})
}

// TestFormatPage reads the example of the page, decodes every row of it, and
// compares it with what is written today. A change of the format fails here: it
// needs a new version, not a new example. HOLDALL_FORMAT=print prints the rows.
func TestFormatPage(t *testing.T) {
	r := example(t)
	var now bytes.Buffer
	for kv, err := range rows(r.db, nil, []byte{0xff}) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&now, "%x\n    %x\n", kv.key, kv.value)
	}
	if os.Getenv("HOLDALL_FORMAT") == "print" {
		t.Logf("\n%s", &now)
	}
	page, err := os.ReadFile(formatPage)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "```rows\n")
	block, _, ends := strings.Cut(rest, "```")
	if !ok || !ends {
		t.Fatalf("%s has no example", formatPage)
	}
	if block != now.String() {
		t.Errorf("the example is not what is written today:\n%s", &now)
	}
	codecs := rowCodecs()
	lines := strings.Split(strings.TrimRight(block, "\n"), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		key, err1 := hex.DecodeString(lines[i])
		value, err2 := hex.DecodeString(strings.TrimSpace(lines[i+1]))
		if err1 != nil || err2 != nil || len(key) < 2 {
			t.Fatalf("rows %d: %v, %v", i, err1, err2)
		}
		table := map[byte]string{'b': "blocks", 'd': "disks", 'j': "changes", 'n': "namespaces", 's': "sessions", 't': "tasks", 'v': "volumes", 'x': "trash", 'y': "cell",
			'I': "namespace names", 'i': "bucket names", 'c': "credentials", 'B': "buckets", 'o': "objects", 'q': "puts", 'u': "uploads", 'p': "parts"}[key[0]]
		if key[0] == prefixMigration {
			table = map[byte]string{'b': "migrations", 'c': "counts", 'd': "doors", 'a': "acks", 'i': "intents", 'o': "outbox", 'q': "quarantine", 'x': "exceptions", 'w': "walkers"}[key[1]]
		}
		switch {
		case key[0] == prefixAnswer, len(value) == 0:
			continue // an answer is a command's; lists have no values
		case bytes.Equal(key, keyProgress[:]):
			table = "progress"
		}
		if again, ok := codecs[table].value(value); !ok || !bytes.Equal(again, value) {
			t.Errorf("row %x of %q does not decode", key, table)
		}
	}
}
