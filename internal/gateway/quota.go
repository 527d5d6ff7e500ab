package gateway

import (
	"fmt"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// quotas refuses puts that would take a namespace over its quota, before their
// bytes come. What a namespace uses is read every second; what this gateway has
// put since then, and what is on its way, is added to it.
type quotas struct {
	from Namespaces // nil: nothing is refused
	now  func() time.Time

	mu   sync.Mutex // guards uses and what they hold
	uses map[holdall.NamespaceID]*use
}

// use is what one namespace uses.
type use struct {
	read   time.Time // when known and quota were
	known  int64     // bytes, by metadata
	quota  int64     // bytes; 0 = any
	landed int64     // bytes put since then
	flying int64     // bytes on their way
}

// usesFor is how long what was read of a namespace holds.
const usesFor = time.Second

func newQuotas(cfg Config) *quotas {
	return &quotas{from: cfg.Namespaces, now: cfg.Now, uses: map[holdall.NamespaceID]*use{}}
}

// reserved is a put's share of a quota. The zero reserved is of none.
type reserved struct {
	q     *quotas
	use   *use
	bytes int64
}

// reserve makes room for a block, or says that there is none: ErrExhausted.
func (q *quotas) reserve(ns holdall.NamespaceID, bytes int64) (reserved, error) {
	if q.from == nil || ns == holdall.SystemNamespace {
		return reserved{}, nil
	}
	q.mu.Lock()
	u, now := q.uses[ns], q.now()
	fresh := u != nil && now.Sub(u.read) < usesFor && !now.Before(u.read)
	q.mu.Unlock()
	if !fresh {
		row, err := q.from.NamespaceByID(ns)
		if err != nil {
			return reserved{}, nil // the commit knows what becomes of it
		}
		u = q.refresh(ns, &row, now)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if used := u.known + u.landed + u.flying; u.quota > 0 && used+bytes > u.quota {
		return reserved{}, fmt.Errorf("gateway: put of %d bytes: namespace %d uses %d bytes of its quota of %d; delete something, or raise the quota: %w",
			bytes, ns, used, u.quota, holdall.ErrExhausted)
	}
	u.flying += bytes
	return reserved{q, u, bytes}, nil
}

// refresh notes what was just read of a namespace.
func (q *quotas) refresh(ns holdall.NamespaceID, row *metadata.Namespace, now time.Time) *use {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.uses[ns]
	if u == nil {
		u = &use{}
		q.uses[ns] = u
	}
	u.read, u.known, u.quota, u.landed = now, row.Bytes, row.Quota, 0
	return u
}

// release ends a reservation. written says that its bytes are stored. Calls after
// the first do nothing.
func (r *reserved) release(written bool) {
	if r.q == nil {
		return
	}
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	r.use.flying -= r.bytes
	if written {
		r.use.landed += r.bytes
	}
	r.q = nil
}
