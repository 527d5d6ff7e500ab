package node

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/config"
	"github.com/holdall/holdall/volume"
)

// diskAt formats an empty directory as a disk.
func diskAt(t *testing.T, id holdall.DiskID) config.Disk {
	t.Helper()
	const zone = 64 << 10
	path := t.TempDir()
	dev, err := volume.OpenDir(path, volume.DirConfig{ZoneSize: zone})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(volume.Format(dev, volume.Identity{Cell: holdall.CellID{1}, Disk: id, ZoneSize: zone}), dev.Close()); err != nil {
		t.Fatal(err)
	}
	return config.Disk{Path: path}
}

// A disk that shows the id of another, and one that is not there, are not left
// out of a rebuild unless that is said.
func TestRebuildNeedsEveryDiskOnce(t *testing.T) {
	good, twin, other := diskAt(t, holdall.DiskID{1}), diskAt(t, holdall.DiskID{2}), diskAt(t, holdall.DiskID{2})
	absent := config.Disk{Path: filepath.Join(t.TempDir(), "absent")}
	for _, c := range []struct {
		what  string
		disks []config.Disk
		named []string
	}{
		{"a double", []config.Disk{good, twin, other}, []string{twin.Path, other.Path}},
		{"an absent disk", []config.Disk{good, absent}, []string{absent.Path}},
	} {
		cfg, err := config.Load(config.Sources{})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Data, cfg.Disks, cfg.Memory = t.TempDir(), c.disks, 256<<20
		o := RebuildOptions{Logger: slog.New(slog.DiscardHandler)}
		_, _, err = RebuildMetadata(t.Context(), cfg, o)
		if !errors.Is(err, holdall.ErrRefused) {
			t.Fatalf("%s: %v, want a refusal", c.what, err)
		}
		o.WithoutMissing = true
		report, _, rerr := RebuildMetadata(t.Context(), cfg, o)
		if rerr != nil || report.Disks != 1 {
			t.Errorf("%s, gone on without: %+v, %v", c.what, report, rerr)
		}
		for _, path := range c.named {
			if !strings.Contains(err.Error(), path) || !strings.Contains(strings.Join(report.Problems, "\n"), path) {
				t.Errorf("%s: %s is not named by %v, or not by %q", c.what, path, err, report.Problems)
			}
		}
	}
}
