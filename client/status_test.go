package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdall/holdall"
)

// Every kind survives the way to the wire and back, with its text, and is not
// taken for any other.
func TestEveryKindSurvivesTheWire(t *testing.T) {
	for _, row := range kinds {
		sent := fmt.Errorf("volume 7: read at 4096: %w", row.kind)
		s := Status(sent)
		if s.Code() != row.code {
			t.Errorf("%v: code %v, want %v", row.kind, s.Code(), row.code)
		}
		got := FromStatus(s.Err())
		if got.Error() != sent.Error() {
			t.Errorf("%v: text is %q", row.kind, got)
		}
		for _, other := range kinds {
			if errors.Is(got, other.kind) != (other.kind == row.kind) {
				t.Errorf("%v comes back as %v too", row.kind, other.kind)
			}
		}
		if status.Code(got) != row.code {
			t.Errorf("%v: what comes back has the code %v", row.kind, status.Code(got))
		}
	}
}

// Codes of gRPC itself, or of a server that says no reason, mean a kind too.
func TestBareCodesMeanAKind(t *testing.T) {
	for code, want := range map[codes.Code]error{
		codes.InvalidArgument:    holdall.ErrInvalid,
		codes.OutOfRange:         holdall.ErrInvalid,
		codes.NotFound:           holdall.ErrNotFound,
		codes.Unavailable:        holdall.ErrUnavailable,
		codes.ResourceExhausted:  holdall.ErrExhausted,
		codes.FailedPrecondition: holdall.ErrRefused,
		codes.PermissionDenied:   holdall.ErrRefused,
		codes.DataLoss:           holdall.ErrDataLoss,
		codes.DeadlineExceeded:   context.DeadlineExceeded,
		codes.Canceled:           context.Canceled,
		codes.Unimplemented:      holdall.ErrInvalid,
	} {
		if err := FromStatus(status.Error(code, "text")); !errors.Is(err, want) || err.Error() != "text" {
			t.Errorf("%v: %v, want %v", code, err, want)
		}
	}
	for _, row := range kinds { // a bug in the server is none of them
		if err := FromStatus(status.Error(codes.Internal, "a bug")); errors.Is(err, row.kind) {
			t.Errorf("INTERNAL is taken for %v", row.kind)
		}
	}
}

func TestDelaysSurviveTheWire(t *testing.T) {
	sent := &holdall.RetryAfter{Err: fmt.Errorf("full: %w", holdall.ErrExhausted), Delay: 1500 * time.Millisecond}
	var got *holdall.RetryAfter
	if err := FromStatus(Status(fmt.Errorf("gateway: %w", sent)).Err()); !errors.As(err, &got) || got.Delay != sent.Delay || !errors.Is(err, holdall.ErrExhausted) {
		t.Errorf("%v", err)
	}
}

func TestErrorsWithoutAKind(t *testing.T) {
	if s := Status(errors.New("a bug")); s.Code() != codes.Internal {
		t.Errorf("%v", s)
	}
	if s := Status(fmt.Errorf("put: %w", context.DeadlineExceeded)); s.Code() != codes.DeadlineExceeded {
		t.Errorf("%v", s)
	}
	if s := Status(fmt.Errorf("put: %w", context.Canceled)); s.Code() != codes.Canceled {
		t.Errorf("%v", s)
	}
	if s := Status(status.Error(codes.Unimplemented, "x")); s.Code() != codes.Unimplemented {
		t.Errorf("%v", s)
	}
	if s := Status(nil); s.Code() != codes.OK {
		t.Errorf("%v", s)
	}
	if FromStatus(nil) != nil {
		t.Error("nil is an error")
	}
	own := errors.New("not of gRPC")
	if FromStatus(own) != own {
		t.Error("an error that is not of gRPC is changed")
	}
	if s := Status(fmt.Errorf("name \xff: %w", holdall.ErrInvalid)); s.Code() != codes.InvalidArgument {
		t.Errorf("text that is not UTF-8: %v", s)
	}
}
