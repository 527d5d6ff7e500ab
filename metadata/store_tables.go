package metadata

import (
	"slices"
	"sync"

	"github.com/holdall/holdall"
)

// Limits of the decoded tables in memory. A volume takes about 600 bytes.
const (
	tableShards     = 64
	maxShardVolumes = 512 // rows of a shard: 32,768 volumes in all
)

// tableCache keeps decoded rows of the volumes and disks tables, because every
// get resolves its volume's members, and of the migrations, because every call of
// a bucket asks for its. Apply takes out what it changes. A row is
// put in only if nothing was taken out of its shard since it was read, so a row
// found here is never older than the state.
type tableCache struct {
	volumes [tableShards]volumeShard

	mu         sync.RWMutex // guards all below
	disks      []Disk       // nil: not known
	diskChange uint64       // counts what was taken out

	moving     map[holdall.BucketID]Migration // without evidence and counts; nil: not known
	moveChange uint64                         // counts what was taken out
}

type volumeShard struct {
	mu      sync.RWMutex // guards all below
	rows    map[holdall.VolumeID]Volume
	changes uint64 // counts what was taken out
}

func (c *tableCache) shard(id holdall.VolumeID) *volumeShard {
	return &c.volumes[id.Counter()%tableShards]
}

// volume returns a row, or false and a number that putVolume wants.
func (c *tableCache) volume(id holdall.VolumeID) (v Volume, ok bool, changes uint64) {
	s := c.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok = s.rows[id]
	return v, ok, s.changes
}

// putVolume keeps a row that was read after volume returned changes.
func (c *tableCache) putVolume(v Volume, changes uint64) {
	s := c.shard(v.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes != changes {
		return
	}
	if s.rows == nil || len(s.rows) >= maxShardVolumes {
		s.rows = make(map[holdall.VolumeID]Volume)
	}
	s.rows[v.ID] = v
}

// diskRows returns the disks table, which the caller must not change, or false
// and a number that putDisks wants.
func (c *tableCache) diskRows() (rows []Disk, ok bool, changes uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.disks, c.disks != nil, c.diskChange
}

// putDisks keeps a table that was read after diskRows returned changes.
func (c *tableCache) putDisks(rows []Disk, changes uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.diskChange == changes {
		c.disks = slices.Clip(rows)
	}
}

// applied takes out what an entry changed.
func (c *tableCache) applied(volumes []holdall.VolumeID, entry []byte) {
	for _, id := range volumes {
		s := c.shard(id)
		s.mu.Lock()
		delete(s.rows, id)
		s.changes++
		s.mu.Unlock()
	}
	if len(entry) < 2 {
		return
	}
	switch commandTag(entry[1]) {
	case tagAddDisk, tagGrantMount, tagConfirmMount, tagSetDisk:
		c.mu.Lock()
		c.disks = nil
		c.diskChange++
		c.mu.Unlock()
	case tagCreateMigration, tagSetMigration, tagRemoveMigration, tagAnnounce, tagCancelStep, tagStep, tagCertify, tagRemoveBucket, tagReplayChanges:
		c.mu.Lock()
		c.moving = nil
		c.moveChange++
		c.mu.Unlock()
	}
}

// migration returns the migration of a bucket and whether it has one, if known is
// true; else a number that putMigrations wants.
func (c *tableCache) migration(b holdall.BucketID) (m Migration, ok, known bool, changes uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	m, ok = c.moving[b]
	return m, ok, c.moving != nil, c.moveChange
}

// putMigrations keeps a table that was read after migration returned changes.
func (c *tableCache) putMigrations(rows []Migration, changes uint64) {
	all := make(map[holdall.BucketID]Migration, len(rows))
	for _, m := range rows {
		all[m.Bucket] = m
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moveChange == changes {
		c.moving = all
	}
}

// clear takes everything out: another state has become the present one.
func (c *tableCache) clear() {
	for i := range c.volumes {
		s := &c.volumes[i]
		s.mu.Lock()
		s.rows = nil
		s.changes++
		s.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disks, c.moving = nil, nil
	c.diskChange++
	c.moveChange++
}
