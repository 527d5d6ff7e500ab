package volume_test

import (
	"context"
	"errors"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/volume"
)

// TestRoomIsWhatTheDeviceHas: zones that nobody owns are not room where others
// fill the same filesystem. A disk says so before a write meets it, and what it
// refuses costs nothing: the extent that could not grow takes what still fits,
// and its footer.
func TestRoomIsWhatTheDeviceHas(t *testing.T) {
	ctx := context.Background()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			_, dev := memory(b.cfg)
			r := newRig(t, dev, volume.DiskConfig{ReserveZones: 4})
			free := func(want int) {
				t.Helper()
				if got := r.disk.Status().FreeZones; got != want {
					t.Fatalf("%d zones are free, want %d", got, want)
				}
			}
			free(62)
			dev.SetRoom(10)
			free(10)
			l := r.create(7, 0)
			free(9) // it will write the one it was given
			l.mustAppend(900_000)
			free(9)
			g := volume.Grant{Disk: diskID, Extent: holdall.ExtentID{Volume: 8, Created: 1}, Scheme: scheme, Limit: extentLimit}
			if err := r.disk.CreateExtent(ctx, g); !errors.Is(err, holdall.ErrDiskFull) {
				t.Fatalf("4 zones more, with room for 9, 3 of them promised and 4 in reserve: %v, want ErrDiskFull", err)
			}
			dev.SetRoom(0)
			free(0)
			if err := l.append(900_000); !errors.Is(err, holdall.ErrDiskFull) {
				t.Fatalf("growth without room: %v, want ErrDiskFull", err)
			}
			l.mustAppend(5000)
			if err := r.disk.Seal(ctx, l.id, 2, l.last, l.end()); err != nil {
				t.Fatalf("seal: %v", err)
			}
			l.check()
			dev.SetRoom(-1)
			free(61)
			if err := r.disk.CreateExtent(ctx, g); err != nil {
				t.Fatalf("with room again: %v", err)
			}
		})
	}
}

// TestDirectoryHasTheRoomOfItsFilesystem: a directory that could have more zones
// than its filesystem has room for offers only those.
func TestDirectoryHasTheRoomOfItsFilesystem(t *testing.T) {
	dir := t.TempDir()
	dev := dirDisk(t, dir, volume.DirConfig{ZoneSize: 64 << 20, Capacity: 1 << 46})
	must(t, volume.Format(dev, volume.Identity{Cell: cell, Disk: diskID}))
	d, err := volume.OpenDisk(t.Context(), dev, volume.DiskConfig{Logger: quiet})
	must(t, err)
	defer d.Close()
	if s, g := d.Status(), dev.Geometry(); s.FreeZones >= s.TotalZones-2 || s.FreeZones > g.Available+g.Available/10 {
		t.Fatalf("%d of %d zones are free, the filesystem has room for %d", s.FreeZones, s.TotalZones, g.Available)
	}
}
