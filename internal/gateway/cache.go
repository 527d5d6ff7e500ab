package gateway

import (
	"container/list"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
)

// lru keeps what was used last, up to a total cost. It is not safe for
// concurrent use.
type lru[K comparable, V any] struct {
	max   int64
	cost  int64
	order *list.List // of *lruEntry, last used first
	byKey map[K]*list.Element
	drop  func(V) // told of what leaves; may be nil
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
	cost  int64
}

func newLRU[K comparable, V any](max int64, drop func(V)) *lru[K, V] {
	return &lru[K, V]{max: max, order: list.New(), byKey: map[K]*list.Element{}, drop: drop}
}

func (c *lru[K, V]) get(k K) (v V, ok bool) {
	e := c.byKey[k]
	if e == nil {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*lruEntry[K, V]).value, true
}

func (c *lru[K, V]) put(k K, v V, cost int64) {
	c.remove(k)
	c.byKey[k] = c.order.PushFront(&lruEntry[K, V]{k, v, cost})
	c.cost += cost
	for c.cost > c.max {
		c.remove(c.order.Back().Value.(*lruEntry[K, V]).key)
	}
}

func (c *lru[K, V]) remove(k K) {
	e := c.byKey[k]
	if e == nil {
		return
	}
	entry := c.order.Remove(e).(*lruEntry[K, V])
	delete(c.byKey, k)
	c.cost -= entry.cost
	if c.drop != nil {
		c.drop(entry.value)
	}
}

// blockCache keeps the bytes of blocks that were read lately. A block's bytes
// never change, so what was hashed once is right for ever; whether the block is
// still there is the index's affair.
type blockCache struct {
	now func() time.Time
	mu  sync.Mutex // guards lru
	lru *lru[holdall.BlockID, cachedBlock]
}

type cachedBlock struct {
	view  buffer.View
	proof holdall.Proof
	at    time.Time
}

// maxCached is how long a block stays without being read: the cache is for
// bursts, and what it keeps longer has no hash checked again.
const maxCached = 10 * time.Minute

func newBlockCache(max int64, now func() time.Time) *blockCache {
	return &blockCache{now: now, lru: newLRU[holdall.BlockID](max, func(b cachedBlock) { b.view.Release() })}
}

// get returns a block's bytes, with a reference that is the caller's, and what
// vouches for them: ProofHash or ProofNone.
func (c *blockCache) get(id holdall.BlockID) (buffer.View, holdall.Proof, bool) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.lru.get(id)
	if !ok {
		return buffer.View{}, 0, false
	}
	if now.Sub(b.at) > maxCached {
		c.lru.remove(id)
		return buffer.View{}, 0, false
	}
	b.view.Buffer.Ref()
	return b.view, b.proof, true
}

// put keeps a whole block. It takes a reference of its own.
func (c *blockCache) put(id holdall.BlockID, v buffer.View, proof holdall.Proof) {
	cost := int64(v.Buffer.Cap())
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if cost > c.lru.max {
		return
	}
	v.Buffer.Ref()
	c.lru.put(id, cachedBlock{v, proof, now}, cost)
}

// remove drops a block.
func (c *blockCache) remove(id holdall.BlockID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.remove(id)
}

func (c *blockCache) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.cost
}

// clear drops everything.
func (c *blockCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.lru.order.Len() > 0 {
		c.lru.remove(c.lru.order.Back().Value.(*lruEntry[holdall.BlockID, cachedBlock]).key)
	}
}

// placeCache keeps rows of the blocks and volumes tables for a while. A stale
// one is right or dangling, never wrong: ids and extents are not used twice.
type placeCache struct {
	now     func() time.Time
	mu      sync.Mutex // guards all below
	rows    *lru[blockKey, cachedRow]
	volumes *lru[holdall.VolumeID, cachedVolume]
}

type cachedRow struct {
	row metadata.Block
	at  time.Time
}

type cachedVolume struct {
	row *metadata.Volume
	at  time.Time
}

const (
	maxRows    = 32768            // about 8 MB
	maxRowAge  = 30 * time.Second // half of how long a deleted block may still be found
	maxVolumes = 4096
	maxVolAge  = 10 * time.Second
)

func newPlaceCache(now func() time.Time) *placeCache {
	return &placeCache{now: now, rows: newLRU[blockKey, cachedRow](maxRows, nil),
		volumes: newLRU[holdall.VolumeID, cachedVolume](maxVolumes, nil)}
}

func (c *placeCache) get(k blockKey) (metadata.Block, bool) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.rows.get(k)
	if !ok || !r.row.Found || now.Sub(r.at) > maxRowAge {
		return metadata.Block{}, false
	}
	return r.row, true
}

// put keeps a row whose lookup began at asked: one that began before the block
// was deleted must not bring it back.
func (c *placeCache) put(k blockKey, row metadata.Block, asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.rows.get(k); ok && !r.row.Found && !asked.After(r.at) {
		return
	}
	c.rows.put(k, cachedRow{row, asked}, 1)
}

// forget drops what is known of blocks. A lookup that began before keeps
// nothing.
func (c *placeCache) forget(ns holdall.NamespaceID, ids []holdall.BlockID) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		// Kept as a row that was not found, which is never used.
		c.rows.put(blockKey{ns, id}, cachedRow{at: now}, 1)
	}
}

// volume returns the row of a volume, from the table if the cached one is old.
func (c *placeCache) volume(t Tables, id holdall.VolumeID) (*metadata.Volume, error) {
	now := c.now()
	c.mu.Lock()
	v, ok := c.volumes.get(id)
	c.mu.Unlock()
	if ok && now.Sub(v.at) < maxVolAge {
		return v.row, nil
	}
	return c.refreshVolume(t, id)
}

// refreshVolume reads the row of a volume from the table.
func (c *placeCache) refreshVolume(t Tables, id holdall.VolumeID) (*metadata.Volume, error) {
	now := c.now()
	row, err := t.Volume(id)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.volumes.put(id, cachedVolume{&row, now}, 1)
	return &row, nil
}
