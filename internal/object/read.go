package object

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/gateway"
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

	s      *Objects // nil: the bytes come from elsewhere
	from   elsewhere
	ns     holdall.NamespaceID
	ctx    context.Context // of all fetches; ends with Close
	cancel context.CancelFunc

	walk   *walk       // nil: nothing was read yet, or the object is inline
	inline []byte      // what is left of it
	ahead  []*fetch    // in the order of the object's bytes
	now    buffer.View // what Read gives out
	left   int64       // bytes that are to come
	begun  bool
	err    error // how it ended
}

// fetch is a piece on its way. res and err are valid once done is closed.
type fetch struct {
	piece
	done chan struct{}
	res  gateway.GetResult
	err  error
}

// Open finds an object to read. What a Reader began to read it reads to its end,
// or fails: an overwrite or a delete meanwhile never changes its bytes. ctx
// holds for all of the reading. Errors: those of Head; ErrRange.
func (s *Objects) Open(ctx context.Context, at Place, o GetOptions) (*Reader, error) {
	row, err := s.Head(ctx, at, o.Version)
	if err != nil {
		s.metrics.gets.WithLabelValues(outcome(err)).Inc()
		return nil, err
	}
	r, err := s.reader(ctx, at.Namespace, row)
	if err != nil {
		return nil, err
	}
	if err := r.Select(o.Range); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// reader returns a Reader of all of a version.
func (s *Objects) reader(ctx context.Context, ns holdall.NamespaceID, row metadata.Object) (*Reader, error) {
	a, err := manifest.ParseAttributes(row.Attributes)
	if err != nil {
		return nil, fmt.Errorf("object: row of %.80q, version %d: %w", row.Key, row.Version, err)
	}
	r := &Reader{Object: row, Attributes: a, Length: row.Size, s: s, ns: ns}
	r.ctx, r.cancel = context.WithCancel(ctx)
	return r, nil
}

// Select changes the range, before anything is read. Errors: ErrRange.
func (r *Reader) Select(rg Range) error {
	invariant(!r.begun, "object: a range is selected before anything is read")
	size := r.Object.Size
	off := rg.Offset
	if off < 0 {
		off = max(0, size+off)
		if size == 0 {
			off = 1 // the last bytes of nothing
		}
	}
	if rg.Length < 0 || off > size || off == size && rg != (Range{}) {
		return fmt.Errorf("object: bytes from %d on, %d of them, of %d: %w", rg.Offset, rg.Length, size, ErrRange)
	}
	r.Offset, r.Length = off, size-off
	if rg.Length > 0 {
		r.Length = min(r.Length, rg.Length)
	}
	return nil
}

// Read returns the next bytes of the range, each verified. Errors: io.EOF at its
// end; ErrUnavailable (again later), ErrDataLoss, ErrCorrupt, ErrNoVersion (it
// was purged meanwhile).
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.now.Data) == 0 {
		if err := r.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.now.Data)
	r.now.Data = r.now.Data[n:]
	return n, nil
}

// WriteTo writes the rest of the range to w, without a copy: w must not keep
// what it is given. Errors are those of Read, and w's.
func (r *Reader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		for len(r.now.Data) > 0 {
			n, err := w.Write(r.now.Data)
			total += int64(n)
			r.now.Data = r.now.Data[n:]
			if err != nil {
				return total, err
			}
		}
		if err := r.advance(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return total, err
		}
	}
}

// Close ends the reading. It never fails.
func (r *Reader) Close() error {
	r.cancel()
	r.drop()
	r.release()
	if r.begun {
		if r.err == nil && r.left > 0 {
			r.err = fmt.Errorf("object: closed early: %w", holdall.ErrUnavailable)
		}
		if r.s != nil {
			r.s.metrics.gets.WithLabelValues(outcome(ignoreEOF(r.err))).Inc()
		}
		r.from.close()
		r.begun = false
	}
	r.err = io.ErrClosedPipe
	return nil
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// release lets go of the bytes that are given out.
func (r *Reader) release() {
	r.now.Release()
	r.now = buffer.View{}
}

// drop lets go of all that was fetched before its turn.
func (r *Reader) drop() {
	for _, f := range r.ahead {
		<-f.done
		if f.err == nil {
			f.res.View.Release()
		}
	}
	r.ahead = nil
}

// advance makes the next bytes now. Its error stays.
func (r *Reader) advance() error {
	r.release()
	if r.err != nil {
		return r.err
	}
	if !r.begun {
		r.begun, r.left = true, r.Length
		r.err = r.begin()
	}
	if r.err == nil && r.left == 0 {
		r.err = io.EOF
	}
	if r.err == nil {
		r.now, r.err = r.take()
	}
	if r.err != nil {
		r.now = buffer.View{}
		return r.err
	}
	r.left -= int64(len(r.now.Data))
	if r.s != nil {
		r.s.metrics.getBytes.Add(float64(len(r.now.Data)))
	}
	return nil
}

// begin reads the root.
func (r *Reader) begin() error {
	if r.Length == 0 {
		return nil
	}
	if r.s == nil {
		return r.from.begin(r.ctx, Range{r.Offset, r.Length})
	}
	root, err := r.s.root(r.ctx, r.ns, &r.Object)
	if err != nil {
		return r.explain(err)
	}
	if len(root.Entries) == 0 {
		r.inline = root.Inline[r.Offset:][:r.Length]
		return nil
	}
	r.walk = r.s.walkOf(r.ns, root, r.Offset, r.Length)
	return nil
}

// take returns the next bytes. Whoever waits for memory here holds none: what was
// fetched before its turn found room at once, or was not fetched.
func (r *Reader) take() (buffer.View, error) {
	if r.s == nil {
		return r.from.next(r.left)
	}
	if r.walk == nil {
		return buffer.View{Data: r.inline}, nil
	}
	if err := r.lookAhead(); err != nil {
		return buffer.View{}, r.explain(err)
	}
	f := r.ahead[0]
	r.ahead = r.ahead[1:]
	<-f.done
	if errors.Is(f.err, holdall.ErrExhausted) {
		r.s.metrics.missedAheads.Inc()
		again := r.forget()
		f = r.s.fetch(r.ctx, r.ns, f.piece, false)
		<-f.done
		for _, p := range again {
			r.ahead = append(r.ahead, r.s.fetch(r.ctx, r.ns, p, true))
		}
	}
	if f.err != nil {
		return buffer.View{}, r.explain(f.err)
	}
	return f.res.View, nil
}

// forget drops what was fetched before its turn, and returns what that was.
func (r *Reader) forget() (pieces []piece) {
	for _, f := range r.ahead {
		pieces = append(pieces, f.piece)
	}
	r.drop()
	return pieces
}

// lookAhead starts fetches until enough are on their way.
func (r *Reader) lookAhead() error {
	for len(r.ahead) <= r.s.cfg.ReadAhead {
		p, err := r.walk.next(r.ctx, len(r.ahead) > 0)
		if err != nil && len(r.ahead) > 0 {
			return nil // its turn has not come: then it is tried again
		}
		if err != nil {
			return err
		}
		if p.length == 0 {
			return nil
		}
		r.ahead = append(r.ahead, r.s.fetch(r.ctx, r.ns, p, true))
	}
	return nil
}

// fetch reads a piece, which begins at once.
func (s *Objects) fetch(ctx context.Context, ns holdall.NamespaceID, p piece, noWait bool) *fetch {
	f := &fetch{piece: p, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.res, f.err = s.cfg.Blocks.Get(ctx, ns, p.ID, gateway.GetOptions{Offset: int(p.offset), Length: int(p.length), NoWait: noWait})
		if f.err == nil && (int64(f.res.Size) != p.Size || int64(len(f.res.View.Data)) != p.length) {
			f.res.View.Release()
			f.err = fmt.Errorf("object: block %v has %d bytes, its manifest says %d: %w", p.ID, f.res.Size, p.Size, holdall.ErrCorrupt)
		}
	}()
	return f
}

// explain finds out why a block is not there: its version was purged meanwhile, or
// something is wrong with the cell, and that must not look like an object that is
// not there.
func (r *Reader) explain(err error) error {
	o := &r.Object
	if errors.Is(err, holdall.ErrCorrupt) {
		r.s.metrics.mismatch.Inc()
		r.s.log.Error("manifest does not fit its object", "bucket", o.Bucket, "key", o.Key, "version", o.Version, "err", err)
	}
	if !errors.Is(err, holdall.ErrNotFound) {
		return err
	}
	_, rowErr := r.s.cfg.Names.ObjectVersion(r.ctx, metadata.ObjectKey{Bucket: o.Bucket, Key: o.Key, Version: o.Version})
	if errors.Is(rowErr, holdall.ErrNotFound) {
		return fmt.Errorf("object: %.80q, version %d, was purged: %w", o.Key, o.Version, ErrNoVersion)
	}
	r.s.log.Error("block of an object is not there", "bucket", o.Bucket, "key", o.Key, "version", o.Version, "err", err)
	return fmt.Errorf("object: %.80q, version %d, is there, and a block of it is not: %v: %w", o.Key, o.Version, err, holdall.ErrUnavailable)
}
