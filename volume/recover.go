package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
)

// lookahead is how far past a bad header, on a device that does not know where
// its log ends, the next whole one is looked for: two of the longest records.
const lookahead = 2 * (MaxPayload + 2*SectorSize)

// walker reads the headers of one extent.
type walker struct {
	d     *Disk
	v     *view
	w     *window
	limit int64 // where the extent's bytes end, or its zones do if the device does not know
	known bool  // the device knows
	head  RecordHeader
	foot  FooterHeader
}

// newWalker returns a walker over the extent's bytes up to limit. Close its
// window.
func (d *Disk) newWalker(ctx context.Context, v *view, limit int64, why use) *walker {
	size := readAhead
	if why == useScan {
		size = scanWindow
	}
	read := func(off int64, b []byte) error { return d.readSync(ctx, v.zones, off, b, why) }
	return &walker{d: d, v: v, limit: limit, w: newWindow(d.cfg.Pool, size, limit, read)}
}

// extentBytes asks the device where the bytes of an extent end. Nobody appends
// to it meanwhile.
func (d *Disk) extentBytes(v *view) (limit int64, known bool) {
	known = true
	for i, z := range v.zones {
		at, k := d.dev.WritePointer(int(z))
		if !k {
			known, at = false, d.ident.ZoneSize
		}
		if at > SectorSize {
			limit = int64(i)*d.zoneCap + at - SectorSize
		}
	}
	return limit, known
}

// record reads the header at off into k.head, and checks that it belongs there
// and that its whole record lies below the limit.
func (k *walker) record(off int64) error {
	b, err := k.w.at(off, SectorSize)
	if err != nil {
		return err
	}
	if err := k.head.Decode(b); err != nil {
		return err
	}
	if err := k.d.belongs(k.v, &k.head, off); err != nil {
		return err
	}
	if end := off + holdall.RecordSize(k.head.Length); end > k.limit {
		return malformed("record of stripe %d at %d is cut off at %d of %d", k.head.Number, off, k.limit, end)
	}
	return nil
}

// belongs says why h, found at off of the extent, is not of a record that was
// written there, or returns nil.
func (d *Disk) belongs(v *view, h *RecordHeader, off int64) error {
	place := off / d.zoneCap
	switch {
	case h.Cell != d.ident.Cell || h.Disk != d.ident.Disk:
		return malformed("a record of disk %v, cell %v", h.Disk, h.Cell)
	case h.Extent != v.id || h.Scheme != v.scheme:
		return malformed("a record of extent %v, %v", h.Extent, h.Scheme)
	case h.Offset != off:
		return malformed("a record that belongs at %d", h.Offset)
	case h.Zone != v.zones[place] || h.Generation != v.gens[place]:
		return malformed("a record of zone %d generation %d, this is zone %d generation %d", h.Zone, h.Generation, v.zones[place], v.gens[place])
	}
	return nil
}

// footer reads the footer at off, header and body, into k.foot. A zone that it
// begins, or runs into, must have its header, which was written with it: else
// the write was torn.
func (k *walker) footer(ctx context.Context, off int64) (*table, error) {
	b, err := k.w.at(off, SectorSize)
	if err != nil {
		return nil, err
	}
	if err := k.foot.Decode(b); err != nil {
		return nil, err
	}
	if off+k.foot.size() > k.limit {
		return nil, malformed("footer at %d is cut off at %d", off, k.limit)
	}
	t, err := k.d.readFooterBody(ctx, k.v, &k.foot, off)
	if err != nil {
		return nil, err
	}
	buf := k.d.cfg.Pool.Take(SectorSize)
	defer buf.Release()
	for place := k.d.zonesFor(off); int64(place)*k.d.zoneCap < off+k.foot.size(); place++ {
		if err := k.d.checkZoneHeader(ctx, k.v, place, buf.Bytes()); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// next returns the offset, from off, of the next whole header of the extent, or
// -1. A device that does not know where its log ends holds older bytes beyond,
// so there only the next two records' lengths and the starts of later zones are
// looked at.
func (k *walker) next(ctx context.Context, off int64) int64 {
	near := k.limit
	if !k.known {
		near = min(near, off+lookahead)
	}
	k.w.ahead = readAhead
	for ; off < near && ctx.Err() == nil; off += SectorSize {
		if k.whole(ctx, off) {
			return off
		}
	}
	for off = (off + k.d.zoneCap - 1) / k.d.zoneCap * k.d.zoneCap; off < k.limit && ctx.Err() == nil; off += k.d.zoneCap {
		if k.whole(ctx, off) {
			return off
		}
	}
	return -1
}

// whole reports whether a record or a footer of the extent begins at off.
func (k *walker) whole(ctx context.Context, off int64) bool {
	if k.record(off) == nil {
		return true
	}
	_, err := k.footer(ctx, off)
	return err == nil
}

// index is what the headers of an extent say.
type index struct {
	table  *table
	tail   int64         // where whatever was written ends
	footer *FooterHeader // its footer is there: it was sealed
	torn   string        // what lies after the last whole record; "" = nothing
	faults []Fault       // places before it without a whole record
	unread bool          // the device failed a read: what was not seen may be there
}

// buildIndex reads the headers of an extent, one after another. Where a header
// is bad it looks for the next whole one: if there is one, what lies between is
// a fault; if there is none, the extent ends before the bad one. Whether that
// end is a torn write or a lost record only metadata can tell: see Fence.
func (d *Disk) buildIndex(ctx context.Context, v *view, limit int64, known bool) (*index, error) {
	k := d.newWalker(ctx, v, limit, useIndex)
	defer k.w.close()
	k.known = known
	x := &index{table: newTable(v.scheme.N()), tail: limit}
	off := int64(0)
	for off < limit {
		err := k.record(off)
		if err == nil {
			err = x.table.fits(k.head.Number, k.head.Epoch, k.head.Shards[:v.scheme.N()])
		}
		if err == nil {
			x.table.add(k.head.Number, k.head.Epoch, k.head.Shards[:v.scheme.N()], k.head.Sum)
			off += holdall.RecordSize(k.head.Length)
			k.w.ahead = readAhead
			if k.head.Length > readAhead/2 { // the next header is not in what a longer read would bring
				k.w.ahead = SectorSize
			}
			continue
		}
		if t, err := k.footer(ctx, off); err == nil {
			foot := k.foot
			x.table, x.footer, x.tail = t, &foot, off+foot.size()
			return x, nil
		}
		x.unread = x.unread || errors.Is(err, holdall.ErrUnavailable) || errors.Is(err, holdall.ErrDiskFailed)
		next := k.next(ctx, off+SectorSize)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if next < 0 {
			if known {
				x.torn = fmt.Sprintf("bytes from %d to %d hold no whole record: %v", off, limit, err)
			}
			break
		}
		x.faults = append(x.faults, d.fault(v, off, next-off, err))
		off = next
	}
	if !known {
		x.tail = off
	}
	if x.torn == "" && off < limit && known {
		x.torn = fmt.Sprintf("bytes after %d", off)
	}
	return x, nil
}

func (d *Disk) fault(v *view, off, length int64, err error) Fault {
	zone := 0
	if place := int(off / d.zoneCap); place < len(v.zones) {
		zone = int(v.zones[place])
	}
	d.m.faults.Inc()
	return Fault{Disk: d.ident.Disk, Extent: v.id, Zone: zone, Offset: off, Length: length, Err: err}
}

// indexInBackground finds the records of an extent that was open when the disk
// stopped, and publishes them.
func (d *Disk) indexInBackground(e *extent) {
	d.mu.RLock()
	o := e.open
	var v *view
	if o != nil && d.cat.extents[e.id] == e {
		v = d.viewLocked(e)
		e.pins.Add(1)
	}
	d.mu.RUnlock()
	if v == nil {
		return // trashed meanwhile
	}
	limit, known := d.extentBytes(v)
	x, err := d.buildIndex(d.ctx, v, limit, known)
	e.pins.Done()
	if err != nil {
		return // closed
	}
	for i := range x.faults {
		d.log.Warn("a record is missing or bad", "extent", e.id.String(), "zone", x.faults[i].Zone, "offset", x.faults[i].Offset, "length", x.faults[i].Length, "error", x.faults[i].Err)
	}
	_ = d.do(d.ctx, func() error {
		defer close(o.ready)
		return d.publishIndex(e, o, x)
	})
}

// reread finds the records of an extent again that is to be sealed at end, if
// fewer are known because the device failed a read when it was indexed: a footer
// that leaves committed records out hides them for ever. What cannot be read now
// either is given up.
func (d *Disk) reread(ctx context.Context, id holdall.ExtentID, end int64) error {
	d.mu.RLock()
	e, err := d.find(id)
	var o *openExtent
	if err == nil && e.open != nil && e.open.unread && e.endLocked() < end {
		o = e.open
	}
	d.mu.RUnlock()
	if o == nil {
		return err
	}
	v, unpin, err := d.pin(ctx, id)
	if err != nil {
		return err
	}
	limit, known := d.extentBytes(v)
	x, err := d.buildIndex(ctx, v, limit, known)
	unpin()
	if err != nil {
		return fmt.Errorf("disk %v: extent %v: read its records again: %v: %w", d.ident.Disk, id, err, holdall.ErrUnavailable)
	}
	return d.do(ctx, func() error { return d.publishIndex(e, o, x) })
}

// publishIndex makes what the index found the state of the extent. Only the
// writer calls it.
func (d *Disk) publishIndex(e *extent, o *openExtent, x *index) error {
	if e.open != o {
		return nil
	}
	if x.footer != nil {
		d.finish(e)
		d.defers(change{kind: changeSealed, extent: e.id, epoch: max(e.epoch, x.footer.Epoch), end: x.footer.RecordsEnd, last: x.footer.Last,
			footer: x.footer.Offset, footerSize: uint32(x.footer.size())})
		d.mu.Lock()
		e.open = nil
		d.mu.Unlock()
		return nil
	}
	if x.unread && x.torn == "" {
		x.torn = "not all of it could be read"
	} else if err := d.settlePointers(e, x); err != nil {
		x.torn = err.Error()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if x.torn == "" {
		x.torn = o.torn // of a fence since
	}
	o.table, o.tail, o.torn, o.faults, o.unread = x.table, x.tail, x.torn, x.faults, x.unread
	return nil
}

// settlePointers compares the write pointers of the zones at and after the
// extent's tail with where the next bytes would go, and tells them to a device
// that does not know. An error says why nothing may be appended.
func (d *Disk) settlePointers(e *extent, x *index) error {
	for place := int(x.tail / d.zoneCap); place < len(e.zones); place++ {
		zone := int(e.zones[place])
		want := int64(0)
		if in := x.tail - int64(place)*d.zoneCap; in > 0 {
			want = SectorSize + in
		}
		at, known := d.dev.WritePointer(zone)
		if known && at != want {
			return fmt.Errorf("zone %d is written up to %d, its records end at %d", zone, at, want)
		}
		if !known {
			if err := d.dev.SetPointer(zone, want); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish closes the extent's last zone, so that it no longer counts as open.
// Only the writer calls it. Before the mount nothing is written: then Mount
// does it.
func (d *Disk) finish(e *extent) {
	if d.mayWrite() != nil {
		d.w.unfinished = append(d.w.unfinished, e)
		return
	}
	if err := d.finishZone(int(e.zones[len(e.zones)-1])); err != nil {
		_ = d.broken(err)
	}
}

// finishZone closes a zone, if it is part-written.
func (d *Disk) finishZone(zone int) error {
	if at, known := d.dev.WritePointer(zone); known && at > 0 && at < d.ident.ZoneSize {
		if err := d.dev.Finish(zone); err != nil {
			return fmt.Errorf("disk %v: finish zone %d: %w", d.ident.Disk, zone, err)
		}
	}
	return nil
}
