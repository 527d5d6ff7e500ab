package volume

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/holdall/holdall"
	"golang.org/x/sys/unix"
)

// checkAligned returns the total length of bufs, or says which of them no
// direct write or read could take.
func checkAligned(path string, bufs ...[]byte) (int64, error) {
	var n int64
	for i, b := range bufs {
		if len(b)%SectorSize != 0 {
			return 0, fmt.Errorf("disk %s: buffer %d has %d bytes, want whole sectors of %d: %w", path, i, len(b), SectorSize, holdall.ErrInvalid)
		}
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(b))) % SectorSize; at != 0 && len(b) > 0 {
			return 0, fmt.Errorf("disk %s: buffer %d lies %d bytes off a sector boundary in memory: %w", path, i, at, holdall.ErrInvalid)
		}
		n += int64(len(b))
	}
	return n, nil
}

// writeKind is the kind of an error of a call that changes a disk.
func writeKind(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return holdall.ErrDiskFull
	}
	return holdall.ErrDiskFailed
}

// again makes call until a signal does not interrupt it. The runtime sends
// signals to its own threads, and a call that takes long, as reserving a zone
// does, meets one: it was not carried out, and has not failed. Not for syncs:
// what a second one says of the bytes that the first was to make durable is worth
// nothing, whatever the first failed with.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// openAgain opens name in the directory dir, as again does.
func openAgain(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = again(func() error {
		fd, err = unix.Openat(dir, name, flags, mode)
		return err
	})
	return fd, err
}

// pwriteAll writes bufs at off of fd, in one call unless the kernel takes only
// part of them.
func pwriteAll(fd int, off int64, bufs [][]byte) error {
	for len(bufs) > 0 {
		if len(bufs[0]) == 0 {
			bufs = bufs[1:]
			continue
		}
		n, err := unix.Pwritev(fd, bufs, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("wrote nothing")
		}
		off += int64(n)
		bufs = skip(bufs, n)
	}
	return nil
}

// skip returns bufs without their first n bytes. It leaves the caller's slice
// as it was.
func skip(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n == 0 {
		return bufs
	}
	rest := append([][]byte{bufs[0][n:]}, bufs[1:]...)
	return rest
}

// preadAll fills buf from off of fd and returns how many bytes there were: less
// than len(buf) only at the end of the file.
func preadAll(fd int, off int64, buf []byte) (int, error) {
	got := 0
	for got < len(buf) {
		n, err := unix.Pread(fd, buf[got:], off+int64(got))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return got, err
		}
		got += n
		if n == 0 || got%SectorSize != 0 {
			// The end of the file. A direct read cannot go on from inside
			// a sector, and has no need to.
			break
		}
	}
	return got, nil
}

// sameFile says whether path names the file that st describes.
func sameFile(path string, st *unix.Stat_t) error {
	var now unix.Stat_t
	if err := again(func() error { return unix.Stat(path, &now) }); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if now.Dev != st.Dev || now.Ino != st.Ino || now.Rdev != st.Rdev {
		return fmt.Errorf("%s is another file than the one opened", path)
	}
	return nil
}
