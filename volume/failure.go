package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// writable says why the disk takes no writes, or returns nil.
func (d *Disk) writable() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.failure != "" {
		return fmt.Errorf("disk %v takes no writes: %s: %w", d.ident.Disk, d.failure, holdall.ErrDiskFailed)
	}
	return nil
}

// mayWrite is writable for what only a mounted disk does.
func (d *Disk) mayWrite() error {
	if err := d.writable(); err != nil {
		return err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !d.mounted {
		return fmt.Errorf("disk %v: not mounted: %w", d.ident.Disk, holdall.ErrRefused)
	}
	return nil
}

func (d *Disk) closedError() error {
	return fmt.Errorf("disk %v: closed: %w", d.ident.Disk, holdall.ErrUnavailable)
}

// broken stops writes because of err, which a write, a reset or a sync gave,
// and returns what to answer. A device that ran out of space has not failed.
func (d *Disk) broken(err error) error {
	if errors.Is(err, holdall.ErrDiskFull) {
		return err
	}
	d.fail(err.Error())
	return fmt.Errorf("%v: %w", err, holdall.ErrDiskFailed)
}

// fail stops writes, for good: what failed is not tried again, here or after a
// restart, until Readmit. Only the first reason counts.
func (d *Disk) fail(reason string) {
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	d.mu.Lock()
	if d.failure != "" {
		d.mu.Unlock()
		return
	}
	d.failure = reason
	d.mu.Unlock()
	d.m.active.Set(0)
	d.log.Error("disk takes no more writes", "reason", reason)
	d.report()
	d.queue.put(&request{run: d.persistFailure, done: make(chan struct{}, 1)})
}

// report calls the hook of the disk's server, once, if the disk has failed.
func (d *Disk) report() {
	d.mu.Lock()
	hook, reason := d.hook, d.failure
	due := hook != nil && reason != "" && !d.hooked
	d.hooked = d.hooked || due
	d.mu.Unlock()
	if due {
		d.spawn(func() { hook(d.ident.Disk, reason) })
	}
}

// onFailed has hook called, once, when the disk stops taking writes, or now if
// it already has.
func (d *Disk) onFailed(hook func(holdall.DiskID, string)) {
	d.mu.Lock()
	d.hook = hook
	d.mu.Unlock()
	d.report()
}

// persistFailure notes in the superblock log, where that still writes, that the
// disk failed. A disk whose mount was not granted may be another process's, or a
// copy: it is not written to. Only the writer calls it.
func (d *Disk) persistFailure() error {
	d.mu.RLock()
	reason := d.failure
	d.mu.RUnlock()
	if reason == "" || d.cat.state == holdall.DiskFailed || !d.w.granted {
		return nil
	}
	if err := d.dev.Check(); err != nil {
		return err // what is there is not ours to write to
	}
	err := d.commit(change{kind: changeState, state: holdall.DiskFailed, reason: reason})
	if err != nil {
		d.log.Warn("disk failure is not in the superblock log", "error", err)
	}
	return err
}

// present checks that the device is still the one that was opened. Only the
// writer calls it, before it answers.
func (d *Disk) present() error {
	if err := d.dev.Check(); err != nil {
		d.gone.Store(true)
		return d.broken(fmt.Errorf("disk %v: %w", d.ident.Disk, err))
	}
	return nil
}

// watch checks the device while nobody writes: open handles hide that a
// directory was renamed or removed. A device that comes back is read again; it
// takes no writes until it is readmitted.
func (d *Disk) watch() {
	tick := time.NewTicker(d.cfg.CheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-tick.C:
		}
		err := d.dev.Check()
		switch was := d.gone.Swap(err != nil); {
		case err != nil:
			d.fail(err.Error())
		case was:
			d.log.Info("disk is back; it is read, and takes no writes until readmitted")
			d.queue.put(&request{run: d.persistFailure, done: make(chan struct{}, 1)})
		}
	}
}

// Readmission is what Readmit read back.
type Readmission struct {
	Records int
	Bytes   int64
	Faults  []Fault
}

// Readmit lets a disk that failed take writes again:
//  1. the device is checked to be there;
//  2. every unsealed record is read back from the medium, for what an earlier
//     sync was said to have made durable may not be;
//  3. the state is made durable.
//
// Bad records that whole ones follow, or reads that fail, are ErrRefused, with
// the places; the disk stays failed. An extent must be fenced before it is
// appended to again, and one that a write failed in takes none.
func (d *Disk) Readmit(ctx context.Context) (Readmission, error) {
	var sum Readmission
	if d.mayWrite() == nil {
		return sum, nil
	}
	if err := d.dev.Check(); err != nil { // 1
		return sum, fmt.Errorf("readmit disk %v: %v: %w", d.ident.Disk, err, holdall.ErrDiskFailed)
	}
	d.mu.RLock()
	list := d.cat.sorted()
	d.mu.RUnlock()
	for _, e := range list { // 2
		d.mu.RLock()
		skip := e.sealed || e.trashed
		d.mu.RUnlock()
		if skip {
			continue
		}
		v, unpin, err := d.pin(ctx, e.id)
		if err != nil {
			return sum, err
		}
		err = d.scan(ctx, v, func(r Record) error {
			sum.Records++
			sum.Bytes += int64(len(r.Payload))
			return nil
		}, func(f Fault) error {
			sum.Faults = append(sum.Faults, f)
			return nil
		})
		unpin()
		if err != nil {
			return sum, err
		}
	}
	if len(sum.Faults) > 0 {
		return sum, fmt.Errorf("readmit disk %v: %d unsealed records cannot be read back, the first: %v: %w", d.ident.Disk, len(sum.Faults), &sum.Faults[0], holdall.ErrRefused)
	}
	if d.writable() == nil { // not mounted: only metadata has it as failed
		return sum, nil
	}
	return sum, d.do(ctx, d.readmit) // 3
}

// readmit makes the disk active. Only the writer calls it.
func (d *Disk) readmit() error {
	d.w.super.bad = [superZones]bool{}
	d.w.super.due = true
	active := change{kind: changeState, state: holdall.DiskActive}
	if err := d.w.super.commit(d.cat, append(d.w.deferred, active)); err != nil {
		return fmt.Errorf("%v: %w", err, holdall.ErrDiskFailed)
	}
	d.w.deferred = d.w.deferred[:0]
	d.mu.Lock()
	d.applyLocked(&active)
	d.failure, d.hooked = "", false
	for _, e := range d.cat.extents {
		if e.open != nil {
			e.open.fenced = false
		}
	}
	d.mu.Unlock()
	d.m.active.Set(1)
	d.log.Info("disk readmitted")
	return nil
}
