package upkeep_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/internal/upkeep"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// history is a cell whose metadata is going to be lost.
type history struct {
	t *testing.T
	*sim.Cell
	failCommits atomic.Bool // commits are lost on the way: neither applied nor answered
}

func newHistory(t *testing.T) *history {
	t.Helper()
	h := &history{t: t}
	c, err := sim.New(sim.Config{Gateway: func(g *gateway.Config) { g.Index = &lossyIndex{g.Index, &h.failCommits} }})
	if err != nil {
		t.Fatal(err)
	}
	h.Cell = c
	t.Cleanup(func() {
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
	})
	return h
}

type lossyIndex struct {
	gateway.Index
	lose *atomic.Bool
}

func (l *lossyIndex) CommitStripe(ctx context.Context, c metadata.StripeCommit) (metadata.CommitResult, error) {
	if l.lose.Load() {
		return metadata.CommitResult{}, fmt.Errorf("lost on the way: %w", holdall.ErrUnavailable)
	}
	return l.Index.CommitStripe(ctx, c)
}

func (h *history) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func content(i int) []byte { return fmt.Appendf(nil, "block %d of a cell that lost its metadata", i) }

func blockID(i int) holdall.BlockID { return holdall.HashBlock(content(i)) }

func (h *history) put(i int) {
	h.t.Helper()
	_, err := h.Gateway.PutBytes(h.t.Context(), holdall.DefaultNamespace, content(i))
	h.must(err)
}

func (h *history) delete(i int) {
	h.t.Helper()
	gone, err := h.Gateway.Delete(h.t.Context(), holdall.DefaultNamespace, []holdall.BlockID{blockID(i)})
	h.must(err)
	if len(gone) > 0 {
		h.t.Fatalf("block %d is gone", i)
	}
}

func (h *history) undelete(i int) {
	h.t.Helper()
	gone, err := h.Gateway.Undelete(h.t.Context(), holdall.DefaultNamespace, []holdall.BlockID{blockID(i)})
	h.must(err)
	if len(gone) > 0 {
		h.t.Fatalf("block %d is gone", i)
	}
}

func (h *history) flush() { h.t.Helper(); h.must(h.Upkeep.Flush(h.t.Context())) }
func (h *history) round() { h.t.Helper(); h.must(h.Upkeep.Round(h.t.Context())) }
func (h *history) sealAll() {
	h.t.Helper()
	_, err := h.Gateway.SealVolumes(h.t.Context(), nil)
	h.must(err)
}

// where returns the row of a block.
func (h *history) where(i int) metadata.Block {
	h.t.Helper()
	rows, err := h.Store.Lookup(h.t.Context(), holdall.DefaultNamespace, []holdall.BlockID{blockID(i)}, true)
	h.must(err)
	return rows[0]
}

// rebuilt is metadata made from the disks.
type rebuilt struct {
	t *testing.T
	*metadata.Rebuilder
	fs     *vfs.MemFS
	report upkeep.Report
	listed []upkeep.Listed

	finished bool
}

// rebuild makes metadata anew from what from says of the disks.
func (h *history) rebuild(from upkeep.Found) *rebuilt {
	h.t.Helper()
	cell, err := h.Store.Cell()
	h.must(err)
	disks, err := h.Store.Disks()
	h.must(err)
	for i := range disks {
		disks[i].Granted = disks[i].Incarnation
	}
	s, err := upkeep.Look(h.t.Context(), from, cell.ID, h.Pool, nil)
	h.must(err)
	r := &rebuilt{t: h.t, fs: vfs.NewMem()}
	r.Rebuilder, err = metadata.NewRebuilder(metadata.Config{Dir: "/new", FS: r.fs, Clock: h.Now, CacheBytes: 1 << 20},
		metadata.RebuildConfig{Cell: cell.ID, Incarnation: s.Incarnation, Retention: sim.Retention, Reason: "test"})
	h.must(err)
	h.t.Cleanup(func() {
		if !r.finished {
			h.must(r.Abort())
		}
	})
	r.report, err = s.Rebuild(h.t.Context(), r, disks, func(l upkeep.Listed) error {
		r.listed = append(r.listed, l)
		return nil
	}, nil)
	h.must(err)
	return r
}

func (r *rebuilt) row(i int) metadata.Block {
	r.t.Helper()
	rows, err := r.Lookup(holdall.DefaultNamespace, []holdall.BlockID{blockID(i)})
	if err != nil {
		r.t.Fatal(err)
	}
	return rows[0]
}

// want says what blocks should have become: 'l'ive, in 't'rash, or '-' gone.
func (r *rebuilt) want(states string) {
	r.t.Helper()
	for i, want := range states {
		got := '-'
		switch b := r.row(i); {
		case b.Live():
			got = 'l'
		case b.Found:
			got = 't'
		}
		if got != want {
			r.t.Errorf("block %d came back as %q, want %q", i, got, want)
		}
	}
	if r.t.Failed() {
		r.t.Logf("report %+v\nlisted %+v", r.report, r.listed)
	}
}

func TestRebuildRepeatsTheHistoryOfABlock(t *testing.T) {
	h := newHistory(t)
	for i := range 6 {
		h.put(i)
	}
	h.delete(1)
	h.delete(2)
	h.put(2) // put, deleted, put again
	h.delete(3)
	h.undelete(3)
	h.delete(4)
	h.delete(5)
	h.sealAll()
	h.Advance(sim.Retention + time.Hour)
	h.round() // purges 1, 4, 5
	h.put(4)  // purged, put again, in another volume
	h.put(5)
	h.delete(5)
	h.flush()
	if b := h.where(1); b.Found {
		t.Fatalf("block 1 was not purged: %+v", b)
	}
	r := h.rebuild(h.Server)
	r.want("l-lllt")
	if len(r.listed) > 0 {
		t.Errorf("listed %+v, want nothing", r.listed)
	}
}

func TestRebuildFollowsABlockThatMoved(t *testing.T) {
	h := newHistory(t)
	h.put(0)
	h.put(1)
	first := h.where(0).Location
	h.sealAll()
	v, err := h.Store.Volume(first.Volume)
	h.must(err)
	for m := range 2 { // two members away: a dedup hit no longer counts
		h.must(h.Store.SetDisk(t.Context(), v.Members[m].Disk, holdall.DiskFailed, "test"))
		h.must(h.Server.Remove(v.Members[m].Disk))
	}
	h.Advance(5 * time.Second) // past the gateway's view of the disks
	h.put(0)
	h.put(1)
	h.delete(1)
	moved := h.where(0).Location
	if moved == first {
		t.Fatal("the second put did not move the block")
	}
	h.flush()
	r := h.rebuild(h.Server)
	r.want("lt")
	if got := r.row(0).Location; got != moved {
		t.Errorf("row points to %+v, want %+v", got, moved)
	}
}

// A stripe that was durable but not committed when the process died must not
// bring back a block that was put elsewhere and deleted since.
func TestRebuildLeavesUncommittedStripesOut(t *testing.T) {
	h := newHistory(t)
	h.put(0)
	h.failCommits.Store(true)
	if _, err := h.Gateway.PutBytes(t.Context(), holdall.DefaultNamespace, content(1)); err == nil {
		t.Fatal("acknowledged without a commit")
	}
	h.failCommits.Store(false)
	h.must(h.Kill())
	h.put(1)
	h.delete(1)
	h.put(2)
	h.flush()
	r := h.rebuild(h.Server)
	r.want("ltl")
}

func TestRebuildOfAJournalWrittenTwice(t *testing.T) {
	h := newHistory(t)
	h.put(0)
	h.put(1)
	h.delete(1)
	cell, err := h.Store.Cell()
	h.must(err)
	changes, err := h.Store.Changes(100)
	h.must(err)
	block, _ := upkeep.AppendJournal(nil, cell.ID, cell.Incarnation, changes, holdall.MaxBlockSize)
	h.must(h.Gateway.PutSystem(t.Context(), block)) // and the process dies before FlushChanges
	h.must(h.Kill())
	h.undelete(1)
	h.delete(0)
	h.flush()
	r := h.rebuild(h.Server)
	r.want("tl")
	if len(r.report.Problems) > 0 {
		t.Errorf("problems: %v", r.report.Problems)
	}
}

func TestRebuildOfAFreedVolume(t *testing.T) {
	h := newHistory(t)
	h.put(0)
	h.delete(0)
	h.sealAll()
	dead := h.where(0).Location.Volume
	h.Advance(sim.Retention + time.Hour)
	h.round() // purges
	h.round() // frees
	if v, err := h.Store.Volume(dead); !errors.Is(err, holdall.ErrNotFound) {
		t.Fatalf("volume is not freed: %v, %v", v.State, err)
	}
	h.put(1)
	h.flush()
	r := h.rebuild(h.Server)
	r.want("-l")
}

// What is younger than the last flush is live, and listed.
func TestRebuildListsWhatIsYoungerThanTheJournal(t *testing.T) {
	h := newHistory(t)
	h.put(0)
	h.flush()
	h.put(1)
	h.delete(0)
	r := h.rebuild(h.Server)
	r.want("ll")
	if len(r.listed) != 1 || r.listed[0].Kind != "late" || *r.listed[0].Block != blockID(1) {
		t.Errorf("listed %+v, want block 1 as late", r.listed)
	}
}

// A member whose extent is nowhere is named, unless the journal says that its
// volume was freed.
func TestSurveyNamesMembersThatAreNowhere(t *testing.T) {
	h := newHistory(t)
	cell, err := h.Store.Cell()
	h.must(err)
	missing := func() []string {
		t.Helper()
		s, err := upkeep.Look(t.Context(), h.Server, cell.ID, h.Pool, nil)
		h.must(err)
		return s.Missing()
	}
	h.put(0)
	h.delete(0)
	h.sealAll()
	dead := h.where(0).Location.Volume
	if got := missing(); len(got) > 0 {
		t.Errorf("all disks are there, missing %q", got)
	}
	h.Advance(sim.Retention + time.Hour)
	_, err = h.Store.Purge(t.Context(), []metadata.BlockKey{{Namespace: holdall.DefaultNamespace, ID: blockID(0)}})
	h.must(err)
	v, err := h.Store.Volume(dead)
	h.must(err)
	_, err = h.Store.FreeVolume(t.Context(), dead, v.Epoch)
	h.must(err)
	e := v.Extent(1)
	h.must(h.Server.Trash(t.Context(), v.Members[1].Disk, e))
	h.must(h.Server.Free(t.Context(), v.Members[1].Disk, e))
	if got, want := missing(), fmt.Sprintf("member 1 of volume %v", dead); len(got) != 1 || got[0] != want {
		t.Errorf("missing %q, want %q: nothing on disks says that it was freed", got, want)
	}
	h.flush()
	if got := missing(); len(got) > 0 {
		t.Errorf("missing %q of a volume that the journal says was freed", got)
	}
}

// lossy hides a record of every member from readers.
type lossy struct {
	*volume.Server
	volume holdall.VolumeID
	from   map[int]int64 // by member: the record that cannot be read
}

func (l *lossy) ReadChecked(ctx context.Context, disk holdall.DiskID, e holdall.ExtentID, rec int64, off, n int) (buffer.View, error) {
	if at, ok := l.from[int(e.Member)]; ok && e.Volume == l.volume && at == rec {
		return buffer.View{}, fmt.Errorf("rot: %w", holdall.ErrCorrupt)
	}
	return l.Server.ReadChecked(ctx, disk, e, rec, off, n)
}

// losing returns the disks as they are when all shards of a stripe of the
// journal have rotted.
func (h *history) losing(number uint64) *lossy {
	h.t.Helper()
	volumes, err := h.Store.Volumes()
	h.must(err)
	for i := range volumes {
		v := &volumes[i]
		if !v.System {
			continue
		}
		l := &lossy{h.Server, v.ID, map[int]int64{}}
		for m := range v.Members {
			err := h.Server.Stripes(h.t.Context(), v.Members[m].Disk, v.Extent(m), func(s holdall.Stripe) error {
				for shard, p := range s.Shards {
					if s.Number == number && p.Length > 0 {
						l.from[holdall.ShardMember(number, shard, len(s.Shards))] = p.Offset
					}
				}
				return nil
			})
			if err != nil && !errors.Is(err, holdall.ErrNotFound) {
				h.t.Fatal(err)
			}
		}
		return l
	}
	h.t.Fatal("there is no journal")
	return nil
}

// Without a part of the journal nobody knows what was deleted of what it listed:
// it comes back as trash, also where it lies behind stripes that are listed.
func TestRebuildTrashesWhatALostPartOfTheJournalListed(t *testing.T) {
	h := newHistory(t)
	h.put(0)
	h.flush()
	h.put(1)
	h.flush() // lost
	h.delete(1)
	h.flush()
	r := h.rebuild(h.losing(2))
	r.want("lt")
	if len(r.listed) != 1 || r.listed[0].Kind != "unordered" {
		t.Errorf("listed %+v, want block 1 as unordered", r.listed)
	}
}

// A lost part of the journal does not make trash of what was certainly put
// after it.
func TestRebuildKeepsWhatIsYoungerThanALostPartOfTheJournal(t *testing.T) {
	h := newHistory(t)
	h.put(0)
	h.flush()
	h.put(1)
	h.flush() // lost
	h.put(2)
	h.flush()
	h.put(3)
	r := h.rebuild(h.losing(2))
	r.want("ltll")
}

// The metadata is lost a second time: what came back as trash stays there.
func TestSecondRebuildKeepsUnorderedBlocksInTrash(t *testing.T) {
	h := newHistory(t)
	h.put(0)
	h.put(2)
	h.flush()
	h.put(1)
	h.flush() // lost
	h.delete(1)
	h.flush()
	first := h.rebuild(h.losing(2))
	first.want("lt")
	first.finished = true
	_, err := first.Finish()
	h.must(err)
	s, err := metadata.Open(t.Context(), metadata.Config{Dir: "/new", FS: first.fs, Clock: h.Now, CacheBytes: 1 << 20})
	h.must(err)
	cell, err := s.Cell()
	h.must(err)
	changes, err := s.Changes(1000)
	h.must(err)
	h.must(s.Close())
	block, n := upkeep.AppendJournal(nil, cell.ID, cell.Incarnation, changes, holdall.MaxBlockSize)
	if n != len(changes) {
		t.Fatalf("%d of %d changes in a block", n, len(changes))
	}
	h.must(h.Gateway.PutSystem(t.Context(), block))
	second := h.rebuild(h.losing(2))
	second.want("lt")
}
