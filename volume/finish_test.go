package volume_test

import (
	"context"
	"errors"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

// TestSealGoesOnAfterItsZoneCouldNotBeFinished: the footer was there, the call
// that closes the zone failed. After a readmission the next Seal must not write
// where the footer lies, which the device refuses, and which would fail the disk
// again each time.
func TestSealGoesOnAfterItsZoneCouldNotBeFinished(t *testing.T) {
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	l.mustAppend(5000)
	dev.Inject(faultdisk.Fault{Op: faultdisk.OpFinish, Zone: faultdisk.AnyZone})
	ctx := context.Background()
	if err := r.disk.Seal(ctx, l.id, 2, l.last, l.end()); !errors.Is(err, holdall.ErrDiskFailed) {
		t.Fatalf("seal whose zone cannot be finished: %v, want ErrDiskFailed", err)
	}
	if _, err := r.disk.Readmit(ctx); err != nil {
		t.Fatalf("readmit: %v", err)
	}
	if err := r.disk.Seal(ctx, l.id, 2, l.last, l.end()); err != nil {
		t.Fatalf("seal after the readmission: %v", err)
	}
	l.check()
	if s := r.disk.Status(); s.State != holdall.DiskActive {
		t.Fatalf("status %+v", s)
	}
}
