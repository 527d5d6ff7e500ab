package object

import (
	"bytes"
	"context"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// walk goes over the blocks of a stretch of an object, in order. It holds one
// node of each height.
type walk struct {
	load  func(ctx context.Context, id holdall.BlockID, noWait bool) (*manifest.Node, error)
	whole uint8 // nodes up to this height that lie in the stretch whole are not opened

	path []steps
	skip int64 // bytes before the stretch, of what path has left
	left int64 // bytes of the stretch that are to come
}

// steps are the entries of a node that are to come.
type steps []manifest.Entry

// piece is bytes of one entry, of a data block as a rule.
type piece struct {
	manifest.Entry
	offset, length int64
}

// next returns the next piece; one of no bytes at the end. With noWait it returns
// ErrExhausted where it would wait for memory. After an error it may be asked
// again.
func (w *walk) next(ctx context.Context, noWait bool) (piece, error) {
	for w.left > 0 {
		if len(w.path) == 0 {
			return piece{}, fmt.Errorf("object: its manifest ends %d bytes early: %w", w.left, holdall.ErrCorrupt)
		}
		top := &w.path[len(w.path)-1]
		if len(*top) == 0 {
			w.path = w.path[:len(w.path)-1]
			continue
		}
		e := (*top)[0]
		if w.skip >= e.Size {
			*top, w.skip = (*top)[1:], w.skip-e.Size
			continue
		}
		n := min(e.Size-w.skip, w.left)
		if e.Height == 0 || e.Height <= w.whole && n == e.Size {
			p := piece{e, w.skip, n}
			*top, w.skip, w.left = (*top)[1:], 0, w.left-n
			return p, nil
		}
		node, err := w.load(ctx, e.ID, noWait)
		if err != nil {
			return piece{}, err
		}
		if node.Height() != e.Height || node.Size() != e.Size { // heights fall, so a walk ends
			return piece{}, fmt.Errorf("object: node %v has height %d and stands for %d bytes, its parent says %d and %d: %w",
				e.ID, node.Height(), node.Size(), e.Height, e.Size, holdall.ErrCorrupt)
		}
		*top = (*top)[1:]
		w.path = append(w.path, node.Entries)
	}
	return piece{}, nil
}

// walkOf returns a walk over a stretch of an object that is not inline.
func (s *Objects) walkOf(ns holdall.NamespaceID, root *manifest.Root, offset, length int64) *walk {
	return &walk{path: []steps{root.Entries}, skip: offset, left: length, load: func(ctx context.Context, id holdall.BlockID, noWait bool) (*manifest.Node, error) {
		var n *manifest.Node
		err := s.whole(ctx, ns, id, gateway.GetOptions{NoWait: noWait}, func(b []byte) (err error) {
			n, err = manifest.ParseNode(b)
			return err
		})
		return n, err
	}}
}

// root returns the root of a version, which must be what its row says.
func (s *Objects) root(ctx context.Context, ns holdall.NamespaceID, o *metadata.Object) (root *manifest.Root, err error) {
	err = s.whole(ctx, ns, o.Root, gateway.GetOptions{}, func(b []byte) (err error) {
		root, err = manifest.ParseRoot(bytes.Clone(b))
		return err
	})
	if err == nil && (root.Put != o.Put || root.Size != o.Size || root.Bucket != o.Bucket || root.Key != o.Key) {
		err = fmt.Errorf("object: root %v is of put %v to %.80q, %d bytes, its row says put %v to %.80q, %d bytes: %w",
			o.Root, root.Put, root.Key, root.Size, o.Put, o.Key, o.Size, holdall.ErrCorrupt)
	}
	return root, err
}

// whole reads a block of a manifest and hands its bytes to parse, which keeps
// nothing of them.
func (s *Objects) whole(ctx context.Context, ns holdall.NamespaceID, id holdall.BlockID, o gateway.GetOptions, parse func([]byte) error) error {
	res, err := s.cfg.Blocks.Get(ctx, ns, id, o)
	if err != nil {
		return err
	}
	defer res.View.Release()
	if err := parse(res.View.Data); err != nil {
		return fmt.Errorf("object: block %v: %w", id, err)
	}
	return nil
}
