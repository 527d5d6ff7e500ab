package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
)

// GetOptions say which bytes of a block are wanted, and how fresh the answer
// must be.
type GetOptions struct {
	Offset, Length int  // Length 0 = to the block's end
	Consistent     bool // ask the leader: a block that was deleted elsewhere is not found

	// CallerVerifies leaves the hash of a whole block to the caller, who asks
	// again without this if it differs. Of no effect on a range.
	CallerVerifies bool

	// NoWait returns an ErrExhausted at once when more than half of the memory for
	// gets is in use: for bytes that are read before their turn, so that nobody
	// waits for memory while holding some, and readers that stand still do not hold
	// all of it.
	NoWait bool

	// Trash finds a block in trash, too: the nodes of a manifest are read once more
	// before they are purged.
	Trash bool
}

// GetResult is a block, or the range of it that was asked for.
type GetResult struct {
	View  buffer.View // whoever has the result releases it, once
	Size  int         // bytes of the whole block
	Proof holdall.Proof
}

// wholeBelow is the block size up to which a range is cut out of the whole,
// hashed block: reading less saves little.
const wholeBelow = 256 << 10

// Get returns a block's bytes, or a range of them, verified. Errors:
// ErrNotFound (proved by the leader), ErrInvalid (a range outside the block),
// ErrUnavailable (too few sound shards answer at present), ErrDataLoss (so many
// are proved destroyed that the rest can never suffice).
func (g *Gateway) Get(ctx context.Context, ns holdall.NamespaceID, id holdall.BlockID, o GetOptions) (GetResult, error) {
	if err := g.enter(); err != nil {
		return GetResult{}, err
	}
	defer g.leave()
	began := time.Now()
	res, err := g.get(ctx, blockKey{ns, id}, o)
	g.metrics.gets.WithLabelValues(outcome(err)).Inc()
	if err != nil {
		return GetResult{}, fmt.Errorf("gateway: get of %v: %w", id, err)
	}
	g.metrics.getBytes.Add(float64(len(res.View.Data)))
	g.metrics.getSeconds.Observe(time.Since(began).Seconds())
	return res, nil
}

func (g *Gateway) get(ctx context.Context, key blockKey, o GetOptions) (GetResult, error) {
	// 1. Look up.
	row, cached, err := g.locate(ctx, key, &o)
	if err != nil {
		return GetResult{}, err
	}
	size := int(row.Location.Length)
	if o.Length == 0 && o.Offset <= size {
		o.Length = size - o.Offset
	}
	if o.Offset < 0 || o.Length < 0 || o.Offset > size || o.Length > size-o.Offset {
		return GetResult{}, fmt.Errorf("range %d+%d of a block of %d bytes: %w", o.Offset, o.Length, size, holdall.ErrInvalid)
	}
	trusting := o.CallerVerifies && o.Length == size
	if view, proof, ok := g.cachedBlock(key.id, size, trusting); ok {
		g.metrics.cacheHits.Inc()
		view.Data = view.Data[o.Offset:][:o.Length]
		return GetResult{view, size, proof}, nil
	}
	if err := g.roomToSend(ctx, int64(size), o.NoWait); err != nil {
		return GetResult{}, err
	}
	held := func() { g.send.hold(-int64(size)) }
	if o.Length < size/2 && size > wholeBelow {
		if view, err := g.getRange(ctx, key, row.Location, o); err == nil {
			view.Done = held
			return GetResult{view, size, holdall.ProofChunks}, nil
		}
		// The whole block answers for what a range cannot.
	}
	r := g.fetch(ctx, &wanted{blockKey: key, at: row.Location, cached: cached, trusting: trusting})
	if r.err != nil {
		held()
		return GetResult{}, r.err
	}
	g.blocks.put(key.id, r.view, r.proof)
	r.view.Data, r.view.Done = r.view.Data[o.Offset:][:o.Length], held
	return GetResult{r.view, size, r.proof}, nil
}

// roomToSend takes memory for a get.
func (g *Gateway) roomToSend(ctx context.Context, size int64, noWait bool) error {
	if !noWait {
		return g.send.take(ctx, size)
	}
	if g.send.inUse() > g.send.limit/2 || !g.send.try(size) {
		return &holdall.RetryAfter{Delay: retryDelay, Err: fmt.Errorf("%d of %d bytes for gets in use: %w", g.send.inUse(), g.send.limit, holdall.ErrExhausted)}
	}
	return nil
}

// cachedBlock returns a block of size bytes from the cache. Bytes that nobody has
// hashed yet are hashed for a caller who will not; if they are not the block's,
// or as many as the row of another namespace said, they go.
func (g *Gateway) cachedBlock(id holdall.BlockID, size int, trusting bool) (buffer.View, holdall.Proof, bool) {
	view, proof, ok := g.blocks.get(id)
	if !ok {
		return buffer.View{}, 0, false
	}
	sized := len(view.Data) == size
	if sized && (proof == holdall.ProofHash || trusting) {
		return view, proof, true
	}
	if !sized || holdall.HashBlock(view.Data) != id {
		g.blocks.remove(id)
		view.Release()
		return buffer.View{}, 0, false
	}
	g.blocks.put(id, view, holdall.ProofHash)
	return view, holdall.ProofHash, true
}

// wanted is a whole block that is to be fetched.
type wanted struct {
	blockKey
	at       holdall.Location
	cached   bool // at comes from a cache, and may dangle
	trusting bool // the caller hashes it
}

// locate returns the row of a live block. cached says that it may be stale. Only
// the leader's word that a block is not there is believed.
func (g *Gateway) locate(ctx context.Context, key blockKey, o *GetOptions) (row metadata.Block, cached bool, err error) {
	if !o.Consistent && !o.Trash {
		if row, ok := g.places.get(key); ok {
			return row, true, nil
		}
		row, err = g.lookUp(ctx, key, false)
		if err != nil || row.Live() {
			return row, false, err
		}
	}
	row, err = g.lookUp(ctx, key, true)
	if err == nil && !row.Live() && !(o.Trash && row.Found) {
		err = errGone
	}
	return row, false, err
}

func (g *Gateway) lookUp(ctx context.Context, key blockKey, linearizable bool) (metadata.Block, error) {
	asked := g.cfg.Now()
	rows, err := g.cfg.Index.Lookup(ctx, key.ns, []holdall.BlockID{key.id}, linearizable)
	if err != nil {
		return metadata.Block{}, err
	}
	if rows[0].Live() {
		g.places.put(key, rows[0], asked)
	}
	return rows[0], nil
}

// read is the outcome of one way to a block's bytes.
type read struct {
	view  buffer.View
	proof holdall.Proof
	at    holdall.Location // where the block was last known to be
	err   error
}

// errGone is the leader's word that there is no such block.
var errGone = fmt.Errorf("no such block: %w", holdall.ErrNotFound)

// fetch returns a whole block: read directly or, when that fails or takes longer
// than reads usually do, rebuilt from other shards (step 5). The first good
// answer wins. Few reads may be hedged because they are slow; one that hangs
// always is.
func (g *Gateway) fetch(ctx context.Context, w *wanted) read {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rebuild := func(at holdall.Location, why error) chan read {
		return g.begin(ctx, func() read { return g.rebuild(ctx, w.id, at, why) })
	}
	delay := g.reads.begin(g.cfg.HedgeMin)
	direct := g.begin(ctx, func() read { return g.directRefreshed(ctx, w) })
	var slow <-chan time.Time
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		slow = t.C
	}
	late := time.NewTimer(g.reads.hang(g.cfg.HedgeMin))
	defer late.Stop()
	hangs := false
	var rebuilt chan read
	for {
		select {
		case r := <-direct:
			if r.err == nil || errors.Is(r.err, errGone) {
				return r
			}
			if direct = nil; rebuilt == nil {
				rebuilt = rebuild(r.at, r.err)
			}
		case <-slow:
			if slow = nil; g.reads.hedge(len(g.health.disks())) {
				g.metrics.hedges.Inc()
				rebuilt = rebuild(w.at, nil)
			}
		case <-late.C:
			if hangs = true; rebuilt == nil {
				rebuilt = rebuild(w.at, nil)
			}
		case r := <-rebuilt:
			if r.err == nil || direct == nil || hangs {
				return r
			}
			rebuilt = nil // a hedge that failed: the direct read may still come, or start another
		case <-ctx.Done():
			return read{err: fmt.Errorf("%w: %w", context.Cause(ctx), holdall.ErrUnavailable)}
		}
		if direct == nil {
			slow = nil
		}
	}
}

// begin runs f in a goroutine of its own. If ctx ends before its result is
// taken, the result is dropped.
func (g *Gateway) begin(ctx context.Context, f func() read) chan read {
	out := make(chan read)
	g.calls.Add(1)
	go func() {
		defer g.calls.Done()
		r := f()
		select {
		case out <- r:
		case <-ctx.Done():
			r.view.Release()
		}
	}()
	return out
}

// directRefreshed reads directly. A cached location that dangles is refreshed
// once.
func (g *Gateway) directRefreshed(ctx context.Context, w *wanted) read {
	began := time.Now()
	took := time.Duration(0)
	defer func() { g.reads.end(took) }()
	r := g.direct(ctx, w, w.at)
	if r.err != nil && w.cached && ctx.Err() == nil {
		row, err := g.lookUp(ctx, w.blockKey, true)
		switch {
		case err == nil && !row.Live():
			return read{err: errGone}
		case err == nil && row.Location != w.at:
			r = g.direct(ctx, w, row.Location)
		}
	}
	if r.err == nil {
		took = time.Since(began)
	}
	return r
}

// errMismatch is the error of bytes that do not hash to their id.
var errMismatch = errors.New("bytes do not hash to the block's id")

// direct is steps 2 to 4: one read of one extent at the given place, hashed
// unless the caller will.
func (g *Gateway) direct(ctx context.Context, w *wanted, at holdall.Location) read {
	// 2. Volume → members.
	v, err := g.members(at)
	if err != nil {
		return read{at: at, err: err}
	}
	// 3. Exactly the block's bytes.
	disk := v.Members[at.Member].Disk
	view, err := g.cfg.Reader.Read(ctx, disk, v.Extent(int(at.Member)), at.Offset, int(at.Length))
	switch {
	case err != nil:
		return read{at: at, err: err}
	case w.trusting:
		return read{view, holdall.ProofNone, at, nil}
	case holdall.HashBlock(view.Data) == w.id: // 4. Hash.
		return read{view, holdall.ProofHash, at, nil}
	}
	view.Release()
	return read{at: at, err: fmt.Errorf("volume %v member %d offset %d on disk %v: %w: %w",
		at.Volume, at.Member, at.Offset, disk, errMismatch, holdall.ErrCorrupt)}
}

// members returns the volume in which a location lies.
func (g *Gateway) members(at holdall.Location) (*metadata.Volume, error) {
	v, err := g.places.volume(g.cfg.Tables, at.Volume)
	if err == nil && int(at.Member) >= len(v.Members) {
		v, err = g.places.refreshVolume(g.cfg.Tables, at.Volume)
	}
	if err != nil {
		return nil, err
	}
	if int(at.Member) >= len(v.Members) {
		return nil, fmt.Errorf("volume %v has no member %d: %w", at.Volume, at.Member, holdall.ErrCorrupt)
	}
	return v, nil
}
