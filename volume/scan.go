package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
)

// scanWindow is what a scan reads at once: the longest record and more.
const scanWindow = buffer.MaxSize

// Proof that the longest record fits it.
const _ = uint(scanWindow - (MaxPayload + 2*SectorSize))

// Scan reads the extent from its first record to its last, verifies all of it
// (header, payload, padding, directory, and of a sealed extent the footer), and
// calls record with each whole record. Bad places are passed over, and in the
// end returned as one error that wraps ErrCorrupt. An error of record stops the
// scan and is returned.
func (d *Disk) Scan(ctx context.Context, id holdall.ExtentID, record func(Record) error) error {
	var first *Fault
	count := 0
	err := d.ScanFaults(ctx, id, record, func(f Fault) error {
		if count++; first == nil {
			first = &f
		}
		return nil
	})
	if err == nil && first != nil {
		err = fmt.Errorf("%d bad places, the first: %w", count, first)
		if !errors.Is(first, holdall.ErrCorrupt) {
			err = fmt.Errorf("%v: %w", err, holdall.ErrCorrupt)
		}
	}
	return err
}

// ScanFaults is Scan that calls bad with every place where bytes are not what
// they should be. An error of bad stops the scan and is returned.
func (d *Disk) ScanFaults(ctx context.Context, id holdall.ExtentID, record func(Record) error, bad func(Fault) error) error {
	v, unpin, err := d.pin(ctx, id)
	if err != nil {
		return err
	}
	defer unpin()
	return d.scan(ctx, v, record, bad)
}

// scan is ScanFaults of a pinned extent.
func (d *Disk) scan(ctx context.Context, v *view, record func(Record) error, bad func(Fault) error) error {
	k := d.newWalker(ctx, v, v.end, useScan)
	defer k.w.close()
	k.known = true
	if err := d.scanZoneHeaders(ctx, v, bad); err != nil {
		return err
	}
	t := newTable(v.scheme.N())
	for off := int64(0); off < v.end; {
		r, err := k.payload(off)
		if err == nil {
			err = t.fits(k.head.Number, k.head.Epoch, k.head.Shards[:v.scheme.N()])
		}
		switch {
		case d.unread(ctx, err):
			return err
		case err == nil:
			t.add(k.head.Number, k.head.Epoch, k.head.Shards[:v.scheme.N()], k.head.Sum)
			if err := record(r); err != nil {
				return err
			}
			off += holdall.RecordSize(k.head.Length)
			continue
		}
		length := holdall.RecordSize(k.head.Length)
		if k.record(off) != nil { // the header is bad: its length is not known
			next := k.next(ctx, off+SectorSize)
			if next < 0 {
				next = v.end
			}
			length = next - off
		}
		if err := bad(d.fault(v, off, length, err)); err != nil {
			return err
		}
		off += length
		k.w.ahead = scanWindow
	}
	if !v.sealed {
		return nil
	}
	foot, err := d.readFooter(ctx, v)
	switch {
	case d.unread(ctx, err):
		return err
	case err == nil && foot.running != t.running:
		err = malformed("the footer lists other records than are there")
	}
	if err != nil {
		return bad(d.fault(v, v.footer, int64(v.size), fmt.Errorf("footer: %w", err)))
	}
	return nil
}

// payload reads and verifies the whole record at off.
func (k *walker) payload(off int64) (Record, error) {
	if err := k.record(off); err != nil {
		return Record{}, err
	}
	size := int(holdall.RecordSize(k.head.Length))
	b, err := k.w.at(off, size)
	if err != nil {
		return Record{}, err
	}
	payload := b[SectorSize:][:k.head.Length]
	if err := k.head.verify(payload, 0); err != nil {
		return Record{}, err
	}
	if !allZero(b[SectorSize+len(payload):]) {
		return Record{}, malformed("stripe %d shard %d: padding is not zero", k.head.Number, k.head.Shard)
	}
	r := Record{Extent: k.v.id, Offset: off, Shard: int(k.head.Shard), Stripe: k.head.Stripe(), Payload: payload}
	if r.Shard < k.v.scheme.K() {
		if r.Blocks, err = ParseDirectory(payload); err != nil {
			return Record{}, err
		}
	}
	return r, nil
}

// scanZoneHeaders checks the headers of the zones that hold the extent's
// records and footer. Zones that hold only what a crash tore need not have one.
func (d *Disk) scanZoneHeaders(ctx context.Context, v *view, bad func(Fault) error) error {
	buf := d.cfg.Pool.Take(SectorSize)
	defer buf.Release()
	for place := range v.zones {
		from := int64(place) * d.zoneCap
		footer := v.sealed && from < v.footer+int64(v.size) && from+d.zoneCap > v.footer
		if from >= v.end && !footer {
			continue
		}
		err := d.checkZoneHeader(ctx, v, place, buf.Bytes())
		if d.unread(ctx, err) {
			return err
		}
		if err != nil {
			if err := bad(d.fault(v, from, 0, err)); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkZoneHeader reads the header of the zone at place into sector b, and
// compares it with what the superblock log says.
func (d *Disk) checkZoneHeader(ctx context.Context, v *view, place int, b []byte) error {
	if err := d.slot(ctx); err != nil {
		return err
	}
	d.m.reads[useScan].Inc()
	err := d.dev.ReadAt(int(v.zones[place]), 0, b)
	<-d.reading
	if err != nil {
		return err
	}
	var h ZoneHeader
	if err := h.Decode(b); err != nil {
		return err
	}
	if h.Cell != d.ident.Cell || h.Disk != d.ident.Disk || h.Zone != v.zones[place] || h.Generation != v.gens[place] ||
		h.Extent != v.id || int(h.Place) != place || h.Scheme != v.scheme || h.ZoneSize != d.ident.ZoneSize {
		return malformed("the zone header is of zone %d generation %d, place %d of %v on disk %v", h.Zone, h.Generation, h.Place, h.Extent, h.Disk)
	}
	return nil
}
