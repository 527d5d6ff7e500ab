package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

func (c *cli) diskCommand() *cobra.Command {
	return noun("disk", "List, add and readmit disks", "  holdall disk ls", c.diskList(), c.diskShow(), c.diskAdd(), c.diskReadmit())
}

func (c *cli) diskList() *cobra.Command {
	return c.remoteCommand(&cobra.Command{
		Use:     "ls",
		Short:   "List the disks of the cell",
		Example: "  holdall disk ls --output json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, cl *client.Client, _ []string) error {
		disks, err := cl.Disks(ctx)
		if err != nil {
			return err
		}
		return c.emit(disks, func(w io.Writer) {
			t := newTable("ID", "STATE", ">USED", ">CAPACITY", ">FREE ZONES", ">EXTENTS", "DOMAIN", "PATH", "REASON")
			for _, d := range disks {
				t.row(d.ID.String(), d.State, percent(int64(d.Written), int64(d.Capacity)), bytesText(int64(d.Capacity)),
					fmt.Sprintf("%d of %d", d.FreeZones, d.TotalZones), fmt.Sprint(d.Extents), or(d.Domain, "-"), d.Path, d.Reason)
			}
			t.print(w)
		})
	})
}

func (c *cli) diskShow() *cobra.Command {
	return c.remoteCommand(&cobra.Command{
		Use:     "show DISK",
		Short:   "Show one disk, by id or by path",
		Example: "  holdall disk show ./holdall-data/disk-03",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		d, err := cl.Disk(ctx, args[0])
		if err != nil {
			return withNext(err, "holdall disk ls")
		}
		return c.emitDisk(d)
	})
}

func (c *cli) emitDisk(d *client.DiskStatus) error {
	return c.emit(d, func(w io.Writer) {
		open := fmt.Sprint(d.OpenZones)
		if d.MaxOpen > 0 {
			open += fmt.Sprintf(" of %d", d.MaxOpen)
		}
		facts(w, "id", d.ID.String(), "path", d.Path, "node", d.Node, "domain", d.Domain, "state", d.State, "reason", d.Reason, "since", when(d.Since),
			"capacity", bytesText(int64(d.Capacity)), "written", bytesText(int64(d.Written)), "free zones", fmt.Sprintf("%d of %d", d.FreeZones, d.TotalZones),
			"open zones", open, "zone size", bytesText(int64(d.ZoneSize)), "incarnation", fmt.Sprint(d.Incarnation), "extents", fmt.Sprint(d.Extents))
	})
}

func (c *cli) diskAdd() *cobra.Command {
	var domain string
	cmd := c.remoteCommand(&cobra.Command{
		Use:     "add PATH",
		Short:   "Format an empty directory, image file or block device of the server as a new disk",
		Long:    "The disk must be empty; anything on it is refused, never overwritten. A disk that\nwas lost or wiped is not made again by this: it comes back under a new id.\nGive PATH to `holdall serve --disk` too, so that the next start finds it.",
		Example: "  holdall disk add /mnt/disk9 --domain rack1/host3",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		d, err := cl.AddDisk(ctx, args[0], domain)
		if err != nil {
			return err
		}
		return c.emitDisk(d)
	})
	cmd.Flags().StringVar(&domain, "domain", "", "failure domain labels, outermost first, as in rack1/host3")
	return cmd
}

func (c *cli) diskReadmit() *cobra.Command {
	return c.remoteCommand(&cobra.Command{
		Use:     "readmit DISK",
		Short:   "Let a failed disk take writes again, after reading its unsealed records back",
		Long:    "Every record that no footer vouches for is read from the medium and checked\nfirst; if one is bad the disk stays failed and says which.",
		Example: "  holdall disk readmit ./holdall-data/disk-03",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		p := c.progress("reading back", "B", 0)
		d, err := cl.ReadmitDisk(ctx, args[0], func(done, total uint64) { p.set(int64(done), int64(total)) })
		p.finish()
		if errors.Is(err, holdall.ErrNotFound) {
			return withNext(err, "holdall disk ls")
		}
		if err != nil {
			return withNext(err, "holdall disk show %s", args[0])
		}
		return c.emitDisk(d)
	})
}
