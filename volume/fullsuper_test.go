package volume_test

import (
	"context"
	"errors"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

// TestFullDeviceDoesNotEndTheSuperblockLog: a filesystem that others fill has no
// room for an entry, nor for a checkpoint in the other zone. What needs one is
// refused while that lasts; the disk has not failed, and goes on when there is
// room again.
func TestFullDeviceDoesNotEndTheSuperblockLog(t *testing.T) {
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	l.mustAppend(5000)
	for zone := range 2 {
		dev.Inject(faultdisk.Fault{Op: faultdisk.OpAppend, Zone: zone, Count: -1, Err: holdall.ErrDiskFull})
	}
	g := volume.Grant{Disk: diskID, Extent: holdall.ExtentID{Volume: 8, Created: 1}, Scheme: scheme, Limit: extentLimit}
	for range 4 {
		if err := r.disk.CreateExtent(context.Background(), g); !errors.Is(err, holdall.ErrDiskFull) {
			t.Fatalf("an extent without room for its entry: %v, want ErrDiskFull", err)
		}
	}
	dev.Heal()
	other := r.create(9, 0)
	other.mustAppend(5000)
	if s := r.disk.Status(); s.State != holdall.DiskActive {
		t.Fatalf("status %+v", s)
	}
	if err := r.disk.Close(); err != nil {
		t.Fatal(err)
	}
	r.dev = dev.Reopen()
	r.open()
	l.check()
	other.check()
}
