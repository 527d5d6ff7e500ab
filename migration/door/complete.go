package door

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/ledger"
	"github.com/holdall/holdall/migration/mirror"
)

// Complete makes an object of an upload's parts, on both sides while the bucket is
// mirrored. Errors are those of object.Objects, and ErrRefused.
func (d *Door) Complete(ctx context.Context, r object.CompleteRequest) (o metadata.Object, err error) {
	w, err := d.begin(ctx, r.Place, metadata.IntentComplete, r.Upload)
	if err != nil {
		return metadata.Object{}, err
	}
	own := r.Finish
	r.Finish = func(parts []metadata.Part, f object.Finished) (object.Finished, error) {
		f.Attributes.SourceVersion = "" // the source's name of the upload
		if own == nil {
			return f, nil
		}
		return own(parts, f)
	}
	if w == nil {
		return d.cfg.Objects.Complete(ctx, r)
	}
	defer d.metrics.wrote("complete", &err)
	switch w.m.State {
	case metadata.StateRetired:
		defer w.release()
		return d.cfg.Objects.Complete(ctx, r)
	case metadata.StateCutOver:
		defer w.release()
		at, _ := w.uploadOf(ctx, r.UploadPlace) // none: the call itself says so
		r.Settle = w.settleAlone
		o, err = d.cfg.Objects.Complete(ctx, r)
		if err == nil && at.ID != "" {
			w.abort(at)
		}
		return o, w.concludeAlone(err)
	}
	c := &completing{write: w, r: r}
	if c.upload, err = w.uploadOf(ctx, r.UploadPlace); errors.Is(err, object.ErrNoUpload) {
		w.abandon()
		return d.cfg.Objects.Complete(ctx, r) // it may have been completed: then a repeat is answered
	}
	if err == nil && w.m.State == metadata.StateAssess {
		return c.atSource(context.WithoutCancel(ctx))
	}
	if err == nil {
		err = w.prepare(ctx, r.If)
	}
	if err == nil && c.upload.ID == "" && !w.m.State.CellDecides() {
		err = halfUpload(r.UploadPlace)
	}
	if err != nil {
		w.abandon()
		return metadata.Object{}, err
	}
	return c.both(context.WithoutCancel(ctx))
}

// completing is an upload that is being completed.
type completing struct {
	*write
	r        object.CompleteRequest
	upload   mirror.Upload
	finished object.Finished
	tried    bool // the source was asked, or known not to be
}

// both completes the upload on both sides: the source's half in the cell's Finish.
func (c *completing) both(ctx context.Context) (metadata.Object, error) {
	r := c.r
	r.If, r.Finish, r.Settle = metadata.Condition{}, c.barrier, c.settle
	o, err := c.d.cfg.Objects.Complete(ctx, r)
	if !c.tried { // the cell refused the call itself, or had completed it before
		c.abandon()
		return o, err
	}
	missed := err != nil
	if err = c.conclude(ctx, o.Version, err); err != nil {
		return o, err
	}
	if c.result.Outcome != ledger.Done && c.upload.ID != "" {
		c.abort(c.upload)
	}
	if missed {
		o = c.row()
		c.d.after(func(ctx context.Context) {
			if err := c.d.cfg.Objects.Abort(context.WithoutCancel(ctx), c.r.UploadPlace); err != nil {
				c.d.log.Warn("migration: an upload that the source has completed stays open in the cell", "bucket", c.id, "key", c.key, "err", err)
			}
		})
	}
	return o, nil
}

// row is the row of an object that only the source has.
func (c *completing) row() metadata.Object {
	o := c.rowOf(c.key, c.finished.Attributes, nil)
	o.Size, o.Put = c.finished.Size, c.r.Upload
	return o
}

// barrier is what the cell's completion asks when it has found the parts: it
// completes the source's half.
func (c *completing) barrier(parts []metadata.Part, f object.Finished) (_ object.Finished, err error) {
	if c.finished, err = c.r.Finish(parts, f); err != nil {
		return f, err
	}
	there, err := sourceParts(parts)
	switch {
	case c.upload.ID == "" || !c.holds.expect.Known || c.leaveAlone():
		c.result = c.unasked()
	case err != nil && !c.m.State.CellDecides():
		return f, err
	case err != nil:
		c.result = mirror.Result{Outcome: ledger.Refused, Err: err}
	default:
		c.result = c.complete(context.Background(), there, c.finished.ETag)
	}
	c.tried = true
	if c.result.Outcome == ledger.Done {
		c.finished.ETag = c.result.Facts.ETag
	}
	if err := c.decide(ledger.Done); err != nil {
		return f, err
	}
	if !c.plan.Commit {
		return f, errVoid
	}
	return c.finished, nil
}

// complete completes the source's half. An upload that is not there any more may
// have been completed by a call whose answer was lost: then the object is there,
// with the ETag that its parts make.
func (c *completing) complete(ctx context.Context, parts []mirror.Part, etag string) mirror.Result {
	sent, done := c.d.heed(ctx)
	r := c.at.Write.Complete(sent, c.upload, parts, c.holds.expect)
	done()
	if errors.Is(r.Err, holdall.ErrNotFound) {
		if f, found, err := c.at.Write.Head(ctx, c.key); err == nil && found && etag != "" && f.ETag == etag {
			return mirror.Result{Outcome: ledger.Done, Facts: f}
		}
		r.Err = fmt.Errorf("door: %v: %w", r.Err, object.ErrNoUpload)
	}
	return c.resolve(ctx, r, c.putDone)
}

// sourceParts are parts as the source has them.
func sourceParts(parts []metadata.Part) ([]mirror.Part, error) {
	all := make([]mirror.Part, len(parts))
	for i := range parts {
		a, err := object.PartAttributes(&parts[i])
		if err != nil {
			return nil, err
		}
		if a.SourceETag == "" {
			return nil, fmt.Errorf("door: the source missed part %d; send it again: %w", parts[i].Number, object.ErrInvalidPart)
		}
		all[i] = mirror.Part{Number: parts[i].Number, ETag: a.SourceETag}
	}
	return all, nil
}

// atSource completes an upload where the source stands alone. The cell checks the
// call, as if it were to commit, and lets its half go.
func (c *completing) atSource(ctx context.Context) (metadata.Object, error) {
	defer c.release()
	if err := c.expectCondition(ctx, c.r.If); err != nil {
		return metadata.Object{}, err
	}
	r := c.r
	r.If = metadata.Condition{}
	r.Finish = func(parts []metadata.Part, f object.Finished) (_ object.Finished, err error) {
		if c.finished, err = c.r.Finish(parts, f); err != nil {
			return f, err
		}
		there, err := sourceParts(parts)
		if err != nil {
			return f, err
		}
		c.result, c.tried = c.complete(ctx, there, c.finished.ETag), true
		return f, errVoid
	}
	o, err := c.d.cfg.Objects.Complete(ctx, r)
	if !c.tried {
		return o, err
	}
	if err := c.concludeSource(ctx); err != nil {
		return metadata.Object{}, err
	}
	return c.row(), c.d.cfg.Objects.Abort(ctx, c.r.UploadPlace)
}
