package upkeep

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/erasure"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// inspect proves from the directories of all data shards of all committed
// stripes of v that no row points into it. Shards that cannot be read are
// rebuilt. An error says why v must not be freed; it wraps ErrRefused when rows
// do point into it, which the count of rows denied: something is broken.
func (u *Upkeep) inspect(ctx context.Context, v *metadata.Volume) error {
	stripes, err := stripesOf(ctx, u.cfg.Extents, v)
	if err != nil {
		return err
	}
	if uint64(len(stripes)) != v.Last {
		return fmt.Errorf("only %d of %d stripes are listed by members that can be read: %w", len(stripes), v.Last, holdall.ErrUnavailable)
	}
	coder, err := u.coders.of(v.Scheme)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inspectWidth)
	for number := uint64(1); number <= v.Last; number++ {
		s := stripes[number]
		g.Go(func() error { return u.inspectStripe(ctx, v, coder, s) })
	}
	return g.Wait()
}

// inspectWidth is how many stripes are inspected at once: it bounds memory.
const inspectWidth = 2

// inspectStripe reads, or rebuilds, the directory of every pack of s and looks
// up what it lists.
func (u *Upkeep) inspectStripe(ctx context.Context, v *metadata.Volume, coder *erasure.Coder, s *holdall.Stripe) error {
	r := newPackReader(u.cfg.Extents, u.cfg.Pool, coder, v, s)
	for shard := range v.Scheme.K() {
		if s.Shards[shard].Length == 0 {
			continue
		}
		entries, err := r.directory(ctx, shard)
		if err == nil {
			err = u.inspectEntries(ctx, v, entries)
		}
		if err != nil {
			return fmt.Errorf("stripe %d shard %d: %w", s.Number, shard, err)
		}
	}
	return nil
}

// inspectEntries refuses when the row of a listed block points into v.
func (u *Upkeep) inspectEntries(ctx context.Context, v *metadata.Volume, entries []volume.BlockEntry) error {
	bySpace := map[holdall.NamespaceID][]holdall.BlockID{}
	for i := range entries {
		bySpace[entries[i].Namespace] = append(bySpace[entries[i].Namespace], entries[i].ID)
	}
	for ns, ids := range bySpace {
		for len(ids) > 0 {
			n := min(len(ids), holdall.MaxIDsPerCall)
			rows, err := u.cfg.Tables.Lookup(ctx, ns, ids[:n], true)
			if err != nil {
				return err
			}
			for i := range rows {
				if rows[i].Found && rows[i].Location.Volume == v.ID {
					u.metrics.disagreements.Inc()
					u.log.Error("a volume whose count of rows is 0 is named by a row: nothing was freed", "volume", v.ID.String(), "block", rows[i].ID.String())
					return fmt.Errorf("block %v has a row that points into it, yet its count of rows is 0: %w", rows[i].ID, holdall.ErrRefused)
				}
			}
			ids = ids[n:]
		}
	}
	return nil
}
