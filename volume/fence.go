package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
)

// Fence makes epoch the extent's, durably: every lower one is refused from then
// on, here and after a restart. Then it compares the extent with what metadata
// says is committed (the member's end and the volume's last stripe), reads back
// the last committed record, and answers with the state:
//
//   - open: the extent ends with the committed bytes; appends may go on.
//   - torn: bytes after the committed end, whole records or not. They were
//     never acknowledged. Nothing may be appended; the volume is to be sealed.
//   - corrupt: a committed record is bad or missing. What is good is kept; the
//     volume is to be sealed and repaired.
//   - sealed, trashed: as they are; no epoch is stored.
//
// A lower epoch than the stored one is ErrStale.
func (d *Disk) Fence(ctx context.Context, id holdall.ExtentID, epoch holdall.Epoch, end int64, last uint64) (ExtentInfo, error) {
	if _, err := d.indexed(ctx, id); err != nil {
		return ExtentInfo{}, err
	}
	e, open, err := d.raise(ctx, id, epoch)
	if err != nil {
		return ExtentInfo{}, err
	}
	if open {
		v, unpin, err := d.pin(ctx, id)
		if err != nil {
			return ExtentInfo{}, err
		}
		verdict, why, err := d.judge(ctx, e, v, end, last)
		unpin()
		if err != nil {
			return ExtentInfo{}, err
		}
		if err := d.do(ctx, func() error { return d.settleFence(e, epoch, verdict, why) }); err != nil {
			return ExtentInfo{}, err
		}
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if e, err = d.find(id); err != nil {
		return ExtentInfo{}, err
	}
	return d.infoLocked(e), nil
}

// raise stores epoch, and reports whether the extent is open.
func (d *Disk) raise(ctx context.Context, id holdall.ExtentID, epoch holdall.Epoch) (e *extent, open bool, err error) {
	err = d.do(ctx, func() error {
		d.mu.RLock()
		e, err = d.find(id)
		d.mu.RUnlock()
		if err != nil || e.sealed || e.trashed {
			return err
		}
		if err := d.mayWrite(); err != nil {
			return err
		}
		switch {
		case epoch < e.epoch:
			return fmt.Errorf("disk %v: fence %v to epoch %v: it is at %v: %w", d.ident.Disk, id, epoch, e.epoch, holdall.ErrStale)
		case epoch > e.epoch:
			if err := d.commit(change{kind: changeEpoch, extent: id, epoch: epoch}); err != nil {
				return err
			}
		}
		open = true
		return d.present()
	})
	return e, open, err
}

// settleFence makes the verdict the extent's state, unless it was fenced again
// meanwhile. Only the writer calls it.
func (d *Disk) settleFence(e *extent, epoch holdall.Epoch, verdict ExtentState, why string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := e.open
	switch {
	case e.epoch != epoch:
		return fmt.Errorf("disk %v: extent %v was fenced to epoch %v meanwhile: %w", d.ident.Disk, e.id, e.epoch, holdall.ErrStale)
	case e.sealed || e.trashed || o == nil:
		return nil
	}
	o.fenced, o.state = verdict == ExtentOpen, verdict
	if verdict != ExtentOpen {
		if o.torn == "" {
			o.torn = why
		}
		d.log.Warn("extent is not as metadata has it", "extent", e.id.String(), "state", verdict.String(), "reason", why)
	}
	return nil
}

// judge compares an open extent with the committed end and last stripe. Nobody
// appends to it meanwhile but under the epoch just stored. An error is of ctx
// or the disk, not of the extent.
func (d *Disk) judge(ctx context.Context, e *extent, v *view, end int64, last uint64) (ExtentState, string, error) {
	d.mu.RLock()
	o := e.open
	var torn string
	var faults []Fault
	var tail int64
	var committed stripeEntry
	var surplus bool
	found := end == 0
	if o != nil {
		torn, faults, tail = o.torn, o.faults, o.tail
		if end > 0 {
			found = o.table.at(int(v.id.Member), end-1, &committed)
		}
		surplus = o.table.ends[v.id.Member] > end
	}
	d.mu.RUnlock()
	if o == nil {
		return 0, "", fmt.Errorf("disk %v: extent %v was sealed or trashed meanwhile: %w", d.ident.Disk, v.id, holdall.ErrStale)
	}
	for _, f := range faults {
		if f.Offset < end {
			return ExtentCorrupt, fmt.Sprintf("no whole record at %d, the committed end is %d", f.Offset, end), nil
		}
	}
	if !found || v.end < end {
		return ExtentCorrupt, fmt.Sprintf("its records end at %d, the committed end is %d", v.end, end), nil
	}
	if end > 0 {
		place, recordEnd := ownPlace(v, &committed)
		if recordEnd != end || committed.number > last {
			return ExtentCorrupt, fmt.Sprintf("stripe %d ends at %d, metadata has stripe %d and %d", committed.number, recordEnd, last, end), nil
		}
		if err := d.verifyRecord(ctx, v, place.Offset); d.unread(ctx, err) {
			return 0, "", err
		} else if err != nil {
			return ExtentCorrupt, fmt.Sprintf("the last committed record, at %d: %v", place.Offset, err), nil
		}
	}
	if surplus {
		return ExtentTorn, fmt.Sprintf("whole records after the committed end %d", end), nil
	}
	if torn != "" || tail != end || len(faults) > 0 {
		return ExtentTorn, fmt.Sprintf("written up to %d, the committed end is %d; %s", tail, end, torn), nil
	}
	return ExtentOpen, "", nil
}

// ownPlace returns where the extent's own shard of e lies, and where its record
// ends.
func ownPlace(v *view, e *stripeEntry) (holdall.ShardPlace, int64) {
	p := e.shards[holdall.MemberShard(e.number, int(v.id.Member), v.scheme.N())]
	return p, p.Offset + holdall.RecordSize(p.Length)
}

// verifyRecord reads the whole record at off and checks it.
func (d *Disk) verifyRecord(ctx context.Context, v *view, off int64) error {
	k := d.newWalker(ctx, v, v.tail, useScan)
	defer k.w.close()
	k.known = true
	_, err := k.payload(off)
	return err
}

// unread says whether err left the bytes unread: the caller went away, or the
// disk did. A read that the device failed, bytes and all, is not that.
func (d *Disk) unread(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || d.ctx.Err() != nil || errors.Is(err, holdall.ErrDiskFailed))
}
