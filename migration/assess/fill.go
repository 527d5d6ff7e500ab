package assess

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/catalogue"
	"github.com/holdall/holdall/migration/source"
)

// Progress is how far filling a catalogue has come.
type Progress struct {
	Phase string // listing, inventory, uploads, adding up
	Rows  int64  // versions in the catalogue, those of runs before included
	Total int64  // an estimate; 0 = none yet
}

// Filling is how a catalogue is filled.
type Filling struct {
	Source   *source.Source // nil with an inventory
	Walkers  int            // 0 = as the source thinks best
	Versions bool           // list versions where the bucket keeps them
	Progress func(Progress) // may be nil
	Now      func() time.Time
}

func (f *Filling) report(p Progress) {
	if f.Progress != nil {
		f.Progress(p)
	}
}

// Values of the facts about versions and uploads.
const (
	unknown = "unknown: "
	never   = "never"
	listed  = "listed"
)

// Fill lists the bucket into the catalogue, from where a run before this one was.
// When it returns an error, what was listed until then is kept.
func (f *Filling) Fill(ctx context.Context, c *catalogue.Catalogue) (err error) {
	if finished, err := c.Fact(ctx, catalogue.FactFinished); err != nil || finished != "" {
		return err
	}
	defer func() { err = errors.Join(err, c.Flush()) }()
	versions, err := f.begin(ctx, c)
	if err != nil {
		return err
	}
	if err := f.list(ctx, c, versions); err != nil {
		return err
	}
	if err := f.uploads(ctx, c); err != nil {
		return err
	}
	return c.SetFact(ctx, catalogue.FactFinished, f.Now().UTC().Format(time.RFC3339))
}

// begin settles, once for all runs, whether versions are listed.
func (f *Filling) begin(ctx context.Context, c *catalogue.Catalogue) (versions bool, err error) {
	state, err := c.Fact(ctx, catalogue.FactVersioning)
	if err != nil {
		return false, err
	}
	if state == "" {
		if err := f.Source.Check(ctx); err != nil {
			return false, err
		}
		state, err = f.Source.Versioning(ctx)
		switch {
		case errors.Is(err, source.ErrDenied), errors.Is(err, holdall.ErrInvalid), errors.Is(err, holdall.ErrNotFound):
			state = unknown + "the server does not tell"
		case err != nil:
			return false, err
		case state == "":
			state = never
		case !f.Versions:
			state += ", versions not asked for"
		}
		if err := errors.Join(c.SetFact(ctx, catalogue.FactVersioning, state), c.SetFact(ctx, catalogue.FactBegan, f.Now().UTC().Format(time.RFC3339)), c.Flush()); err != nil {
			return false, err
		}
	}
	return state == "Enabled" || state == "Suspended", nil
}

// list walks the bucket. Rows and the walkers' places are kept in one batch.
func (f *Filling) list(ctx context.Context, c *catalogue.Catalogue, versions bool) error {
	ranges, err := c.Ranges(ctx)
	if err != nil {
		return err
	}
	rows, err := c.Count(ctx)
	if err != nil {
		return err
	}
	o := source.WalkOptions{Walkers: f.Walkers, Versions: versions}
	for _, r := range ranges {
		o.Ranges = append(o.Ranges, source.Range{ID: r.ID, From: source.Position{Key: r.AfterKey, Version: r.AfterVersion}, Upto: r.Upto, Done: r.Done})
	}
	return f.Source.Walk(ctx, o, func(found source.Found) error {
		for i := range found.Entries {
			if err := c.Add(ctx, catalogue.Object(found.Entries[i])); err != nil {
				return err
			}
		}
		for _, r := range found.Ranges {
			if err := c.SetRanges(ctx, catalogue.Range{ID: r.ID, AfterKey: r.From.Key, AfterVersion: r.From.Version, Upto: r.Upto, Done: r.Done}); err != nil {
				return err
			}
		}
		rows += int64(len(found.Entries))
		f.report(Progress{Phase: "listing", Rows: rows, Total: estimate(rows, found)})
		if c.Full(time.Now()) {
			return c.Flush()
		}
		return nil
	})
}

// estimate guesses how many rows there will be from the ranges that are done, once
// that means something. One that is being listed counts as half done.
func estimate(rows int64, f source.Found) int64 {
	if f.All == 0 || f.Done*10 < f.All {
		return 0
	}
	return max(rows, rows*int64(2*f.All)/int64(2*f.Done+f.Begun))
}

// uploads lists unfinished uploads. That may not be allowed, or not be known to
// the server; the report says so then.
func (f *Filling) uploads(ctx context.Context, c *catalogue.Catalogue) error {
	said := listed
	n := int64(0)
	err := f.Source.Uploads(ctx, func(u source.Upload) error {
		n++
		f.report(Progress{Phase: "uploads", Rows: n})
		return c.AddUpload(ctx, catalogue.Upload(u))
	})
	switch {
	case errors.Is(err, source.ErrDenied):
		said = unknown + "the credentials may not list them (s3:ListBucketMultipartUploads)"
	case errors.Is(err, holdall.ErrInvalid), errors.Is(err, holdall.ErrNotFound):
		said = unknown + "the server does not list them"
	case err != nil:
		return fmt.Errorf("unfinished uploads: %w", err)
	}
	return c.SetFact(ctx, catalogue.FactUploads, said)
}
