package gateway

import (
	"log/slog"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/volume"
)

// health knows which disks there are and which are trusted with new volumes.
type health struct {
	tables Tables
	writer Writer
	now    func() time.Time
	log    *slog.Logger

	mu        sync.Mutex // guards probation, view, viewed
	probation map[holdall.DiskID]*probation
	view      map[holdall.DiskID]diskView
	viewed    time.Time
}

// probation is a disk's time without new volumes.
type probation struct {
	until time.Time
	span  time.Duration
}

// A disk that was late or failed an append gets no new volume for probationFirst,
// then twice as long each time, so that a disk that stalls now and then does not
// stall the puts of the whole cell.
const (
	probationFirst = time.Minute
	probationMax   = time.Hour
)

// viewAge is how old the view of the disks may be.
const viewAge = time.Second

// diskView is what metadata and the volume servers say of a disk.
type diskView struct {
	node, domain string
	state        holdall.DiskState // metadata's
	reason       string            // why it is not active
	up           bool              // a volume server has it and it answers
	status       volume.DiskStatus // the volume server's, if up
}

// writable says that appends to the disk may succeed.
func (d *diskView) writable() bool {
	return d.up && d.status.State == holdall.DiskActive && (d.state == holdall.DiskActive || d.state == holdall.DiskDraining)
}

func newHealth(cfg Config) *health {
	return &health{tables: cfg.Tables, writer: cfg.Writer, now: cfg.Now, log: cfg.Logger, probation: map[holdall.DiskID]*probation{}}
}

// suspect puts a disk on probation.
func (h *health) suspect(disk holdall.DiskID, why error) {
	now := h.now()
	h.mu.Lock()
	p := h.probation[disk]
	switch {
	case p == nil:
		p = &probation{span: probationFirst}
		h.probation[disk] = p
	case now.Before(p.until):
		h.mu.Unlock()
		return // the same trouble, seen by another stripe
	case now.Sub(p.until) > probationMax:
		p.span = probationFirst
	default:
		p.span = min(2*p.span, probationMax)
	}
	p.until = now.Add(p.span)
	span := p.span
	h.viewed = time.Time{} // look again
	h.mu.Unlock()
	h.log.Warn("disk gets no new volumes for a while", "disk", disk, "probation", span, "err", why)
}

// onProbation returns the disks that get no new volume, and until when.
func (h *health) onProbation() map[holdall.DiskID]time.Time {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[holdall.DiskID]time.Time{}
	for id, p := range h.probation {
		if now.Before(p.until) {
			out[id] = p.until
		}
	}
	return out
}

// disks returns the view of all disks, at most viewAge old.
func (h *health) disks() map[holdall.DiskID]diskView {
	now := h.now()
	h.mu.Lock()
	view := h.view
	fresh := view != nil && now.Sub(h.viewed) < viewAge && !now.Before(h.viewed)
	h.mu.Unlock()
	if fresh {
		return view
	}
	return h.look(now)
}

// look makes a new view.
func (h *health) look(now time.Time) map[holdall.DiskID]diskView {
	view := map[holdall.DiskID]diskView{}
	rows, err := h.tables.Disks()
	if err != nil {
		h.log.Warn("disks table could not be read", "err", err)
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.view
	}
	for _, d := range rows {
		view[d.ID] = diskView{node: d.Node, domain: d.Domain, state: d.State, reason: d.Reason}
	}
	for _, s := range h.writer.Status() {
		if d, known := view[s.ID]; known {
			d.up, d.status = !s.Gone, s
			view[s.ID] = d
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.view, h.viewed = view, now
	return view
}

// missing counts the disks that take no writes.
func (h *health) missing(ids []holdall.DiskID) (n int) {
	disks := h.disks()
	for _, id := range ids {
		if d := disks[id]; !d.writable() {
			n++
		}
	}
	return n
}

// safe says that a block in volume counts as stored: at most one of the volume's
// members is missing.
func (g *Gateway) safe(id holdall.VolumeID) bool {
	v, err := g.places.volume(g.cfg.Tables, id)
	if err != nil || v.State == holdall.VolumeFreed {
		return false
	}
	ids := make([]holdall.DiskID, len(v.Members))
	for i, m := range v.Members {
		ids[i] = m.Disk
	}
	return g.health.missing(ids) <= 1
}
