package upkeep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
)

// Config says what an Upkeep works on. The interfaces and Pool must be set.
type Config struct {
	Tables  Tables
	Referee Referee
	Volumes Volumes
	Trash   Trash
	Journal Journal
	Extents Extents
	Disks   Disks
	Blocks  Blocks
	Pool    *buffer.Pool // for inspections: at most a stripe's shards at a time

	Versions Versions // nil = objects are left alone: there are none
	Nodes    Nodes    // nil = nodes in trash are left alone

	Retention time.Duration // how long trash of the system namespace waits; the others say themselves
	FreeHold  time.Duration // how long extents of freed volumes wait

	Tick       time.Duration // between looks at trash and tasks; 0 = 1 s
	FlushEvery time.Duration // between flushes of the journal; 0 = 20 s, at most 60 s
	ScanEvery  time.Duration // between looks at all volumes when nothing was purged; 0 = 10 s

	Now        func() time.Time // nil = time.Now
	Logger     *slog.Logger     // nil = slog.Default()
	Registerer prometheus.Registerer
}

// maxFlushEvery is what a rebuild is promised to lose at most.
const maxFlushEvery = time.Minute

// Validate reports every fault of c at once. Its error wraps ErrInvalid.
func (c *Config) Validate() error {
	var faults []error
	rule := func(ok bool, what string) {
		if !ok {
			faults = append(faults, errors.New(what))
		}
	}
	rule(c.Tables != nil, "Tables must be set")
	rule(c.Referee != nil, "Referee must be set")
	rule(c.Volumes != nil, "Volumes must be set")
	rule(c.Trash != nil, "Trash must be set")
	rule(c.Journal != nil, "Journal must be set")
	rule(c.Extents != nil, "Extents must be set")
	rule(c.Disks != nil, "Disks must be set")
	rule(c.Blocks != nil, "Blocks must be set")
	rule(c.Pool != nil, "Pool must be set")
	rule(c.Retention >= 0, fmt.Sprintf("Retention is %v, want 0 or more", c.Retention))
	rule(c.FreeHold >= 0, fmt.Sprintf("FreeHold is %v, want 0 or more", c.FreeHold))
	rule(c.Tick >= 0 && c.ScanEvery >= 0, "Tick and ScanEvery are not negative")
	rule(c.FlushEvery >= 0 && c.FlushEvery <= maxFlushEvery, fmt.Sprintf("FlushEvery is %v, want at most %v", c.FlushEvery, maxFlushEvery))
	if faults == nil {
		return nil
	}
	return fmt.Errorf("upkeep: %w: %w", errors.Join(faults...), holdall.ErrInvalid)
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Tick, time.Second)
	set(&c.FlushEvery, 20*time.Second)
	set(&c.ScanEvery, 10*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Upkeep runs the jobs of one cell. Close ends it.
type Upkeep struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	coders  coders
	wake    chan struct{} // holds one token: look now
	cancel  context.CancelFunc
	running sync.WaitGroup

	// What follows belongs to the goroutine that runs the rounds.
	nextScan   time.Time
	trashed    map[holdall.ExtentID]bool    // extents that their disks know to be in trash
	retryAfter map[holdall.VolumeID]backoff // volumes whose inspection failed
	tripped    bool                         // the purge breaker, as last seen
	purgeAt    metadata.Trashed             // the last that a purge looked at; zero = begin anew
	versionAt  metadata.ObjectTrashed       // likewise

	flushing sync.Mutex // one flush at a time
}

// backoff is when to try something again, and how long to wait after that.
type backoff struct {
	until time.Time
	wait  time.Duration
}

// Bounds of the wait before a volume that could not be inspected is tried
// again.
const (
	firstRetry = 10 * time.Second
	lastRetry  = 10 * time.Minute
)

// New returns an Upkeep that does nothing until Start.
func New(cfg Config) (*Upkeep, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	u := &Upkeep{
		cfg: cfg.withDefaults(), wake: make(chan struct{}, 1),
		trashed: map[holdall.ExtentID]bool{}, retryAfter: map[holdall.VolumeID]backoff{},
	}
	u.log = u.cfg.Logger
	var err error
	if u.metrics, err = newMetrics(u.cfg.Registerer); err != nil {
		return nil, fmt.Errorf("upkeep: metrics: %w", err)
	}
	return u, nil
}

// Start begins the rounds.
func (u *Upkeep) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	u.cancel = cancel
	u.running.Go(func() { u.rounds(ctx) })
	u.running.Go(func() { u.flushes(ctx) })
}

// Close ends the rounds, waits for what they do, and flushes the journal a last
// time. The gateway must still take system blocks. A flush that fails, for want
// of disks say, is only logged: the changes are durable in metadata.
func (u *Upkeep) Close(ctx context.Context) {
	if u.cancel != nil {
		u.cancel()
		u.running.Wait()
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := u.Flush(ctx); err != nil {
		u.log.Warn("the change journal could not be written to disks before the end", "err", err)
	}
}

// Kick makes the next round begin now: something was deleted, or a disk is
// full.
func (u *Upkeep) Kick() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

func (u *Upkeep) rounds(ctx context.Context) {
	tick := time.NewTicker(u.cfg.Tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-u.wake:
			u.nextScan = time.Time{}
		}
		if err := u.Round(ctx); err != nil && ctx.Err() == nil {
			u.metrics.failures.Inc()
			u.log.Warn("upkeep round failed", "err", err)
		}
	}
}

// Round looks once at trash and at volumes, and does what is due. Rounds never
// overlap.
func (u *Upkeep) Round(ctx context.Context) error {
	cell, err := u.cfg.Tables.Cell()
	if err != nil {
		return err
	}
	if cell.Quarantine != "" {
		return u.volumesRound(ctx, true)
	}
	purged, err := u.purge(ctx)
	if purged > 0 {
		u.nextScan = time.Time{}
	}
	// Whatever a purge could not do, volumes are freed: where it lacks room in the
	// journal, that is what makes room.
	return errors.Join(err, u.volumesRound(ctx, false))
}

// scanShare bounds the share of its time that upkeep spends on reading the
// volumes table: one in so many.
const scanShare = 20

// volumesRound reads the volumes table, if it is time to, and does what the plan
// says. In quarantine nothing is freed.
func (u *Upkeep) volumesRound(ctx context.Context, quarantine bool) error {
	begin := u.cfg.Now()
	if begin.Before(u.nextScan) {
		return nil
	}
	volumes, s, err := u.situation()
	if err != nil {
		return err
	}
	u.nextScan = begin.Add(max(u.cfg.ScanEvery, scanShare*u.cfg.Now().Sub(begin)))
	p := planVolumes(volumes, s)
	u.metrics.plan(p)
	var errs []error
	if len(p.seal) > 0 && !quarantine {
		u.log.Info("sealing dead volumes because space is short", "volumes", len(p.seal))
		_, err := u.cfg.Blocks.SealVolumes(ctx, p.seal)
		errs = append(errs, err)
		u.nextScan = time.Time{}
	}
	errs = append(errs, u.writeFooters(ctx, p.footers))
	if !quarantine {
		errs = append(errs, u.free(ctx, p))
	}
	return errors.Join(errs...)
}

func (u *Upkeep) situation() ([]metadata.Volume, situation, error) {
	s := situation{now: u.cfg.Now(), hold: u.cfg.FreeHold, disks: map[holdall.DiskID]holdall.DiskState{}}
	volumes, err := u.cfg.Tables.Volumes()
	if err != nil {
		return nil, s, err
	}
	disks, err := u.cfg.Tables.Disks()
	if err != nil {
		return nil, s, err
	}
	for _, d := range disks {
		s.disks[d.ID] = d.State
	}
	s.short = spaceIsShort(u.cfg.Disks.Status())
	return volumes, s, nil
}
