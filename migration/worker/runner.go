package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

const (
	seeEvery   = 2 * time.Second // how often a door shows that it is there
	stepLimit  = time.Minute     // a step that does not come about by then is cancelled: nobody writes the bucket meanwhile
	retryAfter = 10 * time.Second
	readLimit  = 30 * time.Second // of what a round does itself
)

// Runner works for every bucket of a cell that migrates. Close ends it.
type Runner struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	door    metadata.DoorID // repairs take intents, as doors do

	base    context.Context // of all work; ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex // guards all below
	tasks map[taskKey]*task
	rates map[taskKey]*rate
	after map[taskKey]time.Time // a task that failed is tried again then
	led   time.Time             // since when this process leads; zero = it does not
}

// taskKey names what is done for a bucket in a goroutine of its own.
type taskKey struct {
	bucket holdall.BucketID
	name   string // Backfill, Verify or "repair"
}

// task is one that runs.
type task struct {
	cancel context.CancelCauseFunc
	ended  chan struct{}
}

// errPaused ends a job that an operator does not want now.
var errPaused = errors.New("paused")

// New returns a Runner that does nothing until Start.
func New(cfg Config) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Runner{cfg: cfg.withDefaults(), base: context.Background(), tasks: map[taskKey]*task{}, rates: map[taskKey]*rate{}, after: map[taskKey]time.Time{}}
	r.log = r.cfg.Logger
	if _, err := io.ReadFull(rand.Reader, r.door[:]); err != nil {
		return nil, fmt.Errorf("worker: no randomness for a door's id: %w: %w", err, holdall.ErrUnavailable)
	}
	var err error
	if r.metrics, err = newMetrics(r, r.cfg.Registerer); err != nil {
		return nil, err
	}
	return r, nil
}

// Start begins to work.
func (r *Runner) Start(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.base = ctx
	r.running.Go(func() { r.every(ctx, seeEvery, r.see) })
	r.running.Go(func() { r.every(ctx, r.cfg.Tick, r.round) })
}

// Close ends all work and waits for it. What was under way goes on where it was
// when a Runner starts again.
func (r *Runner) Close(ctx context.Context) {
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.running.Wait()
	if err := r.cfg.Doors.DropDoor(ctx, r.door); err != nil {
		r.log.Debug("migration: door of the workers could not be dropped", "err", err)
	}
}

// every calls f now and at every tick until ctx ends.
func (r *Runner) every(ctx context.Context, tick time.Duration, f func(context.Context) error) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		one, cancel := context.WithTimeout(ctx, readLimit)
		if err := f(one); err != nil && ctx.Err() == nil {
			r.log.Warn("migration: a round of the workers failed, there will be another", "err", err)
		}
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// see shows metadata that this door is there.
func (r *Runner) see(ctx context.Context) error {
	if all, err := r.cfg.Migrations.Migrations(); err != nil || len(all) == 0 {
		return err // a cell without migrations need not write for them every two seconds
	}
	_, err := r.cfg.Doors.SeeDoor(ctx, r.door)
	return err
}

// round looks at every migration and sees that what it needs is being done.
func (r *Runner) round(ctx context.Context) error {
	all, err := r.cfg.Migrations.Migrations()
	if err != nil {
		return err
	}
	if !r.leads() {
		r.stopAll()
		return nil
	}
	var errs []error
	if len(all) > 0 {
		errs = append(errs, r.lapse(ctx))
	}
	for i := range all {
		m := &all[i]
		if m.Step != 0 {
			errs = append(errs, r.step(ctx, m))
			continue
		}
		if m.State.Mirrored() && m.Entries > 0 {
			r.begin(taskKey{m.Bucket, "repair"}, r.repair)
		}
		errs = append(errs, r.beginJob(m, Backfill, r.backfillJob), r.beginJob(m, Verify, r.verifyJob))
	}
	return errors.Join(errs...)
}

// leads says whether this process leads the cell, and notes since when.
func (r *Runner) leads() bool {
	leader := r.cfg.Cell.Leader()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !leader {
		r.led = time.Time{}
	} else if r.led.IsZero() {
		r.led = r.cfg.Now()
	}
	return leader
}

// settled says whether doors have had the time to be seen since this process leads.
func (r *Runner) settled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.led.IsZero() && r.cfg.Now().Sub(r.led) >= r.cfg.Lead
}

// step drives a step that was announced. This door has nothing to wait for: what a
// repair decided under the old state is refused under the new one.
func (r *Runner) step(ctx context.Context, m *metadata.Migration) error {
	if err := r.cfg.Steps.Acknowledge(ctx, r.door, m.Bucket, m.Number); err != nil && !errors.Is(err, holdall.ErrStale) {
		return err
	}
	late := r.cfg.Now().Sub(m.Announced) > stepLimit
	var err error = holdall.ErrUnavailable
	if r.settled() {
		_, err = r.cfg.Steps.Step(ctx, m.Bucket, m.Number)
	}
	switch {
	case err == nil:
		r.log.Info("migration: step done", "bucket", m.Bucket, "from", m.State, "to", m.Step)
		return nil
	case errors.Is(err, holdall.ErrStale):
		return nil // it was taken, or taken back
	case errors.Is(err, holdall.ErrRefused), late:
		r.log.Warn("migration: step taken back", "bucket", m.Bucket, "from", m.State, "to", m.Step, "err", err)
		_, err = r.cfg.Steps.CancelStep(ctx, m.Bucket, m.Number)
		return err
	}
	return nil
}

const (
	lapseLimit = 500              // metadata take no more at once
	forget     = 10 * time.Minute // a door that is silent for so long, and has no intents, is forgotten
)

// lapse makes entries of the intents of doors that died.
func (r *Runner) lapse(ctx context.Context) error {
	if !r.settled() {
		return nil
	}
	doors, err := r.cfg.Doors.Doors()
	if err != nil {
		return err
	}
	var errs []error
	now := r.cfg.Now()
	for _, d := range doors {
		silent := now.Sub(d.Seen)
		if d.ID == r.door || silent < metadata.DoorSilence {
			continue
		}
		n, more, err := r.cfg.Doors.LapseIntents(ctx, d.ID, lapseLimit)
		switch {
		case errors.Is(err, holdall.ErrRefused): // by metadata's clock it is not silent yet
		case err != nil:
			errs = append(errs, err)
		case n > 0:
			r.metrics.lapsed.Add(float64(n))
			r.log.Warn("migration: writes of a door that died will be repaired", "door", d.ID.String(), "writes", n)
		case !more && silent > forget:
			errs = append(errs, r.cfg.Doors.DropDoor(ctx, d.ID))
		}
	}
	return errors.Join(errs...)
}

// begin runs f for a bucket unless it runs already, or failed just now.
func (r *Runner) begin(key taskKey, f func(context.Context, place) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tasks[key] != nil || r.cfg.Now().Before(r.after[key]) {
		return
	}
	ctx, cancel := context.WithCancelCause(r.base)
	t := &task{cancel: cancel, ended: make(chan struct{})}
	r.tasks[key] = t
	r.running.Go(func() {
		p, err := r.place(ctx, key.bucket)
		if err == nil {
			err = f(ctx, p)
		}
		cancel(nil)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.tasks, key)
		close(t.ended)
		if err != nil && !errors.Is(err, errPaused) && !errors.Is(err, context.Canceled) {
			r.log.Warn("migration: work on a bucket failed, it goes on soon", "bucket", key.bucket, "work", key.name, "err", err)
			r.after[key] = r.cfg.Now().Add(r.wait(err))
		}
	})
}

// wait is how long to wait after a failure: a step that was taken is no failure.
func (r *Runner) wait(err error) time.Duration {
	if errors.Is(err, holdall.ErrStale) {
		return 0
	}
	return retryAfter
}

// stop ends a task and waits for it.
func (r *Runner) stop(key taskKey) {
	r.mu.Lock()
	t := r.tasks[key]
	delete(r.after, key)
	r.mu.Unlock()
	if t != nil {
		t.cancel(errPaused)
		<-t.ended
	}
}

// stopAll ends every task without waiting.
func (r *Runner) stopAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.tasks {
		t.cancel(errPaused)
	}
}

// place reads what workers need to know of a bucket.
func (r *Runner) place(ctx context.Context, bucket holdall.BucketID) (place, error) {
	m, err := r.cfg.Migrations.MigrationStatus(bucket)
	if err != nil {
		return place{}, err
	}
	name, err := r.nameOf(ctx, &m)
	return place{m, name}, err
}

// nameOf finds the name of a migration's bucket.
func (r *Runner) nameOf(_ context.Context, m *metadata.Migration) (string, error) {
	for after := ""; ; {
		page, err := r.cfg.Names.Buckets(m.Namespace, after, holdall.MaxListPage)
		if err != nil {
			return "", err
		}
		for _, b := range page {
			if b.ID == m.Bucket {
				return b.Name, nil
			}
			after = b.Name
		}
		if len(page) < holdall.MaxListPage {
			return "", fmt.Errorf("worker: bucket %d: %w", m.Bucket, metadata.ErrNoBucket)
		}
	}
}

// beginJob runs a job that is wanted, in a state that it can run in.
func (r *Runner) beginJob(m *metadata.Migration, name string, f func(context.Context, place) error) error {
	if m.State < metadata.StateMirror || m.State > metadata.StateFlipped {
		return nil
	}
	key := taskKey{m.Bucket, name}
	r.mu.Lock()
	idle := r.tasks[key] == nil
	r.mu.Unlock()
	if !idle {
		return nil
	}
	j, err := r.job(m.Bucket, name)
	if err == nil && j.Wanted {
		r.begin(key, f)
	}
	return err
}

// backfillJob runs passes until one finds nothing new.
func (r *Runner) backfillJob(ctx context.Context, p place) error {
	j, err := r.job(p.Bucket, Backfill)
	if err != nil {
		return err
	}
	for j.Wanted && ctx.Err() == nil {
		src, err := r.cfg.OpenSource(ctx, p.Source, j)
		if err == nil {
			err = r.backfill(ctx, p, src, &j)
		}
		if err != nil {
			return r.failed(ctx, p, Backfill, &j, err)
		}
		n := metadata.WalkerNote{Bucket: p.Bucket, Number: p.Number, Find: metadata.FindBackfill}
		switch {
		case j.Pass > 0 && j.Counts.Copied == 0:
			n.Find, j.Wanted, j.Ended = metadata.FindCaughtUp, false, r.cfg.Now()
		case j.Pass > 0:
			n.Find = metadata.FindNew
		}
		r.log.Info("migration: a listing has ended", "bucket", p.name, "pass", j.Pass, "keys", j.Counts.Seen, "copied", j.Counts.Copied, "bytes", j.Counts.Bytes, "quarantined", j.Counts.Faults)
		if j.Wanted {
			if err := r.nextPass(&j); err != nil {
				return err
			}
		}
		if err := r.noteJob(ctx, Backfill, &j, n); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// nextPass makes a job's next walk.
func (r *Runner) nextPass(j *Job) error {
	total := j.Counts
	j.Pass++
	j.Counts = Counts{TotalKeys: total.TotalKeys, TotalBytes: total.TotalBytes}
	j.Began, j.Failure = r.cfg.Now(), ""
	return j.newRun()
}

// newRun forgets where the job was.
func (j *Job) newRun() error {
	if _, err := io.ReadFull(rand.Reader, j.Run[:]); err != nil {
		return fmt.Errorf("worker: no randomness for a run: %w: %w", err, holdall.ErrUnavailable)
	}
	j.After, j.Length = nil, 0
	return nil
}

// failed notes why a job does not run. A budget that is used up ends it until an
// operator gives more; everything else is tried again.
func (r *Runner) failed(ctx context.Context, p place, name string, j *Job, err error) error {
	if ctx.Err() != nil || errors.Is(err, holdall.ErrStale) {
		return err
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteLimit)
	defer cancel()
	j.Failure = err.Error()
	if spent(err) {
		j.Wanted = false
	}
	return errors.Join(err, r.noteJob(late, name, j, metadata.WalkerNote{Bucket: p.Bucket, Number: p.Number}))
}
