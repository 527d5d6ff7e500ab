package metadata

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
	"github.com/prometheus/client_golang/prometheus"
)

// Limits and defaults of Config.
const (
	DefaultNodeID        = "local"
	DefaultCacheBytes    = 128 << 20        // bytes of memtables and block cache, shared by state and log
	DefaultFlushInterval = 30 * time.Second // bounds what a start replays on a quiet cell
	DefaultFlushBytes    = 8 << 20          // bytes of entries; see also replayTime
	maxNodeID            = 128
)

// Config says where a Store lives and what it works with. All but Dir may be
// left zero.
type Config struct {
	Dir    string // owned by one process at a time
	FS     vfs.FS // nil = the operating system's
	NodeID string // this voter's name, for ever; "" = DefaultNodeID

	// Bootstrap makes a new cell if Dir is empty or absent. Without it an empty
	// Dir is ErrNotFound: a second cell must never come out of a lost disk.
	Bootstrap bool
	Cell      holdall.CellID // of a new cell; zero = random

	Clock      func() time.Time      // wall clock, stamped on entries; nil = time.Now
	Rand       io.Reader             // for a new cell's id; nil = crypto/rand
	Logger     *slog.Logger          // nil = slog.Default()
	Registerer prometheus.Registerer // nil = metrics are not registered

	CacheBytes    int64         // 0 = DefaultCacheBytes
	FlushInterval time.Duration // longest time that an entry waits to be flushed; 0 = DefaultFlushInterval
	FlushBytes    int64         // bytes of entries after which the state is flushed; 0 = DefaultFlushBytes

	// OnFatal is told once when the metadata cannot go on: a sync failed, or the
	// state could not be changed. Nothing is acknowledged from then on. The owner
	// ends the process with a failure; it must not call the Store.
	OnFatal func(error)

	transport raft.Transport // nil = this process only
	voters    []raft.Server  // of a new cell; nil = this node alone
	join      bool           // begin empty: a leader will add this node
}

// Validate reports every fault of c at once. Its error wraps ErrInvalid.
func (c *Config) Validate() error {
	var faults []error
	bad := func(field, rule string, v any) {
		faults = append(faults, fmt.Errorf("metadata: Config.%s is %v: %s", field, v, rule))
	}
	if c.Dir == "" {
		bad("Dir", "must name a directory", `""`)
	}
	if len(c.NodeID) > maxNodeID {
		bad("NodeID", fmt.Sprintf("at most %d bytes", maxNodeID), fmt.Sprintf("%d bytes long", len(c.NodeID)))
	}
	if c.CacheBytes < 0 {
		bad("CacheBytes", "must not be negative", c.CacheBytes)
	}
	if c.FlushInterval < 0 {
		bad("FlushInterval", "must not be negative", c.FlushInterval)
	}
	if c.FlushBytes < 0 {
		bad("FlushBytes", "must not be negative", c.FlushBytes)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", errors.Join(faults...), holdall.ErrInvalid)
}

// withDefaults returns c with every zero field filled in.
func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.NodeID == "" {
		c.NodeID = DefaultNodeID
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.FlushInterval == 0 {
		c.FlushInterval = DefaultFlushInterval
	}
	if c.FlushBytes == 0 {
		c.FlushBytes = DefaultFlushBytes
	}
	return c
}
