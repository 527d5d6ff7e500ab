package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdall/holdall"
)

// errorDomain marks the ErrorInfo that is ours.
const errorDomain = "holdall"

// kinds is the one table of error kinds and gRPC codes, for both directions.
// The reason travels as google.rpc.ErrorInfo, because several kinds share a
// code. Where no reason came along, the first kind with the code is meant.
var kinds = [...]struct {
	kind   error
	code   codes.Code
	reason string
}{
	{holdall.ErrInvalid, codes.InvalidArgument, "INVALID"},
	{holdall.ErrNotFound, codes.NotFound, "NOT_FOUND"},
	{holdall.ErrUnavailable, codes.Unavailable, "UNAVAILABLE"},
	{holdall.ErrDiskFailed, codes.Unavailable, "DISK_FAILED"},
	{holdall.ErrExhausted, codes.ResourceExhausted, "EXHAUSTED"},
	{holdall.ErrDiskFull, codes.ResourceExhausted, "DISK_FULL"},
	{holdall.ErrRefused, codes.FailedPrecondition, "REFUSED"},
	{holdall.ErrStale, codes.FailedPrecondition, "STALE"},
	{holdall.ErrCondition, codes.FailedPrecondition, "CONDITION"},
	{holdall.ErrExists, codes.AlreadyExists, "EXISTS"},
	{holdall.ErrDataLoss, codes.DataLoss, "DATA_LOSS"},
	{holdall.ErrCorrupt, codes.Internal, "CORRUPT"},
}

// foreign are codes that gRPC itself, a proxy or an older server may answer,
// and the kinds that they amount to.
var foreign = map[codes.Code]error{
	codes.OutOfRange:       holdall.ErrInvalid,
	codes.Unimplemented:    holdall.ErrInvalid,
	codes.Unauthenticated:  holdall.ErrRefused,
	codes.PermissionDenied: holdall.ErrRefused,
	codes.Aborted:          holdall.ErrUnavailable,
	codes.DeadlineExceeded: holdall.ErrUnavailable,
}

// Status returns what a server answers for err: the code of its kind, its text,
// ErrorInfo with the kind, and RetryInfo where err says how long to wait. An
// error without a kind is INTERNAL; nil is OK.
func Status(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return withDetails(status.New(k.code, err.Error()), k.reason, err)
		}
	}
	var own interface{ GRPCStatus() *status.Status }
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, err.Error())
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, err.Error())
	case errors.As(err, &own):
		return own.GRPCStatus()
	}
	return status.New(codes.Internal, err.Error())
}

func withDetails(s *status.Status, reason string, err error) *status.Status {
	info := &errdetails.ErrorInfo{Domain: errorDomain, Reason: reason}
	var after *holdall.RetryAfter
	full, fail := s, error(nil)
	if errors.As(err, &after) {
		full, fail = s.WithDetails(info, &errdetails.RetryInfo{RetryDelay: durationpb.New(after.Delay)})
	} else {
		full, fail = s.WithDetails(info)
	}
	if fail != nil {
		return s // its text is not UTF-8: better without details than not at all
	}
	return full
}

// FromStatus is the inverse of Status: it returns an error with the text, and
// the kind, of the one that the server had, and a holdall.RetryAfter around it
// where the server said how long to wait. Errors that are not of gRPC are
// returned as they are.
func FromStatus(err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	e := &remoteError{status: s}
	var delay time.Duration
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.Domain == errorDomain {
				e.kinds = kindOf(s.Code(), d.Reason)
			}
		case *errdetails.RetryInfo:
			delay = d.RetryDelay.AsDuration()
		}
	}
	if e.kinds == nil {
		e.kinds = kindOf(s.Code(), "")
	}
	if delay > 0 {
		return &holdall.RetryAfter{Err: e, Delay: delay}
	}
	return e
}

// kindOf returns the kind that a code and a reason stand for, and the context's
// error where there is one for the code. A reason that is not known, as a newer
// server may send, counts as none.
func kindOf(code codes.Code, reason string) (out []error) {
	var first error
	for _, k := range kinds {
		switch {
		case k.code != code:
		case k.reason == reason:
			return []error{k.kind}
		case first == nil && code != codes.Internal:
			first = k.kind
		}
	}
	if first == nil {
		first = foreign[code]
	}
	if first != nil {
		out = append(out, first)
	}
	switch code {
	case codes.DeadlineExceeded:
		out = append(out, context.DeadlineExceeded)
	case codes.Canceled:
		out = append(out, context.Canceled)
	}
	return out
}

// remoteError is an error that a server answered.
type remoteError struct {
	status *status.Status
	kinds  []error
}

func (e *remoteError) Error() string              { return e.status.Message() }
func (e *remoteError) Unwrap() []error            { return e.kinds }
func (e *remoteError) GRPCStatus() *status.Status { return e.status }
