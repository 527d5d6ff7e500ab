package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// stripeDeadline bounds the tries of one stripe, over all volumes.
const stripeDeadline = 30 * time.Second

// stripe is one try to write packs to one volume.
type stripe struct {
	v      *openVolume
	packs  []*pack
	bySlot []*pack // the pack of each data shard; the rest of the k are absent
	table  holdall.Stripe
	parity []*buffer.Buffer // records
	ends   []int64          // of every member, after this stripe

	items      []*item // of all packs
	blocks     []placedBlock
	packBytes  int64
	shardBytes int64
}

// placedBlock is where an item of a stripe lies.
type placedBlock struct {
	member uint8
	offset int64
	length uint32
}

func (b placedBlock) location(v holdall.VolumeID) holdall.Location {
	return holdall.Location{Volume: v, Member: b.member, Offset: b.offset, Length: b.length}
}

// layOut decides where in v each shard of the next stripe goes. ok is false when
// the stripe would take an extent over the volume's limit. The caller holds v,
// and releases the stripe.
func (g *Gateway) layOut(v *openVolume, packs []*pack) (st *stripe, ok bool) {
	n, k := v.scheme.N(), v.scheme.K()
	number := v.last + 1
	st = &stripe{v: v, packs: packs, ends: slices.Clone(v.ends), table: holdall.Stripe{
		Volume: v.id, Epoch: v.epoch, Number: number, Scheme: v.scheme, Shards: make([]holdall.ShardPlace, n)}}
	for _, p := range packs {
		p.build(g)
	}
	// The larger packs go to the emptier members, so that extents fill alike.
	largest := slices.SortedStableFunc(slices.Values(packs), func(a, b *pack) int { return cmp.Compare(b.length, a.length) })
	slots := make([]int, len(packs))
	for i := range slots {
		slots[i] = i
	}
	slices.SortStableFunc(slots, func(a, b int) int {
		return cmp.Compare(v.ends[holdall.ShardMember(number, a, n)], v.ends[holdall.ShardMember(number, b, n)])
	})
	st.bySlot = make([]*pack, len(packs))
	for i, slot := range slots {
		st.bySlot[slot] = largest[i]
	}
	lengths := make([]uint32, n)
	for i, p := range st.bySlot {
		lengths[i] = p.length
	}
	for i := k; i < n; i++ {
		lengths[i] = largest[0].length
	}
	footer := volume.FooterSize(int(number), n)
	for i, length := range lengths {
		if length == 0 {
			continue
		}
		m := holdall.ShardMember(number, i, n)
		st.table.Shards[i] = holdall.ShardPlace{Offset: v.ends[m], Length: length}
		size := holdall.RecordSize(length)
		st.ends[m] += size
		st.shardBytes += size
	}
	for _, end := range st.ends {
		if end+footer > v.limit {
			return st, false
		}
	}
	st.place()
	return st, number <= holdall.MaxVolumeStripes
}

// place lists the stripe's blocks.
func (st *stripe) place() {
	n := len(st.ends)
	for slot, p := range st.bySlot {
		member := uint8(holdall.ShardMember(st.table.Number, slot, n))
		payload := st.table.Shards[slot].Offset + holdall.RecordHeaderSize
		st.packBytes += int64(p.length)
		for i, it := range p.items {
			st.items = append(st.items, it)
			st.blocks = append(st.blocks, placedBlock{member, payload + int64(p.places[i]), uint32(it.size)})
		}
	}
}

// commit returns the stripe's entry for metadata.
func (st *stripe) commit() metadata.StripeCommit {
	c := metadata.StripeCommit{Volume: st.v.id, Epoch: st.v.epoch, Stripe: st.table.Number, Ends: st.ends,
		PackBytes: st.packBytes, ShardBytes: st.shardBytes, Blocks: make([]metadata.PutBlock, len(st.items))}
	for i, it := range st.items {
		b, key := st.blocks[i], it.flight.key
		c.Blocks[i] = metadata.PutBlock{Namespace: key.ns, ID: key.id, Member: b.member, Offset: b.offset, Length: b.length,
			Pending: it.flight.pending, Replace: it.replace}
	}
	return c
}

// again returns the packs for a try elsewhere, unless what went wrong is not
// the volume's fault.
func (st *stripe) again(g *Gateway, why error) ([]*pack, error) {
	g.metrics.rewrites.Inc()
	g.log.Warn("stripe goes to another volume", "volume", st.v.id, "stripe", st.table.Number, "err", why)
	return st.packs, nil
}

// release gives back the memory of the stripe, but for the packs that are
// written again.
func (st *stripe) release(g *Gateway, again []*pack) {
	for _, b := range st.parity {
		b.Release()
	}
	st.parity = nil
	for _, p := range st.packs {
		if !slices.Contains(again, p) {
			p.release(g)
		}
	}
}

// errEncode is the error of a stripe that cannot be coded: another volume would
// not help it.
var errEncode = fmt.Errorf("parity was not made: %w", holdall.ErrUnavailable)

// encode fills parity records and checks that they can repair. It fails when two
// encodes in a row fail their check.
func (g *Gateway) encode(st *stripe) error {
	coder, err := g.coders.of(st.v.scheme)
	if err != nil {
		return err
	}
	height := int(st.table.Height())
	whole := int(holdall.RecordSize(uint32(height)))
	data := make([][]byte, len(st.bySlot))
	for i, p := range st.bySlot {
		data[i] = p.payload()
	}
	parity := make([][]byte, st.v.scheme.M())
	for i := range parity {
		b := g.pool.Take(whole)
		st.parity = append(st.parity, b)
		parity[i] = b.Bytes()[holdall.RecordHeaderSize:][:height]
		clear(b.Bytes()[holdall.RecordHeaderSize+height:])
	}
	for range 2 {
		if err = coder.EncodeChecked(data, parity); !errors.Is(err, holdall.ErrCorrupt) {
			return err
		}
		g.metrics.badEncodes.Inc()
		g.log.Error("encode check failed: this machine's memory or processor is not to be trusted",
			"volume", st.v.id, "stripe", st.table.Number, "err", err)
	}
	return fmt.Errorf("the encode check failed twice: %w", err)
}

// appends follows the appends of one stripe.
type appends struct {
	mu      sync.Mutex    // guards waiting, late
	waiting map[int]int64 // shard → bytes, of those that have not returned
	late    bool          // the stripe has given up on them
	results chan appendResult
	sent    int
}

type appendResult struct {
	shard int
	took  time.Duration
	err   error
}

// writeShards encodes the stripe, appends every stored shard to its member, and
// returns when all are durable, or have failed, or the time is up. What has not
// returned then is left to return by itself: it holds its buffer, and the buffer
// counts. The packs are on their way to their disks while the parities are made,
// so whatever the error, the members may have bytes that will not be committed.
func (g *Gateway) writeShards(ctx context.Context, st *stripe) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &appends{waiting: map[int]int64{}, results: make(chan appendResult, len(st.table.Shards))}
	for shard := range st.bySlot {
		g.startAppend(ctx, a, st, shard)
	}
	if err := g.encode(st); err != nil {
		g.giveUp(a)
		return fmt.Errorf("gateway: %w: %w", errEncode, err)
	}
	for i := range st.parity {
		g.startAppend(ctx, a, st, st.v.scheme.K()+i)
	}
	limit := g.writes.timeout()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	var failed error
	for range a.sent {
		select {
		case r := <-a.results:
			switch {
			case r.err == nil:
				g.writes.add(r.took)
			case failed == nil:
				failed = r.err
				g.appendFailed(st, r.shard, r.err)
				cancel() // what is still queued need not be written
			case errors.Is(r.err, holdall.ErrDiskFailed) || errors.Is(r.err, holdall.ErrDiskFull):
				g.appendFailed(st, r.shard, r.err)
			}
		case <-timeout.C:
			return g.tooLate(a, st, limit)
		case <-g.ctx.Done():
			g.giveUp(a)
			return fmt.Errorf("gateway: append to volume %v: %w: %w", st.v.id, context.Cause(ctx), holdall.ErrUnavailable)
		}
	}
	return failed
}

// record returns the record of a stored shard.
func (st *stripe) record(shard int) *buffer.Buffer {
	if shard < len(st.bySlot) {
		return st.bySlot[shard].record
	}
	return st.parity[shard-st.v.scheme.K()]
}

func (g *Gateway) startAppend(ctx context.Context, a *appends, st *stripe, shard int) {
	m := holdall.ShardMember(st.table.Number, shard, len(st.ends))
	writes := new(atomic.Int32) // of parity nobody asks
	if shard < len(st.bySlot) {
		writes = st.bySlot[shard].writes
	}
	writes.Add(1)
	rec := st.record(shard).Ref()
	a.started(shard, int64(rec.Cap()))
	disk := st.v.members[m].disk
	req := &volume.Append{Extent: st.v.members[m].extent, Epoch: st.v.epoch, Offset: st.table.Shards[shard].Offset,
		Stripe: st.table, Shard: shard, Record: rec}
	g.calls.Add(1)
	go func() {
		defer g.calls.Done()
		began := time.Now()
		err := g.cfg.Writer.Append(ctx, disk, req)
		writes.Add(-1)
		rec.Release()
		a.returned(g, shard)
		a.results <- appendResult{shard, time.Since(began), err}
	}()
}

func (a *appends) started(shard int, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting[shard] = bytes
	a.sent++
}

// returned notes that the append of a shard came back.
func (a *appends) returned(g *Gateway, shard int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.late {
		g.receive.hold(-a.waiting[shard])
	}
	delete(a.waiting, shard)
}

// giveUp makes the buffers of appends that have not returned count against the
// memory budget until they do.
func (g *Gateway) giveUp(a *appends) (waiting []int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.late = true
	for shard, bytes := range a.waiting {
		waiting = append(waiting, shard)
		g.receive.hold(bytes)
	}
	slices.Sort(waiting)
	return waiting
}

// tooLate puts the disks on probation whose shards are not durable in time.
func (g *Gateway) tooLate(a *appends, st *stripe, limit time.Duration) error {
	err := fmt.Errorf("gateway: append to volume %v: not durable within %v: %w", st.v.id, limit, holdall.ErrUnavailable)
	late := g.giveUp(a)
	g.metrics.lateShards.Add(float64(len(late)))
	if len(late) > st.v.scheme.Tolerance() {
		// Not the disks, then: this process or this machine stood still.
		g.log.Warn("shards of most disks are late: this machine is overloaded or was suspended", "volume", st.v.id, "stripe", st.table.Number, "late", len(late))
		return err
	}
	for _, shard := range late {
		g.appendFailed(st, shard, err)
	}
	return err
}

// appendFailed notes which disk made a stripe fail. A stale lease or offset is
// nobody's fault but this gateway's.
func (g *Gateway) appendFailed(st *stripe, shard int, err error) {
	m := holdall.ShardMember(st.table.Number, shard, len(st.ends))
	disk := st.v.members[m].disk
	g.metrics.failedShards.Inc()
	g.log.Warn("shard was not written", "volume", st.v.id, "stripe", st.table.Number, "shard", shard, "disk", disk, "err", err)
	if !errors.Is(err, holdall.ErrStale) && !errors.Is(err, context.Canceled) {
		g.health.suspect(disk, err)
	}
}
