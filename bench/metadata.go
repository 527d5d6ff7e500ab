package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// MetadataConfig says how many blocks the metadata are measured with.
type MetadataConfig struct {
	Blocks   int64         // 0 = 1,000,000
	Dir      string        // parent of a scratch directory, which is removed; "" = the system's
	Duration time.Duration // of the lookups; 0 = 5 s

	// Progress is called with the blocks committed so far; nil = nobody asks.
	Progress func(done, total int64)
}

// MetadataResult is what the metadata cost and how fast they answer. Names in
// JSON are a contract with scripts.
type MetadataResult struct {
	Blocks        int64   `json:"blocks"`
	Bytes         uint64  `json:"bytes"` // of the state, all tables, compacted; the Raft log is not in it
	BytesPerBlock float64 `json:"bytes_per_block"`
	CommitsPerS   float64 `json:"blocks_committed_per_s"`
	LookupsPerS   float64 `json:"lookups_per_s"`
	LookupsCore   float64 `json:"lookups_per_s_core"` // per second of processor time
}

const (
	metadataPack   = 170   // blocks of a pack: 4 MiB in blocks of about 24 KB
	metadataStride = 24576 // bytes from one block to the next
	metadataBlock  = 24000 // bytes of a block
	metadataLease  = 10 * time.Minute
)

// Metadata commits blocks with random ids to a fresh metadata store, one stripe
// of wide packs after another, compacts it, and looks random ids up in batches
// of holdall.MaxIDsPerCall, half of them absent, from one goroutine.
func Metadata(ctx context.Context, c MetadataConfig) (r MetadataResult, err error) {
	if c.Blocks == 0 {
		c.Blocks = 1_000_000
	}
	if c.Duration == 0 {
		c.Duration = 5 * time.Second
	}
	if c.Blocks < 1 || c.Duration < 0 {
		return r, fmt.Errorf("bench: %d blocks for %v: want at least 1, and a duration: %w", c.Blocks, c.Duration, holdall.ErrInvalid)
	}
	dir, err := os.MkdirTemp(c.Dir, "holdall-bench-metadata-")
	if err != nil {
		return r, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := metadata.Open(ctx, metadata.Config{Dir: dir, Bootstrap: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	began := time.Now()
	if err := fillMetadata(ctx, s, c); err != nil {
		return r, err
	}
	r.CommitsPerS = float64(c.Blocks) / time.Since(began).Seconds()
	if err := s.Compact(ctx); err != nil {
		return r, err
	}
	if r.Bytes, err = s.DiskBytes(); err != nil {
		return r, err
	}
	r.Blocks, r.BytesPerBlock = c.Blocks, float64(r.Bytes)/float64(c.Blocks)
	return r, r.lookup(ctx, s, c)
}

// metadataID returns the id of block i; those from Blocks on are absent.
func metadataID(i uint64) (id holdall.BlockID) {
	r := rand.New(rand.NewPCG(i, netRun))
	for at := 0; at < len(id); at += 8 {
		binary.LittleEndian.PutUint64(id[at:], r.Uint64())
	}
	return id
}

func fillMetadata(ctx context.Context, s *metadata.Store, c MetadataConfig) error {
	scheme := holdall.DefaultScheme
	disks := make([]holdall.DiskID, scheme.N())
	for i := range disks {
		disks[i] = holdall.DiskID{byte(i + 1)}
		if err := s.AddDisk(ctx, metadata.Disk{ID: disks[i], Capacity: 20e12, ZoneSize: 256 << 20, State: holdall.DiskActive}); err != nil {
			return err
		}
	}
	var v metadata.Volume
	var err error
	for next := int64(0); next < c.Blocks; {
		if v.ID == 0 || v.Members[0].End > 3<<28 {
			if v.ID != 0 {
				if _, err := s.SealVolume(ctx, v.ID, v.Epoch, false); err != nil {
					return err
				}
			}
			v, err = s.CreateVolume(ctx, metadata.NewVolume{Scheme: scheme, Limit: 4 << 28, Disks: disks, Gateway: "bench", Lease: metadataLease})
			if err != nil {
				return err
			}
		}
		stripe := metadataStripe(&v, next, c.Blocks)
		if _, err := s.CommitStripe(ctx, stripe); err != nil {
			return err
		}
		v.Last = stripe.Stripe
		for m, end := range stripe.Ends {
			v.Members[m].End = end
		}
		next += int64(len(stripe.Blocks))
		if c.Progress != nil {
			c.Progress(next, c.Blocks)
		}
	}
	cell, err := s.Cell()
	if err != nil {
		return err
	}
	return s.FlushChanges(ctx, cell.LastChange)
}

// metadataStripe returns the next stripe of v, with blocks from number next on.
func metadataStripe(v *metadata.Volume, next, end int64) metadata.StripeCommit {
	c := metadata.StripeCommit{Volume: v.ID, Epoch: v.Epoch, Stripe: v.Last + 1}
	record := holdall.RecordSize(metadataPack * metadataStride)
	for m := range v.Members {
		at := v.Members[m].End
		c.Ends = append(c.Ends, at+record)
		c.ShardBytes += record
		for i := int64(0); m < v.Scheme.K() && i < metadataPack && next < end; i++ {
			c.Blocks = append(c.Blocks, metadata.PutBlock{
				Namespace: holdall.DefaultNamespace, ID: metadataID(uint64(next)), Member: uint8(m),
				Offset: at + holdall.RecordHeaderSize + i*metadataStride, Length: metadataBlock,
			})
			c.PackBytes += metadataBlock
			next++
		}
	}
	return c
}

// lookup measures lookups in a filled store.
func (r *MetadataResult) lookup(ctx context.Context, s *metadata.Store, c MetadataConfig) error {
	const batches = 64
	random := rand.New(rand.NewPCG(1, 2))
	ids := make([][]holdall.BlockID, batches)
	for b := range ids {
		ids[b] = make([]holdall.BlockID, holdall.MaxIDsPerCall)
	}
	cpu, began, done := cpuSeconds(), time.Now(), 0
	for ; time.Since(began) < c.Duration; done++ {
		if done%batches == 0 { // other ids each round: no cache may flatter the figure
			for b := range ids {
				for i := range ids[b] {
					n := random.Uint64N(uint64(c.Blocks))
					ids[b][i] = metadataID(n + uint64(i%2)*uint64(c.Blocks))
				}
			}
		}
		rows, err := s.Lookup(ctx, holdall.DefaultNamespace, ids[done%batches], false)
		if err != nil {
			return err
		}
		for i := range rows {
			if rows[i].Found != (i%2 == 0) {
				return fmt.Errorf("bench: lookup of block %v: found is %v: %w", ids[done%batches][i], rows[i].Found, holdall.ErrCorrupt)
			}
		}
	}
	lookups := float64(done) * holdall.MaxIDsPerCall
	r.LookupsPerS = lookups / time.Since(began).Seconds()
	r.LookupsCore = lookups / (cpuSeconds() - cpu)
	return nil
}
