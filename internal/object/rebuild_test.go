package object_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/internal/upkeep"
	"github.com/holdall/holdall/metadata"
)

// rebuilt is what the disks of a cell say of it.
type rebuilt struct {
	report upkeep.Report
	listed []upkeep.Listed
	tables tables
}

// tables are the lines of a dump, by table; blocks by their ids.
type tables struct {
	lines  map[string][]string
	blocks map[holdall.BlockID]blockLine
}

type blockLine struct {
	Namespace    holdall.NamespaceID
	ID           holdall.BlockID
	Direct       bool
	References   uint32
	PendingUntil *time.Time `json:"pending_until"`
	Node         bool
}

func (r *rig) tables(dump *bytes.Buffer) tables {
	r.t.Helper()
	all := tables{map[string][]string{}, map[holdall.BlockID]blockLine{}}
	scan := bufio.NewScanner(dump)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var of struct{ Table string }
		r.must(json.Unmarshal(scan.Bytes(), &of))
		if of.Table == "blocks" {
			var b blockLine
			if r.must(json.Unmarshal(scan.Bytes(), &b)); b.Namespace != holdall.SystemNamespace {
				all.blocks[b.ID] = b
			}
		}
		// That parts were released is not journaled: they are released again.
		all.lines[of.Table] = append(all.lines[of.Table], strings.Replace(scan.Text(), `"released":true`, `"released":false`, 1))
	}
	return all
}

// dump returns the cell's own tables.
func (r *rig) dump() tables {
	r.t.Helper()
	var b bytes.Buffer
	if err := r.cell.Store.Dump(r.t.Context(), &b); err != nil {
		r.t.Fatal(err)
	}
	return r.tables(&b)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// rebuild makes metadata anew from what the disks say.
func (r *rig) rebuild(from upkeep.Found) *rebuilt {
	r.t.Helper()
	cell, err := r.cell.Store.Cell()
	r.must(err)
	disks, err := r.cell.Store.Disks()
	r.must(err)
	for i := range disks {
		disks[i].Granted = disks[i].Incarnation
	}
	s, err := upkeep.Look(r.t.Context(), from, cell.ID, r.cell.Pool, nil)
	r.must(err)
	to, err := metadata.NewRebuilder(metadata.Config{Dir: "/new", FS: vfs.NewMem(), Clock: r.cell.Now, CacheBytes: 1 << 20},
		metadata.RebuildConfig{Cell: cell.ID, Incarnation: s.Incarnation, Retention: sim.Retention, Reason: "test"})
	r.must(err)
	out := &rebuilt{}
	out.report, err = s.Rebuild(r.t.Context(), to, disks, func(l upkeep.Listed) error {
		out.listed = append(out.listed, l)
		return nil
	}, nil)
	r.must(err)
	var b bytes.Buffer
	r.must(to.Dump(r.t.Context(), &b))
	out.tables = r.tables(&b)
	r.must(to.Abort())
	return out
}

// sameNames compares the tables of names, and what holds each block: all that is
// live in one is live in the other.
func (r *rig) sameNames(got *rebuilt, want tables) {
	r.t.Helper()
	for _, table := range []string{"namespaces", "buckets", "objects", "uploads", "parts"} {
		have := got.tables.lines[table]
		for _, line := range want.lines[table] {
			if !slices.Contains(have, line) && table != "namespaces" {
				r.t.Errorf("%s lack\n%s", table, line)
			}
		}
		for _, line := range have {
			if !slices.Contains(want.lines[table], line) && table != "namespaces" {
				r.t.Errorf("%s have too much\n%s", table, line)
			}
		}
		if len(have) != len(want.lines[table]) {
			r.t.Errorf("%s have %d rows, had %d", table, len(have), len(want.lines[table]))
		}
	}
	for id, b := range want.blocks {
		if g := got.tables.blocks[id]; g.References != b.References || g.Node != b.Node || g.Direct != b.Direct {
			r.t.Errorf("block %v is %+v, was %+v", id, g, b)
		}
	}
	for id := range got.tables.blocks {
		if _, ok := want.blocks[id]; !ok {
			r.t.Errorf("block %v was purged, and is back", id)
		}
	}
	if r.t.Failed() {
		r.t.Logf("report %+v\nlisted %+v", got.report, got.listed)
	}
}

func (r *rig) putKey(key string, n int) metadata.Object {
	r.t.Helper()
	o, err := r.Put(r.t.Context(), object.PutRequest{Place: at(key), Body: bytes.NewReader(r.bytes(n)), Size: int64(n),
		Attributes: manifest.Attributes{ContentType: "text/" + key}, Tags: []manifest.Tag{{Key: "of", Value: key}}})
	r.must(err)
	return o
}

func (r *rig) flush() { r.t.Helper(); r.must(r.cell.Upkeep.Flush(r.t.Context())) }

// history is everything that befalls objects. The cell's cuts make manifests of
// several levels of little.
func (r *rig) history() {
	ctx := r.t.Context()
	sizes := map[string]int{"empty": 0, "inline": 20, "block": 90, "nodes": 2_500, "deep": 12_000}
	for key, n := range sizes {
		r.putKey(key, n)
	}
	for _, key := range []string{"block", "nodes", "inline"} { // overwritten
		r.putKey(key, sizes[key]+1)
	}
	for _, key := range []string{"nodes", "deep", "inline"} {
		_, err := r.Delete(ctx, object.DeleteRequest{Place: at(key)})
		r.must(err)
	}
	_, err := r.Undelete(ctx, at("deep"))
	r.must(err)
	_, err = r.Copy(ctx, object.CopyRequest{Place: at("copy"), From: at("deep")})
	r.must(err)
	_, err = r.SetTags(ctx, at("copy"), 0, []manifest.Tag{{Key: "later", Value: "yes"}})
	r.must(err)
	r.flush()
	done := r.begin("multipart")
	one, _, three := r.part(done, 1, r.bytes(3_000)), r.part(done, 2, r.bytes(50)), r.part(done, 3, r.bytes(700))
	r.part(done, 2, r.bytes(60)) // in place of the one before, which is then left out
	r.complete(done, one, three)
	aborted := r.begin("aborted")
	r.part(aborted, 1, r.bytes(3_000))
	r.must(r.Abort(ctx, aborted))
	_, err = r.CreateBucket(ctx, ns, "short-lived")
	r.must(err)
	r.must(r.RemoveBucket(ctx, ns, "short-lived"))
}

func TestARebuildBringsBackNames(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(50, 100, 4)
	r.history()
	open := r.begin("open")
	r.part(open, 1, r.bytes(3_000))
	r.part(open, 2, r.bytes(40))
	r.flush()
	want := r.dump()
	got := r.rebuild(r.cell.Server)
	r.sameNames(got, want)
	if len(got.listed) > 0 {
		t.Errorf("listed %+v, want nothing", got.listed)
	}

	// Versions, nodes and parts are purged; then more of the same happens.
	for range 4 {
		r.cell.Advance(sim.Retention + 25*time.Hour)
		r.rounds()
	}
	if n := len(r.dump().blocks); n >= len(want.blocks) {
		t.Fatalf("%d blocks are left of %d: nothing was purged", n, len(want.blocks))
	}
	r.history()
	r.flush()
	want = r.dump()
	got = r.rebuild(r.cell.Server)
	r.sameNames(got, want)
}

// What is younger than the last flush comes back as far as bytes tell of it.
func TestARebuildBringsBackObjectsYoungerThanTheJournal(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(50, 100, 4)
	r.putKey("old", 3_000)
	r.putKey("gone", 3_000)
	r.flush()
	_, err := r.CreateBucket(t.Context(), ns, "late-bucket")
	r.must(err)
	want := map[string]metadata.Object{"old": r.putKey("old", 3_001), "deep": r.putKey("deep", 12_000), "inline": r.putKey("inline", 10)}
	in := object.PutRequest{Place: object.Place{Namespace: ns, Bucket: "late-bucket", Key: "first"}, Body: strings.NewReader("bytes"), Size: 5}
	first, err := r.Put(t.Context(), in)
	r.must(err)
	want["first"] = first
	_, err = r.Delete(t.Context(), object.DeleteRequest{Place: at("gone")}) // leaves no bytes
	r.must(err)
	dump := r.dump()
	got := r.rebuild(r.cell.Server)
	if got.report.LateObjects != len(want) || got.report.Objects != 2 {
		t.Errorf("report %+v, want %d late", got.report, len(want))
	}
	for key, o := range want {
		i := slices.IndexFunc(got.listed, func(l upkeep.Listed) bool { return l.Kind == "late" && l.Key == key && l.Version != 0 })
		if i < 0 {
			t.Errorf("%s is not listed", key)
			continue
		}
		line := fmt.Sprintf(`"root":"%v"`, o.Root)
		if !slices.ContainsFunc(got.tables.lines["objects"], func(s string) bool { return strings.Contains(s, line) && !strings.Contains(s, "trashed_at") }) {
			t.Errorf("%s is not current: %v", key, got.tables.lines["objects"])
		}
	}
	for id, b := range dump.blocks {
		if g := got.tables.blocks[id]; g.References != b.References || g.Node != b.Node {
			t.Errorf("block %v is %+v, was %+v", id, g, b)
		}
	}
	if len(got.tables.lines["buckets"]) != 2 {
		t.Errorf("buckets %v", got.tables.lines["buckets"])
	}
}

// lossy is disks that have lost stripes whole.
type lossy struct {
	upkeep.Found
	lost map[lostRecord]bool
}

type lostRecord struct {
	extent holdall.ExtentID
	rec    int64
}

func (l *lossy) ReadChecked(ctx context.Context, disk holdall.DiskID, extent holdall.ExtentID, rec int64, off, n int) (buffer.View, error) {
	if l.lost[lostRecord{extent, rec}] {
		return buffer.View{}, fmt.Errorf("lost: %w", holdall.ErrCorrupt)
	}
	return l.Found.ReadChecked(ctx, disk, extent, rec, off, n)
}

// lose loses the stripes of a volume that pick chooses.
func (l *lossy) lose(r *rig, v *metadata.Volume, pick func(*holdall.Stripe) bool) {
	r.t.Helper()
	for m := range v.Members {
		r.must(l.Stripes(r.t.Context(), v.Members[m].Disk, v.Extent(m), func(s holdall.Stripe) error {
			if !pick(&s) {
				return nil
			}
			for shard, p := range s.Shards {
				l.lost[lostRecord{v.Extent(holdall.ShardMember(s.Number, shard, len(s.Shards))), p.Offset}] = true
			}
			return nil
		}))
	}
}

// keeps checks that no block which something refers to could be purged because of
// the rebuild, now or later, but for those that are lost.
func (r *rig) keeps(got *rebuilt, want tables) {
	r.t.Helper()
	for id, b := range want.blocks {
		g, found := got.tables.blocks[id]
		if found && b.References > 0 && g.References == 0 && !g.Direct && (g.PendingUntil == nil || !g.PendingUntil.After(r.cell.Now())) {
			r.t.Errorf("block %v is %+v, was %+v: it could be purged", id, g, b)
		}
	}
	if r.t.Failed() {
		r.t.Logf("report %+v\nlisted %+v", got.report, got.listed)
	}
}

// A manifest's root that is lost takes its version with it, and nothing else: what
// it listed is held.
func TestARebuildHoldsWhatALostRootListed(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(50, 100, 4)
	lost := r.putKey("lost", 3_000)
	kept := r.putKey("kept", 3_000)
	r.cell.Advance(25 * time.Hour) // nothing is pending any more
	r.flush()
	want := r.dump()
	at := r.rows(lost.Root)[0].Location
	v, err := r.cell.Store.Volume(at.Volume)
	r.must(err)
	disks := &lossy{r.cell.Server, map[lostRecord]bool{}}
	disks.lose(r, &v, func(s *holdall.Stripe) bool {
		for shard, p := range s.Shards {
			if m := holdall.ShardMember(s.Number, shard, len(s.Shards)); m == int(at.Member) && p.Length > 0 && at.Offset > p.Offset && at.Offset < p.Offset+holdall.RecordSize(p.Length) {
				return true
			}
		}
		return false
	})
	got := r.rebuild(disks)
	r.keeps(got, want)
	if got.report.LostObjects != 1 || got.report.Objects != 1 || got.report.Held == 0 {
		t.Errorf("report %+v, want one object lost, one back, and blocks held", got.report)
	}
	for _, kind := range []string{"lost", "held"} {
		if !slices.ContainsFunc(got.listed, func(l upkeep.Listed) bool { return l.Kind == kind }) {
			t.Errorf("nothing is listed as %s: %+v", kind, got.listed)
		}
	}
	if line := fmt.Sprintf(`"root":"%v"`, kept.Root); len(got.tables.lines["objects"]) != 1 || !strings.Contains(got.tables.lines["objects"][0], line) {
		t.Errorf("objects %v, want the other one", got.tables.lines["objects"])
	}
}

// A part of the journal that is lost makes names lost, and no bytes.
func TestARebuildWithoutAPartOfTheJournalHoldsWhatObjectsMayReferTo(t *testing.T) {
	for part := range 3 {
		r := newRig(t, sim.Config{}, nil)
		r.Cut(50, 100, 4)
		r.flush()
		for i := range 3 {
			r.history()
			r.putKey(fmt.Sprint("only-", i), 2_000)
			r.flush()
		}
		r.cell.Advance(25 * time.Hour)
		want := r.dump()
		volumes, err := r.cell.Store.Volumes()
		r.must(err)
		disks, n := &lossy{r.cell.Server, map[lostRecord]bool{}}, 0
		for i := range volumes {
			if volumes[i].System {
				disks.lose(r, &volumes[i], func(s *holdall.Stripe) bool { n++; return s.Number == uint64(1+2*part) })
			}
		}
		got := r.rebuild(disks)
		r.keeps(got, want)
		if len(disks.lost) == 0 || got.report.Held == 0 || len(got.report.Problems) == 0 {
			t.Errorf("%d records of %d listed stripes lost, report %+v", len(disks.lost), n, got.report)
		}
	}
}

// Whatever happened since the last flush, nothing that was acknowledged can be purged.
func TestARebuildOfAHistoryThatTheJournalLacksKeepsItsBlocks(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(50, 100, 4)
	r.history()
	r.flush()
	r.history()
	open := r.begin("open")
	r.part(open, 1, r.bytes(3_000))
	want := r.dump()
	got := r.rebuild(r.cell.Server)
	r.keeps(got, want)
	if got.report.Lost != 0 || got.report.LateObjects == 0 {
		t.Errorf("report %+v", got.report)
	}
}

// The bytes of an object may look like a root. They are none.
func TestARebuildTakesNoBytesOfAnObjectForARoot(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(50, 4096, 4)
	r.flush()
	b, err := r.cell.Store.Bucket(t.Context(), ns, bucket)
	r.must(err)
	forged, err := (&manifest.Root{Namespace: ns, Bucket: b.ID, BucketName: bucket, Key: "forged", Put: holdall.PutID{1}, Size: 5, Modified: r.cell.Now(), Inline: []byte("bytes")}).Encode()
	r.must(err)
	r.put("carrier", forged)
	got := r.rebuild(r.cell.Server)
	if got.report.LateObjects != 1 || len(got.tables.lines["objects"]) != 1 {
		t.Errorf("report %+v, objects %v, want one", got.report, got.tables.lines["objects"])
	}
}
