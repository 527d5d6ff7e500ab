package upkeep

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/erasure"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// fakeCell is everything that upkeep works on, in memory, with the rules that
// metadata and volume servers keep. It belongs to one goroutine.
type fakeCell struct {
	now     time.Time
	cell    metadata.Cell
	volumes map[holdall.VolumeID]*metadata.Volume
	rows    map[metadata.BlockKey]metadata.Block
	disks   []metadata.Disk
	status  []volume.DiskStatus
	changes []metadata.Change
	stopped bool // the purge breaker

	packs   map[shardKey][]byte // payloads, by where they lie
	tables  map[holdall.VolumeID][]holdall.Stripe
	away    map[holdall.DiskID]bool // disks that do not answer
	trashed map[holdall.ExtentID]bool
	freed   map[holdall.ExtentID]bool
	sealed  []holdall.VolumeID
	footers int
	journal [][]byte
	putErr  error
	referee func(*metadata.Volume) // what the referee sees instead, if set
}

type shardKey struct {
	extent holdall.ExtentID
	record int64
}

func newFakeCell() *fakeCell {
	f := &fakeCell{
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), cell: metadata.Cell{ID: exampleCell, Incarnation: 1},
		volumes: map[holdall.VolumeID]*metadata.Volume{}, rows: map[metadata.BlockKey]metadata.Block{},
		packs: map[shardKey][]byte{}, tables: map[holdall.VolumeID][]holdall.Stripe{}, away: map[holdall.DiskID]bool{},
		trashed: map[holdall.ExtentID]bool{}, freed: map[holdall.ExtentID]bool{},
	}
	for i := range 9 {
		f.disks = append(f.disks, metadata.Disk{ID: holdall.DiskID{byte(i + 1)}, State: holdall.DiskActive})
		f.status = append(f.status, volume.DiskStatus{ID: holdall.DiskID{byte(i + 1)}, State: holdall.DiskActive, FreeZones: 50, TotalZones: 100})
	}
	return f
}

// upkeep returns an Upkeep of f that runs only when its methods are called.
func (f *fakeCell) upkeep(t *testing.T, hold time.Duration) *Upkeep {
	t.Helper()
	pool := buffer.NewPool(1 << 20)
	t.Cleanup(func() {
		if pool.Lent() != 0 {
			t.Errorf("%d bytes of buffers were not given back", pool.Lent())
		}
	})
	u, err := New(Config{
		Tables: f, Referee: f, Volumes: f, Trash: fakeTrash{f}, Journal: f, Extents: f, Disks: f, Blocks: f, Pool: pool,
		Retention: time.Hour, FreeHold: hold, Now: func() time.Time { return f.now }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// addVolume makes a sealed volume with a stripe for each list of blocks, dealt
// to packs in turn, and rows that point at them.
func (f *fakeCell) addVolume(t *testing.T, id holdall.VolumeID, scheme holdall.Scheme, stripes [][]string) *metadata.Volume {
	t.Helper()
	v := &metadata.Volume{ID: id, Scheme: scheme, State: holdall.VolumeSealed, Epoch: holdall.MakeEpoch(1, 5), Last: uint64(len(stripes))}
	for m := range scheme.N() {
		v.Members = append(v.Members, metadata.Member{Disk: f.disks[m].ID, Created: holdall.MakeEpoch(1, 1), Footer: true})
	}
	for i, blocks := range stripes {
		f.addStripe(t, v, uint64(i+1), blocks)
	}
	f.volumes[id] = v
	return v
}

func (f *fakeCell) addStripe(t *testing.T, v *metadata.Volume, number uint64, blocks []string) {
	t.Helper()
	k := v.Scheme.K()
	data, entries := make([][]byte, k), make([][]volume.BlockEntry, k)
	for i, b := range blocks {
		p := i % k
		entries[p] = append(entries[p], volume.BlockEntry{ID: holdall.HashBlock([]byte(b)), Namespace: holdall.DefaultNamespace, Offset: uint32(len(data[p])), Length: uint32(len(b))})
		data[p] = append(data[p], b...)
	}
	height := 0
	for p := range data {
		if len(entries[p]) > 0 {
			data[p] = volume.AppendDirectory(data[p], entries[p])
		}
		height = max(height, len(data[p]))
	}
	coder, err := erasure.New(v.Scheme)
	if err != nil {
		t.Fatal(err)
	}
	shards := data
	for range v.Scheme.M() {
		shards = append(shards, make([]byte, height))
	}
	if err := coder.Encode(shards[:k], shards[k:]); err != nil {
		t.Fatal(err)
	}
	s := holdall.Stripe{Volume: v.ID, Epoch: holdall.MakeEpoch(1, 2), Number: number, Scheme: v.Scheme, Shards: make([]holdall.ShardPlace, v.Scheme.N())}
	for i, payload := range shards {
		if len(payload) == 0 {
			continue
		}
		m := holdall.ShardMember(number, i, v.Scheme.N())
		s.Shards[i] = holdall.ShardPlace{Offset: v.Members[m].End, Length: uint32(len(payload))}
		f.packs[shardKey{v.Extent(m), v.Members[m].End}] = payload
		v.Members[m].End += holdall.RecordSize(uint32(len(payload)))
		if i >= k {
			continue
		}
		for _, e := range entries[i] {
			f.rows[metadata.BlockKey{Namespace: e.Namespace, ID: e.ID}] = metadata.Block{
				Namespace: e.Namespace, ID: e.ID, Found: true, Direct: true,
				Location: holdall.Location{Volume: v.ID, Member: uint8(m), Offset: s.Shards[i].Offset + holdall.RecordHeaderSize + int64(e.Offset), Length: e.Length},
			}
			v.Rows++
		}
	}
	f.tables[v.ID] = append(f.tables[v.ID], s)
}

// forget removes the rows of a volume, as purges would.
func (f *fakeCell) forget(v *metadata.Volume) {
	for k, b := range f.rows {
		if b.Location.Volume == v.ID {
			delete(f.rows, k)
			v.Rows--
		}
	}
}

func (f *fakeCell) Cell() (metadata.Cell, error)    { return f.cell, nil }
func (f *fakeCell) Disks() ([]metadata.Disk, error) { return f.disks, nil }
func (f *fakeCell) Status() []volume.DiskStatus     { return f.status }
func (f *fakeCell) Linearize(context.Context) error { return nil }
func (f *fakeCell) Changes(n int) ([]metadata.Change, error) {
	return f.changes[:min(n, len(f.changes))], nil
}

func (f *fakeCell) Volumes() ([]metadata.Volume, error) {
	var list []metadata.Volume
	for _, v := range f.volumes {
		c := *v
		c.Members = slices.Clone(v.Members)
		list = append(list, c)
	}
	return list, nil
}

func (f *fakeCell) Volume(id holdall.VolumeID) (metadata.Volume, error) {
	v := f.volumes[id]
	if v == nil {
		return metadata.Volume{}, fmt.Errorf("volume: %w", holdall.ErrNotFound)
	}
	c := *v
	if f.referee != nil {
		f.referee(&c)
	}
	return c, nil
}

func (f *fakeCell) Lookup(_ context.Context, ns holdall.NamespaceID, ids []holdall.BlockID, linearizable bool) ([]metadata.Block, error) {
	if !linearizable {
		panic("a proof by a read that may be stale")
	}
	list := make([]metadata.Block, len(ids))
	for i, id := range ids {
		list[i] = f.rows[metadata.BlockKey{Namespace: ns, ID: id}]
		list[i].ID = id
	}
	return list, nil
}

func (f *fakeCell) MarkFooter(_ context.Context, id holdall.VolumeID, member uint8) error {
	f.volumes[id].Members[member].Footer = true
	return nil
}

func (f *fakeCell) FreeVolume(_ context.Context, id holdall.VolumeID, epoch holdall.Epoch) (metadata.Volume, error) {
	v := f.volumes[id]
	if v.Rows != 0 || v.State != holdall.VolumeSealed || v.Epoch != epoch {
		return *v, fmt.Errorf("free: %w", holdall.ErrRefused)
	}
	v.State, v.Freed = holdall.VolumeFreed, f.now
	return *v, nil
}

func (f *fakeCell) MarkFreed(_ context.Context, id holdall.VolumeID, member uint8) error {
	v := f.volumes[id]
	if v.State != holdall.VolumeFreed {
		return fmt.Errorf("mark: %w", holdall.ErrRefused)
	}
	v.Members[member].Freed = true
	for _, m := range v.Members {
		if !m.Freed {
			return nil
		}
	}
	delete(f.volumes, id)
	return nil
}

// fakeTrash is the trash of a fakeCell: rows without Direct.
type fakeTrash struct{ *fakeCell }

func (f fakeTrash) TrashAfter(after metadata.Trashed, before time.Time, limit int) ([]metadata.Trashed, error) {
	var list []metadata.Trashed
	for k, b := range f.rows {
		w := metadata.Trashed{BlockKey: k, Since: b.TrashedAt}
		if !b.TrashedAt.IsZero() && !b.TrashedAt.After(before) && byAge(w, after) > 0 {
			list = append(list, w)
		}
	}
	slices.SortFunc(list, byAge)
	return list[:min(len(list), limit)], nil
}

func byAge(a, b metadata.Trashed) int {
	return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Namespace, b.Namespace), bytes.Compare(a.ID[:], b.ID[:]))
}

func (f fakeTrash) Namespaces() ([]metadata.Namespace, error) {
	return []metadata.Namespace{{ID: holdall.DefaultNamespace, Retention: time.Hour}, {ID: patient, Retention: 100 * time.Hour}}, nil
}

// patient is a namespace with a long retention.
const patient holdall.NamespaceID = 7

func (f fakeTrash) Purge(_ context.Context, keys []metadata.BlockKey) (r metadata.PurgeResult, err error) {
	for _, k := range keys {
		if f.stopped {
			r.Stopped = true
			break
		}
		if k.Namespace == patient {
			r.Waiting++
			continue
		}
		f.volumes[f.rows[k].Location.Volume].Rows--
		delete(f.rows, k)
		r.Purged++
	}
	return r, nil
}

func (f *fakeCell) FlushChanges(_ context.Context, upTo uint64) error {
	f.changes = slices.DeleteFunc(f.changes, func(c metadata.Change) bool { return c.Seq <= upTo })
	return nil
}

func (f *fakeCell) PutSystem(_ context.Context, data []byte) error {
	if f.putErr == nil {
		f.journal = append(f.journal, slices.Clone(data))
	}
	return f.putErr
}

func (f *fakeCell) SealVolumes(_ context.Context, ids []holdall.VolumeID) ([]holdall.VolumeID, error) {
	f.sealed = append(f.sealed, ids...)
	for _, id := range ids {
		f.volumes[id].State = holdall.VolumeSealed
	}
	return ids, nil
}

func (f *fakeCell) answers(disk holdall.DiskID) error {
	if f.away[disk] {
		return fmt.Errorf("disk %v: %w", disk, holdall.ErrDiskFailed)
	}
	return nil
}

func (f *fakeCell) ReadChecked(_ context.Context, disk holdall.DiskID, e holdall.ExtentID, rec int64, off, n int) (buffer.View, error) {
	if err := f.answers(disk); err != nil {
		return buffer.View{}, err
	}
	payload, ok := f.packs[shardKey{e, rec}]
	if !ok || off+n > len(payload) {
		return buffer.View{}, fmt.Errorf("record at %d of %v: %w", rec, e, holdall.ErrCorrupt)
	}
	return buffer.View{Data: payload[off : off+n]}, nil
}

func (f *fakeCell) Stripes(_ context.Context, disk holdall.DiskID, e holdall.ExtentID, each func(holdall.Stripe) error) error {
	if err := f.answers(disk); err != nil {
		return err
	}
	for _, s := range f.tables[e.Volume] {
		if s.Shards[holdall.MemberShard(s.Number, int(e.Member), len(s.Shards))].Length > 0 {
			if err := each(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fakeCell) Seal(_ context.Context, disk holdall.DiskID, _ holdall.ExtentID, _ holdall.Epoch, _ uint64, _ int64) error {
	f.footers++
	return f.answers(disk)
}

func (f *fakeCell) Trash(_ context.Context, disk holdall.DiskID, e holdall.ExtentID) error {
	f.trashed[e] = true
	return f.answers(disk)
}

func (f *fakeCell) Free(_ context.Context, disk holdall.DiskID, e holdall.ExtentID) error {
	if err := f.answers(disk); err != nil {
		return err
	}
	if !f.trashed[e] {
		return fmt.Errorf("extent %v is not in trash: %w", e, holdall.ErrRefused)
	}
	f.freed[e] = true
	return nil
}
