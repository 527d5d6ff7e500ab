package metadata

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
)

// TestCachedRowsAreNeverOlderThanTheState reads volumes and disks, from many
// goroutines, while they change: whoever was told of a change sees it.
func TestCachedRowsAreNeverOlderThanTheState(t *testing.T) {
	ctx := context.Background()
	s := openTest(t, testConfig(t, vfs.NewMem()))
	defer closeTest(t, s)
	v := testVolume(t, s)
	var acked atomic.Uint64
	stop := make(chan struct{})
	var run sync.WaitGroup
	for range 4 {
		run.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := acked.Load()
				if got, err := s.Volume(v.ID); err != nil || got.Last < least {
					t.Errorf("volume at stripe %d, %v, %d were acknowledged", got.Last, err, least)
					return
				}
			}
		})
	}
	for n := uint64(1); n <= 300; n++ {
		commitStripes(t, s, &v, n, n)
		acked.Store(n)
		if got, err := s.Volume(v.ID); err != nil || got.Last != n {
			t.Errorf("volume at stripe %d, %v, want %d", got.Last, err, n)
		}
		state := []holdall.DiskState{holdall.DiskActive, holdall.DiskFailed}[n%2]
		if err := s.SetDisk(ctx, diskID(1), state, "test"); err != nil {
			t.Fatal(err)
		}
		if d, err := s.Disk(diskID(1)); err != nil || d.State != state {
			t.Errorf("disk is %v, %v, want %v", d.State, err, state)
		}
	}
	close(stop)
	run.Wait()
}

func TestCacheIsBounded(t *testing.T) {
	var c tableCache
	for n := range uint64(4 * tableShards * maxShardVolumes) {
		c.putVolume(Volume{ID: holdall.MakeVolumeID(1, n)}, 0)
	}
	for i := range c.volumes {
		if n := len(c.volumes[i].rows); n > maxShardVolumes {
			t.Errorf("shard %d has %d rows, limit %d", i, n, maxShardVolumes)
		}
	}
}

func TestCacheKeepsNoRowReadBeforeAChange(t *testing.T) {
	var c tableCache
	id := holdall.MakeVolumeID(1, 7)
	_, _, changes := c.volume(id)
	c.applied([]holdall.VolumeID{id}, nil)
	c.putVolume(Volume{ID: id}, changes)
	if _, ok, _ := c.volume(id); ok {
		t.Error("kept a volume that changed while it was read")
	}
	_, _, diskChanges := c.diskRows()
	c.applied(nil, []byte{entryVersion, byte(tagSetDisk)})
	c.putDisks([]Disk{{}}, diskChanges)
	if _, ok, _ := c.diskRows(); ok {
		t.Error("kept disks that changed while they were read")
	}
}
