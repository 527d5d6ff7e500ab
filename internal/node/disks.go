package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/config"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// slot is one place where a disk is, or should be.
type slot struct {
	config.Disk // absolute path

	id      holdall.DiskID // zero: none was found here yet
	disk    *volume.Disk   // nil: not in use
	problem string         // why it is not in use, as last said
	read    atomic.Int64   // bytes read from its devices
}

// openDevice opens what lies at path as a device: a directory as one, a regular
// file or block device as an image. Errors wrap ErrDiskFailed when there is
// nothing at path.
func (n *Node) openDevice(path string, zone int64) (volume.Device, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("disk %s: there is nothing at this path; mount it or put it back: %w", path, holdall.ErrDiskFailed)
	case err != nil:
		return nil, fmt.Errorf("disk %s: %v: %w", path, err, holdall.ErrDiskFailed)
	case st.IsDir():
		return device(volume.OpenDir(path, volume.DirConfig{ZoneSize: zone, Logger: n.log}))
	}
	return device(volume.OpenBlock(path, volume.BlockConfig{ZoneSize: zone, Logger: n.log}))
}

// device keeps a nil pointer from becoming an interface that is not nil.
func device[D volume.Device](d D, err error) (volume.Device, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (n *Node) diskConfig(path string) volume.DiskConfig {
	return volume.DiskConfig{Path: path, Cell: n.cell, Pool: n.pool, Logger: n.log, Metrics: n.volumeMetrics}
}

// openSlot opens the disk at s.Path, whose zones have zone bytes.
func (n *Node) openSlot(ctx context.Context, s *slot, zone int64) (*volume.Disk, error) {
	dev, err := n.openDevice(s.Path, zone)
	if err != nil {
		return nil, permission(s.Path, err)
	}
	d, err := volume.OpenDisk(ctx, countingDevice{dev, &s.read}, n.diskConfig(s.Path))
	if err != nil {
		return nil, errors.Join(permission(s.Path, err), dev.Close())
	}
	return d, nil
}

// createDisk makes a new disk of what lies at path, which must be empty, and
// opens it. Metadata knows it before it is formatted only by its id.
func (n *Node) createDisk(ctx context.Context, s *slot) (*volume.Disk, error) {
	if err := cmp.Or(n.refuseForeign(s.Path), n.refuseOwn(s.Path), refuseContents(s.Path)); err != nil {
		return nil, err
	}
	dev, err := n.openDevice(s.Path, n.newZone)
	if err != nil {
		return nil, permission(s.Path, err)
	}
	var id holdall.DiskID
	if _, err := rand.Read(id[:]); err != nil {
		return nil, errors.Join(fmt.Errorf("disk %s: draw an id: %w", s.Path, err), dev.Close())
	}
	if err := volume.Format(dev, volume.Identity{Cell: n.cell, Disk: id, ZoneSize: n.newZone}); err != nil {
		return nil, errors.Join(fmt.Errorf("disk %s: %w", s.Path, err), dev.Close())
	}
	d, err := volume.OpenDisk(ctx, countingDevice{dev, &s.read}, n.diskConfig(s.Path))
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	return d, nil
}

// refuseForeign refuses a disk of another cell. Nobody is told to empty it.
func (n *Node) refuseForeign(path string) error {
	id, err := volume.Probe(path)
	if err != nil || id.Cell == n.cell {
		return nil // not a disk, which is told when it is opened, or one of ours
	}
	return fmt.Errorf("disk %s is disk %v of cell %v, this is cell %v; give another path, or serve that cell with --data and its own directory: %w",
		path, id.Disk, id.Cell, n.cell, holdall.ErrRefused)
}

// refuseOwn refuses a disk that is one of this cell already.
func (n *Node) refuseOwn(path string) error {
	id, err := volume.Probe(path)
	if err != nil || id.Cell != n.cell {
		return nil
	}
	return fmt.Errorf("disk %s is disk %v of this cell already; if it failed, `holdall disk readmit %v` lets it take writes again: %w", path, id.Disk, id.Disk, holdall.ErrRefused)
}

// refuseContents refuses a directory that holds anything: what lies there is
// somebody's. Images are looked at when they are formatted.
func refuseContents(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil // not a directory, or not there: opening it says so
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return fmt.Errorf("disk %s: the directory is not empty (it holds %q); empty it, or give another: %w", path, e.Name(), holdall.ErrRefused)
		}
	}
	return nil
}

// mount brings an open disk into use: metadata grants an incarnation, the disk
// writes it, metadata confirms it, and only then is anything appended. A disk
// that metadata holds for failed is only read.
func (n *Node) mount(ctx context.Context, s *slot, d *volume.Disk) error {
	id := d.Identity().Disk
	status := d.Status()
	grant, err := n.store.GrantMount(ctx, id, status.Incarnation, s.Path, n.cfg.Node)
	if err != nil {
		return err
	}
	if status.State == holdall.DiskActive && grant.State != holdall.DiskFailed {
		if err := d.Mount(grant.Incarnation); err != nil {
			return err
		}
		if err := n.store.ConfirmMount(ctx, id, grant.Incarnation); err != nil {
			return err
		}
	} else {
		n.log.Warn("disk is used for reads alone: it failed before; `holdall disk readmit` lets it take writes again", "disk", id.String(), "path", s.Path, "reason", status.Reason)
	}
	if err := n.volumes.Add(d); err != nil {
		return err
	}
	n.mu.Lock()
	s.id, s.disk, s.problem = id, d, ""
	n.mu.Unlock()
	if status.State == holdall.DiskFailed && grant.State != holdall.DiskFailed {
		return n.store.SetDisk(ctx, id, holdall.DiskFailed, status.Reason)
	}
	return nil
}

// setUp makes the disks of a new cell, or of one whose making was interrupted.
func (n *Node) setUp(ctx context.Context) error {
	rows, err := n.store.Disks()
	if err != nil {
		return err
	}
	known := map[holdall.DiskID]bool{}
	for _, r := range rows {
		known[r.ID] = true
	}
	return n.eachSlot(func(s *slot) error {
		if err := n.refuseForeign(s.Path); err != nil {
			return err
		}
		d, err := n.openSlot(ctx, s, n.newZone)
		if errors.Is(err, holdall.ErrNotFound) {
			d, err = n.createDisk(ctx, s)
		}
		if err != nil {
			return err
		}
		if !known[d.Identity().Disk] {
			err = n.store.AddDisk(ctx, n.diskRow(s, d))
		}
		if err == nil {
			err = n.mount(ctx, s, d)
		}
		if err != nil {
			return errors.Join(err, d.Close())
		}
		return nil
	})
}

func (n *Node) diskRow(s *slot, d *volume.Disk) metadata.Disk {
	status := d.Status()
	return metadata.Disk{
		ID: status.ID, Path: s.Path, Node: n.cfg.Node, Domain: s.Domain, Capacity: status.Capacity, ZoneSize: status.ZoneSize,
		State: holdall.DiskActive, Incarnation: status.Incarnation, Granted: status.Incarnation,
	}
}

// makeDiskDir makes the directory of a new disk where nothing is, inside one
// that is there.
func makeDiskDir(path string) error {
	err := os.Mkdir(path, 0o755)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("disk %s: uid %d, who runs this, may not make it: %v; make it for that user (`mkdir %s && chown %d %s`), or give another path with --disk: %w",
			path, os.Geteuid(), err, path, os.Geteuid(), path, holdall.ErrInvalid)
	case err != nil && !errors.Is(err, fs.ErrExist):
		return fmt.Errorf("disk %s: %v; make its parent directory, or give another path with --disk: %w", path, err, holdall.ErrInvalid)
	}
	return nil
}

// eachSlot calls f for every slot at once and joins the errors.
func (n *Node) eachSlot(f func(*slot) error) error {
	errs := make([]error, len(n.slots))
	var wg sync.WaitGroup
	for i, s := range n.slots {
		wg.Go(func() { errs[i] = f(s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// found is what opening a slot gave.
type found struct {
	slot *slot
	disk *volume.Disk
	err  error
}

// openAll opens every slot's disk at once. It needs no metadata, but the sizes
// of zones, which it takes from the disks themselves.
func (n *Node) openAll(ctx context.Context) []found {
	list := make([]found, len(n.slots))
	var wg sync.WaitGroup
	for i, s := range n.slots {
		wg.Go(func() {
			zone, err := n.zoneOf(s.Path)
			if err != nil {
				list[i] = found{s, nil, err}
				return
			}
			d, err := n.openSlot(ctx, s, zone)
			list[i] = found{s, d, err}
		})
	}
	wg.Wait()
	return list
}

// zoneOf returns the zone size of the disk at path: what its superblock says.
func (n *Node) zoneOf(path string) (int64, error) {
	id, err := volume.Probe(path)
	if errors.Is(err, holdall.ErrCorrupt) && n.newZone > 0 {
		return n.newZone, nil // its first zone may be damaged and its second whole: OpenDisk finds out
	}
	return id.ZoneSize, permission(path, err)
}

// slotsOf returns the places to look for disks: those configured, else the
// directories that are in the data directory by the name of disks.
func slotsOf(c *config.Config, data string, fresh bool) ([]*slot, error) {
	disks := c.Disks
	if len(disks) == 0 {
		disks = defaultDiskPaths(data)
		if !fresh {
			disks = nil
			paths, err := filepath.Glob(filepath.Join(data, defaultDiskGlob))
			if err != nil {
				return nil, err
			}
			for _, p := range paths {
				disks = append(disks, config.Disk{Path: p})
			}
		}
	}
	slots := make([]*slot, len(disks))
	for i, d := range disks {
		abs, err := filepath.Abs(d.Path)
		if err != nil {
			return nil, fmt.Errorf("disk %s: %v: %w", d.Path, err, holdall.ErrInvalid)
		}
		slots[i] = &slot{Disk: config.Disk{Path: abs, Domain: d.Domain}}
	}
	return slots, nil
}
