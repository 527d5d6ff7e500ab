package volume

import (
	"context"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
)

// slot waits for a place among the disk's reads.
func (d *Disk) slot(ctx context.Context) error {
	if d.gone.Load() {
		return fmt.Errorf("disk %v: does not answer: %w", d.ident.Disk, holdall.ErrDiskFailed)
	}
	select {
	case d.reading <- struct{}{}:
		return nil
	default:
	}
	select {
	case d.reading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("disk %v: gave up waiting for earlier reads: %v: %w", d.ident.Disk, context.Cause(ctx), holdall.ErrUnavailable)
	case <-d.ctx.Done():
		return d.closedError()
	}
}

// readZones fills b, whole sectors, from off of the extent with zones: one
// device read, and one more for each zone's end that it runs over.
func (d *Disk) readZones(zones []uint32, off int64, b []byte, why use) error {
	for len(b) > 0 {
		place := off / d.zoneCap
		in := off % d.zoneCap
		if int(place) >= len(zones) {
			return malformed("disk %v: read at %d of an extent with %d zones", d.ident.Disk, off, len(zones))
		}
		n := min(int64(len(b)), d.zoneCap-in)
		d.m.reads[why].Inc()
		if err := d.dev.ReadAt(int(zones[place]), SectorSize+in, b[:n]); err != nil {
			d.m.readErrors.Inc()
			return fmt.Errorf("disk %v: read zone %d at %d: %w", d.ident.Disk, zones[place], SectorSize+in, err)
		}
		off += n
		b = b[n:]
	}
	return nil
}

// readSync reads in the caller's goroutine: for walks, whose owner waits for
// the disk anyway.
func (d *Disk) readSync(ctx context.Context, zones []uint32, off int64, b []byte, why use) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("disk %v: read: %v: %w", d.ident.Disk, context.Cause(ctx), holdall.ErrUnavailable)
	}
	if err := d.slot(ctx); err != nil {
		return err
	}
	defer func() { <-d.reading }()
	return d.readZones(zones, off, b, why)
}

// readBuffer reads size bytes at off, whole sectors, into a pooled buffer. It
// does not outlive ctx: a read that the disk does not finish in time finishes
// without its caller. done is called when the device is no longer read.
func (d *Disk) readBuffer(ctx context.Context, zones []uint32, off int64, size int, done func()) (*buffer.Buffer, error) {
	if err := d.slot(ctx); err != nil {
		done()
		return nil, err
	}
	type result struct {
		buf *buffer.Buffer
		err error
	}
	results := make(chan result)
	began := d.spawn(func() {
		buf := d.cfg.Pool.Take(size)
		err := d.readZones(zones, off, buf.Bytes(), useBlock)
		<-d.reading
		done()
		select {
		case results <- result{buf, err}:
		case <-ctx.Done():
			buf.Release()
		}
	})
	if !began {
		<-d.reading
		done()
		return nil, d.closedError()
	}
	select {
	case r := <-results:
		if r.err != nil {
			r.buf.Release()
			return nil, r.err
		}
		return r.buf, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("disk %v: read did not finish in time: %v: %w", d.ident.Disk, context.Cause(ctx), holdall.ErrUnavailable)
	}
}

// pinNow is pin without waiting for the index: for reads whose place the caller
// knows.
func (d *Disk) pinNow(id holdall.ExtentID, end int64) ([]uint32, func(), error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	e, err := d.find(id)
	if err != nil {
		return nil, nil, err
	}
	known := int64(len(e.zones)) * d.zoneCap
	if e.sealed {
		known = e.footer
	}
	if end > known {
		return nil, nil, malformed("disk %v: extent %v ends at %d, asked for bytes up to %d", d.ident.Disk, id, known, end)
	}
	e.pins.Add(1)
	return e.zones, e.pins.Done, nil
}

// Read returns n bytes at off of the extent, unverified: the caller hashes
// them. It is one device read, two where the range runs over a zone's end.
//
// ErrNotFound: no such extent here. ErrCorrupt: the extent ends before that.
// ErrUnavailable: ctx ended first. ErrDiskFailed: the disk does not answer. Any
// other error is the device's.
func (d *Disk) Read(ctx context.Context, id holdall.ExtentID, off int64, n int) (buffer.View, error) {
	if off < 0 || n < 0 || off > MaxExtentBytes || n > MaxPayload {
		return buffer.View{}, fmt.Errorf("disk %v: read of %d bytes at %d: %w", d.ident.Disk, n, off, holdall.ErrInvalid)
	}
	from := off &^ (SectorSize - 1)
	size := roundUp(off+int64(n)) - from
	zones, unpin, err := d.pinNow(id, off+int64(n))
	if err != nil {
		return buffer.View{}, err
	}
	buf, err := d.readBuffer(ctx, zones, from, int(size), unpin)
	if err != nil {
		return buffer.View{}, err
	}
	return buffer.View{Buffer: buf, Data: buf.Bytes()[off-from:][:n]}, nil
}

// ReadChecked returns n payload bytes, from payload offset off, of the record
// at rec of the extent, verified by its header and the checksums of the 64-KiB
// chunks they lie in. It takes one device read where the range is near the
// header, else two. ErrCorrupt: the header is not of that record, or a checksum
// differs.
func (d *Disk) ReadChecked(ctx context.Context, id holdall.ExtentID, rec int64, off, n int) (buffer.View, error) {
	if rec < 0 || rec%SectorSize != 0 || rec >= MaxExtentBytes || off < 0 || n < 0 || off > MaxPayload || n > MaxPayload-off {
		return buffer.View{}, fmt.Errorf("disk %v: checked read of %d bytes at %d of record %d: %w", d.ident.Disk, n, off, rec, holdall.ErrInvalid)
	}
	v, unpin, err := d.pin(ctx, id)
	if err != nil {
		return buffer.View{}, err
	}
	defer unpin()
	first, last := off/ChunkSize, chunks(uint32(off+n))
	end := v.end
	if v.unread {
		end, _ = d.extentBytes(v) // records that the index lacks may be there: their headers tell
	}
	read := func(at int64, size int) (*buffer.Buffer, error) {
		if at+int64(size) > end {
			return nil, malformed("disk %v: extent %v ends at %d, asked for record %d up to %d", d.ident.Disk, id, end, rec, at+int64(size))
		}
		return d.readBuffer(ctx, v.zones, at, size, func() {})
	}
	// The last chunk may be cut short by the record's end, which only the
	// header tells: what lies beyond the extent is not asked for.
	near := SectorSize
	if first == 0 {
		near = int(min(int64(SectorSize+last*ChunkSize), end-rec))
	}
	head, err := read(rec, max(near, SectorSize))
	if err != nil {
		return buffer.View{}, err
	}
	var h RecordHeader
	if err := d.checkHeader(v, &h, head.Bytes()[:SectorSize], rec); err != nil {
		head.Release()
		return buffer.View{}, err
	}
	if rec+holdall.RecordSize(h.Length) > end {
		head.Release()
		return buffer.View{}, malformed("disk %v: record %d of %v says it has %d bytes, the extent ends at %d", d.ident.Disk, rec, id, h.Length, end)
	}
	if uint32(off+n) > h.Length {
		head.Release()
		return buffer.View{}, malformed("disk %v: record %d of %v has %d bytes, asked for %d to %d", d.ident.Disk, rec, id, h.Length, off, off+n)
	}
	stop := min(last*ChunkSize, int(h.Length))
	body, skip := head, SectorSize
	if first > 0 {
		head.Release()
		if body, err = read(rec+SectorSize+int64(first*ChunkSize), int(roundUp(int64(stop-first*ChunkSize)))); err != nil {
			return buffer.View{}, err
		}
		skip = 0
	}
	payload := body.Bytes()[skip:][:stop-first*ChunkSize]
	if err := h.verify(payload, first); err != nil {
		body.Release()
		return buffer.View{}, fmt.Errorf("disk %v: extent %v record at %d: %w", d.ident.Disk, id, rec, err)
	}
	return buffer.View{Buffer: body, Data: payload[off-first*ChunkSize:][:n]}, nil
}

// checkHeader decodes the header that was read at rec, and checks that it
// belongs there.
func (d *Disk) checkHeader(v *view, h *RecordHeader, b []byte, rec int64) error {
	err := h.Decode(b)
	if err == nil {
		err = d.belongs(v, h, rec)
	}
	if err != nil {
		return fmt.Errorf("disk %v: extent %v record at %d: %w", d.ident.Disk, v.id, rec, err)
	}
	return nil
}
