package client

import "testing"

func TestBufferPoolLendsWhatWasAskedFor(t *testing.T) {
	p := NewBufferPool()
	for _, n := range []int{0, 1, 2, 3, 1023, 1024, 1025, 16384, 16385, 1 << 23, 1<<23 + 1} {
		for range 3 { // the second and third may be a buffer that came back
			b := p.Get(n)
			if len(*b) != n {
				t.Errorf("Get(%d) lends %d bytes", n, len(*b))
			}
			*b = (*b)[:0] // gRPC gives back any prefix
			p.Put(b)
		}
	}
	foreign := make([]byte, 3000)
	p.Put(&foreign)
	if b := p.Get(2048); len(*b) != 2048 {
		t.Errorf("after a buffer that is not the pool's came back, Get(2048) lends %d bytes", len(*b))
	}
}

func TestCallsGoToTheLeastUsedConnection(t *testing.T) {
	c := &Client{conns: []*connection{{}, {}, {}}}
	for range 12 {
		c.conn().calls.Add(1)
	}
	for i, conn := range c.conns {
		if n := conn.calls.Load(); n != 4 {
			t.Errorf("connection %d has %d of 12 calls, want 4", i, n)
		}
	}
	c.conns[1].calls.Add(-3)
	for range 3 {
		if c.conn() != c.conns[1] {
			t.Fatal("a call does not go to the connection with the fewest")
		}
		c.conns[1].calls.Add(1)
	}
}
