package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/fsck"
)

func (c *cli) inspectCommand() *cobra.Command {
	return noun("inspect", "Print what lies on a disk readably: superblock, zone, extent, record", "  holdall inspect disk holdall-data/disk-00",
		c.inspectDisk(), c.inspectZone(), c.inspectExtent(), c.inspectRecord())
}

// inspectVerb is a verb of inspect: it opens the disk at the first argument.
func (c *cli) inspectVerb(cmd *cobra.Command, f func(*fsck.View, []string) error) *cobra.Command {
	cmd.RunE = func(_ *cobra.Command, args []string) (err error) {
		v, err := fsck.Open(args[0])
		if err != nil {
			return withNext(err, "name a disk's directory, image file or block device, as in `holdall disk ls`")
		}
		defer func() { err = errors.Join(err, v.Close()) }()
		return f(v, args[1:])
	}
	return cmd
}

func (c *cli) inspectDisk() *cobra.Command {
	return c.inspectVerb(&cobra.Command{
		Use:     "disk PATH",
		Short:   "Print the superblock of a disk: who it is, and its extents",
		Example: "  holdall inspect disk holdall-data/disk-00",
		Args:    cobra.ExactArgs(1),
	}, func(v *fsck.View, _ []string) error {
		d := v.Disk()
		return c.emit(d, func(w io.Writer) {
			for _, p := range d.Problems {
				fmt.Fprintf(w, "! %s\n", p)
			}
			facts(w, "path", d.Path, "cell", d.Cell.String(), "disk", d.Disk.String(), "zone size", bytesText(d.ZoneSize), "incarnation", fmt.Sprint(d.Incarnation), "state", d.State, "reason", d.Reason)
			fmt.Fprintln(w)
			t := newTable("VOLUME", ">MEMBER", "CREATED", "EPOCH", "SCHEME", "STATE", ">END", ">LAST", "ZONES")
			for _, e := range d.Extents {
				t.row(e.Volume.String(), fmt.Sprint(e.Member), e.Created, e.Epoch, e.Scheme, e.State, fmt.Sprint(e.End), fmt.Sprint(e.Last), fmt.Sprint(e.Zones))
			}
			t.print(w)
		})
	})
}

func (c *cli) inspectZone() *cobra.Command {
	return c.inspectVerb(&cobra.Command{
		Use:     "zone PATH ZONE",
		Short:   "Print whose a zone is, and whether its header agrees",
		Example: "  holdall inspect zone holdall-data/disk-00 2",
		Args:    cobra.ExactArgs(2),
	}, func(v *fsck.View, args []string) error {
		zone, err := strconv.Atoi(args[0])
		if err != nil || zone < 0 {
			return fmt.Errorf("zone %q: want a number: %w", args[0], holdall.ErrInvalid)
		}
		z, err := v.Zone(zone)
		if err != nil {
			return err
		}
		return c.emit(z, func(w io.Writer) {
			extent := "none"
			if zone < 2 {
				extent = "none: it holds the superblock log"
			}
			if z.Extent != nil {
				extent = fmt.Sprintf("volume %v member %d, its zone %d", z.Extent.Volume, z.Extent.Member, z.Place)
			}
			facts(w, "zone", fmt.Sprint(z.Zone), "generation", fmt.Sprint(z.Generation), "extent", extent, "header", or(z.Problem, "agrees"))
		})
	})
}

func (c *cli) inspectExtent() *cobra.Command {
	return c.inspectVerb(&cobra.Command{
		Use:     "extent PATH VOLUME",
		Short:   "Print the records of a volume's extent on a disk",
		Example: "  holdall inspect extent holdall-data/disk-00 0001000000000001",
		Args:    cobra.ExactArgs(2),
	}, func(v *fsck.View, args []string) error {
		id, err := holdall.ParseVolumeID(args[0])
		if err != nil {
			return err
		}
		e, err := v.Extent(id)
		if err != nil {
			return err
		}
		return c.emit(e, func(w io.Writer) {
			facts(w, "volume", e.Volume.String(), "member", fmt.Sprint(e.Member), "created", e.Created, "epoch", e.Epoch, "scheme", e.Scheme, "limit", bytesText(e.Limit), "state", e.State, "zones", fmt.Sprint(e.Zones))
			fmt.Fprintln(w)
			t := newTable(">OFFSET", ">ZONE", ">STRIPE", "EPOCH", ">SHARD", "KIND", ">LENGTH", "PROBLEM")
			for _, r := range e.Records {
				t.row(fmt.Sprint(r.Offset), fmt.Sprint(r.Zone), fmt.Sprint(r.Stripe), r.Epoch, fmt.Sprint(r.Shard), r.Kind, fmt.Sprint(r.Length), r.Problem)
			}
			t.print(w)
		})
	})
}

func (c *cli) inspectRecord() *cobra.Command {
	return c.inspectVerb(&cobra.Command{
		Use:     "record PATH VOLUME OFFSET",
		Short:   "Print one record, check its checksums, list its blocks",
		Example: "  holdall inspect record holdall-data/disk-00 0001000000000001 0",
		Args:    cobra.ExactArgs(3),
	}, func(v *fsck.View, args []string) error {
		id, err := holdall.ParseVolumeID(args[0])
		if err != nil {
			return err
		}
		off, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil {
			return fmt.Errorf("offset %q: want a number: %w", args[1], holdall.ErrInvalid)
		}
		r, err := v.Record(id, off)
		if err != nil {
			return err
		}
		return c.emit(r, func(w io.Writer) { printRecord(w, &r) })
	})
}

func printRecord(w io.Writer, r *fsck.RecordView) {
	facts(w, "offset", fmt.Sprint(r.Offset), "zone", fmt.Sprint(r.Zone), "stripe", fmt.Sprint(r.Stripe), "epoch", r.Epoch, "shard", fmt.Sprint(r.Shard), "kind", r.Kind,
		"length", fmt.Sprint(r.Length), "checks", or(r.Problem, "all agree"))
	if len(r.Shards) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable(">SHARD", ">MEMBER", ">OFFSET", ">LENGTH")
	for _, p := range r.Shards {
		if p.Length == 0 {
			t.row(fmt.Sprint(p.Shard), fmt.Sprint(p.Member), "-", "absent")
			continue
		}
		t.row(fmt.Sprint(p.Shard), fmt.Sprint(p.Member), fmt.Sprint(p.Offset), fmt.Sprint(p.Length))
	}
	t.print(w)
	if len(r.Blocks) == 0 {
		return
	}
	fmt.Fprintln(w)
	t = newTable("BLOCK", ">NAMESPACE", ">OFFSET", ">LENGTH", "HASH")
	for _, b := range r.Blocks {
		t.row(b.ID.String(), fmt.Sprint(b.Namespace), fmt.Sprint(b.Offset), fmt.Sprint(b.Length), map[bool]string{true: "agrees", false: "DIFFERS"}[b.HashOK])
	}
	t.print(w)
}
