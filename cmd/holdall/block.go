package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

func (c *cli) blockCommand() *cobra.Command {
	return noun("block", "Store and fetch blocks of up to 4 MiB", "  holdall block put photo.jpg\n  holdall block get ID -o photo.jpg",
		c.blockPut(), c.blockGet(), c.blockStat(), c.blockRemove(), c.blockUndelete(), c.blockMissing())
}

// blockVerb is a verb of block: remote, in a namespace.
func (c *cli) blockVerb(cmd *cobra.Command, f func(context.Context, *client.Client, []string) error) *cobra.Command {
	c.namespaced(cmd.Flags())
	return c.remoteCommand(cmd, f)
}

// putFacts is what `block put` prints for a file.
type putFacts struct {
	ID   holdall.BlockID `json:"id"`
	Size int             `json:"size"`
	Name string          `json:"name"`
}

func (c *cli) blockPut() *cobra.Command {
	return c.blockVerb(&cobra.Command{
		Use:     "put FILE... | -",
		Short:   "Store files (- is standard input) as one block each, and print their ids",
		Long:    "Prints one line a file once it is durable: its id, its size, its name. The id is\nthe BLAKE3-256 of the bytes; storing the same bytes again costs no space.",
		Example: "  holdall block put a.bin b.bin\n  tar c dir | holdall block put -",
		Args:    cobra.MinimumNArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		for _, name := range args {
			data, err := c.readBlock(name)
			if err != nil {
				return err
			}
			id, err := cl.Put(ctx, data)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			err = c.emit(putFacts{id, len(data), name}, func(w io.Writer) { fmt.Fprintf(w, "%v %d %s\n", id, len(data), name) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// readBlock reads a whole file, which must fit one block.
func (c *cli) readBlock(name string) ([]byte, error) {
	in := c.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, holdall.MaxBlockSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case len(data) == 0:
		return nil, withNext(fmt.Errorf("%s is empty: a block has 1 byte to 4 MiB: %w", name, holdall.ErrInvalid), "name a file that is not empty")
	case len(data) > holdall.MaxBlockSize:
		return nil, withNext(fmt.Errorf("%s is larger than 4 MiB, the most a block holds: %w", name, holdall.ErrInvalid),
			"`holdall object put %s BUCKET/KEY` stores files of any size; `holdall bucket create BUCKET` makes the bucket", name)
	}
	return data, nil
}

func (c *cli) blockGet() *cobra.Command {
	var file, span string
	var consistent bool
	cmd := c.blockVerb(&cobra.Command{
		Use:     "get ID",
		Short:   "Fetch a block, verified against its id, to standard output or a file",
		Example: "  holdall block get ID -o photo.jpg\n  holdall block get ID --range 0-99",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := blockID(args[0])
		if err != nil {
			return err
		}
		o := client.GetOptions{Consistent: consistent}
		if o.Offset, o.Length, err = parseRange(span); err != nil {
			return err
		}
		b, err := cl.Fetch(ctx, id, o)
		if err != nil {
			return err
		}
		defer b.Release()
		if file == "" {
			_, err = b.WriteTo(c.out)
			return err
		}
		return writeFile(file, b)
	})
	cmd.Flags().StringVarP(&file, "out", "o", "", "write to this file instead of standard output")
	cmd.Flags().StringVar(&span, "range", "", "only bytes A to B, both included, as in 0-99")
	cmd.Flags().BoolVar(&consistent, "consistent", false, "see every delete that was acknowledged")
	return cmd
}

// writeFile writes b to a new file that takes the name only when it is whole.
func writeFile(name string, b io.WriterTo) (err error) {
	f, err := os.CreateTemp(dirOf(name), ".holdall-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if _, err := b.WriteTo(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func dirOf(name string) string {
	if i := strings.LastIndexByte(name, os.PathSeparator); i >= 0 {
		return name[:i+1]
	}
	return "."
}

// parseRange reads "A-B", both included, or "A-".
func parseRange(s string) (offset, length int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	a, b, ok := strings.Cut(s, "-")
	offset, err1 := strconv.Atoi(a)
	last, err2 := strconv.Atoi(b)
	if b == "" {
		last, err2 = offset-1, nil // length 0: to the end
	}
	if !ok || err1 != nil || err2 != nil || offset < 0 || b != "" && last < offset {
		return 0, 0, fmt.Errorf("range %q: want A-B, the first and the last byte, as in 0-99: %w", s, holdall.ErrInvalid)
	}
	return offset, last - offset + 1, nil
}

// blockID reads an id from the command line.
func blockID(s string) (holdall.BlockID, error) {
	id, err := holdall.ParseBlockID(s)
	return id, withNext(err, "use the 64 hex digits that `holdall block put` printed")
}

func blockIDs(words []string) ([]holdall.BlockID, error) {
	ids := make([]holdall.BlockID, len(words))
	for i, w := range words {
		id, err := blockID(w)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	return ids, nil
}

func (c *cli) blockStat() *cobra.Command {
	return c.blockVerb(&cobra.Command{
		Use:     "stat ID",
		Short:   "Tell where a block lies and how many shards of its stripe are there",
		Example: "  holdall block stat ID --output json",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := blockID(args[0])
		if err != nil {
			return err
		}
		s, err := cl.Stat(ctx, id)
		if err != nil {
			return err
		}
		return c.emit(s, func(w io.Writer) { printStat(w, s) })
	})
}

func printStat(w io.Writer, s *client.BlockStat) {
	trashed := ""
	if s.TrashedAt != nil {
		trashed = when(*s.TrashedAt)
	}
	facts(w, "id", s.ID.String(), "size", bytesText(int64(s.Size)), "namespace", s.Namespace, "volume", s.Volume.String(), "scheme", s.Scheme.String(),
		"stripe", fmt.Sprint(s.Stripe), "shard", fmt.Sprint(s.Shard), "member", fmt.Sprint(s.Member), "offset", count(s.Offset),
		"shards", fmt.Sprintf("%d of %d", s.ShardsOK, s.ShardsTotal), "direct", fmt.Sprint(s.Direct), "references", fmt.Sprint(s.References), "trashed", trashed)
	fmt.Fprintln(w)
	t := newTable(">MEMBER", "DISK", "NODE", "STATE")
	for i, m := range s.Members {
		t.row(fmt.Sprint(i), m.Disk.String(), m.Node, m.State)
	}
	t.print(w)
}

// goneFacts is what commands over many ids print.
type goneFacts struct {
	Done    int               `json:"done"`
	Missing []holdall.BlockID `json:"missing"`
}

// eachBatch runs f over ids, as many at a time as a call may have, and reports
// the ids that f says were not there as not found.
func (c *cli) eachBatch(ids []holdall.BlockID, f func([]holdall.BlockID) ([]holdall.BlockID, error)) error {
	all := goneFacts{Missing: []holdall.BlockID{}}
	for rest := ids; len(rest) > 0; {
		n := min(len(rest), holdall.MaxIDsPerCall)
		gone, err := f(rest[:n])
		if err != nil {
			return err
		}
		all.Missing, rest = append(all.Missing, gone...), rest[n:]
	}
	all.Done = len(ids) - len(all.Missing)
	if err := c.emit(all, func(io.Writer) {}); err != nil {
		return err
	}
	if len(all.Missing) > 0 {
		return fmt.Errorf("%d of %d blocks, the first %v: %w", len(all.Missing), len(ids), all.Missing[0], holdall.ErrNotFound)
	}
	return nil
}

func (c *cli) blockRemove() *cobra.Command {
	return c.blockVerb(&cobra.Command{
		Use:     "rm ID...",
		Short:   "Move blocks to trash, from where undelete brings them back until retention ends",
		Example: "  holdall block rm ID",
		Args:    cobra.MinimumNArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		ids, err := blockIDs(args)
		if err != nil {
			return err
		}
		return c.eachBatch(ids, func(ids []holdall.BlockID) ([]holdall.BlockID, error) { return cl.Delete(ctx, ids) })
	})
}

func (c *cli) blockUndelete() *cobra.Command {
	return c.blockVerb(&cobra.Command{
		Use:     "undelete ID...",
		Short:   "Bring deleted blocks back from trash",
		Example: "  holdall block undelete ID",
		Args:    cobra.MinimumNArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		ids, err := blockIDs(args)
		if err != nil {
			return err
		}
		return c.eachBatch(ids, func(ids []holdall.BlockID) ([]holdall.BlockID, error) { return cl.Undelete(ctx, ids) })
	})
}

func (c *cli) blockMissing() *cobra.Command {
	return c.blockVerb(&cobra.Command{
		Use:     "missing",
		Short:   "Read ids from standard input, one a line, and print those that are not stored",
		Long:    "The answer is a hint about what to put: a block may be deleted a moment later.",
		Example: "  holdall block missing < ids",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, cl *client.Client, _ []string) error {
		all := []holdall.BlockID{}
		in := bufio.NewScanner(c.in)
		for batch := []holdall.BlockID{}; ; {
			more := in.Scan()
			if word := strings.TrimSpace(in.Text()); more && word != "" {
				id, err := blockID(word)
				if err != nil {
					return err
				}
				batch = append(batch, id)
			}
			if len(batch) == holdall.MaxIDsPerCall || !more && len(batch) > 0 {
				missing, err := cl.Missing(ctx, batch)
				if err != nil {
					return err
				}
				all, batch = append(all, missing...), batch[:0]
			}
			if !more {
				break
			}
		}
		if err := in.Err(); err != nil {
			return fmt.Errorf("read ids: %w", err)
		}
		return c.emit(all, func(w io.Writer) {
			for _, id := range all {
				fmt.Fprintln(w, id)
			}
		})
	})
}
