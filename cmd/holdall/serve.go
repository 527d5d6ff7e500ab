package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/config"
	"github.com/holdall/holdall/internal/node"
)

const serveLong = `Serves a complete cell from one process. Without flags: state in ./holdall-data,
nine directories there as disks, scheme rs-6-3.

What an acknowledgement means. A put is answered OK when the server has hashed
the bytes itself, every shard is durable (synced) on its own disk, and the commit
is durable in metadata. There are no short acknowledgements and no flag that
weakens this. Its one limit: if all metadata is lost and rebuilt from the disks,
what left no bytes there in the last minute may be undone: a delete, an undelete, a
dedup claim, new tags, a part of an upload. What is not for certain is listed.

With --s3 ADDR it also speaks S3: path-style addresses, region us-east-1, and
access keys from "holdall namespace credential create". Each belongs to one
namespace and sees the buckets of that one alone.

A disk that is missing, emptied or broken is shown as failed and never made anew;
the others serve on. SIGTERM finishes what is in flight; a second signal ends the
process at once, which loses nothing that was acknowledged.`

// closeTimeout is how long a node may take to finish what is in flight.
const closeTimeout = 60 * time.Second

func (c *cli) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a cell",
		Long:  serveLong,
		Example: "  holdall serve\n  holdall serve --data /srv/holdall --disk /mnt/a --disk /mnt/b --disk /mnt/c --disk /mnt/d\n" +
			"  holdall serve --s3 127.0.0.1:7480\n  holdall serve --config /etc/holdall/holdall.toml",
		Args: cobra.NoArgs,
	}
	settings := c.addSettings(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := c.load(settings)
		if err != nil {
			return err
		}
		return c.serve(cmd.Context(), cfg)
	}
	return cmd
}

// spareProcs is how many goroutines may run beside those that occupy a core. A
// goroutine in a system call keeps its place for 20 to 150 µs before the runtime
// notices, and every disk's writer is in one nearly always: without spare places
// two cores stand idle while puts wait (64 KiB, 32 in flight: a fifth slower).
const spareProcs = 2

func (c *cli) serve(ctx context.Context, cfg *config.Config) error {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcs)
	}
	logger := c.logger(cfg)
	n, err := node.Start(ctx, cfg, node.Options{Logger: logger, Version: readVersion().Version})
	if errors.Is(err, holdall.ErrUnavailable) { // no server runs that could be asked what is missing
		return withNext(err, "mend what is named above, then run the same command again")
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, n.ReadyLine())
	select {
	case <-ctx.Done():
	case err := <-n.Fatal():
		// The process is the unit of failure: what is in flight was not
		// acknowledged, and what was is durable.
		return fmt.Errorf("the server ends because it cannot go on: %w", err)
	}
	logger.Info("stopping: finishing what is in flight; a second signal ends at once")
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := n.Close(end); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}

// logger writes to stderr as the settings say.
func (c *cli) logger(cfg *config.Config) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(cfg.LogLevel)) != nil {
		level = slog.LevelInfo // Validate lets no other word through
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(c.err, o))
	}
	return slog.New(slog.NewTextHandler(c.err, o))
}

// quiet is a logger for offline commands: warnings and errors alone.
func (c *cli) quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
