package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// lateRoot is a root that the journal does not commit.
type lateRoot struct {
	candidate
	root *manifest.Root
}

// lateRoots makes versions of the roots that the journal does not list and that lie
// where only what is younger than it can: nobody knows whether their commits were
// acknowledged.
func (r *rebuild) lateRoots(ctx context.Context) error {
	r.dropCommitted()
	var roots []lateRoot
	listed := map[metadata.BlockKey]bool{} // by another: bytes of an object that look like a root are none
	keys := func(yield func(int, metadata.BlockKey) bool) {
		for i := range r.named.candidates {
			if !yield(i, r.named.candidates[i].BlockKey) {
				return
			}
		}
	}
	err := r.ahead(ctx, keys, func(i int, k metadata.BlockKey, f fetched) error {
		entries, err := f.entries()
		for i := range entries {
			listed[metadata.BlockKey{Namespace: k.Namespace, ID: entries[i].ID}] = true
		}
		if err != nil || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if root, err := manifest.ParseRoot(f.bytes); err == nil && root.Namespace == k.Namespace && !r.named.noBucket[root.Bucket] {
			root.Inline = nil
			roots = append(roots, lateRoot{r.named.candidates[i], root})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range roots {
		if listed[roots[i].BlockKey] {
			continue
		}
		if err := r.lateRoot(ctx, &roots[i]); err != nil {
			return err
		}
	}
	return nil
}

// dropCommitted leaves those candidates that no change commits, each once.
func (r *rebuild) dropCommitted() {
	seen := make(map[metadata.BlockKey]bool, len(r.named.candidates))
	for _, c := range r.named.candidates {
		seen[c.BlockKey] = false
	}
	for i := range r.s.changes {
		c := &r.s.changes[i]
		k := metadata.BlockKey{Namespace: c.Namespace, ID: c.ID}
		if _, candidate := seen[k]; candidate && (c.Kind == metadata.ChangeObject || c.Kind == metadata.ChangeNode) {
			seen[k] = true
		}
	}
	r.named.candidates = slices.DeleteFunc(r.named.candidates, func(c candidate) bool {
		was := seen[c.BlockKey]
		seen[c.BlockKey] = true
		return was
	})
}

func (r *rebuild) lateRoot(ctx context.Context, l *lateRoot) error {
	rows, err := r.to.Lookup(l.Namespace, []holdall.BlockID{l.ID})
	if err != nil || !rows[0].Found || rows[0].References != 0 {
		return err
	}
	tell := Listed{Kind: "late", Namespace: l.Namespace, Bucket: l.root.Bucket, Key: l.root.Key, Block: &l.ID, Volume: l.volume, Stripe: l.stripe}
	if err := r.complete(ctx, l.Namespace, l.root.Entries); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		tell.Reason = "the root of an object that is younger than the journal; it is not put back, for it is not complete: " + err.Error()
		if !errors.Is(err, holdall.ErrNotFound) {
			r.doubtful(l.Namespace, "a manifest node cannot be read")
		}
		return r.list(tell)
	}
	o, _, err := r.to.AddObject(foundObject(l.root, l.ID))
	if err != nil {
		return err
	}
	if o.Version == 0 { // a repeat of a put, or its bucket cannot be there: nothing was acknowledged
		return nil
	}
	r.report.LateObjects++
	tell.Version, tell.Reason = o.Version, "younger than the last journal block: it is the newest version of its key now, whether it was acknowledged or not"
	if err := r.list(tell); err != nil {
		return err
	}
	return r.count(ctx, l.BlockKey, l.root.Entries)
}

// complete says what the objects with these entries lack: ErrNotFound if it is
// nowhere.
func (r *rebuild) complete(ctx context.Context, ns holdall.NamespaceID, entries []manifest.Entry) error {
	ids := make([]holdall.BlockID, len(entries))
	for i := range entries {
		ids[i] = entries[i].ID
	}
	rows, err := r.to.Lookup(ns, ids)
	if err != nil {
		return err
	}
	for i := range rows {
		if !rows[i].Found {
			return fmt.Errorf("block %v is nowhere: %w", ids[i], holdall.ErrNotFound)
		}
		if entries[i].Height == 0 || rows[i].Node {
			continue
		}
		f := r.fetch(ctx, metadata.BlockKey{Namespace: ns, ID: ids[i]})
		below, err := f.entries()
		if err == nil {
			err = r.complete(ctx, ns, below)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holdDoubtful makes blocks direct that nothing is known to refer to, where
// something may: what is not known for certain must not be purged. They are listed.
func (r *rebuild) holdDoubtful(ctx context.Context) error {
	if r.report.Unordered > 0 && r.named.doubtAll == "" {
		r.named.doubtAll = "stripes are of unknown place in the order"
	}
	if r.named.doubtAll == "" && len(r.named.doubt) == 0 {
		return nil
	}
	var ids []holdall.BlockID
	var of holdall.NamespaceID
	hold := func() error {
		if len(ids) == 0 {
			return nil
		}
		r.report.Held += len(ids)
		err := r.to.Claim(of, ids)
		ids = ids[:0]
		return err
	}
	for b, err := range r.to.Blocks() {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		why := r.whyHeld(&b)
		if why == "" {
			continue
		}
		if b.Namespace != of || len(ids) == holdall.MaxIDsPerCall {
			if err := hold(); err != nil {
				return err
			}
		}
		of, ids = b.Namespace, append(ids, b.ID)
		id := b.ID
		if err := r.list(Listed{Kind: "held", Namespace: b.Namespace, Block: &id, Reason: why + ", so an object may refer to it: it is kept until it is deleted by its id"}); err != nil {
			return err
		}
	}
	return hold()
}

// whyHeld says why a block that nothing holds for certain must stay; "" = it need
// not. Blocks that were put by id and deleted count where there are objects: an
// object may have come to refer to one after all.
func (r *rebuild) whyHeld(b *metadata.Block) string {
	if b.Direct || b.References != 0 || b.Namespace == holdall.SystemNamespace || b.PendingUntil.IsZero() && !r.named.buckets[b.Namespace] {
		return ""
	}
	if why := r.named.doubt[b.Namespace]; why != "" {
		return why
	}
	return r.named.doubtAll
}

// located is where a block lies.
type located struct {
	reader *packReader
	id     holdall.BlockID
	shard  int
	off, n int
}

// spot is a data shard's record.
type spot struct {
	offset int64
	stripe *holdall.Stripe
	shard  int
}

// spots returns the records of each member of v, in order.
func (s *Survey) spots(ctx context.Context, v *FoundVolume) ([][]spot, error) {
	stripes, err := s.table(ctx, v)
	if err != nil || v.spots != nil {
		return v.spots, err
	}
	v.spots = make([][]spot, len(v.Members))
	for number, stripe := range stripes {
		for shard := range v.Scheme.K() {
			if p := stripe.Shards[shard]; p.Length > 0 {
				m := holdall.ShardMember(number, shard, len(stripe.Shards))
				v.spots[m] = append(v.spots[m], spot{p.Offset, stripe, shard})
			}
		}
	}
	for _, list := range v.spots {
		slices.SortFunc(list, func(a, b spot) int { return compare(uint64(a.offset), uint64(b.offset)) })
	}
	return v.spots, nil
}

// locate finds a block by its row.
func (r *rebuild) locate(ctx context.Context, k metadata.BlockKey) (*located, error) {
	r.locating.Lock()
	defer r.locating.Unlock()
	rows, err := r.to.Lookup(k.Namespace, []holdall.BlockID{k.ID})
	if err != nil {
		return nil, err
	}
	at := rows[0].Location
	v := r.volumes[at.Volume]
	if !rows[0].Found || v == nil {
		return nil, fmt.Errorf("block %v is nowhere: %w", k.ID, holdall.ErrNotFound)
	}
	spots, err := r.s.spots(ctx, v.FoundVolume)
	if err != nil {
		return nil, err
	}
	list := spots[at.Member]
	i, exact := slices.BinarySearchFunc(list, at.Offset-holdall.RecordHeaderSize, func(s spot, off int64) int { return compare(uint64(s.offset), uint64(off)) })
	if !exact {
		i--
	}
	if i < 0 {
		return nil, fmt.Errorf("block %v lies before all records of volume %v that are there: %w", k.ID, v.ID, holdall.ErrCorrupt)
	}
	p := list[i]
	off := at.Offset - holdall.RecordHeaderSize - p.offset
	if off+int64(at.Length) > int64(p.stripe.Shards[p.shard].Length) {
		return nil, fmt.Errorf("block %v lies in no record of volume %v that is there: %w", k.ID, v.ID, holdall.ErrCorrupt)
	}
	reader, err := r.s.reader(v.FoundVolume, p.stripe)
	return &located{reader, k.ID, p.shard, int(off), int(at.Length)}, err
}

// read returns a block's bytes, which hash to its id.
func (l *located) read(ctx context.Context) ([]byte, error) {
	view, err := l.reader.bytes(ctx, l.shard, l.off, l.n)
	if err != nil {
		return nil, err
	}
	defer view.Release()
	if id := holdall.HashBlock(view.Data); id != l.id {
		return nil, fmt.Errorf("block %v hashes to %v: %w", l.id, id, holdall.ErrCorrupt)
	}
	return slices.Clone(view.Data), nil
}

// fetch reads one block.
func (r *rebuild) fetch(ctx context.Context, k metadata.BlockKey) fetched {
	p, err := r.locate(ctx, k)
	if err != nil {
		return fetched{err: err}
	}
	b, err := p.read(ctx)
	return fetched{b, err}
}
