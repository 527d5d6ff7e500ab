package door

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/mirror"
	"github.com/holdall/holdall/migration/source"
)

// Remote is the bucket that a migration leaves: read by one client, written by
// another, whose roles differ.
type Remote struct {
	Read  *source.Source
	Write *mirror.Mirror
}

// readAttempts and readTimeout bound a read that a client waits for: it can try
// again itself.
const (
	readAttempts = 4
	readTimeout  = 10 * time.Second
)

// OpenRemote opens the bucket with the process's credentials, or those of the
// profile that from names. It asks the server nothing.
func OpenRemote(ctx context.Context, from metadata.Source) (*Remote, error) {
	r, err := source.Open(ctx, source.Config{Bucket: from.Bucket, Endpoint: from.Endpoint, Region: from.Region, Profile: from.Profile, VirtualHost: from.Endpoint != "" && !from.PathStyle,
		Attempts: readAttempts, Timeout: readTimeout})
	if err != nil {
		return nil, err
	}
	w, err := mirror.Open(ctx, mirror.Config{Source: from})
	if err != nil {
		return nil, err
	}
	return &Remote{r, w}, nil
}

// errDenied is a refusal of the source that is no fault of the caller's, and never
// means that a key is not there.
var errDenied = fmt.Errorf("the source of the migration does not let its bucket be read or written; see the log: %w", holdall.ErrRefused)

// readError is an error of the source in the words of package object.
func readError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, source.ErrDenied):
		return fmt.Errorf("door: %w: %w", err, errDenied)
	case errors.Is(err, source.ErrArchived):
		return fmt.Errorf("door: %w: %w", err, holdall.ErrRefused)
	case errors.Is(err, holdall.ErrNotFound):
		return fmt.Errorf("door: %v: %w", err, object.ErrNoKey)
	case errors.Is(err, holdall.ErrCondition), errors.Is(err, holdall.ErrCorrupt), errors.Is(err, holdall.ErrExhausted):
		// It was overwritten while it was read; or the way garbles what it says.
		return fmt.Errorf("door: %v: %w", err, holdall.ErrUnavailable)
	}
	return err
}

// writeError is readError for a write that was refused, or may have been done.
func writeError(err error) error {
	if errors.Is(err, source.ErrDenied) {
		return fmt.Errorf("door: %w: %w", err, errDenied)
	}
	return err
}
