package metadata

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

// TestCloseLeavesNothingBehind opens and closes on real files: no goroutine, no
// metric, no lock is left, and calls made since are refused.
func TestCloseLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cfg := testConfig(t, nil)
	cfg.Dir = t.TempDir()
	registry := prometheus.NewRegistry()
	cfg.Registerer = registry
	for range 3 {
		s := openTest(t, cfg)
		v := testVolume(t, s)
		commitStripes(t, s, &v, 1, 5)
		if shown, err := registry.Gather(); err != nil || len(shown) < 10 {
			t.Errorf("%d metrics, %v", len(shown), err)
		}
		closeTest(t, s)
		if shown, err := registry.Gather(); err != nil || len(shown) != 0 {
			t.Errorf("%d metrics after closing, %v", len(shown), err)
		}
		if _, err := s.Cell(); !errors.Is(err, holdall.ErrUnavailable) {
			t.Errorf("read after closing: %v", err)
		}
		if _, err := s.CommitStripe(context.Background(), stripeOf(&v, 6, testID(1))); !errors.Is(err, holdall.ErrUnavailable) {
			t.Errorf("mutation after closing: %v", err)
		}
	}
}

// TestFailedOpenLeavesNothingBehind lets Open fail after it began.
func TestFailedOpenLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	fs := vfs.NewMem()
	cfg := testConfig(t, fs)
	closeTest(t, openTest(t, cfg))
	other := cfg
	other.NodeID = "other"
	for range 3 {
		if _, err := Open(context.Background(), other); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("another node's directory: %v", err)
		}
	}
	closeTest(t, openTest(t, cfg)) // the lock was given back
}
