package metadata

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

func TestCommitStoresRowsAndCounts(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	c := stripe(&v, id(1), id(2))
	r.put(&v, id(1), id(2))
	want := Block{Namespace: 1, ID: id(2), Location: holdall.Location{Volume: v.ID, Offset: 5096, Length: 1000}, Direct: true, Found: true}
	if got := r.block(id(2)); got != want {
		t.Errorf("row is %+v, want %+v", got, want)
	}
	if got := r.block(id(3)); got.Found {
		t.Errorf("a block that was not put is found: %+v", got)
	}
	if v.Rows != 2 || v.Bytes != 2000 || v.Live != 2000 || v.Last != 1 || v.Packs != c.PackBytes || v.Shards != c.ShardBytes || v.Members[2].End != c.Ends[2] {
		t.Errorf("volume after the commit: %+v", v)
	}
	if cell := r.cell(); cell.Blocks != 2 || cell.LiveBytes != 2000 || cell.Live != 2 {
		t.Errorf("cell after the commit: %+v", cell)
	}
	audit(t, r.db)
}

func TestCommitIsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		kind error
		make func(r *rig, c *commitStripe)
	}{
		{"unknown volume", holdall.ErrStale, func(_ *rig, c *commitStripe) { c.Volume++ }},
		{"earlier epoch", holdall.ErrStale, func(_ *rig, c *commitStripe) { c.Epoch-- }},
		{"later epoch", holdall.ErrStale, func(_ *rig, c *commitStripe) { c.Epoch++ }},
		{"repeated stripe", holdall.ErrStale, func(_ *rig, c *commitStripe) { c.Stripe-- }},
		{"skipped stripe", holdall.ErrStale, func(_ *rig, c *commitStripe) { c.Stripe++ }},
		{"sealed volume", holdall.ErrStale, func(r *rig, c *commitStripe) {
			r.ok(&sealVolume{Volume: c.Volume, Epoch: c.Epoch}, new(volumeResult))
		}},
		{"lease taken since", holdall.ErrStale, func(r *rig, c *commitStripe) {
			r.ok(&takeLease{c.Volume, "g", time.Minute}, new(volumeResult))
		}},
		{"an end that falls", holdall.ErrInvalid, func(_ *rig, c *commitStripe) { c.Ends[2] = 0 }},
		{"an end over the limit", holdall.ErrInvalid, func(_ *rig, c *commitStripe) { c.Ends[1] += 1 << 29; c.ShardBytes += 1 << 29 }},
		{"too few ends", holdall.ErrInvalid, func(_ *rig, c *commitStripe) { c.Ends = c.Ends[:2] }},
		{"shard bytes that differ", holdall.ErrInvalid, func(_ *rig, c *commitStripe) { c.ShardBytes += 4096 }},
		{"packs smaller than blocks", holdall.ErrInvalid, func(_ *rig, c *commitStripe) { c.PackBytes = 999 }},
		{"a block in the record before", holdall.ErrInvalid, func(_ *rig, c *commitStripe) { c.Blocks[0].Offset -= 1 }},
		{"a block past the end", holdall.ErrInvalid, func(_ *rig, c *commitStripe) { c.Blocks[0].Offset = c.Ends[0] - 999 }},
		{"a block in a member that did not grow", holdall.ErrInvalid, func(_ *rig, c *commitStripe) { c.Blocks[0].Member = 1 }},
		{"another length", holdall.ErrInvalid, func(_ *rig, c *commitStripe) { c.Blocks[0].ID, c.Blocks[0].Length = id(1), 999 }},
		{"an unknown namespace", holdall.ErrInvalid, func(_ *rig, c *commitStripe) { c.Blocks[0].Namespace = 7 }},
		{"the system namespace in a user volume", holdall.ErrInvalid, func(_ *rig, c *commitStripe) { c.Blocks[0].Namespace = 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newCell(t, 3)
			v := r.volume()
			r.put(&v, id(1))
			commit := stripe(&v, id(2))
			c.make(r, commit)
			r.refused(commit, c.kind)
			if r.block(id(2)).Found {
				t.Error("the refused stripe's block is found")
			}
			audit(t, r.db)
		})
	}
}

func TestFirstCommitKeepsItsLocation(t *testing.T) {
	r := newCell(t, 3)
	v, w := r.volume(), r.volume()
	r.put(&v, id(1))
	first := r.block(id(1)).Location
	c := stripe(&w, id(2), id(1))
	var a commitAnswer
	r.ok(c, &a)
	if got := r.block(id(1)).Location; got != first {
		t.Errorf("second put moved the row to %+v from %+v", got, first)
	}
	res, err := c.result(encodeAnswer(&a, nil))
	if err != nil || res.Kept[1] != first || res.Kept[0] != c.Blocks[0].at(w.ID) {
		t.Errorf("answer is %+v, %v; want the new copy of block 2, and %+v", res, err, first)
	}
	if w = r.readVolume(w.ID); w.Rows != 1 {
		t.Errorf("the dead copy is counted: %+v", w)
	}
	audit(t, r.db)
}

func TestCommitOfTrashedBlockRestoresIt(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	r.put(&v, id(1))
	before := r.block(id(1))
	r.delete(id(1))
	r.put(&v, id(1))
	if got := r.block(id(1)); got != before {
		t.Errorf("row is %+v, want it as it was, %+v", got, before)
	}
	audit(t, r.db)
}

func TestReplaceComparesAndSwaps(t *testing.T) {
	for _, trashed := range []bool{false, true} {
		t.Run(fmt.Sprintf("trashed %t", trashed), func(t *testing.T) {
			r := newCell(t, 3)
			v, w := r.volume(), r.volume()
			r.put(&v, id(1))
			old := r.block(id(1)).Location
			if trashed {
				r.delete(id(1))
			}
			miss := stripe(&w, id(1))
			miss.Blocks[0].Replace = old
			miss.Blocks[0].Replace.Offset++
			r.ok(miss, new(commitAnswer))
			if got := r.block(id(1)); got.Location != old || !got.Live() {
				t.Fatalf("a put that names another location: row is %+v", got)
			}
			w = r.readVolume(w.ID)
			hit := stripe(&w, id(1))
			hit.Blocks[0].Replace = old
			var a commitAnswer
			r.ok(hit, &a)
			if got := r.block(id(1)); got.Location != hit.Blocks[0].at(w.ID) || !got.Direct || len(a.Index) != 0 {
				t.Fatalf("a put that names the location: row is %+v, answer %+v", got, a)
			}
			if v = r.readVolume(v.ID); v.Rows != 0 || v.Bytes != 0 || v.Live != 0 {
				t.Errorf("the volume that was left counts %+v", v)
			}
			last := r.changes()[len(r.changes())-1]
			if last.Kind != ChangeMove || last.Location != hit.Blocks[0].at(w.ID) {
				t.Errorf("journal ends with %+v, want the move", last)
			}
			audit(t, r.db)
		})
	}
}

func TestOneIDTwiceInAStripe(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	a := r.put(&v, id(1), id(1))
	if len(a.Index) != 1 || a.Index[0] != 1 || a.Kept[0].Offset != 4096 {
		t.Errorf("answer is %+v, want the second to be the first's dead twin", a)
	}
	if v.Rows != 1 {
		t.Errorf("volume counts %d rows", v.Rows)
	}
	audit(t, r.db)
}

func TestPendingBlockIsHeldForADay(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	c := stripe(&v, id(1))
	c.Blocks[0].Pending = true
	r.ok(c, new(commitAnswer))
	if b := r.block(id(1)); !b.Live() || b.Direct {
		t.Fatalf("pending row is %+v", b)
	}
	r.pass(23 * time.Hour)
	r.delete(id(1))
	if b := r.block(id(1)); !b.Live() {
		t.Fatalf("delete of a pending block, which it does not hold: %+v", b)
	}
	r.pass(2 * time.Hour)
	if got := r.purge(id(1)); got.Purged != 0 {
		t.Fatal("purged before its retention ended")
	}
	r.pass(DefaultRetention)
	audit(t, r.db)
	if got := r.purge(id(1)); got.Purged != 1 {
		t.Fatalf("purge of a block whose pending ran out: %+v", got)
	}
	audit(t, r.db)
}

func TestSystemVolumeIsNotJournaled(t *testing.T) {
	r := newCell(t, 3)
	var res volumeResult
	r.ok(&createVolume{Scheme: scheme21, Limit: 1 << 20, Disks: []holdall.DiskID{disk(0), disk(1), disk(2)}, System: true, Gateway: "g", Lease: time.Minute}, &res)
	c := stripe(&res.Volume, id(1))
	r.refused(c, holdall.ErrInvalid)
	c.Blocks[0].Namespace = holdall.SystemNamespace
	r.ok(c, new(commitAnswer))
	r.ok(&changeBlocks{tagDelete, holdall.SystemNamespace, []holdall.BlockID{id(1)}}, new(idsResult))
	if got := r.changes(); len(got) != 0 {
		t.Errorf("what happened to the journal's own blocks was journaled: %+v", got)
	}
	audit(t, r.db)
}

// TestFullJournalTakesItself: only the journal's own blocks make room again, so
// they, and another claim on one that is there, must not be refused for want of it.
func TestFullJournalTakesItself(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	var res volumeResult
	r.ok(&createVolume{Scheme: scheme21, Limit: 1 << 20, Disks: []holdall.DiskID{disk(0), disk(1), disk(2)}, System: true, Gateway: "g", Lease: time.Minute}, &res)
	r.m.sys.LastChange += maxChanges + 1
	c := stripe(&res.Volume, id(1))
	c.Blocks[0].Namespace = holdall.SystemNamespace
	r.ok(c, new(commitAnswer))
	r.ok(&changeBlocks{tagClaim, holdall.SystemNamespace, []holdall.BlockID{id(1)}}, new(idsResult))
	if err := r.do(stripe(&v, id(2)), new(commitAnswer)); !errors.Is(err, holdall.ErrExhausted) {
		t.Errorf("stripe of users' blocks: %v, want exhausted", err)
	}
	if err := r.do(&changeBlocks{tagDelete, holdall.DefaultNamespace, []holdall.BlockID{id(2)}}, new(idsResult)); !errors.Is(err, holdall.ErrExhausted) {
		t.Errorf("delete of a user's block: %v, want exhausted", err)
	}
}

// TestLargestStripeFitsAnEntry: every field at its longest, and every block
// moved from elsewhere.
func TestLargestStripeFitsAnEntry(t *testing.T) {
	c := &commitStripe{StripeCommit{Volume: holdall.MakeVolumeID(1<<16-1, 1<<48-1), Epoch: holdall.MakeEpoch(1<<20-1, 1<<44-1), Stripe: holdall.MaxVolumeStripes,
		PackBytes: maxStripeBytes, ShardBytes: maxStripeBytes}}
	for range holdall.MaxMembers {
		c.Ends = append(c.Ends, maxLimit)
	}
	for i := range MaxCommitBlocks {
		c.Blocks = append(c.Blocks, PutBlock{Namespace: math.MaxUint32, ID: id(i), Member: 31, Offset: maxLimit, Length: holdall.MaxBlockSize, Pending: true,
			Replace: holdall.Location{Volume: c.Volume, Member: 255, Offset: math.MaxInt64, Length: math.MaxUint32}})
	}
	if n := len(putPutBlock(nil, &c.Blocks[0])); n != maxPutBlock {
		t.Errorf("the largest block takes %d bytes, maxPutBlock is %d", n, maxPutBlock)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	most := header{Session: math.MaxUint64, Seq: math.MaxUint64, Lowest: math.MaxUint64, Time: maxInstant}
	b, err := encodeCommand(most, c)
	if err != nil {
		t.Fatal(err)
	}
	if head := len(b) - len(c.Blocks)*maxPutBlock; head > maxStripeHead {
		t.Errorf("%d bytes beside the blocks, maxStripeHead is %d", head, maxStripeHead)
	}
	if _, _, err := decodeCommand(b); err != nil {
		t.Errorf("it does not come back: %v", err)
	}
	c.Blocks = append(c.Blocks, c.Blocks[0])
	if err := c.Validate(); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("a block more: %v, want invalid", err)
	}
}
