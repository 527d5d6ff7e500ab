package volume_test

import (
	"context"
	"errors"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

// TestExtentIsNotMadeAfterItsEnd: a creation that arrives after the seal of its
// volume, or after its extent was freed, is refused: it would be an orphan.
func TestExtentIsNotMadeAfterItsEnd(t *testing.T) {
	ctx := context.Background()
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	for name, end := range map[string]func(id holdall.ExtentID) error{
		"seal": func(id holdall.ExtentID) error { return r.disk.Seal(ctx, id, 2, 0, 0) },
		"free": func(id holdall.ExtentID) error { return errors.Join(r.disk.Free(ctx, id), holdall.ErrNotFound) },
	} {
		id := holdall.ExtentID{Volume: holdall.VolumeID(7 + len(name) + int(name[0])), Created: 1}
		if err := end(id); !errors.Is(err, holdall.ErrNotFound) {
			t.Fatalf("%s of an extent that is not here: %v", name, err)
		}
		g := volume.Grant{Disk: diskID, Extent: id, Scheme: scheme, Limit: extentLimit}
		if err := r.disk.CreateExtent(ctx, g); !errors.Is(err, holdall.ErrStale) {
			t.Fatalf("created after its %s: %v, want ErrStale", name, err)
		}
		g.Extent.Created++ // another member in its place is another extent
		if err := r.disk.CreateExtent(ctx, g); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSealWaitsForACreationUnderWay: a seal that arrives while the extent is
// being made finds it.
func TestSealWaitsForACreationUnderWay(t *testing.T) {
	ctx := context.Background()
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	id := holdall.ExtentID{Volume: 7, Created: 1}
	held := make(chan struct{})
	stall := dev.Inject(faultdisk.Fault{Op: faultdisk.OpSync, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: held, Count: 1})
	created, sealed := make(chan error, 1), make(chan error, 1)
	go func() {
		created <- r.disk.CreateExtent(ctx, volume.Grant{Disk: diskID, Extent: id, Scheme: scheme, Limit: extentLimit})
	}()
	until(t, func() bool { return stall.Hits() > 0 })
	go func() { sealed <- r.disk.Seal(ctx, id, 2, 0, 0) }()
	until(t, func() bool { return r.disk.Queued() > 0 })
	close(held)
	if err := errors.Join(<-created, <-sealed); err != nil {
		t.Fatal(err)
	}
	all, err := r.disk.Extents(ctx)
	if err != nil || len(all) != 1 || all[0].State != volume.ExtentSealed {
		t.Fatalf("%+v, %v: want one extent, sealed", all, err)
	}
}
