package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/config"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// openCell opens metadata and disks, or makes them on the first start. Metadata
// and disks are opened at the same time.
func (n *Node) openCell(ctx context.Context, b config.Budgets) error {
	marked, complete, err := n.dir.cell()
	if err != nil {
		return err
	}
	if err := n.dir.mayRead(); err != nil {
		return err
	}
	fresh := !complete && !n.dir.hasMetadata()
	if n.slots, err = slotsOf(n.cfg, n.dir.path, !complete); err != nil {
		return err
	}
	if err := n.refuseBootstrap(complete, fresh, marked); err != nil {
		return err
	}
	n.startVolumes()
	if !complete {
		return n.firstStart(ctx, b)
	}
	n.cell = marked
	disks := make(chan []found, 1)
	go func() { disks <- n.openAll(ctx) }()
	err = n.openStore(ctx, b, false)
	list := <-disks
	if err != nil {
		return errors.Join(err, closeFound(list))
	}
	if err := n.mountAll(ctx, list); err != nil {
		return err
	}
	return n.settings(ctx)
}

func closeFound(list []found) error {
	var errs []error
	for _, f := range list {
		if f.disk != nil {
			errs = append(errs, f.disk.Close())
		}
	}
	return errors.Join(errs...)
}

// refuseBootstrap refuses to make a cell where there was one: bootstrap is a
// one-time act, and a second cell over the disks of the first would orphan its
// blocks.
func (n *Node) refuseBootstrap(complete, fresh bool, marked holdall.CellID) error {
	if complete && !n.dir.hasMetadata() {
		return fmt.Errorf("data directory %s belongs to cell %v, whose metadata (%s) is missing; put it back, or make it again from the disks with `holdall metadata rebuild --from-disks --data %s`: %w",
			n.dir.path, marked, n.dir.metadata(), n.dir.path, holdall.ErrRefused)
	}
	if !fresh {
		return nil
	}
	return n.eachSlot(func(s *slot) error {
		id, err := volume.Probe(s.Path)
		if errors.Is(err, holdall.ErrRefused) {
			return err
		}
		if err != nil {
			return nil // nothing is there, or what is there is refused when it is formatted
		}
		return fmt.Errorf("disk %s is disk %v of cell %v, and %s holds no metadata of it; give --data the directory of that cell, or rebuild its metadata with `holdall metadata rebuild --from-disks`: %w",
			s.Path, id.Disk, id.Cell, n.dir.path, holdall.ErrRefused)
	})
}

func (n *Node) startVolumes() {
	n.volumeMetrics = volume.NewMetrics(n.registry)
	n.volumes = volume.NewServer(volume.ServerConfig{OnDiskFailed: n.onDiskFailed})
}

func (n *Node) openStore(ctx context.Context, b config.Budgets, bootstrap bool) (err error) {
	n.store, err = metadata.Open(ctx, metadata.Config{
		Dir: n.dir.metadata(), NodeID: n.cfg.Node, Bootstrap: bootstrap, Logger: n.log, Registerer: n.registry, CacheBytes: b.Pebble,
		OnFatal: func(err error) { n.failOn(fmt.Errorf("metadata cannot go on: %w", err)) },
	})
	if err != nil {
		return fmt.Errorf("metadata in %s: %w", n.dir.metadata(), permission(n.dir.path, err))
	}
	c, err := n.store.Cell()
	if err != nil {
		return err
	}
	if n.cell == (holdall.CellID{}) {
		n.cell = c.ID
	}
	if c.ID != n.cell {
		return fmt.Errorf("data directory %s is of cell %v, its metadata of cell %v; put the right metadata back: %w", n.dir.path, n.cell, c.ID, holdall.ErrRefused)
	}
	return nil
}

// firstStart makes a cell: metadata, disks, and last the marker that says that
// all of it is there.
func (n *Node) firstStart(ctx context.Context, b config.Budgets) error {
	disks := make([]config.Disk, len(n.slots))
	for i, s := range n.slots {
		disks[i] = s.Disk
	}
	var err error
	if n.scheme, err = chooseScheme(n.cfg.Scheme, disks, n.cfg.Domain); err != nil {
		return err
	}
	if err := n.eachSlot(n.mayUse); err != nil {
		return err
	}
	if err := n.openStore(ctx, b, true); err != nil {
		return err
	}
	if err := n.setUp(ctx); err != nil {
		return err
	}
	if err := n.settings(ctx); err != nil {
		return err
	}
	n.log.Info("made a new cell", "cell", n.cell.String(), "data", n.dir.path, "disks", len(disks))
	return n.dir.setCell(n.cell)
}

// settings brings what is configured into metadata, and decides the scheme of
// new volumes.
func (n *Node) settings(ctx context.Context) error {
	space, err := n.store.Namespace(holdall.DefaultNamespaceName)
	if err != nil {
		return err
	}
	if space.Retention != n.cfg.Retention {
		if err := n.store.SetRetention(ctx, holdall.DefaultNamespace, n.cfg.Retention); err != nil {
			return err
		}
	}
	rows, err := n.store.Disks()
	if err != nil {
		return err
	}
	var disks []config.Disk
	for _, r := range rows {
		if r.State != holdall.DiskRemoved {
			disks = append(disks, config.Disk{Path: r.ID.String(), Domain: r.Domain})
		}
	}
	if n.scheme, err = chooseScheme(n.cfg.Scheme, disks, n.cfg.Domain); err != nil {
		return err
	}
	if n.cfg.Scheme == (holdall.Scheme{}) && n.scheme != holdall.DefaultScheme {
		n.log.Warn("new volumes are narrower than the default because there are few domains", "scheme", n.scheme.String(), "default", holdall.DefaultScheme.String(), "disks", len(disks), "domain", n.cfg.Domain)
	}
	if n.cfg.Retention == 0 {
		n.log.Warn("retention is 0: deleted blocks are purged at once and cannot be undeleted; this is for tests")
	}
	if n.cfg.FreeHold == 0 {
		n.log.Warn("free hold is 0: the zones of freed volumes are reset at once; this is for tests")
	}
	return nil
}
