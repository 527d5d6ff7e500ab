package node

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/volume"
)

// watchEvery is how often the node looks for disks that came back. Disks that
// go are found by the volume server itself, within a second.
const watchEvery = 2 * time.Second

// diskFailure is a disk that stopped taking writes.
type diskFailure struct {
	disk   holdall.DiskID
	reason string
}

// watchDisks commits failures as they are reported, and brings disks that came
// back into use, until ctx ends.
func (n *Node) watchDisks(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	pending := map[holdall.DiskID]string{} // failures that are not committed yet
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-n.failures:
			if _, ok := pending[f.disk]; !ok {
				pending[f.disk] = f.reason
			}
		case <-tick.C:
			n.lookForReturned(ctx)
		}
		for id, reason := range pending {
			if err := n.store.SetDisk(ctx, id, holdall.DiskFailed, clip(reason)); err != nil {
				n.log.Warn("the failure of a disk could not be committed, tried again soon", "disk", id.String(), "err", err)
				continue
			}
			delete(pending, id)
			n.upkeep.Kick()
		}
	}
}

// onDiskFailed is called by the volume server, and must not wait.
func (n *Node) onDiskFailed(id holdall.DiskID, reason string) {
	select {
	case n.failures <- diskFailure{id, reason}:
	default: // full: it holds more than there are disks
	}
}

// lookForReturned tries the slots whose disk is not in use, or does not answer.
// Not while a disk is added or readmitted: what lies at a slot's path may be the
// new disk, and a look at it would make the add fail because it is in use.
func (n *Node) lookForReturned(ctx context.Context) {
	if !n.adds.TryLock() {
		return
	}
	defer n.adds.Unlock()
	status := n.diskStatus()
	n.mu.Lock()
	var away []*slot
	for _, s := range n.slots {
		if s.disk == nil || status[s.id].Gone {
			away = append(away, s)
		}
	}
	n.mu.Unlock()
	for _, s := range away {
		if _, err := os.Stat(s.Path); err != nil || ctx.Err() != nil {
			continue
		}
		if err := n.remount(ctx, s); err != nil {
			n.reportProblem(s, err)
		} else {
			n.log.Info("disk is back", "disk", s.id.String(), "path", s.Path)
			n.upkeep.Kick()
		}
	}
}

// remount opens the disk at s anew, if it is the one that belongs there.
func (n *Node) remount(ctx context.Context, s *slot) error {
	id, err := volume.Probe(s.Path)
	if err != nil {
		return err
	}
	n.mu.Lock()
	old := s.disk
	double := ""
	for _, o := range n.slots {
		if o != s && o.disk != nil && o.id == id.Disk {
			double = o.Path
		}
	}
	n.mu.Unlock()
	if double != "" {
		return errDouble(s.Path, id.Disk, double)
	}
	if old != nil {
		// Its handles are of something that is no longer at the path.
		n.mu.Lock()
		s.disk = nil
		n.mu.Unlock()
		if err := n.volumes.Remove(s.id); err != nil {
			return err
		}
	}
	d, err := n.openSlot(ctx, s, id.ZoneSize)
	if err != nil {
		return err
	}
	if err := n.mount(ctx, s, d); err != nil {
		return errors.Join(err, d.Close())
	}
	return nil
}

// reportProblem logs why a disk cannot be used, once for each reason.
func (n *Node) reportProblem(s *slot, err error) {
	why := explainMissing(err)
	n.mu.Lock()
	known := s.problem == why
	s.problem = why
	n.mu.Unlock()
	if !known {
		n.log.Error("disk cannot be used", "path", s.Path, "reason", why, "err", err)
	}
}
