// Package buffer lends aligned, reusable memory for block payloads and disk
// records. The memory is mapped outside the Go heap, so a large pool costs the
// garbage collector nothing, and is aligned for O_DIRECT. It never touches
// files and never blocks: who may take how much is decided by admission, not
// here.
package buffer

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Align is the alignment of every buffer's first byte and of its capacity: the
// sector of the disks.
const Align = 4096

// classes are the capacities lent, in bytes. The largest holds a record: header
// sector, 4 MiB of blocks, directory.
var classes = [...]int{16 << 10, 80 << 10, 272 << 10, 1<<20 + 64<<10, MaxSize}

// MaxSize is the most bytes a Buffer can hold: a record header (4 KiB), a full
// pack (4 MiB), and its directory (under 64 KiB), with room to spare.
const MaxSize = 4<<20 + 128<<10

// Pool lends Buffers and takes them back. The zero Pool is not usable; see
// NewPool. It is safe for concurrent use.
type Pool struct {
	mu     sync.Mutex // guards free, kept
	free   [len(classes)][]*Buffer
	kept   int64 // bytes in free
	keep   int64 // the most bytes to keep in free
	lent   atomic.Int64
	mapped atomic.Int64
}

// Buffer is a piece of pooled memory with a count of owners. Whoever holds a
// reference may read; only a sole owner may write. Release it exactly once for
// Take and once for each Ref.
type Buffer struct {
	mem   []byte // the whole mapping
	b     []byte // the part in use
	pool  *Pool
	class int
	refs  atomic.Int32
}

// NewPool returns a Pool that keeps at most keep bytes of unlent memory; more
// than that is returned to the system.
func NewPool(keep int64) *Pool { return &Pool{keep: keep} }

// Take lends a Buffer of n bytes, 0 to MaxSize, with undefined contents. Its
// capacity, as Grow sees it, is a class size ≥ n. It panics when n is out of
// range (callers check sizes before they take memory) or the system has none.
func (p *Pool) Take(n int) *Buffer {
	if n < 0 || n > MaxSize {
		panic(fmt.Sprintf("buffer: take of %d bytes, want 0 to %d", n, MaxSize))
	}
	class := classOf(n)
	b := p.reuse(class)
	if b == nil {
		mem, err := mapMemory(classes[class])
		if err != nil {
			panic(fmt.Sprintf("buffer: map %d bytes: %v", classes[class], err))
		}
		p.mapped.Add(int64(len(mem)))
		b = &Buffer{mem: mem, pool: p, class: class}
	}
	b.b = b.mem[:n]
	b.refs.Store(1)
	p.lent.Add(int64(len(b.mem)))
	return b
}

// Capacity returns the capacity of the Buffer that Take lends for n bytes, 0 to
// MaxSize: what it costs to hold one.
func Capacity(n int) int { return classes[classOf(n)] }

func classOf(n int) (class int) {
	for classes[class] < n {
		class++
	}
	return class
}

func (p *Pool) reuse(class int) *Buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.free[class]
	if len(list) == 0 {
		return nil
	}
	b := list[len(list)-1]
	p.free[class] = list[:len(list)-1]
	p.kept -= int64(len(b.mem))
	return b
}

func (p *Pool) giveBack(b *Buffer) {
	p.lent.Add(-int64(len(b.mem)))
	b.b = nil
	p.mu.Lock()
	if p.kept+int64(len(b.mem)) <= p.keep {
		p.kept += int64(len(b.mem))
		p.free[b.class] = append(p.free[b.class], b)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	p.mapped.Add(-int64(len(b.mem)))
	if err := unmapMemory(b.mem); err != nil {
		panic(fmt.Sprintf("buffer: unmap: %v", err))
	}
}

// Lent returns the bytes of all Buffers now lent, by capacity. It is 0 when
// every Buffer was released: tests check for leaks with it.
func (p *Pool) Lent() int64 { return p.lent.Load() }

// Mapped returns the bytes that the Pool holds from the system, lent or kept.
func (p *Pool) Mapped() int64 { return p.mapped.Load() }

// Bytes returns the memory in use. It is valid while the caller holds a
// reference.
func (b *Buffer) Bytes() []byte { return b.b }

// Len returns the number of bytes in use.
func (b *Buffer) Len() int { return len(b.b) }

// Cap returns the most bytes that Resize can make of b without moving.
func (b *Buffer) Cap() int { return len(b.mem) }

// Resize makes n bytes, 0 to Cap, of b usable, from the first. Bytes that were
// in use keep their contents.
func (b *Buffer) Resize(n int) { b.b = b.mem[:n] }

// Ref adds an owner and returns b.
func (b *Buffer) Ref() *Buffer {
	if b.refs.Add(1) <= 1 {
		panic("buffer: Ref of a released buffer")
	}
	return b
}

// Release drops one owner. The last one gives the memory back to the Pool.
func (b *Buffer) Release() {
	switch n := b.refs.Add(-1); {
	case n == 0:
		b.pool.giveBack(b)
	case n < 0:
		panic("buffer: released twice")
	}
}

// View is part of a Buffer: what a read asked for inside the sectors that were
// read. It owns one reference.
type View struct {
	Buffer *Buffer
	Data   []byte
	Done   func() // called by Release, for what was counted with the bytes; may be nil
}

// Release gives the reference back. A View without a Buffer has none.
func (v View) Release() {
	if v.Buffer != nil {
		v.Buffer.Release()
	}
	if v.Done != nil {
		v.Done()
	}
}
