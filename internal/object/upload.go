package object

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// CreateUpload begins a multipart upload. Errors: ErrNoBucket, ErrInvalid.
func (s *Objects) CreateUpload(ctx context.Context, r UploadRequest) (u metadata.Upload, err error) {
	defer s.metrics.call("create_upload", &err)
	if err := holdall.CheckKey(r.Key); err != nil {
		return metadata.Upload{}, err
	}
	u = metadata.Upload{ID: r.Upload, Key: r.Key}
	if u.Attributes, err = r.Attributes.Encode(); err != nil {
		return metadata.Upload{}, err
	}
	if u.Tags, err = manifest.EncodeTags(r.Tags); err != nil {
		return metadata.Upload{}, err
	}
	b, err := s.cfg.Buckets.Bucket(ctx, r.Namespace, r.Bucket)
	if err != nil {
		return metadata.Upload{}, err
	}
	u.Bucket = b.ID
	if u.ID == (holdall.PutID{}) {
		if u.ID, err = s.NewPutID(); err != nil {
			return metadata.Upload{}, err
		}
	}
	return s.cfg.Uploads.CreateUpload(ctx, u)
}

// upload finds an upload, which may have ended.
func (s *Objects) upload(ctx context.Context, at UploadPlace) (metadata.Upload, metadata.Bucket, error) {
	b, err := s.cfg.Buckets.Bucket(ctx, at.Namespace, at.Bucket)
	if err != nil {
		return metadata.Upload{}, b, err
	}
	u, err := s.cfg.Uploads.Upload(ctx, at.Upload)
	if err == nil && (u.Bucket != b.ID || u.Key != at.Key) {
		err = ErrNoUpload
	}
	if errors.Is(err, holdall.ErrNotFound) {
		err = fmt.Errorf("object: upload %v to %.80q in bucket %s: %w", at.Upload, at.Key, at.Bucket, ErrNoUpload)
	}
	return u, b, err
}

// openUpload finds an upload that has not ended.
func (s *Objects) openUpload(ctx context.Context, at UploadPlace) (metadata.Upload, error) {
	u, _, err := s.upload(ctx, at)
	if err == nil && u.State != metadata.UploadOpen {
		err = fmt.Errorf("object: upload %v has ended: %w", at.Upload, ErrNoUpload)
	}
	return u, err
}

// PutPart stores a part, in place of the part of that number if there is one.
// Errors: ErrNoUpload, and those of Put.
func (s *Objects) PutPart(ctx context.Context, r PartRequest) (part metadata.Part, err error) {
	defer s.metrics.part(time.Now(), &part, &err)
	if r.Number < 1 || r.Number > holdall.MaxParts {
		return metadata.Part{}, fmt.Errorf("object: part %d, want 1 to %d: %w", r.Number, holdall.MaxParts, ErrInvalidPart)
	}
	if _, err := s.openUpload(ctx, r.UploadPlace); err != nil {
		return metadata.Part{}, err
	}
	w := s.newWriter(r.Namespace)
	if err := w.stream(ctx, &source{r: r.Body, size: r.Size}); err != nil {
		return metadata.Part{}, err
	}
	f := Finished{Size: w.tree.size, ETag: r.ETag, Attributes: r.Attributes}
	if r.Finish != nil {
		if f, err = r.Finish(f); err != nil {
			return metadata.Part{}, err
		}
	}
	return s.finishPart(ctx, w, partOf{r.UploadPlace, r.Number, f})
}

// partOf is what is known of a part once its bytes are stored.
type partOf struct {
	UploadPlace
	number int
	Finished
}

// noBytes is the block of a part that has none: a part holds a block.
const noBytes = "HOLDNONE"

// finishPart gives a part to its upload.
func (s *Objects) finishPart(ctx context.Context, w *writer, p partOf) (metadata.Part, error) {
	if p.number < 1 || p.number > holdall.MaxParts {
		return metadata.Part{}, fmt.Errorf("object: part %d, want 1 to %d: %w", p.number, holdall.MaxParts, ErrInvalidPart)
	}
	if p.ETag == "" {
		p.ETag = w.tree.etag()
	}
	top, err := w.tree.top(ctx)
	if err == nil && top.Size == 0 {
		top.ID, err = w.putBlock(ctx, []byte(noBytes))
	}
	if err != nil {
		return metadata.Part{}, err
	}
	part := metadata.Part{Number: p.number, Block: top.ID, Node: top.Height > 0, Size: top.Size, ETag: p.ETag, Modified: s.cfg.Now().UTC().Truncate(time.Millisecond)}
	if part.Attributes, err = manifest.EncodePart(top.Height, &p.Attributes); err != nil {
		return metadata.Part{}, err
	}
	gone, err := s.patiently(ctx, func() ([]holdall.BlockID, error) { return s.cfg.Parts.PutPart(ctx, p.Upload, part) })
	if err == nil && len(gone) > 0 {
		s.metrics.gone.Add(float64(len(gone)))
		err = &goneError{gone[0], len(gone)}
	}
	if err != nil {
		return metadata.Part{}, err
	}
	return part, nil
}

// Parts returns at most limit parts whose numbers are above after. Errors:
// ErrNoBucket, ErrNoUpload.
func (s *Objects) Parts(ctx context.Context, at UploadPlace, after, limit int) (page PartPage, err error) {
	defer s.metrics.call("parts", &err)
	if page.Upload, err = s.openUpload(ctx, at); err != nil {
		return PartPage{}, err
	}
	page.Parts, page.More, err = s.cfg.Parts.Parts(ctx, at.Upload, after, limit)
	return page, err
}

// PartAttributes returns the attributes that a part was put with.
func PartAttributes(p *metadata.Part) (manifest.Attributes, error) {
	_, a, err := manifest.ParsePart(p.Attributes)
	return a, err
}

// Uploads returns at most limit open uploads of a bucket to keys that begin with
// in.Key, by key and id, those after a given key and id. Errors: ErrNoBucket.
func (s *Objects) Uploads(ctx context.Context, in Place, afterKey string, afterID holdall.PutID, limit int) (page UploadPage, err error) {
	defer s.metrics.call("uploads", &err)
	b, err := s.cfg.Buckets.Bucket(ctx, in.Namespace, in.Bucket)
	if err != nil {
		return UploadPage{}, err
	}
	page.Uploads, page.More, err = s.cfg.Uploads.Uploads(b.ID, in.Key, afterKey, afterID, limit)
	return page, err
}

// Abort ends an upload and lets go of its parts. A repeat changes nothing.
// Errors: ErrNoBucket, ErrNoUpload (there is none, or it was completed).
func (s *Objects) Abort(ctx context.Context, at UploadPlace) (err error) {
	defer s.metrics.call("abort", &err)
	u, _, err := s.upload(ctx, at)
	switch {
	case err != nil:
		return err
	case u.State == metadata.UploadAborted:
		return nil
	case u.State == metadata.UploadCompleted:
		return fmt.Errorf("object: upload %v was completed: %w", at.Upload, ErrNoUpload)
	}
	return s.cfg.Uploads.AbortUpload(ctx, at.Upload)
}
