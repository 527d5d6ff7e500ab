package upkeep

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// NameLoader brings back names, once all blocks are in their places.
// *metadata.Rebuilder is one.
type NameLoader interface {
	ReplayNames([]metadata.Change) error
	AddObject(metadata.FoundObject) (o metadata.Object, held bool, err error)
	AddNode(metadata.FoundNode) (missing []holdall.BlockID, err error)
	RowLoader
}

// RowLoader reads rows of blocks, and holds them. *metadata.Rebuilder is one.
type RowLoader interface {
	Lookup(ns holdall.NamespaceID, ids []holdall.BlockID) ([]metadata.Block, error)
	Blocks() iter.Seq2[metadata.Block, error]
	Claim(ns holdall.NamespaceID, ids []holdall.BlockID) error
}

// commitWait bounds the time from a root's stripe to the root's commit, which
// follows it at once: a root that the journal does not commit, of a stripe that it
// lists among the last, may have been committed after them.
const commitWait = 2 * time.Minute

// maxRootSize bounds the blocks that may be a root: its fields at their longest, and
// the larger of its inline bytes and its entries.
const maxRootSize = 100 << 10

// named is what a rebuild knows of names before it replays them.
type named struct {
	nodes      map[metadata.BlockKey]bool     // committed, and not gone since; true: its children are counted
	gone       map[holdall.Version]string     // purged, by the journal: their keys
	noBucket   map[holdall.BucketID]bool      // removed
	noSpace    map[holdall.NamespaceID]bool   // removed
	buckets    map[holdall.NamespaceID]bool   // have, or had, one
	until      time.Time                      // of the last change
	candidates []candidate                    // small blocks of objects that are younger than the journal, or nearly
	doubt      map[holdall.NamespaceID]string // why references may be lacking there
	doubtAll   string                         // or everywhere
}

type candidate struct {
	metadata.BlockKey
	volume holdall.VolumeID
	stripe uint64
}

// know learns from the journal what names come to.
func (r *rebuild) know() {
	n := &r.named
	n.nodes, n.gone = map[metadata.BlockKey]bool{}, map[holdall.Version]string{}
	n.noBucket, n.noSpace = map[holdall.BucketID]bool{}, map[holdall.NamespaceID]bool{}
	n.buckets, n.doubt = map[holdall.NamespaceID]bool{}, map[holdall.NamespaceID]string{}
	for i := range r.s.changes {
		c := &r.s.changes[i]
		k := metadata.BlockKey{Namespace: c.Namespace, ID: c.ID}
		if c.Time.After(n.until) {
			n.until = c.Time
		}
		switch c.Kind {
		case metadata.ChangeNode, metadata.ChangeObject:
			n.nodes[k] = false
		case metadata.ChangeNodeGone, metadata.ChangePurge:
			delete(n.nodes, k)
		case metadata.ChangeObjectGone:
			n.gone[c.Version] = c.Key
		case metadata.ChangeBucket:
			n.buckets[c.Namespace] = true
		case metadata.ChangeBucketGone:
			n.noBucket[c.Bucket] = true
		case metadata.ChangeNamespaceGone:
			n.noSpace[c.Namespace] = true
		}
	}
	if r.s.gaps || r.s.torn {
		n.doubtAll = "the change journal lacks a part"
	}
}

// notice keeps the blocks of a stripe that may be roots which no change commits.
func (r *rebuild) notice(f *loaded) {
	if f.Trashed || f.Journaled && f.Time.Before(r.named.until.Add(-commitWait)) {
		return
	}
	for i := range f.Blocks {
		if b := &f.Blocks[i]; b.Pending && b.Length <= maxRootSize && b.Namespace != holdall.SystemNamespace {
			r.named.candidates = append(r.named.candidates, candidate{metadata.BlockKey{Namespace: b.Namespace, ID: b.ID}, f.Volume, f.Stripe})
		}
	}
}

// fetched is a block read from disks, or why it could not be.
type fetched struct {
	bytes []byte
	err   error
}

// ahead calls each with every block that of yields, in order, and reads several
// ahead.
func (r *rebuild) ahead(ctx context.Context, of iter.Seq2[int, metadata.BlockKey], each func(i int, k metadata.BlockKey, f fetched) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	type slot struct {
		i    int
		k    metadata.BlockKey
		done chan fetched
	}
	queue := make(chan slot, surveyWidth)
	wg.Go(func() {
		defer close(queue)
		for i, k := range of {
			s := slot{i, k, make(chan fetched, 1)}
			select {
			case queue <- s:
			case <-ctx.Done():
				return
			}
			p, err := r.locate(ctx, k)
			if err != nil {
				s.done <- fetched{err: err}
				continue
			}
			wg.Go(func() {
				b, err := p.read(ctx)
				s.done <- fetched{b, err}
			})
		}
	})
	for s := range queue {
		if err := each(s.i, s.k, <-s.done); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// names brings back what the journal and the manifests on disks say of names; then
// what only manifests say, for it is younger; then it holds what may be held by
// something that was not found.
func (r *rebuild) names(ctx context.Context) error {
	for _, step := range []func(context.Context) error{r.replayNames, r.countNodes, r.lateRoots, r.holdDoubtful} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// replayNames replays what befell names, in order.
func (r *rebuild) replayNames(ctx context.Context) error {
	next := 0
	upTo := func(end int) error { // all but commits
		for ; next < end; next++ {
			switch c := &r.s.changes[next]; {
			case c.Kind < metadata.ChangeBucket, c.Kind == metadata.ChangeNode, c.Kind == metadata.ChangeNodeGone,
				c.Kind == metadata.ChangeBucket && r.named.noSpace[c.Namespace]:
			case c.Kind == metadata.ChangeObject:
				if key, gone := r.named.gone[c.Version]; gone {
					if err := r.placeholder(c, key); err != nil {
						return err
					}
				}
			default:
				r.pending = append(r.pending, *c)
			}
		}
		return nil
	}
	roots := func(yield func(int, metadata.BlockKey) bool) {
		for i := range r.s.changes {
			c := &r.s.changes[i]
			if _, gone := r.named.gone[c.Version]; c.Kind != metadata.ChangeObject || gone {
				continue
			}
			if !yield(i, metadata.BlockKey{Namespace: c.Namespace, ID: c.ID}) {
				return
			}
		}
	}
	err := r.ahead(ctx, roots, func(i int, k metadata.BlockKey, f fetched) error {
		if err := upTo(i); err != nil {
			return err
		}
		next++
		r.step(i, len(r.s.changes))
		return r.commit(ctx, &r.s.changes[i], f)
	})
	if err == nil {
		err = upTo(len(r.s.changes))
	}
	if err != nil {
		return err
	}
	return r.flushNames()
}

func (r *rebuild) flushNames() error {
	err := r.to.ReplayNames(r.pending)
	r.pending = r.pending[:0]
	return err
}

// placeholder stands for a version that was purged later: its root may be gone, but
// that it was there put another in trash.
func (r *rebuild) placeholder(c *metadata.Change, key string) error {
	if err := r.flushNames(); err != nil {
		return err
	}
	_, _, err := r.to.AddObject(metadata.FoundObject{Namespace: c.Namespace, Upload: c.Put, Time: c.Time,
		Object: metadata.Object{Bucket: c.Bucket, Key: key, Version: c.Version, Root: c.ID}})
	return err
}

// commit puts a version back that the journal says was committed.
func (r *rebuild) commit(ctx context.Context, c *metadata.Change, f fetched) error {
	if err := r.flushNames(); err != nil {
		return err
	}
	var root *manifest.Root
	if f.err == nil {
		root, f.err = manifest.ParseRoot(f.bytes)
	}
	if f.err == nil && (root.Namespace != c.Namespace || root.Bucket != c.Bucket) {
		f.err = fmt.Errorf("it is of bucket %d of namespace %d: %w", root.Bucket, root.Namespace, holdall.ErrCorrupt)
	}
	if f.err != nil {
		r.doubtful(c.Namespace, "a manifest's root cannot be read")
		r.report.LostObjects++
		return r.list(Listed{Kind: "lost", Namespace: c.Namespace, Bucket: c.Bucket, Version: c.Version, Block: &c.ID,
			Reason: "the root of its manifest cannot be read: " + f.err.Error()})
	}
	found := foundObject(root, c.ID)
	found.Object.Version, found.Object.Source, found.Upload, found.Time = c.Version, c.Facts(), c.Put, c.Time
	o, _, err := r.to.AddObject(found)
	if err != nil {
		return err
	}
	if o.Version == 0 {
		r.doubtful(c.Namespace, "a version cannot be put back")
		r.report.LostObjects++
		return r.list(Listed{Kind: "lost", Namespace: c.Namespace, Bucket: c.Bucket, Key: root.Key, Version: c.Version, Block: &c.ID, Reason: "its bucket is not there, or has a later version already"})
	}
	r.report.Objects++
	return r.count(ctx, metadata.BlockKey{Namespace: c.Namespace, ID: c.ID}, root.Entries)
}

// foundObject is what a root says of its object.
func foundObject(root *manifest.Root, id holdall.BlockID) metadata.FoundObject {
	return metadata.FoundObject{Namespace: root.Namespace, BucketName: root.BucketName, Object: metadata.Object{
		Bucket: root.Bucket, Key: root.Key, Put: root.Put, Origin: metadata.Origin(root.Origin), Root: id, Size: root.Size,
		Modified: root.Modified, ETag: root.ETag, Attributes: bytes.Clone(root.Attributes), Tags: bytes.Clone(root.Tags)}}
}

func (r *rebuild) doubtful(ns holdall.NamespaceID, why string) { r.named.doubt[ns] = why }

// count counts the references of a node's or a root's children, and of the nodes
// among them that the journal does not list: something refers to them.
func (r *rebuild) count(ctx context.Context, k metadata.BlockKey, entries []manifest.Entry) error {
	children := make([]holdall.BlockID, len(entries))
	for i := range entries {
		children[i] = entries[i].ID
	}
	_, journaled := r.named.nodes[k]
	r.named.nodes[k] = true
	missing, err := r.to.AddNode(metadata.FoundNode{Namespace: k.Namespace, ID: k.ID, Children: children, Journaled: journaled})
	if err != nil {
		return err
	}
	for i := range missing {
		if err := r.list(Listed{Kind: "lost", Namespace: k.Namespace, Block: &missing[i], Reason: fmt.Sprintf("manifest node %v lists it, and it is nowhere", k.ID)}); err != nil {
			return err
		}
	}
	for i := range entries {
		child := metadata.BlockKey{Namespace: k.Namespace, ID: entries[i].ID}
		if _, known := r.named.nodes[child]; known || entries[i].Height == 0 || slices.Contains(missing, child.ID) {
			continue
		}
		if err := r.countNode(ctx, child, r.fetch(ctx, child)); err != nil {
			return err
		}
	}
	return nil
}

// countNode is count for a block that was read.
func (r *rebuild) countNode(ctx context.Context, k metadata.BlockKey, f fetched) error {
	entries, err := f.entries()
	if err == nil {
		return r.count(ctx, k, entries)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.named.nodes[k] = true
	r.doubtful(k.Namespace, "a manifest node cannot be read")
	return r.list(Listed{Kind: "lost", Namespace: k.Namespace, Block: &k.ID, Reason: "a manifest node: " + err.Error()})
}

// entries returns what the block lists, which is a node or a root.
func (f *fetched) entries() ([]manifest.Entry, error) {
	if f.err != nil {
		return nil, f.err
	}
	if root, err := manifest.ParseRoot(f.bytes); err == nil {
		return root.Entries, nil
	}
	node, err := manifest.ParseNode(f.bytes)
	if err != nil {
		return nil, err
	}
	return node.Entries, nil
}

// countNodes counts what the nodes refer to that the journal says are there, but
// for those that replayNames met.
func (r *rebuild) countNodes(ctx context.Context) error {
	var left []metadata.BlockKey
	for k, done := range r.named.nodes {
		if !done {
			left = append(left, k)
		}
	}
	slices.SortFunc(left, func(a, b metadata.BlockKey) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return r.ahead(ctx, slices.All(left), func(_ int, k metadata.BlockKey, f fetched) error { return r.countNode(ctx, k, f) })
}
