package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/config"
	"github.com/holdall/holdall/internal/node"
	"github.com/holdall/holdall/internal/upkeep"
	"github.com/holdall/holdall/metadata"
)

func (c *cli) metadataCommand() *cobra.Command {
	return noun("metadata", "Dump, back up and rebuild the metadata", "  holdall metadata backup cell.tar",
		c.metadataDump(), c.metadataBackup(), c.metadataRebuild(), c.metadataRelease())
}

func (c *cli) metadataDump() *cobra.Command {
	return c.remoteCommand(&cobra.Command{
		Use:     "dump",
		Short:   "Print every row of the metadata, of one moment, as JSON lines",
		Example: "  holdall metadata dump | grep '\"table\":\"disks\"'",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, cl *client.Client, _ []string) error {
		p := c.progress("dumping", "B", 0)
		defer p.finish()
		out := bufio.NewWriterSize(c.out, 256<<10)
		return errors.Join(cl.DumpMetadata(ctx, &countingWriter{out, p}), out.Flush())
	})
}

// countingWriter tells a progress how much went by.
type countingWriter struct {
	w io.Writer
	p *progress
}

// Write writes p.
func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.p.add(int64(n))
	return n, err
}

func (c *cli) metadataBackup() *cobra.Command {
	return c.remoteCommand(&cobra.Command{
		Use:     "backup FILE",
		Short:   "Write a consistent backup of the metadata to a tar file, while the cell serves",
		Long:    "The file is whole only if this exits with 0: it takes its name then. Blocks are not\nin it; they are on the disks.\n\nRestoring a backup is not there yet: the way back from lost metadata is\n`holdall metadata rebuild --from-disks`.",
		Example: "  holdall metadata backup cell.tar",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		p := c.progress("backing up", "B", 0)
		defer p.finish()
		return writeFile(args[0], backupOf{ctx, cl, p})
	})
}

// backupOf is a backup that can be written once.
type backupOf struct {
	ctx context.Context
	cl  *client.Client
	p   *progress
}

// WriteTo writes the archive.
func (b backupOf) WriteTo(w io.Writer) (int64, error) {
	return 0, b.cl.BackupMetadata(b.ctx, &countingWriter{w, b.p})
}

const rebuildLong = `Makes the metadata of a stopped cell anew from its disks alone, which are only read.
The data directory must hold no metadata: move it away first.

Every disk of the cell must be there, once: the new metadata would not know one that is
missing, and it could never come back. When one is lost for good, say so with
--without-missing-disks.

Stripes and changes are replayed in the order of the change journal. What is younger
than the journal's last block (at most a minute), and what the journal cannot place, is
listed, one JSON line each, in the file --list. The cell is in quarantine afterwards:
serve it, look at what is there, then run ` + "`holdall metadata release`."

func (c *cli) metadataRebuild() *cobra.Command {
	var fromDisks, without bool
	var list string
	cmd := &cobra.Command{
		Use:     "rebuild --from-disks",
		Short:   "Make the metadata of a stopped cell anew from its disks",
		Long:    rebuildLong,
		Example: "  mv holdall-data/metadata holdall-data/metadata.lost\n  holdall metadata rebuild --from-disks --data holdall-data",
		Args:    cobra.NoArgs,
	}
	settings := c.addSettings(cmd.Flags())
	cmd.Flags().BoolVar(&fromDisks, "from-disks", false, "say that this is meant")
	cmd.Flags().BoolVar(&without, "without-missing-disks", false, "go on without disks that are not there: they can never come back")
	cmd.Flags().StringVar(&list, "list", "", "file for what could not be placed (default DATA/rebuild.jsonl)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !fromDisks {
			return fmt.Errorf("say --from-disks to rebuild from the disks: %w", holdall.ErrInvalid)
		}
		cfg, err := c.load(settings)
		if err != nil {
			return err
		}
		if list == "" {
			list = filepath.Join(cfg.Data, "rebuild.jsonl")
		}
		bars := &steps{c: c}
		run := &rebuildRun{ctx: cmd.Context(), cfg: cfg, options: node.RebuildOptions{Logger: c.quiet(), Progress: bars.show, WithoutMissing: without}}
		err = writeFile(list, run)
		bars.end()
		if err != nil && !run.begun {
			return withNext(err, "give --data the directory of the cell, or --list another file")
		}
		if err != nil {
			return err
		}
		report, cell := run.report, run.cell
		return c.emit(rebuildFacts(&report, &cell, list), func(w io.Writer) { printRebuild(w, &report, &cell, list) })
	}
	return cmd
}

// rebuildRun is a rebuild that can be written once, as its list. A list of before
// stays until the rebuild is done.
type rebuildRun struct {
	ctx     context.Context
	cfg     *config.Config
	options node.RebuildOptions

	begun  bool
	report upkeep.Report
	cell   metadata.Cell
}

// WriteTo rebuilds, and writes what could not be placed.
func (r *rebuildRun) WriteTo(w io.Writer) (_ int64, err error) {
	r.begun, r.options.List = true, w
	r.report, r.cell, err = node.RebuildMetadata(r.ctx, r.cfg, r.options)
	return 0, err
}

// steps shows one progress bar after another.
type steps struct {
	c    *cli
	name string
	bar  *progress
}

func (s *steps) show(name string, done, total int) {
	if name != s.name {
		s.end()
		s.name, s.bar = name, s.c.progress(name, "items", int64(total))
	}
	s.bar.set(int64(done), int64(total))
}

func (s *steps) end() {
	if s.bar != nil {
		s.bar.finish()
		s.bar, s.name = nil, ""
	}
}

func (c *cli) metadataRelease() *cobra.Command {
	return c.remoteCommand(&cobra.Command{
		Use:     "release",
		Short:   "End the quarantine that follows a rebuild",
		Long:    "From then on a block that is not found is gone, trash is purged and dead volumes\nare freed. Do this when you have seen that what came back is what you expect.",
		Example: "  holdall metadata release",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, cl *client.Client, _ []string) error {
		if err := cl.ReleaseMetadata(ctx); err != nil {
			return err
		}
		return c.emit(map[string]bool{"released": true}, func(w io.Writer) { fmt.Fprintln(w, "the quarantine is over") })
	})
}
