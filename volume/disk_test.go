package volume_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	cell   = holdall.CellID{1, 2, 3}
	diskID = holdall.DiskID{4, 5, 6}
	quiet  = slog.New(slog.NewTextHandler(io.Discard, nil))
)

// scheme is small, so that most stripes have a shard on every member: two
// packs, one parity.
var scheme = holdall.Scheme{Kind: holdall.ReedSolomon, Data: 2, Global: 1}

// rig is a disk in a test, and what was written to it: the writer's side of one
// member of some volumes.
type rig struct {
	t    testing.TB
	dev  volume.Device
	disk *volume.Disk
	pool *buffer.Pool
	rand *rand.Rand
	cfg  volume.DiskConfig
	reg  *prometheus.Registry
}

func newRig(t testing.TB, dev volume.Device, cfg volume.DiskConfig) *rig {
	t.Helper()
	r := &rig{t: t, dev: dev, pool: buffer.NewPool(64 << 20), rand: rand.New(rand.NewPCG(1, 2)), cfg: cfg, reg: prometheus.NewRegistry()}
	r.cfg.Pool, r.cfg.Logger, r.cfg.CheckEvery, r.cfg.Metrics = r.pool, quiet, time.Hour, volume.NewMetrics(r.reg)
	if err := volume.Format(dev, volume.Identity{Cell: cell, Disk: diskID}); err != nil {
		t.Fatalf("format: %v", err)
	}
	r.open()
	return r
}

// counted returns the sum of a counter over its labels.
func (r *rig) counted(name string) int64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return int64(sum)
}

// open opens and mounts the disk, and closes it when the test ends.
func (r *rig) open() {
	r.t.Helper()
	d, err := volume.OpenDisk(context.Background(), r.dev, r.cfg)
	if err != nil {
		r.t.Fatalf("open: %v", err)
	}
	r.disk = d
	r.t.Cleanup(func() { _ = d.Close() })
	if err := d.Mount(d.Status().Incarnation + 1); err != nil && !errors.Is(err, holdall.ErrDiskFailed) {
		r.t.Fatalf("mount: %v", err)
	}
}

// log is the writer's view of one extent.
type log struct {
	rig     *rig
	id      holdall.ExtentID
	epoch   holdall.Epoch
	ends    []int64 // of every member
	last    uint64
	records []volume.Record // of this member, payload kept
	surplus bool            // there may be records that were not acknowledged
}

const extentLimit = 3 << 20

func (r *rig) create(volumeID uint64, member uint8) *log {
	r.t.Helper()
	l := &log{rig: r, id: holdall.ExtentID{Volume: holdall.VolumeID(volumeID), Member: member, Created: 1}, epoch: 1, ends: make([]int64, scheme.N())}
	if err := r.disk.CreateExtent(context.Background(), l.grant()); err != nil {
		r.t.Fatalf("create %v: %v", l.id, err)
	}
	return l
}

func (l *log) grant() volume.Grant {
	return volume.Grant{Disk: diskID, Extent: l.id, Scheme: scheme, Limit: extentLimit}
}

// pack returns a payload of one block with its directory.
func pack(rnd *rand.Rand, size int) []byte {
	b := make([]byte, size, size+volume.DirectorySize(1))
	for i := 0; i < size; i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], rnd.Uint64())
		copy(b[i:], word[:])
	}
	return volume.AppendDirectory(b, []volume.BlockEntry{{ID: holdall.HashBlock(b), Namespace: 1, Length: uint32(size)}})
}

// next makes the append of the next stripe, both of whose packs hold size
// bytes, and the record that a scan will find.
func (l *log) next(size int) (*volume.Append, volume.Record) {
	number := l.last + 1
	shard := holdall.MemberShard(number, int(l.id.Member), scheme.N())
	payload := pack(l.rig.rand, size)
	s := holdall.Stripe{Volume: l.id.Volume, Epoch: l.epoch, Number: number, Scheme: scheme, Shards: make([]holdall.ShardPlace, scheme.N())}
	for i := range s.Shards {
		s.Shards[i] = holdall.ShardPlace{Offset: l.ends[holdall.ShardMember(number, i, scheme.N())], Length: uint32(len(payload))}
	}
	rec := l.rig.pool.Take(int(holdall.RecordSize(uint32(len(payload)))))
	clear(rec.Bytes())
	copy(rec.Bytes()[holdall.RecordHeaderSize:], payload)
	a := &volume.Append{Extent: l.id, Epoch: l.epoch, Offset: s.Shards[shard].Offset, Stripe: s, Shard: shard, Record: rec}
	return a, volume.Record{Extent: l.id, Offset: a.Offset, Shard: shard, Stripe: s, Payload: payload}
}

// append writes the next stripe's record; committed, when that worked.
func (l *log) append(size int) error {
	a, rec := l.next(size)
	defer a.Record.Release()
	if err := l.rig.disk.Append(context.Background(), a); err != nil {
		return err
	}
	l.committed(rec)
	return nil
}

func (l *log) committed(rec volume.Record) {
	l.last = rec.Stripe.Number
	for i, p := range rec.Stripe.Shards {
		l.ends[holdall.ShardMember(l.last, i, scheme.N())] += holdall.RecordSize(p.Length)
	}
	l.records = append(l.records, rec)
}

func (l *log) mustAppend(size int) {
	l.rig.t.Helper()
	if err := l.append(size); err != nil {
		l.rig.t.Fatalf("append: %v", err)
	}
}

func (l *log) end() int64 { return l.ends[l.id.Member] }

// fence takes the next epoch and expects the extent in state.
func (l *log) fence(want volume.ExtentState) volume.ExtentInfo {
	l.rig.t.Helper()
	info, err := l.rig.disk.Fence(context.Background(), l.id, l.epoch+1, l.end(), l.last)
	if err != nil {
		l.rig.t.Fatalf("fence: %v", err)
	}
	l.epoch++
	if info.State != want {
		l.rig.t.Fatalf("fence of %v at end %d last %d: state %v, want %v (%+v)", l.id, l.end(), l.last, info.State, want, info)
	}
	return info
}

func sameStripe(a, b holdall.Stripe) bool {
	return a.Volume == b.Volume && a.Epoch == b.Epoch && a.Number == b.Number && a.Scheme == b.Scheme && slices.Equal(a.Shards, b.Shards)
}

// check compares a scan, reads and stripe tables with what was written.
func (l *log) check() {
	l.rig.t.Helper()
	if err := l.verify(); err != nil {
		l.rig.t.Fatal(err)
	}
}

func (l *log) verify() error {
	ctx := context.Background()
	i := 0
	err := l.rig.disk.Scan(ctx, l.id, func(got volume.Record) error {
		if i >= len(l.records) && l.surplus {
			return nil
		}
		if i >= len(l.records) {
			return fmt.Errorf("scan found a record at %d after the %d written", got.Offset, len(l.records))
		}
		want := l.records[i]
		i++
		if got.Offset != want.Offset || got.Shard != want.Shard || string(got.Payload) != string(want.Payload) || !sameStripe(got.Stripe, want.Stripe) {
			return fmt.Errorf("scan: record %d at %d is %+v, want %+v", i-1, got.Offset, got.Stripe, want.Stripe)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if i != len(l.records) {
		return fmt.Errorf("scan found %d records, want %d", i, len(l.records))
	}
	if len(l.records) == 0 {
		return nil
	}
	for range min(3, len(l.records)) {
		if err := l.verifyRecord(l.records[l.rig.rand.IntN(len(l.records))]); err != nil {
			return err
		}
	}
	return l.verifyRecord(l.records[len(l.records)-1])
}

// verifyRecord reads one record in every way there is.
func (l *log) verifyRecord(want volume.Record) error {
	ctx := context.Background()
	n := len(want.Payload)
	v, err := l.rig.disk.Read(ctx, l.id, want.Offset+holdall.RecordHeaderSize, n)
	if err != nil {
		return err
	}
	if string(v.Data) != string(want.Payload) {
		return fmt.Errorf("read of record at %d: other bytes", want.Offset)
	}
	v.Release()
	off := l.rig.rand.IntN(n)
	size := 1 + l.rig.rand.IntN(n-off)
	if v, err = l.rig.disk.ReadChecked(ctx, l.id, want.Offset, off, size); err != nil {
		return err
	}
	if string(v.Data) != string(want.Payload[off:off+size]) {
		return fmt.Errorf("checked read of record at %d, %d bytes at %d: other bytes", want.Offset, size, off)
	}
	v.Release()
	for i, p := range want.Stripe.Shards {
		m := holdall.ShardMember(want.Stripe.Number, i, scheme.N())
		at := p.Offset + l.rig.rand.Int64N(holdall.RecordSize(p.Length))
		s, err := l.rig.disk.StripeAt(ctx, l.id, m, at)
		if err != nil {
			return err
		}
		if !sameStripe(s, want.Stripe) {
			return fmt.Errorf("stripe at %d of member %d is %+v, want %+v", at, m, s, want.Stripe)
		}
	}
	return nil
}

func memory(cfg faultdisk.Config) (*faultdisk.Array, *faultdisk.Disk) {
	a := faultdisk.New(1, cfg)
	return a, a.Disk(0)
}

// backends are disks with and without a memory of their write pointers.
var backends = []struct {
	name string
	cfg  faultdisk.Config
}{
	{"zoned", faultdisk.Config{MaxOpen: 8}},
	{"conventional", faultdisk.Config{Conventional: true}},
}

func TestLifeOfAnExtent(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			a, dev := memory(b.cfg)
			r := newRig(t, dev, volume.DiskConfig{})
			l, other := r.create(7, 1), r.create(8, 0)
			for i := range 40 {
				l.mustAppend(1 + r.rand.IntN(90_000))
				if i%3 == 0 {
					other.mustAppend(100)
				}
			}
			l.check()
			a = a.Kill()
			r.dev = a.Disk(0)
			r.open()
			l.check()
			if err := l.append(10); !errors.Is(err, holdall.ErrStale) {
				t.Fatalf("append before a fence: %v, want ErrStale", err)
			}
			l.fence(volume.ExtentOpen)
			other.fence(volume.ExtentOpen)
			for range 10 {
				l.mustAppend(1 + r.rand.IntN(90_000))
			}
			l.check()
			ctx := context.Background()
			for range 2 { // the second time it is there already
				if err := r.disk.Seal(ctx, l.id, l.epoch+1, l.last, l.end()); err != nil {
					t.Fatalf("seal: %v", err)
				}
			}
			l.check()
			if err := l.append(10); !errors.Is(err, holdall.ErrStale) {
				t.Fatalf("append after a seal: %v, want ErrStale", err)
			}
			r.dev = a.Kill().Disk(0)
			r.open()
			l.check()
			other.check()
			free := r.disk.Status().FreeZones
			if err := r.disk.Free(ctx, l.id); !errors.Is(err, holdall.ErrRefused) {
				t.Fatalf("free of what is not trashed: %v, want ErrRefused", err)
			}
			if err := r.disk.Trash(ctx, l.id); err != nil {
				t.Fatalf("trash: %v", err)
			}
			l.check() // trash is read
			if err := r.disk.Free(ctx, l.id); err != nil {
				t.Fatalf("free: %v", err)
			}
			if got := r.disk.Status().FreeZones; got <= free {
				t.Fatalf("%d zones free after a free, %d before", got, free)
			}
			other.check()
		})
	}
}
