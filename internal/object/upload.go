package object

import (
	"context"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// CreateUpload begins a multipart upload. Errors: ErrNoBucket, ErrInvalid.
func (s *Objects) CreateUpload(ctx context.Context, r UploadRequest) (metadata.Upload, error) {
	return metadata.Upload{}, errUnfinished
}

// PutPart stores a part, in place of the part of that number if there is one.
// Errors: ErrNoUpload, and those of Put.
func (s *Objects) PutPart(ctx context.Context, r PartRequest) (metadata.Part, error) {
	return metadata.Part{}, errUnfinished
}

// CopyPart makes a part of an object's bytes. Errors: ErrNoUpload, ErrRange,
// those of Head for the original, those of Put.
func (s *Objects) CopyPart(ctx context.Context, r CopyPartRequest) (metadata.Part, error) {
	return metadata.Part{}, errUnfinished
}

// Parts returns at most limit parts whose numbers are above after. Errors:
// ErrNoBucket, ErrNoUpload.
func (s *Objects) Parts(ctx context.Context, at UploadPlace, after, limit int) (PartPage, error) {
	return PartPage{}, errUnfinished
}

// Uploads returns at most limit open uploads of a bucket to keys that begin with
// prefix, by key and id, those after a given key and id. Errors: ErrNoBucket.
func (s *Objects) Uploads(ctx context.Context, in Place, afterKey string, afterID holdall.PutID, limit int) (UploadPage, error) {
	return UploadPage{}, errUnfinished
}

// Complete makes an object of an upload's parts. A repeat after it was done gets
// the same answer. Errors: ErrNoUpload, ErrPartOrder, ErrInvalidPart,
// ErrPartTooSmall, ErrCondition, ErrTooLarge, ErrUnavailable.
func (s *Objects) Complete(ctx context.Context, r CompleteRequest) (metadata.Object, error) {
	return metadata.Object{}, errUnfinished
}

// Abort ends an upload and lets go of its parts. A repeat changes nothing.
// Errors: ErrNoBucket, ErrNoUpload (there is none, or it was completed).
func (s *Objects) Abort(ctx context.Context, at UploadPlace) error {
	return errUnfinished
}
