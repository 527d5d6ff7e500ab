package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"unsafe"

	"github.com/holdall/holdall"
	"golang.org/x/sys/unix"
)

// BlockConfig says how a block device or an image file is used as a disk. The
// zero BlockConfig is what production uses.
type BlockConfig struct {
	ZoneSize int64        // bytes a zone; 0 = DefaultZoneSize
	MaxOpen  int          // the most part-written zones; 0 = no limit, as a conventional disk has none
	ReadOnly bool         // change nothing, and do not mind that nothing can be
	Logger   *slog.Logger // nil = slog.Default()
}

// Validate reports every fault of c. Its errors wrap ErrInvalid.
func (c BlockConfig) Validate() error {
	return errors.Join(checkZoneSize(c.ZoneSize), atLeast("MaxOpen", int64(c.MaxOpen), 0))
}

// BlockDevice is a raw block device, or a file of fixed length, cut into ranges
// that serve as zones. Such a medium takes writes anywhere and remembers no
// write pointers, so the device enforces them while it is open and leaves it to
// the format above to find them again:
//
//   - After opening, every pointer is unknown: all of a zone may be read, none
//     appended to, until SetPointer or Reset.
//   - Reset and Finish are bookkeeping and write nothing. Bytes from before a
//     reset stay on the medium, below and above the new pointer; the zone's
//     generation, raised in the superblock log before the reset and carried by
//     every zone header and record, tells them from new ones. Nothing is
//     discarded or punched out: no write happens that is not an append.
//   - Sync is one fdatasync of the whole medium. If it fails, nothing is known
//     of any zone with bytes not yet synced, so all of them are closed to
//     appends.
//
// Its methods are those of Device.
type BlockDevice struct {
	path    string // absolute
	file    *os.File
	book    *zoneBook
	self    unix.Stat_t // of file
	ro      bool
	closing sync.Once

	// syncTurn lets one Sync work at a time: the kernel tells only one of two
	// callers that it lost a write of theirs.
	syncTurn chan struct{}
}

// OpenBlock opens a block device or an image file as a disk for this process
// alone. Errors wrap ErrInvalid (cannot be a disk), ErrDiskFailed (missing, or
// not to be written) or ErrRefused (mounted, or in use by another process).
func OpenBlock(path string, cfg BlockConfig) (*BlockDevice, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.ZoneSize == 0 {
		cfg.ZoneSize = DefaultZoneSize
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	path, err := filepath.Abs(path) // a later chdir must not change what Check looks at
	if err != nil {
		return nil, fmt.Errorf("disk %s: %v: %w", path, err, holdall.ErrInvalid)
	}
	file, err := openBlock(path, cfg)
	if err != nil {
		return nil, err
	}
	d := &BlockDevice{path: path, file: file, ro: cfg.ReadOnly, syncTurn: make(chan struct{}, 1)}
	if err := d.start(cfg); err != nil {
		file.Close()
		return nil, err
	}
	return d, nil
}

// openBlock opens path around the page cache where that can be.
func openBlock(path string, cfg BlockConfig) (*os.File, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("disk %s: there is no such file or device; plug it in or put it back, or add another as a new disk: %w", path, holdall.ErrDiskFailed)
	case err != nil:
		return nil, fmt.Errorf("disk %s: cannot be looked at: %v: %w", path, err, holdall.ErrDiskFailed)
	case st.IsDir():
		return nil, fmt.Errorf("disk %s: is a directory, want a block device or a regular file: %w", path, holdall.ErrInvalid)
	case !st.Mode().IsRegular() && st.Mode()&(os.ModeDevice|os.ModeCharDevice) != os.ModeDevice:
		return nil, fmt.Errorf("disk %s: is neither a block device nor a regular file: %w", path, holdall.ErrInvalid)
	}
	flags := os.O_RDWR
	if cfg.ReadOnly {
		flags = os.O_RDONLY
	} else if !st.Mode().IsRegular() {
		flags |= unix.O_EXCL // not while it is mounted, part of an array, or open like this elsewhere
	}
	file, err := os.OpenFile(path, flags|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		cfg.Logger.Warn("disk goes through the page cache", "disk", path, "reason", "its filesystem refuses O_DIRECT: "+err.Error())
		file, err = os.OpenFile(path, flags, 0)
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("disk %s: the kernel says that it is in use; is it mounted, or part of an array: %w", path, holdall.ErrRefused)
	case err != nil:
		return nil, fmt.Errorf("disk %s: cannot be opened by this user (uid %d): %v; change its owner or mode: %w", path, os.Geteuid(), err, holdall.ErrDiskFailed)
	}
	if err := lockFile(file, path, cfg.ReadOnly); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// start measures the medium.
func (d *BlockDevice) start(cfg BlockConfig) error {
	if err := again(func() error { return unix.Fstat(int(d.file.Fd()), &d.self) }); err != nil {
		return fmt.Errorf("disk %s: %v: %w", d.path, err, holdall.ErrDiskFailed)
	}
	size := d.self.Size
	if d.self.Mode&unix.S_IFMT == unix.S_IFBLK {
		var err error
		if size, err = blockSize(d.file); err != nil {
			return fmt.Errorf("disk %s: its size: %v: %w", d.path, err, holdall.ErrDiskFailed)
		}
	}
	zones := int(min(size/cfg.ZoneSize, 1<<30))
	if zones < minZones {
		return fmt.Errorf("disk %s: %d bytes are %d zones of %d bytes, want at least %d; make it larger or zones smaller: %w",
			d.path, size, zones, cfg.ZoneSize, minZones, holdall.ErrInvalid)
	}
	d.book = newZoneBook(d.path, Geometry{ZoneSize: cfg.ZoneSize, Zones: zones, MaxOpen: cfg.MaxOpen})
	return nil
}

// blockSize returns the size of a block device in bytes.
func blockSize(f *os.File) (int64, error) {
	var n uint64
	err := again(func() error {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&n))); e != 0 {
			return e
		}
		return nil
	})
	return int64(n), err
}

// Geometry implements Device.
func (d *BlockDevice) Geometry() Geometry {
	return Geometry{ZoneSize: d.book.zoneSize, Zones: d.book.zones, MaxOpen: d.book.maxOpen, Available: d.book.zones}
}

// WritePointer implements Device.
func (d *BlockDevice) WritePointer(zone int) (int64, bool) { return d.book.pointer(zone) }

// SetPointer implements Device.
func (d *BlockDevice) SetPointer(zone int, off int64) error { return d.book.learn(zone, off) }

func (d *BlockDevice) offset(zone int, off int64) int64 { return int64(zone)*d.book.zoneSize + off }

func (d *BlockDevice) writable(zone int) error {
	if d.ro {
		return d.book.fail(zone, holdall.ErrDiskFailed, "the disk was opened for reading only")
	}
	return nil
}

// Append implements Device.
func (d *BlockDevice) Append(zone int, off int64, bufs ...[]byte) error {
	n, err := checkAligned(d.path, bufs...)
	if err != nil {
		return err
	}
	if err := d.writable(zone); err != nil {
		return err
	}
	if err := d.book.begin(zone, off, n); err != nil {
		return err
	}
	if err := pwriteAll(int(d.file.Fd()), d.offset(zone, off), bufs); err != nil {
		err = d.book.fail(zone, writeKind(err), "write of %d bytes at %d: %v", n, off, err)
		d.book.breakZone(zone, err)
		return err
	}
	d.book.end(zone, n)
	return nil
}

// ReadAt implements Device.
func (d *BlockDevice) ReadAt(zone int, off int64, buf []byte) error {
	if _, err := checkAligned(d.path, buf); err != nil {
		return err
	}
	if err := d.book.checkRead(zone, off, int64(len(buf))); err != nil {
		return err
	}
	n, err := preadAll(int(d.file.Fd()), d.offset(zone, off), buf)
	switch {
	case err != nil:
		return d.book.fail(zone, holdall.ErrUnavailable, "read of %d bytes at %d: %v", len(buf), off, err)
	case n < len(buf):
		return d.book.fail(zone, holdall.ErrUnavailable, "read of %d bytes at %d: the disk ended %d bytes later; it was larger when it was opened", len(buf), off, n)
	}
	return nil
}

// Reset implements Device. It forgets; see BlockDevice.
func (d *BlockDevice) Reset(zone int) error { return d.note(zone, 0) }

// Finish implements Device. It is forgotten when the device is closed.
func (d *BlockDevice) Finish(zone int) error { return d.note(zone, d.book.zoneSize) }

func (d *BlockDevice) note(zone int, off int64) error {
	if err := d.writable(zone); err != nil {
		return err
	}
	if err := d.book.checkZone(zone); err != nil {
		return err
	}
	if err := d.book.brokenBy(zone); err != nil && off > 0 {
		return d.book.fail(zone, holdall.ErrDiskFailed, "finish: takes no more since: %v", err)
	}
	d.book.set(zone, off)
	return nil
}

// Sync implements Device. Whichever zones are named, it covers all.
func (d *BlockDevice) Sync(zones ...int) error {
	d.syncTurn <- struct{}{}
	defer func() { <-d.syncTurn }()
	var errs []error
	for _, zone := range zones {
		if err := d.book.checkZone(zone); err != nil {
			return err
		}
		if err := d.book.brokenBy(zone); err != nil {
			errs = append(errs, d.book.fail(zone, holdall.ErrDiskFailed, "sync: its write failed: %v", err))
		}
	}
	dirty := d.book.takeDirty()
	if len(dirty) == 0 {
		return errors.Join(errs...)
	}
	if err := unix.Fdatasync(int(d.file.Fd())); err != nil {
		err = fmt.Errorf("disk %s: sync of %d zones: %v: %w", d.path, len(dirty), err, holdall.ErrDiskFailed)
		for _, zone := range dirty {
			d.book.breakZone(zone, err)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Check implements Device: the path must still lead to what was opened, and a
// device that was pulled out has no size any more.
func (d *BlockDevice) Check() error {
	err := sameFile(d.path, &d.self)
	if err == nil && d.self.Mode&unix.S_IFMT == unix.S_IFBLK {
		var size int64
		if size, err = blockSize(d.file); err == nil && size == 0 {
			err = errors.New("the device has no medium")
		}
	}
	if err != nil {
		return fmt.Errorf("disk %s: is gone: %v; put it back: %w", d.path, err, holdall.ErrDiskFailed)
	}
	return nil
}

// Close implements Device. It makes nothing durable.
func (d *BlockDevice) Close() error {
	var err error
	d.closing.Do(func() { err = d.file.Close() })
	return err
}
