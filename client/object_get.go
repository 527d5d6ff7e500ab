package client

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// GetObjectOptions say which version of an object is wanted, and which bytes.
// The zero GetObjectOptions get all of the current version.
type GetObjectOptions struct {
	Version holdall.Version // 0 = the current one
	Offset  int64           // of the first byte; negative: as many bytes from the end
	Length  int64           // bytes, fewer if there are fewer; 0 = to the end
}

// ObjectReader reads an object, or a range of it. It is used by one goroutine,
// and closed.
type ObjectReader struct {
	Object Object
	Offset int64 // of the first byte that is read
	Length int64 // bytes that are

	c      *Client
	ctx    context.Context // of all streams
	cancel context.CancelFunc
	in     *holdallv1.GetObjectRequest
	stream *getStream
	data   mem.BufferSlice // received and not read yet
	left   int64           // bytes to be received
	sum    hash.Hash       // of what was received; nil: there is nothing to compare it with
	want   Checksum
	trying *patience
	err    error // what every further Read returns
}

// OpenObject finds an object and begins to read it. What is read is of one
// version, whatever happens to the key meanwhile. A stream that breaks is begun
// again at the byte reached. Where the object has a checksum of all of its bytes
// and all are read, they are checked before the end is reported.
//
// The server read every block against its hash. Errors, of OpenObject and of Read:
// ErrNotFound; ErrInvalid (the range lies outside of the object); ErrUnavailable;
// ErrDataLoss; ErrCorrupt (the bytes that arrived are not the object's).
func (c *Client) OpenObject(ctx context.Context, bucket, key string, o GetObjectOptions) (*ObjectReader, error) {
	if o.Length < 0 {
		return nil, fmt.Errorf("get: range of %d bytes: %w", o.Length, holdall.ErrInvalid)
	}
	in := &holdallv1.GetObjectRequest{
		Namespace: c.options.Namespace, Bucket: bucket, Key: []byte(key), Version: uint64(o.Version), Offset: o.Offset, Length: uint64(o.Length),
	}
	r := &ObjectReader{c: c, in: in, trying: c.patience()}
	r.ctx, r.cancel = context.WithCancel(ctx)
	for {
		err := r.begin()
		if err == nil {
			return r, nil
		}
		if !r.trying.again(r.ctx, err) {
			r.cancel()
			return nil, err
		}
	}
}

// begin opens the first stream and takes its head.
func (r *ObjectReader) begin() error {
	s, head, err := r.c.openGet(r.ctx, r.in)
	if err != nil {
		return err
	}
	o, err := objectFacts(head.Object)
	if err == nil {
		r.Offset, err = checkedSize(head.Offset)
	}
	if err == nil {
		r.Length, err = checkedSize(head.Length)
	}
	if err == nil && (r.Offset > o.Size || r.Length > o.Size-r.Offset) {
		err = fmt.Errorf("get: the server sends %d bytes at %d of %d: %w", r.Length, r.Offset, o.Size, holdall.ErrCorrupt)
	}
	if err != nil {
		s.close()
		return err
	}
	r.Object, r.stream, r.left = *o, s, r.Length
	if r.Length == o.Size {
		r.want, r.sum = checksum(o.Checksums)
	}
	r.trying.headway()
	return nil
}

// resume opens a stream for the bytes that are still to be received.
func (r *ObjectReader) resume() error {
	in := &holdallv1.GetObjectRequest{
		Namespace: r.in.Namespace, Bucket: r.in.Bucket, Key: r.in.Key, Version: uint64(r.Object.Version),
		Offset: r.Offset + r.Length - r.left, Length: uint64(r.left),
	}
	s, head, err := r.c.openGet(r.ctx, in)
	if err != nil {
		return fmt.Errorf("get: at byte %d of %d: %w", r.Length-r.left, r.Length, err)
	}
	o, err := objectFacts(head.Object)
	if err == nil && (o.Version != r.Object.Version || o.Root != r.Object.Root || head.Offset != uint64(in.Offset) || head.Length != in.Length) {
		err = fmt.Errorf("get: at byte %d: the server went on with %d bytes at %d of version %d: %w", in.Offset, head.Length, head.Offset, o.Version, holdall.ErrCorrupt)
	}
	if err != nil {
		s.close()
		return err
	}
	r.stream = s
	return nil
}

// Read returns the next bytes, or io.EOF after the last.
func (r *ObjectReader) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.data) == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	for n < len(p) && len(r.data) > 0 {
		part := r.data[0]
		m := copy(p[n:], part.ReadOnlyData())
		n += m
		if m == part.Len() {
			r.data = r.data[1:]
		} else {
			r.data[0] = part.Slice(m, part.Len())
		}
		part.Free()
	}
	return n, nil
}

// WriteTo writes the rest to w, without copying it.
func (r *ObjectReader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		for len(r.data) > 0 {
			n, err := w.Write(r.data[0].ReadOnlyData())
			total += int64(n)
			if err != nil {
				return total, err
			}
			r.data[0].Free()
			r.data = r.data[1:]
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return total, err
		}
	}
}

// fill receives the next bytes, over another stream if need be.
func (r *ObjectReader) fill() error {
	for r.err == nil {
		err := r.receive()
		if err == nil {
			return nil
		}
		r.stream.close()
		r.stream = nil
		if errors.Is(err, io.EOF) || !r.trying.again(r.ctx, err) {
			r.err = err
		}
	}
	return r.err
}

// receive receives a message with data. io.EOF: all are there.
func (r *ObjectReader) receive() error {
	if r.stream == nil {
		if err := r.resume(); err != nil {
			return err
		}
	}
	var m GetObjectMessage
	err := r.stream.RecvMsg(&m)
	n := int64(m.Data.Len())
	switch {
	case errors.Is(err, io.EOF):
		return r.end()
	case err != nil:
		m.Free()
		if err = FromStatus(err); errors.Is(err, context.DeadlineExceeded) && r.ctx.Err() == nil {
			err = fmt.Errorf("get: the server ended a stream that nothing was taken from: %v: %w", err, holdall.ErrUnavailable)
		}
		return err
	case n > r.left || m.Head.Head != nil:
		m.Free()
		return fmt.Errorf("get: the server sent %d bytes where %d were left: %w", n, r.left, holdall.ErrCorrupt)
	}
	if r.sum != nil {
		for _, part := range m.Data {
			r.sum.Write(part.ReadOnlyData())
		}
	}
	r.left -= n
	r.data = m.Data
	r.trying.headway()
	return nil
}

// end checks what was received.
func (r *ObjectReader) end() error {
	if r.left > 0 {
		return fmt.Errorf("get: the server ended %d bytes early: %w", r.left, holdall.ErrCorrupt)
	}
	if r.sum != nil && string(r.sum.Sum(nil)) != string(r.want.Value) {
		return fmt.Errorf("get: the bytes that arrived have the %s %x, the object's is %x: %w", r.want.Algorithm, r.sum.Sum(nil), r.want.Value, holdall.ErrCorrupt)
	}
	return io.EOF
}

// Verified names the checksum of the whole object against which the bytes were
// checked here, once io.EOF was returned. "" = none: a range was read, or the
// object has none. The server's own checks, block by block, hold in any case.
func (r *ObjectReader) Verified() string {
	if r.sum == nil || !errors.Is(r.err, io.EOF) {
		return ""
	}
	return r.want.Algorithm
}

// Close ends the reading. It never fails.
func (r *ObjectReader) Close() error {
	r.cancel()
	r.data.Free()
	r.data = nil
	r.stream.close()
	r.stream = nil
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
	return nil
}

// getStream is one stream of a get.
type getStream struct {
	grpc.ClientStream
	conn   *connection
	cancel context.CancelFunc
}

// close ends s, which may be nil.
func (s *getStream) close() {
	if s != nil {
		s.cancel()
		s.conn.release()
	}
}

// openGet begins a get and takes the head.
func (c *Client) openGet(ctx context.Context, in *holdallv1.GetObjectRequest) (_ *getStream, head *holdallv1.GetObjectHead, err error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &getStream{conn: c.take(), cancel: cancel}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	s.ClientStream, err = s.conn.NewStream(ctx, &grpc.StreamDesc{StreamName: "Get", ServerStreams: true}, holdallv1.ObjectService_Get_FullMethodName)
	if err == nil {
		err = s.SendMsg(in)
	}
	if err == nil {
		err = s.CloseSend()
	}
	var m GetObjectMessage
	defer m.Free()
	if err == nil || errors.Is(err, io.EOF) {
		err = s.RecvMsg(&m)
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil, fmt.Errorf("get: the server sent no head: %w", holdall.ErrCorrupt)
	case err != nil:
		return nil, nil, FromStatus(err)
	case m.Head.Head == nil || m.Data.Len() > 0:
		return nil, nil, fmt.Errorf("get: the server began with something else than a head: %w", holdall.ErrCorrupt)
	}
	return s, m.Head.Head, nil
}
