package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// callTimeout bounds one call to metadata or to a volume server that nobody
// waits for at the front door.
const callTimeout = 30 * time.Second

// fenceTimeout bounds the wait for a disk to say where an extent ends: after a
// start it may have to read the open extents first.
const fenceTimeout = 2 * time.Minute

// findVolumes returns the open volumes whose lease is this gateway's own or has
// lapsed, and has the footers written that sealed volumes still lack.
func (g *Gateway) findVolumes() ([]metadata.Volume, error) {
	all, err := g.cfg.Tables.Volumes()
	if err != nil {
		return nil, fmt.Errorf("gateway: start: %w", err)
	}
	var lapsed []metadata.Volume
	now := g.cfg.Now()
	for i := range all {
		switch v := &all[i]; {
		case v.State == holdall.VolumeOpen && (v.Gateway == g.cfg.ID || v.Expires.Before(now)):
			lapsed = append(lapsed, *v)
		case v.State == holdall.VolumeSealed && !allFooters(v):
			g.footers.resume(v.ID)
		}
	}
	return lapsed, nil
}

func allFooters(v *metadata.Volume) bool {
	for _, m := range v.Members {
		if !m.Footer {
			return false
		}
	}
	return true
}

// takeOver makes this gateway the writer of a volume, whoever was before. It
// returns nil when the volume is not to be written to any more; then it has been
// sealed, or was somebody else's to begin with.
//
// First the lease, under the next epoch; then every member is told, which from
// then on refuses what an older writer still sends; then the ends are compared
// with the committed ones. Nothing is appended behind bytes that are not
// committed, nor to a member that has lost some that are.
func (g *Gateway) takeOver(id holdall.VolumeID, s *openSet) *openVolume {
	v, err := g.takeLease(id)
	if err != nil {
		g.log.Info("volume is not taken over", "volume", id, "err", err)
		return nil
	}
	o := openVolumeOf(&v)
	switch clean := g.fence(&v); {
	case g.isClosing():
		return nil
	case !clean:
		g.metrics.takeovers.WithLabelValues("sealed").Inc()
	case s.full() || o.ending:
		g.metrics.takeovers.WithLabelValues("sealed").Inc()
		g.log.Info("volume taken over is full, or one too many", "volume", id, "stripes", v.Last)
	default:
		g.metrics.takeovers.WithLabelValues("reused").Inc()
		g.log.Info("volume taken over", "volume", id, "epoch", v.Epoch, "stripes", v.Last)
		return o
	}
	g.footers.seal(v.ID, v.Epoch)
	return nil
}

// takeLease takes the lease of a volume, and asks again while metadata is not
// available.
func (g *Gateway) takeLease(id holdall.VolumeID) (metadata.Volume, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		ctx, cancel := context.WithTimeout(g.ctx, callTimeout)
		v, err := g.cfg.Leases.TakeLease(ctx, id, g.cfg.ID, g.cfg.Lease)
		cancel()
		if err == nil || definite(err) || !g.pause(wait) {
			return v, err
		}
	}
}

// definite says that asking again would give the same answer.
func definite(err error) bool {
	for _, kind := range []error{holdall.ErrStale, holdall.ErrNotFound, holdall.ErrRefused, holdall.ErrInvalid} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// fence tells every member of the new epoch, and reports whether all of them end
// where the volume's row says.
func (g *Gateway) fence(v *metadata.Volume) (clean bool) {
	ctx, cancel := context.WithTimeout(g.ctx, fenceTimeout)
	defer cancel()
	faults := make([]error, len(v.Members))
	var wg sync.WaitGroup
	for m := range v.Members {
		wg.Go(func() {
			info, err := await(ctx, g, func() (volume.ExtentInfo, error) {
				return g.cfg.Writer.Fence(ctx, v.Members[m].Disk, v.Extent(m), v.Epoch, v.Members[m].End, v.Last)
			})
			if err == nil && (info.State != volume.ExtentOpen || info.End != v.Members[m].End) {
				err = fmt.Errorf("%v, ends at %d, committed end %d", info.State, info.End, v.Members[m].End)
			}
			faults[m] = err
		})
	}
	wg.Wait()
	clean = true
	for m, err := range faults {
		if err != nil {
			clean = false
			g.log.Info("member does not end where it was committed", "volume", v.ID, "member", m, "disk", v.Members[m].Disk, "err", err)
		}
	}
	return clean
}

// keepLeases prolongs the leases of the open volumes, and takes over those that
// have lapsed, until the Gateway closes.
func (g *Gateway) keepLeases() {
	for g.pause(g.cfg.Lease / 3) {
		if err := g.renewLeases(); err != nil {
			g.log.Warn("leases were not renewed", "err", err)
			continue // those that have lapsed may be ours
		}
		if err := g.takeLapsed(); err != nil {
			g.log.Warn("lapsed volumes were not looked for", "err", err)
		}
	}
}

// renewLeases prolongs the leases of the volumes in hand. Those that are lost are
// given up.
func (g *Gateway) renewLeases() error {
	ids := append(g.user.volumes.leased(), g.system.volumes.leased()...)
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(g.ctx, g.cfg.Lease/3)
	defer cancel()
	lost, err := g.cfg.Leases.RenewLeases(ctx, g.cfg.ID, ids, g.cfg.Lease)
	for _, id := range lost {
		// Sealed by an operator, or taken: a commit would be refused.
		if !g.user.volumes.want(id) {
			g.system.volumes.want(id)
		}
	}
	return err
}

// takeLapsed takes over the open volumes whose lease has lapsed, whoever held it,
// and that nobody here has in hand. Such are left by a gateway that is gone, and
// by a creation of one's own whose answer was lost.
func (g *Gateway) takeLapsed() error {
	all, err := g.cfg.Tables.Volumes()
	if err != nil {
		return err
	}
	now := g.cfg.Now()
	for i := range all {
		v := &all[i]
		s := g.volumesOf(v.System)
		if v.State == holdall.VolumeOpen && v.Expires.Before(now) && !s.inHand(v.ID) && !g.footers.has(v.ID) {
			g.log.Info("volume has lapsed", "volume", v.ID, "holder", v.Gateway, "expired", v.Expires)
			s.reclaim(v.ID)
		}
	}
	return nil
}
