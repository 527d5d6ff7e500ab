package s3front

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// limits bound what one client can hold.
type limits struct {
	connections int           // open at once; more wait to be accepted
	stall       time.Duration // for the next bytes of a body, in either direction
	linger      time.Duration // for a client to read an answer that came before its body ended
}

// lingerBytes is how much of a refused body is read and thrown away, so that the
// client gets to see the answer: one part of an upload as the SDKs send it.
const lingerBytes = 16 << 20

// writePiece is how much is written under one deadline: a client that takes
// these bytes within limits.stall is slow, one that does not is gone.
const writePiece = 256 << 10

// listener gives versitygw, which sets no timeouts and no bound on connections
// that hold, connections that have both.
type listener struct {
	net.Listener
	limits limits
	slots  chan struct{} // one taken for every connection, also one that lingers

	mu     sync.Mutex // guards conns
	conns  map[*conn]bool
	closed atomic.Bool
	end    chan struct{} // closed by Close
	endOne sync.Once
	endErr error
	wait   sync.WaitGroup // of connections that linger
}

func newListener(l net.Listener, n limits) *listener {
	return &listener{Listener: l, limits: n, slots: make(chan struct{}, n.connections), conns: map[*conn]bool{}, end: make(chan struct{})}
}

// Accept waits for a place and for a connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.end:
		return nil, net.ErrClosed
	}
	raw, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	c := &conn{Conn: raw, listener: l}
	l.mu.Lock()
	l.conns[c] = true
	l.mu.Unlock()
	return c, nil
}

// Close stops accepting, and closes the connections on which no request is in
// work. Others are the server's to close.
func (l *listener) Close() error {
	l.endOne.Do(func() {
		close(l.end)
		l.closed.Store(true)
		for _, c := range l.open() {
			if !c.working.Load() {
				c.Conn.Close()
			}
		}
		l.endErr = l.Listener.Close()
	})
	return l.endErr
}

// abort closes all connections and waits for those that linger.
func (l *listener) abort() {
	for _, c := range l.open() {
		c.Conn.Close()
	}
	l.wait.Wait()
}

func (l *listener) open() (list []*conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		list = append(list, c)
	}
	return list
}

func (l *listener) count() int { return len(l.slots) }

func (l *listener) forget(c *conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	<-l.slots
}

// conn is a connection of which every read and write has a deadline.
type conn struct {
	net.Conn
	listener *listener
	used     atomic.Bool  // something was read
	until    atomic.Int64 // the server's own deadline for reads, Unix nanoseconds; 0 = none
	ended    atomic.Bool  // the client has closed its side, or broke off
	closing  atomic.Bool

	working  atomic.Bool // a request is in work, or its answer is being sent
	answered atomic.Bool // it has returned: the next read is for the next request
}

// begin and end mark the work on a request.
func (c *conn) begin() { c.answered.Store(false); c.working.Store(true) }

func (c *conn) end() { c.answered.Store(true) }

// Read reads within limits.stall and the deadline that the server has set.
func (c *conn) Read(p []byte) (int, error) {
	if c.answered.Load() {
		c.working.Store(false)
	}
	deadline := time.Now().Add(c.listener.limits.stall)
	if until := c.until.Load(); until != 0 && until < deadline.UnixNano() {
		deadline = time.Unix(0, until)
	}
	if err := c.Conn.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.used.Store(true)
	}
	if err != nil {
		c.ended.Store(true)
	}
	return n, err
}

// Write writes in pieces, each within limits.stall.
func (c *conn) Write(p []byte) (n int, err error) {
	for first := true; first || len(p) > 0; first = false {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.listener.limits.stall)); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(p[:min(len(p), writePiece)])
		n += m
		if err != nil {
			c.ended.Store(true)
			return n, err
		}
		p = p[m:]
	}
	return n, nil
}

// SetReadDeadline is how the server says when a header must have come.
func (c *conn) SetReadDeadline(t time.Time) error {
	until := int64(0)
	if !t.IsZero() {
		until = t.UnixNano()
	}
	c.until.Store(until)
	return nil
}

// SetWriteDeadline changes nothing: each write has its own.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// Close closes the connection. When the client may still be sending a body that
// nobody reads, closing at once would reset the connection, and the client would
// never see the answer: then only the writing side is closed, and what comes is
// thrown away for a while.
func (c *conn) Close() error {
	if c.closing.Swap(true) {
		return net.ErrClosed
	}
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if c.ended.Load() || !c.used.Load() || c.listener.closed.Load() || !ok || half.CloseWrite() != nil {
		defer c.listener.forget(c)
		return c.Conn.Close()
	}
	c.listener.wait.Go(func() {
		defer c.listener.forget(c)
		if c.Conn.SetReadDeadline(time.Now().Add(c.listener.limits.linger)) == nil {
			io.CopyN(io.Discard, c.Conn, lingerBytes)
		}
		c.Conn.Close() // what the client sends beyond this, or later, resets it
	})
	return nil
}

// isTimeout says whether a client was too slow.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
