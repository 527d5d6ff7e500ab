package volume_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/volume"
	"github.com/holdall/holdall/volume/devicetest"
)

// image makes a file of n bytes with old bytes in it.
func image(t *testing.T, dir string, n int64) string {
	t.Helper()
	path := filepath.Join(dir, "image")
	old := []byte(strings.Repeat("old bytes ", 1000))
	must(t, os.WriteFile(path, old, 0o644), os.Truncate(path, n))
	return path
}

func blockMedium(path string, geo volume.Geometry, remove func() error) devicetest.Medium {
	cfg := volume.BlockConfig{ZoneSize: geo.ZoneSize, MaxOpen: geo.MaxOpen}
	return devicetest.Medium{
		Open:    func() (volume.Device, error) { return volume.OpenBlock(path, cfg) },
		Remove:  remove,
		Forgets: true,
	}
}

func TestImageFileConforms(t *testing.T) {
	devicetest.Run(t, func(t *testing.T, geo volume.Geometry) devicetest.Medium {
		path := image(t, t.TempDir(), geo.ZoneSize*int64(geo.Zones)+4096)
		return blockMedium(path, geo, func() error { return os.Rename(path, path+"-away") })
	})
}

func TestImageFileConformsOnTmpfs(t *testing.T) {
	devicetest.Run(t, func(t *testing.T, geo volume.Geometry) devicetest.Medium {
		path := image(t, memDir(t), geo.ZoneSize*int64(geo.Zones))
		return blockMedium(path, geo, func() error { return os.Remove(path) })
	})
}

// TestBlockDeviceConforms runs on a loop device with sectors of 4 KiB, which
// refuses what a native disk with such sectors does.
func TestBlockDeviceConforms(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make loop devices")
	}
	dir := t.TempDir()
	const size = 16 * 64 << 10
	loop, err := exec.Command("losetup", "--find", "--show", "--direct-io=on", "-b", "4096", image(t, dir, size)).CombinedOutput()
	if err != nil {
		t.Skipf("no loop device: %v: %s", err, loop)
	}
	dev := strings.TrimSpace(string(loop))
	t.Cleanup(func() { exec.Command("losetup", "--detach", dev).Run() })
	n := 0
	devicetest.Run(t, func(t *testing.T, geo volume.Geometry) devicetest.Medium {
		n++
		link := filepath.Join(dir, fmt.Sprint("disk-by-id-", n))
		must(t, os.Symlink(dev, link))
		return blockMedium(link, geo, func() error { return os.Remove(link) })
	})
}

func TestBlockDeviceResetLeavesTheMediumAlone(t *testing.T) {
	path := image(t, t.TempDir(), 8<<20)
	dev := imageDisk(t, path, volume.BlockConfig{})
	must(t, dev.SetPointer(3, 0), dev.Append(3, 0, block(t, 8192, 7)), dev.Sync(3))
	before, err := os.ReadFile(path)
	must(t, err, dev.Reset(3), dev.Finish(3), dev.Reset(3), dev.Close())
	after, err := os.ReadFile(path)
	must(t, err)
	if string(before) != string(after) {
		t.Error("a reset wrote to the medium")
	}
}

func imageDisk(t *testing.T, path string, cfg volume.BlockConfig) *volume.BlockDevice {
	t.Helper()
	if cfg.ZoneSize == 0 {
		cfg.ZoneSize = 1 << 20
	}
	dev, err := volume.OpenBlock(path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func TestOpenBlockSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	path := image(t, dir, 8<<20)
	imageDisk(t, path, volume.BlockConfig{})
	small := image(t, t.TempDir(), 1<<20)
	tests := []struct {
		path string
		cfg  volume.BlockConfig
		kind error
		says string
	}{
		{dir + "/none", volume.BlockConfig{}, holdall.ErrDiskFailed, "no such file or device; plug it in"},
		{dir, volume.BlockConfig{}, holdall.ErrInvalid, "is a directory"},
		{"/dev/null", volume.BlockConfig{}, holdall.ErrInvalid, "neither a block device nor a regular file"},
		{path, volume.BlockConfig{}, holdall.ErrRefused, "in use by another process; stop it"},
		{small, volume.BlockConfig{}, holdall.ErrInvalid, "make it larger or zones smaller"},
		{small, volume.BlockConfig{ZoneSize: 1000, MaxOpen: -1}, holdall.ErrInvalid, "MaxOpen: -1"},
	}
	for _, tt := range tests {
		dev, err := volume.OpenBlock(tt.path, tt.cfg)
		if err == nil {
			dev.Close()
		}
		if !errors.Is(err, tt.kind) || !strings.Contains(fmt.Sprint(err), tt.says) {
			t.Errorf("OpenBlock(%s, %+v): %v, want %v that says %q", tt.path, tt.cfg, err, tt.kind, tt.says)
		}
	}
}

func TestImageFileReadOnlyWritesNothing(t *testing.T) {
	path := image(t, t.TempDir(), 8<<20)
	dev := imageDisk(t, path, volume.BlockConfig{ReadOnly: true})
	got := block(t, 4096, 0)
	must(t, dev.ReadAt(0, 0, got))
	if !strings.HasPrefix(string(got), "old bytes") {
		t.Errorf("reads as %q", got[:16])
	}
	must(t, dev.SetPointer(0, 0))
	for what, err := range map[string]error{"append": dev.Append(0, 0, got), "reset": dev.Reset(0), "finish": dev.Finish(0)} {
		if !errors.Is(err, holdall.ErrDiskFailed) {
			t.Errorf("%s on a disk opened for reading: %v, want ErrDiskFailed", what, err)
		}
	}
}
