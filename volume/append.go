package volume

import (
	"context"
	"fmt"

	"github.com/holdall/holdall"
)

// Append writes one record at the end of its extent. It is durable on return:
//  1. the header is made, payload checksums first, in the caller's goroutine;
//  2. the writer checks epoch and offset, and takes the zones that the record
//     runs into: their superblock entry is durable before anything is written;
//  3. the records of a group are written, each with one call a zone;
//  4. one sync makes the group durable;
//  5. the device is checked to be the one that was opened;
//  6. the records become visible, and are answered.
//
// ErrStale: another epoch is current, or the extent ends elsewhere. ErrDiskFull
// and ErrDiskFailed: the extent takes no more. ErrUnavailable: ctx ended while
// the append was queued; it was not and will not be written.
func (d *Disk) Append(ctx context.Context, a *Append) error {
	r := requests.Get().(*request)
	if err := d.prepare(&r.header, a); err != nil { // 1
		requests.Put(r)
		return err
	}
	r.append, r.err, r.ext = a, nil, nil
	settled, err := d.enqueue(ctx, r)
	if settled {
		r.append, r.ext, r.err = nil, nil, nil
		requests.Put(r)
	}
	return err
}

// prepare checks a, and encodes its record's header but for zone and
// generation.
func (d *Disk) prepare(h *RecordHeader, a *Append) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("disk %v: append to %v: %s: %w", d.ident.Disk, a.Extent, fmt.Sprintf(format, args...), holdall.ErrInvalid)
	}
	n := a.Stripe.Scheme.N()
	if err := a.Stripe.Scheme.Validate(); err != nil {
		return bad("scheme %v: %v", a.Stripe.Scheme, err)
	}
	switch {
	case len(a.Stripe.Shards) != n || a.Shard < 0 || a.Shard >= n:
		return bad("shard %d of %d places for %v", a.Shard, len(a.Stripe.Shards), a.Stripe.Scheme)
	case a.Stripe.Volume != a.Extent.Volume || a.Stripe.Epoch != a.Epoch:
		return bad("a stripe of volume %v epoch %v under epoch %v", a.Stripe.Volume, a.Stripe.Epoch, a.Epoch)
	}
	*h = RecordHeader{Cell: d.ident.Cell, Disk: d.ident.Disk, Extent: a.Extent, Offset: a.Offset, Epoch: a.Epoch,
		Number: a.Stripe.Number, Scheme: a.Stripe.Scheme, Shard: uint8(a.Shard), Length: a.Stripe.Shards[a.Shard].Length}
	for i, p := range a.Stripe.Shards {
		if p.Length > 0 {
			h.Shards[i] = p
		}
	}
	record := a.Record.Bytes()
	if h.Length == 0 || h.Length > MaxPayload || int64(len(record)) != holdall.RecordSize(h.Length) {
		return bad("record of %d bytes for a payload of %d", len(record), h.Length)
	}
	payload := record[SectorSize : SectorSize+int(h.Length)]
	if !allZero(record[SectorSize+len(payload):]) {
		return bad("padding is not zero")
	}
	h.sumChunks(payload)
	if err := h.check(); err != nil {
		return bad("%v", err)
	}
	h.encode(record)
	return nil
}

// appendGroup carries out a group of appends. Only the writer calls it.
func (d *Disk) appendGroup(group []*request) {
	d.w.changes = d.w.changes[:0]
	for _, r := range group { // 2
		r.err = d.plan(r)
	}
	err := d.giveZones(group)
	for _, r := range group { // 3
		if err == nil && r.err == nil {
			r.err = d.putRecord(r)
			if d.writable() != nil {
				err = r.err // a write failed: the disk is done with
			}
		}
	}
	if err == nil {
		err = d.sync() // 4, 5
	}
	d.w.zones = d.w.zones[:0]
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range group { // 6
		d.settleLocked(r, err)
	}
}

// plan checks r against the state of its extent, and holds the zones it needs.
func (d *Disk) plan(r *request) error {
	a := r.append
	if err := d.mayWrite(); err != nil {
		return err
	}
	e := d.cat.extents[a.Extent]
	if e == nil {
		return fmt.Errorf("disk %v: append: no extent %v: %w", d.ident.Disk, a.Extent, holdall.ErrNotFound)
	}
	stale := func(format string, args ...any) error {
		return fmt.Errorf("disk %v: append to %v at %d: %s: %w", d.ident.Disk, a.Extent, a.Offset, fmt.Sprintf(format, args...), holdall.ErrStale)
	}
	o := e.open
	size := int64(a.Record.Len())
	switch {
	case e.sealed || e.trashed:
		return stale("it is sealed or trashed")
	case a.Epoch != e.epoch:
		return stale("epoch %v, the current one is %v", a.Epoch, e.epoch)
	case !o.fenced:
		return stale("it was not fenced since the disk was opened")
	case o.torn != "":
		return stale("%s", o.torn)
	case o.busy || a.Offset != o.tail:
		return stale("it ends at %d", o.tail)
	case a.Stripe.Scheme != e.scheme:
		return fmt.Errorf("disk %v: append to %v: a stripe of %v, the extent is of %v: %w", d.ident.Disk, a.Extent, a.Stripe.Scheme, e.scheme, holdall.ErrInvalid)
	case a.Offset+size > e.limit:
		return fmt.Errorf("disk %v: append to %v: %d bytes at %d go over its limit of %d: %w", d.ident.Disk, a.Extent, size, a.Offset, e.limit, holdall.ErrInvalid)
	}
	if err := o.table.fits(r.header.Number, r.header.Epoch, r.header.Shards[:e.scheme.N()]); err != nil {
		return stale("%v", err)
	}
	zones, err := d.allocate(d.zonesFor(a.Offset+size) - len(e.zones))
	if err != nil {
		return err
	}
	d.w.changes = d.give(d.w.changes, e, zones)
	r.ext, o.busy = e, true
	return nil
}

// giveZones makes the zones that the group needs its extents' own.
func (d *Disk) giveZones(group []*request) error {
	if len(d.w.changes) == 0 {
		return nil
	}
	err := d.commit(d.w.changes...)
	zones := make([]uint32, len(d.w.changes))
	for i := range d.w.changes {
		zones[i] = d.w.changes[i].zone
	}
	d.w.changes = d.w.changes[:0]
	d.release(zones)
	return err
}

// putRecord writes the record of r.
func (d *Disk) putRecord(r *request) error {
	a := r.append
	zone := r.ext.zones[a.Offset/d.zoneCap]
	r.sum = restampRecord(a.Record.Bytes(), zone, d.cat.generation(zone))
	return d.put(r.ext, a.Offset, a.Record.Bytes(), useRecord)
}

// settleLocked ends r, err being what befell its whole group. d.mu is held.
func (d *Disk) settleLocked(r *request, err error) {
	if r.ext == nil { // refused by plan: nothing happened
		return
	}
	o := r.ext.open
	o.busy = false
	if r.err == nil {
		r.err = err
	}
	if r.err != nil {
		o.torn = "an append to it failed"
		return
	}
	n := r.ext.scheme.N()
	o.table.add(r.header.Number, r.header.Epoch, r.header.Shards[:n], r.sum)
	o.tail = r.append.Offset + int64(r.append.Record.Len())
	d.m.records.Inc()
}
