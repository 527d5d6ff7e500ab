package door

import (
	"errors"
	"io"
	"sync"
)

// errDropped is what a branch reads whose side is given up.
var errDropped = errors.New("door: the other side goes on without this one")

// chunkSize is what is read from a body at a time, in bytes: both branches hold at
// most one chunk.
const chunkSize = 1 << 20

// tee reads one body for two readers. The slower one sets the pace; one that is
// closed is left behind, and the other goes on.
type tee struct {
	branches [2]*branch
	buffers  sync.Pool // of *[chunkSize]byte
}

// branch is one reader of a tee. One goroutine reads; any may close, as the
// transports of HTTP do.
type branch struct {
	chunks chan chunk // handed over one by one
	gone   chan struct{}
	once   sync.Once

	mu   sync.Mutex // guards all below; held while Read waits, which gone ends
	rest chunk
	read int
}

// chunk is a piece of the body, or its end.
type chunk struct {
	b    []byte
	err  error
	done func() // called once, when the branch has read it
}

// newTee returns a tee. run moves the bytes.
func newTee() *tee {
	t := &tee{}
	t.buffers.New = func() any { return new([chunkSize]byte) }
	for i := range t.branches {
		t.branches[i] = &branch{chunks: make(chan chunk), gone: make(chan struct{})}
	}
	return t
}

// run reads body to its end, or until both branches are closed, and gives each
// byte to both. The branches end as body did: with io.EOF, or its error. It
// returns what body returned, nil for its end.
func (t *tee) run(body io.Reader) error {
	for {
		buf := t.buffers.Get().(*[chunkSize]byte)
		n, err := readChunk(body, buf[:])
		taken := t.hand(buf, n, err)
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return err
		}
		if taken == 0 {
			return errDropped
		}
	}
}

// readChunk fills b as far as it goes; bytes and the end may come together.
func readChunk(body io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = body.Read(b[n:])
		n += m
	}
	return n, err
}

// hand gives a chunk to every branch that is still there, and returns how many
// took it.
func (t *tee) hand(buf *[chunkSize]byte, n int, err error) (taken int) {
	var left sync.WaitGroup
	for _, b := range t.branches {
		left.Add(1)
		select {
		case b.chunks <- chunk{b: buf[:n], err: err, done: left.Done}:
			taken++
		case <-b.gone:
			left.Done()
		}
	}
	left.Wait() // the buffer is read: it can be filled again
	t.buffers.Put(buf)
	return taken
}

// Read returns the next bytes of the body.
func (b *branch) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if b.rest.done != nil && b.read < len(b.rest.b) {
			n := copy(p, b.rest.b[b.read:])
			b.read += n
			return n, nil
		}
		if b.rest.err != nil {
			err := b.rest.err
			b.release()
			b.rest.err = err
			return 0, err
		}
		b.release()
		select {
		case <-b.gone: // first: of two that are ready, select takes either
			return 0, errDropped
		default:
		}
		select {
		case b.rest = <-b.chunks:
			b.read = 0
		case <-b.gone:
			return 0, errDropped
		}
	}
}

// release gives the present chunk back.
func (b *branch) release() {
	if b.rest.done != nil {
		b.rest.done()
	}
	b.rest = chunk{}
}

// Close leaves the body to the other branch, and ends a Read that waits. A branch
// must be closed, or the other one waits for it.
func (b *branch) Close() error {
	b.once.Do(func() {
		close(b.gone)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.release()
	})
	return nil
}
