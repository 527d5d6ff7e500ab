package volume

import (
	"sync"
	"testing"

	"github.com/holdall/holdall/internal/buffer"
)

// TestTwoMayLookAtAZoneFirst: what the slower of two saw of a zone's file does
// not undo, nor fail, what the faster has done since.
func TestTwoMayLookAtAZoneFirst(t *testing.T) {
	b := newZoneBook("disk", Geometry{ZoneSize: 1 << 20, Zones: 8})
	if off := b.first(3, 0); off != 0 {
		t.Fatalf("pointer %d of an empty zone", off)
	}
	if err := b.begin(3, 0, 8192); err != nil {
		t.Fatal(err)
	}
	b.end(3, 8192)
	if off := b.first(3, 0); off != 8192 {
		t.Fatalf("pointer %d after a late look, want 8192", off)
	}
	dev, err := OpenDir(t.TempDir(), DirConfig{ZoneSize: 1 << 20, Capacity: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	buf := buffer.NewPool(0).Take(SectorSize)
	defer buf.Release()
	clear(buf.Bytes())
	for zone := range 64 {
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, known := dev.WritePointer(zone); !known {
				t.Errorf("zone %d: its pointer is not known while it is first written", zone)
			}
		})
		if err := dev.Append(zone, 0, buf.Bytes()); err != nil {
			t.Errorf("zone %d: %v", zone, err)
		}
		wg.Wait()
	}
}
