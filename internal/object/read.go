package object

import (
	"context"
	"io"

	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// Reader reads an object, or a range of it. Nothing is fetched before the first
// Read or WriteTo. It is used by one goroutine, and closed.
type Reader struct {
	Object     metadata.Object
	Attributes manifest.Attributes
	Offset     int64 // of the first byte that will be read
	Length     int64 // how many will be
}

// Open finds an object to read. What a Reader began to read it reads to its end,
// or fails: an overwrite or a delete meanwhile never changes its bytes. ctx
// holds for all of the reading. Errors: those of Head; ErrRange.
func (s *Objects) Open(ctx context.Context, at Place, o GetOptions) (*Reader, error) {
	return nil, errUnfinished
}

// Select changes the range, before anything is read. Errors: ErrRange.
func (r *Reader) Select(rg Range) error { return errUnfinished }

// Read returns the next bytes of the range, each verified. Errors: io.EOF at its
// end; ErrUnavailable (again later), ErrDataLoss, ErrCorrupt.
func (r *Reader) Read(p []byte) (int, error) { return 0, errUnfinished }

// WriteTo writes the rest of the range to w, without a copy: w must not keep
// what it is given. Errors are those of Read, and w's.
func (r *Reader) WriteTo(w io.Writer) (int64, error) { return 0, errUnfinished }

// Close ends the reading. It never fails.
func (r *Reader) Close() error { return nil }
