package client

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

// framePool lends the buffers that gRPC reads frames into. gRPC's own pool
// clears each buffer before it lends it, 8 % of the processor time of a put of
// 4 MiB; a frame is read in full before anyone looks at it, so nothing of what
// was there before shows.
type framePool struct {
	classes [maxFrameClass + 1]sync.Pool // of *[]byte with a capacity of 1 << index
}

// maxFrameClass is the largest power of two pooled: what gRPC joins for a codec
// that wants a message in one piece, a block and its head, is larger than 4 MiB.
const maxFrameClass = 23

// NewBufferPool returns a pool for the gRPC connections of a client or a server.
func NewBufferPool() mem.BufferPool { return &framePool{} }

// Get lends a buffer of n bytes with undefined contents.
func (p *framePool) Get(n int) *[]byte {
	class := bits.Len(uint(max(n, 1) - 1))
	if class > maxFrameClass {
		b := make([]byte, n)
		return &b
	}
	if b, ok := p.classes[class].Get().(*[]byte); ok {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, 1<<class)
	return &b
}

// Put takes a buffer back.
func (p *framePool) Put(b *[]byte) {
	class := bits.Len(uint(cap(*b))) - 1
	if class < 0 || class > maxFrameClass || cap(*b) != 1<<class {
		return // not one of ours, or too large to keep
	}
	p.classes[class].Put(b)
}
