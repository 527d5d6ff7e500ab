package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// PutResult says what was acknowledged.
type PutResult struct {
	ID      holdall.BlockID
	Existed bool // the cell had the block: no bytes were written for this put
}

// PutPending is Put on behalf of an object: the block stays for a day, within
// which a manifest must list it, and is not the owner's by its id.
func (in *Incoming) PutPending(ctx context.Context) (PutResult, error) {
	if in.g.cfg.Pending == nil {
		in.Discard()
		return PutResult{}, fmt.Errorf("gateway: this one takes no blocks on behalf of objects: %w", holdall.ErrInvalid)
	}
	in.pending = true
	return in.Put(ctx, nil)
}

// Put stores the block and returns when it is acknowledged: every shard is
// durable on its own disk, and the commit is durable in metadata. want, when not
// nil, is the id that the block must have.
//
// Errors: ErrInvalid (wrong id, missing bytes; nothing is stored),
// ErrUnavailable, ErrExhausted (no disk has room; it says which and why). When
// ctx ends first the block may be stored all the same, wholly or not at all.
func (in *Incoming) Put(ctx context.Context, want *holdall.BlockID) (PutResult, error) {
	defer in.Discard()
	g := in.g
	if err := g.enter(); err != nil {
		return PutResult{}, err
	}
	defer g.leave()
	began := time.Now()

	// 2. The hash was taken as the bytes came.
	if in.n != in.size || in.n == 0 {
		return PutResult{}, fmt.Errorf("gateway: %d of the %d bytes announced: %w", in.n, in.size, holdall.ErrInvalid)
	}
	id := in.hasher.ID()
	if want != nil && *want != id {
		return PutResult{}, fmt.Errorf("gateway: block named %v hashes to %v: %w", *want, id, holdall.ErrInvalid)
	}
	res := PutResult{ID: id}
	for {
		f, first := g.flights.join(blockKey{in.ns, id}, in.pending)
		if first {
			in.lead(ctx, f)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			if first && in.buf == nil && in.from != nil {
				g.holdUntilEnd(f, in.cost)
			}
			return PutResult{}, fmt.Errorf("gateway: put of %v: %w: %w", id, context.Cause(ctx), holdall.ErrUnavailable)
		}
		if !first && errors.Is(f.err, errAbandoned) {
			continue // its caller went away before the block was packed; ours is still here
		}
		if f.pending != in.pending && f.err == nil {
			continue // it is stored, but held for somebody else: claim it
		}
		// 8. Acknowledge.
		g.metrics.puts.WithLabelValues(outcome(f.err)).Inc()
		if f.err != nil {
			return PutResult{}, fmt.Errorf("gateway: put of %v: %w", id, f.err)
		}
		g.metrics.putSeconds.Observe(time.Since(began).Seconds())
		res.Existed = f.dedup || !first
		if res.Existed {
			g.metrics.dedups.Inc()
		} else {
			in.quota.release(true)
			g.metrics.putBytes.Add(float64(in.size))
		}
		return res, nil
	}
}

// holdUntilEnd makes a block whose caller went away count against the memory
// budget for as long as it is in a stripe.
func (g *Gateway) holdUntilEnd(f *flight, size int64) {
	g.receive.hold(size)
	g.calls.Add(1)
	go func() {
		defer g.calls.Done()
		<-f.done
		g.receive.hold(-size)
	}()
}

// lead carries the first put of an id through steps 3 and 4; the stripe that it
// becomes part of ends the flight.
func (in *Incoming) lead(ctx context.Context, f *flight) {
	// 3. Known already?
	replace, known, err := in.claimKnown(ctx, f.key)
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w: %w", errAbandoned, context.Cause(ctx), holdall.ErrUnavailable)
	}
	if known || err != nil {
		f.dedup = known
		in.g.flights.end(f, err)
		return
	}

	// 4. Pack. From here on the buffer belongs to the stripe.
	it := &item{flight: f, size: in.size, buf: in.buf, fresh: true, replace: replace}
	it.data = in.buf.Bytes()[holdall.RecordHeaderSize:]
	in.buf = nil
	var r *arrival
	if in.from != nil {
		r = &in.from.arrival
	}
	if err := in.g.laneOf(f.key.ns).add(it, r); err != nil {
		it.finish(in.g, err)
	}
}

// claimKnown makes a dedup hit a commit. It reports whether the block is known
// and is safe where it is. If it is there but not safe, replace is the place
// from which the new copy's commit moves the row.
func (in *Incoming) claimKnown(ctx context.Context, key blockKey) (replace holdall.Location, known bool, err error) {
	g, size := in.g, in.size
	ids := []holdall.BlockID{key.id}
	rows, err := g.cfg.Index.Lookup(ctx, key.ns, ids, false)
	if err != nil {
		return replace, false, err
	}
	if !rows[0].Found {
		return replace, false, nil
	}
	if int(rows[0].Location.Length) != size {
		// Two blocks of one hash do not exist; a row that says so is damaged.
		// Its commit would be refused, and all that is in its stripe with it.
		g.log.Error("row has another length than its block", "block", key.id, "row", rows[0].Location.Length, "block_bytes", size)
		return replace, false, fmt.Errorf("gateway: block %v has %d bytes, its row says %d: the row is damaged: %w",
			key.id, size, rows[0].Location.Length, holdall.ErrCorrupt)
	}
	if !g.safe(rows[0].Location.Volume) {
		return rows[0].Location, false, nil
	}
	claim := g.cfg.Index.Claim
	if in.pending {
		claim = g.cfg.Pending.ClaimPending
	}
	gone, err := claim(ctx, key.ns, ids)
	return replace, err == nil && len(gone) == 0, err
}

// writeStripe carries packs through steps 5 to 8, to one volume after another
// until they are in, or no volume can be had.
func (g *Gateway) writeStripe(l *lane, packs []*pack) {
	ctx, cancel := context.WithTimeout(g.ctx, stripeDeadline)
	defer cancel()
	for len(packs) > 0 {
		if ctx.Err() != nil { // appends would fail at once, and volumes and disks be blamed for it
			finishAll(g, packs, fmt.Errorf("gateway: no volume took the stripe within %v: %w", stripeDeadline, holdall.ErrUnavailable))
			return
		}
		v, err := l.volumes.acquire(ctx)
		if err != nil {
			finishAll(g, packs, err)
			return
		}
		if g.health.missing(v.disks()) > 0 {
			l.volumes.retire(v, "a member's disk is missing")
			continue
		}
		// A volume made while disks were missing takes fewer packs.
		now := packs[:min(len(packs), v.scheme.K())]
		rest := packs[len(now):]
		st, ok := g.layOut(v, now)
		if !ok && v.last > 0 {
			l.volumes.retire(v, "full")
			continue
		}
		if !ok {
			l.volumes.release(v)
			finishAll(g, packs, fmt.Errorf("gateway: a stripe of %d bytes does not fit an extent of %d: %w", st.shardBytes, v.limit, holdall.ErrInvalid))
			return
		}
		again, err := g.writeOnce(ctx, l, st)
		st.release(g, again)
		if err != nil {
			finishAll(g, now, err)
		}
		packs = append(again, rest...)
	}
}

// writeOnce tries one volume. It returns the packs, if any, that must go
// elsewhere, and ends the flights of all blocks that need not. After an error
// all of them have failed.
func (g *Gateway) writeOnce(ctx context.Context, l *lane, st *stripe) (again []*pack, err error) {
	entry := st.commit()
	if err := entry.Validate(); err != nil { // nothing is written yet, so the volume goes on
		l.volumes.release(st.v)
		return nil, err
	}
	// 5. Encode, and check the encode. 6. Append every shard in parallel.
	if err := g.writeShards(ctx, st); err != nil {
		l.volumes.retire(st.v, "a shard was not written")
		if g.ctx.Err() != nil || errors.Is(err, errEncode) {
			return nil, err
		}
		return st.again(g, err)
	}
	// 7. Commit.
	res, err := g.commit(ctx, entry)
	switch {
	case err == nil:
		st.v.advance(st)
		l.volumes.release(st.v)
	case errors.Is(err, holdall.ErrStale):
		l.volumes.retire(st.v, "commit refused")
		return g.afterRefusal(ctx, st, err)
	case definite(err):
		l.volumes.retire(st.v, "commit refused")
		return nil, err
	default:
		// Nothing may be appended behind a stripe of which nobody knows
		// whether it is committed: take the lease anew, which settles it.
		l.volumes.reclaimed(st.v)
		return nil, err
	}
	g.metrics.stripes.Inc()
	g.metrics.packBytes.Add(float64(st.packBytes))
	g.metrics.shardBytes.Add(float64(st.shardBytes))
	// 8. Acknowledge each put.
	return g.acknowledge(st, res), nil
}

// acknowledge ends the flights of the stripe's blocks. A block whose row points
// at an older copy counts only if that one is safe; the others are put again.
func (g *Gateway) acknowledge(st *stripe, res metadata.CommitResult) []*pack {
	var unsafe []*item
	for i, it := range st.items {
		kept := res.Kept[i]
		if kept == st.blocks[i].location(st.v.id) || g.safe(kept.Volume) {
			it.finish(g, nil)
			continue
		}
		if it.tries == maxTries {
			it.finish(g, fmt.Errorf("gateway: the copy that counts is in volume %v, which misses more than one member: %w", kept.Volume, holdall.ErrUnavailable))
			continue
		}
		it.tries++
		it.replace = kept
		unsafe = append(unsafe, it)
	}
	return repack(unsafe)
}

// blockKey names a block of a namespace.
type blockKey struct {
	ns holdall.NamespaceID
	id holdall.BlockID
}

// errAbandoned marks a put whose caller went away before the block was packed.
var errAbandoned = errors.New("the caller went away")

// flights joins puts of one block that are under way at the same time.
type flights struct {
	mu    sync.Mutex // guards byKey
	byKey map[blockKey]*flight
}

// flight is one block on its way in. err and dedup are valid once done is
// closed.
type flight struct {
	key     blockKey
	pending bool // it is put on behalf of an object
	done    chan struct{}
	err     error
	dedup   bool
}

// join returns the flight of key, and whether the caller is the first and has
// to see to it that it ends.
func (s *flights) join(key blockKey, pending bool) (*flight, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.byKey[key]; f != nil {
		return f, false
	}
	f := &flight{key: key, pending: pending, done: make(chan struct{})}
	s.byKey[key] = f
	return f, true
}

// end ends f: all who joined it get err.
func (s *flights) end(f *flight, err error) {
	s.mu.Lock()
	delete(s.byKey, f.key)
	s.mu.Unlock()
	f.err = err
	close(f.done)
}

// enter begins a public call; Close waits until it is left.
func (g *Gateway) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		return errClosing()
	}
	g.calls.Add(1)
	return nil
}

func (g *Gateway) leave() { g.calls.Done() }

// PutBytes is Put for callers inside the process, outside admission. It copies
// data.
func (g *Gateway) PutBytes(ctx context.Context, ns holdall.NamespaceID, data []byte) (PutResult, error) {
	if err := checkSize(int64(len(data))); err != nil {
		return PutResult{}, err
	}
	in := g.incoming(ns, len(data))
	if _, err := in.Write(data); err != nil {
		in.Discard()
		return PutResult{}, err
	}
	return in.Put(ctx, nil)
}

// PutSystem stores a block of the cell's own, in a volume that holds no others'.
// It is acknowledged like every put.
func (g *Gateway) PutSystem(ctx context.Context, data []byte) error {
	_, err := g.PutBytes(ctx, holdall.SystemNamespace, data)
	return err
}
