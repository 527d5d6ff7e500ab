package volume

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/holdall/holdall"
)

// Disk is one open disk. All its writes are made by one goroutine, in the order
// in which they were asked for; reads are made beside it. It is safe for
// concurrent use. Close it.
type Disk struct {
	dev     Device
	cfg     DiskConfig
	ident   Identity
	zoneCap int64 // bytes of an extent that a zone holds: all but its header
	log     *slog.Logger
	m       *diskMetrics

	mu      sync.RWMutex // guards all below to tables, extents included; never held across I/O
	note    string       // of Status: what is not as a clean stop leaves it
	cat     *catalog
	held    zoneSet // zones without an owner that may not be given yet: to be reset, or being given
	lowest  uint32  // every zone below it has an owner or is held
	mounted bool    // Mount succeeded since the disk was opened
	failure string  // why writes stopped; "" = they did not
	hook    func(holdall.DiskID, string)
	hooked  bool // hook was called
	closed  bool // nothing begins any more

	tables  *tableCache
	gone    atomic.Bool   // the device is not the one that was opened, or does not answer
	reading chan struct{} // a place per read at once
	queue   *queue
	w       writer
	ctx     context.Context // ends at Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup // every goroutine of the disk
	closing sync.Once
}

// Format makes dev a disk: it writes the first superblock checkpoint. A device
// that has a superblock, or is not empty, is ErrRefused: a wiped disk comes
// back under a new id, and nothing is wiped here.
func Format(dev Device, id Identity) error {
	g := dev.Geometry()
	if id.ZoneSize == 0 {
		id.ZoneSize = g.ZoneSize
	}
	switch {
	case id.ZoneSize != g.ZoneSize:
		return fmt.Errorf("format: zones of %d bytes on a device with zones of %d: %w", id.ZoneSize, g.ZoneSize, holdall.ErrInvalid)
	case g.ZoneSize < MinZoneSize || g.ZoneSize%SectorSize != 0 || g.ZoneSize > MaxExtentBytes:
		return fmt.Errorf("format: zones of %d bytes, want a multiple of %d, at least %d: %w", g.ZoneSize, SectorSize, MinZoneSize, holdall.ErrInvalid)
	case g.Zones < superZones+1:
		return fmt.Errorf("format: %d zones, want at least %d (the first %d are the superblock's): %w", g.Zones, superZones+1, superZones, holdall.ErrInvalid)
	case id.Cell == holdall.CellID{} || id.Disk == holdall.DiskID{}:
		return fmt.Errorf("format: a cell id and a disk id are needed: %w", holdall.ErrInvalid)
	}
	cfg := DiskConfig{}.withDefaults()
	for zone := range superZones {
		if err := checkBlank(dev, cfg, zone); err != nil {
			return err
		}
	}
	l := &superLog{dev: dev, pool: cfg.Pool, ident: id, count: func() {}, zone: 1}
	return l.checkpoint(newCatalog(id))
}

// checkBlank refuses a zone with anything in its first MiB.
func checkBlank(dev Device, cfg DiskConfig, zone int) error {
	s, err := openSuperZone(dev, cfg.Pool, zone)
	if err == nil {
		return fmt.Errorf("format: the device is already disk %v of cell %v: %w", s.state.ident.Disk, s.state.ident.Cell, holdall.ErrRefused)
	}
	at, known := dev.WritePointer(zone)
	if known && at == 0 {
		return nil
	}
	buf := cfg.Pool.Take(int(min(1<<20, dev.Geometry().ZoneSize)))
	defer buf.Release()
	if known {
		return fmt.Errorf("format: the device is not empty (zone %d has %d bytes); wipe it, or use another: %w", zone, at, holdall.ErrRefused)
	}
	if err := dev.ReadAt(zone, 0, buf.Bytes()); err != nil {
		return fmt.Errorf("format: read zone %d: %w", zone, err)
	}
	if !allZero(buf.Bytes()) {
		return fmt.Errorf("format: the device is not empty (zone %d does not begin with zeros); wipe it, or use another: %w", zone, holdall.ErrRefused)
	}
	return nil
}

// OpenDisk reads the superblock log of dev and starts the disk. Extents that
// were open are indexed in the background. Nothing is written before Mount. A
// disk that failed before, and was not readmitted, opens: it is read, and
// takes no writes. The Disk owns dev from here; after an error the caller still
// does.
//
// Errors wrap ErrNotFound (no superblock), ErrRefused (of another cell, version
// or zone size; they say what was found and what to do), ErrCorrupt (the
// superblock log is damaged) or ErrInvalid (cfg).
func OpenDisk(_ context.Context, dev Device, cfg DiskConfig) (*Disk, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s, err := openSuper(dev, cfg.Pool)
	if err != nil {
		return nil, fmt.Errorf("open disk %s: %w", cfg.Path, err)
	}
	id := s.state.ident
	if cfg.Cell != (holdall.CellID{}) && cfg.Cell != id.Cell {
		return nil, fmt.Errorf("open disk %s: it is disk %v of cell %v, this cell is %v; it is left untouched: %w", cfg.Path, id.Disk, id.Cell, cfg.Cell, holdall.ErrRefused)
	}
	d := &Disk{
		dev: dev, cfg: cfg, ident: id, note: s.torn, cat: s.state,
		zoneCap: id.ZoneSize - SectorSize, lowest: superZones,
		log:     cfg.Logger.With("disk", id.Disk.String(), "path", cfg.Path),
		m:       cfg.Metrics.disk(id.Disk.String()),
		tables:  newTableCache(cfg.TableCache),
		reading: make(chan struct{}, cfg.Readers),
		queue:   newQueue(),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.w.super = s.log
	d.w.super.count = d.m.entries.Inc
	d.w.header = cfg.Pool.Take(SectorSize)
	d.m.active.Set(1)
	if s.state.state != holdall.DiskActive {
		d.failure = s.state.reason
		d.m.active.Set(0)
	}
	if s.torn != "" {
		d.log.Warn("superblock log does not end cleanly", "found", s.torn)
	}
	d.restoreLost(s.torn != "")
	d.start()
	return d, nil
}

// start begins the disk's goroutines: the writer, the watch, the index of what
// was open.
func (d *Disk) start() {
	var unsealed []*extent
	for _, e := range d.cat.sorted() {
		if !e.sealed {
			e.open = &openExtent{ready: make(chan struct{}), table: newTable(e.scheme.N())}
			unsealed = append(unsealed, e)
		}
	}
	d.wg.Go(d.write)
	d.wg.Go(d.watch)
	d.wg.Go(func() {
		for _, e := range unsealed {
			d.indexInBackground(e)
		}
	})
}

// Identity returns who the disk is.
func (d *Disk) Identity() Identity { return d.ident }

// Mount makes incarnation durable as the disk's: what metadata granted for
// this use of it. Until then the disk is only read. A number below the one the
// disk has is ErrRefused: a later mount was made elsewhere.
func (d *Disk) Mount(incarnation uint64) error {
	return d.do(d.ctx, func() error {
		if err := d.writable(); err != nil {
			return err
		}
		if incarnation < d.cat.incarnation {
			return fmt.Errorf("disk %v: mount as incarnation %d, it has been mounted as %d: another process, or a copy of this disk, is in use: %w", d.ident.Disk, incarnation, d.cat.incarnation, holdall.ErrRefused)
		}
		d.w.granted = true
		if err := d.commit(change{kind: changeIncarnation, incarnation: incarnation}); err != nil {
			return err
		}
		leftovers := d.leftovers()
		d.mu.Lock()
		d.mounted = true
		for _, z := range leftovers {
			d.held.add(z)
		}
		d.mu.Unlock()
		for _, e := range d.w.unfinished {
			d.finish(e)
		}
		d.w.unfinished = nil
		d.wg.Go(func() { d.reset(leftovers) })
		return nil
	})
}

// leftovers returns the zones that an extent gave up and a crash kept from
// being reset. Only the writer calls it.
func (d *Disk) leftovers() []uint32 {
	var zones []uint32
	for z, g := range d.cat.gens {
		if g == 0 || d.cat.owned.has(uint32(z)) {
			continue
		}
		if at, known := d.dev.WritePointer(z); known && at != 0 {
			d.mu.RLock()
			held := d.held.has(uint32(z))
			d.mu.RUnlock()
			if !held {
				zones = append(zones, uint32(z))
			}
		}
	}
	return zones
}

// Status says how the disk is.
func (d *Disk) Status() DiskStatus {
	g := d.dev.Geometry()
	total := d.usableZones(g)
	d.mu.RLock()
	defer d.mu.RUnlock()
	s := DiskStatus{
		ID: d.ident.Disk, Path: d.cfg.Path, State: d.cat.state, Reason: d.cat.reason, Gone: d.gone.Load(), Note: d.note,
		Capacity: int64(total) * g.ZoneSize, FreeZones: d.freeLocked(g), TotalZones: total,
		OpenZones: 1, MaxOpen: g.MaxOpen, ZoneSize: g.ZoneSize, Incarnation: d.cat.incarnation, Mounted: d.mounted,
	}
	if d.failure != "" {
		s.State, s.Reason = holdall.DiskFailed, d.failure
	}
	for _, e := range d.cat.extents {
		s.Written += d.bytes(e)
		if !e.sealed {
			s.OpenZones++
		}
	}
	return s
}

// usableZones returns how many zones the disk can manage: all, unless they are
// so small that a checkpoint of that many would not fit one.
func (d *Disk) usableZones(g Geometry) int {
	return int(min(int64(g.Zones), maxZones, (g.ZoneSize/2-SectorSize)/checkpointPerZone+superZones))
}

// bytes returns what was written for e. d.mu is held.
func (d *Disk) bytes(e *extent) int64 {
	end := int64(0)
	switch {
	case e.sealed:
		end = e.footer + int64(e.footerSize)
	case e.open == nil:
		end = int64(len(e.zones)) * d.zoneCap
	default:
		end = e.open.tail
	}
	return end + (end+d.zoneCap-1)/d.zoneCap*SectorSize
}

// spawn runs f beside the caller, unless the disk is closed. Close waits for
// it.
func (d *Disk) spawn(f func()) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return false
	}
	d.wg.Go(f)
	return true
}
