package volume_test

import (
	"context"
	"testing"

	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

// TestReadsThatFailDuringAStartHideNothing: while the extents are indexed the
// device fails its reads; when the volume is sealed it reads again. The footer
// must list what is committed, or scans and rebuilds would pass it over without
// a word.
func TestReadsThatFailDuringAStartHideNothing(t *testing.T) {
	for _, conventional := range []bool{false, true} {
		_, dev := memory(faultdisk.Config{Conventional: conventional})
		r := newRig(t, dev, volume.DiskConfig{})
		l := r.create(7, 0)
		for range 4 {
			l.mustAppend(5000)
		}
		zone := r.zone(l, 0)
		if err := r.disk.Close(); err != nil {
			t.Fatal(err)
		}
		dev = dev.Reopen()
		dev.Inject(faultdisk.Fault{Op: faultdisk.OpRead, Zone: zone, Count: -1})
		r.dev = dev
		r.open()
		l.epoch = 2
		l.fence(volume.ExtentCorrupt)
		dev.Heal()
		if err := r.disk.Seal(context.Background(), l.id, 3, l.last, l.end()); err != nil {
			t.Fatal(err)
		}
		l.check()
	}
}
