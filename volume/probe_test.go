package volume

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdall/holdall"
)

func TestProbeFindsZoneSizeOnEveryBackend(t *testing.T) {
	id := Identity{Cell: holdall.CellID{1}, Disk: holdall.DiskID{2}, ZoneSize: 1 << 20}
	dir := t.TempDir()
	if _, err := Probe(filepath.Join(dir, "absent")); !errors.Is(err, holdall.ErrDiskFailed) {
		t.Errorf("absent path: %v", err)
	}
	if _, err := Probe(dir); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("empty directory: %v", err)
	}
	dev, err := OpenDir(dir, DirConfig{ZoneSize: id.ZoneSize, Capacity: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if err := Format(dev, id); err != nil {
		t.Fatal(err)
	}
	if got, err := Probe(dir); got != id || err != nil {
		t.Errorf("directory: %+v, %v", got, err)
	}

	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Probe(image); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("empty image: %v", err)
	}
	raw, err := OpenBlock(image, BlockConfig{ZoneSize: id.ZoneSize})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := Format(raw, id); err != nil {
		t.Fatal(err)
	}
	if got, err := Probe(image); got != id || err != nil {
		t.Errorf("image: %+v, %v", got, err)
	}
}
