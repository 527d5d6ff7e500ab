package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// Asked is a migration that an operator asks for.
type Asked struct {
	Namespace holdall.NamespaceID
	Bucket    string
	metadata.MigrationSettings
}

// Status is all that is known of a migration.
type Status struct {
	metadata.Migration
	Name     string // of the bucket
	Space    string // name of its namespace
	Backfill Job
	Verify   Job
	Rates    [2]Rate // of those
	Running  [2]bool
	Waiting  []metadata.DoorID // doors that an announced step waits for
	Next     error             // why the next step is refused; nil: it is not
}

// Create begins a migration into an empty bucket that is there already. Errors are
// metadata's; ErrNotFound and ErrDenied of the source, which is asked once.
func (r *Runner) Create(ctx context.Context, a Asked) (Status, error) {
	b, err := r.cfg.Names.Bucket(ctx, a.Namespace, a.Bucket)
	if err != nil {
		return Status{}, err
	}
	src, err := r.cfg.OpenSource(ctx, a.Source, Job{})
	if err == nil {
		err = check(ctx, src)
	}
	if err != nil {
		return Status{}, fmt.Errorf("migration of %s: the source: %w", a.Bucket, err)
	}
	m := metadata.Migration{Bucket: b.ID, Namespace: a.Namespace, Source: a.Source, Policy: a.Policy, CleanRun: a.CleanRun, Window: a.Window}
	if m, err = r.cfg.Migrations.CreateMigration(ctx, m); err != nil {
		return Status{}, err
	}
	if err := r.see(ctx); err != nil { // it is due anyway
		r.log.Warn("migration: the workers' door could not be shown", "err", err)
	}
	return r.status(&m, a.Bucket)
}

// checker is a Source that can say whether its bucket is there.
type checker interface {
	Check(ctx context.Context) error
}

func check(ctx context.Context, src Source) error {
	if c, ok := src.(checker); ok {
		return c.Check(ctx)
	}
	return nil
}

// find returns the migration of a bucket by its name. ErrNotFound.
func (r *Runner) find(ctx context.Context, ns holdall.NamespaceID, bucket string) (place, error) {
	b, err := r.cfg.Names.Bucket(ctx, ns, bucket)
	if err != nil {
		return place{}, err
	}
	m, err := r.cfg.Migrations.MigrationStatus(b.ID)
	return place{m, bucket}, err
}

// Show returns all that is known of a bucket's migration.
func (r *Runner) Show(ctx context.Context, ns holdall.NamespaceID, bucket string) (Status, error) {
	p, err := r.find(ctx, ns, bucket)
	if err != nil {
		return Status{}, err
	}
	return r.status(&p.Migration, bucket)
}

// List returns all migrations of the cell.
func (r *Runner) List(ctx context.Context) (all []Status, err error) {
	rows, err := r.cfg.Migrations.Migrations()
	if err != nil {
		return nil, err
	}
	for i := range rows {
		name, err := r.nameOf(ctx, &rows[i])
		if errors.Is(err, holdall.ErrNotFound) { // removed since it was retired
			name, err = fmt.Sprintf("(bucket %d, removed)", rows[i].Bucket), nil
		}
		if err != nil {
			return nil, err
		}
		s, err := r.status(&rows[i], name)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func (r *Runner) status(m *metadata.Migration, name string) (s Status, err error) {
	s = Status{Migration: *m, Name: name}
	space, err := r.cfg.Names.NamespaceByID(m.Namespace)
	if err != nil {
		return s, err
	}
	s.Space = space.Name
	for i, job := range []*Job{&s.Backfill, &s.Verify} {
		kind := [...]string{Backfill, Verify}[i]
		if *job, err = r.job(m.Bucket, kind); err != nil {
			return s, err
		}
		r.mu.Lock()
		key := taskKey{m.Bucket, kind}
		if s.Running[i] = r.tasks[key] != nil; s.Running[i] && r.rates[key] != nil && r.rates[key].last.Run == job.Run {
			s.Rates[i] = r.rates[key].now()
			*job = r.rates[key].last
		}
		r.mu.Unlock()
	}
	if m.State < metadata.StateRetired {
		s.Next = metadata.Guard(m, m.State+1, r.cfg.Now())
	}
	s.Waiting, err = r.waiting(m)
	return s, err
}

// waiting returns the doors that an announced step waits for.
func (r *Runner) waiting(m *metadata.Migration) (ids []metadata.DoorID, err error) {
	if m.Step == 0 {
		return nil, nil
	}
	doors, err := r.cfg.Doors.Doors()
	if err != nil {
		return nil, err
	}
	acknowledged, err := r.cfg.Steps.Acknowledged(m.Bucket)
	if err != nil {
		return nil, err
	}
	has := map[metadata.DoorID]bool{}
	for _, id := range acknowledged {
		has[id] = true
	}
	for _, d := range doors {
		if !has[d.ID] && r.cfg.Now().Sub(d.Seen) < metadata.DoorSilence {
			ids = append(ids, d.ID)
		}
	}
	return ids, nil
}

// Set changes what an operator may change at any time.
func (r *Runner) Set(ctx context.Context, ns holdall.NamespaceID, bucket string, set metadata.MigrationSettings) (Status, error) {
	p, err := r.find(ctx, ns, bucket)
	if err != nil {
		return Status{}, err
	}
	m, err := r.cfg.Migrations.SetMigration(ctx, p.Bucket, set)
	if err != nil {
		return Status{}, err
	}
	return r.status(&m, bucket)
}

// Announce announces a step; rounds take it when all doors have seen it. A step
// back is one to a lower state. ErrRefused lists everything that is in the way.
func (r *Runner) Announce(ctx context.Context, ns holdall.NamespaceID, bucket string, to metadata.MigrationState) (Status, error) {
	p, err := r.find(ctx, ns, bucket)
	if err != nil {
		return Status{}, err
	}
	if p.State == to && p.Step == 0 || p.Step == to && to != 0 {
		return r.status(&p.Migration, bucket) // a repeat
	}
	m, err := r.cfg.Steps.Announce(ctx, p.Bucket, p.Number, to)
	if err != nil {
		return Status{}, err
	}
	r.log.Info("migration: step announced", "bucket", bucket, "from", m.State, "to", to)
	if m, err = r.cfg.Migrations.MigrationStatus(p.Bucket); err != nil {
		return Status{}, err
	}
	return r.status(&m, bucket)
}

// Begin has a job run: Backfill or Verify. One that was paused goes on where it was;
// one that has ended begins anew.
func (r *Runner) Begin(ctx context.Context, ns holdall.NamespaceID, bucket, job string, l Limits) (Status, error) {
	p, err := r.find(ctx, ns, bucket)
	if err != nil {
		return Status{}, err
	}
	if p.State < metadata.StateMirror || p.State > metadata.StateFlipped {
		return Status{}, fmt.Errorf("%s of %s: the bucket is in %v; it runs from %v to %v: %w", job, bucket, p.State, metadata.StateMirror, metadata.StateFlipped, holdall.ErrRefused)
	}
	if _, err := l.budget(Job{}.Spent); err != nil {
		return Status{}, err
	}
	r.stop(taskKey{p.Bucket, job})
	j, err := r.job(p.Bucket, job)
	if err != nil {
		return Status{}, err
	}
	if j.Run == (runID{}) || !j.Ended.IsZero() {
		j = Job{Began: r.cfg.Now(), Clean: j.Clean}
		if err := j.newRun(); err != nil {
			return Status{}, err
		}
	}
	j.Wanted, j.Limits, j.Failure = true, l, ""
	if err := r.noteJob(ctx, job, &j, metadata.WalkerNote{Bucket: p.Bucket, Number: p.Number}); err != nil {
		return Status{}, err
	}
	return r.status(&p.Migration, bucket)
}

// Pause ends a job until Begin.
func (r *Runner) Pause(ctx context.Context, ns holdall.NamespaceID, bucket, job string) (Status, error) {
	p, err := r.find(ctx, ns, bucket)
	if err != nil {
		return Status{}, err
	}
	r.stop(taskKey{p.Bucket, job})
	j, err := r.job(p.Bucket, job)
	if err != nil {
		return Status{}, err
	}
	if j.Wanted {
		j.Wanted = false
		if err := r.noteJob(ctx, job, &j, metadata.WalkerNote{Bucket: p.Bucket, Number: p.Number}); err != nil {
			return Status{}, err
		}
	}
	return r.status(&p.Migration, bucket)
}

// Quarantine returns at most limit keys above after that could not be copied.
func (r *Runner) Quarantine(ctx context.Context, ns holdall.NamespaceID, bucket, after string, limit int) ([]metadata.Quarantine, error) {
	p, err := r.find(ctx, ns, bucket)
	if err != nil {
		return nil, err
	}
	return r.cfg.Faults.Quarantined(p.Bucket, after, limit)
}

// Outbox returns at most limit keys above after that one side missed.
func (r *Runner) Outbox(ctx context.Context, ns holdall.NamespaceID, bucket, after string, limit int) ([]metadata.Entry, error) {
	p, err := r.find(ctx, ns, bucket)
	if err != nil {
		return nil, err
	}
	return r.cfg.Outbox.Entries(p.Bucket, after, limit)
}

// Exceptions returns at most limit keys above after that may differ.
func (r *Runner) Exceptions(ctx context.Context, ns holdall.NamespaceID, bucket, after string, limit int) ([]metadata.Exception, error) {
	p, err := r.find(ctx, ns, bucket)
	if err != nil {
		return nil, err
	}
	return r.cfg.Faults.Exceptions(p.Bucket, after, limit)
}

// Requeue makes an entry due now, or has a key looked at again that is in
// quarantine: both sides are compared by repair.
func (r *Runner) Requeue(ctx context.Context, ns holdall.NamespaceID, bucket, key string) error {
	p, err := r.find(ctx, ns, bucket)
	if err != nil {
		return err
	}
	e, ok, err := r.cfg.Outbox.Entry(p.Bucket, key)
	if err != nil {
		return err
	}
	if ok {
		return r.cfg.Outbox.TouchEntry(ctx, e, r.cfg.Now(), e.Reason)
	}
	if err := r.cfg.Faults.DropQuarantine(ctx, p.Bucket, key); err != nil {
		return err
	}
	return r.cfg.Outbox.NoteMiss(ctx, p.Bucket, key, "an operator asked for it")
}

// Except notes that a key may differ, who says so, and why. What differs is what
// quarantine says of it.
func (r *Runner) Except(ctx context.Context, ns holdall.NamespaceID, bucket string, e metadata.Exception) error {
	p, err := r.find(ctx, ns, bucket)
	if err != nil {
		return err
	}
	if e.Reason == "" || e.SignedBy == "" {
		return fmt.Errorf("exception for %.80q: want a reason, and who takes it upon himself: %w", e.Key, holdall.ErrInvalid)
	}
	e.Bucket, e.At = p.Bucket, time.Time{}
	if e.What == "" {
		e.What = "as the operator says"
		if q, err := r.cfg.Faults.Quarantined(p.Bucket, before(e.Key), 1); err == nil && len(q) == 1 && q[0].Key == e.Key {
			e.What = q[0].Reason
		}
	}
	return r.cfg.Faults.PutException(ctx, e)
}

// before is a key right below another: no key of a listing lies between them but
// those that begin as key does without its last byte.
func before(key string) string {
	if key == "" {
		return ""
	}
	last := len(key) - 1
	if key[last] == 0 {
		return key[:last]
	}
	return key[:last] + string([]byte{key[last] - 1, 0xff, 0xff, 0xff, 0xff})
}
