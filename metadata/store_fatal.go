package metadata

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// fatality remembers that this process must not go on with the metadata: a sync
// failed, so nobody knows what is on disk, or the state could not be changed.
// From then on nothing is acknowledged. It never heals: the process ends and the
// next one reads what really is there.
type fatality struct {
	on     func(error) // told once; may be nil
	logger *slog.Logger
	once   sync.Once
	cause  atomic.Pointer[error]
	gone   chan struct{} // closed once cause is set
}

func newFatality(on func(error), logger *slog.Logger) *fatality {
	return &fatality{on: on, logger: logger, gone: make(chan struct{})}
}

// report makes every later call of err fail, and then tells the owner.
func (f *fatality) report(cause error) {
	f.once.Do(func() {
		err := fmt.Errorf("metadata failed and this process must end: %w: %w", cause, holdall.ErrUnavailable)
		f.cause.Store(&err)
		close(f.gone)
		f.logger.Error("metadata failed", "err", cause)
		if f.on != nil {
			f.on(err)
		}
	})
}

// err returns nil, or why nothing may go on.
func (f *fatality) err() error {
	if p := f.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// pebbleLogger is the logger of a Pebble. Pebble calls Fatalf when a commit or
// its manifest cannot be written, and goes on in a bad state if that returns:
// so fatality is asked after every commit.
type pebbleLogger struct {
	dead *fatality
	name string // "state" or "log"
}

func (l pebbleLogger) Infof(format string, args ...any) {
	l.dead.logger.Debug("pebble", "db", l.name, "event", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.dead.logger.Warn("pebble", "db", l.name, "event", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.dead.report(fmt.Errorf("%s: "+format, append([]any{l.name}, args...)...))
}

var _ pebble.Logger = pebbleLogger{}
