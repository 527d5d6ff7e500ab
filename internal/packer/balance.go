package packer

import (
	"slices"

	"github.com/holdall/holdall"
)

// directoryEntry is about what a block adds to its pack besides its bytes. It
// only weighs one way to pack against another.
const directoryEntry = 64 // bytes

// fewBlocks is the number of blocks a pack up to which it matters how many
// packs there are. With more, k packs are as even as can be.
const fewBlocks = 16

// fill is an assignment of blocks to at most k packs.
type fill struct {
	load  []int // bytes of each pack
	count []int // blocks of each pack
	where []int // the pack of each block, in the order of placing
	bytes int   // the sum of load
}

func newFill(k int) fill { return fill{load: make([]int, k), count: make([]int, k)} }

// place puts a block onto the emptiest pack if one has room for it.
func (f *fill) place(size int) bool {
	best := -1
	for i := range f.load {
		if f.load[i]+size <= holdall.MaxBlockSize && f.count[i] < holdall.MaxPackBlocks &&
			(best < 0 || f.load[i] < f.load[best]) {
			best = i
		}
	}
	if best < 0 {
		return false
	}
	f.load[best] += size
	f.count[best]++
	f.where = append(f.where, best)
	f.bytes += size
	return true
}

// cost returns about how many bytes a stripe of these packs and m parities takes
// on disk.
func (f *fill) cost(m int) int64 {
	var sum, height int64
	for i, n := range f.load {
		if n > 0 {
			r := holdall.RecordSize(uint32(n + f.count[i]*directoryEntry))
			sum += r
			height = max(height, r)
		}
	}
	return sum + int64(m)*height
}

// bySize returns the indices of sizes, largest first, equals in order.
func bySize(sizes []int) []int {
	order := make([]int, len(sizes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return sizes[b] - sizes[a] })
	return order
}

// fillInOrder places sizes into k packs in the given order. Largest first, the
// height is at most 4/3 of the best there is (Graham 1969), and close to it when
// blocks are many. where is in the order of sizes. It returns false when they do
// not fit.
func fillInOrder(k int, sizes, order []int) (fill, bool) {
	f := newFill(k)
	where := make([]int, len(sizes))
	for n, i := range order {
		if !f.place(sizes[i]) {
			return fill{}, false
		}
		where[i] = f.where[n]
	}
	f.where = where
	return f, true
}

// balance returns the pack of each block such that the stripe, with m parities,
// takes few bytes. known is an assignment that fits; the result is no worse.
func balance(sizes []int, m int, known fill) []int {
	k := len(known.load)
	first := 1
	if len(sizes) > k*fewBlocks {
		first = k
	}
	best, order := known, bySize(sizes)
	for packs := max(first, (known.bytes-1)/holdall.MaxBlockSize+1); packs <= k; packs++ {
		if f, ok := fillInOrder(packs, sizes, order); ok && f.cost(m) < best.cost(m) {
			best = f
		}
	}
	return best.where
}
