package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/holdall/holdall"
	"golang.org/x/sys/unix"
)

// DirConfig says how a directory is used as a disk. The zero DirConfig is what
// production uses.
type DirConfig struct {
	ZoneSize int64        // bytes a zone; 0 = DefaultZoneSize
	Capacity int64        // bytes that the disk may take; 0 = the size of its filesystem
	MaxOpen  int          // the most part-written zones; 0 = no limit, as a directory has none of its own
	MaxFiles int          // the most zone files kept open; 0 = 64
	ReadOnly bool         // change nothing, and do not mind that nothing can be
	Logger   *slog.Logger // nil = slog.Default()
}

// Validate reports every fault of c. Its errors wrap ErrInvalid.
func (c DirConfig) Validate() error {
	return errors.Join(checkZoneSize(c.ZoneSize),
		atLeast("Capacity", c.Capacity, 0), atLeast("MaxOpen", int64(c.MaxOpen), 0), atLeast("MaxFiles", int64(c.MaxFiles), 0))
}

func checkZoneSize(n int64) error {
	if n < 0 || n%SectorSize != 0 {
		return fmt.Errorf("ZoneSize: %d, must be a multiple of %d: %w", n, SectorSize, holdall.ErrInvalid)
	}
	return nil
}

func atLeast(field string, n, least int64) error {
	if n < least {
		return fmt.Errorf("%s: %d, must be at least %d: %w", field, n, least, holdall.ErrInvalid)
	}
	return nil
}

// minZones is the fewest zones that make a disk: two for the superblock log,
// one to write and one to spare.
const minZones = 4

// DirDevice is a directory whose files are zones, one a zone, named zone-000000
// and on. The length of a file is the zone's write pointer, so the filesystem
// remembers pointers, resets and finished zones:
//
//   - An empty zone has no file, or an empty one. The first append makes the
//     file, reserves the zone's space (so that a full filesystem shows before
//     anything is written) and syncs the directory.
//   - Zones 0 and 1 hold the superblock log, which stays short. As much as it
//     may grow to is reserved in both from the first append to zone 0 on, and
//     again at each reset: to free a zone takes an entry in that log, which a
//     filesystem that others filled must still have room for.
//   - A finished zone's file has the length of a zone. What was not written is
//     a hole in it and takes no space.
//   - A reset truncates the file to nothing and syncs it. It does not unlink
//     the file: the name stays durable, and zone 0's file, by which Check knows
//     the disk, stays the same one. A crash leaves the old length or none, and
//     the reset is then done again by whoever had decided it.
//
// Its methods are those of Device.
type DirDevice struct {
	path  string // absolute
	files *zoneFiles
	book  *zoneBook
	dir   *os.File // holds the lock that keeps other processes away
	log   *slog.Logger

	mu       sync.Mutex   // guards all below
	identity *unix.Stat_t // of zone 0's file; nil until there is one
	noRoom   bool         // fallocate is not supported here
	root     unix.Stat_t  // of the directory; never changes
	closing  sync.Once
}

// OpenDir opens the directory path as a disk for this process alone. It makes
// nothing: a disk whose directory is missing must be reported, not replaced by
// an empty one. Errors wrap ErrInvalid (cannot be a disk), ErrDiskFailed
// (missing, or not to be written) or ErrRefused (in use by another process).
func OpenDir(path string, cfg DirConfig) (*DirDevice, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.ZoneSize == 0 {
		cfg.ZoneSize = DefaultZoneSize
	}
	if cfg.MaxFiles == 0 {
		cfg.MaxFiles = 64
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	path, err := filepath.Abs(path) // a later chdir must not change what Check looks at
	if err != nil {
		return nil, fmt.Errorf("disk %s: %v: %w", path, err, holdall.ErrInvalid)
	}
	dir, err := lockDir(path, cfg.ReadOnly)
	if err != nil {
		return nil, err
	}
	d := &DirDevice{path: path, dir: dir, log: cfg.Logger}
	d.files = newZoneFiles(path, int(dir.Fd()), cfg)
	zones, err := d.countZones(cfg)
	if err == nil {
		d.book = newZoneBook(path, Geometry{ZoneSize: cfg.ZoneSize, Zones: zones, MaxOpen: cfg.MaxOpen})
		err = d.start()
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return d, nil
}

// lockDir opens the directory and takes its lock, or says what to do.
func lockDir(path string, readOnly bool) (*os.File, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("disk %s: there is no such directory; mount it or put it back, or make a new, empty one and add it as a new disk: %w", path, holdall.ErrDiskFailed)
	case err != nil:
		return nil, fmt.Errorf("disk %s: cannot be looked at: %v: %w", path, err, holdall.ErrDiskFailed)
	case !st.IsDir():
		return nil, fmt.Errorf("disk %s: is not a directory; a regular file or block device is opened as an image: %w", path, holdall.ErrInvalid)
	}
	if !readOnly {
		if err := again(func() error { return unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK|unix.X_OK, unix.AT_EACCESS) }); err != nil {
			return nil, fmt.Errorf("disk %s: this user (uid %d) cannot make files there: %v; change its owner or mode, or remount it read-write: %w", path, os.Geteuid(), err, holdall.ErrDiskFailed)
		}
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("disk %s: cannot be opened by this user (uid %d): %v: %w", path, os.Geteuid(), err, holdall.ErrDiskFailed)
	}
	if err := lockFile(dir, path, readOnly); err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// lockFile keeps other processes from opening the same disk; readers share it.
func lockFile(f *os.File, path string, shared bool) error {
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	err := again(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
	if err == unix.EWOULDBLOCK {
		return fmt.Errorf("disk %s: is in use by another process; stop it, or name another disk: %w", path, holdall.ErrRefused)
	}
	if err != nil {
		return fmt.Errorf("disk %s: cannot be locked against other processes: %v: %w", path, err, holdall.ErrDiskFailed)
	}
	return nil
}

// countZones returns how many zones the directory has: what its capacity holds,
// but never fewer than are there already.
func (d *DirDevice) countZones(cfg DirConfig) (int, error) {
	capacity := cfg.Capacity
	if capacity == 0 {
		var st unix.Statfs_t
		if err := again(func() error { return unix.Fstatfs(int(d.dir.Fd()), &st) }); err != nil {
			return 0, fmt.Errorf("disk %s: size of its filesystem: %v: %w", d.path, err, holdall.ErrDiskFailed)
		}
		capacity = int64(st.Blocks) * st.Bsize
	}
	zones := int(min(capacity/cfg.ZoneSize, 1<<30))
	if zones < minZones {
		return 0, fmt.Errorf("disk %s: %d bytes are %d zones of %d bytes, want at least %d; give it more room or make zones smaller: %w",
			d.path, capacity, zones, cfg.ZoneSize, minZones, holdall.ErrInvalid)
	}
	names, err := d.dir.Readdirnames(-1)
	if err != nil {
		return 0, fmt.Errorf("disk %s: cannot be listed: %v: %w", d.path, err, holdall.ErrDiskFailed)
	}
	for _, name := range names {
		n, ok := strings.CutPrefix(name, "zone-")
		zone, err := strconv.Atoi(n)
		if ok && err == nil && zoneFileName(zone) == name {
			zones = max(zones, zone+1)
		}
	}
	return zones, nil
}

// start learns who the disk is, and which zones are open if that is limited.
func (d *DirDevice) start() error {
	if err := again(func() error { return unix.Fstat(int(d.dir.Fd()), &d.root) }); err != nil {
		return fmt.Errorf("disk %s: %v: %w", d.path, err, holdall.ErrDiskFailed)
	}
	if _, err := d.load(0); err != nil {
		return err
	}
	for zone := 1; d.book.maxOpen > 0 && zone < d.book.zones; zone++ {
		if _, err := d.load(zone); err != nil {
			return err
		}
	}
	return nil
}

// load returns the write pointer of zone: the length of its file, in whole
// sectors, since a crash may leave a part of one.
func (d *DirDevice) load(zone int) (int64, error) {
	if err := d.book.checkZone(zone); err != nil {
		return 0, err
	}
	if off, known := d.book.pointer(zone); known {
		return off, nil
	}
	var st unix.Stat_t
	err := again(func() error {
		return unix.Fstatat(int(d.dir.Fd()), zoneFileName(zone), &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	switch {
	case err == unix.ENOENT:
		// No file is an empty zone, unless the whole disk is gone.
		if err := d.Check(); err != nil {
			return 0, err
		}
	case err != nil:
		return 0, d.book.fail(zone, holdall.ErrDiskFailed, "length of its file: %v", err)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return 0, d.book.fail(zone, holdall.ErrDiskFailed, "%s is not a regular file", zoneFileName(zone))
	case zone == 0:
		d.mu.Lock()
		d.identity = &st
		d.mu.Unlock()
	}
	// A longer file is that of a disk with larger zones, which its superblock
	// will say.
	off := min((st.Size+SectorSize-1)/SectorSize*SectorSize, d.book.zoneSize)
	return d.book.first(zone, off), nil
}

// Geometry implements Device. Available is what the filesystem has room for,
// beside what the open zones may still take where it cannot reserve that. If it
// does not tell, writes will.
func (d *DirDevice) Geometry() Geometry {
	g := Geometry{ZoneSize: d.book.zoneSize, Zones: d.book.zones, MaxOpen: d.book.maxOpen, Available: d.book.zones}
	var st unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(int(d.dir.Fd()), &st) }); err == nil {
		room := int64(st.Bavail) * st.Bsize
		d.mu.Lock()
		if d.noRoom {
			room -= d.book.unwritten()
		}
		d.mu.Unlock()
		g.Available = int(min(int64(g.Zones), max(0, room)/g.ZoneSize))
	}
	return g
}

// WritePointer implements Device.
func (d *DirDevice) WritePointer(zone int) (int64, bool) {
	off, err := d.load(zone)
	return off, err == nil
}

// SetPointer implements Device. A directory knows its pointers.
func (d *DirDevice) SetPointer(zone int, off int64) error {
	if _, err := d.load(zone); err != nil {
		return err
	}
	return d.book.learn(zone, off)
}

// Check implements Device: the path must still lead to the same zone 0, and to
// the same directory before there is one.
func (d *DirDevice) Check() error {
	d.mu.Lock()
	identity := d.identity
	d.mu.Unlock()
	var err error
	if identity != nil {
		err = sameFile(d.path+"/"+zoneFileName(0), identity)
	} else {
		err = sameFile(d.path, &d.root)
	}
	if err != nil {
		return fmt.Errorf("disk %s: is gone: %v; put it back or mount it: %w", d.path, err, holdall.ErrDiskFailed)
	}
	return nil
}

// Close implements Device. It makes nothing durable.
func (d *DirDevice) Close() error {
	var err error
	d.closing.Do(func() {
		d.files.close()
		err = d.dir.Close()
	})
	return err
}
