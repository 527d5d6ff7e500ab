package sim

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/upkeep"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

var (
	crashScripts = flag.Int("crashscripts", 6, "scripts whose every crash is tried")
	crashSubsets = flag.Int("crashsubsets", 16, "subsets of unsynced writes tried at each instant")
)

// Events of a script, in its trace. All but acked are what metadata had made
// durable by then.
type (
	committed struct {
		volume metadata.Volume
		rows   []metadata.Block
	}
	changed struct{ volume metadata.Volume } // created, taken, sealed, freed
	dropped struct{ id holdall.BlockID }     // deleted: nobody asks for it any more
	acked   struct {
		id   holdall.BlockID
		data []byte
	}
)

// recorder is a Store that marks in the trace of the disks what it has made
// durable.
type recorder struct {
	*metadata.Store
	array *faultdisk.Array
}

func (s recorder) CommitStripe(ctx context.Context, c metadata.StripeCommit) (metadata.CommitResult, error) {
	res, err := s.Store.CommitStripe(ctx, c)
	if err != nil {
		return res, err
	}
	v, err := s.Store.Volume(c.Volume)
	e := committed{volume: v}
	for i, b := range c.Blocks {
		e.rows = append(e.rows, metadata.Block{Namespace: b.Namespace, ID: b.ID, Location: res.Kept[i], Direct: true, Found: true})
	}
	s.array.Mark(e)
	return res, err
}

func (s recorder) mark(v metadata.Volume, err error) (metadata.Volume, error) {
	if err == nil {
		s.array.Mark(changed{v})
	}
	return v, err
}

func (s recorder) CreateVolume(ctx context.Context, n metadata.NewVolume) (metadata.Volume, error) {
	return s.mark(s.Store.CreateVolume(ctx, n))
}

func (s recorder) TakeLease(ctx context.Context, id holdall.VolumeID, gw string, lease time.Duration) (metadata.Volume, error) {
	return s.mark(s.Store.TakeLease(ctx, id, gw, lease))
}

func (s recorder) SealVolume(ctx context.Context, id holdall.VolumeID, e holdall.Epoch, force bool) (metadata.Volume, error) {
	return s.mark(s.Store.SealVolume(ctx, id, e, force))
}

func (s recorder) FreeVolume(ctx context.Context, id holdall.VolumeID, e holdall.Epoch) (metadata.Volume, error) {
	return s.mark(s.Store.FreeVolume(ctx, id, e))
}

// script makes everything happen that the path of a put can meet, with the trace
// recorded: stripes of every width, volumes filled, sealed, died out and freed,
// their zones used again.
func script(t *testing.T, seed uint64) *faultdisk.Trace {
	r := rand.New(rand.NewPCG(seed, 7))
	array := faultdisk.New(9, faultdisk.Config{ZoneSize: 128 << 10, Zones: 24, Conventional: seed%2 == 1})
	c, err := New(Config{Seed: seed, ExtentZones: 2, Array: array,
		Gateway: func(g *gateway.Config) {
			rec := recorder{g.Index.(*metadata.Store), array}
			g.Index, g.Leases, g.OpenVolumes = rec, rec, 2
		},
		Upkeep: func(u *upkeep.Config) { u.Volumes = recorder{u.Volumes.(*metadata.Store), array} }})
	if err != nil {
		t.Fatal(err)
	}
	array.Record()
	ctx := t.Context()
	var ids []holdall.BlockID
	put := func(count, size int) {
		var wg sync.WaitGroup
		for range count {
			data := randomBytes(r, 1+r.IntN(size))
			wg.Go(func() {
				res, err := c.Gateway.PutBytes(ctx, holdall.DefaultNamespace, data)
				if err != nil {
					t.Errorf("put: %v", err)
					return
				}
				array.Mark(acked{res.ID, data})
			})
			ids = append(ids, holdall.HashBlock(data))
		}
		wg.Wait()
	}
	for range 3 {
		put(1, 9000)
		put(2+r.IntN(10), 30_000)
	}
	if _, err := c.Gateway.SealVolumes(ctx, nil); err != nil {
		t.Fatal(err)
	}
	put(1, 5000)
	put(8, 60_000)
	for _, id := range ids[:len(ids)-9] {
		array.Mark(dropped{id})
	}
	if _, err := c.Gateway.Delete(ctx, holdall.DefaultNamespace, ids[:len(ids)-9]); err != nil {
		t.Fatal(err)
	}
	c.Advance(Retention + time.Minute)
	for range 2 {
		if err := c.Upkeep.Round(ctx); err != nil {
			t.Fatal(err)
		}
	}
	put(3, 20_000)
	put(1, 100)
	trace := array.Stop()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	return trace
}

// TestEveryCrashOfACellKeepsWhatWasAcknowledged cuts the power of all disks at
// every instant of a script, with parts of what was not synced surviving, and
// starts volume servers and a gateway on what is left.
func TestEveryCrashOfACellKeepsWhatWasAcknowledged(t *testing.T) {
	var images, took atomic.Int64
	for seed := range uint64(*crashScripts) {
		trace := script(t, seed)
		type image struct {
			crash faultdisk.Crash
			array *faultdisk.Array
		}
		work := make(chan image)
		var wg sync.WaitGroup
		for w := range uint64(runtime.GOMAXPROCS(0)) {
			wg.Go(func() {
				pool, metrics := buffer.NewPool(16<<20), volume.NewMetrics(nil)
				r := rand.New(rand.NewPCG(seed, w))
				for i := range work {
					images.Add(1)
					s, err := survivorOf(i.array, trace.Marks(i.crash.Ops), volume.DiskConfig{Pool: pool, Metrics: metrics, Logger: discard, CheckEvery: time.Hour})
					if err == nil {
						var clean bool
						if clean, err = s.check(r); clean {
							took.Add(1)
						}
						err = errors.Join(err, s.close())
					}
					if err != nil {
						t.Errorf("script %d, %v: %v", seed, i.crash, err)
					}
				}
				if n := pool.Lent(); n != 0 {
					t.Errorf("%d bytes of buffers were not released", n)
				}
			})
		}
		for c, array := range trace.Crashes(faultdisk.Effort{Seed: seed, Subsets: *crashSubsets}) {
			if t.Failed() {
				break
			}
			work <- image{c, array}
		}
		close(work)
		wg.Wait()
	}
	if least := int64(4000 * *crashScripts); images.Load() < least {
		t.Errorf("%d crash images, want at least %d", images.Load(), least)
	}
	t.Logf("%d crash images of 9 disks; in %d of them every volume could be written on", images.Load(), took.Load())
}

// survivor is what is left after a crash: the disks, and what metadata knew.
type survivor struct {
	server  *volume.Server
	gw      *gateway.Gateway
	volumes map[holdall.VolumeID]metadata.Volume
	rows    map[holdall.BlockID]metadata.Block
	acks    map[holdall.BlockID][]byte
	order   []holdall.BlockID // of acks
}

func survivorOf(array *faultdisk.Array, marks []any, cfg volume.DiskConfig) (*survivor, error) {
	s := &survivor{volumes: map[holdall.VolumeID]metadata.Volume{}, rows: map[holdall.BlockID]metadata.Block{}, acks: map[holdall.BlockID][]byte{}}
	for _, m := range marks {
		switch e := m.(type) {
		case committed:
			s.volumes[e.volume.ID] = e.volume
			for _, b := range e.rows {
				s.rows[b.ID] = b
			}
		case changed:
			s.volumes[e.volume.ID] = e.volume
		case acked:
			s.acks[e.id] = e.data
			s.order = append(s.order, e.id)
		case dropped:
			delete(s.acks, e.id)
			s.order = slices.DeleteFunc(s.order, func(id holdall.BlockID) bool { return id == e.id })
		}
	}
	s.server = volume.NewServer(volume.ServerConfig{})
	for i := range array.Len() {
		d, err := volume.OpenDisk(context.Background(), array.Disk(i), cfg)
		if err != nil {
			return nil, fmt.Errorf("disk %d: %w", i, err)
		}
		if err := d.Mount(d.Status().Incarnation + 1); err != nil {
			return nil, fmt.Errorf("disk %d: %w", i, err)
		}
		if err := s.server.Add(d); err != nil {
			return nil, err
		}
	}
	var err error
	s.gw, err = gateway.New(gateway.Config{Index: frozen{s}, Tables: frozen{s}, Leases: frozen{s}, Writer: s.server, Reader: s.server, Pool: cfg.Pool,
		Memory: 64 << 20, Logger: discard})
	return s, err
}

func (s *survivor) close() error {
	return errors.Join(s.gw.Close(context.Background()), s.server.Close())
}

// check reads what was acknowledged, takes every volume over as a gateway does,
// seals those that it would seal, and reads again. clean says that all open
// volumes ended as committed.
func (s *survivor) check(r *rand.Rand) (clean bool, err error) {
	if err := s.readSome(r, "before takeover"); err != nil {
		return false, err
	}
	clean = true
	for id, v := range s.volumes {
		if v.State != holdall.VolumeOpen {
			continue
		}
		ok, err := s.takeOver(&v)
		if err != nil {
			return false, fmt.Errorf("volume %v: %w", id, err)
		}
		clean = clean && ok
	}
	return clean, s.readSome(r, "after takeover")
}

// takeOver fences a volume and seals it unless it ends as committed.
func (s *survivor) takeOver(v *metadata.Volume) (clean bool, err error) {
	ctx := context.Background()
	clean = true
	for m := range v.Members {
		member := v.Members[m]
		info, err := s.server.Fence(ctx, member.Disk, v.Extent(m), v.Epoch+1, member.End, v.Last)
		if errors.Is(err, holdall.ErrNotFound) && member.End == 0 {
			clean = false // the power went while its extents were made
			continue
		}
		if err != nil {
			return false, err
		}
		switch info.State {
		case volume.ExtentOpen:
			if info.End != member.End {
				return false, fmt.Errorf("member %d is open and ends at %d, committed is %d", m, info.End, member.End)
			}
		case volume.ExtentTorn:
			clean = false
		default:
			return false, fmt.Errorf("member %d: %v at %d, committed is %d, though nothing rotted", m, info.State, info.End, member.End)
		}
	}
	if clean {
		return true, nil
	}
	for m := range v.Members {
		err := s.server.Seal(ctx, v.Members[m].Disk, v.Extent(m), v.Epoch+2, v.Last, v.Members[m].End)
		if err != nil && !(errors.Is(err, holdall.ErrNotFound) && v.Members[m].End == 0) {
			return false, fmt.Errorf("seal of member %d: %w", m, err)
		}
	}
	return false, nil
}

// readSome reads the blocks acknowledged last, and some of the others.
func (s *survivor) readSome(r *rand.Rand, when string) error {
	for i, id := range s.order {
		if i < len(s.order)-3 && r.IntN(8) > 0 {
			continue
		}
		res, err := s.gw.Get(context.Background(), holdall.DefaultNamespace, id, gateway.GetOptions{})
		if err != nil {
			return fmt.Errorf("%s: acknowledged block %d of %d: %w", when, i, len(s.order), err)
		}
		same := bytes.Equal(res.View.Data, s.acks[id])
		res.View.Release()
		if !same {
			return fmt.Errorf("%s: block %v: other bytes", when, id)
		}
	}
	return nil
}
