package volume

import (
	"container/list"
	"fmt"
	"log/slog"
	"sync"

	"golang.org/x/sys/unix"
)

// zoneFiles keeps the files of a directory's zones open, the most recently used
// ones up to a limit: a disk may have 75,000 of them.
type zoneFiles struct {
	path     string
	dir      int // handle of the directory
	limit    int
	readOnly bool
	log      *slog.Logger

	mu     sync.Mutex // guards all below, and the fields of zoneFile that say so
	direct bool       // the filesystem takes O_DIRECT, as far as is known
	open   map[int]*zoneFile
	recent *list.List // of *zoneFile, the most recently used first
	closed bool
}

// zoneFile is one open file. It is closed when it is neither in use nor dirty,
// and others were used since: a handle that wrote must live until its sync,
// because the kernel reports a failed write-back to the handles open then.
type zoneFile struct {
	zone  int
	fd    int
	users int  // guarded by zoneFiles.mu
	dirty bool // guarded by zoneFiles.mu
	elem  *list.Element
}

func newZoneFiles(path string, dir int, cfg DirConfig) *zoneFiles {
	return &zoneFiles{
		path: path, dir: dir, limit: cfg.MaxFiles, readOnly: cfg.ReadOnly, log: cfg.Logger,
		direct: true, open: map[int]*zoneFile{}, recent: list.New(),
	}
}

func zoneFileName(zone int) string { return fmt.Sprintf("zone-%06d", zone) }

// take returns the open file of zone for use until give. With create it makes
// the file where there is none.
func (c *zoneFiles) take(zone int, create bool) (*zoneFile, error) {
	if f := c.reuse(zone); f != nil {
		return f, nil
	}
	fd, err := c.openFile(zone, create)
	if err != nil {
		return nil, err
	}
	f, stale := c.keep(zone, fd)
	for _, fd := range stale {
		unix.Close(fd) // has no unsynced writes: nothing that an error could tell
	}
	return f, nil
}

func (c *zoneFiles) reuse(zone int) *zoneFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.open[zone]
	if f != nil {
		f.users++
		c.recent.MoveToFront(f.elem)
	}
	return f
}

// keep adds the handle fd of zone and returns those to close: what the limit
// leaves no room for, or fd itself where another opened the same zone first.
func (c *zoneFiles) keep(zone, fd int) (*zoneFile, []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.open[zone]; f != nil {
		f.users++
		return f, []int{fd}
	}
	f := &zoneFile{zone: zone, fd: fd, users: 1}
	if c.closed {
		return f, nil // give closes it
	}
	f.elem = c.recent.PushFront(f)
	c.open[zone] = f
	return f, c.shrink()
}

// shrink forgets idle files above the limit, the least recently used first, and
// returns their handles. The caller holds c.mu.
func (c *zoneFiles) shrink() []int {
	var fds []int
	for e := c.recent.Back(); e != nil && len(c.open) > c.limit; {
		f := e.Value.(*zoneFile)
		e = e.Prev()
		if f.users == 0 && !f.dirty {
			c.recent.Remove(f.elem)
			delete(c.open, f.zone)
			fds = append(fds, f.fd)
		}
	}
	return fds
}

// give ends a use of f.
func (c *zoneFiles) give(f *zoneFile) {
	c.mu.Lock()
	f.users--
	var fds []int
	if c.closed && f.users == 0 {
		fds = []int{f.fd}
	} else if !c.closed {
		fds = c.shrink()
	}
	c.mu.Unlock()
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// setDirty says whether f has writes that were not synced.
func (c *zoneFiles) setDirty(f *zoneFile, dirty bool) {
	c.mu.Lock()
	f.dirty = dirty
	c.mu.Unlock()
}

// openFile opens the file of zone around the page cache if the filesystem lets
// it, and for reading only if it must.
func (c *zoneFiles) openFile(zone int, create bool) (int, error) {
	c.mu.Lock()
	direct, closed := c.direct, c.closed
	c.mu.Unlock()
	if closed {
		return -1, unix.EBADF // the directory's handle may be another file's by now
	}
	flags := unix.O_RDWR | unix.O_CLOEXEC | unix.O_NOFOLLOW
	if c.readOnly {
		flags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW
	}
	if create {
		flags |= unix.O_CREAT
	}
	if direct {
		flags |= unix.O_DIRECT
	}
	fd, err := openAgain(c.dir, zoneFileName(zone), flags, 0o640)
	if direct && err == unix.EINVAL {
		c.withoutDirect(err)
		flags &^= unix.O_DIRECT
		fd, err = openAgain(c.dir, zoneFileName(zone), flags, 0o640)
	}
	if !create && (err == unix.EROFS || err == unix.EACCES) {
		// Its shards can still be read; writes through it will say why not.
		flags = flags&^unix.O_RDWR | unix.O_RDONLY
		fd, err = openAgain(c.dir, zoneFileName(zone), flags, 0)
	}
	return fd, err
}

func (c *zoneFiles) withoutDirect(err error) {
	c.mu.Lock()
	first := c.direct
	c.direct = false
	c.mu.Unlock()
	if first {
		c.log.Warn("disk goes through the page cache", "disk", c.path, "reason", "its filesystem refuses O_DIRECT: "+err.Error())
	}
}

// close closes every file; those in use when their users are done.
func (c *zoneFiles) close() {
	c.mu.Lock()
	c.closed = true
	var fds []int
	for zone, f := range c.open {
		if f.users == 0 {
			fds = append(fds, f.fd)
		}
		delete(c.open, zone)
	}
	c.recent.Init()
	c.mu.Unlock()
	for _, fd := range fds {
		unix.Close(fd)
	}
}
