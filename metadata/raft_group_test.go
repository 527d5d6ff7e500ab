package metadata

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

// group is some voters in one process, over a network in memory.
type group struct {
	t      *testing.T
	cfgs   []Config
	stores []*Store // nil: not running
	trans  []*raft.InmemTransport
}

// newGroup returns a group of n voters, none running.
func newGroup(t *testing.T, n int) *group {
	g := &group{t: t, stores: make([]*Store, n), trans: make([]*raft.InmemTransport, n)}
	var voters []raft.Server
	for i := range n {
		id := fmt.Sprintf("n%d", i)
		voters = append(voters, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	for i := range n {
		cfg := testConfig(t, vfs.NewMem())
		cfg.NodeID, cfg.voters = string(voters[i].ID), voters
		g.cfgs = append(g.cfgs, cfg)
	}
	return g
}

// start opens voter i and connects it with those that run.
func (g *group) start(i int) {
	g.t.Helper()
	_, trans := raft.NewInmemTransport(raft.ServerAddress(g.cfgs[i].NodeID))
	g.trans[i] = trans
	for k, peer := range g.trans {
		if k != i && g.stores[k] != nil {
			trans.Connect(peer.LocalAddr(), peer)
			peer.Connect(trans.LocalAddr(), trans)
		}
	}
	g.cfgs[i].transport = trans
	g.stores[i] = openTest(g.t, g.cfgs[i])
}

// stop closes voter i.
func (g *group) stop(i int) {
	g.t.Helper()
	for k, peer := range g.trans {
		if k != i && g.stores[k] != nil {
			peer.Disconnect(g.trans[i].LocalAddr())
		}
	}
	closeTest(g.t, g.stores[i])
	g.stores[i] = nil
}

func (g *group) close() {
	g.t.Helper()
	for i, s := range g.stores {
		if s != nil {
			g.stop(i)
		}
	}
}

// leader waits, in virtual time, for a leader and returns its number.
func (g *group) leader() int {
	g.t.Helper()
	for range 1000 {
		for i, s := range g.stores {
			if s != nil && s.Leader() && s.Linearize(context.Background()) == nil {
				return i
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	g.t.Fatal("no leader in 50 s")
	return -1
}

// agree waits until every running voter has applied what the leader has, and
// checks that their states are the same.
func (g *group) agree() {
	g.t.Helper()
	lead := g.stores[g.leader()]
	want := storeDump(g.t, lead)
	index := lead.r.fsm.applied.load()
	for i, s := range g.stores {
		if s == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := s.r.fsm.applied.wait(ctx, index); err != nil {
			g.t.Errorf("voter %d: %v", i, err)
		}
		cancel()
		if got := storeDump(g.t, s); got != want {
			g.t.Errorf("voter %d has\n%s\nthe leader has\n%s", i, got, want)
		}
	}
}

// newCell starts all voters and makes a cell with a volume.
func (g *group) newCell() (Volume, int) {
	g.t.Helper()
	for i := range g.stores {
		g.start(i)
	}
	lead := g.leader()
	if err := g.stores[lead].initCell(context.Background()); err != nil {
		g.t.Fatal(err)
	}
	return testVolume(g.t, g.stores[lead]), lead
}

func TestGroupKeepsWhatItAcknowledgedWhenTheLeadChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.close()
		v, lead := g.newCell()
		for round := uint64(0); round < 6; round++ {
			commitStripes(t, g.stores[lead], &v, 5*round+1, 5*round+5)
			g.agree()
			old := lead
			g.stop(old)
			lead = g.leader()
			if lead == old {
				t.Fatalf("voter %d leads and does not run", lead)
			}
			for n := uint64(1); n <= 5*round+5; n++ {
				if b := found(t, g.stores[lead], testID(3*n)); !b.Live() {
					t.Errorf("round %d: stripe %d lost with the leader: %+v", round, n, b)
				}
			}
			if got, err := g.stores[lead].Volume(v.ID); err != nil || got.Last != 5*round+5 {
				t.Errorf("round %d: volume is at stripe %d, %v", round, got.Last, err)
			}
			g.start(old)
			g.agree()
		}
	})
}

// cutOff takes voter i off the network.
func (g *group) cutOff(i int) {
	for _, peer := range g.trans {
		g.trans[i].Disconnect(peer.LocalAddr())
		peer.Disconnect(g.trans[i].LocalAddr())
	}
}

// TestLeaderThatIsCutOffAnswersNothingLinearizable reads before the leader can
// have noticed that it is alone, but after the answers have come that were on
// their way to it: Raft takes those for a confirmation too.
func TestLeaderThatIsCutOffAnswersNothingLinearizable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.close()
		_, lead := g.newCell()
		s := g.stores[lead]
		g.cutOff(lead)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := s.Linearize(ctx); !errors.Is(err, holdall.ErrUnavailable) {
			t.Errorf("linearizable read of a leader cut off: %v", err)
		}
		if s.r.raft.State() != raft.Leader {
			t.Error("it has noticed already: the test tests nothing")
		}
	})
}

func TestFollowerRefusesWhatOnlyTheLeaderMaySay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.close()
		v, lead := g.newCell()
		commitStripes(t, g.stores[lead], &v, 1, 2)
		g.agree()
		follower := g.stores[(lead+1)%3]
		ids := []holdall.BlockID{testID(3)}
		if b, err := follower.Lookup(context.Background(), holdall.DefaultNamespace, ids, false); err != nil || !b[0].Live() {
			t.Errorf("plain lookup at a follower: %+v, %v", b, err)
		}
		if _, err := follower.Lookup(context.Background(), holdall.DefaultNamespace, ids, true); err == nil {
			t.Error("a follower answered a linearizable lookup")
		}
		if _, err := follower.Delete(context.Background(), holdall.DefaultNamespace, ids); err == nil {
			t.Error("a follower took a mutation")
		}
	})
}

// TestFollowerThatFellBehindInstallsASnapshot truncates the log below what a
// follower still lacks.
func TestFollowerThatFellBehindInstallsASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.close()
		v, lead := g.newCell()
		commitStripes(t, g.stores[lead], &v, 1, 3)
		g.agree()
		behind := (lead + 1) % 3
		g.stop(behind)
		for round := uint64(1); round <= 3; round++ {
			lead = g.leader()
			commitStripes(t, g.stores[lead], &v, 10*round-6, 10*round+3)
			for _, s := range g.stores {
				if s == nil {
					continue
				}
				s.r.log.setKeep(0)
				if err := s.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if first, _ := g.stores[lead].r.log.FirstIndex(); first != 0 && first < 30 {
				t.Fatalf("log still begins at %d: the test tests nothing", first)
			}
			g.start(behind)
			g.agree()
			s := g.stores[behind]
			if s.r.fsm.present() == "state-000001" {
				t.Error("no snapshot was installed")
			}
			names, err := g.cfgs[behind].FS.List(g.cfgs[behind].Dir)
			if err != nil || len(names) != 4 { // CURRENT, LOCK, log, state
				t.Errorf("directory holds %v, %v", names, err)
			}
			g.stop(behind)
		}
		g.start(behind)
		g.agree()
	})
}

// TestRebuiltVoterTakesLaterTerms checks that a state which came without a log
// goes on in a term not below its own.
func TestRebuiltVoterTakesLaterTerms(t *testing.T) {
	cfg := testConfig(t, vfs.NewMem())
	cfg.Bootstrap = false
	b, err := NewRebuilder(cfg, RebuildConfig{Cell: holdall.CellID{1}, Retention: time.Hour, Reason: "r"})
	if err != nil {
		t.Fatal(err)
	}
	const term = 7
	b.l.state.machine.sys.Term = term
	if _, err := b.Finish(); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, cfg)
	defer closeTest(t, s)
	if err := s.ReleaseQuarantine(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Cell(); err != nil || c.Term <= term {
		t.Errorf("made at term %d, went on in term %d, %v", term, c.Term, err)
	}
}
