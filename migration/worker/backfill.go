package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/source"
)

const (
	noteEvery   = time.Second // what a process that dies has to look at again
	maxRanges   = 100_000     // notes of a walk that are read again
	maxInARow   = 64          // objects that the source does not give, one after the other: then it is not the objects
	countWalker = 8           // of the listing that only counts
)

// pass is one walk over all keys of the source that copies what the cell lacks.
type pass struct {
	*Runner
	copier copier
	job    *Job
	quiet  bool // nothing was in quarantine when it began

	mu     sync.Mutex // guards all below, and job.Counts
	tracks *tracks
	copied int64 // since the last note
	bytes  int64
	row    int // faults of the source in a row
}

// walked is one key on its way through a pass.
type walked struct {
	page *page
	key  string
}

// backfill walks until the end of the source, or the first error: ErrStale if the
// migration has taken a step, ErrExhausted if a budget is used up.
func (r *Runner) backfill(ctx context.Context, p place, src Source, job *Job) error {
	noted, err := r.ranges(p.Bucket, job.Run)
	if err != nil {
		return err
	}
	w := &pass{
		Runner: r, job: job, tracks: newTracks(noted), quiet: p.Quarantined == 0,
		copier: copier{cfg: r.cfg, place: p, src: src, tellsTags: new(atomic.Bool)},
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan walked)
	var copies, side sync.WaitGroup
	for range r.cfg.Copies {
		copies.Go(func() {
			for k := range work {
				if err := w.copy(ctx, k); err != nil {
					cancel(err)
				}
			}
		})
	}
	stop, end := context.WithCancel(ctx)
	side.Go(func() { w.noting(stop, cancel) })
	if job.Counts.TotalKeys == 0 {
		side.Go(func() { w.count(stop, src) })
	}
	err = src.Walk(ctx, source.WalkOptions{Ranges: w.tracks.restore()}, func(f source.Found) error { return w.found(ctx, f, work) })
	close(work)
	copies.Wait()
	end()
	side.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	// What is settled is noted even if the walk did not end: the next begins there.
	late, done := context.WithTimeout(context.WithoutCancel(ctx), noteLimit)
	defer done()
	return errors.Join(err, w.flush(late))
}

// noteLimit is how long the last note of a pass that ends may take.
const noteLimit = 5 * time.Second

// ranges reads where a run's walkers were. Notes that leave a key out are of a walk
// that died as it began: it begins anew.
func (r *Runner) ranges(bucket holdall.BucketID, run runID) (all []stretch, err error) {
	for i := range maxRanges {
		b, err := r.cfg.Notes.Walker(bucket, rangeName(i))
		if err != nil {
			return nil, err
		}
		if len(b) == 0 {
			break
		}
		of, s, err := parseStretch(b)
		if err != nil || of != run {
			break
		}
		all = append(all, s)
	}
	if !covered(all) {
		return nil, nil
	}
	return all, nil
}

func rangeName(i int) string { return fmt.Sprintf("%s/%d", Backfill, i) }

// found takes a page: what the cell has already is settled at once, the rest waits
// for a copier.
func (w *pass) found(ctx context.Context, f source.Found, work chan<- walked) error {
	w.mu.Lock()
	p := w.tracks.take(f)
	w.mu.Unlock()
	if p == nil {
		return nil
	}
	rows, err := w.rows(ctx, f.Entries)
	if err != nil {
		return err
	}
	for i := range f.Entries {
		e := &f.Entries[i]
		if row, ok := rows[e.Key]; ok {
			if v := judge(e, &row); v == same || v == taken {
				w.settle(p, copied{result: map[verdict]result{same: resultSame, taken: resultTaken}[v]})
				continue
			}
		}
		select {
		case work <- walked{p, e.Key}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// rows returns the current versions of the keys of a page. A key that is not among
// them has none, or a delete marker: its copier looks.
func (w *pass) rows(ctx context.Context, entries []source.Entry) (map[string]metadata.Object, error) {
	rows := make(map[string]metadata.Object, len(entries))
	first, last := entries[0].Key, entries[len(entries)-1].Key
	row, err := w.copier.row(ctx, first)
	if err != nil {
		return nil, err
	}
	if row != nil && !row.Marker {
		rows[first] = *row
	}
	for after := first; after < last; {
		page, err := w.cfg.Objects.List(ctx, w.copier.place.Namespace, w.copier.place.name, metadata.ListQuery{After: after})
		if err != nil {
			return nil, err
		}
		for _, o := range page.Objects {
			if o.Key > last {
				return rows, nil
			}
			rows[o.Key] = o
		}
		if !page.More {
			break
		}
		after = page.Last
	}
	return rows, nil
}

// copy copies one key, and quarantines what cannot be copied.
func (w *pass) copy(ctx context.Context, k walked) error {
	if ctx.Err() != nil {
		return nil
	}
	out, err := w.copier.one(ctx, k.key)
	var failed *source.Failure
	switch {
	case err == nil:
		w.inARow(false)
	case ctx.Err() != nil:
		return nil
	case errors.As(err, &failed) && !spent(err):
		if w.inARow(true) {
			return fmt.Errorf("worker: %d objects in a row could not be read: %w", maxInARow, err)
		}
		out = copied{result: resultFault, fault: err.Error()}
	default:
		return err
	}
	bucket := w.copier.place.Bucket
	switch {
	case out.fault != "":
		err = w.cfg.Faults.PutQuarantine(ctx, bucket, k.key, clip(out.fault))
	case !w.quiet && out.result != resultFault:
		err = w.cfg.Faults.DropQuarantine(ctx, bucket, k.key)
	default:
		err = nil
	}
	if err != nil {
		return err
	}
	w.settle(k.page, out)
	return nil
}

// spent says whether a job's money is used up.
func spent(err error) bool {
	var failed *source.Failure
	return errors.As(err, &failed) && errors.Is(err, holdall.ErrExhausted)
}

// maxReason bounds what is noted of a key, in bytes.
const maxReason = 400

func clip(text string) string { return text[:min(len(text), maxReason)] }

// inARow counts objects that the source did not give, and says when they are too
// many for it to be their own fault.
func (w *pass) inARow(failed bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !failed {
		w.row = 0
		return false
	}
	w.row++
	return w.row >= maxInARow
}

// settle counts what became of a key.
func (w *pass) settle(p *page, out copied) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tracks.settle(p)
	c := &w.job.Counts
	c.Seen++
	switch out.result {
	case resultSame:
		c.Same++
	case resultTaken:
		c.Taken++
	case resultGone:
		c.Gone++
	case resultCopied:
		c.Copied++
		c.Bytes += out.size
		w.metrics.copied.WithLabelValues(w.copier.place.name).Inc()
		w.metrics.copiedBytes.WithLabelValues(w.copier.place.name).Add(float64(out.size))
		w.copied++
		w.bytes += out.size
	}
	if out.fault != "" {
		w.metrics.quarantined.WithLabelValues(w.copier.place.name).Inc()
		c.Faults++
	}
}

// count lists the source once more, to know how much there is: a page costs as much
// as the read of one object, and there are a thousand keys on it.
func (w *pass) count(ctx context.Context, src Source) {
	var keys, bytes int64
	err := src.Walk(ctx, source.WalkOptions{Walkers: countWalker}, func(f source.Found) error {
		for i := range f.Entries {
			keys++
			bytes += f.Entries[i].Size
		}
		return nil
	})
	if err != nil {
		if ctx.Err() == nil {
			w.cfg.Logger.Warn("source could not be counted: the time left is not known", "bucket", w.copier.place.name, "err", err)
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.job.Counts.TotalKeys, w.job.Counts.TotalBytes = keys, bytes
}

// noting notes every second what is settled, until ctx ends.
func (w *pass) noting(ctx context.Context, fail context.CancelCauseFunc) {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := w.flush(ctx); err != nil && ctx.Err() == nil {
			fail(err)
			return
		}
	}
}

// flush notes where the walk is: the ranges first, then the job with its counts.
func (w *pass) flush(ctx context.Context) error {
	w.mu.Lock()
	notes := w.tracks.notesDue()
	job := *w.job
	n := metadata.WalkerNote{Bucket: w.copier.place.Bucket, Number: w.copier.place.Number, Copied: w.copied, CopiedBytes: w.bytes}
	w.mu.Unlock()
	for _, one := range notes {
		err := w.cfg.Notes.NoteWalker(ctx, metadata.WalkerNote{Bucket: n.Bucket, Number: n.Number, Walker: rangeName(one.number), Progress: one.encode(job.Run)})
		if err != nil {
			return err
		}
	}
	if s, ok := w.copier.src.(spender); ok {
		job.Spent, _ = s.Spent()
	}
	if err := w.noteJob(ctx, Backfill, &job, n); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.copied -= n.Copied
	w.bytes -= n.CopiedBytes
	w.job.Spent = job.Spent
	w.live(n.Bucket, Backfill, job)
	return nil
}
