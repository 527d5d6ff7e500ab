package volume

import (
	"context"
	"fmt"

	"github.com/holdall/holdall"
)

// Seal gives the extent its footer, which lists the stripes up to last, the
// volume's last committed one, whose records end at or below end, the member's
// committed end. What lies beyond is dead. It is durable on return, and
// idempotent:
//  1. zones that the footer needs are given to the extent;
//  2. the footer is written after all that was written, or, where nothing may
//     be appended, at the start of a zone of its own; it is synced;
//  3. the extent's last zone is finished;
//  4. the superblock log notes it with its next entry: a start that does not
//     find the note finds the footer.
//
// A lower epoch than the stored one is ErrStale; another last or end than that
// of the footer which is there is ErrRefused. An extent that is not here is
// ErrNotFound, and is not made any more.
func (d *Disk) Seal(ctx context.Context, id holdall.ExtentID, epoch holdall.Epoch, last uint64, end int64) error {
	if err := d.sealable(ctx, id); err != nil {
		return err
	}
	if end < 0 || end > MaxExtentBytes || end%SectorSize != 0 {
		return fmt.Errorf("disk %v: seal %v at %d: not an offset: %w", d.ident.Disk, id, end, holdall.ErrInvalid)
	}
	if err := d.reread(ctx, id, end); err != nil {
		return err
	}
	return d.do(ctx, func() error {
		d.mu.RLock()
		e, err := d.find(id)
		d.mu.RUnlock()
		switch {
		case err != nil:
			return err
		case e.sealed && e.last == last:
			return nil
		case e.sealed:
			return fmt.Errorf("disk %v: seal %v at stripe %d: it was sealed at %d: %w", d.ident.Disk, id, last, e.last, holdall.ErrRefused)
		case e.trashed:
			return fmt.Errorf("disk %v: seal %v: it is trashed: %w", d.ident.Disk, id, holdall.ErrRefused)
		case epoch < e.epoch:
			return fmt.Errorf("disk %v: seal %v under epoch %v: it is at %v: %w", d.ident.Disk, id, epoch, e.epoch, holdall.ErrStale)
		}
		if err := d.mayWrite(); err != nil {
			return err
		}
		return d.seal(e, epoch, last, end)
	})
}

// seal does what Seal says. Only the writer calls it.
func (d *Disk) seal(e *extent, epoch holdall.Epoch, last uint64, end int64) error {
	o := e.open
	t := o.table.until(int(e.id.Member), last, end)
	h := FooterHeader{Cell: d.ident.Cell, Disk: d.ident.Disk, Extent: e.id, Offset: o.tail, Epoch: epoch, Last: last, Scheme: e.scheme,
		RecordsEnd: t.ends[e.id.Member], Count: uint32(t.count), Body: uint32(len(t.buf)), BodySum: checksum(t.buf), Running: t.running}
	if o.torn != "" {
		if err := d.finishZone(int(e.zones[len(e.zones)-1])); err != nil { // a zone whose write failed need not take this
			d.log.Warn("torn zone stays open", "extent", e.id.String(), "error", err)
		}
		h.Offset = int64(len(e.zones)) * d.zoneCap
	}
	zones, err := d.allocate(d.zonesFor(h.Offset+h.size()) - len(e.zones)) // 1
	if err != nil {
		return err
	}
	if len(zones) > 0 {
		err := d.commit(d.give(nil, e, zones)...)
		d.release(zones)
		if err != nil {
			return err
		}
	}
	zone := e.zones[h.Offset/d.zoneCap]
	h.Zone, h.Generation = zone, d.cat.generation(zone)
	if err := d.writeFooter(e, &h, t.buf); err != nil { // 2
		d.mu.Lock()
		o.torn = "the write of its footer failed"
		d.mu.Unlock()
		return err
	}
	d.finish(e) // 3
	if err := d.writable(); err != nil {
		d.mu.Lock()
		o.torn = "its footer is there, but its zone was not finished" // the tail is the footer's now
		d.mu.Unlock()
		return err
	}
	d.tables.put(e.id, t)
	d.defers(change{kind: changeSealed, extent: e.id, epoch: epoch, end: h.RecordsEnd, last: last, footer: h.Offset, footerSize: uint32(h.size())}) // 4
	d.mu.Lock()
	e.open = nil
	d.mu.Unlock()
	return nil
}

// writeFooter writes and syncs a footer.
func (d *Disk) writeFooter(e *extent, h *FooterHeader, body []byte) error {
	buf := d.cfg.Pool.Take(int(min(h.size(), 1<<20)))
	defer buf.Release()
	h.encode(buf.Bytes())
	for done, at := int64(0), SectorSize; done < h.size(); at = 0 {
		piece := buf.Bytes()[:min(h.size()-done, int64(buf.Len()))]
		n := copy(piece[at:], body)
		clear(piece[at+n:])
		body = body[n:]
		if err := d.put(e, h.Offset+done, piece, useFooter); err != nil {
			d.w.zones = d.w.zones[:0]
			return err
		}
		done += int64(len(piece))
	}
	return d.sync()
}

// Trash marks the extent as waiting to be freed. It is durable on return, and
// idempotent. It is still read.
func (d *Disk) Trash(ctx context.Context, id holdall.ExtentID) error {
	if _, err := d.indexed(ctx, id); err != nil {
		return err
	}
	return d.do(ctx, func() error {
		d.mu.RLock()
		e, err := d.find(id)
		d.mu.RUnlock()
		if err != nil || e.trashed {
			return err
		}
		if err := d.mayWrite(); err != nil {
			return err
		}
		if err := d.commit(change{kind: changeTrashed, extent: id}); err != nil {
			return err
		}
		return d.present()
	})
}

// Free gives the zones of a trashed extent back. The superblock log says so
// before they are reset; they are given again only after. An extent that is
// not here was freed before: nil. One that is not trashed is ErrRefused.
func (d *Disk) Free(ctx context.Context, id holdall.ExtentID) error {
	done := make(chan struct{})
	err := d.do(ctx, func() error {
		d.mu.RLock()
		e := d.cat.extents[id]
		d.mu.RUnlock()
		switch {
		case e == nil:
			d.w.late.add(id)
			close(done)
			return nil
		case !e.trashed:
			return fmt.Errorf("disk %v: free %v: it is not trashed: %w", d.ident.Disk, id, holdall.ErrRefused)
		}
		if err := d.mayWrite(); err != nil {
			return err
		}
		if err := d.commit(change{kind: changeFreed, extent: id}); err != nil {
			return err
		}
		d.tables.drop(id)
		d.wg.Go(func() {
			defer close(done)
			e.pins.Wait() // reads that had begun
			d.reset(e.zones)
		})
		return d.present()
	})
	if err != nil {
		return err
	}
	select {
	case <-done:
		return d.writable()
	case <-ctx.Done():
		return fmt.Errorf("disk %v: free %v: its zones are still being reset: %v: %w", d.ident.Disk, id, context.Cause(ctx), holdall.ErrUnavailable)
	}
}

// reset empties zones that are held and without an owner, and lets them go. One
// that is another extent's by its header stays held: the entries that freed it
// and gave it again are lost. When the disk stops, the rest are let go as they
// are, for a mount, or whoever gives them, empties them first.
func (d *Disk) reset(zones []uint32) {
	for i, z := range zones {
		if d.ctx.Err() != nil || d.writable() != nil {
			d.release(zones[i:])
			return
		}
		if ok, _ := d.empty(z); ok {
			d.release([]uint32{z})
		}
	}
}
