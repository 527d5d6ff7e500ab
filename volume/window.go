package volume

import "github.com/holdall/holdall/internal/buffer"

// readAhead is what a walk over headers reads at once where records are small,
// in bytes: on a rotating disk it costs little more than one sector.
const readAhead = 256 << 10

// window reads a log in pieces and serves small parts of them. It is not safe
// for concurrent use. Close it.
type window struct {
	read  func(off int64, b []byte) error // b is whole sectors
	limit int64                           // nothing is read at or above it
	ahead int                             // bytes to read at once; whole sectors
	buf   *buffer.Buffer
	off   int64 // of the first byte in buf
	n     int   // bytes in buf
}

func newWindow(pool *buffer.Pool, size int, limit int64, read func(off int64, b []byte) error) *window {
	return &window{read: read, limit: limit, ahead: size, buf: pool.Take(size)}
}

func (w *window) close() { w.buf.Release() }

// at returns n bytes from off, valid until the next call. off and n are whole
// sectors, n at most the window's size. A range that runs over the limit is
// ErrCorrupt.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off >= w.off && off+int64(n) <= w.off+int64(w.n) {
		return w.buf.Bytes()[off-w.off:][:n], nil
	}
	if off+int64(n) > w.limit {
		return nil, malformed("%d bytes at %d: the log ends at %d", n, off, w.limit)
	}
	size := int(min(max(int64(n), int64(w.ahead)), w.limit-off))
	w.off, w.n = off, 0
	err := w.read(off, w.buf.Bytes()[:size])
	if err != nil && size > n { // what is bad may lie further on
		size = n
		err = w.read(off, w.buf.Bytes()[:size])
	}
	if err != nil {
		return nil, err
	}
	w.n = size
	return w.buf.Bytes()[:n], nil
}
