package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/pace"
)

// What a source refuses, beyond the kinds of the root package.
var (
	ErrDenied   = errors.New("access denied")                // the credentials do not allow it, or are none; never "not found"
	ErrArchived = errors.New("archived, has to be restored") // the bytes are in a class that is not read directly
)

// Failure is why a request to the source failed.
type Failure struct {
	Op      string // GetObject, ...
	Bucket  string
	Key     string // "" where there is none
	Status  int    // of HTTP; 0 without an answer
	Code    string // of S3; "" without an answer
	Message string
	Kind    error // ErrNotFound, ErrUnavailable, ErrInvalid, ErrCondition, ErrCorrupt, ErrExhausted, ErrDenied, ErrArchived

	outcome pace.Outcome
	retries int // how often it is worth to try again; many = as often as anything
	expired bool
}

// many is more attempts than any source makes.
const many = 1 << 30

// Error says which request failed and what the server said.
func (f *Failure) Error() string {
	what := f.Op + " " + f.Bucket
	if f.Key != "" {
		what = fmt.Sprintf("%s %s/%.300q", f.Op, f.Bucket, f.Key)
	}
	if f.Code == "" {
		return fmt.Sprintf("%s: %s", what, f.Message)
	}
	return fmt.Sprintf("%s: %s (%d): %s", what, f.Code, f.Status, f.Message)
}

// Unwrap returns the kind.
func (f *Failure) Unwrap() error { return f.Kind }

// explain sorts what the library returned. ctx is the caller's own, without the
// limit of one attempt.
func (s *Source) explain(ctx context.Context, c call, err error) *Failure {
	f := &Failure{Op: c.op, Bucket: s.cfg.Bucket, Key: c.key, outcome: pace.Failed}
	var own *Failure
	var api smithy.APIError
	var signing *v4.SigningError
	switch {
	case errors.As(err, &own):
		return own
	case ctx.Err() != nil:
		f.Message, f.Kind = "given up", ctx.Err()
	case errors.As(err, &api):
		f.Code, f.Message = api.ErrorCode(), scrub(api.ErrorMessage(), s.secrets())
		f.Status = status(err)
		f.sort()
	case errors.As(err, &signing), strings.Contains(err.Error(), "get credentials"):
		f.Message = "no usable credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in as for the AWS tools"
		f.Kind = ErrDenied
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		f.Message, f.Kind, f.retries = "no answer in time", holdall.ErrUnavailable, many
	default:
		f.Message, f.Kind, f.retries = scrub(cause(err).Error(), s.secrets()), holdall.ErrUnavailable, many
	}
	return f
}

// cause is the innermost error of what the library wrapped: the rest repeats the
// operation.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil || inner.Error() == "" {
			return err
		}
		err = inner
	}
}

// status returns the HTTP status of an error's answer, 0 without one.
func status(err error) int {
	var resp *smithyhttp.ResponseError
	if errors.As(err, &resp) && resp.Response != nil {
		return resp.HTTPStatusCode()
	}
	return 0
}

// What is refused is tried again a few times: permissions that have just been
// changed spread over S3 in seconds, and expired credentials may have been renewed
// where they come from.
const (
	deniedRetries  = 2
	expiredRetries = 4
)

// sort sets kind, outcome and retries by what the server answered. A 404 is
// believed at once; a 403 stays a 403.
func (f *Failure) sort() {
	switch f.Code {
	case "ExpiredToken", "TokenRefreshRequired", "InvalidToken", "ExpiredTokenException":
		f.Kind, f.retries, f.expired = ErrDenied, expiredRetries, true
		return
	case "InvalidObjectState":
		f.Kind, f.outcome = ErrArchived, pace.Done
		return
	case "SlowDown", "TooManyRequests", "Throttling", "ThrottlingException", "RequestLimitExceeded", "BandwidthLimitExceeded":
		f.Kind, f.retries, f.outcome = holdall.ErrUnavailable, many, pace.Throttled
		return
	case "RequestTimeout":
		f.Kind, f.retries = holdall.ErrUnavailable, many
		return
	}
	switch {
	case f.Status == http.StatusNotFound:
		f.Kind, f.outcome = holdall.ErrNotFound, pace.Done
	case f.Status == http.StatusForbidden || f.Status == http.StatusUnauthorized:
		f.Kind, f.retries, f.outcome = ErrDenied, deniedRetries, pace.Done
	case f.Status == http.StatusPreconditionFailed || f.Status == http.StatusConflict:
		f.Kind, f.outcome = holdall.ErrCondition, pace.Done
	case f.Status == http.StatusBadRequest && strings.HasPrefix(f.Op, "Head"):
		// The answer to a HEAD has no body; this is how an expired token looks.
		f.Kind, f.retries, f.expired = ErrDenied, expiredRetries, true
		f.Message = "refused without a reason, as an answer to a HEAD is; often the credentials have expired"
	case f.Status == http.StatusServiceUnavailable || f.Status == http.StatusTooManyRequests:
		f.Kind, f.retries, f.outcome = holdall.ErrUnavailable, many, pace.Throttled
	case f.Status >= http.StatusInternalServerError || f.Status == 0:
		f.Kind, f.retries = holdall.ErrUnavailable, many
	default:
		f.Kind, f.outcome = holdall.ErrInvalid, pace.Done
	}
}

// broken is a failure of an answer that contradicts itself or the request. Trying
// again may help: it is as often the way as the server.
func (s *Source) broken(c call, format string, args ...any) *Failure {
	return &Failure{Op: c.op, Bucket: s.cfg.Bucket, Key: c.key, Message: fmt.Sprintf(format, args...), Kind: holdall.ErrCorrupt, outcome: pace.Failed, retries: many}
}

// gone says whether the server said that something is not there.
func gone(err error) bool { return errors.Is(err, holdall.ErrNotFound) }
