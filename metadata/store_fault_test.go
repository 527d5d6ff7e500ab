package metadata

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/holdall/holdall"
)

// image is what a power cut left, and what had been acknowledged before.
type image struct {
	fs    *vfs.MemFS
	at    string // the call that was about to be made
	acked int64
}

// camera takes an image before calls that change a file system.
type camera struct {
	fs    *vfs.MemFS
	acked atomic.Int64
	every int64 // one image in so many calls

	mu     sync.Mutex // guards all below
	rng    *rand.Rand
	calls  int64
	images []image
}

func newCamera(seed uint64, every int64) *camera {
	return &camera{fs: vfs.NewCrashableMem(), every: every, rng: rand.New(rand.NewPCG(seed, 2))}
}

// MaybeError takes an image, and injects no error.
func (c *camera) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpFileClose {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls++; c.calls%c.every != 0 {
		return nil
	}
	acked := c.acked.Load() // before the clone: what is acknowledged meanwhile may be missing
	percent := []int{0, 50, 100}[c.rng.IntN(3)]
	clone := c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(c.rng.Uint64(), 3))})
	if !journaled(clone) {
		percent = 0
		clone = c.fs.CrashClone(vfs.CrashCloneCfg{})
	}
	c.images = append(c.images, image{clone, fmt.Sprintf("call %d, %v of %s, %d%% of what was not synced", c.calls, op.Kind, op.Path, percent), acked})
	return nil
}

// journaled says whether fs is what a file system with a journal could leave.
// In a clone, names survive independently of each other, so the marker that
// names a Pebble's manifest may be there and the manifest, made before it in the
// same directory, not. Pebble counts on that order.
func journaled(fs *vfs.MemFS) bool {
	for _, dir := range []string{"/cell/metadata/log", "/cell/metadata/state-000001", "/cell/metadata/state-000002"} {
		names, err := fs.List(dir)
		if err != nil {
			continue
		}
		for _, name := range names {
			if at := strings.Index(name, "MANIFEST-"); at > 0 && !slices.Contains(names, name[at:]) {
				return false
			}
		}
	}
	return true
}

func (c *camera) String() string { return "camera" }

// TestEveryPowerCutOfAScriptRecovers runs a script through every durable step
// that there is, its first start among them, and opens what a power cut before
// each call would have left.
func TestEveryPowerCutOfAScriptRecovers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	cam := newCamera(seed, 3)
	cfg := testConfig(t, errorfs.Wrap(cam.fs, cam))
	cfg.Cell = holdall.CellID{7}
	s := openTest(t, cfg)
	v := testVolume(t, s)
	for n := uint64(1); n <= 12; n++ {
		commitStripes(t, s, &v, n, n)
		cam.acked.Store(int64(n))
		switch n % 4 {
		case 2:
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		case 0:
			closeTest(t, s)
			s = openTest(t, cfg)
		}
	}
	closeTest(t, s)
	if len(cam.images) < 50 {
		t.Errorf("only %d images", len(cam.images))
	}
	for _, img := range cam.images {
		cfg.FS = img.fs
		s, err := Open(context.Background(), cfg)
		if err != nil {
			t.Errorf("%s: %v", img.at, err)
			continue
		}
		c, err := s.Cell()
		if err != nil || c.ID != cfg.Cell {
			t.Errorf("%s: cell %v, %v", img.at, c.ID, err)
		}
		if got, err := s.Volume(v.ID); img.acked > 0 && (err != nil || int64(got.Last) < img.acked || int64(got.Last) > img.acked+1 || got.Rows != 3*int64(got.Last)) {
			t.Errorf("%s: %d stripes acknowledged, volume has %d with %d rows, %v", img.at, img.acked, got.Last, got.Rows, err)
		}
		for n := int64(1); n <= img.acked; n++ {
			if b := found(t, s, testID(uint64(3*n))); !b.Live() {
				t.Errorf("%s: stripe %d of %d is lost", img.at, n, img.acked)
			}
		}
		closeTest(t, s)
	}
}

// TestPowerCutsOfAnInstalledSnapshotNeverGoBack opens what a power cut before
// each call of a follower that installs a snapshot would have left: the old
// state with its log, or the new one.
func TestPowerCutsOfAnInstalledSnapshotNeverGoBack(t *testing.T) {
	synctest.Test(t, powerCutsOfAnInstalledSnapshot)
}

func powerCutsOfAnInstalledSnapshot(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := newGroup(t, 3)
	defer g.close()
	cams := []*camera{newCamera(seed, 1<<62), newCamera(seed, 1<<62), newCamera(seed, 1<<62)}
	for i := range g.cfgs {
		g.cfgs[i].FS = errorfs.Wrap(cams[i].fs, cams[i])
	}
	v, lead := g.newCell()
	commitStripes(t, g.stores[lead], &v, 1, 5)
	g.agree()
	behind := (lead + 1) % 3
	had := g.stores[behind].r.fsm.applied.load()
	// The follower dies with most of what it has in its log alone.
	cams[behind].fs = cams[behind].fs.CrashClone(vfs.CrashCloneCfg{})
	g.stop(behind)
	g.cfgs[behind].FS = errorfs.Wrap(cams[behind].fs, cams[behind])
	lead = g.leader()
	commitStripes(t, g.stores[lead], &v, 6, 15)
	for i, s := range g.stores {
		if i != behind {
			s.r.log.setKeep(0)
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	cams[behind].every = 2
	g.start(behind)
	g.agree()
	if g.stores[behind].r.fsm.present() == "state-000001" {
		t.Error("no snapshot was installed")
	}
	g.stop(behind)
	old, installed := 0, 0
	for _, img := range cams[behind].images {
		r, err := OpenReadOnly(g.cfgs[behind].Dir, img.fs)
		if err != nil {
			t.Errorf("%s: %v", img.at, err)
			continue
		}
		c, err := r.Cell()
		if err != nil || c.Applied < had {
			t.Errorf("%s: at entry %d, was at %d: %v", img.at, c.Applied, had, err)
		}
		if r.state.name == "state-000001" {
			old++
		} else {
			installed++
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: %v", img.at, err)
		}
	}
	if old < 5 || installed < 3 {
		t.Errorf("%d images before the installation, %d after: too few to mean anything", old, installed)
	}
}

// TestFailedSyncStopsTheVoter fails the call that makes entries durable, at the
// first commit and at a later one.
func TestFailedSyncStopsTheVoter(t *testing.T) {
	for _, nth := range []int64{1, 7} {
		mem := vfs.NewCrashableMem()
		var armed atomic.Bool
		var syncs atomic.Int64
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if logSync(op) && armed.Load() && syncs.Add(1) == nth {
				return errors.New("injected: EIO")
			}
			return nil
		}))
		cfg := testConfig(t, fs)
		fatal := make(chan error, 10)
		cfg.OnFatal = func(err error) { fatal <- err }
		s := openTest(t, cfg)
		v := testVolume(t, s)
		armed.Store(true)
		acked := uint64(0)
		for n := uint64(1); n <= 20; n++ {
			_, err := s.CommitStripe(context.Background(), stripeOf(&v, n, testID(3*n)))
			if err == nil {
				if acked != n-1 {
					t.Errorf("sync %d: stripe %d acknowledged after a failure", nth, n)
				}
				acked = n
			} else if !errors.Is(err, holdall.ErrUnavailable) {
				t.Errorf("sync %d: stripe %d: %v", nth, n, err)
			}
		}
		if acked >= 20 {
			t.Fatalf("sync %d: nothing was injected", nth)
		}
		if err := <-fatal; !strings.Contains(err.Error(), "injected") || !errors.Is(err, holdall.ErrUnavailable) {
			t.Errorf("sync %d: told of %v", nth, err)
		}
		if len(fatal) != 0 {
			t.Errorf("sync %d: told more than once: %v", nth, <-fatal)
		}
		if s.Err() == nil {
			t.Errorf("sync %d: no error shows", nth)
		}
		if _, err := s.Lookup(context.Background(), holdall.DefaultNamespace, []holdall.BlockID{testID(3)}, false); err != nil {
			t.Errorf("sync %d: plain lookup: %v", nth, err)
		}
		image := mem.CrashClone(vfs.CrashCloneCfg{})
		s.Close() // what it returns says nothing: the log cannot be closed well

		cfg = testConfig(t, image)
		s = openTest(t, cfg)
		for n := uint64(1); n <= acked; n++ {
			if b := found(t, s, testID(3*n)); !b.Live() {
				t.Errorf("sync %d: stripe %d of %d is lost", nth, n, acked)
			}
		}
		if got, err := s.Volume(v.ID); err != nil || got.Last < acked || got.Last > acked+1 {
			t.Errorf("sync %d: volume is at stripe %d, %v, acknowledged %d", nth, got.Last, err, acked)
		}
		closeTest(t, s)
	}
}

// TestFailedFlushesLoseNothing fails the writing of the state's tables for a
// while: the log has what they would have held.
func TestFailedFlushesLoseNothing(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var left atomic.Int64
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if strings.HasSuffix(op.Path, ".sst") && strings.Contains(op.Path, "/state-") && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && left.Add(-1) >= 0 {
			return errors.New("injected: ENOSPC")
		}
		return nil
	}))
	s := openTest(t, testConfig(t, fs))
	v := testVolume(t, s)
	for round := uint64(0); round < 4; round++ {
		commitStripes(t, s, &v, 5*round+1, 5*round+5)
		left.Store(3)
		if err := s.Flush(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if left.Load() >= 3 {
			t.Fatal("nothing was injected")
		}
		cfg := testConfig(t, mem.CrashClone(vfs.CrashCloneCfg{}))
		again := openTest(t, cfg)
		if got, err := again.Volume(v.ID); err != nil || got.Last != 5*round+5 {
			t.Errorf("round %d: volume is at stripe %d, %v", round, got.Last, err)
		}
		closeTest(t, again)
	}
	closeTest(t, s)
}

// TestFailedManifestStopsTheVoter fails what would make a flush count.
func TestFailedManifestStopsTheVoter(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var armed atomic.Bool
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && strings.Contains(op.Path, "/state-") && strings.Contains(op.Path, "MANIFEST") && op.Kind == errorfs.OpFileSync {
			return errors.New("injected: EIO")
		}
		return nil
	}))
	cfg := testConfig(t, fs)
	fatal := make(chan error, 10)
	cfg.OnFatal = func(err error) { fatal <- err }
	s := openTest(t, cfg)
	v := testVolume(t, s)
	commitStripes(t, s, &v, 1, 5)
	armed.Store(true)
	if err := s.Flush(); err == nil {
		t.Error("a flush succeeded whose manifest was not synced")
	}
	if err := <-fatal; !strings.Contains(err.Error(), "MANIFEST") {
		t.Errorf("told of %v", err)
	}
	if _, err := s.CommitStripe(context.Background(), stripeOf(&v, 6, testID(18))); !errors.Is(err, holdall.ErrUnavailable) {
		t.Errorf("commit after a failure: %v", err)
	}
	again := openTest(t, testConfig(t, mem.CrashClone(vfs.CrashCloneCfg{})))
	if got, err := again.Volume(v.ID); err != nil || got.Last != 5 {
		t.Errorf("volume is at stripe %d, %v", got.Last, err)
	}
	closeTest(t, again)
	s.Close()
}
