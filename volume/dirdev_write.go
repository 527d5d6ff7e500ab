package volume

import (
	"errors"
	"sync"

	"github.com/holdall/holdall"
	"golang.org/x/sys/unix"
)

// Append implements Device.
func (d *DirDevice) Append(zone int, off int64, bufs ...[]byte) error {
	n, err := checkAligned(d.path, bufs...)
	if err != nil {
		return err
	}
	if err := d.writable(zone); err != nil {
		return err
	}
	if _, err := d.load(zone); err != nil {
		return err
	}
	if err := d.book.begin(zone, off, n); err != nil {
		return err
	}
	f, err := d.fileFor(zone, off == 0, d.reserve)
	if err != nil {
		err = d.book.fail(zone, writeKind(err), "open for writing: %v", err)
		if off == 0 {
			d.book.cancel(zone)
		} else {
			d.book.breakZone(zone, err)
		}
		return err
	}
	defer d.files.give(f)
	err = pwriteAll(f.fd, off, bufs)
	d.files.setDirty(f, true)
	if err != nil {
		err = d.book.fail(zone, writeKind(err), "write of %d bytes at %d: %v", n, off, err)
		d.book.breakZone(zone, err)
		return err
	}
	d.book.end(zone, n)
	return nil
}

func (d *DirDevice) writable(zone int) error {
	if d.files.readOnly {
		return d.book.fail(zone, holdall.ErrDiskFailed, "the disk was opened for reading only")
	}
	return nil
}

// fileFor returns the file of zone for writing. The first time it is made
// ready: shaped by prepare, and its name durable.
func (d *DirDevice) fileFor(zone int, first bool, prepare func(*zoneFile) error) (*zoneFile, error) {
	f, err := d.files.take(zone, first)
	if err != nil || !first {
		return f, err
	}
	err = prepare(f)
	if err == nil {
		// The file may be as old as the directory, and yet made by a process
		// that was killed before it got here: sync always.
		err = unix.Fsync(int(d.dir.Fd()))
	}
	if err == nil && zone == 0 {
		err = d.identify(f)
	}
	if err != nil {
		d.files.give(f)
		return nil, err
	}
	return f, nil
}

// identify makes zone 0's file what Check looks for.
func (d *DirDevice) identify(f *zoneFile) error {
	var st unix.Stat_t
	if err := again(func() error { return unix.Fstat(f.fd, &st) }); err != nil {
		return err
	}
	d.mu.Lock()
	d.identity = &st
	d.mu.Unlock()
	return nil
}

// identified reports whether the directory has the file by which Check knows
// it: one without is not a disk, or no longer.
func (d *DirDevice) identified() bool {
	d.mu.Lock()
	known := d.identity != nil
	d.mu.Unlock()
	return known && d.Check() == nil
}

// reserve takes the space of a whole zone, past the end of the file, so that
// no append to it finds the filesystem full and zones lie in one piece. What
// the superblock log takes is a precaution: without it writes go on.
func (d *DirDevice) reserve(f *zoneFile) error {
	if f.zone < superZones {
		d.reserveSuper(f)
		return nil
	}
	err := d.allocate(f, d.book.zoneSize)
	if err != nil {
		// What was taken so far is given back; there is nothing in the file.
		return errors.Join(err, again(func() error { return unix.Ftruncate(f.fd, 0) }))
	}
	return nil
}

// reserveSuper takes the space that the superblock log may grow to in zone f.
func (d *DirDevice) reserveSuper(f *zoneFile) {
	longest := int64(min(d.book.zones, maxZones))*checkpointPerZone + SectorSize
	if err := d.allocate(f, min(d.book.zoneSize, superRoom(longest))); err != nil {
		d.log.Warn("disk cannot reserve space for its superblock", "disk", d.path, "zone", f.zone, "error", err)
	}
}

// allocate takes space for the first n bytes of f, where the filesystem can.
func (d *DirDevice) allocate(f *zoneFile, n int64) error {
	d.mu.Lock()
	skip := d.noRoom
	d.mu.Unlock()
	if skip {
		return nil
	}
	err := again(func() error { return unix.Fallocate(f.fd, unix.FALLOC_FL_KEEP_SIZE, 0, n) })
	if err != unix.EOPNOTSUPP && err != unix.ENOSYS {
		return err
	}
	d.mu.Lock()
	first := !d.noRoom
	d.noRoom = true
	d.mu.Unlock()
	if first {
		d.log.Warn("disk cannot reserve space for zones", "disk", d.path, "reason", err.Error())
	}
	return nil
}

// ReadAt implements Device.
func (d *DirDevice) ReadAt(zone int, off int64, buf []byte) error {
	if _, err := checkAligned(d.path, buf); err != nil {
		return err
	}
	if _, err := d.load(zone); err != nil {
		return err
	}
	if err := d.book.checkRead(zone, off, int64(len(buf))); err != nil {
		return err
	}
	f, err := d.files.take(zone, false)
	if err != nil {
		if gone := d.Check(); gone != nil {
			return gone
		}
		return d.book.fail(zone, holdall.ErrUnavailable, "open for reading: %v", err)
	}
	defer d.files.give(f)
	n, err := preadAll(f.fd, off, buf)
	switch {
	case err != nil:
		return d.book.fail(zone, holdall.ErrUnavailable, "read of %d bytes at %d: %v", len(buf), off, err)
	case len(buf)-n >= SectorSize:
		return d.book.fail(zone, holdall.ErrCorrupt, "read of %d bytes at %d: its file ends at %d, below its write pointer", len(buf), off, off+int64(n))
	}
	clear(buf[n:]) // the part of a sector with which a crash left the file
	return nil
}

// Sync implements Device: one fdatasync a zone, at the same time. Each file
// must still have a name, or its bytes go with the last handle.
func (d *DirDevice) Sync(zones ...int) error {
	dirty := d.book.takeDirty(zones...)
	errs := make([]error, len(dirty)+1)
	for i, zone := range zones {
		if err := d.book.checkZone(zone); err != nil {
			return err
		}
		if err := d.book.brokenBy(zone); err != nil {
			errs[len(dirty)] = d.book.fail(zone, holdall.ErrDiskFailed, "sync of zone %d of the group: its write failed: %v", i, err)
		}
	}
	if len(dirty) == 1 {
		errs[0] = d.syncZone(dirty[0])
		return errors.Join(errs...)
	}
	var all sync.WaitGroup
	for i, zone := range dirty {
		all.Go(func() { errs[i] = d.syncZone(zone) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (d *DirDevice) syncZone(zone int) error {
	err := func() error {
		f, err := d.files.take(zone, false)
		if err != nil {
			return err
		}
		defer d.files.give(f)
		d.files.setDirty(f, false)
		if err := unix.Fdatasync(f.fd); err != nil {
			return err
		}
		return stillNamed(f)
	}()
	if err != nil {
		err = d.book.fail(zone, holdall.ErrDiskFailed, "sync: %v", err)
		d.book.breakZone(zone, err)
	}
	return err
}

// stillNamed fails if the file was removed.
func stillNamed(f *zoneFile) error {
	var st unix.Stat_t
	if err := again(func() error { return unix.Fstat(f.fd, &st) }); err != nil {
		return err
	}
	if st.Nlink == 0 {
		return errors.New(zoneFileName(f.zone) + " was removed")
	}
	return nil
}

// Reset implements Device.
func (d *DirDevice) Reset(zone int) error {
	if err := d.writable(zone); err != nil {
		return err
	}
	if _, err := d.load(zone); err != nil {
		return err
	}
	f, err := d.files.take(zone, zone < superZones && d.identified())
	if err == unix.ENOENT {
		if err := d.Check(); err != nil {
			return err
		}
		d.book.set(zone, 0)
		return nil
	}
	if err == nil {
		if err = d.resize(f, 0); err == nil && zone < superZones {
			d.reserveSuper(f)
		}
		d.files.give(f)
	}
	if err != nil {
		err = d.book.fail(zone, writeKind(err), "reset: %v", err)
		d.book.breakZone(zone, err)
		return err
	}
	d.book.set(zone, 0)
	return nil
}

// Finish implements Device. The space that was reserved and not written goes
// back to the filesystem.
func (d *DirDevice) Finish(zone int) error {
	if err := d.writable(zone); err != nil {
		return err
	}
	off, err := d.load(zone)
	if err != nil || off == d.book.zoneSize {
		return err
	}
	if err := d.book.brokenBy(zone); err != nil {
		return d.book.fail(zone, holdall.ErrDiskFailed, "finish: takes no more since: %v", err)
	}
	f, err := d.fileFor(zone, off == 0, func(*zoneFile) error { return nil })
	if err == nil {
		err = d.resize(f, off, d.book.zoneSize)
		d.files.give(f)
	}
	if err != nil {
		err = d.book.fail(zone, writeKind(err), "finish: %v", err)
		d.book.breakZone(zone, err)
		return err
	}
	d.book.set(zone, d.book.zoneSize)
	return nil
}

// resize gives f each of sizes in turn, and makes the last one durable. Even
// the length that the file has is worth setting: it gives back what is
// reserved past it.
func (d *DirDevice) resize(f *zoneFile, sizes ...int64) error {
	for _, n := range sizes {
		if err := again(func() error { return unix.Ftruncate(f.fd, n) }); err != nil {
			return err
		}
	}
	if err := unix.Fsync(f.fd); err != nil {
		return err
	}
	d.files.setDirty(f, false)
	return stillNamed(f)
}
