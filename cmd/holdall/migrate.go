package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/assess"
	"github.com/holdall/holdall/migration/source"
)

func (c *cli) migrateCommand() *cobra.Command {
	return noun("migrate", "Move a bucket from S3 to Holdall, and back", "  holdall migrate assess --source s3://photos",
		append(c.migrateRun(), c.migrateAssess(), c.migrateAudit(), c.migratePrices())...)
}

// sourceFlags name a bucket of S3. Credentials are no flags: they come from where
// the AWS tools find them.
type sourceFlags struct {
	source   string
	endpoint string
	region   string
	virtual  bool
}

func (f *sourceFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.source, "source", "", "bucket to read, as s3://BUCKET or s3://BUCKET/PREFIX")
	flags.StringVar(&f.endpoint, "endpoint", "", "URL of an S3 server other than AWS")
	flags.StringVar(&f.region, "region", "", "region of the bucket (default as for the AWS tools)")
	flags.BoolVar(&f.virtual, "virtual-host", false, "with --endpoint: name the bucket in the host instead of the path")
}

// config reads --source.
func (f *sourceFlags) config() (cfg source.Config, err error) {
	rest, ok := strings.CutPrefix(f.source, "s3://")
	if !ok || rest == "" {
		return cfg, fmt.Errorf("--source %q: want s3://BUCKET or s3://BUCKET/PREFIX: %w", f.source, holdall.ErrInvalid)
	}
	cfg = source.Config{Endpoint: f.endpoint, Region: f.region, VirtualHost: f.virtual}
	cfg.Bucket, cfg.Prefix, _ = strings.Cut(rest, "/")
	return cfg, cfg.Validate()
}

// sourceNext adds what to do about an error of the source.
func sourceNext(err error, again string) error {
	switch {
	case err == nil, errors.As(err, new(*hint)):
		return err
	case errors.Is(err, source.ErrDenied):
		return withNext(err, "check whose credentials these are and what they may do: listing needs s3:ListBucket, and for a bucket with versions s3:ListBucketVersions;\n"+
			"they come from the environment (AWS_PROFILE, AWS_ACCESS_KEY_ID, …), ~/.aws, or the machine's role")
	case errors.Is(err, holdall.ErrNotFound):
		return withNext(err, "check the bucket's name and --endpoint")
	case errors.Is(err, context.Canceled):
		return withNext(fmt.Errorf("stopped: %w", err), "%s", again)
	case errors.Is(err, holdall.ErrUnavailable), errors.Is(err, holdall.ErrCorrupt), errors.Is(err, context.DeadlineExceeded):
		return withNext(err, "%s", again)
	}
	return err
}

func (c *cli) migratePrices() *cobra.Command {
	return &cobra.Command{
		Use:     "prices",
		Short:   "Print the default price sheet, to be copied and edited",
		Example: "  holdall migrate prices > prices.toml\n  holdall migrate assess --source s3://photos --prices prices.toml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			p, err := assess.LoadPrices("")
			if err != nil {
				return err
			}
			return c.emit(p, func(w io.Writer) { _, _ = w.Write(assess.DefaultPrices) })
		},
	}
}
