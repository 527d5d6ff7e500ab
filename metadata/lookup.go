package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// A finder finds rows of blocks by their keys, through one iterator: what it
// finds is one state of r, and keys in ascending order cost least. An iterator,
// and not Get, because Get leaves out the filters of the last level, where
// nearly all rows are: a row that is not there would cost as much as one that is.
type finder struct{ it *pebble.Iterator }

func newFinder(r pebble.Reader) (*finder, error) {
	lower, upper := tableBounds(prefixBlock)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper, UseL6Filters: true})
	if err != nil {
		return nil, readError(lower, err)
	}
	return &finder{it}, nil
}

// find fills in b from the row with the given key, if there is one.
func (f *finder) find(b *Block, key []byte) error {
	if !f.it.SeekPrefixGE(key) {
		if err := f.it.Error(); err != nil {
			return readError(key, err)
		}
		return nil
	}
	v, err := f.it.ValueAndErr()
	if err != nil {
		return readError(key, err)
	}
	return decodeBlock(b, v)
}

func (f *finder) close() error { return f.it.Close() }

// lookup appends to dst the row of each id, in the order of ids; ids without a
// row come with Found false. All are of one state of r. Errors wrap ErrInvalid
// for a namespace that does not exist.
func lookup(r pebble.Reader, ns holdall.NamespaceID, ids []holdall.BlockID, dst []Block) ([]Block, error) {
	if _, ok, err := readNamespace(r, ns); err != nil || !ok {
		if err == nil {
			err = fmt.Errorf("metadata: namespace %d does not exist: %w", ns, holdall.ErrInvalid)
		}
		return dst, err
	}
	first := len(dst)
	dst = slices.Grow(dst, len(ids))
	for _, id := range ids {
		dst = append(dst, Block{Namespace: ns, ID: id})
	}
	f, err := newFinder(r)
	if err != nil {
		return dst, err
	}
	scratch := lookups.Get().(*lookupScratch)
	defer lookups.Put(scratch)
	found := dst[first:]
	for _, at := range scratch.sorted(ids) {
		scratch.key = appendBlockKey(scratch.key[:0], ns, &found[at].ID)
		if err = f.find(&found[at], scratch.key); err != nil {
			break
		}
	}
	return dst, errors.Join(err, f.close())
}

// lookupScratch is what a lookup needs beside its result.
type lookupScratch struct {
	order []int
	key   []byte
}

var lookups = sync.Pool{New: func() any { return new(lookupScratch) }}

// sorted returns the indexes of ids in the order of the ids.
func (s *lookupScratch) sorted(ids []holdall.BlockID) []int {
	s.order = s.order[:0]
	for i := range ids {
		s.order = append(s.order, i)
	}
	slices.SortFunc(s.order, func(a, b int) int { return bytes.Compare(ids[a][:], ids[b][:]) })
	return s.order
}
