package metadata

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
)

var crashes = flag.Int("metadata.crashes", 40, "power cuts of TestPowerCutsLoseNothingAcknowledged")

// crashWorker is one caller: it commits stripes to a volume of its own, deletes
// and undeletes, and remembers what was acknowledged.
type crashWorker struct {
	id      uint64
	volume  Volume
	acked   uint64          // stripes
	deleted map[uint64]bool // block → deleted, by the last mutation that was acknowledged
	flight  uint64          // the block that a mutation without an answer names; 0 = none
}

func (w *crashWorker) block(n uint64) holdall.BlockID { return testID(w.id<<32 | n) }

// step is one mutation: do carries it out, done is what w then knows.
type step struct {
	do   func() error
	done func()
}

// plan chooses a mutation and notes that it is in flight.
func (w *crashWorker) plan(s *Store, rng *rand.Rand) step {
	ctx := context.Background()
	if w.acked == 0 || rng.IntN(3) > 0 {
		n := w.acked + 1
		c := stripeOf(&w.volume, n, w.block(2*n), w.block(2*n+1))
		return step{
			do:   func() error { _, err := s.CommitStripe(ctx, c); return err },
			done: func() { w.acked = n },
		}
	}
	n := 2 + rng.Uint64N(2*w.acked)
	change, deletes := s.Delete, rng.IntN(2) == 0
	if !deletes {
		change = s.Undelete
	}
	w.flight = n
	return step{
		do: func() error {
			missing, err := change(ctx, holdall.DefaultNamespace, []holdall.BlockID{w.block(n)})
			if err == nil && len(missing) > 0 {
				return fmt.Errorf("block %d is gone", n)
			}
			return err
		},
		done: func() { w.deleted[n], w.flight = deletes, 0 },
	}
}

// check compares the state after a crash with what w knew before it. A commit
// in flight may have been carried out; it is then acknowledged for the rest of
// the test.
func (w *crashWorker) check(t *testing.T, s *Store) {
	t.Helper()
	v, err := s.Volume(w.volume.ID)
	if err != nil {
		t.Fatal(err)
	}
	if v.Last != w.acked && v.Last != w.acked+1 {
		t.Errorf("worker %d: volume is at stripe %d, acknowledged %d", w.id, v.Last, w.acked)
	}
	if v.Rows != int64(2*v.Last) {
		t.Errorf("worker %d: volume has %d rows after %d stripes", w.id, v.Rows, v.Last)
	}
	w.acked = v.Last
	var ids []holdall.BlockID
	for n := range 2*w.acked + 4 {
		ids = append(ids, w.block(n))
	}
	for n, b := range lookupAll(t, s, ids) {
		switch n := uint64(n); {
		case b.Found != (n >= 2 && n < 2*w.acked+2):
			t.Errorf("worker %d: block %d found: %t, after %d stripes", w.id, n, b.Found, w.acked)
		case n == w.flight:
			w.deleted[n] = !b.Live()
		case b.Found && b.Live() == w.deleted[n]:
			t.Errorf("worker %d: block %d live: %t, deleted: %t", w.id, n, b.Live(), w.deleted[n])
		}
	}
	w.flight = 0
}

func lookupAll(t *testing.T, s *Store, ids []holdall.BlockID) (rows []Block) {
	t.Helper()
	for part := range slices.Chunk(ids, holdall.MaxIDsPerCall) {
		b, err := s.Lookup(context.Background(), holdall.DefaultNamespace, part, true)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, b...)
	}
	return rows
}

// TestPowerCutsLoseNothingAcknowledged cuts the power at random moments under
// load, with a random share of what was not synced on disk. The state is flushed
// and the log truncated all the while.
func TestPowerCutsLoseNothingAcknowledged(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewCrashableMem()
	cfg := testConfig(t, fs)
	cfg.FlushBytes = 8 << 10
	s := openTest(t, cfg)
	var workers []*crashWorker
	for id := range uint64(6) {
		workers = append(workers, &crashWorker{id: id, volume: testVolume(t, s), deleted: map[uint64]bool{}})
	}
	for range *crashes {
		image := runUntilPowerCut(t, s, fs, workers, rng)
		closeTest(t, s)
		fs, cfg.FS = image, image
		s = openTest(t, cfg)
		for _, w := range workers {
			w.check(t, s)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	closeTest(t, s)
}

// runUntilPowerCut lets the workers run, and in full run stops what they know
// and takes an image of the disk.
func runUntilPowerCut(t *testing.T, s *Store, fs *vfs.MemFS, workers []*crashWorker, rng *rand.Rand) *vfs.MemFS {
	var mu sync.Mutex // guards all below, and the workers
	off, acked := false, 0
	cut, target := make(chan struct{}), 1+rng.IntN(150)
	var run sync.WaitGroup
	for _, w := range workers {
		own := rand.New(rand.NewPCG(rng.Uint64(), w.id))
		run.Go(func() {
			for {
				mu.Lock()
				if off {
					mu.Unlock()
					return
				}
				next := w.plan(s, own)
				mu.Unlock()
				err := next.do()
				mu.Lock()
				if err != nil {
					t.Errorf("worker %d: %v", w.id, err)
				}
				if !off {
					next.done()
				}
				if acked++; acked == target {
					close(cut)
				}
				mu.Unlock()
			}
		})
	}
	<-cut
	mu.Lock()
	off = true
	mu.Unlock()
	image := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rand.New(rand.NewPCG(rng.Uint64(), 1))})
	run.Wait()
	return image
}
