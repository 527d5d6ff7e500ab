package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

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

	// Of the stripe, once its table is known.
	stripe holdall.Stripe
	want   int // the block's shard
	first  int // of the block's bytes in the payload
	shards []erasure.Shard
	faults []error       // by shard, why it is not used
	views  []buffer.View // by shard, what was read
	asked  []bool        // by shard: a read is under way
	slow   []bool        // by shard: it takes long, and others are asked in its place

	round   int            // which way of reading
	results chan shardRead // of reads under way
}

// shardRead is the outcome of the read of one shard.
type shardRead struct {
	round, shard int
	view         buffer.View
	err          error
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
		return read{view, holdall.ProofHash, at, nil}
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // reads that nobody waits for drop what they get
	r := &rebuilding{g: g, id: id, at: at, volume: v, coder: coder, shards: make([]erasure.Shard, n), faults: make([]error, n),
		views: make([]buffer.View, n), asked: make([]bool, n), slow: make([]bool, n), results: make(chan shardRead)}
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
	if err != nil {
		return buffer.View{}, r.verdict(err)
	}
	if holdall.HashBlock(view.Data) == id {
		return view, nil
	}
	view.Release()
	g.metrics.badRebuilds.Inc()
	return r.careful(ctx)
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
				r.use(s, disks)
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
	ctx, cancel := context.WithTimeout(ctx, r.g.reads.patience(r.g.cfg.HedgeMin))
	defer cancel()
	s, err := await(ctx, r.g, func() (holdall.Stripe, error) {
		return r.g.cfg.Reader.StripeAt(ctx, v.Members[m].Disk, v.Extent(m), int(r.at.Member), r.at.Offset)
	})
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

// use takes a stripe's table as the one to read by.
func (r *rebuilding) use(s holdall.Stripe, disks map[holdall.DiskID]diskView) {
	n := len(s.Shards)
	r.stripe = s
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
// fail or take long, and rebuilds the range. What was read stays for the next
// call with the same way of reading.
func (r *rebuilding) combine(ctx context.Context, read readShard) (buffer.View, error) {
	patience := r.g.reads.patience(r.g.cfg.HedgeMin)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		plan, err := r.coder.Plan(r.want, r.offer())
		if err != nil && !slices.Contains(r.slow, true) {
			return buffer.View{}, err
		}
		if err != nil {
			clear(r.slow) // without them it cannot be done
			continue
		}
		if r.ask(ctx, plan.Reads(), read) {
			return r.solve(plan)
		}
		select {
		case got := <-r.results:
			r.take(got)
		case <-timer.C:
			copy(r.slow, r.asked)
			timer.Reset(patience)
		case <-ctx.Done():
			return buffer.View{}, context.Cause(ctx)
		}
	}
}

// offer returns what a plan may use: what is here costs nothing more.
func (r *rebuilding) offer() []erasure.Shard {
	shards := slices.Clone(r.shards)
	for i := range shards {
		switch {
		case r.views[i].Buffer != nil:
			shards[i].Cost = 0
		case r.slow[i]:
			shards[i].Have = false
		}
	}
	return shards
}

// ask starts the reads that a plan wants and that were not asked for yet. It
// reports whether all are there.
func (r *rebuilding) ask(ctx context.Context, shards []int, read readShard) bool {
	all := true
	for _, i := range shards {
		if r.views[i].Buffer != nil {
			continue
		}
		all = false
		if r.asked[i] {
			continue
		}
		r.asked[i] = true
		round := r.round
		r.g.calls.Add(1)
		go func() {
			defer r.g.calls.Done()
			view, err := read(ctx, i)
			select {
			case r.results <- shardRead{round, i, view, err}:
			case <-ctx.Done():
				view.Release()
			}
		}()
	}
	return all
}

// take notes the outcome of a read.
func (r *rebuilding) take(got shardRead) {
	if got.round != r.round {
		got.view.Release()
		return
	}
	i := got.shard
	r.asked[i], r.slow[i] = false, false
	if got.err == nil {
		r.views[i] = got.view
		return
	}
	r.shards[i].Have = false
	r.faults[i] = got.err
	r.g.damage(Damage{Volume: r.volume.ID, Member: holdall.ShardMember(r.stripe.Number, i, len(r.shards)), Stripe: r.stripe.Number, Err: got.err})
}

// solve rebuilds the range from what was read.
func (r *rebuilding) solve(plan *erasure.Plan) (buffer.View, error) {
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

// careful is the second try, when what was rebuilt does not hash to the id: some
// shard, or the table, is bad. Only tables on which most members agree count, and
// every shard is verified by its own checksums. If all that were used verify,
// one of them was wrong when it was written: each is left out in turn.
func (r *rebuilding) careful(ctx context.Context) (buffer.View, error) {
	r.drop()
	r.round++
	clear(r.asked)
	clear(r.slow)
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

// tables asks every member for the block's stripe. It returns what each told
// (Number 0 = nothing), and one that most of them agree on; -1 = none told any.
func (r *rebuilding) tables(ctx context.Context) (told []holdall.Stripe, best int) {
	told = make([]holdall.Stripe, len(r.volume.Members))
	var wg sync.WaitGroup
	for m := range told {
		wg.Go(func() {
			if s, err := r.askTable(ctx, m); err == nil {
				told[m] = s
			}
		})
	}
	wg.Wait()
	best, votes := -1, 0
	for m := range told {
		count := 0
		for o := range told {
			if told[m].Number != 0 && sameStripe(&told[m], &told[o]) {
				count++
			}
		}
		if count > votes {
			best, votes = m, count
		}
	}
	return told, best
}

// agree replaces the stripe's table by the one that most members tell, and
// leaves out the shards of members that tell another.
func (r *rebuilding) agree(ctx context.Context) error {
	told, best := r.tables(ctx)
	if best < 0 {
		return fmt.Errorf("volume %v: no member tells of the stripe any more: %w", r.volume.ID, holdall.ErrUnavailable)
	}
	why := r.faults[r.want]
	clear(r.faults)
	r.use(told[best], r.g.health.disks())
	r.faults[r.want] = why
	for i := range r.shards {
		m := holdall.ShardMember(r.stripe.Number, i, len(told))
		if told[m].Number != 0 && !sameStripe(&told[m], &r.stripe) {
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
	for i, why := range r.faults {
		if why != nil {
			err = fmt.Errorf("%w; shard %d: %v", err, i, why)
		}
	}
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
