package door

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/ledger"
	"github.com/holdall/holdall/migration/mirror"
)

// An upload to a bucket that the source has a part in is begun on both sides, and
// its parts go to both: whatever steps are taken until it is completed, the side
// that decides then has it. What the source calls it is kept with the upload's
// attributes, the ETag of the source's part with the part's.

// CreateUpload begins an upload. Errors are those of object.Objects, and
// ErrRefused.
func (d *Door) CreateUpload(ctx context.Context, r object.UploadRequest) (u metadata.Upload, err error) {
	if err := holdall.CheckKey(r.Key); err != nil {
		return metadata.Upload{}, err
	}
	c, err := d.enter(ctx, r.Namespace, r.Bucket)
	if err != nil {
		return metadata.Upload{}, err
	}
	defer c.leave()
	if c == nil || c.m.State >= metadata.StateCutOver {
		return d.cfg.Objects.CreateUpload(ctx, r)
	}
	defer d.metrics.wrote("create_upload", &err)
	at, said := c.at.Write.CreateUpload(ctx, r.Key, r.Attributes, r.Tags)
	if said.Outcome != ledger.Done && !c.m.State.CellDecides() {
		return metadata.Upload{}, writeError(said.Err)
	}
	r.Attributes.SourceVersion = at.ID
	u, err = d.cfg.Objects.CreateUpload(ctx, r)
	if kept, e := sourceUpload(&u); at.ID != "" && (err != nil || e != nil || kept.ID != at.ID) {
		c.abort(at) // or the upload was begun before, by the same request
	}
	return u, err
}

// abort ends an upload at the source, behind the call.
func (c *call) abort(u mirror.Upload) {
	to := c.at.Write
	c.d.after(func(ctx context.Context) {
		if r := to.Abort(context.WithoutCancel(ctx), u); r.Err != nil {
			c.d.log.Warn("migration: an upload stays open at the source", "bucket", c.id, "key", u.Key, "err", r.Err)
		}
	})
}

// sourceUpload is what the source calls an upload; no ID: it was not begun there.
func sourceUpload(u *metadata.Upload) (mirror.Upload, error) {
	a, err := manifest.ParseAttributes(u.Attributes)
	return mirror.Upload{Key: u.Key, ID: a.SourceVersion}, err
}

// uploadOf finds the source's half of an open upload.
func (c *call) uploadOf(ctx context.Context, at object.UploadPlace) (mirror.Upload, error) {
	page, err := c.d.cfg.Objects.Parts(ctx, at, 0, 1)
	if err != nil {
		return mirror.Upload{}, err
	}
	return sourceUpload(&page.Upload)
}

// PutPart stores a part, on both sides of an upload that has two. Errors are those
// of object.Objects, and ErrRefused.
func (d *Door) PutPart(ctx context.Context, r object.PartRequest) (part metadata.Part, err error) {
	c, err := d.enter(ctx, r.Namespace, r.Bucket)
	if err != nil {
		return metadata.Part{}, err
	}
	defer c.leave()
	if c == nil || c.m.State >= metadata.StateCutOver {
		return d.cfg.Objects.PutPart(ctx, r)
	}
	defer d.metrics.wrote("put_part", &err)
	at, err := c.uploadOf(ctx, r.UploadPlace)
	switch {
	case err != nil:
		return metadata.Part{}, err
	case at.ID == "" && c.m.State.CellDecides():
		return d.cfg.Objects.PutPart(ctx, r)
	case at.ID == "":
		return metadata.Part{}, halfUpload(r.UploadPlace)
	case r.Size < 0 || r.Size > mirror.MaxPut:
		return metadata.Part{}, fmt.Errorf("door: a part has a known size of at most %d bytes: %w", int64(mirror.MaxPut), holdall.ErrInvalid)
	}
	return c.partBoth(ctx, at, r)
}

// halfUpload refuses an upload whose source half is missing where the source
// decides: it was begun where the source was not written, and the way back was
// taken since.
func halfUpload(at object.UploadPlace) error {
	return fmt.Errorf("door: upload %v was begun when the source was not written any more, and the migration went back since; begin it again: %w", at.Upload, object.ErrNoUpload)
}

// partBoth stores a part on both sides. It counts only if the side that decides
// has it; the other one's half is missed when the upload is completed.
func (c *call) partBoth(ctx context.Context, at mirror.Upload, r object.PartRequest) (part metadata.Part, err error) {
	t := newTee()
	h, cell := hold(t.branches[0], r.Size), t.branches[1]
	whole := context.WithoutCancel(ctx)
	var said mirror.Result
	answered := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		defer close(answered)
		defer h.b.Close()
		if r.Size == 0 {
			if err := h.wait(); err != nil {
				said = mirror.Result{Outcome: ledger.Refused, Err: err}
				return
			}
		}
		if said = c.at.Write.PutPart(whole, at, mirror.Part{Number: r.Number, Body: h, Size: r.Size}); said.Outcome != ledger.Done && !c.m.State.CellDecides() {
			cell.Close()
		}
	})
	both.Go(func() {
		defer cell.Close()
		asked, own := false, r.Finish
		one := r
		one.Body = cell
		one.Finish = func(f object.Finished) (_ object.Finished, err error) {
			asked = true
			if own != nil {
				f, err = own(f)
			}
			h.release(err)
			<-answered
			switch {
			case err != nil:
				return f, err
			case said.Outcome == ledger.Done:
				f.ETag, f.Attributes.SourceETag = said.Facts.ETag, said.Facts.ETag
			case !c.m.State.CellDecides():
				return f, writeError(said.Err)
			}
			return f, nil
		}
		part, err = c.d.cfg.Objects.PutPart(whole, one)
		if !asked {
			h.release(fmt.Errorf("door: the cell did not take the part: %w", err))
		}
	})
	bodyErr := t.run(r.Body)
	both.Wait()
	switch {
	case err == nil:
		return part, nil
	case bodyErr != nil && !errors.Is(bodyErr, errDropped):
		return metadata.Part{}, bodyErr
	case errors.Is(err, errDropped):
		return metadata.Part{}, writeError(said.Err)
	}
	return metadata.Part{}, err
}

// CopyPart makes a part of an object's bytes, which are read where the object is
// read. Errors are those of Open and PutPart.
func (d *Door) CopyPart(ctx context.Context, r object.CopyPartRequest) (metadata.Part, error) {
	alone, err := d.alone(ctx, r.From)
	if err != nil {
		return metadata.Part{}, err
	}
	if alone {
		if alone, err = d.alone(ctx, r.Place); err != nil {
			return metadata.Part{}, err
		}
	}
	if alone {
		return d.cfg.Objects.CopyPart(ctx, r)
	}
	from, err := d.Open(ctx, r.From, object.GetOptions{Version: r.Version, Range: r.Range})
	if err != nil {
		return metadata.Part{}, err
	}
	defer from.Close()
	if r.Check != nil {
		if err := r.Check(from.Object); err != nil {
			return metadata.Part{}, err
		}
	}
	return d.PutPart(ctx, object.PartRequest{UploadPlace: r.UploadPlace, Number: r.Number, Body: from, Size: from.Length, ETag: r.ETag, Attributes: r.Attributes})
}

// Parts is that of object.Objects: the cell has every part.
func (d *Door) Parts(ctx context.Context, at object.UploadPlace, after, limit int) (object.PartPage, error) {
	return d.cfg.Objects.Parts(ctx, at, after, limit)
}

// Uploads is that of object.Objects: the cell has every upload. Those that were
// begun at the source before it was left are only there.
func (d *Door) Uploads(ctx context.Context, in object.Place, afterKey string, afterID holdall.PutID, limit int) (object.UploadPage, error) {
	return d.cfg.Objects.Uploads(ctx, in, afterKey, afterID, limit)
}

// Abort ends an upload on both sides. Errors are those of object.Objects, and
// ErrRefused.
func (d *Door) Abort(ctx context.Context, at object.UploadPlace) (err error) {
	c, err := d.enter(ctx, at.Namespace, at.Bucket)
	if err != nil {
		return err
	}
	defer c.leave()
	if c == nil || c.m.State == metadata.StateRetired {
		return d.cfg.Objects.Abort(ctx, at)
	}
	defer d.metrics.wrote("abort", &err)
	u, err := c.uploadOf(ctx, at)
	if err == nil && u.ID != "" {
		if r := c.at.Write.Abort(ctx, u); r.Err != nil && !c.m.State.CellDecides() {
			return writeError(r.Err)
		}
	}
	return d.cfg.Objects.Abort(ctx, at) // of one that has ended it says what is the case
}
