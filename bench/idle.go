package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/volume"
)

// IdleConfig says how large the idle disks are.
type IdleConfig struct {
	DiskSize int64  // bytes a disk; 0 = 20 TB
	ZoneSize int64  // bytes a zone; 0 = 256 MiB
	Disks    int    // at once; 0 = 2
	Dir      string // parent of a scratch directory, which is removed; "" = the system's

	// Progress is called with the extents made so far; nil = nobody asks.
	Progress func(done, total int64)
}

// IdleResult is what full disks that nobody uses cost. Names in JSON are a
// contract with scripts.
type IdleResult struct {
	Disks    int   `json:"disks"`
	DiskSize int64 `json:"disk_size"`
	Zones    int   `json:"zones"`   // a disk
	Extents  int   `json:"extents"` // a disk
	PerDisk  int64 `json:"rss_bytes_per_disk"`
}

// Idle fills disks with sealed extents of one zone each, twice as many as a full
// disk has when extents are of four zones, opens them anew, and measures how much
// resident memory of this process that adds. Memory goes with extents; making one
// looks at all others, so more would take minutes. What is written to the extents
// is thrown away; the superblock logs lie in files.
func Idle(ctx context.Context, c IdleConfig) (r IdleResult, err error) {
	c = c.withDefaults()
	r = IdleResult{Disks: c.Disks, DiskSize: c.DiskSize, Zones: int(c.DiskSize / c.ZoneSize)}
	if c.Disks < 1 || c.Disks > holdall.MaxDisksPerProcess || c.ZoneSize < 1<<20 || c.ZoneSize%volume.SectorSize != 0 || r.Zones < 16 {
		return r, fmt.Errorf("bench: %d disks of %d bytes in zones of %d: want 1 to %d disks of at least 16 zones of at least 1 MiB: %w",
			c.Disks, c.DiskSize, c.ZoneSize, holdall.MaxDisksPerProcess, holdall.ErrInvalid)
	}
	dir, err := os.MkdirTemp(c.Dir, "holdall-bench-idle-")
	if err != nil {
		return r, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r.Extents = r.Zones / 2
	devices := make([]*idleDevice, c.Disks)
	for i := range devices {
		if devices[i], err = newIdleDevice(filepath.Join(dir, fmt.Sprint(i)), c.ZoneSize, r.Zones); err != nil {
			return r, err
		}
		defer devices[i].file.Close()
		if err := c.fill(ctx, devices[i], i, r.Extents); err != nil {
			return r, err
		}
	}
	r.PerDisk, err = measureIdle(ctx, devices)
	return r, err
}

func (c IdleConfig) withDefaults() IdleConfig {
	if c.DiskSize == 0 {
		c.DiskSize = 20e12
	}
	if c.ZoneSize == 0 {
		c.ZoneSize = volume.DefaultZoneSize
	}
	if c.Disks == 0 {
		c.Disks = 2
	}
	return c
}

// fill formats a disk and fills it with sealed extents.
func (c IdleConfig) fill(ctx context.Context, dev *idleDevice, number, extents int) (err error) {
	id := volume.Identity{Cell: holdall.CellID{1}, Disk: holdall.DiskID{byte(number + 1)}, ZoneSize: c.ZoneSize}
	if err := volume.Format(dev, id); err != nil {
		return err
	}
	d, err := volume.OpenDisk(ctx, dev, idleDisk(buffer.NewPool(0)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.Mount(1); err != nil {
		return err
	}
	epoch := holdall.MakeEpoch(1, 1)
	for i := range extents {
		e := holdall.ExtentID{Volume: holdall.MakeVolumeID(1, uint64(i+1)), Created: epoch}
		g := volume.Grant{Disk: id.Disk, Extent: e, Scheme: holdall.DefaultScheme, Limit: volume.ExtentCapacity(c.ZoneSize, 1), Reserved: true}
		if err := d.CreateExtent(ctx, g); err != nil {
			return fmt.Errorf("bench: extent %d: %w", i, err)
		}
		if err := d.Seal(ctx, e, epoch, 0, 0); err != nil {
			return fmt.Errorf("bench: seal extent %d: %w", i, err)
		}
		if c.Progress != nil && i%1024 == 0 {
			c.Progress(int64(number*extents+i), int64(c.Disks*extents))
		}
	}
	return nil
}

func idleDisk(pool *buffer.Pool) volume.DiskConfig {
	return volume.DiskConfig{Pool: pool, Logger: slog.New(slog.DiscardHandler)}
}

// measureIdle opens all disks and returns the resident bytes that each adds.
func measureIdle(ctx context.Context, devices []*idleDevice) (perDisk int64, err error) {
	before := resident()
	pool := buffer.NewPool(0)
	for _, dev := range devices {
		d, err := volume.OpenDisk(ctx, dev, idleDisk(pool))
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
	}
	return max(0, resident()-before) / int64(len(devices)), nil
}

// resident returns what this process holds once garbage is given back.
func resident() int64 {
	debug.FreeOSMemory()
	return int64(Usage(time.Time{}).RSSBytes)
}

// idleDevice is a disk that keeps its superblock log in a file and of all other
// zones the write pointers alone.
type idleDevice struct {
	file *os.File
	zone int64

	mu       sync.Mutex // guards pointers
	pointers []int64
}

// logZones are the zones that hold the superblock log.
const logZones = 2

func newIdleDevice(path string, zone int64, zones int) (*idleDevice, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return &idleDevice{file: f, zone: zone, pointers: make([]int64, zones)}, nil
}

// Geometry returns what the disk pretends to be.
func (d *idleDevice) Geometry() volume.Geometry {
	return volume.Geometry{ZoneSize: d.zone, Zones: len(d.pointers), Available: len(d.pointers)}
}

// WritePointer returns the next offset of a zone.
func (d *idleDevice) WritePointer(zone int) (int64, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pointers[zone], true
}

// SetPointer has nothing to learn.
func (d *idleDevice) SetPointer(zone int, off int64) error {
	if at, _ := d.WritePointer(zone); at != off {
		return fmt.Errorf("bench: zone %d is at %d: %w", zone, at, holdall.ErrStale)
	}
	return nil
}

// Append writes to the log zones, and only counts elsewhere.
func (d *idleDevice) Append(zone int, off int64, bufs ...[]byte) error {
	if err := d.SetPointer(zone, off); err != nil {
		return err
	}
	for _, b := range bufs {
		if zone < logZones {
			if _, err := d.file.WriteAt(b, int64(zone)*d.zone+off); err != nil {
				return fmt.Errorf("bench: %v: %w", err, holdall.ErrDiskFailed)
			}
		}
		off += int64(len(b))
	}
	d.move(zone, off)
	return nil
}

func (d *idleDevice) move(zone int, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pointers[zone] = off
}

// ReadAt reads the log zones; the others read as zeros.
func (d *idleDevice) ReadAt(zone int, off int64, buf []byte) error {
	if zone >= logZones {
		clear(buf)
		return nil
	}
	n, err := d.file.ReadAt(buf, int64(zone)*d.zone+off)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("bench: %v: %w", err, holdall.ErrDiskFailed)
	}
	clear(buf[n:])
	return nil
}

// Reset empties a zone.
func (d *idleDevice) Reset(zone int) error { d.move(zone, 0); return nil }

// Finish closes a zone.
func (d *idleDevice) Finish(zone int) error { d.move(zone, d.zone); return nil }

// Sync has nothing to do: nothing here outlives the process.
func (d *idleDevice) Sync(...int) error { return nil }

// Check is always content.
func (d *idleDevice) Check() error { return nil }

// Close keeps the file: the disk is opened again.
func (d *idleDevice) Close() error { return nil }
