package wire

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

var (
	errSlow = errors.New("the request did not arrive in time")
	errLate = errors.New("the call took longer than a call may")
)

// call is one request from its headers to its end, and its context. It ends
// once: when gRPC says so, if gRPC began it, or else with its stream.
type call struct {
	context.Context // cancelled with its cause
	cancel          context.CancelCauseFunc

	name      string
	method    method
	deadline  time.Time   // zero: none
	slow      *time.Timer // ends the call while its request is awaited,
	late      *time.Timer // and when it lasts too long; nil: it may last
	size      int64       // bytes admitted, of a stream: in each of its messages
	admission Admission   // nil: carries no payload
	release   func()      // nil: took no room as a stream
	conn      *connection
	occupied  int64 // bytes, on conn
	unwatch   func() bool
	stage     atomic.Int32
}

// The stages of a call. It goes forward only.
const (
	callWaits int32 = iota // gRPC has not begun it, and may never
	callRuns
	callOver
)

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// newCall returns a call within ctx, that of its stream.
func newCall(ctx context.Context, name string, m method, receive time.Duration) *call {
	c := &call{name: name, method: m}
	c.Context, c.cancel = context.WithCancelCause(ctx)
	if !m.stream {
		now := time.Now()
		c.deadline = now.Add(defaultDeadline)
		if theirs, ok := ctx.Deadline(); ok {
			c.deadline = theirs
			if most := now.Add(maxDeadline); theirs.After(most) {
				c.deadline = most
			}
		}
		c.late = time.AfterFunc(c.deadline.Sub(now), func() { c.cancel(errLate) })
	}
	c.slow = time.AfterFunc(receive, func() { c.cancel(errSlow) })
	return c
}

// Deadline returns when the call ends at the latest.
func (c *call) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Err returns DeadlineExceeded where the server's patience ended the call, so
// that gRPC answers with that code.
func (c *call) Err() error {
	err := c.Context.Err()
	if err != nil {
		if cause := context.Cause(c.Context); cause == errSlow || cause == errLate {
			return context.DeadlineExceeded
		}
	}
	return err
}

// Value returns the call itself, or what its stream's context has.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// watch ends the call with its stream unless gRPC begins it.
func (c *call) watch() {
	c.unwatch = context.AfterFunc(c.Context, func() {
		if c.stage.CompareAndSwap(callWaits, callOver) {
			c.end()
		}
	})
}

// begin notes that gRPC will say when the call is over.
func (c *call) begin() {
	if c.stage.CompareAndSwap(callWaits, callRuns) {
		c.unwatch()
	}
}

// over ends the call. Calls after the first do nothing.
func (c *call) over() {
	if c.stage.Swap(callOver) != callOver {
		c.end()
	}
}

func (c *call) end() {
	c.slow.Stop()
	if c.late != nil {
		c.late.Stop()
	}
	if c.admission != nil {
		c.admission.Release()
	}
	if c.release != nil {
		c.release()
	}
	if c.conn != nil {
		c.conn.bytes.Add(-c.occupied)
	}
	c.cancel(context.Canceled)
}

// wrap returns d with every handler inside the rules that hold for all calls.
func (s *Server) wrap(d grpc.ServiceDesc, override map[string]grpc.MethodHandler) *grpc.ServiceDesc {
	unary := make([]grpc.MethodDesc, len(d.Methods))
	for i, m := range d.Methods {
		handler := m.Handler
		if own := override[m.MethodName]; own != nil {
			handler = own
		}
		unary[i] = grpc.MethodDesc{MethodName: m.MethodName, Handler: s.unary(handler)}
	}
	streams := make([]grpc.StreamDesc, len(d.Streams))
	for i, m := range d.Streams {
		streams[i] = m
		streams[i].Handler = s.stream(m.Handler)
	}
	d.Methods, d.Streams = unary, streams
	return &d
}

// unary runs next for one call: what it panics with is INTERNAL, and what it
// returns is made a status.
func (s *Server) unary(next grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, in grpc.UnaryServerInterceptor) (out any, err error) {
		defer func() { err = s.answer(ctx, recover(), err) }()
		return next(srv, ctx, func(m any) error { return receive(ctx, m, decode) }, in)
	}
}

// stream is what unary is, for streams.
func (s *Server) stream(next grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, stream grpc.ServerStream) (err error) {
		defer func() { err = s.answer(stream.Context(), recover(), err) }()
		return next(srv, receiver{stream})
	}
}

// answer makes what a handler came to the call's status.
func (s *Server) answer(ctx context.Context, panicked any, err error) error {
	if panicked != nil {
		s.log.ErrorContext(ctx, "call panicked", "method", callOf(ctx).name, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		s.metrics.panics.Inc()
		return status.Error(codes.Internal, "internal error: it is in the server's log")
	}
	if err == nil {
		return nil
	}
	st := client.Status(err)
	if st.Code() == codes.Internal {
		s.log.ErrorContext(ctx, "call failed", "method", callOf(ctx).name, "error", err)
	}
	return st.Err()
}

// envelope carries a message past gRPC, which answers INTERNAL for every
// message that does not decode: what a caller sent wrong is INVALID_ARGUMENT.
type envelope struct {
	message any
	fault   error
}

// receive has a message received, and lets the call go on once it is there.
func receive(ctx context.Context, m any, decode func(any) error) error {
	e := envelope{message: m}
	if err := decode(&e); err != nil {
		return err
	}
	if e.fault != nil {
		return fmt.Errorf("request does not decode: %w: %w", e.fault, holdall.ErrInvalid)
	}
	callOf(ctx).slow.Stop()
	return nil
}

// receiver is a stream whose messages come in envelopes.
type receiver struct{ grpc.ServerStream }

func (r receiver) RecvMsg(m any) error { return receive(r.Context(), m, r.ServerStream.RecvMsg) }

// codec is the client's, with what a server has to add to it.
type codec struct{ client.Codec }

// Unmarshal leaves in an envelope what was wrong with the message.
func (c codec) Unmarshal(src mem.BufferSlice, v any) error {
	if e, ok := v.(*envelope); ok {
		e.fault = c.Codec.Unmarshal(src, e.message)
		return nil
	}
	return c.Codec.Unmarshal(src, v)
}
