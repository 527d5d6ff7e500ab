package volume

import (
	"context"
	"fmt"

	"github.com/holdall/holdall"
)

// openExtent is what a disk holds in memory for an extent without a footer.
// Its fields below ready are guarded by Disk.mu, and mean something once ready
// is closed.
type openExtent struct {
	ready  chan struct{} // closed once the records on disk are known
	table  *table
	tail   int64       // where whatever was written ends
	fenced bool        // a writer may append: created, or fenced and found whole, since the disk was opened
	torn   string      // why nothing may be appended; "" = it may
	state  ExtentState // what the last Fence found; 0 = there was none
	faults []Fault     // holes: whole records follow
	unread bool        // the device failed reads of it while it was indexed
	busy   bool        // an append of it is in the writer's group; only the writer uses it
}

// endLocked returns where the whole records of e end. d.mu is held.
func (e *extent) endLocked() int64 {
	if e.sealed {
		return e.end
	}
	return e.open.table.ends[e.id.Member]
}

// view is a copy of what a read of an extent needs, valid without the lock.
type view struct {
	id     holdall.ExtentID
	scheme holdall.Scheme
	sealed bool
	end    int64 // of whole records
	tail   int64 // of all that was written
	unread bool  // the index may lack records: the device failed reads of it
	footer int64
	size   uint32   // of the footer
	zones  []uint32 // shared, never changed in place
	gens   []uint32 // of zones
}

// find returns the extent, or ErrNotFound. d.mu is held.
func (d *Disk) find(id holdall.ExtentID) (*extent, error) {
	if e := d.cat.extents[id]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("disk %v: no extent %v: %w", d.ident.Disk, id, holdall.ErrNotFound)
}

// viewLocked copies e. d.mu is held.
func (d *Disk) viewLocked(e *extent) *view {
	v := &view{id: e.id, scheme: e.scheme, sealed: e.sealed, zones: e.zones, footer: e.footer, size: e.footerSize, end: e.endLocked()}
	v.tail = v.end
	if !e.sealed {
		v.tail, v.unread = e.open.tail, e.open.unread
	}
	for _, z := range e.zones {
		v.gens = append(v.gens, d.cat.generation(z))
	}
	return v
}

// indexed waits until the records of the extent are known. A trashed extent
// that never was may have no table: it is ErrNotFound to those who need one.
func (d *Disk) indexed(ctx context.Context, id holdall.ExtentID) (*extent, error) {
	d.mu.RLock()
	e, err := d.find(id)
	var open *openExtent
	if err == nil {
		open = e.open
	}
	d.mu.RUnlock()
	if err != nil || open == nil {
		return e, err
	}
	select {
	case <-open.ready:
		return e, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("disk %v: extent %v is still being indexed: %v: %w", d.ident.Disk, id, context.Cause(ctx), holdall.ErrUnavailable)
	case <-d.ctx.Done():
		return nil, d.closedError()
	}
}

// pin keeps the extent's zones from being reset, and returns a view of it and
// what undoes the pin. It waits for the index.
func (d *Disk) pin(ctx context.Context, id holdall.ExtentID) (*view, func(), error) {
	if _, err := d.indexed(ctx, id); err != nil {
		return nil, nil, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	e, err := d.find(id)
	if err != nil {
		return nil, nil, err
	}
	e.pins.Add(1)
	return d.viewLocked(e), e.pins.Done, nil
}

// infoLocked describes e. d.mu is held; e is indexed.
func (d *Disk) infoLocked(e *extent) ExtentInfo {
	info := ExtentInfo{Disk: d.ident.Disk, Extent: e.id, Scheme: e.scheme, Limit: e.limit, Epoch: e.epoch,
		State: ExtentOpen, End: e.endLocked(), Last: e.last, Bytes: d.bytes(e)}
	for _, z := range e.zones {
		info.Zones = append(info.Zones, int(z))
	}
	if o := e.open; o != nil {
		info.Last, info.Faults = o.table.number, o.faults
		switch {
		case o.state != 0:
			info.State = o.state
		case o.torn != "":
			info.State = ExtentTorn
		}
	}
	switch {
	case e.trashed:
		info.State = ExtentTrashed
	case e.sealed:
		info.State = ExtentSealed
	}
	return info
}

// Extents describes all extents of the disk, by id. It waits for the index of
// the open ones.
func (d *Disk) Extents(ctx context.Context) ([]ExtentInfo, error) {
	d.mu.RLock()
	list := d.cat.sorted()
	d.mu.RUnlock()
	infos := make([]ExtentInfo, 0, len(list))
	for _, e := range list {
		if _, err := d.indexed(ctx, e.id); err != nil {
			d.mu.RLock()
			_, there := d.find(e.id)
			d.mu.RUnlock()
			if there != nil {
				continue // freed meanwhile
			}
			return nil, err
		}
		d.mu.RLock()
		if _, err := d.find(e.id); err == nil {
			infos = append(infos, d.infoLocked(e))
		}
		d.mu.RUnlock()
	}
	return infos, nil
}

// CreateExtent makes the extent of grant, and gives it its first zone. It is
// durable on return, and idempotent for the same grant. A disk without a zone
// to spare, its reserve aside, is ErrDiskFull; one without an open zone to
// spare is ErrExhausted. An extent that was sealed or freed here before it was
// made is ErrStale.
func (d *Disk) CreateExtent(ctx context.Context, g Grant) error {
	if g.Disk != d.ident.Disk {
		return fmt.Errorf("disk %v: the grant of extent %v is for disk %v: %w", d.ident.Disk, g.Extent, g.Disk, holdall.ErrRefused)
	}
	if err := checkExtent(g.Extent, g.Scheme, g.Limit); err != nil {
		return fmt.Errorf("disk %v: create: %v: %w", d.ident.Disk, err, holdall.ErrInvalid)
	}
	return d.do(ctx, func() error {
		if err := d.mayWrite(); err != nil {
			return err
		}
		if e := d.cat.extents[g.Extent]; e != nil {
			if e.scheme != g.Scheme || e.limit != g.Limit {
				return fmt.Errorf("disk %v: extent %v exists, of %v with at most %d bytes, not %v with %d: %w", d.ident.Disk, g.Extent, e.scheme, e.limit, g.Scheme, g.Limit, holdall.ErrRefused)
			}
			return nil
		}
		if err := d.checkLate(g.Extent); err != nil {
			return err
		}
		if err := d.roomFor(g); err != nil {
			return err
		}
		zones, err := d.allocate(1)
		if err != nil {
			return err
		}
		defer d.release(zones)
		e := &extent{id: g.Extent}
		changes := d.give([]change{{kind: changeExtent, extent: g.Extent, scheme: g.Scheme, epoch: g.Extent.Created, limit: g.Limit}}, e, zones)
		if err := d.commit(changes...); err != nil {
			return err
		}
		o := &openExtent{ready: make(chan struct{}), table: newTable(g.Scheme.N()), fenced: true}
		close(o.ready)
		d.mu.Lock()
		d.cat.extents[g.Extent].open = o
		d.mu.Unlock()
		return d.present()
	})
}

// roomFor says why there is no room for one more extent, or returns nil. What
// the open extents may still grow by counts as taken, so that a full disk is
// known before an append meets it. Only the writer calls it.
func (d *Disk) roomFor(g Grant) error {
	geo := d.dev.Geometry()
	total := d.usableZones(geo)
	d.mu.RLock()
	defer d.mu.RUnlock()
	free, open, promised := d.freeLocked(geo), 0, 0
	for _, e := range d.cat.extents {
		if !e.sealed {
			open++
			promised += max(0, d.zonesFor(e.limit)-len(e.zones))
		}
	}
	reserve := d.cfg.ReserveZones
	if g.Reserved {
		reserve = 0
	}
	need := d.zonesFor(g.Limit)
	if free-promised-reserve < need {
		return fmt.Errorf("disk %v is full: extent %v may take %d zones; %d of %d are free and have room, open extents may take %d of them, %d are kept for repair: %w",
			d.ident.Disk, g.Extent, need, free, total, promised, reserve, holdall.ErrDiskFull)
	}
	if geo.MaxOpen > 0 && open+spareOpenZones >= geo.MaxOpen {
		return fmt.Errorf("disk %v: %d extents are open; it can have %d zones open, %d of them are kept for the superblock and repair: %w",
			d.ident.Disk, open, geo.MaxOpen, spareOpenZones, holdall.ErrExhausted)
	}
	return nil
}

// freeLocked returns how many zones may be given: those that nobody owns, and no
// more than the device has room for. Others may fill the same space, so zones
// that were given and not yet written have a claim to it too. d.mu is held.
func (d *Disk) freeLocked(geo Geometry) int {
	unwritten := 0
	for _, e := range d.cat.extents {
		if e.sealed || e.open == nil {
			continue
		}
		select {
		case <-e.open.ready:
			unwritten += max(0, len(e.zones)-d.zonesFor(e.open.tail))
		default: // not known yet: most zones are written
		}
	}
	return max(0, min(d.usableZones(geo)-d.cat.owned.count-d.held.count, geo.Available-unwritten))
}

// spareOpenZones are the open zones that extents never take: the superblock log
// while it moves (2), repair (2).
const spareOpenZones = 4

func (d *Disk) zonesFor(bytes int64) int { return int((bytes + d.zoneCap - 1) / d.zoneCap) }
