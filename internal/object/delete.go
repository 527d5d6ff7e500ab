package object

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// Delete hides an object behind a delete marker, whose row it returns; the zero
// Object when there was nothing to delete. Errors: ErrNoBucket, ErrCondition.
func (s *Objects) Delete(ctx context.Context, r DeleteRequest) (marker metadata.Object, err error) {
	defer s.metrics.call("delete", &err)
	if err := holdall.CheckKey(r.Key); err != nil {
		return metadata.Object{}, err
	}
	b, err := s.cfg.Buckets.Bucket(ctx, r.Namespace, r.Bucket)
	if err != nil {
		return metadata.Object{}, err
	}
	if r.Put == (holdall.PutID{}) {
		if r.Put, err = s.NewPutID(); err != nil {
			return metadata.Object{}, err
		}
	}
	d := metadata.ObjectDelete{Bucket: b.ID, Key: r.Key, Put: r.Put, If: r.If, Origin: r.Origin, Always: r.Always}
	err = r.Settle.commit(ctx, func(how Settled) (err error) {
		d.Settle = how.Settlement
		marker, err = s.cfg.Commits.DeleteObject(ctx, d)
		return err
	})
	return marker, err
}

// Undelete makes the version current again that the newest delete marker hides.
// Errors: ErrNoBucket, ErrNoKey (nothing is left), ErrExists (it is not deleted).
func (s *Objects) Undelete(ctx context.Context, at Place) (o metadata.Object, err error) {
	defer s.metrics.call("undelete", &err)
	if err := holdall.CheckKey(at.Key); err != nil {
		return metadata.Object{}, err
	}
	b, err := s.cfg.Buckets.Bucket(ctx, at.Namespace, at.Bucket)
	if err != nil {
		return metadata.Object{}, err
	}
	o, err = s.cfg.Commits.UndeleteObject(ctx, b.ID, at.Key)
	if errors.Is(err, holdall.ErrNotFound) && !errors.Is(err, ErrNoBucket) {
		err = fmt.Errorf("object: undelete of %.80q in bucket %s: %w", at.Key, at.Bucket, ErrNoKey)
	}
	return o, err
}

// Tags returns the tags of a version, 0 = the current one, by key. Errors are
// those of Head.
func (s *Objects) Tags(ctx context.Context, at Place, version holdall.Version) ([]manifest.Tag, metadata.Object, error) {
	o, err := s.Head(ctx, at, version)
	if err != nil {
		return nil, o, err
	}
	tags, err := manifest.ParseTags(o.Tags)
	return tags, o, err
}

// SetTags replaces the tags of a version, 0 = the current one. No tags removes
// them. Errors: ErrInvalid, and those of Head.
func (s *Objects) SetTags(ctx context.Context, at Place, version holdall.Version, tags []manifest.Tag) (o metadata.Object, err error) {
	defer s.metrics.call("set_tags", &err)
	b, err := manifest.EncodeTags(tags)
	if err != nil {
		return metadata.Object{}, err
	}
	if o, err = s.Head(ctx, at, version); err != nil {
		return o, err
	}
	o, err = s.cfg.Commits.SetTags(ctx, metadata.ObjectKey{Bucket: o.Bucket, Key: o.Key, Version: o.Version}, b)
	if errors.Is(err, holdall.ErrNotFound) && !errors.Is(err, ErrNoBucket) {
		err = fmt.Errorf("object: tags of %.80q in bucket %s: %w", at.Key, at.Bucket, ErrNoVersion)
	}
	return o, err
}
