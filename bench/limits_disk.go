package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/volume"
)

// DiskConfig says how the disk limits are measured: with the engine's own
// directory device, and nothing of the engine above it.
type DiskConfig struct {
	Paths       []string      // a directory on each disk; a scratch directory is made in each, and removed
	Size        int           // bytes of a shard's payload; 0 = 4 MiB
	ZoneSize    int64         // bytes; 0 = 16 MiB, as serve gives directory disks
	Concurrency int           // readers; 0 = 16
	Duration    time.Duration // of each figure; 0 = 5 s

	// Set is the least bytes of records to read from, on all disks; 0 = 2 GiB,
	// more than the caches inside disks hold.
	Set int64
}

// diskKeep is the most bytes that appends leave on all disks: past that the
// oldest zones are reset.
const diskKeep = 16 << 30

// DiskLimits are what the disks allow. MB are 10^6 bytes.
type DiskLimits struct {
	Append RateFigure // records a second, and megabytes of them, as appends of one writer a disk
	Read   RateFigure // payloads a second, and megabytes of them, as reads at random places
}

// RateFigure is a rate, and the processor time that it took.
type RateFigure struct {
	OpsPerSecond float64 `json:"ops_per_s"`
	MBPerSecond  float64 `json:"mb_per_s"`      // 10^6 bytes
	CPU          float64 `json:"cpu_s_per_gib"` // seconds
}

// Measure appends, then reads what it appended. Errors wrap ErrInvalid for a
// Config that cannot be measured, and the kinds of volume.Device.
func (c DiskConfig) Measure(ctx context.Context) (DiskLimits, error) {
	if c.Size == 0 {
		c.Size = holdall.MaxBlockSize
	}
	if c.ZoneSize == 0 {
		c.ZoneSize = 16 << 20
	}
	if c.Concurrency == 0 {
		c.Concurrency = 16
	}
	if c.Duration == 0 {
		c.Duration = 5 * time.Second
	}
	if c.Set == 0 {
		c.Set = 2 << 30
	}
	if record := holdall.RecordSize(uint32(c.Size)); c.Size < 0 || c.Size > holdall.MaxBlockSize || record+volume.SectorSize > c.ZoneSize || len(c.Paths) == 0 {
		return DiskLimits{}, fmt.Errorf("bench: records of %d bytes in zones of %d on %d disks: %w", c.Size, c.ZoneSize, len(c.Paths), holdall.ErrInvalid)
	}
	disks, err := c.open()
	defer func() {
		for _, d := range disks {
			d.remove()
		}
	}()
	if err != nil {
		return DiskLimits{}, err
	}
	var l DiskLimits
	if l.Append, err = c.appendRate(ctx, disks); err != nil {
		return l, fmt.Errorf("bench: disk appends: %w", err)
	}
	if l.Read, err = c.readRate(ctx, disks); err != nil {
		return l, fmt.Errorf("bench: disk reads: %w", err)
	}
	return l, nil
}

// scratch is one disk under measurement: a log of records over zones taken in
// turn.
type scratch struct {
	removeDir func()
	dev       *volume.DirDevice
	geo       volume.Geometry
	zones     int   // in the turn
	zone      int   // the one being filled; zones before it in the turn are full
	off       int64 // in zone
	record    *buffer.Buffer
	header    *buffer.Buffer
	places    []place // of whole records in one zone, oldest first
}

// place is where a record lies.
type place struct {
	zone int
	off  int64
}

func (c DiskConfig) open() (disks []*scratch, err error) {
	pool := buffer.NewPool(0)
	size := int(holdall.RecordSize(uint32(c.Size)))
	for i, path := range c.Paths {
		dir, remove, err := scratchDir(path)
		if err != nil {
			return disks, err
		}
		d := &scratch{removeDir: remove, record: pool.Take(size), header: pool.Take(volume.SectorSize)}
		disks = append(disks, d)
		d.dev, err = volume.OpenDir(dir, volume.DirConfig{ZoneSize: c.ZoneSize, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return disks, err
		}
		copy(d.record.Bytes(), newSource(uint64(i), 0).block(c.Size))
		d.geo = d.dev.Geometry()
		// At most half of the room that there is, since the disks may share it.
		d.zones = min(int(diskKeep/c.ZoneSize), d.geo.Available/2) / len(c.Paths)
		if d.zones < 4 {
			return disks, fmt.Errorf("bench: disk %s: room for %d zones of %d bytes is too little to measure: %w", path, d.geo.Available, c.ZoneSize, holdall.ErrDiskFull)
		}
	}
	return disks, nil
}

// remove takes back all that open made.
func (d *scratch) remove() {
	if d.dev != nil {
		d.dev.Close()
	}
	d.record.Release()
	d.header.Release()
	d.removeDir()
}

// append writes one record as the volume server does: at the end of the log, on
// into the next zone where this one is full, made durable, the disk looked at.
func (d *scratch) append() (int, error) {
	zones, err := d.write()
	if err != nil {
		return 0, err
	}
	return d.record.Len(), errors.Join(d.dev.Sync(zones...), d.dev.Check())
}

// write writes one record and returns the zones it lies in.
func (d *scratch) write() ([]int, error) {
	var zones []int
	for rest := d.record.Bytes(); len(rest) > 0; {
		var bufs [2][]byte
		if d.off == 0 || d.off == d.geo.ZoneSize {
			if err := d.next(); err != nil {
				return nil, err
			}
			bufs[0] = d.header.Bytes()
		}
		at := d.off + int64(len(bufs[0]))
		bufs[1] = rest[:min(int64(len(rest)), d.geo.ZoneSize-at)]
		if len(bufs[1]) == d.record.Len() {
			d.places = append(d.places, place{d.number(), at})
		}
		if err := d.dev.Append(d.number(), d.off, bufs[:]...); err != nil {
			return nil, err
		}
		zones = append(zones, d.number())
		d.off = at + int64(len(bufs[1]))
		rest = rest[len(bufs[1]):]
	}
	return zones, nil
}

// number returns the number of the zone being filled. Zones 0 and 1 of a disk
// are those of its superblock log, and no records are written there.
func (d *scratch) number() int { return d.zone + 2 }

// next goes on to the next zone of the turn, and empties it.
func (d *scratch) next() error {
	if d.off > 0 {
		d.zone = (d.zone + 1) % d.zones
	}
	d.off = 0
	if off, _ := d.dev.WritePointer(d.zone + 2); off == 0 {
		return nil
	}
	for len(d.places) > 0 && d.places[0].zone == d.number() {
		d.places = d.places[1:]
	}
	return d.dev.Reset(d.zone + 2)
}

func (c DiskConfig) appendRate(ctx context.Context, disks []*scratch) (RateFigure, error) {
	return measure(ctx, len(disks), c.Duration, func(worker int) operation {
		return func(context.Context) (int, error) { return disks[worker].append() }
	})
}

// readRate reads records that appends left, and makes more of them first where
// those are few.
func (c DiskConfig) readRate(ctx context.Context, disks []*scratch) (RateFigure, error) {
	size := holdall.RecordSize(uint32(c.Size))
	want := int(min(c.Set/size/int64(len(disks))+1, int64(disks[0].zones)*c.ZoneSize/size/2, 1<<14))
	errs := make([]error, len(disks))
	var all sync.WaitGroup
	for i, d := range disks {
		all.Go(func() {
			for len(d.places) < want && errs[i] == nil && ctx.Err() == nil {
				_, errs[i] = d.write()
			}
			errs[i] = errors.Join(errs[i], d.dev.Sync())
		})
	}
	all.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return RateFigure{}, err
	}
	n := int(size) - holdall.RecordHeaderSize
	pool := buffer.NewPool(0)
	bufs := make([]*buffer.Buffer, c.Concurrency)
	for i := range bufs {
		bufs[i] = pool.Take(n)
		defer bufs[i].Release()
	}
	return measure(ctx, c.Concurrency, c.Duration, func(worker int) operation {
		r := rand.New(rand.NewPCG(uint64(worker), 2))
		return func(context.Context) (int, error) {
			d := disks[r.IntN(len(disks))]
			p := d.places[r.IntN(len(d.places))]
			return n, d.dev.ReadAt(p.zone, p.off+holdall.RecordHeaderSize, bufs[worker].Bytes())
		}
	})
}

// measure runs the operations of workers for duration in this process.
func measure(ctx context.Context, workers int, duration time.Duration, begin func(worker int) operation) (RateFigure, error) {
	started := time.Now()
	l := load{workers: workers, duration: duration, stats: func(context.Context) (*client.ProcessStats, error) {
		s := Usage(started)
		return &s, nil
	}}
	r, err := l.run(ctx, begin)
	if err == nil {
		err = r.first
	}
	if err != nil {
		return RateFigure{}, err
	}
	return RateFigure{OpsPerSecond: r.OpsPerSecond, MBPerSecond: r.MBPerSecond, CPU: r.ClientCPU}, nil
}

// scratchDir makes a directory for what a measurement stores, and returns what
// removes it.
func scratchDir(parent string) (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp(parent, ".holdall-bench-")
	if err != nil {
		return "", nil, fmt.Errorf("bench: scratch directory in %s: %v: %w", parent, err, holdall.ErrInvalid)
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}
