package node

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/config"
)

// Disks answers `disk ls`.
func (n *Node) Disks(context.Context) ([]client.DiskStatus, error) {
	disks, err := n.diskRows()
	if err != nil {
		return nil, err
	}
	extents := map[holdall.DiskID]int{}
	for v, err := range n.store.AllVolumes() {
		if err != nil {
			return nil, err
		}
		for m := range v.Members {
			if !v.Members[m].Freed {
				extents[v.Members[m].Disk]++
			}
		}
	}
	list := make([]client.DiskStatus, len(disks))
	for i := range disks {
		list[i] = disks[i].facts(extents[disks[i].row.ID])
	}
	return list, nil
}

// Disk answers `disk show`: name is an id, or a path.
func (n *Node) Disk(ctx context.Context, name string) (client.DiskStatus, error) {
	list, err := n.Disks(ctx)
	if err != nil {
		return client.DiskStatus{}, err
	}
	path, _ := filepath.Abs(name) // an error leaves "", which no disk has
	for _, d := range list {
		if d.ID.String() == name || d.Path == name || d.Path == path || filepath.Base(d.Path) == name {
			return d, nil
		}
	}
	return client.DiskStatus{}, fmt.Errorf("disk %q: no disk of the cell has this id or path: %w", name, holdall.ErrNotFound)
}

// AddDisk answers `disk add`.
func (n *Node) AddDisk(ctx context.Context, path, domain string) (client.DiskStatus, error) {
	n.adds.Lock()
	defer n.adds.Unlock()
	abs, err := filepath.Abs(path)
	if err != nil {
		return client.DiskStatus{}, fmt.Errorf("disk %s: %v: %w", path, err, holdall.ErrInvalid)
	}
	if len(n.volumes.Status()) >= holdall.MaxDisksPerProcess {
		return client.DiskStatus{}, fmt.Errorf("disk %s: this process has %d disks, the most it may serve: %w", abs, holdall.MaxDisksPerProcess, holdall.ErrExhausted)
	}
	spec := config.Disk{Path: abs, Domain: domain}
	if _, err := config.ParseDisk(spec.String()); err != nil {
		return client.DiskStatus{}, err
	}
	s := &slot{Disk: spec}
	d, err := n.createDisk(ctx, s)
	if err != nil {
		return client.DiskStatus{}, err
	}
	if err := n.store.AddDisk(ctx, n.diskRow(s, d)); err != nil {
		return client.DiskStatus{}, errors.Join(err, d.Close())
	}
	if err := n.mount(ctx, s, d); err != nil {
		return client.DiskStatus{}, errors.Join(err, d.Close())
	}
	n.mu.Lock()
	n.slots = append(slotsWithout(n.slots, abs), s)
	n.mu.Unlock()
	n.log.Info("disk added", "disk", s.id.String(), "path", abs, "domain", domain)
	return n.Disk(ctx, s.id.String())
}

// slotsWithout leaves out the slot at path whose disk is not in use: a new disk
// has taken its place.
func slotsWithout(slots []*slot, path string) []*slot {
	kept := slots[:0:0]
	for _, s := range slots {
		if s.Path != path || s.disk != nil {
			kept = append(kept, s)
		}
	}
	return kept
}

// Volumes answers `volume ls`, a page at a time.
func (n *Node) Volumes(_ context.Context, after holdall.VolumeID, limit int) ([]client.VolumeStatus, error) {
	var list []client.VolumeStatus
	for v, err := range n.store.AllVolumes() {
		if err != nil {
			return nil, err
		}
		if v.ID > after {
			list = append(list, volumeFacts(&v, nil))
		}
		if len(list) == limit {
			break
		}
	}
	return list, nil
}

// Volume answers `volume show`.
func (n *Node) Volume(_ context.Context, id holdall.VolumeID) (client.VolumeStatus, error) {
	v, err := n.store.Volume(id)
	if err != nil {
		return client.VolumeStatus{}, err
	}
	disks, err := n.diskRows()
	if err != nil {
		return client.VolumeStatus{}, err
	}
	byID := make(map[holdall.DiskID]*diskState, len(disks))
	for i := range disks {
		byID[disks[i].row.ID] = &disks[i]
	}
	return volumeFacts(&v, byID), nil
}

// SealVolumes answers `volume seal`.
func (n *Node) SealVolumes(ctx context.Context, ids []holdall.VolumeID) ([]holdall.VolumeID, error) {
	sealed, err := n.gateway.SealVolumes(ctx, ids)
	n.upkeep.Kick()
	return sealed, err
}

// BackupMetadata answers `metadata backup`: it takes a backup beside the
// metadata, where its files are hard links, streams it, and removes it.
func (n *Node) BackupMetadata(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp(n.dir.path, "backup-*")
	if err != nil {
		return fmt.Errorf("backup: %v: %w", err, holdall.ErrUnavailable)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if _, err := n.store.Backup(ctx, dir); err != nil {
		return err
	}
	t := tar.NewWriter(w)
	return errors.Join(t.AddFS(os.DirFS(dir)), t.Close())
}

// DumpMetadata answers `metadata dump`.
func (n *Node) DumpMetadata(ctx context.Context, w io.Writer) error { return n.store.Dump(ctx, w) }

// ReleaseMetadata answers `metadata release`.
func (n *Node) ReleaseMetadata(ctx context.Context) error {
	n.log.Warn("quarantine ended by an operator")
	if err := n.store.ReleaseQuarantine(ctx); err != nil {
		return err
	}
	n.upkeep.Kick()
	return nil
}
