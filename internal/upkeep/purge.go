package upkeep

import (
	"context"
	"errors"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// purgePages bounds the pages of trash, of MaxIDsPerCall blocks each, that one
// round looks at: some 50 ms. The next round goes on where it ended.
const purgePages = 50

// patience is how long the trash of each namespace waits.
type patience struct {
	waits    map[holdall.NamespaceID]time.Duration
	shortest time.Duration // of all of them
	leaving  bool          // a bucket was removed: what it has need not wait
}

// patience reads what namespaces say. The system namespace says nothing of its
// own: Config.Retention is for it.
func (u *Upkeep) patience() (patience, error) {
	spaces, err := u.cfg.Trash.Namespaces()
	if err != nil {
		return patience{}, err
	}
	p := patience{waits: make(map[holdall.NamespaceID]time.Duration, len(spaces)), shortest: u.cfg.Retention}
	for _, n := range spaces {
		wait := n.Retention
		if n.ID == holdall.SystemNamespace {
			wait = max(wait, u.cfg.Retention)
		}
		p.waits[n.ID] = wait
		p.shortest = min(p.shortest, wait)
		p.leaving = p.leaving || n.Leaving > 0
	}
	return p, nil
}

// over says whether what is in trash since a time has waited.
func (p *patience) over(ns holdall.NamespaceID, since, now time.Time) bool {
	wait, known := p.waits[ns]
	return known && !since.Add(wait).After(now)
}

// justAfter makes a bound that leaves its time out take it in: metadata counts
// in milliseconds.
func justAfter(t time.Time) time.Time { return t.Add(time.Millisecond) }

// purge removes the rows of versions and blocks whose retention has ended, as
// many as the breaker lets it, and returns how many. Versions come first: they
// hold blocks.
func (u *Upkeep) purge(ctx context.Context) (int64, error) {
	p, err := u.patience()
	if err != nil {
		return 0, err
	}
	var names error // what ails objects keeps no block from being purged
	if u.cfg.Versions != nil {
		names = errors.Join(u.purgeVersions(ctx, &p), u.releaseUploads(ctx))
	}
	purged, err := u.purgeBlocks(ctx, &p)
	if purged > 0 {
		u.log.Info("purged trash", "blocks", purged)
	}
	return purged, errors.Join(names, err)
}

// purgeBlocks removes the rows of blocks that are due. Trash is in order of time,
// and namespaces keep theirs for longer or shorter, so it looks past those that
// have yet to wait: a namespace with a long retention holds up no other.
func (u *Upkeep) purgeBlocks(ctx context.Context, p *patience) (int64, error) {
	var purged int64
	nodes := 0
	before := justAfter(u.cfg.Now().Add(-p.shortest))
	for range purgePages {
		page, err := u.cfg.Trash.TrashAfter(u.purgeAt, before, holdall.MaxIDsPerCall)
		if err != nil {
			return purged, err
		}
		due := u.due(page, p)
		var r metadata.PurgeResult
		if len(due) > 0 {
			if r, err = u.cfg.Trash.Purge(ctx, due); err != nil {
				return purged, err
			}
			released, err := u.releaseNodes(ctx, r.Nodes)
			nodes += len(r.Nodes)
			r.Purged += released.Purged
			r.Stopped = r.Stopped || released.Stopped
			purged += r.Purged
			u.metrics.purged.Add(float64(r.Purged))
			u.breaker(r.Stopped)
			if err != nil {
				return purged, err
			}
		}
		if r.Stopped {
			break // the rest waits for an operator
		}
		if len(page) < holdall.MaxIDsPerCall {
			u.purgeAt = metadata.Trashed{} // seen to the end
			break
		}
		if u.purgeAt = page[len(page)-1]; len(due) > 0 && r.Purged == 0 || nodes >= nodesPerRound {
			break // metadata's clock says that they are not due, or it is enough for now
		}
	}
	return purged, nil
}

// due returns the blocks that have waited their namespace's retention. Metadata
// has the last word on each.
func (u *Upkeep) due(page []metadata.Trashed, p *patience) (keys []metadata.BlockKey) {
	now := u.cfg.Now()
	for _, w := range page {
		if p.over(w.Namespace, w.Since, now) {
			keys = append(keys, w.BlockKey)
		}
	}
	return keys
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
