package door

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/ledger"
	"github.com/holdall/holdall/migration/mirror"
)

// Put stores an object, in both stores while the bucket is mirrored. Errors are
// those of object.Objects, and ErrRefused where the source does not let it.
func (d *Door) Put(ctx context.Context, r object.PutRequest) (o metadata.Object, err error) {
	w, err := d.begin(ctx, r.Place, metadata.IntentPut, holdall.PutID{})
	if err != nil {
		return metadata.Object{}, err
	}
	if w == nil {
		return d.cfg.Objects.Put(ctx, r)
	}
	defer d.metrics.wrote("put", &err)
	switch {
	case w.m.State == metadata.StateRetired:
		defer w.release()
		return d.cfg.Objects.Put(ctx, r)
	case w.m.State == metadata.StateCutOver:
		defer w.release()
		r.Settle = w.settleAlone
		o, err = d.cfg.Objects.Put(ctx, r)
		return o, w.concludeAlone(err)
	}
	if err := checkPut(&r); err != nil {
		w.abandon()
		return metadata.Object{}, err
	}
	if w.m.State == metadata.StateAssess {
		return w.putSource(ctx, r)
	}
	if g := &w.granted; g.HasNewest && r.Put != (holdall.PutID{}) && g.Newest.Put == r.Put {
		w.abandon()
		return g.Newest, nil
	}
	if err := w.prepare(ctx, r.If); err != nil {
		w.abandon()
		return metadata.Object{}, err
	}
	return w.putBoth(ctx, r)
}

// checkPut refuses, before the body, what one of the sides would not take.
func checkPut(r *object.PutRequest) error {
	if r.Size < 0 || r.Size > mirror.MaxPut {
		return fmt.Errorf("door: while a bucket is mirrored, a put has a known size of at most %d bytes; larger ones go in parts, by a multipart upload: %w", int64(mirror.MaxPut), holdall.ErrInvalid)
	}
	if _, err := r.Attributes.Encode(); err != nil {
		return err
	}
	_, err := manifest.EncodeTags(r.Tags)
	return err
}

// putting is a put on its way to both sides.
type putting struct {
	*write
	r    object.PutRequest
	held *held
	cell *branch
	lost atomic.Bool // the cell gave up before the body ended

	answered chan struct{} // closed once the source has answered: result is set
	read     chan struct{} // closed once the body is read: what follows is set
	finished object.Finished
	failed   error // of the body, or of the caller's Finish
}

func (w *write) putBoth(ctx context.Context, r object.PutRequest) (o metadata.Object, err error) {
	t := newTee()
	p := &putting{write: w, r: r, held: hold(t.branches[0], r.Size), cell: t.branches[1], answered: make(chan struct{}), read: make(chan struct{}),
		finished: object.Finished{Size: r.Size, ETag: r.ETag, Attributes: r.Attributes}}
	whole := context.WithoutCancel(ctx) // the body's end is the caller's only way to give up
	decides := w.m.State.CellDecides()
	var both sync.WaitGroup
	both.Go(func() { p.putSide(whole) })
	both.Go(func() { o, err = p.cellSide(whole) })
	if p.failed = t.run(r.Body); p.failed == nil && r.Finish != nil {
		p.finished, p.failed = r.Finish(p.finished)
	}
	if p.failed == nil && decides && p.lost.Load() {
		p.held.release(errDropped) // the cell decides, and does not have it
	} else {
		p.held.release(p.failed)
	}
	close(p.read)
	both.Wait()
	if err = w.conclude(whole, o.Version, err); err == nil && o.Version == 0 {
		o = w.rowOf(r.Place.Key, p.finished.Attributes, r.Tags)
		o.Size, o.Put = r.Size, r.Put
	}
	return o, err
}

// putSide writes to the source.
func (p *putting) putSide(ctx context.Context) {
	defer close(p.answered)
	defer p.held.b.Close()
	if !p.holds.expect.Known || p.leaveAlone() {
		p.result = p.unasked()
		return
	}
	began := time.Now()
	if p.r.Size == 0 { // nothing can be withheld of no bytes
		if err := p.held.wait(); err != nil {
			p.result = mirror.Result{Outcome: ledger.Refused, Err: err}
			return
		}
	}
	sent, done := p.d.heed(ctx)
	r := p.at.Write.Put(sent, mirror.Put{Key: p.key, Body: p.held, Size: p.r.Size, Attributes: p.r.Attributes, Tags: p.r.Tags, If: p.holds.expect})
	done()
	p.result = p.resolve(ctx, r, p.putDone)
	p.asked(p.result.Err)
	switch {
	case p.result.Outcome == ledger.Done:
		p.d.metrics.took(metadata.SideSource, began)
	case p.result.Outcome == ledger.Refused && !p.m.State.CellDecides():
		p.cell.Close() // the rest of the body is for nobody
	}
}

// cellSide writes to the cell, whose commit waits for the source. Where the cell
// gives up before the body ends, the source goes on alone, if it decides.
func (p *putting) cellSide(ctx context.Context) (metadata.Object, error) {
	r, began := p.r, time.Now()
	r.Body, r.If, r.Finish, r.Settle = p.cell, metadata.Condition{}, p.barrier, p.settle
	o, err := p.d.cfg.Objects.Put(ctx, r)
	p.lost.Store(err != nil)
	p.cell.Close()
	if err == nil {
		p.d.metrics.took(metadata.SideCell, began)
	}
	<-p.answered
	return o, err
}

// barrier is what the cell's put asks when it has all bytes: it returns when the
// caller has agreed to them, and the source has answered.
func (p *putting) barrier(object.Finished) (object.Finished, error) {
	<-p.read
	if p.failed != nil {
		return p.finished, p.failed
	}
	<-p.answered
	f := p.finished
	if p.result.Outcome == ledger.Done {
		f.ETag = p.result.Facts.ETag
	}
	if err := p.decide(ledger.Done); err != nil {
		return f, err
	}
	if !p.plan.Commit {
		return f, errVoid
	}
	return f, nil
}

// rowOf is the row of an object that the source has and the cell missed.
func (w *write) rowOf(key string, a manifest.Attributes, tags []manifest.Tag) metadata.Object {
	f := w.result.Facts
	o := metadata.Object{Bucket: w.id, Key: key, ETag: f.ETag, Modified: f.Modified, Source: metadata.SourceFacts{ETag: f.ETag, Version: f.Version, Modified: f.Modified}}
	if o.Modified.IsZero() {
		o.Modified = time.Now().UTC().Truncate(time.Second)
	}
	o.Attributes, _ = a.Encode() // as much as the source has: it was checked before
	o.Tags, _ = manifest.EncodeTags(tags)
	return o
}

// putSource puts an object where a bucket is only being assessed: at the source
// alone.
func (w *write) putSource(ctx context.Context, r object.PutRequest) (metadata.Object, error) {
	defer w.release()
	if err := w.expectCondition(ctx, r.If); err != nil {
		return metadata.Object{}, err
	}
	t := newTee()
	t.branches[1].Close()
	h := hold(t.branches[0], r.Size)
	finished := object.Finished{Size: r.Size, ETag: r.ETag, Attributes: r.Attributes}
	var side sync.WaitGroup
	side.Go(func() {
		defer t.branches[0].Close()
		if r.Size == 0 {
			if err := h.wait(); err != nil {
				w.result = mirror.Result{Outcome: ledger.Refused, Err: err}
				return
			}
		}
		sent, done := w.d.heed(context.WithoutCancel(ctx))
		defer done()
		w.result = w.at.Write.Put(sent, mirror.Put{Key: w.key, Body: h, Size: r.Size, Attributes: r.Attributes, Tags: r.Tags, If: w.holds.expect})
	})
	err := t.run(r.Body)
	if err == nil && r.Finish != nil {
		finished, err = r.Finish(finished)
	}
	h.release(err)
	side.Wait()
	if err = w.concludeSource(ctx); err != nil {
		return metadata.Object{}, err
	}
	o := w.rowOf(w.key, finished.Attributes, r.Tags)
	o.Size = r.Size
	return o, nil
}

// expectCondition has the source judge the caller's condition, where it decides
// alone.
func (w *write) expectCondition(ctx context.Context, cond metadata.Condition) error {
	if cond == (metadata.Condition{}) {
		return nil
	}
	return w.prepare(ctx, cond)
}

// concludeSource ends a write to the source alone. If the bucket came to be
// mirrored meanwhile, the cell has missed it.
func (w *write) concludeSource(ctx context.Context) error {
	if w.result.Outcome == ledger.Refused {
		return writeError(w.result.Err)
	}
	was := w.m.State
	if err := w.now(); err != nil {
		return fmt.Errorf("door: %w: %w", err, holdall.ErrUnavailable)
	}
	if w.m.State != was {
		if err := w.d.cfg.Notes.NoteMiss(ctx, w.id, w.key, "a write that began before the bucket was mirrored"); err != nil {
			return fmt.Errorf("door: %w: %w", err, holdall.ErrUnavailable)
		}
		if w.m.State.CellDecides() {
			return w.unavailable(nil)
		}
	}
	if w.result.Outcome != ledger.Done {
		return w.unavailable(nil)
	}
	return nil
}

// settleAlone settles a write to the cell alone, in cut-over: the source is behind.
// If the way back was taken meanwhile, the write joins those that have intents.
func (w *write) settleAlone(ctx context.Context) (object.Settled, error) {
	if err := w.now(); err != nil {
		return object.Settled{}, err
	}
	switch {
	case w.m.State == metadata.StateRetired:
		return object.Settled{}, nil
	case w.m.State == metadata.StateCutOver:
		return object.Settled{Settlement: metadata.Settlement{Number: w.m.Number, Miss: metadata.SideSource, Reason: "the source is kept current behind the cell"}}, nil
	}
	if w.request.Op == (holdall.PutID{}) {
		if err := w.late(ctx); err != nil {
			return object.Settled{}, err
		}
	}
	return w.settle(ctx)
}

// late takes the intent of a write that began in cut-over.
func (w *write) late(ctx context.Context) (err error) {
	r := metadata.IntentRequest{Bucket: w.id, Key: w.key, Door: w.d.id, Kind: metadata.IntentPut}
	if r.Op, err = w.d.cfg.Objects.NewPutID(); err != nil {
		return err
	}
	if w.granted, err = w.d.cfg.Intents.TakeIntent(ctx, r); err != nil {
		return fmt.Errorf("door: the migration went back while a write was under way: %w: %w", err, holdall.ErrUnavailable)
	}
	w.request, w.result = r, w.unasked()
	return nil
}

// concludeAlone ends a write to the cell alone.
func (w *write) concludeAlone(err error) error {
	if w.request.Op != (holdall.PutID{}) {
		c := *w.call
		c.pass = nil
		tail := &write{call: &c, key: w.key, request: w.request}
		w.d.after(func(ctx context.Context) { tail.end(ctx, metadata.EndIntent{}) })
	}
	if errors.Is(err, errVoid) {
		return w.unavailable(nil)
	}
	return err
}
