package holdall

import (
	"errors"
	"time"
)

// The kinds of error. Every error that crosses a package boundary wraps exactly
// one of them, so that callers decide with errors.Is and internal/wire maps
// kinds to gRPC codes and exit codes.
var (
	ErrInvalid     = errors.New("invalid argument")       // the caller's input is wrong; retrying cannot help
	ErrNotFound    = errors.New("not found")              // proved absent, by a linearizable read
	ErrUnavailable = errors.New("unavailable, try again") // may succeed later, unchanged
	ErrExhausted   = errors.New("resource exhausted")     // over a budget or out of space; back off
	ErrStale       = errors.New("stale")                  // the epoch, lease or offset is not the current one
	ErrRefused     = errors.New("refused")                // carrying it out would put data at risk
	ErrCorrupt     = errors.New("corrupt")                // bytes read do not match their checksum or identity
	ErrDataLoss    = errors.New("data loss")              // so many shards proved destroyed that the rest cannot suffice
	ErrDiskFailed  = errors.New("disk failed")            // this disk takes no more writes (or does not answer)
	ErrExists      = errors.New("exists already")         // a thing of this name, made by somebody else
	ErrCondition   = errors.New("condition not met")      // the caller's own condition does not hold: nothing was changed
	ErrDiskFull    = errors.New("disk full")              // this disk has no zone to give
)

// RetryAfter is an ErrExhausted or ErrUnavailable that says how long to wait.
type RetryAfter struct {
	Err   error // wraps the kind
	Delay time.Duration
}

// Error returns the text of the wrapped error.
func (e *RetryAfter) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *RetryAfter) Unwrap() error { return e.Err }
