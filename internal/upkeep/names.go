package upkeep

import (
	"context"
	"sync"

	"github.com/holdall/holdall/metadata"
)

// Bounds of what a round does for objects.
const (
	nodeReaders    = 8    // manifest nodes read at once: each a block of 36 KiB or so
	nodesPerRound  = 2000 // about: upkeep has other things to do
	nodeFailures   = 16   // after which the rest of a page waits: each may have taken long to fail
	uploadsAtOnce  = 100  // ended uploads looked at in a round
	partsPerCommit = 500  // parts released by one Raft entry
)

// purgeVersions removes the rows of versions that are due. What they refer to is
// due at once then: purgeBlocks comes next.
func (u *Upkeep) purgeVersions(ctx context.Context, p *patience) error {
	now := u.cfg.Now()
	before := justAfter(now.Add(-p.shortest))
	if p.leaving {
		before = justAfter(now)
	}
	var purged int64
	for range purgePages {
		page, err := u.cfg.Versions.ObjectTrash(u.versionAt, before, metadata.MaxObjectsPerPurge)
		if err != nil {
			return err
		}
		var due []metadata.ObjectKey
		for _, w := range page {
			if w.Removed || p.over(w.Namespace, w.Since, now) {
				due = append(due, w.ObjectKey)
			}
		}
		if len(due) > 0 {
			r, err := u.cfg.Versions.PurgeObjects(ctx, due)
			if err != nil {
				return err
			}
			purged += r.Purged
			u.metrics.versions.Add(float64(r.Purged))
			u.breaker(r.Stopped)
			if r.Stopped {
				break
			}
		}
		if len(page) < metadata.MaxObjectsPerPurge {
			u.versionAt = metadata.ObjectTrashed{} // seen to the end
			break
		}
		u.versionAt = page[len(page)-1]
	}
	if purged > 0 {
		u.log.Info("purged trash", "versions", purged)
	}
	return nil
}

// releaseNodes reads manifest nodes that are due, and has metadata remove their
// rows and drop what they refer to. One that cannot be read stays, with all that
// it refers to, and is tried again when the trash is looked through again.
func (u *Upkeep) releaseNodes(ctx context.Context, nodes []metadata.BlockKey) (total metadata.PurgeResult, err error) {
	if u.cfg.Nodes == nil || u.cfg.Versions == nil {
		return total, nil
	}
	var (
		mu      sync.Mutex // guards total, failed
		failed  int
		readers sync.WaitGroup
		free    = make(chan struct{}, nodeReaders)
	)
	for _, k := range nodes {
		free <- struct{}{}
		mu.Lock()
		stopped := total.Stopped || failed >= nodeFailures
		mu.Unlock()
		if stopped || ctx.Err() != nil {
			break
		}
		readers.Go(func() {
			defer func() { <-free }()
			r, err := u.releaseNode(ctx, k)
			if err != nil && ctx.Err() == nil {
				u.metrics.stuckNodes.Inc()
				u.log.Warn("a manifest node in trash could not be released: it stays, with all that it refers to", "namespace", k.Namespace, "node", k.ID, "err", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed++
			}
			total.Purged += r.Purged
			total.Stopped = total.Stopped || r.Stopped
		})
	}
	readers.Wait()
	u.metrics.nodes.Add(float64(total.Purged))
	return total, ctx.Err()
}

func (u *Upkeep) releaseNode(ctx context.Context, k metadata.BlockKey) (metadata.PurgeResult, error) {
	children, err := u.cfg.Nodes.Children(ctx, k.Namespace, k.ID)
	if err != nil {
		return metadata.PurgeResult{}, err
	}
	return u.cfg.Versions.ReleaseNode(ctx, k.Namespace, k.ID, children)
}

// releaseUploads drops the parts of uploads that were completed or aborted.
func (u *Upkeep) releaseUploads(ctx context.Context) error {
	ended, err := u.cfg.Versions.EndedUploads(justAfter(u.cfg.Now()), uploadsAtOnce)
	if err != nil {
		return err
	}
	for _, e := range ended {
		left := 1
		for left > 0 {
			if left, err = u.cfg.Versions.ReleaseUpload(ctx, e.ID, partsPerCommit); err != nil {
				return err
			}
		}
		u.metrics.uploads.Inc()
	}
	return nil
}

var _ Versions = (*metadata.Store)(nil)
