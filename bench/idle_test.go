package bench

import (
	"errors"
	"os"
	"testing"

	"github.com/holdall/holdall"
)

func TestIdleFillsDisksAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	r, err := Idle(t.Context(), IdleConfig{DiskSize: 256 << 20, ZoneSize: 1 << 20, Disks: 2, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if r.Zones != 256 || r.Extents != 128 || r.Disks != 2 {
		t.Errorf("%+v", r)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := Idle(t.Context(), IdleConfig{DiskSize: 1 << 20, ZoneSize: 1 << 20, Dir: dir}); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("a disk of one zone: %v", err)
	}
}
