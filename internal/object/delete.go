package object

import (
	"context"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// Delete hides an object behind a delete marker, whose row it returns; the zero
// Object when there was nothing to delete. Errors: ErrNoBucket, ErrCondition.
func (s *Objects) Delete(ctx context.Context, r DeleteRequest) (metadata.Object, error) {
	return metadata.Object{}, errUnfinished
}

// Tags returns the tags of a version, 0 = the current one, by key. Errors are
// those of Head.
func (s *Objects) Tags(ctx context.Context, at Place, version holdall.Version) ([]manifest.Tag, metadata.Object, error) {
	return nil, metadata.Object{}, errUnfinished
}

// SetTags replaces the tags of a version, 0 = the current one. No tags removes
// them. Errors: ErrInvalid, and those of Head.
func (s *Objects) SetTags(ctx context.Context, at Place, version holdall.Version, tags []manifest.Tag) (metadata.Object, error) {
	return metadata.Object{}, errUnfinished
}

// Copy makes an object of another one's blocks. A copy of an object onto itself
// is a new version. Errors: those of Head for the original, those of Put.
func (s *Objects) Copy(ctx context.Context, r CopyRequest) (metadata.Object, error) {
	return metadata.Object{}, errUnfinished
}
