package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// KVConfig says how fast bare Pebble takes what a put of one block adds to
// metadata, each put synced by itself: what no put of small blocks with one
// commit each could beat.
type KVConfig struct {
	Path     string        // a directory on the metadata's disk; a scratch directory is made in it, and removed
	Writers  int           // 0 = 64
	Duration time.Duration // 0 = 3 s
}

// The bytes of a block's row: a namespace and an id; a place.
const (
	kvKey   = 33
	kvValue = 27
)

// Measure returns the rate of synced puts.
func (c KVConfig) Measure(ctx context.Context) (figure RateFigure, err error) {
	if c.Writers == 0 {
		c.Writers = 64
	}
	if c.Duration == 0 {
		c.Duration = 3 * time.Second
	}
	dir, remove, err := scratchDir(c.Path)
	if err != nil {
		return RateFigure{}, err
	}
	defer remove()
	db, err := pebble.Open(dir, &pebble.Options{Logger: quiet{}, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		return RateFigure{}, fmt.Errorf("bench: open Pebble in %s: %v: %w", dir, err, holdall.ErrUnavailable)
	}
	defer func() {
		if cerr := db.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("bench: close Pebble: %v: %w", cerr, holdall.ErrUnavailable)
		}
	}()
	figure, err = measure(ctx, c.Writers, c.Duration, func(worker int) operation {
		r := rand.New(rand.NewPCG(uint64(worker), 3))
		row := make([]byte, kvKey+kvValue)
		return func(context.Context) (int, error) {
			for i := 0; i+8 <= len(row); i += 8 {
				binary.LittleEndian.PutUint64(row[i:], r.Uint64())
			}
			return len(row), db.Set(row[:kvKey], row[kvKey:], pebble.Sync)
		}
	})
	if err != nil {
		return figure, fmt.Errorf("bench: synced puts: %w", err)
	}
	return figure, nil
}

// quiet drops what Pebble would log.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}

// Fatalf is called when Pebble cannot go on: its commit log failed.
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("bench: pebble: "+format, args...))
}
