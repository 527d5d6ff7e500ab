package gateway

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// openVolume is a volume that this gateway may append to. Whoever acquired it
// owns last and ends until release.
type openVolume struct {
	id      holdall.VolumeID
	scheme  holdall.Scheme
	epoch   holdall.Epoch
	limit   int64
	members []memberPlace
	last    uint64  // last committed stripe
	ends    []int64 // of every member, after it

	// Guarded by openSet.mu.
	busy   bool  // acquired
	wanted bool  // to be sealed when it is free
	left   int64 // room, when it was last free
	ending bool  // only a stripe or two are left, when it was last free
}

type memberPlace struct {
	disk   holdall.DiskID
	extent holdall.ExtentID
}

func openVolumeOf(v *metadata.Volume) *openVolume {
	o := &openVolume{id: v.ID, scheme: v.Scheme, epoch: v.Epoch, limit: v.Limit, last: v.Last}
	for m := range v.Members {
		o.members = append(o.members, memberPlace{v.Members[m].Disk, v.Extent(m)})
		o.ends = append(o.ends, v.Members[m].End)
	}
	o.left, o.ending = o.room(), o.nearFull()
	return o
}

func (v *openVolume) disks() []holdall.DiskID {
	ids := make([]holdall.DiskID, len(v.members))
	for i, m := range v.members {
		ids[i] = m.disk
	}
	return ids
}

func (v *openVolume) advance(st *stripe) { v.last, v.ends = st.table.Number, st.ends }

// room returns the bytes that the fullest extent can still take.
func (v *openVolume) room() int64 {
	return v.limit - slices.Max(v.ends) - volume.FooterSize(int(v.last)+1, len(v.ends))
}

// nearFull says that the next volume should be made now, so that nobody waits
// for it: room for a full stripe or two is left.
func (v *openVolume) nearFull() bool {
	return v.room() < min(2*holdall.RecordSize(holdall.MaxBlockSize), v.limit/8) || v.last+2 > holdall.MaxVolumeStripes
}

// openSet is the few volumes that a lane writes to, one stripe each at a time.
type openSet struct {
	g    *Gateway
	lane *lane
	max  int

	mu         sync.Mutex // guards all below
	open       []*openVolume
	creating   bool
	reclaiming map[holdall.VolumeID]bool // takeovers under way
	since      time.Time                 // when takeovers began with nothing open
	failed     error                     // of the last creation; nil after a success
	retryAt    time.Time                 // no creation before
	changed    chan struct{}             // closed, and replaced, at every change
}

func newOpenSet(g *Gateway, l *lane, max int) *openSet {
	return &openSet{g: g, lane: l, max: max, reclaiming: map[holdall.VolumeID]bool{}, changed: make(chan struct{})}
}

func (g *Gateway) volumesOf(system bool) *openSet {
	if system {
		return g.system.volumes
	}
	return g.user.volumes
}

// notify wakes those who wait for a change. Callers hold mu.
func (s *openSet) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// createRetry is how long a failed creation is not tried again: puts that come
// meanwhile fail with the same reason instead of asking every disk.
const createRetry = 200 * time.Millisecond

// takeoverPatience is how long puts wait for a takeover before a volume is made.
const takeoverPatience = time.Second

// acquire returns a volume for one stripe: an idle one, the fullest first; else,
// if there may be more, a new one. It fails when there is none and none can be
// made.
func (s *openSet) acquire(ctx context.Context) (*openVolume, error) {
	for {
		s.mu.Lock()
		if v := s.idle(); v != nil {
			v.busy = true
			s.mu.Unlock()
			return v, nil
		}
		wait := s.mayCreate()
		if len(s.open) == 0 && !s.creating && len(s.reclaiming) == 0 {
			err := s.failed
			s.mu.Unlock()
			return nil, err
		}
		changed := s.changed
		s.mu.Unlock()
		t := time.NewTimer(wait)
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("gateway: waiting for a volume to write to: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
		}
		t.Stop()
	}
}

// idle returns the fullest volume that nobody writes to. Callers hold mu.
func (s *openSet) idle() *openVolume {
	var best *openVolume
	for _, v := range s.open {
		if !v.busy && !v.wanted && (best == nil || v.left < best.left) {
			best = v
		}
	}
	return best
}

// mayCreate starts a creation if another volume is wanted, and returns how long
// to wait for a change. Callers hold mu.
func (s *openSet) mayCreate() time.Duration {
	now := s.g.cfg.Now()
	switch {
	case s.creating || len(s.open) >= s.max:
		return time.Minute
	case now.Before(s.retryAt):
		return s.retryAt.Sub(now)
	case len(s.reclaiming) > 0:
		// One volume to go on with, if takeovers take long.
		if wait := takeoverPatience - now.Sub(s.since); wait > 0 {
			return wait
		}
		if len(s.open) > 0 {
			return time.Minute
		}
	}
	s.create()
	return time.Minute
}

// create makes a volume in the background. Callers hold mu, and write a stripe:
// Close waits for the stripes first.
func (s *openSet) create() {
	s.creating = true
	s.g.puts.Add(1)
	go func() {
		defer s.g.puts.Done()
		v, err := s.g.createVolume(s.lane.system)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.creating = false
		if s.failed = err; err != nil {
			s.retryAt = s.g.cfg.Now().Add(createRetry)
		} else {
			s.open = append(s.open, v)
			s.lane.setScheme(v.scheme)
		}
		s.notify()
	}()
}

// release gives a volume back after a stripe, and has the next one made if this
// one is nearly full.
func (s *openSet) release(v *openVolume) {
	s.mu.Lock()
	v.busy = false
	v.left, v.ending = v.room(), v.nearFull()
	if v.wanted {
		s.mu.Unlock()
		s.retire(v, "asked to")
		return
	}
	spare := slices.ContainsFunc(s.open, func(o *openVolume) bool { return !o.ending })
	if v.ending && !spare && !s.creating && len(s.open) <= s.max && !s.g.cfg.Now().Before(s.retryAt) {
		s.create()
	}
	s.notify()
	s.mu.Unlock()
}

// remove takes a volume out of the set.
func (s *openSet) remove(v *openVolume) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = slices.DeleteFunc(s.open, func(o *openVolume) bool { return o == v })
	s.notify()
}

// retire gives a volume up for writing: it is sealed in the background.
func (s *openSet) retire(v *openVolume, why string) {
	s.remove(v)
	s.g.log.Info("volume is sealed", "volume", v.id, "reason", why, "stripes", v.last)
	s.g.footers.seal(v.id, v.epoch)
}

// reclaimed takes a volume out whose state in metadata is in doubt, and takes
// its lease anew.
func (s *openSet) reclaimed(v *openVolume) {
	s.remove(v)
	s.reclaim(v.id)
}

// reclaim takes a volume over in the background, once at a time: two takeovers
// would fence each other, and the volume be in the set twice.
func (s *openSet) reclaim(id holdall.VolumeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reclaiming[id] {
		return
	}
	if len(s.reclaiming) == 0 {
		s.since = s.g.cfg.Now()
	}
	s.reclaiming[id] = true
	started := s.g.spawn(func() {
		v := s.g.takeOver(id, s)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.reclaiming, id)
		if v != nil {
			s.open = append(s.open, v)
			s.lane.setScheme(v.scheme)
		}
		s.notify()
	})
	if !started {
		delete(s.reclaiming, id)
	}
}

// full says that no more volumes are wanted.
func (s *openSet) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) >= s.max
}

// leased returns the volumes whose leases must be renewed. Those that are being
// taken over are among them: a disk that hangs makes that longer than a lease,
// and another gateway would begin its own, and then this one again, for ever.
func (s *openSet) leased() []holdall.VolumeID {
	ids := s.ids()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.reclaiming {
		ids = append(ids, id)
	}
	return ids
}

// ids returns the open volumes.
func (s *openSet) ids() []holdall.VolumeID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []holdall.VolumeID
	for _, v := range s.open {
		ids = append(ids, v.id)
	}
	return ids
}

// inHand says whether a volume is open here, or being taken over. While one is
// being created any may be it.
func (s *openSet) inHand(id holdall.VolumeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.creating || s.reclaiming[id] || slices.ContainsFunc(s.open, func(o *openVolume) bool { return o.id == id })
}

// want has a volume sealed as soon as nobody writes to it. It returns false if
// the volume is not in the set.
func (s *openSet) want(id holdall.VolumeID) bool {
	s.mu.Lock()
	i := slices.IndexFunc(s.open, func(o *openVolume) bool { return o.id == id })
	if i < 0 {
		s.mu.Unlock()
		return false
	}
	v := s.open[i]
	v.wanted = true
	busy := v.busy
	s.mu.Unlock()
	if !busy {
		s.retire(v, "asked to")
	}
	return true
}

// leave has a volume sealed and waits until it has left the set.
func (s *openSet) leave(ctx context.Context, id holdall.VolumeID) {
	s.want(id)
	for {
		s.mu.Lock()
		in := s.reclaiming[id] || slices.ContainsFunc(s.open, func(o *openVolume) bool { return o.id == id })
		changed := s.changed
		s.mu.Unlock()
		if !in {
			return
		}
		select {
		case <-changed:
			s.want(id)
		case <-ctx.Done():
			return
		}
	}
}
