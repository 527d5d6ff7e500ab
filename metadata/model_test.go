package metadata

import (
	"maps"
	"slices"
	"time"

	"github.com/holdall/holdall"
)

// A model is what the state machine must be, written as maps and plain loops:
// no counts that are kept, no codecs, no batches. Counts are worked out from the
// rows when they are compared.
type model struct {
	now         instant
	retention   time.Duration
	incarnation uint32
	quarantine  string
	rows        map[BlockKey]*Block
	volumes     map[holdall.VolumeID]*Volume
	made        uint64 // volumes ever made
	journal     []Change
	seq         uint64
	tasks       map[string]holdall.VolumeID // "kind volume"
	breaker     Breaker
}

func newModel() *model {
	return &model{
		now: day, retention: DefaultRetention, incarnation: 1,
		rows: map[BlockKey]*Block{}, volumes: map[holdall.VolumeID]*Volume{}, tasks: map[string]holdall.VolumeID{},
		breaker: Breaker{Share: DefaultBreakerShare, Floor: DefaultBreakerFloor},
	}
}

func (m *model) note(c Change) {
	m.seq++
	c.Seq, c.Time = m.seq, m.now.time()
	m.journal = append(m.journal, c)
}

func (m *model) noteBlock(kind ChangeKind, b *Block) {
	if b.Namespace != holdall.SystemNamespace {
		c := Change{Kind: kind, Namespace: b.Namespace, ID: b.ID}
		if kind == ChangeMove {
			c.Location = b.Location
		}
		m.note(c)
	}
}

func (m *model) epoch(v *Volume) holdall.Epoch {
	return holdall.MakeEpoch(m.incarnation, v.Epoch.Counter()+1)
}

// held says whether anything but trash holds b now.
func (m *model) held(b *Block) bool {
	return b.Direct || b.PendingUntil.After(m.now.time())
}

func (m *model) settle(b *Block) {
	if m.held(b) {
		b.TrashedAt = time.Time{}
	} else if b.TrashedAt.IsZero() {
		b.TrashedAt = m.now.time()
	}
}

// commit returns where the rows of the stripe's blocks are, or the kind of the
// refusal.
func (m *model) commit(c *StripeCommit) ([]holdall.Location, error) {
	v := m.volumes[c.Volume]
	if v == nil || v.State != holdall.VolumeOpen || v.Epoch != c.Epoch || c.Stripe != v.Last+1 {
		return nil, holdall.ErrStale
	}
	var grown int64
	for i, end := range c.Ends {
		if end < v.Members[i].End || end > v.Limit {
			return nil, holdall.ErrInvalid
		}
		grown += end - v.Members[i].End
	}
	if grown != c.ShardBytes {
		return nil, holdall.ErrInvalid
	}
	for i := range c.Blocks {
		b := &c.Blocks[i]
		if (b.Namespace == holdall.SystemNamespace) != v.System || b.Namespace > 1 {
			return nil, holdall.ErrInvalid
		}
		if b.Offset < v.Members[b.Member].End+4096 || b.Offset+int64(b.Length) > c.Ends[b.Member] {
			return nil, holdall.ErrInvalid
		}
	}
	v.Last = c.Stripe
	v.Packs += c.PackBytes
	v.Shards += c.ShardBytes
	for i, end := range c.Ends {
		v.Members[i].End = end
	}
	if !v.System {
		m.note(Change{Kind: ChangeStripe, Volume: v.ID, Epoch: c.Epoch, Stripe: c.Stripe})
	}
	var at []holdall.Location
	for i := range c.Blocks {
		at = append(at, m.putBlock(&c.Blocks[i], v))
	}
	return at, nil
}

func (m *model) putBlock(p *PutBlock, v *Volume) holdall.Location {
	k := BlockKey{p.Namespace, p.ID}
	here := holdall.Location{Volume: v.ID, Member: p.Member, Offset: p.Offset, Length: p.Length}
	b := m.rows[k]
	if b == nil {
		b = &Block{Namespace: k.Namespace, ID: k.ID, Location: here, Found: true}
		m.rows[k] = b
	} else if b.Location == p.Replace {
		b.Location = here
		m.noteBlock(ChangeMove, b)
	}
	if !p.Pending {
		b.Direct = true
	} else if until := m.now.time().Add(24 * time.Hour); until.After(b.PendingUntil) {
		b.PendingUntil = until
	}
	m.settle(b)
	return b.Location
}

// hold returns the ids without a row, or the kind of the refusal.
func (m *model) hold(verb commandTag, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error) {
	if ns > 1 {
		return nil, holdall.ErrInvalid
	}
	kinds := map[commandTag]ChangeKind{tagClaim: ChangeClaim, tagDelete: ChangeDelete, tagUndelete: ChangeUndelete}
	for _, id := range ids {
		b := m.rows[BlockKey{ns, id}]
		if b == nil {
			gone = append(gone, id)
		} else if direct := verb != tagDelete; b.Direct != direct {
			b.Direct = direct
			m.settle(b)
			m.noteBlock(kinds[verb], b)
		}
	}
	return gone, nil
}

func (m *model) purge(keys []BlockKey) (r PurgeResult, err error) {
	if m.quarantine != "" {
		return r, holdall.ErrRefused
	}
	for _, k := range keys {
		b := m.rows[k]
		retention := m.retention
		if k.Namespace == holdall.SystemNamespace {
			retention = 0
		}
		if b == nil || m.held(b) || m.now.time().Before(m.trashedSince(b).Add(retention)) {
			r.Waiting++
			continue
		}
		if !m.breakerLets() {
			r.Stopped = true
			return r, nil
		}
		m.noteBlock(ChangePurge, b)
		delete(m.rows, k)
		r.Purged++
	}
	return r, nil
}

func (m *model) trashedSince(b *Block) time.Time {
	if b.TrashedAt.IsZero() {
		return b.PendingUntil
	}
	return b.TrashedAt
}

func (m *model) breakerLets() bool {
	b, now := &m.breaker, m.now.time()
	if b.Released.After(now) {
		return true
	}
	if b.Tripped {
		return false
	}
	if b.WindowStart.IsZero() || !now.Before(b.WindowStart.Add(time.Hour)) {
		b.WindowStart, b.Purged = now, 0
		b.Allowance = max(b.Floor, int64(len(m.rows))*int64(b.Share)/1_000_000)
	}
	b.Tripped = b.Purged == b.Allowance
	if !b.Tripped {
		b.Purged++
	}
	return !b.Tripped
}

func (m *model) create(system bool, gateway string, lease time.Duration) *Volume {
	m.made++
	v := &Volume{ID: holdall.MakeVolumeID(m.incarnation, m.made), Scheme: scheme21, Limit: 1 << 20, State: holdall.VolumeOpen,
		Epoch: holdall.MakeEpoch(m.incarnation, 1), Gateway: gateway, Expires: m.now.time().Add(lease), Created: m.now.time(), System: system}
	for i := range 3 {
		v.Members = append(v.Members, Member{Disk: disk(i), Created: v.Epoch})
	}
	m.volumes[v.ID] = v
	return v
}

func (m *model) take(id holdall.VolumeID, gateway string, lease time.Duration) (*Volume, error) {
	v := m.volumes[id]
	switch {
	case v == nil:
		return nil, holdall.ErrNotFound
	case v.State != holdall.VolumeOpen:
		return nil, holdall.ErrStale
	case v.Gateway != gateway && v.Expires.After(m.now.time()):
		return nil, holdall.ErrRefused
	}
	v.Epoch, v.Gateway, v.Expires = m.epoch(v), gateway, m.now.time().Add(lease)
	return v, nil
}

func (m *model) renew(gateway string, ids []holdall.VolumeID, lease time.Duration) (lost []holdall.VolumeID) {
	for _, id := range ids {
		v := m.volumes[id]
		if v == nil || v.State != holdall.VolumeOpen || v.Gateway != gateway {
			lost = append(lost, id)
		} else if until := m.now.time().Add(lease); until.After(v.Expires) {
			v.Expires = until
		}
	}
	return lost
}

func (m *model) seal(id holdall.VolumeID, e holdall.Epoch, force bool) (*Volume, error) {
	v := m.volumes[id]
	switch {
	case v == nil:
		return nil, holdall.ErrNotFound
	case v.State != holdall.VolumeOpen:
		return v, nil
	case v.Epoch != e && !force && v.Expires.After(m.now.time()):
		return nil, holdall.ErrStale
	}
	v.State, v.Epoch, v.Sealed = holdall.VolumeSealed, m.epoch(v), m.now.time()
	m.note(Change{Kind: ChangeSeal, Volume: id, Epoch: v.Epoch, Stripe: v.Last})
	m.tasks["footer "+id.String()] = id
	return v, nil
}

func (m *model) free(id holdall.VolumeID, e holdall.Epoch) (*Volume, error) {
	v := m.volumes[id]
	switch {
	case m.quarantine != "":
		return nil, holdall.ErrRefused
	case v == nil:
		return nil, holdall.ErrNotFound
	case v.State == holdall.VolumeFreed:
		return v, nil
	case v.State == holdall.VolumeOpen || m.rowsOf(id) != 0:
		return nil, holdall.ErrRefused
	case v.Epoch != e:
		return nil, holdall.ErrStale
	}
	v.State, v.Epoch, v.Freed = holdall.VolumeFreed, m.epoch(v), m.now.time()
	m.note(Change{Kind: ChangeFree, Volume: id, Epoch: v.Epoch, Stripe: v.Last})
	delete(m.tasks, "footer "+id.String())
	m.tasks["free "+id.String()] = id
	return v, nil
}

func (m *model) rowsOf(id holdall.VolumeID) (n int) {
	for _, b := range m.rows {
		if b.Location.Volume == id {
			n++
		}
	}
	return n
}

func (m *model) mark(mark commandTag, id holdall.VolumeID, member int) error {
	v := m.volumes[id]
	switch {
	case v == nil:
		return nil
	case v.State == holdall.VolumeOpen, mark == tagMarkFreed && v.State == holdall.VolumeSealed:
		return holdall.ErrRefused
	case mark == tagMarkFooter:
		v.Members[member].Footer = true
		if v.Members[0].Footer && v.Members[1].Footer && v.Members[2].Footer {
			delete(m.tasks, "footer "+id.String())
		}
		return nil
	}
	v.Members[member].Freed = true
	if v.Members[0].Freed && v.Members[1].Freed && v.Members[2].Freed {
		delete(m.tasks, "free "+id.String())
		delete(m.volumes, id)
	}
	return nil
}

func (m *model) raise(above uint32, reason string) uint32 {
	m.incarnation = max(m.incarnation, above) + 1
	m.quarantine = reason
	for _, v := range m.volumes {
		if v.State == holdall.VolumeOpen {
			v.Epoch = m.epoch(v)
		}
	}
	return m.incarnation
}

func (m *model) flush(upTo uint64) error {
	if upTo > m.seq {
		return holdall.ErrInvalid
	}
	m.journal = slices.DeleteFunc(m.journal, func(c Change) bool { return c.Seq <= upTo })
	return nil
}

// counted returns v with its counts worked out from the rows.
func (m *model) counted(v *Volume) Volume {
	c := *v
	c.Members = slices.Clone(v.Members)
	for _, b := range m.rows {
		if b.Location.Volume == v.ID {
			c.Rows++
			c.Bytes += int64(b.Location.Length)
			if b.TrashedAt.IsZero() {
				c.Live += int64(b.Location.Length)
			}
		}
	}
	return c
}

func (m *model) volumeIDs() []holdall.VolumeID { return slices.Sorted(maps.Keys(m.volumes)) }
