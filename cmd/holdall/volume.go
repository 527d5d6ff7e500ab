package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

func (c *cli) volumeCommand() *cobra.Command {
	return noun("volume", "List, show and seal volumes", "  holdall volume ls", c.volumeList(), c.volumeShow(), c.volumeSeal())
}

func (c *cli) volumeList() *cobra.Command {
	return c.remoteCommand(&cobra.Command{
		Use:     "ls",
		Short:   "List volumes with how full and how live they are",
		Example: "  holdall volume ls",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, cl *client.Client, _ []string) error {
		list := []client.VolumeStatus{}
		err := cl.Volumes(ctx, func(v client.VolumeStatus) error { list = append(list, v); return nil })
		if err != nil {
			return err
		}
		return c.emit(list, func(w io.Writer) {
			t := newTable("ID", "STATE", "SCHEME", ">STRIPES", ">BLOCKS", ">PACKED", ">LIVE", ">OVERHEAD", "CREATED", "")
			var fills [10]int
			for _, v := range list {
				kind := ""
				if v.System {
					kind = "system"
				}
				t.row(v.ID.String(), v.State, v.Scheme, count(int64(v.Stripes)), count(int64(v.Blocks)), bytesText(int64(v.PackBytes)),
					percent(int64(v.LiveBytes), int64(v.PackBytes)), ratio(v.ShardBytes, v.PackBytes), when(v.Created), kind)
				fills[min(int(10*fillShare(&v)), 9)]++
			}
			t.print(w)
			printFills(w, fills)
		})
	})
}

// fillShare is how much of what its extents may hold v does hold.
func fillShare(v *client.VolumeStatus) float64 {
	s, err := holdall.ParseScheme(v.Scheme)
	if err != nil || v.Limit == 0 {
		return 0
	}
	return float64(v.ShardBytes) / (float64(v.Limit) * float64(s.N()))
}

func printFills(w io.Writer, fills [10]int) {
	fmt.Fprintln(w, "\nfill")
	for i, n := range fills {
		if n > 0 {
			fmt.Fprintf(w, "%3d to %3d %%  %d\n", 10*i, 10*i+10, n)
		}
	}
}

func ratio(a, b uint64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

func (c *cli) volumeShow() *cobra.Command {
	return c.remoteCommand(&cobra.Command{
		Use:     "show ID",
		Short:   "Show one volume and its members",
		Example: "  holdall volume show 0001000000000007",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := holdall.ParseVolumeID(args[0])
		if err != nil {
			return err
		}
		v, err := cl.Volume(ctx, id)
		if err != nil {
			return withNext(err, "holdall volume ls")
		}
		return c.emit(v, func(w io.Writer) { printVolume(w, v) })
	})
}

func printVolume(w io.Writer, v *client.VolumeStatus) {
	sealed := ""
	if v.Sealed != nil {
		sealed = when(*v.Sealed)
	}
	facts(w, "id", v.ID.String(), "state", v.State, "scheme", v.Scheme, "epoch", v.Epoch, "gateway", v.Gateway, "created", when(v.Created), "sealed", sealed,
		"extent limit", bytesText(int64(v.Limit)), "stripes", count(int64(v.Stripes)), "blocks", count(int64(v.Blocks)), "block bytes", bytesText(int64(v.BlockBytes)),
		"live", percent(int64(v.LiveBytes), int64(v.PackBytes)), "overhead", ratio(v.ShardBytes, v.PackBytes))
	fmt.Fprintln(w)
	t := newTable(">MEMBER", "DISK", "STATE", ">END", "FOOTER", "PATH")
	for i, m := range v.Members {
		t.row(fmt.Sprint(i), m.Disk.String(), m.State, bytesText(int64(m.End)), fmt.Sprint(m.Footer), m.Path)
	}
	t.print(w)
}

func (c *cli) volumeSeal() *cobra.Command {
	var all bool
	cmd := c.remoteCommand(&cobra.Command{
		Use:     "seal ID... | --all",
		Short:   "End appends to volumes, for ever",
		Long:    "A sealed volume takes no more stripes; new puts go to others. Nothing is lost but\nthe room that was left in it.",
		Example: "  holdall volume seal --all",
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		if all == (len(args) > 0) {
			return fmt.Errorf("name volumes, or --all: %w", holdall.ErrInvalid)
		}
		var ids []holdall.VolumeID
		for _, word := range args {
			id, err := holdall.ParseVolumeID(word)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		sealed, err := cl.SealVolumes(ctx, ids...)
		if err != nil {
			return withNext(err, "holdall volume ls")
		}
		return c.emit(map[string]any{"sealed": sealed}, func(w io.Writer) {
			for _, id := range sealed {
				fmt.Fprintln(w, id)
			}
		})
	})
	cmd.Flags().BoolVar(&all, "all", false, "every open volume")
	return cmd
}
