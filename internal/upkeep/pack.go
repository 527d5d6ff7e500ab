package upkeep

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/erasure"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// shards is what reading packs takes. *volume.Server is one.
type shards interface {
	ReadChecked(ctx context.Context, disk holdall.DiskID, extent holdall.ExtentID, rec int64, off, n int) (buffer.View, error)
	Stripes(ctx context.Context, disk holdall.DiskID, extent holdall.ExtentID, each func(holdall.Stripe) error) error
}

// stripesOf collects the tables of the stripes of v up to v.Last, by number,
// from the footers, or the memory, of its members. Two members that list one
// stripe must agree. Members that cannot be read are left out: only if they
// leave stripes unknown are their errors returned.
func stripesOf(ctx context.Context, from shards, v *metadata.Volume) (map[uint64]*holdall.Stripe, error) {
	found := map[uint64]*holdall.Stripe{}
	var errs []error
	for m := range v.Members {
		if uint64(len(found)) == v.Last {
			return found, nil
		}
		err := from.Stripes(ctx, v.Members[m].Disk, v.Extent(m), func(s holdall.Stripe) error {
			switch have := found[s.Number]; {
			case s.Number > v.Last:
			case len(s.Shards) != v.Scheme.N() || s.Number == 0:
				return fmt.Errorf("member %d lists stripe %d with %d shards: %w", m, s.Number, len(s.Shards), holdall.ErrCorrupt)
			case have == nil:
				found[s.Number] = &s
			case !sameStripe(have, &s):
				return fmt.Errorf("members disagree about stripe %d: %w", s.Number, errDisagree)
			}
			return nil
		})
		if errors.Is(err, errDisagree) {
			return nil, err
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("member %d: %w", m, err))
		}
	}
	if uint64(len(found)) == v.Last {
		return found, nil
	}
	return found, errors.Join(errs...)
}

// errDisagree is of members whose tables differ: no shard may be combined.
var errDisagree = fmt.Errorf("stripe tables differ: %w", holdall.ErrCorrupt)

func sameStripe(a, b *holdall.Stripe) bool {
	if a.Volume != b.Volume || a.Epoch != b.Epoch || a.Number != b.Number || a.Scheme != b.Scheme || len(a.Shards) != len(b.Shards) {
		return false
	}
	for i := range a.Shards {
		if a.Shards[i] != b.Shards[i] {
			return false
		}
	}
	return true
}

// packReader reads ranges of the packs of one stripe, verified, and rebuilds
// those that cannot be read. It is used by one goroutine.
type packReader struct {
	from  shards
	pool  *buffer.Pool
	coder *erasure.Coder
	v     *metadata.Volume
	s     *holdall.Stripe
	bad   []bool // shards that could not be read
}

func newPackReader(from shards, pool *buffer.Pool, coder *erasure.Coder, v *metadata.Volume, s *holdall.Stripe) *packReader {
	return &packReader{from: from, pool: pool, coder: coder, v: v, s: s, bad: make([]bool, len(s.Shards))}
}

// directory returns what the pack of a data shard lists.
func (r *packReader) directory(ctx context.Context, shard int) ([]volume.BlockEntry, error) {
	length := int(r.s.Shards[shard].Length)
	// The last checksummed chunk has it all, unless the pack has many blocks.
	last := length - (length-1)/volume.ChunkSize*volume.ChunkSize
	var entries []volume.BlockEntry
	var err error
	for _, n := range []int{last, min(length, volume.DirectorySize(holdall.MaxPackBlocks))} {
		var view buffer.View
		if view, err = r.bytes(ctx, shard, length-n, n); err != nil {
			return nil, err
		}
		entries, err = volume.ParseDirectoryTail(view.Data, length)
		view.Release()
		if err == nil {
			break
		}
	}
	return entries, err
}

// bytes returns n bytes at off of a shard's payload. The caller releases them.
func (r *packReader) bytes(ctx context.Context, shard, off, n int) (buffer.View, error) {
	if view, err := r.read(ctx, shard, off, n); err == nil {
		return view, nil
	}
	for ctx.Err() == nil {
		plan, err := r.coder.Plan(shard, r.survivors(off))
		if err != nil {
			return buffer.View{}, err
		}
		views, ok := r.readAll(ctx, plan.Reads(), off, n)
		if !ok {
			continue // one more is bad: plan again without it
		}
		out := r.pool.Take(n)
		err = plan.Rebuild(out.Bytes(), dataOf(views))
		for _, view := range views {
			view.Release()
		}
		if err != nil {
			out.Release()
			return buffer.View{}, err
		}
		return buffer.View{Buffer: out, Data: out.Bytes()}, nil
	}
	return buffer.View{}, fmt.Errorf("rebuild of stripe %d shard %d: %w: %w", r.s.Number, shard, context.Cause(ctx), holdall.ErrUnavailable)
}

// read returns as much of the range as the shard has.
func (r *packReader) read(ctx context.Context, shard, off, n int) (buffer.View, error) {
	p := r.s.Shards[shard]
	if n = min(n, int(p.Length)-off); n <= 0 {
		return buffer.View{}, nil // what a shard lacks counts as zeros
	}
	m := holdall.ShardMember(r.s.Number, shard, len(r.s.Shards))
	view, err := r.from.ReadChecked(ctx, r.v.Members[m].Disk, r.v.Extent(m), p.Offset, off, n)
	if err != nil {
		r.bad[shard] = true
	}
	return view, err
}

func (r *packReader) readAll(ctx context.Context, shards []int, off, n int) ([]buffer.View, bool) {
	views := make([]buffer.View, 0, len(shards))
	for _, shard := range shards {
		view, err := r.read(ctx, shard, off, n)
		if err != nil {
			for _, v := range views {
				v.Release()
			}
			return nil, false
		}
		views = append(views, view)
	}
	return views, true
}

func dataOf(views []buffer.View) [][]byte {
	data := make([][]byte, len(views))
	for i := range views {
		data[i] = views[i].Data
	}
	return data
}

// survivors says which shards a rebuild of a range from off on may use.
func (r *packReader) survivors(off int) []erasure.Shard {
	list := make([]erasure.Shard, len(r.s.Shards))
	for i, p := range r.s.Shards {
		zero := int(p.Length) <= off
		list[i] = erasure.Shard{Have: zero || !r.bad[i], Zero: zero, Cost: 1}
	}
	return list
}

// coders keeps one coder a scheme: making one inverts matrices.
type coders struct {
	mu       sync.Mutex // guards byScheme
	byScheme map[holdall.Scheme]*erasure.Coder
}

func (c *coders) of(s holdall.Scheme) (*erasure.Coder, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if coder := c.byScheme[s]; coder != nil {
		return coder, nil
	}
	coder, err := erasure.New(s)
	if err != nil {
		return nil, err
	}
	if c.byScheme == nil {
		c.byScheme = map[holdall.Scheme]*erasure.Coder{}
	}
	c.byScheme[s] = coder
	return coder, nil
}
