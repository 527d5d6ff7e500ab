package door

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
)

// Config says what a Door stands on. The first five must be set; what else is zero
// takes its default.
type Config struct {
	Objects    *object.Objects
	Names      Names
	Migrations Migrations
	Intents    Intents
	Notes      Notes

	// Remote opens the bucket that a migration leaves. Default OpenRemote.
	Remote func(ctx context.Context, from metadata.Source) (*Remote, error)

	Wait  time.Duration // of a call for a step, or for others who write its key; default 15 s
	Drain time.Duration // of a step for the calls that run; default 5 s
	Poll  time.Duration // between two looks at the migrations; default 200 ms

	// Life is how long a request to the source may live on of which no answer came.
	// Default metadata.IntentLife.
	Life time.Duration

	// Rest is how long a source that fails call after call is left alone, where the
	// cell decides. Default 5 s.
	Rest time.Duration

	// Compare is how many reads are compared with the other side at once, in
	// shadow; those beyond are not. Default 4; -1 = none.
	Compare int

	Random     io.Reader    // default crypto/rand
	Logger     *slog.Logger // default slog.Default()
	Registerer prometheus.Registerer
}

const (
	defaultWait    = 15 * time.Second
	defaultDrain   = 5 * time.Second
	defaultPoll    = 200 * time.Millisecond
	defaultRest    = 5 * time.Second
	defaultCompare = 4

	// beatEvery and fencedAfter are a door's half of metadata.DoorSilence: it stops
	// before others stop waiting for it.
	beatEvery   = 2 * time.Second
	fencedAfter = 8 * time.Second
)

func (cfg Config) withDefaults() (Config, error) {
	for _, d := range []struct {
		p       *time.Duration
		initial time.Duration
	}{{&cfg.Wait, defaultWait}, {&cfg.Drain, defaultDrain}, {&cfg.Poll, defaultPoll}, {&cfg.Life, metadata.IntentLife}, {&cfg.Rest, defaultRest}} {
		if *d.p == 0 {
			*d.p = d.initial
		}
	}
	if cfg.Remote == nil {
		cfg.Remote = OpenRemote
	}
	switch cfg.Compare {
	case 0:
		cfg.Compare = defaultCompare
	case -1:
		cfg.Compare = 0
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
			faults = append(faults, fmt.Errorf("door: "+format+": %w", append(args, holdall.ErrInvalid)...))
		}
	}
	rule(cfg.Objects != nil, "Objects: must be set")
	rule(cfg.Names != nil && cfg.Migrations != nil && cfg.Intents != nil && cfg.Notes != nil, "Names, Migrations, Intents, Notes: must be set")
	rule(min(cfg.Wait, cfg.Drain, cfg.Poll, cfg.Life, cfg.Rest) > 0, "Wait, Drain, Poll, Life, Rest: %v, %v, %v, %v, %v, must be above 0", cfg.Wait, cfg.Drain, cfg.Poll, cfg.Life, cfg.Rest)
	rule(cfg.Compare >= 0, "Compare: %d, must be above 0, or -1 for none", cfg.Compare)
	return cfg, errors.Join(faults...)
}
