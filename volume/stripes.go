package volume

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"github.com/holdall/holdall"
	"golang.org/x/sync/singleflight"
)

// StripeAt returns the stripe whose shard on member covers the extent offset
// off. Any member's disk can answer that has a shard of the stripe itself: from
// memory for an open extent, else from its footer. ErrNotFound: this member has
// no shard of such a stripe; another may.
func (d *Disk) StripeAt(ctx context.Context, id holdall.ExtentID, member int, off int64) (holdall.Stripe, error) {
	if off < 0 || off >= MaxExtentBytes || member < 0 || member >= holdall.MaxMembers {
		return holdall.Stripe{}, fmt.Errorf("disk %v: stripe at %d of member %d: %w", d.ident.Disk, off, member, holdall.ErrInvalid)
	}
	if _, err := d.indexed(ctx, id); err != nil {
		return holdall.Stripe{}, err
	}
	var s stripeEntry
	d.mu.RLock()
	e, err := d.find(id)
	if err != nil {
		d.mu.RUnlock()
		return holdall.Stripe{}, err
	}
	scheme := e.scheme
	if member >= scheme.N() {
		d.mu.RUnlock()
		return holdall.Stripe{}, fmt.Errorf("disk %v: member %d of %v: %w", d.ident.Disk, member, scheme, holdall.ErrInvalid)
	}
	found, open := false, e.open != nil
	if open { // added to under the lock
		found = e.open.table.at(member, off, &s)
	}
	d.mu.RUnlock()
	if !open {
		t, err := d.table(ctx, id)
		if err != nil {
			return holdall.Stripe{}, err
		}
		found = t.at(member, off, &s)
	}
	if !found {
		return holdall.Stripe{}, fmt.Errorf("disk %v: extent %v has no shard of a stripe that covers %d of member %d: %w", d.ident.Disk, id, off, member, holdall.ErrNotFound)
	}
	return s.stripe(id, scheme), nil
}

// stripe returns the entry as the vocabulary's Stripe.
func (e *stripeEntry) stripe(id holdall.ExtentID, scheme holdall.Scheme) holdall.Stripe {
	shards := make([]holdall.ShardPlace, scheme.N())
	copy(shards, e.shards[:])
	return holdall.Stripe{Volume: id.Volume, Epoch: e.epoch, Number: e.number, Scheme: scheme, Shards: shards}
}

// Stripes calls each with every stripe that has a record in the extent, in
// order: from its footer, or, while it is open, as it is now.
func (d *Disk) Stripes(ctx context.Context, id holdall.ExtentID, each func(holdall.Stripe) error) error {
	if _, err := d.indexed(ctx, id); err != nil {
		return err
	}
	d.mu.RLock()
	e, err := d.find(id)
	var t *table
	if err == nil && e.open != nil {
		c := *e.open.table // what is there is not changed, only added to
		t = &c
	}
	d.mu.RUnlock()
	if err != nil {
		return err
	}
	if t == nil {
		if t, err = d.table(ctx, id); err != nil {
			return err
		}
	}
	if t.count == 0 {
		return nil
	}
	r := t.block(0)
	for s := (stripeEntry{}); r.next(&s); {
		if err := each(s.stripe(id, e.scheme)); err != nil {
			return err
		}
	}
	return nil
}

// table returns the stripe table of a sealed extent, from the cache or its
// footer. Where the footer is bad, it is built from the record headers.
func (d *Disk) table(ctx context.Context, id holdall.ExtentID) (*table, error) {
	if t := d.tables.get(id); t != nil {
		return t, nil
	}
	key := id.String()
	flight := d.tables.flight.DoChan(key, func() (any, error) {
		v, unpin, err := d.pin(d.ctx, id)
		if err != nil {
			return nil, err
		}
		defer unpin()
		t, err := d.loadTable(d.ctx, v)
		if err == nil {
			d.tables.put(id, t)
		}
		return t, err
	})
	select {
	case r := <-flight:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*table), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("disk %v: footer of %v was not read in time: %v: %w", d.ident.Disk, id, context.Cause(ctx), holdall.ErrUnavailable)
	}
}

func (d *Disk) loadTable(ctx context.Context, v *view) (*table, error) {
	if !v.sealed {
		return nil, fmt.Errorf("disk %v: extent %v was trashed before it was sealed: %w", d.ident.Disk, v.id, holdall.ErrNotFound)
	}
	t, err := d.readFooter(ctx, v)
	if err == nil || d.unread(ctx, err) {
		return t, err
	}
	d.m.faults.Inc()
	d.log.Warn("footer is bad; its records are read instead", "extent", v.id.String(), "offset", v.footer, "error", err)
	x, err := d.buildIndex(ctx, v, v.end, true)
	if err != nil {
		return nil, err
	}
	return x.table, nil
}

// readFooter reads the footer of a sealed extent: one device read, unless it is
// longer than a buffer or runs over a zone's end.
func (d *Disk) readFooter(ctx context.Context, v *view) (*table, error) {
	buf := d.cfg.Pool.Take(int(min(int64(v.size), 1<<20)))
	defer buf.Release()
	b := make([]byte, 0, v.size)
	for len(b) < int(v.size) {
		piece := buf.Bytes()[:min(int(v.size)-len(b), buf.Len())]
		if err := d.readSync(ctx, v.zones, v.footer+int64(len(b)), piece, useTable); err != nil {
			return nil, err
		}
		b = append(b, piece...)
	}
	var h FooterHeader
	if err := h.Decode(b[:SectorSize]); err != nil {
		return nil, err
	}
	return d.checkFooter(v, &h, v.footer, b[SectorSize:])
}

// readFooterBody reads what follows the footer header h, found at off.
func (d *Disk) readFooterBody(ctx context.Context, v *view, h *FooterHeader, off int64) (*table, error) {
	c := *v
	c.footer, c.size = off, uint32(h.size())
	return d.readFooter(ctx, &c)
}

// checkFooter checks that the footer h, found at off, belongs there, and parses
// its body, padding included.
func (d *Disk) checkFooter(v *view, h *FooterHeader, off int64, body []byte) (*table, error) {
	place := off / d.zoneCap
	switch {
	case h.Cell != d.ident.Cell || h.Disk != d.ident.Disk || h.Extent != v.id || h.Scheme != v.scheme || h.Offset != off:
		return nil, malformed("a footer of extent %v at %d of disk %v", h.Extent, h.Offset, h.Disk)
	case h.Zone != v.zones[place] || h.Generation != v.gens[place]:
		return nil, malformed("a footer of zone %d generation %d", h.Zone, h.Generation)
	case h.size()-SectorSize > int64(len(body)) || !allZero(body[h.Body:]):
		return nil, malformed("footer of %v: %d bytes in %d, or padding that is not zero", v.id, h.Body, len(body))
	}
	return h.parseBody(body[:h.Body:h.Body])
}

// tableCache keeps the most recently used stripe tables of sealed extents.
type tableCache struct {
	mu     sync.Mutex // guards all below to flight
	most   int64
	bytes  int64
	order  *list.List // of *cachedTable, most recent first
	tables map[holdall.ExtentID]*list.Element
	flight singleflight.Group
}

type cachedTable struct {
	id holdall.ExtentID
	t  *table
}

func newTableCache(most int64) *tableCache {
	return &tableCache{most: most, order: list.New(), tables: map[holdall.ExtentID]*list.Element{}}
}

func (c *tableCache) get(id holdall.ExtentID) *table {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.tables[id]
	if el == nil {
		return nil
	}
	c.order.MoveToFront(el)
	return el.Value.(*cachedTable).t
}

func (c *tableCache) put(id holdall.ExtentID, t *table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tables[id] != nil || t.size() > c.most {
		return
	}
	c.tables[id] = c.order.PushFront(&cachedTable{id, t})
	for c.bytes += t.size(); c.bytes > c.most; {
		c.removeLocked(c.order.Back())
	}
}

func (c *tableCache) drop(id holdall.ExtentID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.tables[id]; el != nil {
		c.removeLocked(el)
	}
}

func (c *tableCache) removeLocked(el *list.Element) {
	e := el.Value.(*cachedTable)
	c.order.Remove(el)
	delete(c.tables, e.id)
	c.bytes -= e.t.size()
}
