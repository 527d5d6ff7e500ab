package metadata

import (
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// newRaftLogger returns a logger for Raft that writes to l. Raft logs each step
// of an election and each snapshot: what it informs of is of interest when
// debugging, what it warns of happens at every start.
func newRaftLogger(l *slog.Logger) hclog.Logger {
	out := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off})
	out.RegisterSink(raftSink{l})
	return out
}

type raftSink struct{ logger *slog.Logger }

// Accept passes one event of Raft on.
func (s raftSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	switch level {
	case hclog.Warn:
		s.logger.Info("raft", append([]any{"event", msg}, args...)...)
	case hclog.Error:
		s.logger.Warn("raft", append([]any{"event", msg}, args...)...)
	default:
		s.logger.Debug("raft", append([]any{"event", msg}, args...)...)
	}
}
