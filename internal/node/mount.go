package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/config"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// mountAll brings the disks that openAll found into use, as far as metadata
// knows them. A disk that is missing, emptied, foreign, a copy or a double is
// reported and shown as failed; it never keeps the others from serving, and is
// never made anew.
func (n *Node) mountAll(ctx context.Context, list []found) error {
	rows, err := n.store.Disks()
	if err != nil {
		return err
	}
	list = n.lookElsewhere(ctx, list, rows)
	refuseDoubles(list)
	var wg sync.WaitGroup
	for i := range list {
		if f := &list[i]; f.err == nil {
			wg.Go(func() {
				if f.err = n.mount(ctx, f.slot, f.disk); f.err != nil {
					f.err = errors.Join(f.err, f.disk.Close())
				}
			})
		}
	}
	wg.Wait()
	mounted := map[holdall.DiskID]bool{}
	for _, f := range list {
		if f.err == nil {
			mounted[f.slot.id] = true
			continue
		}
		n.reportProblem(f.slot, f.err)
	}
	return n.failMissing(ctx, rows, mounted, list)
}

// lookElsewhere adds slots for disks that metadata knows at paths where nobody
// looked: those added while the cell ran, without --disk.
func (n *Node) lookElsewhere(ctx context.Context, list []found, rows []metadata.Disk) []found {
	seen, paths := map[holdall.DiskID]bool{}, map[string]bool{}
	for _, f := range list {
		paths[f.slot.Path] = true
		if f.disk != nil {
			seen[f.disk.Identity().Disk] = true
		}
	}
	for i := range rows {
		r := &rows[i]
		if seen[r.ID] || paths[r.Path] || r.Path == "" || r.State == holdall.DiskRemoved {
			continue
		}
		s := &slot{Disk: config.Disk{Path: r.Path, Domain: r.Domain}, id: r.ID}
		n.mu.Lock()
		n.slots = append(n.slots, s)
		n.mu.Unlock()
		d, err := n.openSlot(ctx, s, r.ZoneSize)
		list = append(list, found{s, d, err})
	}
	return list
}

// refuseDoubles refuses all of several disks with one id: which of them is the
// original, nobody can know.
func refuseDoubles(list []found) {
	first := map[holdall.DiskID]*found{}
	for i := range list {
		f := &list[i]
		if f.err != nil {
			continue
		}
		id := f.disk.Identity().Disk
		other := first[id]
		if other == nil {
			first[id] = f
			continue
		}
		if other.err == nil {
			other.refuse(f.slot.Path)
		}
		f.refuse(other.slot.Path)
	}
}

func (f *found) refuse(other string) {
	f.err = errors.Join(errDouble(f.slot.Path, f.disk.Identity().Disk, other), f.disk.Close())
	f.disk = nil
}

func errDouble(path string, id holdall.DiskID, other string) error {
	return fmt.Errorf("disk %s: disk %v is at %s too: one is a copy; take the copy away and start again: %w", path, id, other, holdall.ErrRefused)
}

// failMissing shows disks that metadata knows and that are not in use as failed.
func (n *Node) failMissing(ctx context.Context, rows []metadata.Disk, mounted map[holdall.DiskID]bool, list []found) error {
	var errs []error
	for i := range rows {
		r := &rows[i]
		if mounted[r.ID] || r.State == holdall.DiskRemoved {
			continue
		}
		reason := "not found at start; it was last at " + r.Path
		for _, f := range list {
			if f.slot.Path == r.Path && f.err != nil {
				reason = explainMissing(f.err)
				f.slot.id = r.ID
			}
		}
		n.log.Error("disk of this cell is missing: its shards are rebuilt from others while it is away", "disk", r.ID.String(), "path", r.Path, "reason", reason)
		if r.State != holdall.DiskFailed {
			errs = append(errs, n.store.SetDisk(ctx, r.ID, holdall.DiskFailed, clip(reason)))
		}
	}
	return errors.Join(errs...)
}

// explainMissing says what an operator can do about a disk that could not be
// opened where it was.
func explainMissing(err error) string {
	if errors.Is(err, holdall.ErrNotFound) {
		return "what is at its path is empty or not a Holdall disk: put the old contents back, or `holdall disk add` it as a new disk"
	}
	return err.Error()
}

// clip keeps a reason within what metadata stores.
func clip(reason string) string {
	const most = 500 // bytes
	if len(reason) > most {
		return reason[:most]
	}
	return reason
}

// status returns what the volume server says of each disk that it has.
func (n *Node) diskStatus() map[holdall.DiskID]volume.DiskStatus {
	m := map[holdall.DiskID]volume.DiskStatus{}
	for _, s := range n.volumes.Status() {
		m[s.ID] = s
	}
	return m
}
