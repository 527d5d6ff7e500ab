package gateway

import (
	"fmt"
	"io"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/volume"
)

// Incoming is a block that is being received. It is used by one goroutine, and
// ends with Put or Discard.
type Incoming struct {
	g      *Gateway
	ns     holdall.NamespaceID
	size   int
	n      int // bytes that have come
	hashed int // bytes of them that were hashed
	buf    *buffer.Buffer
	hasher *holdall.Hasher
	from   *Admission // nil: the cell's own
	cost   int64      // bytes of memory of buf

	pending bool // on behalf of an object
	quota   reserved
}

// Put step 1: one pooled buffer, whose first sector is left for the record's
// header and whose capacity has room for a directory, so that a large block
// needs no copy to become a pack.

// Receive takes the buffer for the block that a was admitted for. size must not
// be more than was admitted. It returns ErrExhausted if the block would take its
// namespace over its quota.
func (a *Admission) Receive(ns holdall.NamespaceID, size int) (*Incoming, error) {
	if err := checkSize(int64(size)); err != nil {
		return nil, err
	}
	if int64(size) > a.size {
		return nil, fmt.Errorf("gateway: block of %d bytes, %d were announced: %w", size, a.size, holdall.ErrInvalid)
	}
	quota, err := a.g.quotas.reserve(ns, int64(size))
	if err != nil {
		return nil, err
	}
	a.g.arrivals.moved(&a.arrival)
	in := a.g.incoming(ns, size)
	in.from, in.quota = a, quota
	return in, nil
}

// receiveBytes is the length of the buffer in which a block of size bytes is
// received.
func receiveBytes(size int) int {
	return holdall.RecordHeaderSize + size + volume.DirectorySize(1) + holdall.RecordHeaderSize
}

// receiveCost is what that buffer takes of memory, in bytes: up to four times
// its length.
func receiveCost(size int) int64 { return int64(buffer.Capacity(receiveBytes(size))) }

func (g *Gateway) incoming(ns holdall.NamespaceID, size int) *Incoming {
	buf := g.pool.Take(receiveBytes(size))
	buf.Resize(holdall.RecordHeaderSize + size)
	h := g.hashers.Get().(*holdall.Hasher)
	h.Reset()
	return &Incoming{g: g, ns: ns, size: size, buf: buf, hasher: h, cost: int64(buf.Cap())}
}

// progressStep is how many bytes of a block may come between two notes that it
// is still coming.
const progressStep = 1 << 20

// hashStep is what the hash takes without a copy of its own, in bytes: bytes
// come in pieces of every length, but are hashed in multiples of this.
const hashStep = 8 << 10

// Write adds the next bytes of the block. It keeps nothing of p. More bytes than
// announced are ErrInvalid.
func (in *Incoming) Write(p []byte) (int, error) {
	if len(p) > in.size-in.n {
		return 0, fmt.Errorf("gateway: more than the %d bytes announced: %w", in.size, holdall.ErrInvalid)
	}
	block := in.buf.Bytes()[holdall.RecordHeaderSize:]
	copy(block[in.n:], p)
	in.came(len(p))
	return len(p), nil
}

// came notes that the next n bytes are in the buffer.
func (in *Incoming) came(n int) {
	if in.from != nil && (in.n+n)/progressStep != in.n/progressStep {
		in.g.arrivals.moved(&in.from.arrival)
	}
	in.n += n
	upTo := in.n
	if in.n < in.size {
		upTo -= in.n % hashStep
	}
	in.hash(upTo)
}

// hash hashes the block's bytes up to one.
func (in *Incoming) hash(upTo int) {
	if upTo > in.hashed {
		in.hasher.Write(in.buf.Bytes()[holdall.RecordHeaderSize:][in.hashed:upTo])
		in.hashed = upTo
	}
}

// readStep is how much ReadFrom asks for at once, in bytes: small enough that a
// source that gives as much as is asked for is hashed while its bytes are in the
// processor's cache.
const readStep = 256 << 10

// ReadFrom reads the block's bytes from r, until it has all that were announced
// or r ends: then Trim makes the block of what came. It returns how many came
// by this call, and r's error as it is, but for io.EOF.
func (in *Incoming) ReadFrom(r io.Reader) (int64, error) {
	began, idle := in.n, 0
	for in.n < in.size {
		block := in.buf.Bytes()[holdall.RecordHeaderSize:]
		n, err := r.Read(block[in.n:min(in.size, in.n+readStep)])
		in.came(n)
		if idle++; n > 0 {
			idle = 0
		}
		switch {
		case err == io.EOF:
			return int64(in.n - began), nil
		case err == nil && idle == maxIdleReads:
			err = io.ErrNoProgress
		}
		if err != nil {
			return int64(in.n - began), err
		}
	}
	return int64(in.n - began), nil
}

// maxIdleReads is how many reads without a byte or an error in a row are too
// many.
const maxIdleReads = 100

// Size returns how many bytes have come.
func (in *Incoming) Size() int { return in.n }

// Trim makes a block of the bytes that have come, at least one, in place of as
// many as were announced.
func (in *Incoming) Trim() {
	in.size = in.n
	in.hash(in.n)
	in.buf.Resize(holdall.RecordHeaderSize + in.size)
}

// Discard drops what was received. After Put it does nothing.
func (in *Incoming) Discard() {
	if in.hasher != nil {
		in.g.hashers.Put(in.hasher)
		in.hasher = nil
	}
	if in.buf != nil {
		in.buf.Release()
		in.buf = nil
	}
	in.quota.release(false)
	if in.from != nil {
		in.g.arrived(&in.from.arrival)
	}
}
