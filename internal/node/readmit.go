package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/volume"
)

// progressEvery is how often a caller is told how far a long read has come: a
// bar that moves, and few messages.
const progressEvery = 500 * time.Millisecond

// countingDevice counts the bytes that are read from a device, so that the
// progress of a long read shows while it goes on.
type countingDevice struct {
	volume.Device
	read *atomic.Int64
}

// ReadAt is the device's.
func (d countingDevice) ReadAt(zone int, off int64, buf []byte) error {
	d.read.Add(int64(len(buf)))
	return d.Device.ReadAt(zone, off, buf)
}

// ReadmitDisk answers `disk readmit`: every unsealed record is read back, then
// the disk is mounted anew and takes writes. progress is told the bytes read
// from the disk meanwhile, gets included, of those to read.
func (n *Node) ReadmitDisk(ctx context.Context, name string, progress func(done, total uint64)) (client.DiskStatus, error) {
	n.adds.Lock()
	defer n.adds.Unlock()
	facts, err := n.Disk(ctx, name)
	if err != nil {
		return client.DiskStatus{}, err
	}
	d, err := n.volumes.Disk(facts.ID)
	if err != nil {
		return client.DiskStatus{}, fmt.Errorf("readmit disk %v: it is not here (it was last at %s); put it back first: %w", facts.ID, facts.Path, holdall.ErrRefused)
	}
	sum, err := n.readBack(ctx, d, progress)
	if err != nil {
		return client.DiskStatus{}, err
	}
	progress(uint64(sum.Bytes), uint64(sum.Bytes))
	grant, err := n.store.GrantMount(ctx, facts.ID, d.Status().Incarnation, facts.Path, n.cfg.Node)
	if err == nil {
		err = d.Mount(grant.Incarnation)
	}
	if err == nil {
		err = n.store.ConfirmMount(ctx, facts.ID, grant.Incarnation)
	}
	if err == nil {
		err = n.store.SetDisk(ctx, facts.ID, holdall.DiskActive, "")
	}
	if err != nil {
		return client.DiskStatus{}, err
	}
	n.log.Info("disk readmitted", "disk", facts.ID.String(), "path", facts.Path, "records", sum.Records, "bytes", sum.Bytes)
	n.upkeep.Kick()
	return n.Disk(ctx, facts.ID.String())
}

// readBack has d read its unsealed records, and tells progress how far it is.
func (n *Node) readBack(ctx context.Context, d *volume.Disk, progress func(done, total uint64)) (sum volume.Readmission, err error) {
	total, err := unsealedBytes(ctx, d)
	if err != nil {
		return sum, errors.Join(err, ctx.Err())
	}
	read := n.readsOf(d)
	begin := read.Load()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	err = follow(tick.C, func() { progress(uint64(min(read.Load()-begin, total)), uint64(total)) }, func() (err error) {
		sum, err = d.Readmit(ctx)
		return err
	})
	return sum, err
}

// follow calls tell at each tick until work has ended, and returns its error.
func follow(tick <-chan time.Time, tell func(), work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	for {
		select {
		case err := <-done:
			return err
		case <-tick:
			tell()
		}
	}
}

// unsealedBytes returns how much there is to read back.
func unsealedBytes(ctx context.Context, d *volume.Disk) (total int64, err error) {
	extents, err := d.Extents(ctx)
	if err != nil {
		return 0, err
	}
	for _, e := range extents {
		if e.State != volume.ExtentSealed && e.State != volume.ExtentTrashed {
			total += e.End
		}
	}
	return total, nil
}

// readsOf returns what counts the bytes that are read from d.
func (n *Node) readsOf(d *volume.Disk) *atomic.Int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.slots {
		if s.disk == d {
			return &s.read
		}
	}
	return new(atomic.Int64) // on its way out: nothing is counted
}
