package object

import (
	"fmt"
	"io"

	"github.com/holdall/holdall"
)

// source is a body that is being read: it knows how many bytes there must be,
// and can look ahead, so that no memory is asked for before there are bytes to
// put into it.
type source struct {
	r     io.Reader
	size  int64  // bytes that r must have; -1 = as many as it has
	ahead []byte // read from r and not yet given out
	got   int64  // bytes read from r
	err   error  // of r, or its end
}

// lookAhead is how much is read to know whether there is more, in bytes.
const lookAhead = 4 << 10

// left returns how many bytes are to come, at most most.
func (s *source) left(most int64) int64 {
	if s.size < 0 {
		return most
	}
	return min(most, s.size-s.got+int64(len(s.ahead)))
}

// fill reads on until at least want bytes are ahead, or the body ends.
func (s *source) fill(want int) error {
	for idle := 0; len(s.ahead) < want && s.err == nil; {
		if len(s.ahead) == cap(s.ahead) { // as much again: memory follows what came
			grown := make([]byte, len(s.ahead), min(max(lookAhead, 2*len(s.ahead)), max(want, lookAhead)))
			copy(grown, s.ahead)
			s.ahead = grown
		}
		n, err := s.read(s.ahead[len(s.ahead):cap(s.ahead)])
		s.ahead = s.ahead[:len(s.ahead)+n]
		if idle++; n > 0 {
			idle = 0
		}
		if s.err = err; err == nil && idle == maxIdleReads {
			s.err = io.ErrNoProgress
		}
	}
	if s.err == io.EOF {
		return nil
	}
	return s.err
}

// maxIdleReads is how many reads without a byte or an error in a row are too
// many.
const maxIdleReads = 100

// read reads from the body, and ends with it, or with the bytes that it must
// have.
func (s *source) read(p []byte) (int, error) {
	limit := int64(holdall.MaxObjectSize)
	if s.size >= 0 {
		limit = s.size
	}
	if limit == s.got {
		return 0, s.last()
	}
	n, err := s.r.Read(p[:min(int64(len(p)), limit-s.got)])
	s.got += int64(n)
	if err == io.EOF && s.size > s.got {
		err = fmt.Errorf("object: %d of the %d bytes announced: %w", s.got, s.size, ErrShortBody)
	}
	return n, err
}

// last makes sure that the body ends where it must.
func (s *source) last() error {
	var one [1]byte
	for range maxIdleReads {
		n, err := s.r.Read(one[:])
		switch {
		case n > 0 && s.size < 0:
			return fmt.Errorf("object: more than %d bytes: %w", int64(holdall.MaxObjectSize), ErrTooLarge)
		case n > 0:
			return fmt.Errorf("object: more than the %d bytes announced: %w", s.size, ErrLongBody)
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// Read gives out what is ahead, then what is read.
func (s *source) Read(p []byte) (int, error) {
	if len(s.ahead) > 0 {
		n := copy(p, s.ahead)
		if s.ahead = s.ahead[n:]; len(s.ahead) == 0 {
			s.ahead = nil
		}
		return n, nil
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.read(p)
	s.err = err
	return n, err
}

// drop takes what is ahead.
func (s *source) drop() []byte {
	b := s.ahead
	s.ahead = nil
	return b
}
