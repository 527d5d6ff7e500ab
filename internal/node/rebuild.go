package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/config"
	"github.com/holdall/holdall/internal/upkeep"
	"github.com/holdall/holdall/metadata"
)

// RebuildOptions says how metadata is rebuilt.
type RebuildOptions struct {
	Logger         *slog.Logger                       // nil = slog.Default()
	List           io.Writer                          // gets a JSON line for each thing that could not be put where it was
	Progress       func(step string, done, total int) // nil: not told
	WithoutMissing bool                               // go on without the disks that are not there: they can never come back
}

// RebuildMetadata makes the metadata of a cell anew from its disks alone. No
// server may run on the data directory, which must hold no metadata. The disks
// are only read. The cell is in quarantine afterwards. A disk that is not there,
// or there twice, is ErrRefused unless o says to go on without it.
func RebuildMetadata(ctx context.Context, cfg *config.Config, o RebuildOptions) (upkeep.Report, metadata.Cell, error) {
	n := offline(cfg, o.Logger)
	report, cell, err := n.rebuild(ctx, o)
	return report, cell, errors.Join(err, n.stop(context.WithoutCancel(ctx)))
}

// offline is a Node that only opens disks.
func offline(cfg *config.Config, log *slog.Logger) *Node {
	if log == nil {
		log = slog.Default()
	}
	n := &Node{
		cfg: cfg, log: log, registry: prometheus.NewRegistry(), newZone: zoneSize(cfg), pool: buffer.NewPool(cfg.Split().InFlight), started: time.Now(),
		failures: make(chan diskFailure, 2*holdall.MaxDisksPerProcess), fatal: make(chan error, 1),
	}
	n.startVolumes()
	return n
}

func (n *Node) rebuild(ctx context.Context, o RebuildOptions) (report upkeep.Report, cell metadata.Cell, err error) {
	if n.dir, err = LockDataDir(n.cfg.Data, len(n.cfg.Disks) > 0); err != nil {
		return report, cell, err
	}
	if n.dir.hasMetadata() {
		return report, cell, fmt.Errorf("%s holds metadata, which a rebuild would replace; move it away first if it is lost for good (mv %s %s.old): %w",
			n.dir.metadata(), n.dir.metadata(), n.dir.metadata(), holdall.ErrRefused)
	}
	marked, complete, err := n.dir.cell()
	if err != nil {
		return report, cell, err
	}
	if complete {
		n.cell = marked
	}
	disks, left, err := n.openOffline(ctx)
	if err == nil {
		err = o.refuseMissing(left)
	}
	if err != nil {
		return report, cell, err
	}
	step := func(name string) func(done, total int) {
		return func(done, total int) {
			if o.Progress != nil {
				o.Progress(name, done, total)
			}
		}
	}
	survey, err := upkeep.Look(ctx, n.volumes, n.cell, n.pool, step("reading volumes"))
	if err == nil {
		err = o.refuseMissing(survey.Missing())
	}
	if err != nil {
		return report, cell, err
	}
	survey.Problems = slices.Concat(left, survey.Problems)
	loader, err := metadata.NewRebuilder(
		metadata.Config{Dir: n.dir.metadata(), NodeID: n.cfg.Node, Logger: n.log, CacheBytes: n.cfg.Split().Pebble},
		metadata.RebuildConfig{Cell: n.cell, Incarnation: survey.Incarnation, Retention: n.cfg.Retention, Reason: "rebuilt from disks at " + time.Now().UTC().Format(time.RFC3339)})
	if err != nil {
		return report, cell, err
	}
	report, err = survey.Rebuild(ctx, loader, disks, lister(o.List), step("replaying the journal"))
	if err != nil {
		return report, cell, errors.Join(err, loader.Abort())
	}
	if cell, err = loader.Finish(); err != nil {
		return report, cell, err
	}
	return report, cell, n.dir.setCell(n.cell)
}

// maxNamed bounds how many missing things one error names.
const maxNamed = 8

// refuseMissing refuses to go on without what is missing, unless that is meant.
// The rebuilt metadata would not know those disks, and a disk that is not known
// is not taken up when it comes back.
func (o *RebuildOptions) refuseMissing(missing []string) error {
	if len(missing) == 0 || o.WithoutMissing {
		return nil
	}
	more := ""
	if n := len(missing) - maxNamed; n > 0 {
		missing, more = missing[:maxNamed], fmt.Sprintf("; and %d more", n)
	}
	return fmt.Errorf("disks are not there, and could not come back after a rebuild without them: %s%s; put every disk back, each once, or go on without them for good with --without-missing-disks: %w",
		strings.Join(missing, "; "), more, holdall.ErrRefused)
}

// lister writes what was listed as JSON lines.
func lister(w io.Writer) func(upkeep.Listed) error {
	if w == nil {
		return func(upkeep.Listed) error { return nil }
	}
	lines := json.NewEncoder(w)
	return func(l upkeep.Listed) error { return lines.Encode(l) }
}

// openOffline opens every disk that is there, for reading, and returns their
// rows, and why others were left out: those that cannot be opened and, as when
// serving, all of several that show one id.
func (n *Node) openOffline(ctx context.Context) (rows []metadata.Disk, left []string, err error) {
	if n.slots, err = slotsOf(n.cfg, n.dir.path, false); err != nil {
		return nil, nil, err
	}
	list := n.openAll(ctx)
	refuseDoubles(list)
	for _, f := range list {
		if f.err != nil {
			n.log.Warn("disk is left out", "path", f.slot.Path, "err", f.err)
			left = append(left, f.err.Error())
			continue
		}
		id := f.disk.Identity()
		if n.cell == (holdall.CellID{}) {
			n.cell = id.Cell
		}
		if id.Cell != n.cell {
			return nil, nil, errors.Join(fmt.Errorf("disk %s is of cell %v, others are of cell %v; name the disks of one cell with --disk: %w", f.slot.Path, id.Cell, n.cell, holdall.ErrRefused), closeFound(list))
		}
		if err := n.volumes.Add(f.disk); err != nil {
			return nil, nil, err
		}
		rows = append(rows, n.diskRow(f.slot, f.disk))
	}
	if len(rows) == 0 {
		return nil, nil, fmt.Errorf("no disk of a cell can be used in %s; name the disks with --disk: %w", strings.Join(append([]string{n.dir.path}, left...), "; "), holdall.ErrNotFound)
	}
	return rows, left, nil
}
