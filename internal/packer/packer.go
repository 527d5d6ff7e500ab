// Package packer groups waiting blocks into the packs of stripes and says when
// a stripe is due. It is a single-threaded state machine that owns the order
// and the sizes of what waits; it never sees a block's bytes, starts no
// goroutine and reads no clock. Time is an argument.
//
// # Use
//
// One goroutine, or one lock, owns a Packer. Put a block in with Add as soon as
// its bytes are received and hashed. Call Wait after every Add, after every Cut,
// whenever the number of puts in flight falls, and when the time that Wait last
// gave has passed. While Wait answers zero, call Cut and write the stripe:
//
//	for {
//		d, some := p.Wait(now, arriving, writing)
//		if !some { /* stop the timer */ break }
//		if d > 0 { /* set the timer to d */ break }
//		write(p.Cut())
//	}
//
// A gateway that has no volume free to write to may put Cut off: what waits
// then only grows, and the next stripes are wider.
package packer

import (
	"math"
	"slices"
	"time"

	"github.com/holdall/holdall"
)

// MaxWait is the longest that Wait lets a block wait: the cost in latency that
// a put may pay for a wider stripe.
const MaxWait = 250 * time.Millisecond

// rateSpan is the time constant of the arrival rate: long against one stripe,
// short against a change of load that an operator would notice.
const rateSpan = 250 * time.Millisecond

// full is the share of a stripe's capacity, in sixteenths, at which it is not
// worth waiting for more: the parity is then at most 16/15 of the ideal.
const full = 15

// MaxBlocks is the most blocks in a stripe: their commit is one entry of
// metadata, of at most holdall.MaxRaftEntry bytes, and takes up to 74 bytes a
// block (metadata.MaxCommitBlocks).
const MaxBlocks = 13 * holdall.MaxPackBlocks

// Pack is the content of one data shard: whole blocks, in the order in which
// they are to be laid out.
type Pack[T any] struct {
	Items []T
	Bytes int // the sum of the items' sizes, at most holdall.MaxBlockSize
}

// Packer holds blocks that wait for a stripe. T stands for a block; the Packer
// hands it back as it came.
type Packer[T any] struct {
	k, m    int
	waiting []block[T] // in order of arrival
	next    fill       // the stripe that the first blocks of waiting make
	taken   int        // how many of waiting, from the first, are in next
	closed  bool       // next takes no more: it is full, or the block after it does not fit
	rate    rate
}

type block[T any] struct {
	item    T
	size    int
	arrived time.Time
}

// New returns an empty Packer that makes stripes for a valid scheme s.
func New[T any](s holdall.Scheme) *Packer[T] {
	p := &Packer[T]{}
	p.SetScheme(s)
	return p
}

// SetScheme changes the scheme, for what waits already too: stripes have fewer
// packs while disks are missing.
func (p *Packer[T]) SetScheme(s holdall.Scheme) {
	if err := s.Validate(); err != nil {
		panic("packer: " + err.Error())
	}
	if s.K() == p.k && s.M() == p.m {
		return
	}
	p.k, p.m = s.K(), s.M()
	p.refill()
}

// Add makes a block of size bytes, 1 to holdall.MaxBlockSize, wait from now on.
func (p *Packer[T]) Add(now time.Time, item T, size int) {
	if size < 1 || size > holdall.MaxBlockSize {
		panic("packer: size out of range")
	}
	p.rate.add(now, size)
	p.waiting = append(p.waiting, block[T]{item, size, now})
	p.take()
}

// Len returns how many blocks wait.
func (p *Packer[T]) Len() int { return len(p.waiting) }

// Wait returns how long from now the next stripe is to wait for more blocks;
// zero means that it is due. The second result is false when nothing waits.
//
// arriving and writing are the numbers of puts in flight besides those that wait
// here: the ones whose bytes have begun to come and are being received or hashed,
// and the ones whose stripes are being written, because who has been answered
// often sends the next (docs/decisions/0001-packer-waits-for-writes.md has what
// that saves). Leave out the ones that have stalled and those that have yet to
// send a byte, for everybody would wait for them.
//
// A stripe waits only while others are in flight, counted from the arrival of its
// oldest block, no longer than k full packs take to arrive at the present rate,
// and at most MaxWait. A full stripe does not wait, and one that is even enough
// to cost little more than the ideal waits only for what is arriving.
func (p *Packer[T]) Wait(now time.Time, arriving, writing int) (time.Duration, bool) {
	if len(p.waiting) == 0 {
		return 0, false
	}
	if p.closed || arriving <= 0 && (writing <= 0 || p.cheap()) {
		return 0, true
	}
	window := p.rate.timeFor(now, p.k*holdall.MaxBlockSize)
	return max(0, window-now.Sub(p.waiting[0].arrived)), true
}

// cheap says that the next stripe, cut now, takes at most 1/16 more than the
// scheme's ideal: to wait for a write to end would save next to nothing, and
// leave the disks idle meanwhile.
func (p *Packer[T]) cheap() bool {
	ideal := int64(p.next.bytes) * int64(p.k+p.m) / int64(p.k)
	return p.next.cost(p.m) <= ideal+ideal/16
}

// Cut takes the next stripe out: 1 to k packs, the largest first, none empty,
// each of at most holdall.MaxBlockSize bytes and holdall.MaxPackBlocks blocks.
// It takes the longest-waiting blocks, as many as fit; whether they are due is
// the caller's affair. It returns nil when nothing waits.
//
// The packs are as even as a greedy choice makes them (largest block first,
// onto the emptiest pack), because the longest one sets the height of the
// parity. There are as many as make the stripe take the fewest bytes on disk,
// headers counted.
func (p *Packer[T]) Cut() []Pack[T] {
	if len(p.waiting) == 0 {
		return nil
	}
	stripe := p.waiting[:p.taken]
	where := balance(sizesOf(stripe), p.m, p.next)
	packs := make([]Pack[T], p.k)
	for i, b := range stripe {
		pack := &packs[where[i]]
		pack.Items = append(pack.Items, b.item)
		pack.Bytes += b.size
	}
	packs = slices.DeleteFunc(packs, func(a Pack[T]) bool { return a.Bytes == 0 })
	slices.SortStableFunc(packs, func(a, b Pack[T]) int { return b.Bytes - a.Bytes })
	p.waiting = slices.Delete(p.waiting, 0, p.taken)
	p.refill()
	return packs
}

// refill computes next anew, from the blocks that wait.
func (p *Packer[T]) refill() {
	p.next, p.taken, p.closed = newFill(p.k), 0, false
	for p.taken < len(p.waiting) && !p.closed {
		p.take()
	}
}

// take moves the first block that is not in the next stripe into it, or closes
// the stripe if the block does not fit.
func (p *Packer[T]) take() {
	if p.closed {
		return
	}
	size := p.waiting[p.taken].size
	if !p.next.place(size) {
		// Blocks were placed as they came. In order of size they may still fit.
		sizes := sizesOf(p.waiting[:p.taken+1])
		again, ok := fillInOrder(p.k, sizes, bySize(sizes))
		if !ok {
			p.closed = true
			return
		}
		p.next = again
	}
	p.taken++
	p.closed = p.next.bytes >= p.k*holdall.MaxBlockSize*full/16 || p.taken == MaxBlocks ||
		p.taken == p.k*holdall.MaxPackBlocks
}

func sizesOf[T any](blocks []block[T]) []int {
	s := make([]int, len(blocks))
	for i, b := range blocks {
		s[i] = b.size
	}
	return s
}

// rate estimates bytes a second, with weights that fall by e every rateSpan.
type rate struct {
	bytes float64 // weighted, as of last
	last  time.Time
}

func (r *rate) at(now time.Time) float64 {
	if r.last.IsZero() {
		return 0
	}
	return r.bytes * math.Exp(-max(0, now.Sub(r.last).Seconds())/rateSpan.Seconds())
}

func (r *rate) add(now time.Time, n int) {
	r.bytes = r.at(now) + float64(n)
	r.last = now
}

// timeFor returns how long n bytes take to arrive, at most MaxWait.
func (r *rate) timeFor(now time.Time, n int) time.Duration {
	perSecond := r.at(now) / rateSpan.Seconds()
	if perSecond*MaxWait.Seconds() <= float64(n) {
		return MaxWait
	}
	return time.Duration(float64(n) / perSecond * float64(time.Second))
}
