package volume_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/volume"
)

// benchRig is a directory disk where go test keeps its files.
func benchRig(b *testing.B) *rig {
	dev, err := volume.OpenDir(b.TempDir(), volume.DirConfig{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	return newRig(b, dev, volume.DiskConfig{})
}

func (r *rig) benchLog(v uint64) *log {
	l := &log{rig: r, id: holdall.ExtentID{Volume: holdall.VolumeID(v), Created: 1}, epoch: 1, ends: make([]int64, scheme.N())}
	g := l.grant()
	g.Limit = 1 << 30
	if err := r.disk.CreateExtent(context.Background(), g); err != nil {
		r.t.Fatal(err)
	}
	return l
}

// BenchmarkAppend appends to as many extents at once as there are writers; a
// full one is freed, and another made.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{4096, 64 << 10, 4<<20 - volume.DirectorySize(1)} {
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%dKiB/%dwriters", (size+1023)>>10, writers), func(b *testing.B) {
				r := benchRig(b)
				b.SetBytes(int64(size))
				b.ResetTimer()
				b.SetParallelism(max(1, writers/2))
				if writers == 1 {
					appendMany(b, r, size, 1, func() func() bool {
						n := 0
						return func() bool { n++; return n <= b.N }
					}())
					return
				}
				ids := make(chan uint64, 1024)
				for v := range uint64(1024) {
					ids <- v + 1
				}
				b.RunParallel(func(pb *testing.PB) { appendMany(b, r, size, <-ids, pb.Next) })
			})
		}
	}
}

func appendMany(b *testing.B, r *rig, size int, first uint64, more func() bool) {
	ctx := context.Background()
	v := first << 32
	l := r.benchLog(v)
	a, _ := l.next(size)
	defer a.Record.Release()
	for more() {
		if l.end()+int64(a.Record.Len()) > 1<<30 || a.Stripe.Number >= holdall.MaxVolumeStripes {
			if err := r.disk.Trash(ctx, l.id); err != nil {
				b.Fatal(err)
			}
			if err := r.disk.Free(ctx, l.id); err != nil {
				b.Fatal(err)
			}
			v++
			l = r.benchLog(v)
			a.Record.Release()
			a, _ = l.next(size)
		}
		if err := r.disk.Append(ctx, a); err != nil {
			b.Error(err)
			return
		}
		l.step(a)
	}
}

// step makes a, just appended, the append of the next stripe with the same
// payload.
func (l *log) step(a *volume.Append) {
	n := scheme.N()
	l.last = a.Stripe.Number
	for i, p := range a.Stripe.Shards {
		l.ends[holdall.ShardMember(l.last, i, n)] += holdall.RecordSize(p.Length)
	}
	a.Stripe.Number++
	for i := range a.Stripe.Shards {
		a.Stripe.Shards[i].Offset = l.ends[holdall.ShardMember(a.Stripe.Number, i, n)]
	}
	a.Shard = holdall.MemberShard(a.Stripe.Number, int(l.id.Member), n)
	a.Offset = l.end()
}

// BenchmarkRead reads whole blocks at random, around the page cache.
func BenchmarkRead(b *testing.B) {
	for _, size := range []int{4096, 64 << 10, 4<<20 - volume.DirectorySize(1)} {
		b.Run(fmt.Sprintf("%dKiB", (size+1023)>>10), func(b *testing.B) {
			r := benchRig(b)
			l := r.benchLog(1)
			a, _ := l.next(size)
			defer a.Record.Release()
			for range 64 {
				if err := r.disk.Append(context.Background(), a); err != nil {
					b.Fatal(err)
				}
				l.step(a)
			}
			b.SetBytes(int64(size))
			b.SetParallelism(8)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					v, err := r.disk.Read(context.Background(), l.id, int64(i*7%64)*int64(a.Record.Len())+holdall.RecordHeaderSize, size)
					if err != nil {
						b.Error(err)
						return
					}
					v.Release()
				}
			})
		})
	}
}
