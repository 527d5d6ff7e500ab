package object

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/holdall/holdall"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says what Objects stands on. The interfaces must be set; what else is
// zero takes its default.
type Config struct {
	Buckets Buckets
	Names   Names
	Commits Commits
	Uploads Uploads
	Parts   Parts
	Blocks  Blocks

	// Window is how many blocks of one put are in flight, and so in memory; the
	// gateway's budget bounds them over all puts. Twice the data shards of a
	// stripe is what lets one put alone fill its stripes: one is written while the
	// next comes in. One of rs-6-3 cost 2.2 bytes a byte with 4 in flight, 1.75
	// with 8, and 1.5, the scheme's own, with 12. Default 12, at most MaxWindow.
	Window int

	// ReadAhead is how many blocks of one get are fetched before their turn.
	// Default 3; -1 = none.
	ReadAhead int

	Now        func() time.Time // default time.Now
	Random     io.Reader        // of PutIDs; default crypto/rand
	Logger     *slog.Logger     // default slog.Default()
	Registerer prometheus.Registerer
}

// Limits of Config: a put and a get hold up to Window and ReadAhead+1 blocks of
// 4 MiB.
const (
	MaxWindow        = 32 // 136 MiB
	defaultWindow    = 12
	defaultReadAhead = 3
	maxReadAhead     = 32
)

// Validate returns every fault of cfg, joined, or nil.
func (cfg Config) Validate() error {
	_, err := cfg.withDefaults()
	return err
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.Window == 0 {
		cfg.Window = defaultWindow
	}
	switch cfg.ReadAhead {
	case 0:
		cfg.ReadAhead = defaultReadAhead
	case -1:
		cfg.ReadAhead = 0
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	var faults []error
	rule := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("object: "+format+": %w", append(args, holdall.ErrInvalid)...))
		}
	}
	rule(cfg.Buckets != nil, "Buckets: must be set")
	rule(cfg.Names != nil, "Names: must be set")
	rule(cfg.Commits != nil, "Commits: must be set")
	rule(cfg.Uploads != nil, "Uploads: must be set")
	rule(cfg.Parts != nil, "Parts: must be set")
	rule(cfg.Blocks != nil, "Blocks: must be set")
	rule(cfg.Window > 0 && cfg.Window <= MaxWindow, "Window: %d blocks, must be 1 to %d", cfg.Window, MaxWindow)
	rule(cfg.ReadAhead >= 0 && cfg.ReadAhead <= maxReadAhead, "ReadAhead: %d blocks, must be at most %d, or -1 for none", cfg.ReadAhead, maxReadAhead)
	return cfg, errors.Join(faults...)
}
