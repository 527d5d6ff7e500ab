package metadata

import (
	"context"
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
