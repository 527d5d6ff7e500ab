package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/config"
	"github.com/holdall/holdall/migration/assess"
	"github.com/holdall/holdall/migration/catalogue"
	"github.com/holdall/holdall/migration/pace"
	"github.com/holdall/holdall/migration/source"
)

// assessment is one run of `migrate assess`.
type assessment struct {
	c    *cli
	from sourceFlags

	inventory, schema         string
	catalogue, report, prices string
	bandwidth, requests       string
	walkers                   int
	versions, dryRun          bool

	cfg   source.Config
	rate  int64 // bytes a second; 0 = not given
	sheet *assess.Prices
	files *assess.Inventory // nil = by listing
}

const assessLong = `Lists a bucket into a SQLite file that anyone can query, and writes one HTML page:
what is there, what keeping and moving it costs, what it would take on Holdall.

It only reads the bucket. A run that was stopped or killed goes on where it was
when the same command is given again. With --inventory the listing comes from S3
Inventory files on this machine, and no server is asked.

Credentials are never arguments: they come from where the AWS tools find them
(environment, ~/.aws, the machine's role).`

func (c *cli) migrateAssess() *cobra.Command {
	a := &assessment{c: c}
	cmd := &cobra.Command{
		Use:   "assess",
		Short: "Find out what is in a bucket, what it costs, and what moving it means",
		Long:  assessLong,
		Example: "  holdall migrate assess --source s3://photos\n" +
			"  holdall migrate assess --source s3://photos/2024/ --endpoint https://s3.example.com --prices ours.toml\n" +
			"  holdall migrate assess --source s3://photos --inventory inventory/manifest.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd.Context()) },
	}
	a.from.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&a.inventory, "inventory", "", "manifest.json of an S3 Inventory with its files beside it, or one CSV file (.gz too)")
	flags.StringVar(&a.schema, "inventory-schema", "", "columns of a CSV file without manifest (default \""+assess.DefaultSchema+"\")")
	flags.StringVar(&a.catalogue, "catalogue", "", "SQLite file to fill (default BUCKET.sqlite)")
	flags.StringVar(&a.report, "report", "", "HTML file to write (default BUCKET.html)")
	flags.StringVar(&a.prices, "prices", "", "price sheet (default the built-in one: holdall migrate prices)")
	flags.StringVar(&a.bandwidth, "bandwidth", "", "bytes a second that the copy would have, as 1.25GB (default: times at some usual ones)")
	flags.StringVar(&a.requests, "requests", "none", "requests a second at most, as 200, or by hour: 08-18=50,else=none")
	flags.IntVar(&a.walkers, "walkers", 0, "listings at once, at most 64 (default 32)")
	flags.BoolVar(&a.versions, "versions", true, "list old versions and delete markers where the bucket keeps them")
	flags.BoolVar(&a.dryRun, "dry-run", false, "say what would be done; write nothing")
	return cmd
}

// prepare checks everything that can be wrong before anything is asked or written.
func (a *assessment) prepare() (err error) {
	if a.cfg, err = a.from.config(); err != nil {
		return err
	}
	if a.sheet, err = assess.LoadPrices(a.prices); err != nil {
		return withNext(err, "holdall migrate prices prints a sheet to begin with")
	}
	if a.bandwidth != "" {
		if a.rate, err = config.ParseSize(a.bandwidth); err != nil || a.rate == 0 {
			return fmt.Errorf("--bandwidth %q: want bytes a second, as in 1.25GB: %w", a.bandwidth, holdall.ErrInvalid)
		}
	}
	limits := pace.NoLimits()
	if limits.Requests, err = pace.ParseSchedule(a.requests, parseCount); err != nil {
		return fmt.Errorf("--requests: %w", err)
	}
	a.cfg.Budget = pace.NewBudget(limits, pace.Prices{}, pace.Spent{})
	if a.walkers < 0 {
		return fmt.Errorf("--walkers %d: want 1 to 64: %w", a.walkers, holdall.ErrInvalid)
	}
	if a.inventory != "" {
		if a.files, err = assess.OpenInventory(a.inventory, a.schema); err != nil {
			return err
		}
		if b := a.files.Bucket; b != "" && b != a.cfg.Bucket {
			return fmt.Errorf("the inventory is of the bucket %q, --source is %q: %w", b, a.cfg.Bucket, holdall.ErrInvalid)
		}
	}
	a.catalogue, a.report = or(a.catalogue, a.cfg.Bucket+".sqlite"), or(a.report, a.cfg.Bucket+".html")
	return nil
}

func parseCount(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }

// assessFacts is what `migrate assess` prints.
type assessFacts struct {
	*assess.Summary
	Catalogue string `json:"catalogue"`
	Report    string `json:"report"`
}

func (a *assessment) run(ctx context.Context) error {
	if err := a.prepare(); err != nil {
		return err
	}
	if a.dryRun {
		return a.dry(ctx)
	}
	identity := map[string]string{catalogue.FactBucket: a.cfg.Bucket, catalogue.FactPrefix: a.cfg.Prefix, catalogue.FactEndpoint: a.cfg.Endpoint, catalogue.FactSource: a.means()}
	cat, err := catalogue.Create(ctx, a.catalogue, identity)
	if err != nil {
		return withNext(err, "give another file with --catalogue, or remove this one to list anew")
	}
	s, err := a.fill(ctx, cat)
	if err = errors.Join(err, cat.Close()); err != nil {
		return sourceNext(err, "give the same command again: it goes on where it was")
	}
	var page bytes.Buffer
	if err := assess.Render(&page, s); err != nil {
		return err
	}
	if err := writeFile(a.report, &page); err != nil {
		return err
	}
	return a.c.emit(assessFacts{s, a.catalogue, a.report}, func(w io.Writer) { a.print(w, s) })
}

func (a *assessment) means() string {
	if a.files != nil {
		return "inventory"
	}
	return "listing"
}

// fill fills the catalogue and adds it up.
func (a *assessment) fill(ctx context.Context, cat *catalogue.Catalogue) (*assess.Summary, error) {
	bar := a.c.progress(a.means(), "objects", 0)
	f := &assess.Filling{Walkers: a.walkers, Versions: a.versions, Now: time.Now, Progress: func(p assess.Progress) { bar.set(p.Rows, p.Total) }}
	var err error
	if a.files != nil {
		err = f.FillInventory(ctx, cat, a.files)
	} else if f.Source, err = source.Open(ctx, a.cfg); err == nil {
		err = f.Fill(ctx, cat)
	}
	bar.finish()
	if err != nil {
		return nil, err
	}
	return assess.Summarize(ctx, cat, a.sheet, a.rate, time.Now())
}

// dryFacts is what `migrate assess --dry-run` prints.
type dryFacts struct {
	Bucket     string `json:"bucket"`
	By         string `json:"by"`
	Versioning string `json:"versioning"`
	Catalogue  string `json:"catalogue"`
	Exists     bool   `json:"catalogue_exists"`
	Report     string `json:"report"`
	First      string `json:"first_key"`
}

// dry asks the source a little and writes nothing.
func (a *assessment) dry(ctx context.Context) error {
	d := dryFacts{Bucket: a.cfg.Bucket, By: a.means(), Catalogue: a.catalogue, Report: a.report}
	_, err := os.Stat(a.catalogue)
	d.Exists = err == nil
	if a.files == nil {
		src, err := source.Open(ctx, a.cfg)
		if err != nil {
			return err
		}
		again := "try again"
		page, err := src.List(ctx, source.ListRequest{Most: 1})
		if err != nil {
			return sourceNext(err, again)
		}
		if len(page.Entries) > 0 {
			d.First = page.Entries[0].Key
		}
		if d.Versioning, err = src.Versioning(ctx); err != nil && !errors.Is(err, source.ErrDenied) {
			return sourceNext(err, again)
		}
	}
	return a.c.emit(d, func(w io.Writer) {
		fmt.Fprintf(w, "would read s3://%s by %s, and write %s and %s\n", d.Bucket, d.By, d.Catalogue, d.Report)
		if d.Exists {
			fmt.Fprintf(w, "%s is there already: what it has is kept, and the listing goes on from there\n", d.Catalogue)
		}
		if a.files == nil {
			facts(w, "versions", or(d.Versioning, "never kept"), "first key", fmt.Sprintf("%.200q", d.First))
		}
	})
}

// print is the short form of the report.
func (a *assessment) print(w io.Writer, s *assess.Summary) {
	old, uploads, traps, even := "", "", "", "never, at these prices"
	if s.Old.Objects+s.Markers > 0 {
		old = fmt.Sprintf("%s of %s, %s delete markers", count(s.Old.Objects), bytesText(s.Old.Bytes), count(s.Markers))
	}
	if s.Uploads.Objects > 0 {
		uploads = fmt.Sprintf("%s of %s, paid for and not listed", count(s.Uploads.Objects), bytesText(s.Uploads.Bytes))
	}
	if s.TrapKeys > 0 {
		traps = fmt.Sprintf("%s keys that usual tools fail on: holdall migrate audit tool-traps --catalogue %s", count(s.TrapKeys), a.catalogue)
	}
	if s.Cost.Months >= 0 {
		even = fmt.Sprintf("after %.1f months", s.Cost.Months)
	}
	money := func(f float64) string { return assess.Money(f) + " " + s.Cost.Currency }
	facts(w, "objects", fmt.Sprintf("%s of %s, mean %s, largest %s", count(s.Current.Objects), bytesText(s.Current.Bytes), bytesText(s.Mean), bytesText(s.Largest)),
		"old versions", old, "unfinished", uploads, "odd keys", traps,
		"S3 a month", money(s.Cost.S3Total), "moving it out", money(s.Cost.MoveTotal),
		"on Holdall", fmt.Sprintf("%s of disk, %s", bytesText(s.Footprint.Disk), s.Footprint.Scheme),
		"even", even, "prices", s.Cost.Where+", as of "+s.Cost.AsOf, "catalogue", a.catalogue, "report", a.report)
}
