package upkeep

import (
	"context"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// purge removes the rows of blocks whose retention has ended, as many as the
// breaker lets it, and returns how many.
func (u *Upkeep) purge(ctx context.Context) (int64, error) {
	var purged int64
	for ctx.Err() == nil {
		waiting, err := u.cfg.Trash.Trash(u.cfg.Now().Add(-u.cfg.Retention), holdall.MaxIDsPerCall)
		if err != nil || len(waiting) == 0 {
			return purged, err
		}
		keys := make([]metadata.BlockKey, len(waiting))
		for i := range waiting {
			keys[i] = waiting[i].BlockKey
		}
		r, err := u.cfg.Trash.Purge(ctx, keys)
		if err != nil {
			return purged, err
		}
		purged += r.Purged
		u.metrics.purged.Add(float64(r.Purged))
		u.breaker(r.Stopped)
		if r.Stopped || r.Purged == 0 {
			break // the rest waits: for an operator, or for its namespace's retention
		}
	}
	if purged > 0 {
		u.log.Info("purged trash", "blocks", purged)
	}
	return purged, nil
}

// breaker tells operators once when the breaker trips, and once when it is
// released.
func (u *Upkeep) breaker(tripped bool) {
	if tripped && !u.tripped {
		u.log.Error("purge breaker tripped: far more trash than usual is due; look at what was deleted, then run `holdall purge release`")
	}
	if !tripped && u.tripped {
		u.log.Info("purge breaker is closed again")
	}
	u.tripped = tripped
	u.metrics.breaker.Set(map[bool]float64{true: 1}[tripped])
}
