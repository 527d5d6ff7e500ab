package object

import (
	"context"

	"github.com/holdall/holdall/metadata"
)

// Put stores an object and returns its row when it is committed: its blocks, its
// manifest and its name are durable. Until then nothing is visible, and after an
// error nothing will be, unless the error is ErrUnavailable: then a repeat under
// the same PutID finds out. Errors: ErrInvalid (ErrShortBody, ErrLongBody,
// ErrTooLarge, names, attributes), ErrNoBucket, ErrCondition, ErrExhausted
// (quota, no room), ErrUnavailable, and whatever Body and Finish return.
func (s *Objects) Put(ctx context.Context, r PutRequest) (metadata.Object, error) {
	return metadata.Object{}, errUnfinished
}
