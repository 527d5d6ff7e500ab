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

// lookup appends to dst the row of each id, in the order of ids; ids without a
// row come with Found false. Errors wrap ErrInvalid for a namespace that does
// not exist.
//
// The ids are sought in the order of their keys, each once: neighbours share
// index blocks, and those without a row mostly end at a filter in memory.
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
	scratch := lookups.Get().(*lookupScratch)
	defer lookups.Put(scratch)
	found := dst[first:]
	for _, at := range scratch.sorted(ids) {
		scratch.key = appendBlockKey(scratch.key[:0], ns, &found[at].ID)
		v, closer, err := r.Get(scratch.key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return dst, readError(scratch.key, err)
		}
		err = decodeBlock(&found[at], v)
		if err := errors.Join(err, closer.Close()); err != nil {
			return dst, err
		}
	}
	return dst, nil
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
