package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// footers seals volumes: first in metadata, which fixes the last stripe, then on
// every member, which writes its footer. What fails is tried again later, for as
// long as the Gateway runs; the next start finds what is left in the volumes
// table.
type footers struct {
	g    *Gateway
	poke chan struct{}

	mu   sync.Mutex // guards jobs
	jobs map[holdall.VolumeID]*sealJob
}

// sealJob is one volume on its way to its footers.
type sealJob struct {
	id      holdall.VolumeID
	epoch   holdall.Epoch // of our lease
	sealed  bool          // in metadata
	running bool
	wait    time.Duration
	due     time.Time
}

// Footer retries: a disk that is gone comes back in minutes or never.
const (
	sealRetryFirst = time.Second
	sealRetryMax   = time.Minute
	sealsAtOnce    = 4
)

func newFooters(g *Gateway) *footers {
	return &footers{g: g, poke: make(chan struct{}, 1), jobs: map[holdall.VolumeID]*sealJob{}}
}

// seal has a volume sealed that was written under epoch.
func (f *footers) seal(id holdall.VolumeID, epoch holdall.Epoch) {
	f.add(&sealJob{id: id, epoch: epoch})
}

// resume has the footers written of a volume that is sealed in metadata.
func (f *footers) resume(id holdall.VolumeID) { f.add(&sealJob{id: id, sealed: true}) }

func (f *footers) add(j *sealJob) {
	f.mu.Lock()
	if f.jobs[j.id] == nil {
		f.jobs[j.id] = j
	}
	f.mu.Unlock()
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

// run works through the jobs until the Gateway closes.
func (f *footers) run() {
	var work sync.WaitGroup
	defer work.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, wait := f.next()
		for _, j := range due {
			work.Go(func() {
				finished := f.work(j)
				f.put(j, finished)
			})
		}
		timer.Reset(wait)
		select {
		case <-f.poke:
		case <-timer.C:
		case <-f.g.done:
			return
		}
	}
}

// next returns the jobs to start now, and how long until the next is due.
func (f *footers) next() (due []*sealJob, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, running := f.g.cfg.Now(), 0
	for _, j := range f.jobs {
		if j.running {
			running++
		}
	}
	wait = time.Hour
	for _, j := range f.jobs {
		if j.running {
			continue
		}
		if d := j.due.Sub(now); d > 0 {
			wait = min(wait, d)
		} else if running < sealsAtOnce {
			j.running = true
			running++
			due = append(due, j)
		}
	}
	return due, wait
}

// put takes a job back after work.
func (f *footers) put(j *sealJob, finished bool) {
	f.mu.Lock()
	j.running = false
	if finished {
		delete(f.jobs, j.id)
	} else {
		j.wait = min(max(2*j.wait, sealRetryFirst), sealRetryMax)
		j.due = f.g.cfg.Now().Add(j.wait)
	}
	f.mu.Unlock()
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

// has says whether a volume is on its way to its footers.
func (f *footers) has(id holdall.VolumeID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.jobs[id] != nil
}

func (f *footers) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.jobs)
}

// work takes a job as far as it goes, and reports whether nothing is left to do.
func (f *footers) work(j *sealJob) (finished bool) {
	g := f.g
	ctx, cancel := context.WithTimeout(g.ctx, callTimeout)
	defer cancel()
	if !j.sealed {
		_, err := g.cfg.Leases.SealVolume(ctx, j.id, j.epoch, false)
		switch {
		case err == nil:
			j.sealed = true
			g.metrics.seals.Inc()
		case definite(err):
			g.log.Info("volume is not ours to seal", "volume", j.id, "err", err)
			return true
		default:
			g.log.Warn("volume could not be sealed yet", "volume", j.id, "err", err)
			return false
		}
	}
	v, err := g.cfg.Tables.Volume(j.id)
	if errors.Is(err, holdall.ErrNotFound) || err == nil && v.State == holdall.VolumeFreed {
		return true
	}
	if err != nil || v.State != holdall.VolumeSealed {
		return false
	}
	return g.writeFooters(ctx, &v, j.wait == 0)
}

// writeFooters writes the footers that a sealed volume lacks and reports whether
// all are there. A member whose disk is gone for good is marked as done.
func (g *Gateway) writeFooters(ctx context.Context, v *metadata.Volume, first bool) bool {
	disks := g.health.disks()
	faults := make([]error, len(v.Members))
	var wg sync.WaitGroup
	for m, member := range v.Members {
		if member.Footer {
			continue
		}
		d := disks[member.Disk]
		if d.state != holdall.DiskRemoved && !d.writable() {
			faults[m] = fmt.Errorf("disk is %v: %w", d.state, holdall.ErrDiskFailed)
			continue
		}
		wg.Go(func() {
			if d.state != holdall.DiskRemoved {
				_, err := await(ctx, g, func() (nothing, error) {
					return nothing{}, g.cfg.Writer.Seal(ctx, member.Disk, v.Extent(m), v.Epoch, v.Last, member.End)
				})
				// An extent that was never made holds nothing to list.
				if err != nil && (member.End > 0 || !errors.Is(err, holdall.ErrNotFound)) {
					faults[m] = err
					return
				}
			}
			faults[m] = g.cfg.Leases.MarkFooter(ctx, v.ID, uint8(m))
		})
	}
	wg.Wait()
	done := true
	for m, err := range faults {
		if err != nil {
			done = false
			if first {
				g.log.Warn("footer was not written, tried again later", "volume", v.ID, "member", m, "disk", v.Members[m].Disk, "err", err)
			}
		}
	}
	return done
}

// SealVolumes seals volumes, whoever writes to them, and returns those that were
// open. nil means all open ones. A volume that this gateway is writing to is
// sealed after the stripe in flight. The footers follow in the background.
func (g *Gateway) SealVolumes(ctx context.Context, ids []holdall.VolumeID) ([]holdall.VolumeID, error) {
	if err := g.enter(); err != nil {
		return nil, err
	}
	defer g.leave()
	all, err := g.cfg.Tables.Volumes()
	if err != nil {
		return nil, err
	}
	open := map[holdall.VolumeID]bool{}
	for i := range all {
		if all[i].State == holdall.VolumeOpen {
			open[all[i].ID] = true
		}
	}
	if ids == nil {
		ids = slices.Sorted(maps.Keys(open))
	}
	var sealed []holdall.VolumeID
	for _, id := range ids {
		g.user.volumes.leave(ctx, id)
		g.system.volumes.leave(ctx, id)
		v, err := g.cfg.Leases.SealVolume(ctx, id, 0, true)
		if err != nil {
			return sealed, fmt.Errorf("gateway: seal volume %v: %w", id, err)
		}
		if v.State == holdall.VolumeSealed {
			g.footers.resume(id)
		}
		if open[id] {
			sealed = append(sealed, id)
		}
	}
	return sealed, nil
}
