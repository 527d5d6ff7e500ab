package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/pace"
	"github.com/holdall/holdall/migration/source"
)

const (
	ahead      = 8                // keys of the two listings in order, for each comparison at once
	againTries = 8                // of a key that is being written, before it goes to the end of the pass
	lateLimit  = 15 * time.Minute // of the end of a pass: a key that is never at rest keeps it from counting
)

// reading is one full verification of a bucket: both listings, merged in the order
// of keys, and every key compared.
type reading struct {
	*Runner
	cmp    comparer
	job    *Job
	proofs *proofs

	excepted map[string]bool
}

// compared is one key on its way through a verification.
type compared struct {
	key  string
	done chan struct{}
	finding
	err error
}

// verifyJob runs verifications until enough in a row were clean, or one was not.
func (r *Runner) verifyJob(ctx context.Context, p place) error {
	j, err := r.job(p.Bucket, Verify)
	if err != nil {
		return err
	}
	for j.Wanted && ctx.Err() == nil {
		if j.Number < p.Began || j.Applied == 0 {
			if err := r.beginReading(&j, p); err != nil {
				return err
			}
		}
		src, err := r.cfg.OpenSource(ctx, p.Source, j)
		if err == nil {
			err = r.verify(ctx, p, src, &j)
		}
		if err != nil {
			return r.failed(ctx, p, Verify, &j, err)
		}
		if err := r.endReading(ctx, p, &j); err != nil {
			return err
		}
		r.log.Info("migration: a verification has ended", "bucket", p.name, "keys", j.Counts.Seen, "compared", j.Counts.Copied, "bytes", j.Counts.Bytes, "differences", j.Counts.Faults)
	}
	return context.Cause(ctx)
}

// beginReading makes the job's next pass.
func (r *Runner) beginReading(j *Job, p place) error {
	c, err := r.cfg.Cell.Cell()
	if err != nil {
		return err
	}
	total := j.Counts
	j.Counts = Counts{TotalKeys: total.TotalKeys, TotalBytes: total.TotalBytes}
	j.Pass++
	j.Began, j.Failure, j.Applied, j.Number = r.cfg.Now(), "", c.Applied, p.Number
	return j.newRun()
}

// endReading notes what a pass came to, and whether there is to be another.
func (r *Runner) endReading(ctx context.Context, p place, j *Job) error {
	if err := r.cfg.Notes.NotePass(ctx, metadata.PassResult{Bucket: p.Bucket, Number: j.Number, Began: j.Applied}); err != nil && !errors.Is(err, holdall.ErrStale) {
		return err
	}
	m, err := r.cfg.Migrations.MigrationStatus(p.Bucket)
	if err != nil {
		return err
	}
	if j.Counts.Faults == 0 && m.Evidence.Passes > 0 {
		j.Clean = Proved{Run: j.Run, Length: j.Length, Began: j.Began, Applied: j.Applied, Passes: m.Evidence.Passes}
	}
	j.Counts.TotalKeys, j.Counts.TotalBytes = j.Counts.Seen, j.Counts.Bytes
	j.Applied = 0 // the next pass begins anew
	if j.Counts.Faults > 0 || m.Evidence.Passes >= metadata.CleanPasses {
		j.Wanted, j.Ended = false, r.cfg.Now()
	}
	if err := r.noteJob(ctx, Verify, j, metadata.WalkerNote{Bucket: p.Bucket, Number: p.Number}); err != nil {
		return err
	}
	r.live(p.Bucket, Verify, *j)
	r.tidy(p.Bucket, j)
	return nil
}

// tidy removes the facts of passes that nothing rests on.
func (r *Runner) tidy(bucket holdall.BucketID, j *Job) {
	dir := factsDir(r.cfg.Dir, bucket)
	list, err := os.ReadDir(dir)
	if err != nil {
		return // there is none
	}
	for _, e := range list {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), "facts-") && path != factsPath(r.cfg.Dir, bucket, j.Clean.Run) && path != factsPath(r.cfg.Dir, bucket, j.Run) {
			if err := os.Remove(path); err != nil {
				r.log.Warn("migration: facts of an old verification are still there", "path", path, "err", err)
			}
		}
	}
}

// verify runs one pass, from where the one before it ended.
func (r *Runner) verify(ctx context.Context, p place, src Source, j *Job) (err error) {
	v := &reading{Runner: r, cmp: comparer{r.cfg, p, src}, job: j}
	path := factsPath(r.cfg.Dir, p.Bucket, j.Run)
	if v.proofs, err = openFacts(path, j.Length); errors.Is(err, holdall.ErrNotFound) {
		if err := r.beginReading(j, p); err != nil { // another machine had begun it
			return err
		}
		path = factsPath(r.cfg.Dir, p.Bucket, j.Run)
		v.proofs, err = openFacts(path, 0)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.proofs.close()) }()
	if v.excepted, err = v.exceptions(); err != nil {
		return err
	}
	if err := v.inOrder(ctx); err != nil {
		return errors.Join(err, v.noteLast(ctx))
	}
	if err := v.lateOnes(ctx, path); err != nil {
		return errors.Join(err, v.noteLast(ctx))
	}
	return v.note(ctx)
}

// exceptions reads which keys may differ.
func (v *reading) exceptions() (map[string]bool, error) {
	all := map[string]bool{}
	for after := ""; ; {
		page, err := v.cfg.Faults.Exceptions(v.cmp.place.Bucket, after, holdall.MaxListPage)
		if err != nil {
			return nil, err
		}
		for _, e := range page {
			all[e.Key] = true
			after = e.Key
		}
		if len(page) < holdall.MaxListPage {
			return all, nil
		}
	}
}

// inOrder compares all keys after job.After, many at a time, and takes the results
// in the order of keys.
func (v *reading) inOrder(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	copies, after := v.cfg.Copies, string(v.job.After)
	work, queue := make(chan *compared), make(chan *compared, copies*ahead)
	var workers sync.WaitGroup
	for range copies {
		workers.Go(func() {
			for c := range work {
				c.finding, c.err = v.patiently(ctx, c.key)
				close(c.done)
			}
		})
	}
	workers.Go(func() {
		defer close(queue)
		defer close(work)
		err := v.keys(ctx, after, func(key string) error {
			c := &compared{key: key, done: make(chan struct{})}
			select {
			case queue <- c:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			select {
			case work <- c:
				return nil
			case <-ctx.Done():
				c.err = context.Cause(ctx)
				close(c.done)
				return c.err
			}
		})
		if err != nil {
			cancel(err)
		}
	})
	noted := v.cfg.Now()
	for c := range queue {
		<-c.done
		if context.Cause(ctx) != nil {
			continue
		}
		if err := v.take(ctx, c); err != nil {
			cancel(err)
			continue
		}
		if now := v.cfg.Now(); now.Sub(noted) >= noteEvery {
			noted = now
			if err := v.note(ctx); err != nil {
				cancel(err)
			}
		}
	}
	workers.Wait()
	return context.Cause(ctx)
}

// patiently compares a key; one that is being written it looks at again.
func (v *reading) patiently(ctx context.Context, key string) (f finding, err error) {
	backoff := pace.Backoff{}
	for try := 1; ; try++ {
		f, err = v.cmp.one(ctx, key)
		if !errors.Is(err, errAgain) || try == againTries {
			return f, err
		}
		if err := v.cfg.Sleep(ctx, backoff.Delay(try, v.cfg.Chance())); err != nil {
			return f, err
		}
	}
}

// take notes what the comparison of one key came to.
func (v *reading) take(ctx context.Context, c *compared) error {
	counts := &v.job.Counts
	switch {
	case errors.Is(c.err, errAgain):
		counts.Unsettled++
		if err := v.proofs.late(c.key); err != nil {
			return err
		}
	case c.err != nil:
		if v.excepted[c.key] {
			counts.Excepted++
			break
		}
		return fmt.Errorf("worker: verification of %.200q: %w", c.key, c.err)
	case c.what != "" && v.excepted[c.key]:
		counts.Excepted++
	case c.what != "":
		counts.Faults++
		v.metrics.differences.WithLabelValues(v.cmp.place.name).Inc()
		v.log.Error("migration: the two sides differ", "bucket", v.cmp.place.name, "key", c.key, "what", c.what)
		if err := v.cfg.Notes.NoteMismatch(ctx, v.cmp.place.Bucket, c.key, clip(c.what)); err != nil {
			return err
		}
	case c.leaf != nil:
		counts.Copied++
		v.metrics.compared.WithLabelValues(v.cmp.place.name).Inc()
		v.metrics.comparedBytes.WithLabelValues(v.cmp.place.name).Add(float64(c.leaf.Size))
		counts.Bytes += c.leaf.Size
		if err := v.proofs.equal(c.leaf); err != nil {
			return err
		}
	}
	counts.Seen++
	v.job.After = []byte(c.key)
	return nil
}

// note makes the facts durable, then notes how far the pass is.
func (v *reading) note(ctx context.Context) (err error) {
	if v.job.Length, err = v.proofs.sync(); err != nil {
		return err
	}
	if s, ok := v.cmp.src.(spender); ok {
		v.job.Spent, _ = s.Spent()
	}
	v.live(v.cmp.place.Bucket, Verify, *v.job)
	return v.noteJob(ctx, Verify, v.job, metadata.WalkerNote{Bucket: v.cmp.place.Bucket, Number: v.cmp.place.Number})
}

// noteLast notes how far a pass has come that ends early.
func (v *reading) noteLast(ctx context.Context) error {
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteLimit)
	defer cancel()
	return v.note(late)
}

// keys calls each for every key that the source or the cell has, in order.
func (v *reading) keys(ctx context.Context, after string, each func(string) error) error {
	there, here := v.sourceKeys(ctx, after), v.cellKeys(ctx, after)
	a, err := there()
	if err != nil {
		return err
	}
	b, err := here()
	for err == nil && (a != "" || b != "") {
		key := a
		if a == "" || b != "" && b < a {
			key = b
		}
		if err := each(key); err != nil {
			return err
		}
		if a == key {
			if a, err = there(); err != nil {
				break
			}
		}
		if b == key {
			b, err = here()
		}
	}
	return err
}

// sourceKeys returns the source's keys one by one, "" at the end.
func (v *reading) sourceKeys(ctx context.Context, after string) func() (string, error) {
	page, more := source.Page{Next: source.Position{Key: after}}, true
	return func() (string, error) {
		for len(page.Entries) == 0 && more {
			var err error
			if page, err = v.cmp.src.List(ctx, source.ListRequest{After: page.Next}); err != nil {
				return "", err
			}
			more = page.More
		}
		if len(page.Entries) == 0 {
			return "", nil
		}
		key := page.Entries[0].Key
		page.Entries = page.Entries[1:]
		return key, nil
	}
}

// cellKeys returns the cell's keys one by one, "" at the end.
func (v *reading) cellKeys(ctx context.Context, after string) func() (string, error) {
	page := metadata.ListPage{More: true, Last: after}
	return func() (string, error) {
		for len(page.Objects) == 0 && page.More {
			var err error
			if page, err = v.cfg.Objects.List(ctx, v.cmp.place.Namespace, v.cmp.place.name, metadata.ListQuery{After: page.Last}); err != nil {
				return "", err
			}
		}
		if len(page.Objects) == 0 {
			return "", nil
		}
		key := page.Objects[0].Key
		page.Objects = page.Objects[1:]
		return key, nil
	}
}

// lateOnes compares the keys that were being written, until none is.
func (v *reading) lateOnes(ctx context.Context, path string) error {
	if v.job.Counts.Unsettled == 0 {
		return nil
	}
	if err := v.note(ctx); err != nil {
		return err
	}
	open := map[string]bool{}
	if err := readFacts(path, v.job.Length, func(l leaf) error { delete(open, l.Key); return nil }, func(key string) error { open[key] = true; return nil }); err != nil {
		return err
	}
	until := v.cfg.Now().Add(lateLimit)
	for key := range open {
		for {
			f, err := v.patiently(ctx, key)
			if errors.Is(err, errAgain) && v.cfg.Now().Before(until) {
				continue
			}
			if errors.Is(err, errAgain) {
				return fmt.Errorf("worker: %.200q was being written for all of %v: %w", key, lateLimit, holdall.ErrUnavailable)
			}
			last, seen := v.job.After, v.job.Counts.Seen
			if err := v.take(ctx, &compared{key: key, finding: f, err: err}); err != nil {
				return err
			}
			v.job.After, v.job.Counts.Seen = last, seen
			break
		}
	}
	v.job.Counts.Unsettled = 0
	return nil
}
