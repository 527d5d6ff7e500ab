package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall/client"
)

const statusLong = `Shows health, space, and how many stripes have how many shards missing. A stripe
is counted by how many of its volume's members hold records and do not answer. A
narrow stripe may have nothing on such a member: it lacks at most what is shown,
perhaps less. Whole ones (JSON: stripes_missing "0") have every shard on a disk that
answers; whether the bytes are right is for ` + "`holdall fsck`" + `.

Of each kind of task: how many wait or are under way, the rate at which they got
done over the last minute, and how long all will take at that rate. - (JSON: null)
is not known yet; 0 B/s is no progress, as while freed extents wait out their hold.`

func (c *cli) cellCommand() *cobra.Command {
	var watch bool
	status := c.remoteCommand(&cobra.Command{
		Use:     "status",
		Short:   "Show the health of the cell in one screen",
		Long:    statusLong,
		Example: "  holdall cell status --watch\n  holdall cell status --output json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, cl *client.Client, _ []string) error {
		for {
			s, err := cl.CellStatus(ctx)
			if err != nil {
				return err
			}
			if watch && c.outTTY && !c.json() {
				fmt.Fprint(c.out, "\x1b[H\x1b[2J")
			}
			if err := c.emit(s, func(w io.Writer) { printCell(w, s) }); err != nil || !watch {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(2 * time.Second):
			}
		}
	})
	status.Flags().BoolVar(&watch, "watch", false, "show it again every 2 seconds")
	return noun("cell", "The health of the cell", "  holdall cell status", status)
}

func printCell(w io.Writer, s *client.CellStatus) {
	for _, note := range s.Notes {
		fmt.Fprintf(w, "! %s\n", note)
	}
	quarantine := ""
	if s.Quarantine {
		quarantine = "yes: `holdall metadata release` ends it"
	}
	overhead := "-"
	if s.Overhead > 0 {
		overhead = fmt.Sprintf("%.2f (disk bytes / user bytes)", s.Overhead)
	}
	facts(w, "health", s.Health, "stripes", missingText(s.StripesMissing),
		"disks", fmt.Sprintf("%d active, %d failed, %d draining", s.Disks.Active, s.Disks.Failed, s.Disks.Draining),
		"blocks", fmt.Sprintf("%s, %s", count(int64(s.Blocks)), bytesText(int64(s.UserBytes))),
		"trash", fmt.Sprintf("%s, %s", count(int64(s.TrashBlocks)), bytesText(int64(s.TrashBytes))),
		"on disk", bytesText(int64(s.DiskBytes)), "overhead", overhead,
		"volumes", fmt.Sprintf("%d open, %d sealed", s.VolumesOpen, s.VolumesSealed),
		"new volumes", s.Scheme+", members differ by "+s.Domain, "quarantine", quarantine,
		"cell", s.Cell, "incarnation", fmt.Sprint(s.Incarnation), "server", fmt.Sprintf("%s, up since %s", s.Version, when(s.Started)))
	if len(s.Tasks) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable("TASK", ">WAITING", ">RATE", ">ETA")
	for _, k := range s.Tasks {
		rate, eta := "-", "-" // not known
		if k.Rate != nil {
			rate = bytesText(int64(*k.Rate)) + "/s"
		}
		if k.ETA != nil {
			eta = etaText(*k.ETA)
		}
		t.row(k.Kind, count(int64(k.Count)), rate, eta)
	}
	t.print(w)
}

// missingText says how many stripes lack how many shards: what an operator
// fears first.
func missingText(missing map[uint32]uint64) string {
	var words []string
	for _, n := range slices.Sorted(maps.Keys(missing)) {
		if n == 0 {
			words = append(words, count(int64(missing[n]))+" whole")
		} else {
			words = append(words, fmt.Sprintf("%s with up to %d shards missing", count(int64(missing[n])), n))
		}
	}
	return or(strings.Join(words, ", "), "none")
}

// longestETA bounds what is shown: beyond it the work stands still, in effect.
const longestETA = 90 * 24 * time.Hour

func etaText(seconds float64) string {
	if seconds > longestETA.Seconds() {
		return fmt.Sprintf("over %d days", int(longestETA.Hours()/24))
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}
