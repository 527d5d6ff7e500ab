package sim

import (
	"bytes"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/gateway"
)

var rotatingBlocks = flag.Int("rotatingblocks", 48, "blocks of 4 MiB that are put to rotating disks; two of memory for each byte on disk")

// TestPutsKeepRotatingDisksBusy puts 4 MiB, 16 at a time, to nine disks that take
// their time to seek, write and flush. The clock is virtual and stands while the
// processor works, so the time that passes is the disks' alone, and says how well
// their calls overlap, whatever the machine.
func TestPutsKeepRotatingDisksBusy(t *testing.T) {
	// What earlier tests left in pools has channels of outside the bubble, and who
	// waits for one keeps its clock from going on. Two collections empty them.
	runtime.GC()
	runtime.GC()
	synctest.Test(t, func(t *testing.T) {
		timing := faultdisk.Rotating()
		c, err := New(Config{
			Disk:        faultdisk.Config{ZoneSize: 64 << 20, Zones: 16, Timing: timing, Clock: faultdisk.WallClock{}},
			ExtentZones: 4,
			Gateway:     func(cfg *gateway.Config) { cfg.Memory = 512 << 20 },
		})
		if err != nil {
			t.Fatal(err)
		}
		base := randomBytes(rand.New(rand.NewPCG(1, 1)), holdall.MaxBlockSize)
		put := func(first, blocks int) time.Duration {
			began := time.Now()
			next := make(chan int, blocks)
			for i := range blocks {
				next <- first + i
			}
			close(next)
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					data := bytes.Clone(base)
					for i := range next {
						binary.LittleEndian.PutUint64(data, uint64(i))
						if _, err := c.Gateway.PutBytes(t.Context(), holdall.DefaultNamespace, data); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			return time.Since(began)
		}
		put(0, 16) // volumes and zones are there
		took := put(16, *rotatingBlocks)
		rate := float64(*rotatingBlocks) * holdall.MaxBlockSize / took.Seconds()
		limit := float64(holdall.DefaultScheme.K()) * float64(timing.BytesPerSecond)
		t.Logf("%d blocks in %v: %.0f MB/s, %.2f of %d disks' sequential rate", *rotatingBlocks, took, rate/1e6, rate/limit, holdall.DefaultScheme.K())
		if rate < 0.4*limit {
			t.Errorf("disks stand still: %.2f of what they could write, want 0.4", rate/limit)
		}
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
}
