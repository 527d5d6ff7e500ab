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
