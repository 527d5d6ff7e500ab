package s3front

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/versity/versitygw/s3err"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
)

// about is what an error's answer names.
type about struct{ bucket, key, upload string }

// apiErrors are Holdall's errors in S3's words; the first that matches decides,
// so the particular ones come before their kinds.
var apiErrors = []struct {
	err  error
	code s3err.ErrorCode
}{
	{object.ErrNoVersion, s3err.ErrNoSuchVersion},
	{object.ErrNoKey, s3err.ErrNoSuchKey},
	{object.ErrNotEmpty, s3err.ErrBucketNotEmpty},
	{object.ErrRange, s3err.ErrInvalidRange},
	{object.ErrShortBody, s3err.ErrIncompleteBody},
	{io.ErrUnexpectedEOF, s3err.ErrIncompleteBody}, // the client closed its side
	{object.ErrLongBody, s3err.ErrContentLengthMismatch},
	{object.ErrTooLarge, s3err.ErrEntityTooLarge},
	{object.ErrInvalidPart, s3err.ErrInvalidPart},
	{object.ErrPartOrder, s3err.ErrInvalidPartOrder},
	{object.ErrPartTooSmall, s3err.ErrEntityTooSmall},
	{holdall.ErrCondition, s3err.ErrPreconditionFailed},
	{holdall.ErrExists, s3err.ErrBucketAlreadyOwnedByYou},
	{holdall.ErrExhausted, s3err.ErrSlowDown},
	{holdall.ErrUnavailable, s3err.ErrSlowDown},
	{holdall.ErrStale, s3err.ErrSlowDown},
	{context.Canceled, s3err.ErrSlowDown}, // this server is stopping
	{context.DeadlineExceeded, s3err.ErrSlowDown},
}

// answerOf returns the error that a client is told. What it does not name is
// logged, and the client learns only that it is not to blame.
func (f *Front) answerOf(what string, err error, a about) error {
	if err == nil {
		return nil
	}
	if known := s3err.S3Error(nil); errors.As(err, &known) {
		return known
	}
	if f.cfg.Doubt != nil {
		err = f.cfg.Doubt(err)
	}
	switch {
	case errors.Is(err, object.ErrNoBucket):
		return s3err.GetBucketErr(s3err.ErrNoSuchBucket, a.bucket)
	case errors.Is(err, object.ErrNoUpload):
		return s3err.GetNoSuchUploadErr(a.upload)
	case isTimeout(err) && !errors.Is(err, context.DeadlineExceeded):
		return errTimeout()
	}
	for _, e := range apiErrors {
		if errors.Is(err, e.err) {
			if e.code == s3err.ErrSlowDown {
				f.cfg.Logger.Debug("s3: asked to slow down", "during", what, "error", err)
			}
			return s3err.GetAPIError(e.code)
		}
	}
	switch {
	case errors.Is(err, holdall.ErrInvalid):
		return s3err.APIError{Code: "InvalidArgument", Description: err.Error(), HTTPStatusCode: http.StatusBadRequest}
	case errors.Is(err, holdall.ErrRefused):
		return s3err.APIError{Code: "OperationAborted", Description: err.Error(), HTTPStatusCode: http.StatusConflict}
	}
	f.report(what, fmt.Errorf("bucket %s, key %q: %w", a.bucket, a.key, err))
	return s3err.GetAPIError(s3err.ErrInternalError)
}

// errTimeout is S3's answer to a client that stopped sending.
func errTimeout() s3err.APIError {
	return s3err.APIError{Code: "RequestTimeout", HTTPStatusCode: http.StatusBadRequest,
		Description: "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed."}
}
