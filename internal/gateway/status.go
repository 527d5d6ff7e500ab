package gateway

import (
	"time"

	"github.com/holdall/holdall"
)

// Status is what operators want to know of a gateway.
type Status struct {
	Volumes    []OpenVolume // that it may append to
	Unsealed   int          // volumes on their way to their footers
	PutBytes   int64        // in flight, admitted
	PutLimit   int64
	GetBytes   int64 // in flight
	GetLimit   int64
	CacheBytes int64
	Probation  map[holdall.DiskID]time.Time // disks that get no new volumes, and until when
}

// OpenVolume is a volume that a gateway may append to.
type OpenVolume struct {
	ID     holdall.VolumeID
	Scheme holdall.Scheme
	Epoch  holdall.Epoch
	System bool
	Busy   bool // a stripe is being written to it
}

// Status tells how the Gateway is doing.
func (g *Gateway) Status() Status {
	return Status{
		Volumes:    append(g.user.volumes.status(), g.system.volumes.status()...),
		Unsealed:   g.footers.waiting(),
		PutBytes:   g.receive.inUse(),
		PutLimit:   g.receive.limit,
		GetBytes:   g.send.inUse(),
		GetLimit:   g.send.limit,
		CacheBytes: g.blocks.bytes(),
		Probation:  g.health.onProbation(),
	}
}

func (s *openSet) status() []OpenVolume {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []OpenVolume
	for _, v := range s.open {
		out = append(out, OpenVolume{v.id, v.scheme, v.epoch, s.lane.system, v.busy})
	}
	return out
}
