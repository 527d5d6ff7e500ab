package object

import (
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// What a front door may have words of its own for. Each wraps one of holdall's
// kinds.
var (
	ErrNoBucket     = metadata.ErrNoBucket
	ErrNoUpload     = metadata.ErrNoUpload
	ErrNoKey        = fmt.Errorf("no such object: %w", holdall.ErrNotFound)
	ErrMarked       = fmt.Errorf("the object was deleted: %w", ErrNoKey) // its newest row is a delete marker
	ErrNoVersion    = fmt.Errorf("no such version: %w", ErrNoKey)
	ErrNotEmpty     = fmt.Errorf("the bucket is not empty: %w", holdall.ErrRefused)
	ErrRange        = fmt.Errorf("the range lies outside of the object: %w", holdall.ErrInvalid)
	ErrShortBody    = fmt.Errorf("the body ended early: %w", holdall.ErrInvalid)
	ErrLongBody     = fmt.Errorf("the body is longer than was announced: %w", holdall.ErrInvalid)
	ErrTooLarge     = fmt.Errorf("the object is larger than objects may be: %w", holdall.ErrInvalid)
	ErrInvalidPart  = fmt.Errorf("a part is unknown or has another ETag: %w", holdall.ErrInvalid)
	ErrPartOrder    = fmt.Errorf("parts are not in ascending order: %w", holdall.ErrInvalid)
	ErrPartTooSmall = fmt.Errorf("a part that is not the last is too small: %w", holdall.ErrInvalid)
)
