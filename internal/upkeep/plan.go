package upkeep

import (
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// place is one member of a volume that something is to be done to.
type place struct {
	volume *metadata.Volume
	member int
}

func (p place) disk() holdall.DiskID     { return p.volume.Members[p.member].Disk }
func (p place) extent() holdall.ExtentID { return p.volume.Extent(p.member) }

// plan is what is to be done to volumes at one moment.
type plan struct {
	footers []place            // sealed, the footer not known to be written
	inspect []*metadata.Volume // sealed, without rows: to be freed if inspection agrees
	trash   []place            // freed, the hold not over
	reset   []place            // freed, the hold over: zones can be given back
	gone    []place            // freed, but the disk was removed from the cell, or was given up by a rebuild
	seal    []holdall.VolumeID // open, all dead, and space is short
}

// situation is what a plan depends on besides the volumes.
type situation struct {
	now   time.Time
	hold  time.Duration // how long extents of freed volumes wait
	short bool          // the disks are nearly full
	disks map[holdall.DiskID]holdall.DiskState
}

// planVolumes says what is to be done to volumes. It keeps them.
func planVolumes(volumes []metadata.Volume, s situation) plan {
	var p plan
	for i := range volumes {
		v := &volumes[i]
		switch v.State {
		case holdall.VolumeOpen:
			if s.short && v.Rows == 0 && v.Last > 0 {
				p.seal = append(p.seal, v.ID)
			}
		case holdall.VolumeSealed:
			if v.Rows == 0 {
				p.inspect = append(p.inspect, v)
				continue // a footer on what is about to go serves nobody
			}
			for m := range v.Members {
				if !v.Members[m].Footer && s.disks[v.Members[m].Disk] == holdall.DiskActive {
					p.footers = append(p.footers, place{v, m})
				}
			}
		case holdall.VolumeFreed:
			p.freed(v, s)
		}
	}
	return p
}

// freed plans for a volume that is on its way out.
func (p *plan) freed(v *metadata.Volume, s situation) {
	for m := range v.Members {
		at := place{v, m}
		state, known := s.disks[v.Members[m].Disk]
		switch {
		case v.Members[m].Freed:
		case known && state == holdall.DiskRemoved, at.disk() == (holdall.DiskID{}):
			p.gone = append(p.gone, at)
		case state != holdall.DiskActive && state != holdall.DiskDraining:
			// The disk may come back, with the extent: it is freed then.
		case s.now.Before(v.Freed.Add(s.hold)):
			p.trash = append(p.trash, at)
		default:
			p.reset = append(p.reset, at)
		}
	}
}

// shortShare is the share of free zones, in percent, below which dead open
// volumes are sealed to be freed.
const shortShare = 15

// spaceIsShort says whether few zones are left on the disks that take writes.
func spaceIsShort(disks []volume.DiskStatus) bool {
	var free, total int
	for _, d := range disks {
		if d.State == holdall.DiskActive {
			free, total = free+d.FreeZones, total+d.TotalZones
		}
	}
	return total > 0 && free*100 < total*shortShare
}
