package volume_test

import (
	"context"
	"errors"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

// TestReadmitReadsBackAlsoWhatOnlyMetadataHasAsFailed: a failing disk cannot
// always note its failure on itself. After a restart it is opened, but not
// mounted, and a readmission must read its records back like any other.
func TestReadmitReadsBackAlsoWhatOnlyMetadataHasAsFailed(t *testing.T) {
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	l.mustAppend(5000)
	l.mustAppend(5000)
	l.mustAppend(5000)
	zone := r.zone(l, 0)
	if err := r.disk.Close(); err != nil {
		t.Fatal(err)
	}
	dev = dev.Reopen()
	dev.Rot(zone, 4096+4096+10, 3) // in the payload of the first record
	d, err := volume.OpenDisk(context.Background(), dev, r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if sum, err := d.Readmit(context.Background()); !errors.Is(err, holdall.ErrRefused) || len(sum.Faults) != 1 {
		t.Fatalf("%+v, %v; want the bad record, and ErrRefused", sum, err)
	}
}

// TestZonesOfAResetThatFailedAreGivenAgain: a disk fails while the zones of a
// freed extent are reset. Readmitted and mounted, it has all of them again.
func TestZonesOfAResetThatFailedAreGivenAgain(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			ctx := context.Background()
			_, dev := memory(b.cfg)
			r := newRig(t, dev, volume.DiskConfig{})
			before := r.disk.Status().FreeZones
			l := r.create(7, 0)
			for range 6 {
				l.mustAppend(200_000)
			}
			dev.Inject(faultdisk.Fault{Op: faultdisk.OpReset, Zone: r.zone(l, 0), Count: 1})
			if err := errors.Join(r.disk.Trash(ctx, l.id), r.disk.Free(ctx, l.id)); !errors.Is(err, holdall.ErrDiskFailed) {
				t.Fatalf("a reset that fails: %v", err)
			}
			if _, err := r.disk.Readmit(ctx); err != nil {
				t.Fatal(err)
			}
			if err := r.disk.Mount(r.disk.Status().Incarnation + 1); err != nil {
				t.Fatal(err)
			}
			until(t, func() bool { return r.disk.Status().FreeZones == before })
			other := r.create(8, 0)
			other.mustAppend(5000)
			other.check()
		})
	}
}
