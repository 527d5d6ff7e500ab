package volume_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

var crashScripts = flag.Int("crashscripts", 6, "scripts per backend whose every crash is tried")

// event is a mark in a trace: something begun, or answered.
type event struct {
	kind   string // "create", "append", "fence", "seal", "trash", "free", "mount"
	done   bool
	log    int
	record volume.Record // append
	epoch  holdall.Epoch // fence
}

func (e event) String() string {
	return fmt.Sprintf("%s of extent %d done %v", e.kind, e.log, e.done)
}

// crashScript writes to a disk, with its trace recorded.
type crashScript struct {
	*rig
	array *faultdisk.Array
	logs  []*log
	seed  uint64
}

// around marks the begin and the end of one call.
func (s *crashScript) around(e event, f func() error) {
	s.t.Helper()
	s.array.Mark(e)
	if err := f(); err != nil {
		s.t.Fatalf("seed %d: %v: %v", s.seed, e, err)
	}
	e.done = true
	s.array.Mark(e)
}

func (s *crashScript) newLog() int {
	l := &log{rig: s.rig, id: holdall.ExtentID{Volume: holdall.VolumeID(100 + len(s.logs)), Member: uint8(len(s.logs) % 3), Created: 1}, epoch: 1, ends: make([]int64, scheme.N())}
	s.logs = append(s.logs, l)
	s.around(event{kind: "create", log: len(s.logs) - 1}, func() error {
		g := l.grant()
		g.Limit = 200_000
		return s.disk.CreateExtent(context.Background(), g)
	})
	return len(s.logs) - 1
}

// appends writes a record to each of some extents at once.
func (s *crashScript) appends(logs ...int) {
	var wg sync.WaitGroup
	for _, i := range logs {
		l := s.logs[i]
		a, rec := l.next(1 + s.rand.IntN(9000))
		wg.Go(func() {
			defer a.Record.Release()
			s.around(event{kind: "append", log: i, record: rec}, func() error { return s.disk.Append(context.Background(), a) })
		})
		l.committed(rec)
	}
	wg.Wait()
}

// run makes everything happen that a disk can be asked for. The superblock
// zones are small: the log moves between them on the way.
func (s *crashScript) run() {
	ctx := context.Background()
	a, b := s.newLog(), s.newLog()
	for range 2 {
		s.appends(a)
		s.appends(a, b)
	}
	e, f := s.newLog(), s.newLog()
	for range 3 {
		s.appends(a, b, e, f)
	}
	s.fence(a)
	c := s.newLog()
	s.appends(a, b, c)
	s.appends(c, b)
	s.seal(a)
	s.fence(b)
	s.appends(b, c)
	s.around(event{kind: "trash", log: a}, func() error { return s.disk.Trash(ctx, s.logs[a].id) })
	s.appends(b, c)
	s.around(event{kind: "free", log: a}, func() error { return s.disk.Free(ctx, s.logs[a].id) })
	d := s.newLog()
	s.appends(d, c)
	s.seal(c)
	s.appends(d)
	s.seal(b)
}

func (s *crashScript) fence(i int) {
	l := s.logs[i]
	s.around(event{kind: "fence", log: i, epoch: l.epoch + 1}, func() error {
		info, err := s.disk.Fence(context.Background(), l.id, l.epoch+1, l.end(), l.last)
		if err == nil && info.State != volume.ExtentOpen {
			err = fmt.Errorf("state %v", info.State)
		}
		l.epoch++
		return err
	})
}

func (s *crashScript) seal(i int) {
	l := s.logs[i]
	s.around(event{kind: "seal", log: i}, func() error {
		return s.disk.Seal(context.Background(), l.id, l.epoch+1, l.last, l.end())
	})
}

// known is what a test may expect of an extent after a crash.
type known struct {
	log            *log
	created        bool
	sealing, freed int // 1 = begun, 2 = answered
	trashing       int
	epoch          holdall.Epoch
	attempted      *volume.Record // begun, not answered
	fresh          bool           // had to do with one of the last calls
}

// verify is log.verify, most often left out for what the crash could not touch.
func (k *known) verify() error {
	if !k.fresh && k.log.rig.rand.IntN(6) > 0 {
		return nil
	}
	return k.log.verify()
}

func expect(r *rig, logs []*log, marks []any) []*known {
	all := make([]*known, len(logs))
	for i, l := range logs {
		all[i] = &known{log: &log{rig: r, id: l.id, epoch: 1, ends: make([]int64, scheme.N())}, epoch: 1}
	}
	for i, m := range marks {
		e := m.(event)
		k, step := all[e.log], 1
		k.fresh = i >= len(marks)-8
		if e.done {
			step = 2
		}
		switch e.kind {
		case "create":
			k.created = e.done
		case "append":
			k.attempted = nil
			if e.done {
				k.log.committed(e.record)
			} else {
				k.attempted = &e.record
			}
		case "fence":
			if e.done {
				k.epoch = e.epoch
			}
		case "seal":
			k.sealing = step
		case "trash":
			k.trashing = step
		case "free":
			k.freed = step
		}
	}
	return all
}

// TestEveryCrashKeepsWhatWasAcknowledged cuts the power at every instant of a
// script, with every part of what was not synced surviving, and starts again.
func TestEveryCrashKeepsWhatWasAcknowledged(t *testing.T) {
	images := 0
	for _, b := range backends {
		b.cfg.MaxOpen *= 2
		for seed := range uint64(*crashScripts) {
			b.cfg.ZoneSize, b.cfg.Zones = 32<<10, 100
			array, dev := memory(b.cfg)
			s := &crashScript{rig: newRig(t, dev, volume.DiskConfig{ReserveZones: 1}), array: array, seed: seed}
			s.rand = rand.New(rand.NewPCG(seed, 3))
			array.Record()
			s.run()
			trace := array.Stop()
			_ = s.disk.Close()
			images += s.tryAll(b.name, trace)
		}
	}
	t.Logf("%d crash images", images)
	if least := 3_400 * *crashScripts; images < least {
		t.Errorf("%d crash images, want at least %d", images, least)
	}
}

// tryAll starts a disk on every crash of trace, some at a time, and returns how
// many there were.
func (s *crashScript) tryAll(backend string, trace *faultdisk.Trace) int {
	type image struct {
		n     int
		crash faultdisk.Crash
		array *faultdisk.Array
	}
	images := make(chan image)
	var wg sync.WaitGroup
	for w := range uint64(runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(s.seed, w))
			for i := range images {
				r := &rig{t: s.t, pool: s.pool, rand: rnd, cfg: s.cfg}
				if err := afterCrash(r, i.array, expect(r, s.logs, trace.Marks(i.crash.Ops)), i.n%8 == 0); err != nil {
					s.t.Errorf("%s, seed %d, %v: %v", backend, s.seed, i.crash, err)
				}
			}
		})
	}
	n := 0
	for c, array := range trace.Crashes(faultdisk.Effort{Seed: s.seed, Subsets: 64}) {
		if n++; s.t.Failed() {
			break
		}
		images <- image{n, c, array}
	}
	close(images)
	wg.Wait()
	return n
}

// afterCrash starts a disk on img and checks it against what is known.
func afterCrash(r *rig, img *faultdisk.Array, all []*known, again bool) error {
	start := func() error {
		d, err := volume.OpenDisk(context.Background(), img.Disk(0), r.cfg)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		r.disk = d
		return d.Mount(d.Status().Incarnation + 1)
	}
	if err := start(); err != nil {
		return err
	}
	defer func() { _ = r.disk.Close() }()
	for _, k := range all {
		if err := k.check(r); err != nil {
			return fmt.Errorf("extent %v: %w", k.log.id, err)
		}
	}
	if !again {
		return nil
	}
	_ = r.disk.Close()
	img = img.Kill()
	if err := start(); err != nil {
		return fmt.Errorf("second start: %w", err)
	}
	for _, k := range all {
		if k.created && k.freed == 0 && k.trashing == 0 {
			if err := k.log.verify(); err != nil {
				return fmt.Errorf("second start: extent %v: %w", k.log.id, err)
			}
		}
	}
	return nil
}

// check compares the extent with what was answered before the crash, then uses
// it.
func (k *known) check(r *rig) error {
	ctx := context.Background()
	l := k.log
	if k.fresh && k.created && k.epoch > 1 && k.sealing == 0 && k.trashing == 0 {
		if _, err := r.disk.Fence(ctx, l.id, k.epoch-1, l.end(), l.last); !errors.Is(err, holdall.ErrStale) {
			return fmt.Errorf("fence to %v after %v: %v, want ErrStale", k.epoch-1, k.epoch, err)
		}
	}
	info, err := r.disk.Fence(ctx, l.id, k.epoch+5, l.end(), l.last)
	if errors.Is(err, holdall.ErrNotFound) && (!k.created || k.freed > 0) {
		return nil
	}
	if err != nil {
		return err
	}
	l.epoch = k.epoch + 5
	switch {
	case k.freed == 2:
		return fmt.Errorf("is there, state %v, after it was freed", info.State)
	case info.State == volume.ExtentTrashed && k.trashing > 0:
		if k.freed == 0 {
			return k.verify()
		}
		return r.disk.Free(ctx, l.id)
	case k.trashing == 2:
		return fmt.Errorf("state %v after it was trashed", info.State)
	case info.State == volume.ExtentSealed && k.sealing > 0:
		return k.verify()
	case k.sealing == 2:
		return fmt.Errorf("state %v after it was sealed", info.State)
	case info.State == volume.ExtentOpen:
		if info.End != l.end() || info.Last != l.last {
			return fmt.Errorf("open at %d, stripe %d; committed are %d, %d", info.End, info.Last, l.end(), l.last)
		}
		if err := l.append(700); err != nil {
			return fmt.Errorf("append: %w", err)
		}
		return k.verify()
	case info.State == volume.ExtentTorn:
		return k.sealTorn(r)
	}
	return fmt.Errorf("state %v at %d, stripe %d; committed are %d, %d", info.State, info.End, info.Last, l.end(), l.last)
}

// sealTorn checks that an extent with bytes after its committed end takes no
// more, and that a seal leaves exactly what was committed.
func (k *known) sealTorn(r *rig) error {
	ctx := context.Background()
	l := k.log
	surplus := 0
	err := r.disk.Scan(ctx, l.id, func(rec volume.Record) error {
		if rec.Offset < l.end() {
			return nil
		}
		if surplus++; k.attempted == nil || string(rec.Payload) != string(k.attempted.Payload) {
			return fmt.Errorf("a record at %d that nobody wrote", rec.Offset)
		}
		return nil
	})
	if err != nil && !errors.Is(err, holdall.ErrCorrupt) {
		return err
	}
	if err := l.append(700); !errors.Is(err, holdall.ErrStale) {
		return fmt.Errorf("append after a tear: %v, want ErrStale", err)
	}
	if err := r.disk.Seal(ctx, l.id, l.epoch+1, l.last, l.end()); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return k.verify()
}
