package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/placement"
	"github.com/holdall/holdall/volume"
)

// createTries bounds how many placements are tried: a disk that fails to make an
// extent is left out of the next.
const createTries = 4

// createVolume makes a volume: placed, leased, and with an extent on every
// member. Its errors say, disk by disk, why there is none.
func (g *Gateway) createVolume(system bool) (*openVolume, error) {
	ctx, cancel := context.WithTimeout(g.ctx, callTimeout)
	defer cancel()
	var err error
	for range createTries {
		var choice placement.Choice
		if choice, err = g.place(); err != nil {
			return nil, fmt.Errorf("gateway: no new volume: %w", err)
		}
		if choice.Scheme != g.cfg.Scheme {
			g.log.Warn("volume is narrower than configured: too few disks are usable",
				"scheme", choice.Scheme, "configured", g.cfg.Scheme, "reasons", fmt.Sprint(choice.Refused))
		}
		var v metadata.Volume
		v, err = g.cfg.Leases.CreateVolume(ctx, metadata.NewVolume{Scheme: choice.Scheme, Limit: g.cfg.ExtentLimit, Disks: choice.Disks,
			System: system, Gateway: g.cfg.ID, Lease: g.cfg.Lease})
		if err != nil {
			if errors.Is(err, holdall.ErrRefused) { // a disk's state changed in this moment
				g.health.look(g.cfg.Now())
				continue
			}
			return nil, fmt.Errorf("gateway: no new volume: %w", err)
		}
		if err = g.createExtents(ctx, &v); err == nil {
			g.log.Info("volume is open", "volume", v.ID, "scheme", v.Scheme, "system", system)
			return openVolumeOf(&v), nil
		}
		g.footers.seal(v.ID, v.Epoch)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("gateway: no new volume after %d tries: %w", createTries, err)
}

// createExtents makes the extents of a new volume, all at once. A disk that
// fails, or takes longer than an append may, is put on probation.
func (g *Gateway) createExtents(ctx context.Context, v *metadata.Volume) error {
	ctx, cancel := context.WithTimeout(ctx, g.writes.timeout())
	defer cancel()
	faults := make([]error, len(v.Members))
	var wg sync.WaitGroup
	for m := range v.Members {
		wg.Go(func() {
			_, faults[m] = await(ctx, g, func() (nothing, error) {
				return nothing{}, g.cfg.Writer.CreateExtent(ctx, volume.Grant{Disk: v.Members[m].Disk, Extent: v.Extent(m),
					Scheme: v.Scheme, Limit: v.Limit, Reserved: v.System})
			})
		})
	}
	wg.Wait()
	var failed error
	for m, err := range faults {
		if err != nil {
			failed = err
			if g.ctx.Err() == nil {
				g.health.suspect(v.Members[m].Disk, err)
			}
		}
	}
	return failed
}

// place chooses the members of a new volume. What open volumes may still take
// of a disk is not free, and room for one extent more stays for repair.
func (g *Gateway) place() (placement.Choice, error) {
	all, err := g.cfg.Tables.Volumes()
	if err != nil {
		return placement.Choice{}, err
	}
	promised := map[holdall.DiskID]int64{}
	var members [][]holdall.DiskID
	for i := range all {
		v := &all[i]
		if v.State == holdall.VolumeFreed {
			continue
		}
		ids := make([]holdall.DiskID, len(v.Members))
		for m, member := range v.Members {
			ids[m] = member.Disk
			if v.State == holdall.VolumeOpen {
				promised[member.Disk] += v.Limit - member.End
			}
		}
		members = append(members, ids)
	}
	r := placement.Request{Scheme: g.cfg.Scheme, Level: g.cfg.Domain, Volumes: members, Need: 2 * g.cfg.ExtentLimit,
		Seed: g.cfg.Seed + g.placements.Add(1)}
	probation := g.health.onProbation()
	// More disks than a stripe may lose are not slow at the same time: something
	// else was.
	if len(probation) > 0 && len(probation) <= g.cfg.Scheme.Tolerance() {
		r.Disks = g.candidates(promised, probation)
		if choice, err := placement.Pick(r); err == nil {
			return choice, nil
		}
		// A slow disk is better than none.
	}
	r.Disks = g.candidates(promised, nil)
	return placement.Pick(r)
}

// candidates lists the disks of the cell for placement, with the reason why not
// to use each that is out of use or on probation.
func (g *Gateway) candidates(promised map[holdall.DiskID]int64, probation map[holdall.DiskID]time.Time) []placement.Disk {
	var disks []placement.Disk
	for id, d := range g.health.look(g.cfg.Now()) {
		p := placement.Disk{ID: id, Domain: d.domain, State: d.state, Reason: d.reason,
			Free: max(0, d.status.Free()-promised[id]), OpenZones: d.status.OpenZones, MaxOpen: d.status.MaxOpen}
		switch until, slow := probation[id]; {
		case !d.up && d.state != holdall.DiskRemoved:
			p.State, p.Reason = holdall.DiskFailed, "not there"
		case d.up && d.status.State != holdall.DiskActive:
			p.State, p.Reason = d.status.State, d.status.Reason
		case slow:
			p.Reason = "was late or failed a write; used again from " + until.Format("15:04:05")
		}
		disks = append(disks, p)
	}
	return disks
}
