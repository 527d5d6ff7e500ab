package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

// sleeper is a Client whose waits are only noted.
func sleeper(t *testing.T, o Options) (*Client, *[]time.Duration) {
	t.Helper()
	o.Random = func() float64 { return 1 }
	c, err := Dial(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	var waits []time.Duration
	c.sleep = func(ctx context.Context, d time.Duration) error {
		waits = append(waits, d)
		return ctx.Err()
	}
	return c, &waits
}

func after(d time.Duration, kind error) error {
	return &holdall.RetryAfter{Err: fmt.Errorf("later: %w", kind), Delay: d}
}

func TestWhatIsTriedAgainAndWhen(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		err   error
		waits []time.Duration
	}{
		{"unavailable: backs off", holdall.ErrUnavailable, []time.Duration{20 * ms, 40 * ms, 80 * ms, 160 * ms}},
		{"exhausted, with a delay: as the server says", after(300*ms, holdall.ErrExhausted), []time.Duration{300 * ms, 300 * ms, 300 * ms, 300 * ms}},
		{"a delay below the back-off", after(30*ms, holdall.ErrUnavailable), []time.Duration{30 * ms, 40 * ms, 80 * ms, 160 * ms}},
		{"a delay beyond patience", after(time.Hour, holdall.ErrExhausted), nil},
		{"exhausted, no delay: out of space", holdall.ErrExhausted, nil},
		{"disk full", holdall.ErrDiskFull, nil},
		{"invalid", holdall.ErrInvalid, nil},
		{"not found", holdall.ErrNotFound, nil},
		{"data loss", holdall.ErrDataLoss, nil},
		{"deadline", fmt.Errorf("%w: %w", holdall.ErrUnavailable, context.DeadlineExceeded), nil},
		{"no kind", errors.New("a bug"), nil},
	} {
		client, waits := sleeper(t, Options{})
		err := client.retry(context.Background(), func(context.Context) error { return c.err })
		if err != c.err || fmt.Sprint(*waits) != fmt.Sprint(c.waits) {
			t.Errorf("%s: waited %v, want %v; %v", c.name, *waits, c.waits, err)
		}
	}
}

func TestRetryEndsWhenTheCallGoesWell(t *testing.T) {
	c, waits := sleeper(t, Options{})
	n := 0
	err := c.retry(context.Background(), func(ctx context.Context) error {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("a call without a deadline")
		}
		if n++; n < 3 {
			return holdall.ErrUnavailable
		}
		return nil
	})
	if err != nil || n != 3 || len(*waits) != 2 {
		t.Errorf("%v after %d calls and %v", err, n, *waits)
	}
}

func TestRetryDoesNotWaitBeyondTheDeadline(t *testing.T) {
	c, waits := sleeper(t, Options{Timeout: time.Second})
	err := c.retry(context.Background(), func(context.Context) error { return after(5*time.Second, holdall.ErrExhausted) })
	if !errors.Is(err, holdall.ErrExhausted) || len(*waits) != 0 {
		t.Errorf("%v after %v", err, *waits)
	}
}

// A cell in trouble is not asked many times more than one that is well.
func TestRetriesAreAShareOfWhatGoesWell(t *testing.T) {
	c, _ := sleeper(t, Options{})
	calls := 0
	fail := func(context.Context) error { calls++; return holdall.ErrUnavailable }
	for range 1000 {
		c.retry(context.Background(), fail)
	}
	if calls > 1000+budgetMax {
		t.Errorf("%d calls for 1000 requests that all failed", calls)
	}
	for range 100 {
		c.retry(context.Background(), func(context.Context) error { return nil })
	}
	calls = 0
	for range 100 {
		c.retry(context.Background(), fail)
	}
	if calls < 105 || calls > 100+budgetMax {
		t.Errorf("%d calls for 100 requests that failed after 100 that went well", calls)
	}
}

func TestOptionsNameEveryFault(t *testing.T) {
	_, err := Dial(Options{Connections: 99, Timeout: time.Hour, Attempts: -1})
	for _, field := range []string{"Connections", "Timeout", "Attempts"} {
		if !errors.Is(err, holdall.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

func TestPlaintextIsForLoopbackOnly(t *testing.T) {
	for endpoint, want := range map[string]error{
		"127.0.0.1:1": nil, "[::1]:1": nil, "localhost:1": nil,
		"10.0.0.1:1": holdall.ErrRefused, "example.com:1": holdall.ErrRefused, "localhost.example.com:1": holdall.ErrRefused, "0.0.0.0:1": holdall.ErrRefused,
		"127.0.0.1": holdall.ErrInvalid, "": holdall.ErrInvalid,
	} {
		c, err := Dial(Options{}, endpoint)
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", endpoint, err, want)
		}
		if err == nil {
			c.Close()
		}
	}
}

func TestWhatCannotBeABlockIsNotSent(t *testing.T) {
	c, _ := sleeper(t, Options{})
	for _, n := range []int{0, holdall.MaxBlockSize + 1} {
		if _, err := c.Put(context.Background(), make([]byte, n)); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("put of %d bytes: %v", n, err)
		}
	}
	if _, err := c.Delete(context.Background(), make([]holdall.BlockID, holdall.MaxIDsPerCall+1)); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("delete of too many: %v", err)
	}
}
