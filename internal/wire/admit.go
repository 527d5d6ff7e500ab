package wire

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

// Time that a call may take, receiving its request included.
const (
	defaultDeadline = 10 * time.Second // of a caller that sets none
	maxDeadline     = 60 * time.Second
)

// maxConnBytes is the most bytes of blocks that one connection may have on
// their way in: a client that has more opens another connection.
const maxConnBytes = 64 << 20

// connection is what the server knows of a connection.
type connection struct{ bytes atomic.Int64 }

type connectionKey struct{}

// admit decides at the headers of a request, before its message is read, as
// gRPC reads a whole unary message before it calls a handler. It runs on the
// connection's reader and must not block.
func (s *Server) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	m, ok := s.methods[info.FullMethodName]
	if !ok {
		return nil, status.Errorf(codes.Unimplemented, "unknown method %.100q", info.FullMethodName)
	}
	if s.granted&m.allowed == 0 {
		return nil, status.Errorf(codes.PermissionDenied, "%s: this caller's role may not call it", info.FullMethodName)
	}
	c := newCall(ctx, info.FullMethodName, m, s.cfg.ReceiveTimeout)
	if m.payload || m.chunks {
		reserve := s.reserve
		if m.chunks {
			reserve = s.reserveStream
		}
		if err := reserve(c, info.Header); err != nil {
			s.metrics.refused.WithLabelValues(status.Code(err).String()).Inc()
			c.over()
			return nil, err
		}
	}
	c.watch()
	return c, nil
}

// reserve makes room for the request's payload, on its connection and in the
// process.
func (s *Server) reserve(c *call, header metadata.MD) error {
	size, err := statedSize(header)
	if err != nil {
		return client.Status(err).Err()
	}
	if err := c.occupy(size); err != nil {
		return client.Status(err).Err()
	}
	c.size = size
	admission, err := s.cfg.Put.Admit(size)
	if err != nil {
		return client.Status(err).Err()
	}
	c.admission = admission
	return nil
}

// occupy counts bytes on the call's connection until the call is over.
func (c *call) occupy(n int64) error {
	conn, _ := c.Value(connectionKey{}).(*connection)
	if conn.bytes.Add(n) > maxConnBytes {
		conn.bytes.Add(-n)
		return &holdall.RetryAfter{Delay: connDelay, Err: fmt.Errorf(
			"put of %d bytes: this connection has %d bytes on their way in, the most is %d: %w",
			n, conn.bytes.Load(), maxConnBytes, holdall.ErrExhausted)}
	}
	c.conn, c.occupied = conn, n
	return nil
}

// reserveStream makes room for what a stream of data may have on its way here: a
// message, which its handler reads, and a window of what comes after it. What
// becomes of the data is admitted elsewhere, block by block.
//
// It is not the memory for puts that it takes from: streams that waited for a
// block's memory would hold what they wait for.
func (s *Server) reserveStream(c *call, header metadata.MD) error {
	size, err := statedSize(header)
	if err != nil {
		return client.Status(err).Err()
	}
	n := size + streamWindow
	if err := c.occupy(n); err != nil {
		return client.Status(err).Err()
	}
	c.size = size
	if !s.in.TryAcquire(n) {
		return client.Status(&holdall.RetryAfter{Delay: connDelay, Err: fmt.Errorf(
			"put of an object: streams have all of the %d bytes that they may have on their way in: %w", s.cfg.StreamMemory, holdall.ErrExhausted)}).Err()
	}
	c.release = func() { s.in.Release(n) }
	return nil
}

// exceed counts the bytes that a request has beyond what it stated until release,
// which the handler calls as it ends: the call itself may be over by then, where
// its stream ended before gRPC began it. The call is refused all the same.
//
// It comes late: gRPC has read the message, at most client.MaxMessage, when this
// is first known, and a caller that lies takes that much for each of its calls
// (maxStreams a connection) while they arrive. No public hook of grpc-go cuts it
// off earlier. The tap sees headers alone, which have no length that could be
// trusted. MaxRecvMsgSize is one limit for the server, not for a call. The stats
// handler's InPayload comes after the message was decoded. Once the prefix with
// the message's length is read, the stream's window is widened to all of it,
// whatever InitialWindowSize says, and neither a stream handler nor a codec gets
// to see the prefix or a part of the message. The buffer pool is asked for
// frames, and not told of which stream. What is left would be to parse HTTP/2 a
// second time beneath gRPC. ReceiveTimeout bounds how long it is held.
func (s *Server) exceed(c *call, more int64) (release func()) {
	c.conn.bytes.Add(more)
	excess, err := s.cfg.Put.Admit(min(more, holdall.MaxBlockSize))
	return func() {
		c.conn.bytes.Add(-more)
		if err == nil { // otherwise the budget is full without it, and nobody else is let in
			excess.Release()
		}
	}
}

// connDelay is what a connection over its limit is told to wait: about what a
// few of its blocks take.
const connDelay = 50 * time.Millisecond

// statedSize returns the bytes that a request says its payload has. One that
// says nothing may send the largest block.
func statedSize(header metadata.MD) (int64, error) {
	values := header.Get(client.SizeHeader)
	if len(values) == 0 {
		return holdall.MaxBlockSize, nil
	}
	n, err := strconv.ParseUint(values[0], 10, 63)
	switch {
	case len(values) > 1:
		return 0, fmt.Errorf("header %s: given %d times, want once: %w", client.SizeHeader, len(values), holdall.ErrInvalid)
	case err != nil:
		return 0, fmt.Errorf("header %s: %.40q is not a decimal number of bytes: %w", client.SizeHeader, values[0], holdall.ErrInvalid)
	case n < 1 || n > holdall.MaxBlockSize:
		return 0, fmt.Errorf("header %s: a block of %d bytes, want 1 to %d: %w", client.SizeHeader, n, holdall.MaxBlockSize, holdall.ErrInvalid)
	}
	return int64(n), nil
}

// The server is gRPC's stats handler, which is told of the end of every call
// that was begun: also of those that no handler saw.

// TagConn gives each connection its own count.
func (s *Server) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connectionKey{}, new(connection))
}

// HandleConn counts connections.
func (s *Server) HandleConn(_ context.Context, e stats.ConnStats) {
	switch e.(type) {
	case *stats.ConnBegin:
		s.metrics.connections.Inc()
	case *stats.ConnEnd:
		s.metrics.connections.Dec()
	}
}

// TagRPC leaves ctx as admit made it.
func (s *Server) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC follows a call from gRPC's beginning to its end.
func (s *Server) HandleRPC(ctx context.Context, e stats.RPCStats) {
	c := callOf(ctx)
	if c == nil {
		return
	}
	switch e := e.(type) {
	case *stats.Begin:
		c.begin()
	case *stats.End:
		c.over()
		s.metrics.ended(c.name, status.Code(e.Error), e.EndTime.Sub(e.BeginTime))
	}
}
