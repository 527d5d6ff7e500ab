package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

// migrateRun are the verbs that talk to a cell.
func (c *cli) migrateRun() []*cobra.Command {
	return []*cobra.Command{
		c.migrateCreate(), c.migrateSet(), c.migrateStatus(), c.migrateJob("backfill"), c.migrateJob("verify"), c.migratePause(),
		c.migrateStep("advance"), c.migrateStep("rollback"),
		c.migrateKeys("quarantine", "List the keys that could not be copied, or not whole"), c.migrateKeys("outbox", "List the keys that one side missed, and when they are repaired"),
		c.migrateKeys("exceptions", "List the keys that may differ, and who says so"), c.migrateExcept(), c.migrateRequeue(), c.migrateCertificate(), c.migrateReport(),
	}
}

// parseLong reads a time, of which days are the usual unit: "30d", "12h", "90s".
func parseLong(text string) (time.Duration, error) {
	if number, ok := strings.CutSuffix(text, "d"); ok {
		days, err := strconv.ParseUint(number, 10, 16)
		if err == nil {
			return time.Duration(days) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q: want a time as in 30d, 12h or 90s: %w", text, holdall.ErrInvalid)
	}
	return d, nil
}

// longText is a time as parseLong reads it, as far as it is whole days.
func longText(d time.Duration) string {
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.String()
}

// migrationFlags are the settings of a migration.
type migrationFlags struct {
	source, s3Endpoint, region, profile string
	virtualHost, unconditional          bool
	onFailure, cleanRun, window         string
}

func (f *migrationFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.source, "source", "", "bucket that is left, as s3://BUCKET")
	flags.StringVar(&f.s3Endpoint, "endpoint", "", "URL of an S3 server other than AWS, as the cell's server reaches it")
	flags.StringVar(&f.region, "region", "", "region of the bucket (default as for the AWS tools, at the cell's server)")
	flags.StringVar(&f.profile, "profile", "", "name of the credentials in the AWS files of the cell's server (default its environment's)")
	flags.BoolVar(&f.virtualHost, "virtual-host", false, "with --endpoint: name the bucket in the host instead of the path")
	flags.BoolVar(&f.unconditional, "unconditional", false, "the S3 server ignores If-Match and If-None-Match on writes: lost writes hold their key for a minute")
	flags.StringVar(&f.onFailure, "on-secondary-failure", "outbox", "when the side that does not decide misses a write: outbox (acknowledge, repair later) or fail")
	flags.StringVar(&f.cleanRun, "clean-run", "30d", "time without a finding before the bucket may flip")
	flags.StringVar(&f.window, "window", "30d", "time for the way back, after cut-over")
}

func (f *migrationFlags) settings() (s client.MigrationSettings, err error) {
	bucket, ok := strings.CutPrefix(f.source, "s3://")
	if !ok || bucket == "" || strings.Contains(bucket, "/") {
		return s, fmt.Errorf("--source %q: want s3://BUCKET: %w", f.source, holdall.ErrInvalid)
	}
	if f.s3Endpoint != "" {
		u, err := url.Parse(f.s3Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return s, fmt.Errorf("--endpoint: want the URL of an S3 server, as https://s3.example.com (the cell's address is --cell): %w", holdall.ErrInvalid)
		}
		if u.User != nil {
			return s, fmt.Errorf("--endpoint holds a user or password; credentials are named by --profile, never given: %w", holdall.ErrInvalid)
		}
	}
	s.Source = client.MigrationSource{Endpoint: f.s3Endpoint, Region: f.region, Bucket: bucket, Profile: f.profile, PathStyle: f.s3Endpoint != "" && !f.virtualHost, Unconditional: f.unconditional}
	if s.OnSecondaryFailure = f.onFailure; f.onFailure != "outbox" && f.onFailure != "fail" {
		return s, fmt.Errorf("--on-secondary-failure %q: want outbox or fail: %w", f.onFailure, holdall.ErrInvalid)
	}
	clean, err := parseLong(f.cleanRun)
	if err != nil {
		return s, fmt.Errorf("--clean-run: %w", err)
	}
	window, err := parseLong(f.window)
	if err != nil {
		return s, fmt.Errorf("--window: %w", err)
	}
	s.CleanRun, s.Window = client.Span(clean), client.Span(window)
	return s, nil
}

// cellFlag is --endpoint of commands whose --endpoint is that of the S3 server.
func (c *cli) cellFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.endpoint, "cell", c.envOr("HOLDALL_ENDPOINT", "127.0.0.1:7420"), "server of the cell to talk to (HOLDALL_ENDPOINT)")
	c.namespaced(cmd.Flags())
}

func (c *cli) migrateCreate() *cobra.Command {
	var f migrationFlags
	cmd := &cobra.Command{
		Use:     "create BUCKET",
		Short:   "Begin to migrate a bucket of S3 into an empty bucket of the cell",
		Example: "  holdall bucket create photos\n  holdall migrate create photos --source s3://photos --on-secondary-failure outbox",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := f.settings()
			if err != nil {
				return err
			}
			return c.withClient(cmd.Context(), func(ctx context.Context, cl *client.Client) error {
				m, err := cl.CreateMigration(ctx, args[0], s)
				if err != nil {
					return withNext(err, "the cell's bucket has to be there and empty (`holdall bucket create %s`); the server needs credentials that can read the source:\n"+
						"AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in its environment, or --profile", args[0])
				}
				return c.showMigration(m)
			})
		},
	}
	f.add(cmd)
	c.cellFlag(cmd)
	return cmd
}

func (c *cli) migrateSet() *cobra.Command {
	var f migrationFlags
	cmd := &cobra.Command{
		Use:     "set BUCKET",
		Short:   "Change the settings of a migration",
		Long:    "Changes the settings that are given; the others stay as they are. Where the source\nis can be changed in the state assess only.",
		Example: "  holdall migrate set photos --clean-run 60d",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withClient(cmd.Context(), func(ctx context.Context, cl *client.Client) error {
				m, err := cl.Migration(ctx, args[0])
				if err != nil {
					return err
				}
				s, err := f.changed(cmd, m.MigrationSettings)
				if err != nil {
					return err
				}
				if m, err = cl.SetMigration(ctx, args[0], s); err != nil {
					return err
				}
				return c.showMigration(m)
			})
		},
	}
	f.add(cmd)
	c.cellFlag(cmd)
	return cmd
}

// changed is old with what was given on the command line.
func (f *migrationFlags) changed(cmd *cobra.Command, old client.MigrationSettings) (s client.MigrationSettings, err error) {
	given := cmd.Flags().Changed
	if !given("source") {
		f.source = "s3://" + old.Source.Bucket
	}
	if s, err = f.settings(); err != nil {
		return s, err
	}
	keep := func(name string, restore func()) {
		if !given(name) {
			restore()
		}
	}
	keep("endpoint", func() { s.Source.Endpoint, s.Source.PathStyle = old.Source.Endpoint, old.Source.PathStyle })
	keep("region", func() { s.Source.Region = old.Source.Region })
	keep("profile", func() { s.Source.Profile = old.Source.Profile })
	keep("unconditional", func() { s.Source.Unconditional = old.Source.Unconditional })
	keep("on-secondary-failure", func() { s.OnSecondaryFailure = old.OnSecondaryFailure })
	keep("clean-run", func() { s.CleanRun = old.CleanRun })
	keep("window", func() { s.Window = old.Window })
	return s, nil
}

// pollEvery is how often a command that waits asks how far it is.
const pollEvery = time.Second

// await asks for a migration again and again until done says so.
func await(ctx context.Context, cl *client.Client, bucket string, done func(*client.Migration) (bool, error)) (*client.Migration, error) {
	for {
		m, err := cl.Migration(ctx, bucket)
		if err != nil {
			return nil, err
		}
		if ok, err := done(m); ok || err != nil {
			return m, err
		}
		select {
		case <-ctx.Done():
			return m, fmt.Errorf("stopped waiting; it goes on at the server: %w", ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}

// migrateJob is `migrate backfill` and `migrate verify`.
func (c *cli) migrateJob(job string) *cobra.Command {
	var l client.JobLimits
	var wait bool
	var schedule string
	short := map[string]string{
		"backfill": "Copy what the source held before, then list it again until nothing is new",
		"verify":   "Read every object back from both sides and compare the bytes",
	}
	cmd := &cobra.Command{
		Use:     job + " BUCKET",
		Short:   short[job],
		Long:    short[job] + ". It runs in the cell's server and goes on\nwhere it was when that is started again; `holdall migrate status` shows it.",
		Example: fmt.Sprintf("  holdall migrate %s photos --wait\n  holdall migrate %s photos --bandwidth 08-18=20MiB,else=none --budget 50", job, job),
		Args:    cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	flags.BoolVar(&wait, "wait", false, "wait until it has ended")
	flags.StringVar(&l.Bandwidth, "bandwidth", "", "bytes a second at most: 20MiB, or by hour 08-18=20MiB,else=none")
	flags.StringVar(&l.Requests, "requests", "", "requests a second at most, likewise")
	flags.Float64Var(&l.Money, "budget", 0, "dollars that its requests and bytes may cost at list prices; 0 = any")
	flags.StringVar(&schedule, "schedule", "", "hours in which it runs, as 20-06; it rests at all others")
	c.namespaced(flags)
	return c.remoteCommand(cmd, func(ctx context.Context, cl *client.Client, args []string) error {
		if schedule != "" {
			if strings.Contains(l.Requests, "=") {
				return fmt.Errorf("--schedule and --requests by hour say the same: give one: %w", holdall.ErrInvalid)
			}
			l.Requests = schedule + "=" + or(l.Requests, "none") + ",else=0"
		}
		m, err := cl.StartMigrationJob(ctx, args[0], job, l)
		if err != nil {
			return err
		}
		if wait {
			if m, err = c.awaitJob(ctx, cl, args[0], job); err != nil {
				return err
			}
		}
		if err := c.showMigration(m); err != nil {
			return err
		}
		if wait && job == "verify" && m.Verify.Faults > 0 {
			return errDifferences
		}
		return nil
	})
}

func (c *cli) awaitJob(ctx context.Context, cl *client.Client, bucket, job string) (*client.Migration, error) {
	p := c.progress(job, "keys", 0)
	defer p.finish()
	return await(ctx, cl, bucket, func(m *client.Migration) (bool, error) {
		j := m.Backfill
		if job == "verify" {
			j = m.Verify
		}
		p.set(j.Seen, j.TotalKeys)
		if !j.Wanted && j.Ended == nil && j.Failure != "" {
			return true, fmt.Errorf("%s: %s: %w", job, j.Failure, holdall.ErrExhausted)
		}
		return !j.Wanted, nil
	})
}

func (c *cli) migratePause() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "pause BUCKET backfill|verify",
		Short:   "Have a job rest until it is started again",
		Example: "  holdall migrate pause photos backfill",
		Args:    cobra.ExactArgs(2),
	}
	c.namespaced(cmd.Flags())
	return c.remoteCommand(cmd, func(ctx context.Context, cl *client.Client, args []string) error {
		m, err := cl.PauseMigrationJob(ctx, args[0], args[1])
		if err != nil {
			return err
		}
		return c.showMigration(m)
	})
}

// migrateStep is `migrate advance` and `migrate rollback`.
func (c *cli) migrateStep(verb string) *cobra.Command {
	short := map[string]string{"advance": "Take the step to the next state, if its guard allows it", "rollback": "Take a step back, from every state but retired"}
	cmd := &cobra.Command{
		Use:     verb + " BUCKET STATE",
		Short:   short[verb],
		Long:    short[verb] + ". The states are assess, mirror, shadow, flipped,\ncut-over and retired. A step that is refused says everything that is in its way\n(exit code 5). It is taken when every front door has seen it.",
		Example: map[string]string{"advance": "  holdall migrate advance photos mirror", "rollback": "  holdall migrate rollback photos shadow"}[verb],
		Args:    cobra.ExactArgs(2),
	}
	c.namespaced(cmd.Flags())
	order := map[string]int{"assess": 1, "mirror": 2, "shadow": 3, "flipped": 4, "cut-over": 5, "retired": 6}
	return c.remoteCommand(cmd, func(ctx context.Context, cl *client.Client, args []string) error {
		to := args[1]
		if order[to] == 0 {
			return fmt.Errorf("state %.40q: want assess, mirror, shadow, flipped, cut-over or retired: %w", to, holdall.ErrInvalid)
		}
		m, err := cl.Migration(ctx, args[0])
		if err != nil {
			return err
		}
		if from := order[m.State]; verb == "advance" && order[to] < from || verb == "rollback" && order[to] > from {
			return fmt.Errorf("%s from %s to %s: that is the other way: %w", verb, m.State, to, holdall.ErrInvalid)
		}
		if _, err = cl.StepMigration(ctx, args[0], to); err != nil {
			return withNext(err, "`holdall migrate status %s` shows what is missing", args[0])
		}
		m, err = await(ctx, cl, args[0], func(m *client.Migration) (bool, error) { return m.Step == "", nil })
		if err != nil {
			return err
		}
		if m.State != to {
			return withNext(fmt.Errorf("the step to %s was taken back: a front door did not see it in time, or its guard found something: %w", to, holdall.ErrUnavailable),
				"`holdall migrate status %s` shows what is missing; then take the step again", args[0])
		}
		return c.showMigration(m)
	})
}
