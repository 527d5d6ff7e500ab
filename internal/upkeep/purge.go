package upkeep

import (
	"context"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// purgePages bounds the pages of trash, of MaxIDsPerCall blocks each, that one
// round looks at: some 50 ms. The next round goes on where it ended.
const purgePages = 50

// purge removes the rows of blocks whose retention has ended, as many as the
// breaker lets it, and returns how many. Trash is in order of time, and
// namespaces keep theirs for longer or shorter, so it looks past those that have
// yet to wait: a namespace with a long retention holds up no other.
func (u *Upkeep) purge(ctx context.Context) (int64, error) {
	var purged int64
	before := u.cfg.Now().Add(-u.cfg.Retention)
	for range purgePages {
		page, err := u.cfg.Trash.TrashAfter(u.purgeAt, before, holdall.MaxIDsPerCall)
		if err != nil {
			return purged, err
		}
		due, err := u.due(page)
		if err != nil {
			return purged, err
		}
		var r metadata.PurgeResult
		if len(due) > 0 {
			if r, err = u.cfg.Trash.Purge(ctx, due); err != nil {
				return purged, err
			}
			purged += r.Purged
			u.metrics.purged.Add(float64(r.Purged))
			u.breaker(r.Stopped)
		}
		if r.Stopped {
			break // the rest waits for an operator
		}
		if len(page) < holdall.MaxIDsPerCall {
			u.purgeAt = metadata.Trashed{} // seen to the end
			break
		}
		if u.purgeAt = page[len(page)-1]; len(due) > 0 && r.Purged == 0 {
			break // metadata's clock says that they are not due
		}
	}
	if purged > 0 {
		u.log.Info("purged trash", "blocks", purged)
	}
	return purged, nil
}

// due returns the blocks that have waited their namespace's retention. Metadata
// has the last word on each.
func (u *Upkeep) due(page []metadata.Trashed) (keys []metadata.BlockKey, err error) {
	if len(page) == 0 {
		return nil, nil
	}
	spaces, err := u.cfg.Trash.Namespaces()
	if err != nil {
		return nil, err
	}
	retention := make(map[holdall.NamespaceID]time.Duration, len(spaces))
	for _, n := range spaces {
		retention[n.ID] = n.Retention
	}
	now := u.cfg.Now()
	for _, w := range page {
		if wait, known := retention[w.Namespace]; known && !w.Since.Add(wait).After(now) {
			keys = append(keys, w.BlockKey)
		}
	}
	return keys, nil
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
