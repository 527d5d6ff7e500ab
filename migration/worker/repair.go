package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/ledger"
	"github.com/holdall/holdall/migration/mirror"
	"github.com/holdall/holdall/migration/pace"
)

const (
	dueLimit     = 256             // entries that are looked at together
	repairsAtOne = 16              // of one bucket
	proofTries   = 3               // bytes that are not what their ETag says come twice the same before they are believed
	settleLimit  = 5 * time.Second // of ending an intent whose repair failed
)

// fixer repairs what one side of a bucket missed.
type fixer struct {
	*Runner
	place  place
	src    Source
	mirror Mirror
	tags   *atomic.Bool
}

// repair repairs the entries of a bucket's outbox that are due. In cut-over they
// are all that the source has missed: so it is kept current.
func (r *Runner) repair(ctx context.Context, p place) error {
	f := &fixer{Runner: r, place: p, tags: new(atomic.Bool)}
	var err error
	if f.src, err = r.cfg.OpenSource(ctx, p.Source, Job{}); err != nil {
		return err
	}
	if f.mirror, err = r.cfg.OpenMirror(ctx, p.Source); err != nil {
		return err
	}
	for ctx.Err() == nil {
		due, err := r.cfg.Outbox.DueEntries(p.Bucket, r.cfg.Now(), dueLimit)
		if err != nil || len(due) == 0 {
			return err
		}
		if err := f.all(ctx, due); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// all repairs entries, some at a time.
func (f *fixer) all(ctx context.Context, due []metadata.Entry) error {
	work := make(chan metadata.Entry)
	var fixers sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for range repairsAtOne {
		fixers.Go(func() {
			for e := range work {
				if err := f.one(ctx, e); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	for _, e := range due {
		work <- e
	}
	close(work)
	fixers.Wait()
	return errors.Join(errs...)
}

// one makes the side that follows equal to the other, for one key. Its error is of
// the cell; what the source does not do, the entry waits for.
func (f *fixer) one(ctx context.Context, e metadata.Entry) error {
	if ctx.Err() != nil {
		return nil
	}
	var op holdall.PutID
	if _, err := io.ReadFull(rand.Reader, op[:]); err != nil {
		return fmt.Errorf("worker: no randomness for an intent: %w: %w", err, holdall.ErrUnavailable)
	}
	g, err := f.cfg.Intents.TakeIntent(ctx, metadata.IntentRequest{Bucket: e.Bucket, Key: e.Key, Op: op, Door: f.door, Kind: metadata.IntentRepair})
	var held *metadata.HeldError
	switch {
	case errors.As(err, &held), errors.Is(err, holdall.ErrStale):
		return f.later(ctx, e, err)
	case err != nil:
		return err
	}
	if g.Entry != nil {
		e = *g.Entry
		err = f.fix(ctx, &g, op)
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	if end := f.cfg.Intents.EndIntent(late, metadata.EndIntent{Bucket: e.Bucket, Key: e.Key, Settlement: metadata.Settlement{Op: op, Number: g.Migration.Number, End: true}}); end != nil {
		return end // the intent lapses when this door is gone
	}
	if err != nil && ctx.Err() == nil {
		f.metrics.repairs.WithLabelValues("failed").Inc()
		return f.later(late, e, err)
	}
	f.metrics.repairs.WithLabelValues("done").Inc()
	return nil
}

// later has an entry wait.
func (f *fixer) later(ctx context.Context, e metadata.Entry, why error) error {
	delay := pace.Backoff{Base: time.Second, Most: 10 * time.Minute}.Delay(int(min(e.Tries+1, 30)), 0.5+f.cfg.Chance()/2)
	return f.cfg.Outbox.TouchEntry(ctx, e, f.cfg.Now().Add(delay), clip(why.Error()))
}

// fix repairs a key whose intent is held. The entry says which side missed it:
// after a flip that may be the cell, which decides now.
func (f *fixer) fix(ctx context.Context, g *metadata.Granted, op holdall.PutID) error {
	how := metadata.Settlement{Op: op, Number: g.Migration.Number, Clear: g.Entry.Seq, End: true}
	if g.Entry.Missed == metadata.SideSource {
		return f.fixSource(ctx, g, how)
	}
	return f.fixCell(ctx, g, how)
}

// copier copies for this key's intent.
func (f *fixer) copier(g *metadata.Granted, how metadata.Settlement) *copier {
	p := f.place
	p.Migration.Number = g.Migration.Number
	return &copier{cfg: f.cfg, place: p, src: f.src, settle: how, tellsTags: f.tags}
}

// exactly is the condition that a key is as its intent's holder was told.
func exactly(g *metadata.Granted) metadata.Condition {
	if g.HasNewest {
		return metadata.Condition{Version: g.Newest.Version}
	}
	return metadata.Condition{Absent: true}
}

// fixCell makes the cell what the source is.
func (f *fixer) fixCell(ctx context.Context, g *metadata.Granted, how metadata.Settlement) error {
	key := g.Entry.Key
	info, err := f.src.Head(ctx, key, "", "")
	if errors.Is(err, holdall.ErrNotFound) {
		_, err := f.cfg.Objects.Delete(ctx, object.DeleteRequest{
			Place: f.place.at(key), If: exactly(g), Always: true, Origin: metadata.OriginBackfill,
			Settle: func(context.Context) (object.Settled, error) { return object.Settled{Settlement: how}, nil },
		})
		return err
	}
	if err != nil {
		return err
	}
	lost, by := "", bringing{cond: exactly(g), origin: metadata.OriginBackfill, seen: new(string)}
	for range proofTries {
		if _, lost, err = f.copier(g, how).bring(ctx, &info, by); !errors.Is(err, errWrong) {
			break
		}
	}
	if errors.Is(err, errWrong) || errors.Is(err, errAgain) {
		err = fmt.Errorf("worker: %.80q: %w: %w", key, err, holdall.ErrUnavailable)
	}
	if err == nil && lost != "" {
		err = f.cfg.Faults.PutQuarantine(ctx, f.place.Bucket, key, clip(lost))
	}
	return err
}

// fixSource makes the source what the cell is. A key of which the cell has no
// record is read at the source, so the cell is given what that holds.
func (f *fixer) fixSource(ctx context.Context, g *metadata.Granted, how metadata.Settlement) error {
	key := g.Entry.Key
	if !g.HasNewest {
		return f.fixCell(ctx, g, how)
	}
	there, found, err := f.mirror.Head(ctx, key)
	if err != nil {
		return err
	}
	expect := mirror.Expect{Known: true}
	if found {
		expect.ETag = there.ETag
	}
	res, err := f.write(ctx, g, found, expect)
	if err != nil {
		return err
	}
	now, has := there, found
	if res.Outcome != ledger.Refused { // what time and version it has, and what became of a write that nobody answered
		if now, has, err = f.mirror.Head(ctx, key); err == nil && (has != found || now != there) {
			res.Outcome = ledger.Done // nobody else writes the key while its intent is held
		}
	}
	if res.Outcome != ledger.Done {
		return f.undone(ctx, g, how, res)
	}
	end := metadata.EndIntent{Bucket: f.place.Bucket, Key: key, Settlement: how}
	if err != nil { // the write itself said all but the time
		now, has = res.Facts, res.Facts.ETag != ""
	}
	if has && !g.Newest.Marker {
		end.FactsOf, end.Facts = g.Newest.Version, metadata.SourceFacts{ETag: now.ETag, Version: now.Version, Modified: now.Modified}
	}
	return f.cfg.Intents.EndIntent(ctx, end)
}

// write makes the source what the newest row is: absent, or that version.
func (f *fixer) write(ctx context.Context, g *metadata.Granted, found bool, expect mirror.Expect) (mirror.Result, error) {
	switch {
	case !g.Newest.Marker:
		return f.put(ctx, &g.Newest, expect)
	case found:
		return f.mirror.Delete(ctx, g.Entry.Key, expect), nil
	}
	return mirror.Result{Outcome: ledger.Done}, nil
}

// undone keeps the entry of a repair that did not come about. One whose end is not
// known may land yet: the entry is not dropped before.
func (f *fixer) undone(ctx context.Context, g *metadata.Granted, how metadata.Settlement, res mirror.Result) error {
	if res.Outcome == ledger.Unknown {
		how.Clear, how.Miss, how.Reason = 0, g.Migration.State.Follows(), clip(res.Err.Error())
		how.Until = f.cfg.Now().Add(f.cfg.Life)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
		defer cancel()
		if err := f.cfg.Intents.EndIntent(late, metadata.EndIntent{Bucket: f.place.Bucket, Key: g.Entry.Key, Settlement: how}); err != nil {
			return err
		}
	}
	return res.Err
}
