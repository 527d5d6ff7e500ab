package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/bench"
	"github.com/holdall/holdall/internal/config"
)

// errBenchFoundDifferences makes bench mixed exit with 6.
var errBenchFoundDifferences = fmt.Errorf("acknowledged blocks were lost or wrong: %w", errDifferences)

func (c *cli) benchCommand() *cobra.Command {
	return noun("bench", "Measure a cell, and what the machine allows", "  holdall bench put --size 4MiB --concurrency 16 --duration 10s --ids /tmp/ids\n  holdall bench limits",
		c.benchPutCommand(), c.benchGetCommand(), c.benchMixedCommand(), c.benchLimitsCommand(), c.benchServeCommand(),
		c.benchMetadataCommand(), c.benchIdleCommand())
}

// benchFlags are the flags that the workloads share.
type benchFlags struct {
	bench.Config
	size  string
	sizes string
}

func (c *cli) workload(use, short, example string, f func(context.Context, bench.Config) error) *cobra.Command {
	var b benchFlags
	cmd := &cobra.Command{Use: use, Short: short, Example: example, Args: cobra.NoArgs}
	c.remote(cmd.Flags())
	c.namespaced(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&b.size, "size", "4MiB", "bytes of a block")
	flags.StringVar(&b.sizes, "sizes", "", "lognormal, in place of --size: median 1 MiB, sigma 1, at most 4 MiB")
	flags.IntVar(&b.Concurrency, "concurrency", 16, "calls in flight")
	flags.DurationVar(&b.Duration, "duration", 10*time.Second, "how long; 0 = until --count, or for get until each block was read once")
	flags.Int64Var(&b.Count, "count", 0, "at most so many calls; 0 = no limit")
	flags.IntVar(&b.Connections, "connections", 0, "connections; 0 = the client's default")
	flags.StringVar(&b.IDs, "ids", "", "file of ids: put and mixed write it, get reads it")
	flags.Uint64Var(&b.Seed, "seed", 0, "of sizes and choices; blocks are never the same twice")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if b.Config.Sizes, err = parseSizes(b.size, b.sizes, cmd.Flags().Changed("size")); err != nil {
			return err
		}
		b.Endpoint, b.Namespace = c.endpoint, c.namespace
		p := c.progress("bench "+use, "B", 0)
		defer p.finish()
		b.Progress = func(_, bytes, _ int64) { p.set(bytes, 0) }
		return c.explain(f(cmd.Context(), b.Config))
	}
	return cmd
}

// parseSizes reads --size and --sizes.
func parseSizes(size, sizes string, sizeGiven bool) (bench.Sizes, error) {
	switch {
	case sizes == "lognormal" && sizeGiven:
		return bench.Sizes{}, fmt.Errorf("--size and --sizes exclude each other: %w", holdall.ErrInvalid)
	case sizes == "lognormal":
		return bench.Sizes{LogNormal: true}, nil
	case sizes != "":
		return bench.Sizes{}, fmt.Errorf("--sizes %q: want lognormal: %w", sizes, holdall.ErrInvalid)
	}
	n, err := config.ParseSize(size)
	if err != nil {
		return bench.Sizes{}, fmt.Errorf("--size: %w", err)
	}
	return bench.Sizes{Fixed: int(min(n, holdall.MaxBlockSize+1))}, nil
}

func (c *cli) benchPutCommand() *cobra.Command {
	return c.workload("put", "Store new blocks as fast as they are acknowledged", "  holdall bench put --size 4MiB --concurrency 16 --duration 10s --ids /tmp/ids",
		func(ctx context.Context, b bench.Config) error {
			r, err := bench.Put(ctx, b)
			return c.emitResult(r, r, nil, err)
		})
}

func (c *cli) benchGetCommand() *cobra.Command {
	cmd := c.workload("get", "Read blocks back, each verified by its hash", "  holdall bench get --ids /tmp/ids --concurrency 16 --duration 10s",
		func(ctx context.Context, b bench.Config) error {
			r, err := bench.Get(ctx, b)
			return c.emitResult(r, r, nil, err)
		})
	return cmd
}

func (c *cli) benchMixedCommand() *cobra.Command {
	return c.workload("mixed", "Store and read at once, and at the end read back every block acknowledged", "  holdall bench mixed --sizes lognormal --duration 60s --ids /tmp/ids",
		func(ctx context.Context, b bench.Config) error {
			r, err := bench.Mixed(ctx, b)
			if err == nil && r.Lost+r.Wrong+r.Unreadable > 0 {
				err = errBenchFoundDifferences
			}
			more := []string{"puts", count(r.Puts), "gets", count(r.Gets), "acknowledged", count(r.Acknowledged), "verified", count(r.Verified),
				"lost", count(r.Lost), "wrong", count(r.Wrong), "unreadable", count(r.Unreadable)}
			for _, f := range r.Findings {
				more = append(more, "", f)
			}
			return c.emitResult(r, r.Result, more, err)
		})
}

// emitResult prints what a workload came to, also where it ended in err.
func (c *cli) emitResult(v any, r bench.Result, more []string, err error) error {
	if r.Ops == 0 && err != nil {
		return err
	}
	return errors.Join(err, c.emit(v, func(w io.Writer) {
		facts(w, append([]string{
			"rate", fmt.Sprintf("%.1f MB/s, %.1f calls/s", r.MBPerSecond, r.OpsPerSecond),
			"latency", fmt.Sprintf("p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms", r.P50, r.P99, r.P999),
			"errors", count(r.Errors),
			"processor", fmt.Sprintf("client %.2f, server %.2f cpu-s/GiB", r.ClientCPU, r.ServerCPU),
			"server memory", bytesText(int64(r.ServerRSS)),
			"moved", fmt.Sprintf("%s in %.1f s", bytesText(r.Bytes), r.Seconds),
		}, more...)...)
	}))
}

func (c *cli) benchMetadataCommand() *cobra.Command {
	var m bench.MetadataConfig
	cmd := &cobra.Command{
		Use: "metadata", Short: "Measure the metadata alone: bytes a block, lookups per second", Args: cobra.NoArgs,
		Example: "  holdall bench metadata --blocks 10000000",
	}
	cmd.Flags().Int64Var(&m.Blocks, "blocks", 1_000_000, "rows to store")
	cmd.Flags().StringVar(&m.Dir, "dir", "", "where to make a scratch directory (default the system's)")
	cmd.Flags().DurationVar(&m.Duration, "duration", 5*time.Second, "of the lookups")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p := c.progress("bench metadata", "blocks", m.Blocks)
		m.Progress = func(done, total int64) { p.set(done, total) }
		r, err := bench.Metadata(cmd.Context(), m)
		p.finish()
		if err != nil {
			return err
		}
		return c.emit(r, func(w io.Writer) {
			facts(w, "blocks", count(r.Blocks), "state", fmt.Sprintf("%s compacted, %.1f bytes a block", bytesText(int64(r.Bytes)), r.BytesPerBlock),
				"commits", fmt.Sprintf("%.0f blocks/s", r.CommitsPerS), "lookups", fmt.Sprintf("%.0f /s, %.0f /s a core", r.LookupsPerS, r.LookupsCore))
		})
	}
	return cmd
}

func (c *cli) benchIdleCommand() *cobra.Command {
	var idle bench.IdleConfig
	var size string
	cmd := &cobra.Command{
		Use: "idle", Short: "Measure the memory that a full disk takes while nobody uses it", Args: cobra.NoArgs,
		Example: "  holdall bench idle --disk-size 20TB",
	}
	cmd.Flags().StringVar(&size, "disk-size", "20TB", "bytes of a disk; nothing near that is written")
	cmd.Flags().IntVar(&idle.Disks, "disks", 2, "disks at once")
	cmd.Flags().StringVar(&idle.Dir, "dir", "", "where to make a scratch directory (default the system's)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if idle.DiskSize, err = config.ParseSize(size); err != nil {
			return fmt.Errorf("--disk-size: %w", err)
		}
		p := c.progress("bench idle", "extents", 0)
		idle.Progress = p.set
		r, err := bench.Idle(cmd.Context(), idle)
		p.finish()
		if err != nil {
			return err
		}
		return c.emit(r, func(w io.Writer) {
			facts(w, "disks", fmt.Sprintf("%d of %s", r.Disks, bytesText(r.DiskSize)), "zones", count(int64(r.Zones))+" a disk", "extents", count(int64(r.Extents))+" a disk",
				"memory", bytesText(r.PerDisk)+" a disk")
		})
	}
	return cmd
}
