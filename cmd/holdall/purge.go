package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall/client"
)

func (c *cli) purgeCommand() *cobra.Command {
	status := c.remoteCommand(&cobra.Command{
		Use:     "status",
		Short:   "Show trash by age, the rate of purging and its breaker",
		Example: "  holdall purge status",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, cl *client.Client, _ []string) error {
		s, err := cl.PurgeStatus(ctx)
		if err != nil {
			return err
		}
		return c.emit(s, func(w io.Writer) { printPurge(w, s) })
	})
	release := c.remoteCommand(&cobra.Command{
		Use:     "release",
		Short:   "Let a tripped breaker purge again, for an hour without its limit",
		Long:    "The breaker stops purging when far more blocks would go than usual: look at what\nwas deleted, and by whom, before releasing it. What is purged cannot be undeleted.",
		Example: "  holdall purge release",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, cl *client.Client, _ []string) error {
		if err := cl.ReleasePurge(ctx); err != nil {
			return err
		}
		return c.emit(map[string]bool{"released": true}, func(w io.Writer) { fmt.Fprintln(w, "the purge breaker is released") })
	})
	return noun("purge", "See and release the purging of trash", "  holdall purge status", status, release)
}

func printPurge(w io.Writer, s *client.PurgeStatus) {
	seconds := func(f float64) string { return time.Duration(f * float64(time.Second)).String() }
	breaker := "closed: purging goes on"
	if s.BreakerTripped {
		breaker = "tripped: " + s.Reason + "; `holdall purge release` lets it go on"
	}
	facts(w, "retention", seconds(s.RetentionSeconds), "free hold", seconds(s.FreeHoldSeconds),
		"purged", fmt.Sprintf("%s blocks in this hour, of at most %s", count(int64(s.PurgedLastHour)), count(int64(s.LimitPerHour))), "breaker", breaker)
	if len(s.Trash) == 0 {
		fmt.Fprintln(w, "\nthe trash is empty")
		return
	}
	fmt.Fprintln(w)
	t := newTable(">TRASHED WITHIN", ">BLOCKS", ">BYTES")
	for _, a := range s.Trash {
		age := "longer"
		if a.UpToSeconds > 0 {
			age = seconds(a.UpToSeconds)
		}
		t.row(age, count(int64(a.Blocks)), bytesText(int64(a.Bytes)))
	}
	t.print(w)
}
