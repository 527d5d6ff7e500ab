package door

import (
	"context"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/ledger"
	"github.com/holdall/holdall/migration/mirror"
)

// Delete deletes an object, in both stores while the bucket is mirrored. The zero
// Object says that there was nothing, or that the cell has no marker of it. Errors
// are those of object.Objects, and ErrRefused where the source does not let it.
func (d *Door) Delete(ctx context.Context, r object.DeleteRequest) (marker metadata.Object, err error) {
	w, err := d.begin(ctx, r.Place, metadata.IntentDelete, holdall.PutID{})
	if err != nil {
		return metadata.Object{}, err
	}
	if w == nil {
		return d.cfg.Objects.Delete(ctx, r)
	}
	defer d.metrics.wrote("delete", &err)
	switch w.m.State {
	case metadata.StateRetired:
		defer w.release()
		return d.cfg.Objects.Delete(ctx, r)
	case metadata.StateCutOver:
		defer w.release()
		r.Always, r.Settle = true, w.settleAlone
		marker, err = d.cfg.Objects.Delete(ctx, r)
		return marker, w.concludeAlone(err)
	case metadata.StateAssess:
		defer w.release()
		if err := w.expectCondition(ctx, r.If); err != nil {
			return metadata.Object{}, err
		}
		w.result = w.at.Write.Delete(context.WithoutCancel(ctx), w.key, w.holds.expect)
		return metadata.Object{}, w.concludeSource(ctx)
	}
	if g := &w.granted; g.HasNewest && g.Newest.Marker && r.Put != (holdall.PutID{}) && g.Newest.Put == r.Put {
		w.abandon()
		return g.Newest, nil
	}
	if err := w.prepare(ctx, r.If); err != nil {
		w.abandon()
		return metadata.Object{}, err
	}
	return w.deleteBoth(context.WithoutCancel(ctx), r)
}

func (w *write) deleteBoth(ctx context.Context, r object.DeleteRequest) (marker metadata.Object, err error) {
	w.deleteSide(ctx)
	r.If, r.Always, r.Settle = metadata.Condition{}, true, w.settle
	began := time.Now()
	marker, err = w.d.cfg.Objects.Delete(ctx, r)
	if err == nil {
		w.d.metrics.took(metadata.SideCell, began)
	}
	return marker, w.conclude(ctx, 0, err)
}

// deleteSide deletes at the source. What is not there needs no request, which
// could land on something newer.
func (w *write) deleteSide(ctx context.Context) {
	began := time.Now()
	switch e := w.holds.expect; {
	case !e.Known, w.leaveAlone():
		w.result = w.unasked()
		return
	case e.ETag == "":
		w.result = mirror.Result{Outcome: ledger.Done}
		return
	}
	sent, done := w.d.heed(ctx)
	r := w.at.Write.Delete(sent, w.key, w.holds.expect)
	done()
	w.result = w.resolve(ctx, r, func(_ mirror.Facts, found bool) bool { return !found })
	w.asked(w.result.Err)
	if w.result.Outcome == ledger.Done {
		w.d.metrics.took(metadata.SideSource, began)
	}
}

// Undelete is refused until the migration is retired: the source has no such call,
// and would be left behind.
func (d *Door) Undelete(ctx context.Context, at object.Place) (metadata.Object, error) {
	c, err := d.enter(ctx, at.Namespace, at.Bucket)
	if err != nil {
		return metadata.Object{}, err
	}
	defer c.leave()
	if c != nil && c.m.State != metadata.StateRetired {
		return metadata.Object{}, fmt.Errorf("door: bucket %s is under migration, and its source cannot undelete; put the object again, or copy the version that you want back over the key: %w", at.Bucket, holdall.ErrRefused)
	}
	return d.cfg.Objects.Undelete(ctx, at)
}
