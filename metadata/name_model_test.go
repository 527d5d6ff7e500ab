package metadata

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/holdall/holdall"
)

// A nameModel is what the tables of names, and the blocks that they refer to,
// must be, in maps and plain loops. It keeps no counts and no references: both are
// worked out from the rows that say so.
type nameModel struct {
	now       instant
	retention time.Duration
	quota     int64
	blocks    map[holdall.BlockID]*modelBlock
	buckets   map[holdall.BucketID]*Bucket
	objects   map[holdall.BucketID]map[string][]*Object // newest first
	uploads   map[holdall.PutID]*modelUpload
	made      struct{ bucket, version uint64 }
}

// modelBlock is a block that has a row.
type modelBlock struct {
	direct         bool
	pending, trash instant
	node           bool // its children are held
}

type modelUpload struct {
	Upload
	parts map[int]Part
}

func newNameModel(now instant) *nameModel {
	return &nameModel{now: now, retention: DefaultRetention, blocks: map[holdall.BlockID]*modelBlock{}, buckets: map[holdall.BucketID]*Bucket{},
		objects: map[holdall.BucketID]map[string][]*Object{}, uploads: map[holdall.PutID]*modelUpload{}}
}

// Blocks 0 to 5 are data, 6 to 9 nodes, 10 to 15 roots. What a node lists follows
// from its bytes, so it is always the same.
func modelChildren(n int) (list []holdall.BlockID) {
	switch {
	case n >= 10 && n < 13: // roots over nodes and blocks
		list = append(list, id(6+n-10), id(n-10), id(n-10))
	case n >= 13 && n < 15:
		list = append(list, id(n-13), id(4))
	case n >= 6 && n < 10: // nodes; 9 lists a node
		if n == 9 {
			list = append(list, id(6))
		}
		for i := range n - 4 {
			list = append(list, id(i%6))
		}
	}
	return list // 15 is the root of an object that lies in it
}

// modelNodes returns how many of a block's children are nodes: they come first.
func modelNodes(n int) int {
	if n >= 9 && n < 13 {
		return 1
	}
	return 0
}

func isModelNode(b holdall.BlockID) bool {
	n := modelNumber(b)
	return n >= 6 && n < 10
}

func modelNumber(b holdall.BlockID) int {
	for n := range 16 {
		if id(n) == b {
			return n
		}
	}
	return -1
}

// references counts what rows say of a block.
func (m *nameModel) references(of holdall.BlockID) (n uint32) {
	for k, b := range m.blocks {
		if b.node {
			for _, c := range modelChildren(modelNumber(k)) {
				if c == of {
					n++
				}
			}
		}
	}
	for _, keys := range m.objects {
		for _, list := range keys {
			for _, o := range list {
				if !o.Marker && o.Root == of {
					n++
				}
			}
		}
	}
	for _, u := range m.uploads {
		for _, p := range u.parts {
			if p.Block == of {
				n++
			}
		}
	}
	return n
}

func (m *nameModel) live(k holdall.BlockID) bool {
	b := m.blocks[k]
	return b != nil && b.trash == 0
}

// touch settles blocks whose holds have changed. A block that lost its last
// reference has waited.
func (m *nameModel) touch(released bool, ids ...holdall.BlockID) {
	for _, k := range ids {
		b := m.blocks[k]
		switch held := b.direct || b.pending > m.now || m.references(k) > 0; {
		case held:
			b.trash = 0
		case b.trash == 0 && released:
			b.trash = max(1, m.now-instant(m.retention.Milliseconds()))
		case b.trash == 0:
			b.trash = m.now
		}
	}
}

func (m *nameModel) due(k holdall.BlockID) bool {
	b := m.blocks[k]
	if b == nil || b.direct || m.references(k) > 0 {
		return false
	}
	since := b.trash
	if since == 0 {
		since = b.pending
	}
	return since != 0 && since <= m.now && since.after(m.retention) <= m.now
}

// link returns what is gone of a node and its children, or makes it a node.
func (m *nameModel) link(node holdall.BlockID) (gone []holdall.BlockID) {
	children := modelChildren(modelNumber(node))
	if m.live(node) && m.blocks[node].node {
		return nil
	}
	if !m.live(node) {
		gone = append(gone, node)
	}
	sorted := slices.Clone(children)
	slices.SortFunc(sorted, func(a, b holdall.BlockID) int { return bytes.Compare(a[:], b[:]) })
	for _, c := range slices.Compact(sorted) {
		if held := m.blocks[node] != nil && m.blocks[node].node; !held && (!m.live(c) || isModelNode(c) && !m.blocks[c].node) {
			gone = append(gone, c)
		}
	}
	if gone == nil && len(children) > 0 {
		m.blocks[node].node = true
		m.touch(false, children...)
	}
	return gone
}

// used returns the live bytes: every block has 1000.
func (m *nameModel) used() (n int64) {
	for _, b := range m.blocks {
		if b.trash == 0 {
			n += 1000
		}
	}
	return n
}

func (m *nameModel) overQuota() error {
	if m.quota > 0 && m.used() > m.quota {
		return holdall.ErrExhausted
	}
	return nil
}

func (m *nameModel) named(b holdall.BucketID) error {
	if k := m.buckets[b]; k == nil || !k.Removed.IsZero() {
		return ErrNoBucket
	}
	return nil
}

func (m *nameModel) number(counter *uint64) uint64 {
	*counter++
	return 1<<44 | *counter
}

func (m *nameModel) byName(name string) *Bucket {
	for _, b := range m.buckets {
		if b.Name == name && b.Removed.IsZero() {
			return b
		}
	}
	return nil
}

func (m *nameModel) rows(b holdall.BucketID, key string) []*Object { return m.objects[b][key] }

func (m *nameModel) earlier(b holdall.BucketID, key string, put holdall.PutID) *Object {
	for _, o := range m.rows(b, key) {
		if o.Put == put {
			return o
		}
	}
	return nil
}

// holds is Condition.holds, said the other way round.
func (m *nameModel) holds(b holdall.BucketID, key string, c *Condition) bool {
	list := m.rows(b, key)
	newest := &Object{Marker: true}
	if len(list) > 0 {
		newest = list[0]
	}
	ok := !c.Absent || newest.Marker
	ok = ok && (!c.Present || !newest.Marker)
	ok = ok && (c.ETag == "" || !newest.Marker && newest.ETag == c.ETag)
	ok = ok && (c.Version == 0 || len(list) > 0 && newest.Version == c.Version)
	return ok && (!c.Backfill || len(list) == 0 || newest.Origin == OriginBackfill)
}

// push makes o the newest row of its key.
func (m *nameModel) push(o Object) *Object {
	list := m.objects[o.Bucket][o.Key]
	if len(list) > 0 && list[0].TrashedAt.IsZero() {
		list[0].TrashedAt = m.now.time()
	}
	o.Version, o.Committed = holdall.Version(m.number(&m.made.version)), m.now.time()
	m.objects[o.Bucket][o.Key] = append([]*Object{&o}, list...)
	return &o
}

// drop removes a row, and the bucket with the last of a removed one.
func (m *nameModel) drop(o *Object) {
	keys := m.objects[o.Bucket]
	keys[o.Key] = slices.DeleteFunc(keys[o.Key], func(x *Object) bool { return x == o })
	m.settleBucket(o.Bucket)
	if !o.Marker {
		m.touch(true, o.Root)
	}
}

func (m *nameModel) settleBucket(b holdall.BucketID) {
	if k := m.buckets[b]; !k.Removed.IsZero() && m.counted(b).Versions == 0 {
		delete(m.buckets, b)
		delete(m.objects, b)
	}
}

// counted returns a bucket with its counts worked out from the rows.
func (m *nameModel) counted(id holdall.BucketID) Bucket {
	b := *m.buckets[id]
	for _, list := range m.objects[id] {
		for _, o := range list {
			if b.Versions++; !o.Marker && o.TrashedAt.IsZero() {
				b.Objects++
				b.Bytes += o.Size
			}
		}
	}
	for _, u := range m.uploads {
		if u.Bucket == id && u.State == UploadOpen {
			b.Uploads++
		}
	}
	return b
}

func (m *nameModel) commit(c *ObjectCommit) (o *Object, gone []holdall.BlockID, err error) {
	if err := m.named(c.Bucket); err != nil {
		return nil, nil, err
	}
	if o := m.earlier(c.Bucket, c.Key, c.Put); o != nil {
		return o, nil, nil
	}
	if !m.holds(c.Bucket, c.Key, &c.If) {
		return nil, nil, holdall.ErrCondition
	}
	u := m.uploads[c.Upload]
	if c.Upload != (holdall.PutID{}) {
		if u == nil || u.State != UploadOpen {
			return nil, nil, ErrNoUpload
		}
		if u.Bucket != c.Bucket || u.Key != c.Key {
			return nil, nil, holdall.ErrInvalid
		}
	}
	if err := m.overQuota(); err != nil {
		return nil, nil, err
	}
	if gone := m.link(c.Root); gone != nil {
		return nil, gone, nil
	}
	o = m.push(Object{Bucket: c.Bucket, Key: c.Key, Put: c.Put, Origin: c.Origin, Root: c.Root, Size: c.Size, Modified: c.Modified, ETag: c.ETag, Tags: c.Tags})
	m.touch(false, c.Root)
	if u != nil {
		u.State, u.Ended, u.Result = UploadCompleted, m.now.time(), o.Version
	}
	return o, nil, nil
}

func (m *nameModel) remove(d *ObjectDelete) (*Object, error) {
	if err := m.named(d.Bucket); err != nil {
		return nil, err
	}
	if o := m.earlier(d.Bucket, d.Key, d.Put); o != nil {
		return o, nil
	}
	if !m.holds(d.Bucket, d.Key, &d.If) {
		return nil, holdall.ErrCondition
	}
	list := m.rows(d.Bucket, d.Key)
	deleted := len(list) == 0 || list[0].Marker
	if deleted && !d.Always {
		return nil, nil
	}
	if deleted && len(list) > 0 {
		m.objects[d.Bucket][d.Key] = list[1:]
	}
	return m.push(Object{Bucket: d.Bucket, Key: d.Key, Put: d.Put, Origin: d.Origin, Marker: true}), nil
}

func (m *nameModel) undelete(b holdall.BucketID, key string) (*Object, error) {
	if err := m.named(b); err != nil {
		return nil, err
	}
	list := m.rows(b, key)
	switch {
	case len(list) > 0 && !list[0].Marker:
		return nil, holdall.ErrExists
	case len(list) < 2 || list[1].Marker:
		return nil, holdall.ErrNotFound
	}
	m.objects[b][key] = list[1:]
	list[1].TrashedAt = time.Time{}
	return list[1], nil
}

// objectDue says whether a version may be purged.
func (m *nameModel) objectDue(o *Object) bool {
	b, current := m.buckets[o.Bucket], o.TrashedAt.IsZero()
	since := o.TrashedAt
	if current {
		since = o.Committed
	}
	switch {
	case current && !o.Marker:
		return false
	case !b.Removed.IsZero():
		return true
	case since.Add(m.retention).After(m.now.time()):
		return false
	}
	return !current || !b.KeepsMarkers && len(m.rows(o.Bucket, o.Key)) == 1
}

// versions returns all rows, in the order in which the trash lists what is in it.
func (m *nameModel) versions() (all []*Object) {
	for _, keys := range m.objects {
		for _, list := range keys {
			all = append(all, list...)
		}
	}
	slices.SortFunc(all, func(a, b *Object) int { return cmp.Compare(a.Version, b.Version) })
	return all
}
