package volume_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"errors"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/volume"
	"github.com/holdall/holdall/volume/devicetest"
	"golang.org/x/sys/unix"
)

func TestDirDeviceConforms(t *testing.T) {
	removals := map[string]func(dir string) error{
		"emptied": func(dir string) error {
			names, err := filepath.Glob(dir + "/*")
			for _, name := range names {
				err = errors.Join(err, os.Remove(name))
			}
			return err
		},
		"renamed":  func(dir string) error { return os.Rename(dir, dir+"-away") },
		"removed":  os.RemoveAll,
		"replaced": replaceDir,
	}
	for name, remove := range removals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			devicetest.Run(t, func(t *testing.T, geo volume.Geometry) devicetest.Medium {
				dir := filepath.Join(t.TempDir(), "disk")
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				cfg := volume.DirConfig{ZoneSize: geo.ZoneSize, Capacity: geo.ZoneSize * int64(geo.Zones), MaxOpen: geo.MaxOpen, MaxFiles: 2}
				return devicetest.Medium{
					Open:   func() (volume.Device, error) { return volume.OpenDir(dir, cfg) },
					Remove: func() error { return remove(dir) },
				}
			})
		})
	}
}

// replaceDir puts a copy in the place of dir, as a restored backup would.
func replaceDir(dir string) error {
	if err := os.Rename(dir, dir+"-away"); err != nil {
		return err
	}
	return os.CopyFS(dir, os.DirFS(dir+"-away"))
}

// memDir returns a directory on tmpfs, or skips.
func memDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdall-volume-")
	if err != nil {
		t.Skipf("no tmpfs to try: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestDirDeviceConformsOnTmpfs(t *testing.T) {
	devicetest.Run(t, func(t *testing.T, geo volume.Geometry) devicetest.Medium {
		dir := memDir(t)
		cfg := volume.DirConfig{ZoneSize: geo.ZoneSize, Capacity: geo.ZoneSize * int64(geo.Zones), MaxOpen: geo.MaxOpen}
		return devicetest.Medium{
			Open:   func() (volume.Device, error) { return volume.OpenDir(dir, cfg) },
			Remove: func() error { return os.RemoveAll(dir) },
		}
	})
}

// dirDisk opens dir with small zones.
func dirDisk(t *testing.T, dir string, cfg volume.DirConfig) *volume.DirDevice {
	t.Helper()
	if cfg.ZoneSize == 0 {
		cfg.ZoneSize = 1 << 20
	}
	if cfg.Capacity == 0 {
		cfg.Capacity = 256 << 20
	}
	dev, err := volume.OpenDir(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// block returns n aligned bytes of value v.
func block(t *testing.T, n int, v byte) []byte {
	t.Helper()
	b := buffer.NewPool(0).Take(n)
	t.Cleanup(b.Release)
	for i := range b.Bytes() {
		b.Bytes()[i] = v
	}
	return b.Bytes()
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// allocated returns the bytes that the file takes on its filesystem.
func allocated(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return st.Blocks * 512
}

func TestDirDeviceTakesSpaceByTheZoneAndReturnsIt(t *testing.T) {
	dir := t.TempDir()
	dev := dirDisk(t, dir, volume.DirConfig{})
	must(t, dev.Append(5, 0, block(t, 64<<10, 1)), dev.Sync(5))
	zone := filepath.Join(dir, "zone-000005")
	if n := allocated(t, zone); n != 1<<20 {
		t.Errorf("an open zone takes %d bytes, want all of its %d", n, 1<<20)
	}
	must(t, dev.Finish(5))
	if n := allocated(t, zone); n != 64<<10 {
		t.Errorf("a finished zone takes %d bytes, want the %d that were written", n, 64<<10)
	}
	must(t, dev.Reset(5))
	if n := allocated(t, zone); n != 0 {
		t.Errorf("a reset zone takes %d bytes, want none", n)
	}
}

// TestSuperblockHasItsSpaceFromTheStart: both zones of the superblock log keep
// what it may grow to, whatever else fills the filesystem.
func TestSuperblockHasItsSpaceFromTheStart(t *testing.T) {
	for _, x := range []struct{ zone, want int64 }{{1 << 20, 1 << 20}, {64 << 20, 8 << 20}} {
		dir := t.TempDir()
		dev := dirDisk(t, dir, volume.DirConfig{ZoneSize: x.zone, Capacity: 16 * x.zone})
		must(t, volume.Format(dev, volume.Identity{Cell: cell, Disk: diskID}))
		check := func(when string) {
			t.Helper()
			for _, name := range []string{"zone-000000", "zone-000001"} {
				if n := allocated(t, filepath.Join(dir, name)); n != x.want {
					t.Errorf("%s: %s takes %d bytes, want %d", when, name, n, x.want)
				}
			}
		}
		check("formatted")
		d, err := volume.OpenDisk(t.Context(), dev, volume.DiskConfig{Logger: quiet})
		must(t, err, d.Mount(1)) // the log moves
		check("mounted")
		must(t, d.Close())
	}
}

// TestFullFilesystemStillFrees: what others leave of a filesystem is nothing; the
// superblock log goes on in the space it has, moves, and an extent is freed.
func TestFullFilesystemStillFrees(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("no small filesystem to try: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mount, unix.MNT_DETACH) })
	dir := filepath.Join(mount, "disk")
	must(t, os.Mkdir(dir, 0o750))
	r := newRig(t, dirDisk(t, dir, volume.DirConfig{}), volume.DiskConfig{ReserveZones: 1})
	l := r.create(7, 0)
	l.mustAppend(5000)
	f, err := os.Create(filepath.Join(mount, "other"))
	must(t, err)
	for chunk := make([]byte, 4096); err == nil; {
		_, err = f.Write(chunk)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	for range 600 { // the log moves twice
		l.fence(volume.ExtentOpen)
	}
	if n := r.disk.Status().FreeZones; n != 0 {
		t.Errorf("%d zones are free on a full filesystem", n)
	}
	must(t, r.disk.Trash(t.Context(), l.id), r.disk.Free(t.Context(), l.id))
	if n := r.disk.Status().FreeZones; n != 1 {
		t.Errorf("%d zones are free, want the one that was freed", n)
	}
	must(t, f.Close(), r.disk.Close())
}

func TestDirDeviceRoundsATornTailUp(t *testing.T) {
	dir := t.TempDir()
	dev := dirDisk(t, dir, volume.DirConfig{})
	must(t, dev.Append(3, 0, block(t, 8192, 7)), dev.Sync(3), dev.Close())
	must(t, os.Truncate(filepath.Join(dir, "zone-000003"), 4096+100))

	dev = dirDisk(t, dir, volume.DirConfig{})
	if off, known := dev.WritePointer(3); off != 8192 || !known {
		t.Fatalf("pointer is %d (known: %v), want 8192", off, known)
	}
	got := block(t, 8192, 9)
	must(t, dev.ReadAt(3, 0, got))
	if got[4096+99] != 7 || got[4096+100] != 0 || got[8191] != 0 {
		t.Errorf("the tail reads as %v %v %v, want what was written, then zeros", got[4096+99], got[4096+100], got[8191])
	}
	must(t, dev.Append(3, 8192, block(t, 4096, 8)), dev.Sync(3), dev.ReadAt(3, 8192, got[:4096]))
	if got[0] != 8 {
		t.Errorf("what was appended after a torn tail reads as %d", got[0])
	}
}

func TestDirDeviceNoticesMissingZones(t *testing.T) {
	dir := t.TempDir()
	dev := dirDisk(t, dir, volume.DirConfig{MaxFiles: 1})
	must(t, dev.Append(0, 0, block(t, 4096, 7)), dev.Append(3, 0, block(t, 4096, 7)), dev.Append(4, 0, block(t, 8192, 7)), dev.Sync(0, 3, 4))
	must(t, dev.Append(3, 4096, block(t, 4096, 7)))
	must(t, os.Remove(filepath.Join(dir, "zone-000003")))
	if err := dev.Sync(3); !errors.Is(err, holdall.ErrDiskFailed) {
		t.Errorf("sync of a removed file: %v, want ErrDiskFailed", err)
	}
	if err := dev.Append(3, 8192, block(t, 4096, 7)); !errors.Is(err, holdall.ErrDiskFailed) {
		t.Errorf("append after a failed sync: %v, want ErrDiskFailed", err)
	}
	if err := dev.Sync(3); !errors.Is(err, holdall.ErrDiskFailed) {
		t.Errorf("second sync after a failed one: %v, want ErrDiskFailed", err)
	}
	must(t, os.Truncate(filepath.Join(dir, "zone-000004"), 4096))
	if err := dev.ReadAt(4, 0, block(t, 8192, 0)); !errors.Is(err, holdall.ErrCorrupt) {
		t.Errorf("read of a zone cut short: %v, want ErrCorrupt", err)
	}
	must(t, dev.Check()) // zone 0 is there

	// With the whole disk gone, a zone never looked at is not an empty one.
	must(t, os.RemoveAll(dir))
	if off, known := dev.WritePointer(100); known {
		t.Errorf("pointer of a zone of a removed disk is %d", off)
	}
	if err := dev.ReadAt(0, 0, block(t, 4096, 0)); !errors.Is(err, holdall.ErrDiskFailed) && err != nil {
		t.Errorf("read of a removed disk: %v, want the bytes or ErrDiskFailed", err)
	}
}

func TestDirDeviceBoundsItsFiles(t *testing.T) {
	dir := t.TempDir()
	dev := dirDisk(t, dir, volume.DirConfig{MaxFiles: 8})
	before := openFiles(t)
	for zone := range 64 {
		must(t, dev.Append(zone, 0, block(t, 4096, byte(zone))), dev.Sync(zone))
	}
	got := block(t, 4096, 0)
	for zone := range 64 {
		must(t, dev.ReadAt(zone, 0, got))
		if got[0] != byte(zone) {
			t.Fatalf("zone %d reads as %d", zone, got[0])
		}
	}
	if n := openFiles(t) - before; n > 8 {
		t.Errorf("%d files are open, want at most 8", n)
	}
	must(t, dev.Close())
	if n := openFiles(t) - before; n > 0 {
		t.Errorf("%d files are open after Close", n)
	}
	if err := dev.ReadAt(5, 0, got); err == nil {
		t.Error("a closed disk was read")
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	n := 0
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.Contains(to, "/zone-") && strings.Contains(to, t.Name()) {
			n++
		}
	}
	return n
}

func TestOpenDirSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o644))
	used := filepath.Join(dir, "used")
	must(t, os.Mkdir(used, 0o755))
	dirDisk(t, used, volume.DirConfig{})
	tests := []struct {
		path string
		cfg  volume.DirConfig
		kind error
		says string
	}{
		{dir + "/none", volume.DirConfig{}, holdall.ErrDiskFailed, "no such directory; mount it"},
		{file, volume.DirConfig{}, holdall.ErrInvalid, "is not a directory"},
		{file + "/under", volume.DirConfig{}, holdall.ErrDiskFailed, "not a directory"},
		{used, volume.DirConfig{}, holdall.ErrRefused, "in use by another process; stop it"},
		{dir, volume.DirConfig{ZoneSize: 1 << 20, Capacity: 1 << 20}, holdall.ErrInvalid, "make zones smaller"},
		{dir, volume.DirConfig{ZoneSize: 1000, Capacity: -1}, holdall.ErrInvalid, "Capacity: -1"},
	}
	for _, tt := range tests {
		dev, err := volume.OpenDir(tt.path, tt.cfg)
		if err == nil {
			dev.Close()
		}
		if !errors.Is(err, tt.kind) || !strings.Contains(fmt.Sprint(err), tt.says) {
			t.Errorf("OpenDir(%s, %+v): %v, want %v that says %q", tt.path, tt.cfg, err, tt.kind, tt.says)
		}
	}
	if _, err := os.Stat(dir + "/none"); err == nil {
		t.Error("OpenDir made a directory")
	}
}

func TestOpenDirRefusesWhatItCannotWrite(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o555))
	if os.Geteuid() == 0 { // who may write anywhere but on a read-only filesystem
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY, "size=4m"); err != nil {
			t.Skipf("cannot mount a read-only filesystem: %v", err)
		}
		defer unix.Unmount(dir, unix.MNT_DETACH)
	}
	_, err := volume.OpenDir(dir, volume.DirConfig{ZoneSize: 1 << 20})
	if !errors.Is(err, holdall.ErrDiskFailed) || !strings.Contains(err.Error(), "change its owner or mode, or remount it") {
		t.Errorf("OpenDir of a directory that cannot be written: %v, want ErrDiskFailed that says what to do", err)
	}
	dev, err := volume.OpenDir(dir, volume.DirConfig{ZoneSize: 1 << 20, ReadOnly: true})
	must(t, err)
	must(t, dev.Close())
}

func TestDirDeviceReadOnlyWritesNothing(t *testing.T) {
	dir := t.TempDir()
	dev := dirDisk(t, dir, volume.DirConfig{})
	must(t, dev.Append(3, 0, block(t, 4096, 7)), dev.Sync(3), dev.Close())
	dev = dirDisk(t, dir, volume.DirConfig{ReadOnly: true})
	got := block(t, 4096, 0)
	must(t, dev.ReadAt(3, 0, got))
	if got[0] != 7 {
		t.Errorf("reads as %d, want 7", got[0])
	}
	for what, err := range map[string]error{
		"append": dev.Append(3, 4096, got), "first append": dev.Append(4, 0, got), "reset": dev.Reset(3), "finish": dev.Finish(3),
	} {
		if !errors.Is(err, holdall.ErrDiskFailed) {
			t.Errorf("%s on a disk opened for reading: %v, want ErrDiskFailed", what, err)
		}
	}
}

// TestDirDeviceFullBeforeItWrites runs on a filesystem of 4 MiB.
func TestDirDeviceFullBeforeItWrites(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("cannot mount a small filesystem: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	dev := dirDisk(t, dir, volume.DirConfig{})
	must(t, dev.Append(0, 0, block(t, 4096, 1)), dev.Sync(0), dev.Check())
	var err error
	zone := 2
	for ; err == nil && zone < 10; zone++ {
		err = dev.Append(zone, 0, block(t, 4096, 1))
	}
	zone--
	if !errors.Is(err, holdall.ErrDiskFull) || zone < 5 {
		t.Fatalf("zone %d of 1 MiB on 4 MiB: %v, want ErrDiskFull", zone, err)
	}
	if off, known := dev.WritePointer(zone); off != 0 || !known {
		t.Errorf("pointer is %d (known: %v) after ErrDiskFull, want 0", off, known)
	}
	must(t, dev.Append(2, 4096, block(t, 1<<20-4096, 1)), dev.Sync(2)) // its space was reserved
	must(t, dev.Reset(2), dev.Append(zone, 0, block(t, 4096, 1)))
	if n := dev.Geometry().Available; n != 0 {
		t.Errorf("room for %d zones, want none", n)
	}

	// Unmounted under open handles: what was opened is there no more.
	must(t, dev.Check(), unix.Unmount(dir, unix.MNT_DETACH))
	if err := dev.Check(); !errors.Is(err, holdall.ErrDiskFailed) {
		t.Errorf("check after unmount: %v, want ErrDiskFailed", err)
	}
}
