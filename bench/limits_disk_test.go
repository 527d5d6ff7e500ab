package bench

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/volume"
)

func TestDiskLimitsMeasureAndLeaveNothing(t *testing.T) {
	paths := []string{t.TempDir(), t.TempDir()}
	c := DiskConfig{Paths: paths, Size: 60_000, ZoneSize: 1 << 20, Concurrency: 3, Duration: 30 * time.Millisecond, Set: 8 << 20}
	l, err := c.Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if l.Append.MBPerSecond <= 0 || l.Append.OpsPerSecond <= 0 || l.Read.MBPerSecond <= 0 || l.Read.CPU <= 0 {
		t.Errorf("limits are %+v", l)
	}
	for _, path := range paths {
		if left, err := os.ReadDir(path); err != nil || len(left) > 0 {
			t.Errorf("%s holds %v after the measurement (%v)", path, left, err)
		}
	}
}

func TestDiskLimitsRefuseWhatTheyCannotMeasure(t *testing.T) {
	for _, c := range []DiskConfig{
		{},
		{Paths: []string{t.TempDir()}, Size: holdall.MaxBlockSize + 1},
		{Paths: []string{t.TempDir()}, ZoneSize: 1 << 20}, // a record of 4 MiB does not fit
		{Paths: []string{t.TempDir() + "/none"}},
	} {
		if _, err := c.Measure(t.Context()); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", c, err)
		}
	}
}

func TestScratchLogTakesItsZonesInTurn(t *testing.T) {
	dev, err := volume.OpenDir(t.TempDir(), volume.DirConfig{ZoneSize: 64 << 10, Capacity: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	pool := buffer.NewPool(0)
	d := &scratch{dev: dev, geo: dev.Geometry(), zones: 4, removeDir: func() {}, record: pool.Take(20 << 10), header: pool.Take(4096)}
	defer d.remove()
	for i := range d.record.Bytes() {
		d.record.Bytes()[i] = 0xA5
	}
	got := pool.Take(20 << 10)
	defer got.Release()
	for range 100 { // 2 MB into 256 KiB
		if _, err := d.append(); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.places {
			if err := dev.ReadAt(p.zone, p.off, got.Bytes()); err != nil || got.Bytes()[0] != 0xA5 || got.Bytes()[len(got.Bytes())-1] != 0xA5 {
				t.Fatalf("the record at %+v reads as %x (%v)", p, got.Bytes()[:2], err)
			}
		}
	}
	if len(d.places) < 4 || len(d.places) > 12 {
		t.Errorf("%d whole records are known in 4 zones of 3", len(d.places))
	}
}

func TestCPUAndKVLimitsMeasure(t *testing.T) {
	cpu := CPUConfig{Size: 64 << 10, Duration: 10 * time.Millisecond}
	dir := t.TempDir()
	for name, f := range map[string]func(context.Context) (RateFigure, error){
		"hash":   cpu.MeasureHash,
		"encode": cpu.MeasureEncode,
		"kv":     KVConfig{Path: dir, Writers: 4, Duration: 30 * time.Millisecond}.Measure,
	} {
		if r, err := f(t.Context()); err != nil || r.OpsPerSecond <= 0 || r.MBPerSecond <= 0 {
			t.Errorf("%s: %+v (%v)", name, r, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the directory holds %v after the measurement (%v)", left, err)
	}
}
