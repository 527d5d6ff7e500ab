// Package gateway carries puts and gets between callers, volume servers and
// metadata: it receives, hashes, packs, codes, appends, commits; it looks up,
// reads, rebuilds, verifies. It owns the volumes whose leases it holds, the
// memory of what is in flight, and a cache of blocks that were read lately. It
// never touches a device or a key of the metadata: both are behind the small
// interfaces of cell.go.
//
// Reading order: receive.go and put.go, whose steps carry the numbers of
// ARCHITECTURE.md, and what they call: lane.go (packing), stripe.go (coding,
// appending), refusal.go, open.go (volumes to write to), takeover.go, seal.go.
// Then get.go and rebuild.go.
package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"golang.org/x/time/rate"
)

// Gateway is one writer and reader of a cell. It is safe for concurrent use.
type Gateway struct {
	cfg     Config
	log     *slog.Logger
	pool    *buffer.Pool
	hashers sync.Pool // of *holdall.Hasher
	metrics *metrics
	health  *health // which disks to write to
	coders  *coders

	arrivals *arrivals // puts that are being received
	receive  *budget   // bytes of puts in flight
	waiting  *budget   // those of them that waited for room
	quotas   *quotas
	send     *budget // bytes of gets in flight
	rebuilds chan struct{}

	flights    flights // puts in flight, by id
	user       *lane
	system     *lane
	footers    *footers
	placements atomic.Uint64 // how many were asked for: part of the seed
	damages    *rate.Limiter // of log lines about bad shards

	places *placeCache
	blocks *blockCache
	reads  *readTimes
	writes *appendTimes

	// ctx ends when Close gives up waiting for what is in flight; done is
	// closed when Close is called.
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	background sync.WaitGroup // loops, creations, takeovers, seals
	puts       sync.WaitGroup // stripes being written
	calls      sync.WaitGroup // appends and reads that callers no longer wait for

	mu      sync.Mutex // guards started, closing
	started bool
	closing bool
}

// New returns a Gateway that does nothing until Start. The error lists every
// fault of cfg.
func New(cfg Config) (*Gateway, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg:      cfg,
		log:      cfg.Logger.With("gateway", cfg.ID),
		pool:     cfg.Pool,
		health:   newHealth(cfg),
		coders:   newCoders(),
		arrivals: newArrivals(cfg.Now),
		rebuilds: make(chan struct{}, max(1, cfg.Memory/(5*rebuildBytes))),
		flights:  flights{byKey: map[blockKey]*flight{}},
		places:   newPlaceCache(cfg.Now),
		reads:    newReadTimes(),
		writes:   newAppendTimes(cfg.AppendTimeoutMin, cfg.AppendTimeoutMax),
		done:     make(chan struct{}),
		damages:  rate.NewLimiter(1, 10),
	}
	g.hashers.New = func() any { return holdall.NewHasher() }
	g.receive = newBudget(cfg.Memory * receiveShare / 100)
	g.waiting = newBudget(g.receive.limit * waitingShare / 100)
	g.quotas = newQuotas(cfg)
	g.send = newBudget(cfg.Memory * sendShare / 100)
	g.blocks = newBlockCache(cfg.Memory*cacheShare/100, cfg.Now)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.footers = newFooters(g)
	g.user = newLane(g, false, cfg.OpenVolumes)
	g.system = newLane(g, true, 1)
	if g.metrics, err = newMetrics(g, cfg.Registerer); err != nil {
		return nil, fmt.Errorf("gateway: metrics: %w", err)
	}
	return g, nil
}

// Start takes over the volumes that this gateway had open before, in the
// background, and begins to serve. It fails if the volumes table cannot be read.
func (g *Gateway) Start(ctx context.Context) error {
	g.mu.Lock()
	if g.started || g.closing {
		g.mu.Unlock()
		panic("gateway: started twice, or after Close")
	}
	g.started = true
	g.mu.Unlock()
	lapsed, err := g.findVolumes()
	if err != nil {
		return err
	}
	for _, v := range lapsed {
		g.volumesOf(v.System).reclaim(v.ID)
	}
	for _, run := range []func(){g.user.run, g.system.run, g.footers.run, g.keepLeases} {
		g.background.Add(1)
		go func() {
			defer g.background.Done()
			run()
		}()
	}
	return nil
}

// closeGrace is how long Close waits for goroutines once it has given up what
// was in flight: one that hangs in a device must not hang the process.
const closeGrace = 5 * time.Second

// Close refuses new calls, finishes what is in flight, and returns when no
// goroutine of the Gateway is left. When ctx ends first, what is in flight is
// given up: its puts fail with ErrUnavailable. Volumes stay open in metadata; a
// Gateway with the same id takes them over.
func (g *Gateway) Close(ctx context.Context) error {
	g.mu.Lock()
	if g.closing {
		g.mu.Unlock()
		return nil
	}
	g.closing = true
	close(g.done)
	g.mu.Unlock()

	finished := make(chan struct{})
	go func() {
		defer close(finished)
		g.background.Wait() // with the lanes, which start stripes
		g.puts.Wait()       // which start appends
		g.calls.Wait()
	}()
	defer g.blocks.clear()
	defer g.cancel()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
	}
	g.cancel()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-finished:
		return fmt.Errorf("gateway: gave up what was in flight: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
	case <-grace.C:
		return fmt.Errorf("gateway: calls to disks or metadata do not return: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
	}
}

// isClosing says whether Close was called.
func (g *Gateway) isClosing() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// spawn runs f in the background, unless the Gateway is closing. Close waits
// for it.
func (g *Gateway) spawn(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		return false
	}
	g.background.Add(1)
	go func() {
		defer g.background.Done()
		f()
	}()
	return true
}

// pause waits for d, and returns false if the Gateway closes first.
func (g *Gateway) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-g.done:
		return false
	}
}

// await returns what f returns, or ErrUnavailable when ctx ends first: a call
// that hangs in a device is left to return by itself. Close waits for it.
func await[T any](ctx context.Context, g *Gateway, f func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	g.calls.Add(1)
	go func() {
		defer g.calls.Done()
		v, err := f()
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("no answer in time: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
	}
}

// nothing is the result of calls that have none.
type nothing struct{}

func errClosing() error {
	return fmt.Errorf("gateway: shutting down: %w", holdall.ErrUnavailable)
}
