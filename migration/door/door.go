package door

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// Door puts and gets objects, as object.Objects does, in whichever store they
// belong. It is safe for concurrent use.
type Door struct {
	cfg     Config
	id      metadata.DoorID
	log     *slog.Logger
	metrics *metrics
	keys    *keys
	poke    chan struct{} // look at the migrations now
	shadows chan struct{} // a place for each comparison

	run  context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup // all goroutines that outlive a call

	beating sync.Mutex // one heartbeat at a time

	mu      sync.Mutex // guards all below
	closed  bool
	seen    time.Time       // when the last heartbeat that was taken began
	heeded  context.Context // of requests to sources: ends when the door is silent for too long
	unheed  context.CancelFunc
	buckets map[holdall.BucketID]*bucket
}

// bucket is what a door keeps of a bucket under migration.
type bucket struct {
	gate    *gate
	breaker breaker

	mu     sync.Mutex // guards all below
	from   metadata.Source
	remote *Remote
	taking bool // a step is being taken
}

// New returns a Door. The error lists every fault of cfg.
func New(cfg Config) (*Door, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Door{cfg: cfg, log: cfg.Logger, keys: newKeys(), poke: make(chan struct{}, 1), shadows: make(chan struct{}, cfg.Compare), buckets: map[holdall.BucketID]*bucket{}}
	if _, err := io.ReadFull(cfg.Random, d.id[:]); err != nil {
		return nil, fmt.Errorf("door: no randomness for its id: %w: %w", err, holdall.ErrUnavailable)
	}
	if d.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("door: metrics: %w", err)
	}
	d.run, d.stop = context.WithCancel(context.Background())
	d.heeded, d.unheed = context.WithCancel(context.Background())
	return d, nil
}

// Start begins to take part in steps.
func (d *Door) Start() { d.work.Go(d.watch) }

// Close ends what goes on behind the calls, which must have ended. What is not
// noted when ctx ends is left to whoever finds the door silent.
func (d *Door) Close(ctx context.Context) {
	d.mu.Lock()
	d.closed = true
	seen := d.seen
	d.mu.Unlock()
	done := make(chan struct{})
	go func() { d.work.Wait(); close(done) }()
	d.stop()
	<-done
	d.cutOff()
	if !seen.IsZero() {
		if err := d.cfg.Migrations.DropDoor(ctx, d.id); err != nil {
			d.log.Warn("migration: the door could not be taken off the list of doors; in 10 s it counts as gone", "door", d.id, "err", err)
		}
	}
}

// ID returns the id under which the door takes part in steps.
func (d *Door) ID() metadata.DoorID { return d.id }

// after runs f behind the call, or within it when the door is being closed.
func (d *Door) after(f func(context.Context)) {
	d.mu.Lock()
	if !d.closed {
		d.work.Go(func() { f(d.run) })
		d.mu.Unlock()
		return
	}
	d.mu.Unlock()
	f(d.run)
}

// bucket returns what is kept of a bucket.
func (d *Door) bucket(id holdall.BucketID) *bucket {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.buckets[id]
	if b == nil {
		b = &bucket{gate: newGate()}
		d.buckets[id] = b
	}
	return b
}

// open returns the other store of a migration. An operator may have changed where
// it is, or its profile, since the last call.
func (b *bucket) open(ctx context.Context, d *Door, from metadata.Source) (*Remote, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.remote != nil && b.from == from {
		return b.remote, nil
	}
	r, err := d.cfg.Remote(context.WithoutCancel(ctx), from)
	if err != nil {
		return nil, fmt.Errorf("door: the source of the migration cannot be opened: %w: %w", err, holdall.ErrUnavailable)
	}
	b.from, b.remote = from, r
	return r, nil
}

// pause waits, or returns an ErrUnavailable that says why it did not.
func pause(ctx context.Context, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("door: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
	}
}
