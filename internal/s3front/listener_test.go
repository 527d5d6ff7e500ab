package s3front

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// dialed makes a connection through a listener with the given limits.
func dialed(t *testing.T, n limits) (l *listener, client net.Conn, served net.Conn) {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if n.connections == 0 {
		n.connections = 8
	}
	l = newListener(raw, n)
	t.Cleanup(func() { l.Close(); l.abort() })
	if client, err = net.Dial("tcp", raw.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if served, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return l, client, served
}

func TestReadsAndWritesDoNotStall(t *testing.T) {
	_, _, c := dialed(t, limits{stall: 20 * time.Millisecond, linger: time.Second})
	if _, err := c.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("read: %v, want a timeout", err)
	}
	if _, err := c.Write(make([]byte, 64<<20)); !isTimeout(err) { // more than any socket buffer
		t.Errorf("write: %v, want a timeout", err)
	}
}

func TestTheServersDeadlineHolds(t *testing.T) {
	_, client, c := dialed(t, limits{stall: time.Minute, linger: time.Second})
	c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("read: %v, want a timeout", err)
	}
	c.SetReadDeadline(time.Time{})
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("read without a deadline: %v", err)
	}
}

// An answer reaches a client that is still sending what nobody reads.
func TestAnswersOutliveTheirConnection(t *testing.T) {
	l, client, c := dialed(t, limits{stall: 5 * time.Second, linger: 5 * time.Second})
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(make([]byte, lingerBytes/2))
		sent <- err
	}()
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("no")); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); err != nil || string(got) != "no" {
		t.Errorf("the client read %q, %v", got, err)
	}
	if err := <-sent; err != nil {
		t.Errorf("the client wrote: %v", err)
	}
	if n := l.count(); n != 1 {
		t.Errorf("%d connections while one lingers, want 1", n)
	}
	client.Close()
	l.wait.Wait()
	if n := l.count(); n != 0 {
		t.Errorf("%d connections afterwards, want 0", n)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	l, _, c := dialed(t, limits{connections: 1, stall: time.Second, linger: time.Second})
	second, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		next, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- next
	}()
	select {
	case <-accepted:
		t.Fatal("accepted a second connection")
	case <-time.After(30 * time.Millisecond):
	}
	c.Close()
	next := <-accepted
	next.Close()
	if err := next.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

func TestClosingWakesAccept(t *testing.T) {
	l, _, c := dialed(t, limits{connections: 1, stall: time.Second, linger: time.Second})
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection without a request stayed open")
	}
}
