package upkeep

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/erasure"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// inspect proves from the directories of all data shards of all committed
// stripes of v that no row points into it. Shards that cannot be read are
// rebuilt. An error says why v must not be freed; it wraps ErrRefused when rows
// do point into it, which the count of rows denied: something is broken.
func (u *Upkeep) inspect(ctx context.Context, v *metadata.Volume) error {
	stripes, err := u.stripes(ctx, v)
	if err != nil {
		return err
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

// stripes collects the table of every committed stripe of v from its members'
// footers or memory. Where two members list a stripe they must agree.
func (u *Upkeep) stripes(ctx context.Context, v *metadata.Volume) (map[uint64]*holdall.Stripe, error) {
	found := make(map[uint64]*holdall.Stripe, v.Last)
	var errs []error
	for m := range v.Members {
		if uint64(len(found)) == v.Last {
			break
		}
		if err := u.memberStripes(ctx, v, m, found); err != nil {
			errs = append(errs, err)
		}
	}
	if uint64(len(found)) != v.Last {
		errs = append(errs, fmt.Errorf("only %d of %d stripes are listed by members that can be read: %w", len(found), v.Last, holdall.ErrUnavailable))
		return nil, errors.Join(errs...)
	}
	return found, nil
}

// memberStripes adds the stripes that have a record on member m.
func (u *Upkeep) memberStripes(ctx context.Context, v *metadata.Volume, m int, found map[uint64]*holdall.Stripe) error {
	return u.cfg.Extents.Stripes(ctx, v.Members[m].Disk, v.Extent(m), func(s holdall.Stripe) error {
		switch have := found[s.Number]; {
		case s.Number > v.Last:
		case len(s.Shards) != v.Scheme.N() || s.Number == 0:
			return fmt.Errorf("member %d lists stripe %d with %d shards: %w", m, s.Number, len(s.Shards), holdall.ErrCorrupt)
		case have == nil:
			found[s.Number] = &s
		case !sameStripe(have, &s):
			return fmt.Errorf("members disagree about stripe %d: %w", s.Number, holdall.ErrCorrupt)
		}
		return nil
	})
}

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

// inspectStripe reads, or rebuilds, every pack of s and looks up what it lists.
func (u *Upkeep) inspectStripe(ctx context.Context, v *metadata.Volume, coder *erasure.Coder, s *holdall.Stripe) error {
	r := &stripeReader{u: u, v: v, s: s, views: make([]*buffer.View, len(s.Shards)), bad: make([]bool, len(s.Shards))}
	defer r.release()
	for shard := range v.Scheme.K() {
		if s.Shards[shard].Length == 0 {
			continue
		}
		payload, done, err := r.payload(ctx, coder, shard)
		if err != nil {
			return fmt.Errorf("stripe %d shard %d: %w", s.Number, shard, err)
		}
		entries, err := volume.ParseDirectory(payload)
		done()
		if err != nil {
			return fmt.Errorf("stripe %d shard %d: %w", s.Number, shard, err)
		}
		if err := u.inspectEntries(ctx, v, entries); err != nil {
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

// stripeReader reads shards of one stripe, each once, and keeps those that were
// read for a rebuild until release.
type stripeReader struct {
	u     *Upkeep
	v     *metadata.Volume
	s     *holdall.Stripe
	views []*buffer.View
	bad   []bool
}

func (r *stripeReader) release() {
	for _, view := range r.views {
		if view != nil {
			view.Release()
		}
	}
}

// read returns the whole payload of a shard, verified.
func (r *stripeReader) read(ctx context.Context, shard int) ([]byte, error) {
	if r.views[shard] != nil {
		return r.views[shard].Data, nil
	}
	m := holdall.ShardMember(r.s.Number, shard, len(r.s.Shards))
	p := r.s.Shards[shard]
	view, err := r.u.cfg.Extents.ReadChecked(ctx, r.v.Members[m].Disk, r.v.Extent(m), p.Offset, 0, int(p.Length))
	if err != nil {
		r.bad[shard] = true
		return nil, err
	}
	r.views[shard] = &view
	return view.Data, nil
}

// payload returns a data shard's payload, rebuilt if it cannot be read. The
// caller calls done when it has seen it.
func (r *stripeReader) payload(ctx context.Context, coder *erasure.Coder, shard int) (_ []byte, done func(), err error) {
	if b, err := r.read(ctx, shard); err == nil {
		// Kept for a rebuild of another shard only once one is needed: most
		// stripes are whole, and memory is for one shard at a time.
		return b, func() { r.drop(shard) }, nil
	}
	for ctx.Err() == nil {
		p, err := coder.Plan(shard, r.survivors())
		if err != nil {
			return nil, nil, err
		}
		reads, ok := r.readAll(ctx, p.Reads())
		if !ok {
			continue // one more is bad: plan again without it
		}
		out := r.u.cfg.Pool.Take(int(r.s.Shards[shard].Length))
		if err := p.Rebuild(out.Bytes(), clip(reads, out.Len())); err != nil {
			out.Release()
			return nil, nil, err
		}
		return out.Bytes(), out.Release, nil
	}
	return nil, nil, context.Cause(ctx)
}

// clip cuts shards to n bytes: the range that is rebuilt.
func clip(reads [][]byte, n int) [][]byte {
	for i := range reads {
		reads[i] = reads[i][:min(n, len(reads[i]))]
	}
	return reads
}

func (r *stripeReader) drop(shard int) {
	if r.views[shard] != nil {
		r.views[shard].Release()
		r.views[shard] = nil
	}
}

func (r *stripeReader) survivors() []erasure.Shard {
	shards := make([]erasure.Shard, len(r.s.Shards))
	for i, p := range r.s.Shards {
		absent := p.Length == 0
		shards[i] = erasure.Shard{Have: absent || !r.bad[i], Zero: absent, Cost: 1}
	}
	return shards
}

func (r *stripeReader) readAll(ctx context.Context, shards []int) ([][]byte, bool) {
	out := make([][]byte, len(shards))
	for i, shard := range shards {
		b, err := r.read(ctx, shard)
		if err != nil {
			return nil, false
		}
		out[i] = b
	}
	return out, true
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
