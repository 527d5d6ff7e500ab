package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

func (c *cli) migrateStatus() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:     "status [BUCKET]",
		Short:   "Show how far migrations are, and what is in their way",
		Example: "  holdall migrate status\n  holdall migrate status photos --watch",
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again every 2 seconds")
	c.namespaced(cmd.Flags())
	return c.remoteCommand(cmd, func(ctx context.Context, cl *client.Client, args []string) error {
		for {
			if err := c.migrateStatusOnce(ctx, cl, args, watch); err != nil || !watch {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(2 * time.Second):
			}
		}
	})
}

func (c *cli) migrateStatusOnce(ctx context.Context, cl *client.Client, args []string, watch bool) error {
	var all []client.Migration
	var one *client.Migration
	var err error
	if len(args) > 0 {
		one, err = cl.Migration(ctx, args[0])
	} else {
		all, err = cl.Migrations(ctx)
	}
	if err != nil {
		return err
	}
	if watch && c.outTTY && !c.json() {
		fmt.Fprint(c.out, "\x1b[H\x1b[2J")
	}
	if one != nil {
		return c.showMigration(one)
	}
	return c.emit(all, func(w io.Writer) {
		t := newTable("NAMESPACE", "BUCKET", "STATE", "SOURCE", ">COPIED", ">PASSES", ">OUTBOX", ">QUARANTINE")
		for _, m := range all {
			t.row(m.Namespace, m.Bucket, m.State, "s3://"+m.Source.Bucket, count(m.Copied), fmt.Sprint(m.Passes), count(m.Outbox), count(m.Quarantined))
		}
		t.print(w)
	})
}

func (c *cli) showMigration(m *client.Migration) error {
	return c.emit(m, func(w io.Writer) { printMigration(w, m) })
}

func printMigration(w io.Writer, m *client.Migration) {
	step := ""
	if m.Step != "" {
		step = "to " + m.Step + ", announced " + whenOr(m.Announced)
		if len(m.Waiting) > 0 {
			step += ", waits for front doors " + strings.Join(m.Waiting, ", ")
		}
	}
	clean := "-"
	if m.CleanSince != nil {
		clean = fmt.Sprintf("%v of %s", time.Since(*m.CleanSince).Round(time.Second), longText(time.Duration(m.CleanRun)))
	}
	facts(w, "bucket", m.Bucket+" (namespace "+m.Namespace+")", "source", "s3://"+m.Source.Bucket+at(m.Source.Endpoint), "state", m.State+", since "+when(m.Entered), "step", step,
		"copied", fmt.Sprintf("%s, %s", count(m.Copied), bytesText(m.CopiedBytes)), "backfilled", whenOr(m.Backfilled), "caught up", whenOr(m.CaughtUp),
		"verified", fmt.Sprintf("%d clean passes in a row, the last ended %s", m.Passes, whenOr(m.Verified)),
		"mismatches", fmt.Sprintf("%s, the last %s", count(m.Mismatches), whenOr(m.LastFinding)), "clean run", clean, "certified", whenOr(m.Certified),
		"outbox", count(m.Outbox), "quarantine", count(m.Quarantined), "exceptions", count(m.Exceptions),
		"missed writes", m.OnSecondaryFailure, "way back", longText(time.Duration(m.Window))+" after cut-over")
	printJob(w, "backfill", &m.Backfill)
	printJob(w, "verify", &m.Verify)
	if len(m.Missing) > 0 {
		fmt.Fprintln(w, "\nbefore the next state:")
		for _, line := range m.Missing {
			fmt.Fprintln(w, "  -", line)
		}
	}
}

func printJob(w io.Writer, name string, j *client.MigrationJob) {
	if j.Began == nil {
		return
	}
	state := "paused"
	switch {
	case j.Ended != nil:
		state = "ended " + whenOr(j.Ended)
	case j.Running:
		state = "runs"
	case j.Wanted:
		state = "begins again soon"
	}
	rate := ""
	if j.Running && (j.KeyRate > 0 || j.ByteRate > 0) {
		rate = fmt.Sprintf("%.0f keys/s, %s/s", j.KeyRate, bytesText(int64(j.ByteRate)))
		if j.Left != nil {
			rate += ", " + etaText(time.Duration(*j.Left).Seconds()) + " left"
		}
	}
	keys := count(j.Seen)
	if j.TotalKeys > 0 {
		keys += " of " + count(j.TotalKeys)
	}
	fmt.Fprintln(w)
	facts(w, name, fmt.Sprintf("%s, pass %d since %s", state, j.Pass, whenOr(j.Began)), "  keys", keys,
		"  done", fmt.Sprintf("%s, %s", count(j.Done), bytesText(j.Bytes)), "  there before", count(j.Same), "  by clients", count(j.Taken), "  faults", count(j.Faults),
		"  rate", rate, "  cost", fmt.Sprintf("%.2f dollars at list prices", j.Cost), "  failure", j.Failure)
}

func at(endpoint string) string {
	if endpoint == "" {
		return ""
	}
	return " at " + endpoint
}

func whenOr(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return when(*t)
}

// migrateKeys is `migrate quarantine`, `outbox` and `exceptions`.
func (c *cli) migrateKeys(what, short string) *cobra.Command {
	cmd := &cobra.Command{Use: what + " BUCKET", Short: short, Example: "  holdall migrate " + what + " photos", Args: cobra.ExactArgs(1)}
	c.namespaced(cmd.Flags())
	return c.remoteCommand(cmd, func(ctx context.Context, cl *client.Client, args []string) error {
		list := map[string]func(context.Context, string, func(client.MigrationKey) error) error{
			"quarantine": cl.MigrationQuarantine, "outbox": cl.MigrationOutbox, "exceptions": cl.MigrationExceptions,
		}[what]
		keys := []client.MigrationKey{}
		if err := list(ctx, args[0], func(k client.MigrationKey) error { keys = append(keys, k); return nil }); err != nil {
			return err
		}
		return c.emit(keys, func(w io.Writer) {
			t := newTable("KEY", "SINCE", ">TRIES", "WHAT", "WHY")
			for _, k := range keys {
				who := k.Reason
				if k.SignedBy != "" {
					who += " (" + k.SignedBy + ")"
				}
				t.row(fmt.Sprintf("%q", k.Key), when(k.Since), fmt.Sprint(k.Tries), or(k.What, "-"), who)
			}
			t.print(w)
		})
	})
}

func (c *cli) migrateExcept() *cobra.Command {
	var reason, signedBy string
	cmd := &cobra.Command{
		Use:     "except BUCKET KEY",
		Short:   "Let a key differ, or be left out: the certificate states it, and who said so",
		Example: "  holdall migrate except photos old/locked.jpg --reason 'its legal hold ended' --signed-by 'A. Ops'",
		Args:    cobra.ExactArgs(2),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why it may")
	cmd.Flags().StringVar(&signedBy, "signed-by", "", "who takes the responsibility")
	c.namespaced(cmd.Flags())
	return c.remoteCommand(cmd, func(ctx context.Context, cl *client.Client, args []string) error {
		if reason == "" || signedBy == "" {
			return fmt.Errorf("except: give --reason and --signed-by: %w", holdall.ErrInvalid)
		}
		return cl.ExceptMigration(ctx, args[0], args[1], reason, signedBy)
	})
}

func (c *cli) migrateRequeue() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "requeue BUCKET KEY",
		Short:   "Have a key of the outbox or the quarantine repaired now",
		Example: "  holdall migrate requeue photos 2019/beach.jpg",
		Args:    cobra.ExactArgs(2),
	}
	c.namespaced(cmd.Flags())
	return c.remoteCommand(cmd, func(ctx context.Context, cl *client.Client, args []string) error {
		return cl.RequeueMigration(ctx, args[0], args[1])
	})
}
