package volume_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

var (
	modelSeeds = flag.Uint64("modelseeds", 40, "seeds of the model test")
	modelSeed  = flag.Uint64("modelseed", 0, "the one seed to run; 0 = all")
)

// modelLog is an extent in the model.
type modelLog struct {
	*log
	open    bool // the writer may append
	sealed  bool
	trashed bool
}

// model is a disk and what must be on it.
type model struct {
	*rig
	array *faultdisk.Array
	logs  []*modelLog
	next  uint64
	ops   int
}

// TestDiskAgainstAModel does random things to a disk, power cuts among them,
// and compares it with a list of what was acknowledged.
func TestDiskAgainstAModel(t *testing.T) {
	ops := 0
	for seed := uint64(1); seed <= *modelSeeds; seed++ {
		if *modelSeed != 0 {
			seed = *modelSeed
		}
		array, dev := memory(faultdisk.Config{ZoneSize: 64 << 10, Zones: 60, MaxOpen: 14, Conventional: seed%2 == 0})
		m := &model{rig: newRig(t, dev, volume.DiskConfig{ReserveZones: 2, TableCache: 4 << 10}), array: array}
		m.rand = rand.New(rand.NewPCG(seed, 0))
		for i := range 120 {
			if err := m.step(); err != nil {
				t.Fatalf("step %d: %v\nreplay: go test ./volume -run TestDiskAgainstAModel -modelseed %d", i, err, seed)
			}
		}
		if err := m.checkAll(); err != nil {
			t.Fatalf("%v\nreplay: go test ./volume -run TestDiskAgainstAModel -modelseed %d", err, seed)
		}
		_ = m.disk.Close()
		ops += m.ops
		if *modelSeed != 0 {
			break
		}
	}
	t.Logf("%d operations", ops)
}

// pick returns a random extent that ok likes, or nil.
func (m *model) pick(ok func(*modelLog) bool) *modelLog {
	var list []*modelLog
	for _, l := range m.logs {
		if ok(l) {
			list = append(list, l)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[m.rand.IntN(len(list))]
}

func (m *model) step() error {
	m.ops++
	ctx := context.Background()
	live := func(l *modelLog) bool { return l.open }
	switch n := m.rand.IntN(100); {
	case n < 50:
		if l := m.pick(live); l != nil {
			return m.append(l)
		}
		return m.createExtent()
	case n < 60:
		return m.createExtent()
	case n < 70:
		if l := m.pick(func(l *modelLog) bool { return len(l.records) > 0 }); l != nil {
			return l.verifyRecord(l.records[m.rand.IntN(len(l.records))])
		}
	case n < 76:
		if l := m.pick(func(l *modelLog) bool { return true }); l != nil {
			return l.verify()
		}
	case n < 82:
		if l := m.pick(func(l *modelLog) bool { return !l.sealed && !l.trashed }); l != nil {
			return m.seal(l)
		}
	case n < 86:
		if l := m.pick(func(l *modelLog) bool { return true }); l != nil {
			l.trashed, l.open = true, false
			return m.disk.Trash(ctx, l.id)
		}
	case n < 90:
		if l := m.pick(func(l *modelLog) bool { return l.trashed }); l != nil {
			return m.free(l)
		}
	case n < 94:
		if l := m.pick(func(l *modelLog) bool { return !l.sealed && !l.trashed }); l != nil {
			return m.takeOver(l)
		}
	default:
		return m.restart(n)
	}
	return nil
}

func (m *model) createExtent() error {
	l := &modelLog{log: &log{rig: m.rig, id: holdall.ExtentID{Volume: holdall.VolumeID(m.next/3 + 1), Member: uint8(m.next % 3), Created: 1}, epoch: 1, ends: make([]int64, scheme.N())}, open: true}
	m.next++
	g := l.grant()
	g.Limit = 40_000 + m.rand.Int64N(150_000)
	err := m.disk.CreateExtent(context.Background(), g)
	if errors.Is(err, holdall.ErrDiskFull) || errors.Is(err, holdall.ErrExhausted) {
		return nil
	}
	if err == nil {
		m.logs = append(m.logs, l)
		err = m.disk.CreateExtent(context.Background(), g) // again: nothing happens
	}
	return err
}

func (m *model) append(l *modelLog) error {
	err := l.append(1 + m.rand.IntN(m.rand.IntN(40_000)+1))
	if errors.Is(err, holdall.ErrInvalid) { // over its limit
		return m.seal(l)
	}
	return err
}

func (m *model) seal(l *modelLog) error {
	l.epoch++
	err := m.disk.Seal(context.Background(), l.id, l.epoch, l.last, l.end())
	l.sealed, l.open = true, false
	return err
}

func (m *model) free(l *modelLog) error {
	if err := m.disk.Free(context.Background(), l.id); err != nil {
		return err
	}
	for i := range m.logs {
		if m.logs[i] == l {
			m.logs = append(m.logs[:i], m.logs[i+1:]...)
			break
		}
	}
	_, err := m.disk.Read(context.Background(), l.id, 0, 1)
	if !errors.Is(err, holdall.ErrNotFound) {
		return fmt.Errorf("read of a freed extent: %v, want ErrNotFound", err)
	}
	return nil
}

// takeOver fences an extent, and goes on with it or seals it, as a gateway
// would.
func (m *model) takeOver(l *modelLog) error {
	info, err := m.disk.Fence(context.Background(), l.id, l.epoch+1, l.end(), l.last)
	if err != nil {
		return err
	}
	l.epoch++
	switch info.State {
	case volume.ExtentOpen:
		l.open = true
		return nil
	case volume.ExtentTorn:
		return m.seal(l)
	}
	return fmt.Errorf("extent %v is %v", l.id, info.State)
}

// restart stops the disk: cleanly, by kill -9, or by a power cut in the middle
// of an append.
func (m *model) restart(n int) error {
	var how faultdisk.Crash
	switch {
	case n < 96:
		_ = m.disk.Close()
		m.array = m.array.Kill()
	case n < 98:
		m.array = m.array.Kill()
	default:
		if l := m.pick(func(l *modelLog) bool { return l.open }); l != nil {
			a, _ := l.next(1 + m.rand.IntN(20_000))
			hang := make(chan struct{})
			done := make(chan struct{})
			in := m.array.Disk(0).Inject(faultdisk.Fault{Op: faultdisk.OpSync, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: hang})
			go func() {
				defer close(done)
				_ = m.disk.Append(context.Background(), a)
			}()
			for in.Hits() == 0 {
				select {
				case <-done: // refused: over its limit
					in = nil
				default:
					continue
				}
				break
			}
			m.array, how = m.array.Crash(m.rand)
			close(hang)
			<-done
			a.Record.Release()
		} else {
			m.array, how = m.array.Crash(m.rand)
		}
	}
	_ = m.disk.Close()
	m.dev = m.array.Disk(0)
	m.open()
	for _, l := range m.logs {
		l.open = false
	}
	if err := m.takeOverAll(); err != nil {
		return fmt.Errorf("after %v: %w", how, err)
	}
	return m.checkAll()
}

// takeOverAll fences some of the extents that were open, most often all.
func (m *model) takeOverAll() error {
	for _, l := range m.logs {
		if !l.sealed && !l.trashed {
			if err := m.takeOver(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkAll compares everything, and that the zones are accounted for.
func (m *model) checkAll() error {
	infos, err := m.disk.Extents(context.Background())
	if err != nil {
		return err
	}
	if len(infos) != len(m.logs) {
		return fmt.Errorf("%d extents, want %d", len(infos), len(m.logs))
	}
	owner := map[int]holdall.ExtentID{}
	for _, info := range infos {
		for _, z := range info.Zones {
			if o, taken := owner[z]; taken {
				return fmt.Errorf("zone %d is of %v and of %v", z, o, info.Extent)
			}
			owner[z] = info.Extent
		}
	}
	s := m.disk.Status()
	if s.FreeZones+len(owner)+2 > s.TotalZones {
		return fmt.Errorf("%d zones owned, %d free, of %d", len(owner), s.FreeZones, s.TotalZones)
	}
	for _, l := range m.logs {
		if l.trashed && !l.sealed {
			continue // it was never cut back to what was committed
		}
		if err := l.verify(); err != nil {
			return fmt.Errorf("extent %v: %w", l.id, err)
		}
	}
	return nil
}
