package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/placement"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says what a Gateway stands on and how it behaves. Index, Tables,
// Leases, Writer, Reader and Pool must be set; what else is zero takes its
// default.
type Config struct {
	Index  Index
	Tables Tables
	Leases Leases
	Writer Writer
	Reader Reader
	Pool   *buffer.Pool // of every block and record; its owner checks Lent at the end

	Pending    Pending    // nil = blocks are put by id only, not on behalf of objects
	Namespaces Namespaces // nil = no put is refused for a quota

	// ID is the name under which leases are held. A Gateway that comes back
	// under the same one takes over what it had open. Default "gateway".
	ID string

	Scheme holdall.Scheme  // of new volumes; default holdall.DefaultScheme
	Domain placement.Level // what members may not share; default placement.DomainDisk

	// ExtentLimit is the most bytes, footer included, that an extent may hold.
	// Default: four zones of 256 MiB less their headers.
	ExtentLimit int64

	OpenVolumes int   // volumes, and so stripes, written at once; default 4
	Memory      int64 // bytes of blocks held, cache included; default 512 MiB

	Lease            time.Duration // default 60 s
	AppendTimeoutMin time.Duration // a shard is given at least this long; default 0.5 s
	AppendTimeoutMax time.Duration // and at most this long; default 10 s
	HedgeMin         time.Duration // a read is not hedged before; default 50 ms

	// OnDamage is told of shards that could not be read or did not verify. It
	// must not block. nil = they are only logged and counted.
	OnDamage func(Damage)

	Now        func() time.Time // default time.Now
	Seed       uint64           // of placement; 0 = random
	Logger     *slog.Logger     // default slog.Default()
	Registerer prometheus.Registerer
}

// Damage is a shard that a read found missing or bad.
type Damage struct {
	Volume holdall.VolumeID
	Member int
	Stripe uint64 // 0 = not known
	Err    error
}

// Shares of Config.Memory, in percent. Parity, at most OpenVolumes stripes of it,
// and rebuilds come on top; and what a record that was packed of several blocks
// holds beyond the buffers that those came in counts with the puts (pack.go).
const (
	cacheShare   = 52 // 266 MiB by default: a working set of 256 MiB fits in blocks of 4 MiB
	receiveShare = 30 // 37 blocks of 4 MiB by default, with their buffers
	waitingShare = 75 // of receiveShare: what callers that wait for room may take, so that those that do not are not all refused
	sendShare    = 18
)

// rebuildBytes is about what one degraded read holds: the shards of a wide
// stripe and the result.
const rebuildBytes = 8 * buffer.MaxSize

const (
	defaultMemory      = 512 << 20
	minMemory          = 16 << 20 // less and a put of 4 MiB is never admitted
	defaultExtentLimit = 4 * (256<<20 - holdall.RecordHeaderSize)
	maxOpenVolumes     = 64
)

// Validate returns every fault of cfg, joined, or nil.
func (cfg Config) Validate() error {
	_, err := cfg.withDefaults()
	return err
}

func (cfg Config) withDefaults() (Config, error) {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&cfg.Lease, time.Minute)
	set(&cfg.AppendTimeoutMin, 500*time.Millisecond)
	set(&cfg.AppendTimeoutMax, 10*time.Second)
	set(&cfg.HedgeMin, 50*time.Millisecond)
	if cfg.ID == "" {
		cfg.ID = "gateway"
	}
	if cfg.Scheme == (holdall.Scheme{}) {
		cfg.Scheme = holdall.DefaultScheme
	}
	if cfg.ExtentLimit == 0 {
		cfg.ExtentLimit = defaultExtentLimit
	}
	if cfg.OpenVolumes == 0 {
		cfg.OpenVolumes = 4
	}
	if cfg.Memory == 0 {
		cfg.Memory = defaultMemory
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg, cfg.faults()
}

func (cfg *Config) faults() error {
	var faults []error
	rule := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("gateway: "+format+": %w", append(args, holdall.ErrInvalid)...))
		}
	}
	rule(cfg.Index != nil, "Index: must be set")
	rule(cfg.Tables != nil, "Tables: must be set")
	rule(cfg.Leases != nil, "Leases: must be set")
	rule(cfg.Writer != nil, "Writer: must be set")
	rule(cfg.Reader != nil, "Reader: must be set")
	rule(cfg.Pool != nil, "Pool: must be set")
	err := cfg.Scheme.Validate()
	rule(err == nil, "Scheme: %v: %v", cfg.Scheme, err)
	rule(cfg.ExtentLimit >= 64<<10, "ExtentLimit: %d bytes, must be at least 64 KiB", cfg.ExtentLimit)
	rule(cfg.OpenVolumes > 0 && cfg.OpenVolumes <= maxOpenVolumes, "OpenVolumes: %d, must be 1 to %d", cfg.OpenVolumes, maxOpenVolumes)
	rule(cfg.Memory >= minMemory, "Memory: %d bytes, must be at least %d", cfg.Memory, minMemory)
	rule(cfg.Lease >= time.Second, "Lease: %v, must be at least 1s", cfg.Lease)
	rule(cfg.AppendTimeoutMin > 0 && cfg.AppendTimeoutMin <= cfg.AppendTimeoutMax,
		"AppendTimeoutMin: %v, must be above 0 and at most AppendTimeoutMax (%v)", cfg.AppendTimeoutMin, cfg.AppendTimeoutMax)
	rule(cfg.HedgeMin > 0, "HedgeMin: %v, must be above 0", cfg.HedgeMin)
	return errors.Join(faults...)
}
