package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/erasure"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
)

// rebuilding is one degraded read: a block whose own shard was not to be had.
type rebuilding struct {
	g      *Gateway
	id     holdall.BlockID
	at     holdall.Location
	volume *metadata.Volume
	coder  *erasure.Coder
	stripe holdall.Stripe
	want   int // the block's shard
	first  int // of the block's bytes in the payload

	views  []buffer.View // by shard, what was read
	shards []erasure.Shard
	faults []error // by shard, why it is not used
	table  int     // the member whose stripe table is used
}

// rebuild returns a block from the shards of its stripe but its own (step 5).
// why is the error of the direct read; nil for a hedge.
func (g *Gateway) rebuild(ctx context.Context, id holdall.BlockID, at holdall.Location, why error) read {
	select {
	case g.rebuilds <- struct{}{}:
		defer func() { <-g.rebuilds }()
	case <-ctx.Done():
		return read{at: at, err: fmt.Errorf("%w: %w", context.Cause(ctx), holdall.ErrUnavailable)}
	}
	g.metrics.rebuilds.Inc()
	view, err := g.rebuildBlock(ctx, id, at, why)
	if err == nil {
		return read{view: view, at: at}
	}
	if errors.Is(err, holdall.ErrDataLoss) {
		g.metrics.losses.Inc()
		g.log.Error("block is lost", "block", id, "volume", at.Volume, "member", at.Member, "offset", at.Offset, "err", err)
		return read{at: at, err: err}
	}
	// Whatever else went wrong, it says nothing of the block's existence.
	if why != nil {
		err = fmt.Errorf("%v; direct read: %v", err, why)
	}
	return read{at: at, err: fmt.Errorf("%v: %w", err, holdall.ErrUnavailable)}
}

func (g *Gateway) rebuildBlock(ctx context.Context, id holdall.BlockID, at holdall.Location, why error) (buffer.View, error) {
	v, err := g.members(at)
	if err != nil {
		return buffer.View{}, err
	}
	coder, err := g.coders.of(v.Scheme)
	if err != nil {
		return buffer.View{}, err
	}
	n := v.Scheme.N()
	r := &rebuilding{g: g, id: id, at: at, volume: v, coder: coder,
		views: make([]buffer.View, n), shards: make([]erasure.Shard, n), faults: make([]error, n)}
	defer r.drop()
	if why != nil {
		g.damage(Damage{Volume: v.ID, Member: int(at.Member), Err: why})
	}
	if err := r.findStripe(ctx); err != nil {
		return buffer.View{}, err
	}
	r.faults[r.want] = why
	// First as for a direct read: the hash of the result answers for all.
	view, err := r.combine(ctx, r.readPlain)
	if err == nil && holdall.HashBlock(view.Data) == id {
		return view, nil
	}
	if err == nil {
		view.Release()
		g.metrics.badRebuilds.Inc()
		return r.careful(ctx)
	}
	return buffer.View{}, r.verdict(err)
}

// drop releases what was read.
func (r *rebuilding) drop() {
	for i, v := range r.views {
		v.Release()
		r.views[i] = buffer.View{}
	}
}

// findStripe asks the members, the block's own last, for the stripe in which the
// block lies.
func (r *rebuilding) findStripe(ctx context.Context) error {
	disks := r.g.health.disks()
	n := len(r.volume.Members)
	var last error
	for _, mayBeDown := range []bool{false, true} {
		for i := 1; i <= n; i++ {
			m := (int(r.at.Member) + i) % n
			if d := disks[r.volume.Members[m].Disk]; d.up == mayBeDown {
				continue
			}
			s, err := r.askTable(ctx, m)
			if err == nil {
				r.use(s, m, disks)
				return nil
			}
			last = err
		}
	}
	return fmt.Errorf("volume %v: no member tells of the stripe at member %d offset %d: %v: %w",
		r.volume.ID, r.at.Member, r.at.Offset, last, holdall.ErrUnavailable)
}

// askTable returns what member m says of the block's stripe, if the block can
// lie in it.
func (r *rebuilding) askTable(ctx context.Context, m int) (holdall.Stripe, error) {
	v := r.volume
	s, err := r.g.cfg.Reader.StripeAt(ctx, v.Members[m].Disk, v.Extent(m), int(r.at.Member), r.at.Offset)
	if err != nil {
		return s, err
	}
	n := v.Scheme.N()
	bad := func(what string) (holdall.Stripe, error) {
		return s, fmt.Errorf("volume %v: table of member %d: stripe %d: %s: %w", v.ID, m, s.Number, what, holdall.ErrCorrupt)
	}
	if s.Volume != v.ID || s.Scheme != v.Scheme || len(s.Shards) != n || s.Number == 0 {
		return bad("is of another volume or scheme")
	}
	p := s.Shards[holdall.MemberShard(s.Number, int(r.at.Member), n)]
	start := p.Offset + holdall.RecordHeaderSize
	if r.at.Offset < start || r.at.Offset+int64(r.at.Length) > start+int64(p.Length) {
		return bad("does not hold the block")
	}
	return s, nil
}

// use takes a stripe's table, which member m told, as the one to read by.
func (r *rebuilding) use(s holdall.Stripe, m int, disks map[holdall.DiskID]diskView) {
	n := len(s.Shards)
	r.stripe, r.table = s, m
	r.want = holdall.MemberShard(s.Number, int(r.at.Member), n)
	r.first = int(r.at.Offset - s.Shards[r.want].Offset - holdall.RecordHeaderSize)
	probation := r.g.health.onProbation()
	for i, p := range s.Shards {
		disk := r.volume.Members[holdall.ShardMember(s.Number, i, n)].Disk
		d := disks[disk]
		_, slow := probation[disk]
		sh := erasure.Shard{Have: i != r.want, Cost: 1}
		switch {
		case int(p.Length) <= r.first:
			sh.Zero, sh.Cost = true, 0 // absent, or ends before the range: zeros are known
		case !d.up || d.state == holdall.DiskRemoved:
			sh.Cost = 16 // asked only if nothing else is left
		case slow || d.status.State != holdall.DiskActive:
			sh.Cost = 4
		}
		r.shards[i] = sh
	}
}

// readShard reads the wanted range of a shard in some way.
type readShard func(ctx context.Context, shard int) (buffer.View, error)

// readPlain reads exactly the range, unverified.
func (r *rebuilding) readPlain(ctx context.Context, shard int) (buffer.View, error) {
	disk, extent, p, n := r.source(shard)
	return r.g.cfg.Reader.Read(ctx, disk, extent, p.Offset+holdall.RecordHeaderSize+int64(r.first), n)
}

// readChecked reads the range by whole chunks, verified by the record's header
// and checksums.
func (r *rebuilding) readChecked(ctx context.Context, shard int) (buffer.View, error) {
	disk, extent, p, n := r.source(shard)
	return r.g.cfg.Reader.ReadChecked(ctx, disk, extent, p.Offset, r.first, n)
}

// source returns where a shard lies, and how many bytes of the range it has.
func (r *rebuilding) source(shard int) (holdall.DiskID, holdall.ExtentID, holdall.ShardPlace, int) {
	m := holdall.ShardMember(r.stripe.Number, shard, len(r.stripe.Shards))
	p := r.stripe.Shards[shard]
	return r.volume.Members[m].Disk, r.volume.Extent(m), p, min(int(r.at.Length), int(p.Length)-r.first)
}

// combine reads the fewest sufficient shards, others in place of those that
// fail, and rebuilds the range. What was read stays for the next call.
func (r *rebuilding) combine(ctx context.Context, read readShard) (buffer.View, error) {
	for {
		plan, err := r.coder.Plan(r.want, r.shards)
		if err != nil {
			return buffer.View{}, err
		}
		if !r.gather(ctx, plan.Reads(), read) {
			if ctx.Err() != nil {
				return buffer.View{}, context.Cause(ctx)
			}
			continue // with what is left
		}
		ranges := make([][]byte, len(plan.Reads()))
		for i, shard := range plan.Reads() {
			ranges[i] = r.views[shard].Data
		}
		buf := r.g.pool.Take(int(r.at.Length))
		if err := plan.Rebuild(buf.Bytes(), ranges); err != nil {
			buf.Release()
			return buffer.View{}, err
		}
		return buffer.View{Buffer: buf, Data: buf.Bytes()}, nil
	}
}

// gather reads, all at once, the shards that were not read yet. It reports
// whether all are there.
func (r *rebuilding) gather(ctx context.Context, shards []int, read readShard) bool {
	var wg sync.WaitGroup
	for _, i := range shards {
		if r.views[i].Buffer != nil {
			continue
		}
		wg.Go(func() { r.views[i], r.faults[i] = read(ctx, i) })
	}
	wg.Wait()
	all := true
	for _, i := range shards {
		if r.faults[i] == nil {
			r.shards[i].Cost = 0 // it is here
			continue
		}
		all = false
		r.shards[i].Have = false
		if ctx.Err() == nil {
			m := holdall.ShardMember(r.stripe.Number, i, len(r.stripe.Shards))
			r.g.damage(Damage{Volume: r.volume.ID, Member: m, Stripe: r.stripe.Number, Err: r.faults[i]})
		}
	}
	return all
}

// careful is the second try, when what was rebuilt does not hash to the id: some
// shard, or the table, is bad. Only tables on which most members agree count, and
// every shard is verified by its own checksums. If all that were used verify,
// one of them was wrong when it was written: each is left out in turn.
func (r *rebuilding) careful(ctx context.Context) (buffer.View, error) {
	r.drop()
	if err := r.agree(ctx); err != nil {
		return buffer.View{}, err
	}
	view, err := r.combine(ctx, r.readChecked)
	if err != nil {
		return buffer.View{}, r.verdict(err)
	}
	if holdall.HashBlock(view.Data) == r.id {
		return view, nil
	}
	view.Release()
	plan, err := r.coder.Plan(r.want, r.shards)
	if err != nil {
		return buffer.View{}, r.verdict(err)
	}
	for _, suspect := range plan.Reads() {
		r.shards[suspect].Have = false
		view, err := r.combine(ctx, r.readChecked)
		if err == nil {
			if holdall.HashBlock(view.Data) == r.id {
				return view, nil
			}
			view.Release()
		}
		r.shards[suspect].Have = true
	}
	return buffer.View{}, fmt.Errorf("volume %v stripe %d: shards verify but do not give the block's bytes: %w",
		r.volume.ID, r.stripe.Number, holdall.ErrUnavailable)
}

// agree replaces the stripe's table by the one that most members tell, and
// leaves out the shards of members that tell another.
func (r *rebuilding) agree(ctx context.Context) error {
	n := len(r.volume.Members)
	tables := make([]holdall.Stripe, n)
	told := make([]bool, n)
	var wg sync.WaitGroup
	for m := range n {
		wg.Go(func() {
			s, err := r.askTable(ctx, m)
			tables[m], told[m] = s, err == nil
		})
	}
	wg.Wait()
	best, votes := -1, 0
	for m := range n {
		count := 0
		for o := range n {
			if told[m] && told[o] && sameStripe(&tables[m], &tables[o]) {
				count++
			}
		}
		if count > votes {
			best, votes = m, count
		}
	}
	if best < 0 {
		return fmt.Errorf("volume %v: no member tells of the stripe any more: %w", r.volume.ID, holdall.ErrUnavailable)
	}
	why := r.faults[r.want]
	clear(r.faults)
	r.use(tables[best], best, r.g.health.disks())
	r.faults[r.want] = why
	for i := range r.shards {
		m := holdall.ShardMember(r.stripe.Number, i, n)
		if told[m] && !sameStripe(&tables[m], &r.stripe) {
			r.shards[i].Have = false
			r.faults[i] = fmt.Errorf("volume %v: member %d has another table than most: %w", r.volume.ID, m, holdall.ErrCorrupt)
		}
	}
	return nil
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

// verdict tells what is lost for ever from what is only not there at present.
// Lost are shards that were read and found bad, and those of removed disks.
func (r *rebuilding) verdict(err error) error {
	if !errors.Is(err, holdall.ErrUnavailable) {
		return err
	}
	disks := r.g.health.disks()
	n := len(r.stripe.Shards)
	lost := make([]bool, n)
	for i, p := range r.stripe.Shards {
		if p.Length == 0 {
			continue
		}
		d, known := disks[r.volume.Members[holdall.ShardMember(r.stripe.Number, i, n)].Disk]
		lost[i] = errors.Is(r.faults[i], holdall.ErrCorrupt) || known && d.state == holdall.DiskRemoved
	}
	if r.coder.Recoverable(lost) {
		return err
	}
	return fmt.Errorf("volume %v stripe %d: %v: %w", r.volume.ID, r.stripe.Number, err, holdall.ErrDataLoss)
}

// damage files a repair hint.
func (g *Gateway) damage(d Damage) {
	kind := "unreadable"
	if errors.Is(d.Err, holdall.ErrCorrupt) {
		kind = "corrupt"
	}
	g.metrics.damages.WithLabelValues(kind).Inc()
	if g.damages.Allow() {
		g.log.Warn("shard could not be used for a read", "volume", d.Volume, "member", d.Member, "stripe", d.Stripe, "kind", kind, "err", d.Err)
	}
	if g.cfg.OnDamage != nil {
		g.cfg.OnDamage(d)
	}
}
