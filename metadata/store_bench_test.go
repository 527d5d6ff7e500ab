package metadata

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdall/holdall"
)

// benchCommits commits one-block stripes from as many callers as given, each
// with volumes of its own, on real files.
func benchCommits(b *testing.B, callers int) {
	cfg := testConfig(b, nil)
	cfg.Dir = b.TempDir()
	s := openTest(b, cfg)
	defer closeTest(b, s)
	var volumes []Volume
	for range callers {
		volumes = append(volumes, testVolume(b, s))
	}
	var ids, left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var run sync.WaitGroup
	for c := range callers {
		run.Go(func() {
			v := volumes[c]
			for n := uint64(1); left.Add(-1) >= 0; n++ {
				if n > holdall.MaxVolumeStripes {
					v, n = testVolume(b, s), 1
				}
				if _, err := s.CommitStripe(context.Background(), stripeOf(&v, n, testID(uint64(ids.Add(1))))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	run.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

func BenchmarkCommit1(b *testing.B)  { benchCommits(b, 1) }
func BenchmarkCommit16(b *testing.B) { benchCommits(b, 16) }
func BenchmarkCommit64(b *testing.B) { benchCommits(b, 64) }

// BenchmarkRestart opens what a killed process left: a state with many blocks,
// and as much of the log beyond it as is ever left.
func BenchmarkRestart(b *testing.B) {
	for _, blocks := range []int{1, 16} {
		b.Run(fmt.Sprintf("%dBlocksACommit", blocks), func(b *testing.B) { benchRestart(b, blocks) })
	}
}

func benchRestart(b *testing.B, blocks int) {
	cfg := testConfig(b, nil)
	cfg.Dir, cfg.CacheBytes = b.TempDir(), DefaultCacheBytes
	s := openTest(b, cfg)
	v := testVolume(b, s)
	n, id := uint64(0), uint64(0)
	commit := func() {
		n++
		var ids []holdall.BlockID
		for range blocks {
			id++
			ids = append(ids, testID(id))
		}
		if _, err := s.CommitStripe(context.Background(), stripeOf(&v, n, ids...)); err != nil {
			b.Fatal(err)
		}
	}
	for n < 2000 {
		commit()
	}
	pending := func() backlog {
		s.r.fsm.mu.RLock()
		defer s.r.fsm.mu.RUnlock()
		return s.r.fsm.pending
	}
	for p := pending(); p.bytes < minFlush*9/10 || p.took < replayTime*7/10; p = pending() {
		commit()
	}
	left := s.r.fsm.applied.load() - s.r.fsm.state.flushed.Load().index
	copies := b.TempDir()
	for i := range b.N {
		if err := os.CopyFS(filepath.Join(copies, strconv.Itoa(i)), os.DirFS(cfg.Dir)); err != nil {
			b.Fatal(err)
		}
	}
	closeTest(b, s)
	b.ResetTimer()
	for i := range b.N {
		c := cfg
		c.Dir = filepath.Join(copies, strconv.Itoa(i))
		s := openTest(b, c)
		b.StopTimer()
		closeTest(b, s)
		b.StartTimer()
	}
	b.ReportMetric(float64(left), "entries")
	b.ReportMetric(float64(blocks)*float64(left)*float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
}
