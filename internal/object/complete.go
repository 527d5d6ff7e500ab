package object

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// Complete makes an object of an upload's parts. A repeat after it was done gets
// the same answer. Errors: ErrNoUpload, ErrPartOrder, ErrInvalidPart,
// ErrPartTooSmall, ErrCondition, ErrTooLarge, ErrUnavailable.
func (s *Objects) Complete(ctx context.Context, r CompleteRequest) (o metadata.Object, err error) {
	defer s.metrics.call("complete", &err)
	u, b, err := s.upload(ctx, r.UploadPlace)
	if err != nil {
		return metadata.Object{}, err
	}
	switch u.State {
	case metadata.UploadOpen:
	case metadata.UploadCompleted:
		return s.completed(ctx, &u)
	default:
		return metadata.Object{}, fmt.Errorf("object: upload %v was aborted: %w", u.ID, ErrNoUpload)
	}
	parts, err := s.chosen(ctx, &r)
	if err != nil {
		return metadata.Object{}, err
	}
	p := &putting{s: s, cond: r.If, upload: u.ID, origin: r.Origin, settle: r.Settle, root: manifest.Root{Namespace: r.Namespace, Bucket: b.ID, BucketName: r.Bucket, Key: r.Key, Put: u.ID, Tags: u.Tags}}
	w := s.newWriter(r.Namespace)
	if err := p.join(ctx, w, parts); err != nil {
		return metadata.Object{}, err
	}
	a, err := manifest.ParseAttributes(u.Attributes)
	if err != nil {
		return metadata.Object{}, fmt.Errorf("object: row of upload %v: %w", u.ID, err)
	}
	sizes := make([]int64, len(parts))
	for i := range parts {
		sizes[i] = parts[i].Size
	}
	a.SetParts(sizes)
	f := Finished{Size: p.root.Size, ETag: r.ETag, Attributes: a}
	if r.Finish != nil {
		if f, err = r.Finish(parts, f); err != nil {
			return metadata.Object{}, err
		}
	}
	p.root.ETag, p.root.Modified = f.ETag, r.Modified
	if p.root.Attributes, err = f.Attributes.Encode(); err != nil {
		return metadata.Object{}, err
	}
	o, err = p.commit(ctx, w, p.madeETag(w))
	if errors.Is(err, ErrNoUpload) {
		// Another call was faster, of the same client perhaps.
		if u, _, again := s.upload(ctx, r.UploadPlace); again == nil && u.State == metadata.UploadCompleted {
			return s.completed(ctx, &u)
		}
	}
	return o, err
}

// completed returns what an upload became.
func (s *Objects) completed(ctx context.Context, u *metadata.Upload) (metadata.Object, error) {
	o, err := s.cfg.Names.ObjectVersion(ctx, metadata.ObjectKey{Bucket: u.Bucket, Key: u.Key, Version: u.Result})
	if errors.Is(err, holdall.ErrNotFound) {
		err = fmt.Errorf("object: upload %v was completed, and its object purged since: %w", u.ID, ErrNoUpload)
	}
	return o, err
}

// chosen returns the parts that the request names, each found, in order, and as
// the client knows it.
func (s *Objects) chosen(ctx context.Context, r *CompleteRequest) ([]metadata.Part, error) {
	if len(r.Parts) == 0 || len(r.Parts) > holdall.MaxParts || r.Parts[0].Number < 1 {
		return nil, fmt.Errorf("object: %d parts named, want 1 to %d, numbered from 1: %w", len(r.Parts), holdall.MaxParts, ErrInvalidPart)
	}
	for i := 1; i < len(r.Parts); i++ {
		if r.Parts[i].Number <= r.Parts[i-1].Number {
			return nil, fmt.Errorf("object: part %d comes after part %d: %w", r.Parts[i].Number, r.Parts[i-1].Number, ErrPartOrder)
		}
	}
	parts := make([]metadata.Part, 0, len(r.Parts))
	after, more := r.Parts[0].Number-1, true
	for more && len(parts) < len(r.Parts) {
		var page []metadata.Part
		var err error
		if page, more, err = s.cfg.Parts.Parts(ctx, r.Upload, after, holdall.MaxListPage); err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1].Number
		for _, p := range page {
			if len(parts) < len(r.Parts) && p.Number == r.Parts[len(parts)].Number {
				parts = append(parts, p)
			}
		}
	}
	if len(parts) < len(r.Parts) {
		return nil, fmt.Errorf("object: part %d was not uploaded: %w", r.Parts[len(parts)].Number, ErrInvalidPart)
	}
	for i, p := range parts {
		switch want := r.Parts[i].ETag; {
		case want != "" && want != p.ETag:
			return nil, fmt.Errorf("object: part %d has ETag %q, not %.80q: %w", p.Number, p.ETag, want, ErrInvalidPart)
		case i < len(parts)-1 && p.Size < r.MinPart:
			return nil, fmt.Errorf("object: part %d has %d bytes, want at least %d: %w", p.Number, p.Size, r.MinPart, ErrPartTooSmall)
		}
	}
	return parts, nil
}

// join makes the manifest over parts.
func (p *putting) join(ctx context.Context, w *writer, parts []metadata.Part) error {
	for i := range parts {
		height, _, err := manifest.ParsePart(parts[i].Attributes)
		if err == nil && parts[i].Node != (height > 0) {
			err = holdall.ErrCorrupt
		}
		if err != nil {
			return fmt.Errorf("object: row of part %d of upload %v: %w", parts[i].Number, p.upload, err)
		}
		if parts[i].Size == 0 {
			continue
		}
		if err := w.tree.add(ctx, manifest.Entry{Height: height, ID: parts[i].Block, Size: parts[i].Size}); err != nil {
			return err
		}
	}
	var err error
	p.root.Size = w.tree.size
	p.root.Entries, err = w.tree.finish(ctx)
	return err
}
