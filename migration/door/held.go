package door

import (
	"fmt"
	"io"

	"github.com/holdall/holdall"
)

// held is the body of a put on its way to the source. It withholds the last byte
// until the caller has agreed to all of them: a body whose checksum is wrong must
// never become an object there.
type held struct {
	b       *branch
	left    int64 // bytes that were not given out, the last one included
	last    byte
	taken   bool          // last is read, and the body has ended
	verdict chan struct{} // closed once err is set
	err     error
}

func hold(b *branch, size int64) *held {
	return &held{b: b, left: size, verdict: make(chan struct{})}
}

// release lets the last byte go, or fails the body with err. It is called once.
func (h *held) release(err error) {
	h.err = err
	close(h.verdict)
}

// Read returns the next bytes of the body.
func (h *held) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case h.left > 1:
		n, err := h.b.Read(p[:min(int64(len(p)), h.left-1)])
		h.left -= int64(n)
		if err == io.EOF {
			err = fmt.Errorf("door: the body ends %d bytes early: %w", h.left, holdall.ErrInvalid)
		}
		return n, err
	}
	one := h.left == 1
	if err := h.wait(); err != nil {
		return 0, err
	}
	if !one {
		return 0, io.EOF
	}
	p[0], h.left = h.last, 0
	return 1, io.EOF
}

// wait reads the body to its end, so that the other branch is not held up, and
// waits for the verdict.
func (h *held) wait() error {
	if !h.taken {
		if err := h.finish(); err != nil {
			return err
		}
		h.taken = true
	}
	<-h.verdict
	return h.err
}

func (h *held) finish() error {
	var two [2]byte
	n := int64(0)
	for n <= h.left {
		m, err := h.b.Read(two[n:])
		n += int64(m)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if n != h.left {
		return fmt.Errorf("door: the body has another length than was announced: %w", holdall.ErrInvalid)
	}
	h.last = two[0]
	return nil
}
