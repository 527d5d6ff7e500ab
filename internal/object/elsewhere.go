package object

import (
	"context"
	"fmt"
	"io"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// elsewhere is where a Reader has its bytes from that lie in no cell.
type elsewhere struct {
	open func(context.Context, Range) (io.ReadCloser, error)
	body io.ReadCloser
}

// pieceSize is how many bytes of another store are read at a time.
const pieceSize = 256 << 10

// NewReader returns a Reader of an object that lies elsewhere. open is called at
// the first Read, for bytes that lie in the object, and is given ctx until Close;
// it must give exactly as many, of the version that row says, or an error.
func NewReader(ctx context.Context, row metadata.Object, a manifest.Attributes, open func(context.Context, Range) (io.ReadCloser, error)) *Reader {
	r := &Reader{Object: row, Attributes: a, Length: row.Size, from: elsewhere{open: open}}
	r.ctx, r.cancel = context.WithCancel(ctx)
	return r
}

func (e *elsewhere) begin(ctx context.Context, rg Range) (err error) {
	e.body, err = e.open(ctx, rg)
	return err
}

// next reads on, into memory of its own: whoever is given a View may keep it.
func (e *elsewhere) next(left int64) (buffer.View, error) {
	b := make([]byte, min(left, pieceSize))
	for range maxIdleReads {
		n, err := e.body.Read(b)
		switch {
		case n > 0:
			return buffer.View{Data: b[:n]}, nil
		case err == io.EOF:
			return buffer.View{}, fmt.Errorf("object: its bytes from elsewhere end %d early: %w", left, holdall.ErrUnavailable)
		case err != nil:
			return buffer.View{}, err
		}
	}
	return buffer.View{}, io.ErrNoProgress
}

func (e *elsewhere) close() {
	if e.body != nil {
		e.body.Close()
	}
}
