package metadata

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/holdall/holdall"
)

// TestLoneVoterServesAtOnce checks, in virtual time, that a voter alone waits
// for no timeout of Raft's at a start: only for its own writes.
func TestLoneVoterServesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t, vfs.NewMem())
		for range 3 {
			begin := time.Now()
			s := openTest(t, cfg)
			v := testVolume(t, s)
			commitStripes(t, s, &v, 1, 3)
			if took := time.Since(begin); took > 50*time.Millisecond {
				t.Errorf("serving %v after opening, want 50 ms", took)
			}
			if !s.Leader() {
				t.Error("open, and not leading")
			}
			closeTest(t, s)
		}
	})
}

// logSync matches the calls that make entries durable.
func logSync(op errorfs.Op) bool {
	return strings.Contains(op.Path, "/log/") && strings.HasSuffix(op.Path, ".log") &&
		(op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo)
}

// TestMutationsHonourTheirDeadline stalls the disk under a commit. The commit
// returns when its time is up; what became of it is settled when the disk is
// back, once, and nothing was numbered twice.
func TestMutationsHonourTheirDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stalled atomic.Bool
		release := make(chan struct{})
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if logSync(op) && stalled.Load() {
				<-release
			}
			return nil
		}))
		s := openTest(t, testConfig(t, fs))
		defer closeTest(t, s)
		v := testVolume(t, s)
		commitStripes(t, s, &v, 1, 1)

		stalled.Store(true)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := s.CommitStripe(ctx, stripeOf(&v, 2, testID(6)))
		if !errors.Is(err, holdall.ErrUnavailable) || !errors.Is(err, errUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("commit on a stalled disk: %v", err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("gave up after %v, want 5 s", took)
		}
		if _, err := s.Lookup(context.Background(), holdall.DefaultNamespace, []holdall.BlockID{testID(3)}, false); err != nil {
			t.Errorf("plain lookup on a stalled disk: %v", err)
		}
		stalled.Store(false)
		close(release)
		synctest.Wait()
		if got, err := s.Volume(v.ID); err != nil || got.Last != 2 {
			t.Errorf("volume is at stripe %d, %v, want 2", got.Last, err)
		}
		commitStripes(t, s, &v, 3, 5)
	})
}

// TestMutationsFailFastWithoutLeader has two of three voters absent.
func TestMutationsFailFastWithoutLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3)
		g.start(0)
		s := g.stores[0]
		begin := time.Now()
		_, err := s.Claim(context.Background(), holdall.DefaultNamespace, nil)
		if !errors.Is(err, holdall.ErrUnavailable) || errors.Is(err, errUnknown) {
			t.Errorf("mutation without a leader: %v", err)
		}
		if took := time.Since(begin); took > leaderWait {
			t.Errorf("failed after %v, want at most %v", took, leaderWait)
		}
		if err := s.Linearize(context.Background()); !errors.Is(err, holdall.ErrUnavailable) {
			t.Errorf("linearizable read without a leader: %v", err)
		}
		if _, err := s.Cell(); err != nil {
			t.Errorf("plain read without a leader: %v", err)
		}
		g.close()
	})
}
