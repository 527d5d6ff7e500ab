package erasure

import "sync"

// cache remembers up to max values that can be made again. When it is full, the
// entry that was not used for longest, as far as one bit an entry tells, makes
// room (the clock algorithm). It is safe for concurrent use.
type cache[K comparable, V any] struct {
	mu    sync.Mutex // guards what follows
	max   int
	index map[K]int
	slots []slot[K, V]
	hand  int
}

type slot[K comparable, V any] struct {
	key   K
	value V
	used  bool
}

func newCache[K comparable, V any](max int) *cache[K, V] {
	return &cache[K, V]{max: max, index: map[K]int{}}
}

// get returns the value for key, made if need be. Two callers at once may both
// make it; make is pure, so either result will do.
func (c *cache[K, V]) get(key K, make func() V) V {
	if v, ok := c.find(key); ok {
		return v
	}
	v := make()
	c.put(key, v)
	return v
}

func (c *cache[K, V]) find(key K) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.index[key]
	if !ok {
		return v, false
	}
	c.slots[i].used = true
	return c.slots[i].value, true
}

func (c *cache[K, V]) put(key K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.index[key]; ok {
		return
	}
	if len(c.slots) < c.max {
		c.index[key] = len(c.slots)
		c.slots = append(c.slots, slot[K, V]{key: key, value: v})
		return
	}
	for c.slots[c.hand].used {
		c.slots[c.hand].used = false
		c.hand = (c.hand + 1) % c.max
	}
	delete(c.index, c.slots[c.hand].key)
	c.index[key] = c.hand
	c.slots[c.hand] = slot[K, V]{key: key, value: v}
	c.hand = (c.hand + 1) % c.max
}
