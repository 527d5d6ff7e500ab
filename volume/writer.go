package volume

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
)

// maxGroup is the most appends that share one sync: beyond it the first of them
// would wait for the writes of too many others.
const maxGroup = 64

// maxDeferred is how many changes may wait for the next superblock entry before
// they get one of their own.
const maxDeferred = 64

// writer is what only the disk's writer goroutine uses.
type writer struct {
	super      *superLog
	deferred   []change       // made in memory; they ride with the next entry
	header     *buffer.Buffer // a sector for zone headers
	granted    bool           // metadata granted this use of the disk: Mount was called
	late       lateSet        // extents that came to their end before they were made
	unfinished []*extent      // sealed ones whose last zone Mount is to finish
	group      []*request
	changes    []change
	bufs       [2][]byte
	zones      []int // written since the last sync
}

// request is something for the writer to do: an append, or else run.
type request struct {
	append *Append
	run    func() error
	header RecordHeader // of append
	ext    *extent      // of append, found by the writer
	sum    uint32       // of the stamped header
	err    error
	state  atomic.Int32
	done   chan struct{} // one value when the request was carried out
}

// The states of a request. Whoever moves it from queued decides its fate.
const (
	queued int32 = iota
	running
	abandoned
)

var requests = sync.Pool{New: func() any { return &request{done: make(chan struct{}, 1)} }}

// queue holds requests until the writer takes them. It needs no bound of its
// own: appends hold buffers that admission has counted.
type queue struct {
	mu     sync.Mutex // guards reqs, closed
	reqs   []*request
	closed bool
	wake   chan struct{}
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) put(r *request) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.reqs = append(q.reqs, r)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// drain takes all that is queued, for the caller to refuse.
func (q *queue) drain() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	reqs := q.reqs
	q.reqs = nil
	return reqs
}

// take appends to group what is to be done next: one request that runs alone,
// or appends up to the next such. It waits for one. ok is false when the queue
// is closed and empty.
func (q *queue) take(group []*request) (_ []*request, ok bool) {
	for {
		q.mu.Lock()
		n := 0
		for n < len(q.reqs) && n < maxGroup && q.reqs[n].append != nil {
			n++
		}
		if n == 0 && len(q.reqs) > 0 {
			n = 1
		}
		group = append(group, q.reqs[:n]...)
		rest := copy(q.reqs, q.reqs[n:])
		clear(q.reqs[rest:])
		q.reqs = q.reqs[:rest]
		closed := q.closed
		q.mu.Unlock()
		if n > 0 {
			return group, true
		}
		if closed {
			return group, false
		}
		<-q.wake
	}
}

// enqueue hands r to the writer and waits until it was carried out, or until
// ctx ends while it is still queued: then it never will be. r may be pooled
// again only when settled is true.
func (d *Disk) enqueue(ctx context.Context, r *request) (settled bool, err error) {
	r.state.Store(queued)
	if !d.queue.put(r) {
		return true, d.closedError()
	}
	select {
	case <-r.done:
		return true, r.err
	case <-ctx.Done():
	}
	if r.state.CompareAndSwap(queued, abandoned) {
		return false, fmt.Errorf("disk %v: gave up waiting for earlier writes: %v: %w", d.ident.Disk, context.Cause(ctx), holdall.ErrUnavailable)
	}
	<-r.done // it is being carried out: its buffers are in use until that ends
	return true, r.err
}

// do has the writer call run, alone, between groups of appends.
func (d *Disk) do(ctx context.Context, run func() error) error {
	_, err := d.enqueue(ctx, &request{run: run, done: make(chan struct{}, 1)})
	return err
}

// write is the writer goroutine.
func (d *Disk) write() {
	for {
		group, ok := d.queue.take(d.w.group[:0])
		d.w.group = group
		if !ok {
			break
		}
		live := group[:0]
		for _, r := range group {
			if r.state.CompareAndSwap(queued, running) {
				live = append(live, r)
			}
		}
		switch {
		case len(live) == 0:
		case live[0].append == nil:
			live[0].err = live[0].run()
		default:
			d.appendGroup(live)
		}
		for _, r := range live {
			r.done <- struct{}{}
		}
		clear(group)
	}
	if len(d.w.deferred) > 0 && d.mayWrite() == nil {
		_ = d.commit() // what it holds is found again without it
	}
}

// commit makes changes, and those deferred, durable in the superblock log, then
// applies them: in one entry unless they are very many. An error other than
// ErrDiskFull has stopped the disk. Only the writer calls it.
func (d *Disk) commit(changes ...change) error {
	applied := len(d.w.deferred)
	all := append(d.w.deferred, changes...)
	for len(all) > 0 {
		some := all[:min(len(all), d.w.super.most())]
		if err := d.w.super.commit(d.cat, some); err != nil {
			return d.broken(err)
		}
		all = all[len(some):]
		d.mu.Lock()
		for i := min(applied, len(some)); i < len(some); i++ {
			d.applyLocked(&some[i])
		}
		d.mu.Unlock()
		applied -= min(applied, len(some))
	}
	d.w.deferred = d.w.deferred[:0]
	return nil
}

// applyLocked applies a change that is durable, or will be found again. d.mu is
// held.
func (d *Disk) applyLocked(ch *change) {
	err := d.cat.check(ch)
	invariant(err == nil, fmt.Sprintf("impossible change: %v", err))
	var freed []uint32
	if ch.kind == changeFreed {
		freed = d.cat.extents[ch.extent].zones
	}
	d.cat.apply(ch)
	for _, z := range freed { // not to be given before they are reset
		d.held.add(z)
	}
}

// defers applies a change now and lets it ride with the next superblock entry:
// for what a start finds again by itself. Only the writer calls it.
func (d *Disk) defers(ch change) {
	d.mu.Lock()
	d.applyLocked(&ch)
	d.mu.Unlock()
	d.w.deferred = append(d.w.deferred, ch)
	if len(d.w.deferred) >= maxDeferred && d.mayWrite() == nil {
		_ = d.commit()
	}
}

// put writes b, whole sectors, at off of e, whose zones are there. The first
// bytes in a zone go with the zone's header. It is durable after sync. Only the
// writer calls it.
func (d *Disk) put(e *extent, off int64, b []byte, why use) error {
	for len(b) > 0 {
		place := int(off / d.zoneCap)
		in := off % d.zoneCap
		n := min(int64(len(b)), d.zoneCap-in)
		zone := int(e.zones[place])
		bufs, at := append(d.w.bufs[:0], b[:n]), SectorSize+in
		if in == 0 {
			h := ZoneHeader{Cell: d.ident.Cell, Disk: d.ident.Disk, Zone: uint32(zone), Generation: d.cat.generation(uint32(zone)),
				ZoneSize: d.ident.ZoneSize, Extent: e.id, Place: uint32(place), Scheme: e.scheme, Limit: e.limit}
			h.encode(d.w.header.Bytes())
			bufs, at = append(d.w.bufs[:0], d.w.header.Bytes(), b[:n]), 0
		}
		d.m.writes[why].Inc()
		d.m.writeBytes.Add(float64(n))
		if err := d.dev.Append(zone, at, bufs...); err != nil {
			return d.broken(fmt.Errorf("disk %v: write zone %d at %d: %w", d.ident.Disk, zone, at, err))
		}
		d.touch(zone)
		off += n
		b = b[n:]
	}
	return nil
}

// touch notes that zone has to be synced.
func (d *Disk) touch(zone int) {
	for _, z := range d.w.zones {
		if z == zone {
			return
		}
	}
	d.w.zones = append(d.w.zones, zone)
}

// sync makes what was put durable, and checks that it is on the disk that was
// opened. Only the writer calls it.
func (d *Disk) sync() error {
	if len(d.w.zones) == 0 {
		return nil
	}
	d.m.syncs.Inc()
	err := d.dev.Sync(d.w.zones...)
	d.w.zones = d.w.zones[:0]
	if err != nil {
		return d.broken(fmt.Errorf("disk %v: sync: %w", d.ident.Disk, err))
	}
	return d.present()
}

// allocate chooses n zones, the lowest that are free, empties those that are
// not known to be empty, and holds them until they are given or let go. Fewer
// free zones, or no room for so many on the device, are ErrDiskFull: known here,
// it costs an append and not its extent. Only the writer calls it.
func (d *Disk) allocate(n int) ([]uint32, error) {
	if n <= 0 {
		return nil, nil
	}
	geo := d.dev.Geometry()
	geo.Available -= len(d.w.changes) // what this group of appends takes already
	total := uint32(d.usableZones(geo))
	d.mu.RLock()
	free := d.freeLocked(geo)
	d.mu.RUnlock()
	if free < n {
		return nil, fmt.Errorf("disk %v: no zone to give: %d of %d are free and have room, %d are needed: %w", d.ident.Disk, free, total, n, holdall.ErrDiskFull)
	}
	var zones []uint32
	unreadable := 0
	for len(zones) < n {
		z, ok := d.nextFree(total)
		if !ok {
			d.release(zones)
			return nil, fmt.Errorf("disk %v: no zone to give: %d of %d are free, %d are needed: %w", d.ident.Disk, len(zones), total, n, holdall.ErrDiskFull)
		}
		if at, known := d.dev.WritePointer(int(z)); known && at == 0 {
			zones = append(zones, z)
			continue
		}
		ok, err := d.empty(z)
		if ok {
			zones = append(zones, z)
		} else if err != nil {
			if unreadable++; unreadable < maxUnreadable {
				continue
			}
			err = d.broken(err)
		}
		if err != nil {
			d.release(zones)
			return nil, err
		}
	}
	return zones, nil
}

// release lets zones go that allocate held: given, or not to be given.
func (d *Disk) release(zones []uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, z := range zones {
		d.held.remove(z)
		if !d.cat.owned.has(z) {
			d.lowest = min(d.lowest, z)
		}
	}
}

// give returns the changes that give zones to e, in order.
func (d *Disk) give(changes []change, e *extent, zones []uint32) []change {
	for i, z := range zones {
		changes = append(changes, change{kind: changeZone, extent: e.id, zone: z, generation: d.cat.generation(z) + 1, place: uint32(len(e.zones) + i)})
	}
	return changes
}
