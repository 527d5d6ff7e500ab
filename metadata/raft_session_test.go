package metadata

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

// TestRepeatedEntryGetsItsFirstAnswer brings one entry through Raft again and
// again, as a retry does whose first outcome was lost.
func TestRepeatedEntryGetsItsFirstAnswer(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, testConfig(t, vfs.NewMem()))
	defer closeTest(t, s)
	v := testVolume(t, s)
	own, err := s.r.openSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	seq := own.begin()
	c := &createVolume{Scheme: testScheme, Limit: 1 << 40, Disks: []holdall.DiskID{diskID(0), diskID(1), diskID(2)}, Gateway: "g", Lease: time.Minute}
	entry, err := encodeCommand(own.header(seq, s.r.session.stamp(time.Now())), c)
	if err != nil {
		t.Fatal(err)
	}
	var first []byte
	for n := range 5 {
		answer, _, err := s.r.propose(ctx, entry)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first = answer
		}
		if string(answer) != string(first) {
			t.Errorf("repeat %d got %x, first %x", n, answer, first)
		}
	}
	if all, err := s.Volumes(); err != nil || len(all) != 2 {
		t.Errorf("%d volumes, want %v and one more: %v", len(all), v.ID, err)
	}
	own.end(seq)
	commitStripes(t, s, &v, 1, 1) // tells the cell that nobody waits for seq
	answer, _, err := s.r.propose(ctx, entry)
	if err != nil {
		t.Fatal(err)
	}
	if err := decodeAnswer(answer, new(volumeResult)); !errors.Is(err, holdall.ErrStale) {
		t.Errorf("a mutation that comes late: %v", err)
	}
}

func TestDroppedSessionIsOpenedAnew(t *testing.T) {
	s := openTest(t, testConfig(t, vfs.NewMem()))
	defer closeTest(t, s)
	v := testVolume(t, s)
	old := s.r.session.get()
	s.r.session.present = &ownSession{id: old.id + 1000, next: 1, lowest: 1, done: map[uint64]struct{}{}}
	commitStripes(t, s, &v, 1, 2)
	if now := s.r.session.get(); now.id == old.id || now.id == old.id+1000 {
		t.Errorf("session %d, want a new one", now.id)
	}
}

func TestSessionNamesTheLowestItWaitsFor(t *testing.T) {
	s := &ownSession{id: 1, next: 1, lowest: 1, done: map[uint64]struct{}{}}
	for want := uint64(1); want <= sessionWindow; want++ {
		if got := s.begin(); got != want {
			t.Fatalf("mutation %d is numbered %d", want, got)
		}
	}
	if got := s.begin(); got != 0 {
		t.Errorf("mutation %d while %d wait", got, sessionWindow)
	}
	for _, c := range []struct{ end, lowest uint64 }{{3, 1}, {2, 1}, {1, 4}, {5, 4}, {4, 6}} {
		s.end(c.end)
		if h := s.header(sessionWindow, 9); h.Lowest != c.lowest || h.Session != 1 || h.Time != 9 {
			t.Errorf("after the end of %d: %+v, want lowest %d", c.end, h, c.lowest)
		}
	}
	if got := s.begin(); got != sessionWindow+1 {
		t.Errorf("next mutation is numbered %d", got)
	}
}

func TestEntryTimeNeverRunsBack(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	cfg := testConfig(t, vfs.NewMem())
	cfg.Clock = func() time.Time { return now }
	s := openTest(t, cfg)
	v := testVolume(t, s)
	now = now.Add(time.Hour)
	commitStripes(t, s, &v, 1, 1)
	at, _ := s.Cell()
	now = now.Add(-30 * time.Minute)
	commitStripes(t, s, &v, 2, 2)
	closeTest(t, s)
	s = openTest(t, cfg)
	defer closeTest(t, s)
	commitStripes(t, s, &v, 3, 3)
	if c, err := s.Cell(); err != nil || !c.Clock.Equal(at.Clock) {
		t.Errorf("clock went from %v to %v, %v", at.Clock, c.Clock, err)
	}
}

// A registerOp is what a client does to one block: it deletes or undeletes it,
// or looks whether it is live.
type registerOp struct {
	block uint64
	kind  string // "delete", "undelete", "look"
}

var registerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[uint64][]porcupine.Operation{}
		for _, op := range history {
			parts[op.Input.(registerOp).block] = append(parts[op.Input.(registerOp).block], op)
		}
		var all [][]porcupine.Operation
		for _, p := range parts {
			all = append(all, p)
		}
		return all
	},
	Init: func() any { return true },
	Step: func(state, input, output any) (bool, any) {
		switch input.(registerOp).kind {
		case "delete":
			return true, false
		case "undelete":
			return true, true
		}
		return state == output, state
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v → %v", input, output) },
}

// TestGroupIsLinearizable lets clients work while the network falls apart and
// heals and voters are stopped, and searches their history for an order that
// explains it. A mutation whose outcome is unknown may have happened at any time
// after its call, or not at all.
func TestGroupIsLinearizable(t *testing.T) {
	synctest.Test(t, groupIsLinearizable)
}

func groupIsLinearizable(t *testing.T) {
	const blocks = 8
	g := newGroup(t, 3)
	defer g.close()
	v, lead := g.newCell()
	commitStripes(t, g.stores[lead], &v, 1, blocks)
	h := &history{t: t, stores: append([]*Store(nil), g.stores...)}
	var run sync.WaitGroup
	stop := make(chan struct{})
	for c := range 6 {
		run.Go(func() { h.client(c, blocks, stop) })
	}
	for round := range 8 {
		time.Sleep(700 * time.Millisecond)
		cut := g.leaderOr(round % 3)
		at := g.trans[cut]
		g.cutOff(cut)
		time.Sleep(time.Duration(300+400*round) * time.Millisecond)
		for _, peer := range g.trans {
			if peer != at {
				at.Connect(peer.LocalAddr(), peer)
				peer.Connect(at.LocalAddr(), at)
			}
		}
	}
	close(stop)
	run.Wait()
	g.agree()
	if h.unknown == 0 || len(h.ops) < 500 {
		t.Errorf("%d operations, %d of unknown outcome: too few to mean anything", len(h.ops), h.unknown)
	}
	if got := porcupine.CheckOperations(registerModel, h.ops); !got {
		t.Errorf("no order explains the history of %d operations", len(h.ops))
	}
}

// leaderOr returns the voter that believes it leads, or i.
func (g *group) leaderOr(i int) int {
	for k, s := range g.stores {
		if s.r.raft.State() == raft.Leader {
			return k
		}
	}
	return i
}

// history is what clients did and saw.
type history struct {
	t      *testing.T
	stores []*Store
	clock  atomic.Int64

	mu      sync.Mutex // guards all below
	ops     []porcupine.Operation
	unknown int
}

// client works on random blocks, at whichever voter answers.
func (h *history) client(id, blocks int, stop chan struct{}) {
	at := id
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(5+id) * time.Millisecond):
		}
		op := registerOp{block: uint64(n*7+id*3)%uint64(blocks) + 1, kind: []string{"look", "delete", "look", "undelete", "look"}[n%5]}
		if !h.do(h.stores[at%len(h.stores)], id, op) {
			at++
		}
	}
}

// do carries out one operation and notes it, unless it certainly did nothing.
// It returns false if another voter had better be asked.
func (h *history) do(s *Store, client int, op registerOp) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	ids := []holdall.BlockID{testID(3 * op.block)}
	var out any
	var err error
	call := h.clock.Add(1)
	switch op.kind {
	case "delete":
		_, err = s.Delete(ctx, holdall.DefaultNamespace, ids)
	case "undelete":
		_, err = s.Undelete(ctx, holdall.DefaultNamespace, ids)
	default:
		var rows []Block
		if rows, err = s.Lookup(ctx, holdall.DefaultNamespace, ids, true); err == nil {
			out = rows[0].Live()
		}
	}
	back := h.clock.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
	case !errors.Is(err, holdall.ErrUnavailable):
		h.t.Errorf("%v: %v", op, err)
		return false
	case op.kind == "look" || !errors.Is(err, errUnknown):
		return false
	default:
		h.unknown++
		back = 1 << 60
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: op, Call: call, Output: out, Return: back})
	return err == nil
}
