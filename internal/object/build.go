package object

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
)

// nodes takes the nodes of a tree that grows.
type nodes interface {
	// putNode stores a node and counts the references on its children, which
	// need nobody to hold them from then on.
	putNode(ctx context.Context, n *manifest.Node) (holdall.BlockID, error)

	// hold makes sure that blocks stay for another day.
	hold(ctx context.Context, ids []holdall.BlockID) error
}

// tree is a manifest that grows from below: entries come in the order of the
// object's bytes, and as soon as a node's worth of them is there the node is
// stored. It holds at most max entries of each level, whatever the object's size.
type tree struct {
	nodes nodes
	max   int // entries of a node
	now   func() time.Time

	levels [][]manifest.Entry // whose nodes are not stored yet; the last level's come first in the object
	size   int64
	count  int64 // entries that were added
	hash   *holdall.Hasher
	held   time.Time // when all entries in levels were surely still held
}

// holdEvery is how often blocks that no node lists yet are held anew; they are
// held for 24 h.
const holdEvery = 6 * time.Hour

func newTree(n nodes, entries int, now func() time.Time) *tree {
	return &tree{nodes: n, max: entries, now: now, hash: holdall.NewHasher(), held: now()}
}

// add appends an entry.
func (t *tree) add(ctx context.Context, e manifest.Entry) error {
	if e.Size > holdall.MaxObjectSize-t.size {
		return fmt.Errorf("object: more than %d bytes: %w", int64(holdall.MaxObjectSize), ErrTooLarge)
	}
	t.size += e.Size
	t.count++
	t.hash.Write(e.ID[:])
	if now := t.now(); now.Sub(t.held) >= holdEvery || now.Before(t.held) {
		if err := t.holdAll(ctx); err != nil {
			return err
		}
		t.held = now
	}
	return t.push(ctx, 0, e)
}

// holdAll holds every block that no stored node lists.
func (t *tree) holdAll(ctx context.Context) error {
	var ids []holdall.BlockID
	for _, l := range t.levels {
		for _, e := range l {
			ids = append(ids, e.ID)
		}
	}
	for len(ids) > 0 {
		now := ids[:min(len(ids), holdall.MaxIDsPerCall)]
		ids = ids[len(now):]
		if err := t.nodes.hold(ctx, now); err != nil {
			return err
		}
	}
	return nil
}

// push appends an entry to a level, whose entries become a node first if they
// are as many as a node takes.
func (t *tree) push(ctx context.Context, level int, e manifest.Entry) error {
	if level == len(t.levels) {
		t.levels = append(t.levels, make([]manifest.Entry, 0, min(t.max, 16)))
	}
	if len(t.levels[level]) == t.max {
		if err := t.raise(ctx, level); err != nil {
			return err
		}
	}
	t.levels[level] = append(t.levels[level], e)
	return nil
}

// raise makes one entry of the next level of all entries of a level. One alone
// needs no node.
func (t *tree) raise(ctx context.Context, level int) error {
	entries := t.levels[level]
	e := entries[0]
	if len(entries) > 1 {
		n := &manifest.Node{Entries: entries}
		id, err := t.nodes.putNode(ctx, n)
		if err != nil {
			return err
		}
		e = manifest.Entry{Height: n.Height(), ID: id, Size: n.Size()}
	}
	t.levels[level] = entries[:0]
	return t.push(ctx, level+1, e)
}

// finish returns the entries of the root, at most max: those of the highest level
// first, which come first in the object. Lower levels become nodes as far as they
// must.
func (t *tree) finish(ctx context.Context) ([]manifest.Entry, error) {
	for level := 0; ; level++ {
		total := 0
		for _, l := range t.levels {
			total += len(l)
		}
		if total <= t.max {
			break
		}
		if len(t.levels[level]) == 0 {
			continue
		}
		if err := t.raise(ctx, level); err != nil {
			return nil, err
		}
	}
	var entries []manifest.Entry
	for level := len(t.levels) - 1; level >= 0; level-- {
		entries = append(entries, t.levels[level]...)
	}
	return entries, nil
}

// top returns one entry that stands for everything, as a part of an upload needs
// it.
func (t *tree) top(ctx context.Context) (manifest.Entry, error) {
	entries, err := t.finish(ctx)
	if err != nil || len(entries) <= 1 {
		return first(entries), err
	}
	n := &manifest.Node{Entries: entries}
	id, err := t.nodes.putNode(ctx, n)
	return manifest.Entry{Height: n.Height(), ID: id, Size: n.Size()}, err
}

func first(entries []manifest.Entry) (e manifest.Entry) {
	if len(entries) > 0 {
		e = entries[0]
	}
	return e
}

// etag is the ETag of what nobody named another one for.
func (t *tree) etag() string { return etagOf(t.hash, t.count) }

// etagOf makes an ETag of the ids that h has seen.
func etagOf(h *holdall.Hasher, count int64) string {
	id := h.ID()
	return fmt.Sprintf("%s-%d", hex.EncodeToString(id[:16]), count)
}
