package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/upkeep"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// Config describes a cell.
type Config struct {
	Disks       int              // 0 = 9
	Disk        faultdisk.Config // zero: 64 zones of 1 MiB
	Array       *faultdisk.Array // empty disks; nil = as many as Disks says, as Disk says
	ExtentZones int              // zones that an extent fills; 0 = 4
	Seed        uint64           // of ids and placement
	Logger      *slog.Logger     // nil = nothing is logged

	// Gateway, Objects and Upkeep may change their Configs before each start;
	// nil = they are left as they are.
	Gateway func(*gateway.Config)
	Objects func(*object.Config)
	Upkeep  func(*upkeep.Config)
}

// Cell is a running cell. Its methods are for one goroutine; the parts are safe
// for concurrent use as they say.
type Cell struct {
	Array   *faultdisk.Array
	Store   *metadata.Store
	Server  *volume.Server
	Gateway *gateway.Gateway
	Objects *object.Objects
	Upkeep  *upkeep.Upkeep // not started: tests say when its rounds are
	Pool    *buffer.Pool

	cfg    Config
	fs     *vfs.MemFS
	ids    []holdall.DiskID // by place in the Array
	ahead  atomic.Int64     // nanoseconds that the cell's clock is ahead of the real one
	failed chan failure
	ending *atomic.Bool   // of this process: its disks fail because it dies, which no real one lives to tell
	died   error          // what the last process that was killed said when it ended
	watch  sync.WaitGroup // the goroutine that tells metadata of failed disks
}

type failure struct {
	disk   holdall.DiskID
	reason string
}

// Retention is how long trashed blocks wait, by the cell's clock.
const Retention = 7 * 24 * time.Hour

const metadataDir = "/cell/metadata"

// New makes a cell of empty disks and starts it.
func New(cfg Config) (*Cell, error) {
	if cfg.Disks == 0 {
		cfg.Disks = 9
	}
	if cfg.ExtentZones == 0 {
		cfg.ExtentZones = 4
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Array == nil {
		cfg.Array = faultdisk.New(cfg.Disks, cfg.Disk)
	}
	c := &Cell{cfg: cfg, fs: vfs.NewCrashableMem(), Array: cfg.Array, Pool: buffer.NewPool(64 << 20)}
	for i := range c.Array.Len() {
		id := holdall.DiskID{0: byte(i + 1), 1: byte(cfg.Seed), 15: 1}
		c.ids = append(c.ids, id)
		if err := volume.Format(c.Array.Disk(i), volume.Identity{Cell: c.cellID(), Disk: id}); err != nil {
			return nil, err
		}
	}
	return c, c.start(true)
}

func (c *Cell) cellID() holdall.CellID { return holdall.CellID{0: 0xce, 1: byte(c.cfg.Seed), 15: 1} }

// Now is the cell's clock.
func (c *Cell) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Advance puts the cell's clock forward.
func (c *Cell) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// DiskID returns the id of the disk at place i.
func (c *Cell) DiskID(i int) holdall.DiskID { return c.ids[i] }

// start brings all parts up over what the disks and the metadata's files hold.
func (c *Cell) start(first bool) error {
	store, err := metadata.Open(context.Background(), metadata.Config{Dir: metadataDir, FS: c.fs, Bootstrap: first, Cell: c.cellID(),
		Clock: c.Now, Logger: c.cfg.Logger, CacheBytes: 1 << 20,
		OnFatal: func(err error) { c.cfg.Logger.Error("metadata died", "err", err) }})
	if err != nil {
		return fmt.Errorf("sim: metadata: %w", err)
	}
	c.Store = store
	c.failed = make(chan failure, c.Array.Len())
	c.Server = volume.NewServer(volume.ServerConfig{OnDiskFailed: func(disk holdall.DiskID, reason string) {
		c.failed <- failure{disk, reason}
	}})
	ending := new(atomic.Bool)
	c.ending = ending
	c.watch.Go(func() {
		for f := range c.failed {
			if ending.Load() {
				continue
			}
			// A store that was closed meanwhile refuses; the next start tells it again.
			_ = store.SetDisk(context.Background(), f.disk, holdall.DiskFailed, f.reason)
		}
	})
	for i := range c.Array.Len() {
		// A disk that does not open is left out, as in a real process.
		if err := c.mount(i, first); err != nil {
			c.cfg.Logger.Warn("disk is left out", "disk", i, "err", err)
			if first {
				return err
			}
		}
	}
	cfg := gateway.Config{Index: store, Tables: store, Leases: store, Writer: c.Server, Reader: c.Server, Pool: c.Pool,
		Pending: store, Namespaces: store,
		ExtentLimit: volume.ExtentCapacity(c.Array.Disk(0).Geometry().ZoneSize, c.cfg.ExtentZones),
		Memory:      64 << 20, Now: c.Now, Seed: c.cfg.Seed + 1, Logger: c.cfg.Logger}
	if c.cfg.Gateway != nil {
		c.cfg.Gateway(&cfg)
	}
	if c.Gateway, err = gateway.New(cfg); err != nil {
		return err
	}
	objects := object.Config{Buckets: store, Names: store, Commits: store, Uploads: store, Parts: store, Blocks: c.Gateway, Now: c.Now, Logger: c.cfg.Logger}
	if c.cfg.Objects != nil {
		c.cfg.Objects(&objects)
	}
	if c.Objects, err = object.New(objects); err != nil {
		return err
	}
	up := upkeep.Config{Tables: store, Referee: store, Volumes: store, Trash: store, Journal: store, Extents: c.Server, Disks: c.Server,
		Blocks: c.Gateway, Pool: c.Pool, Versions: store, Nodes: c.Objects, Retention: Retention, ScanEvery: time.Nanosecond, Now: c.Now, Logger: c.cfg.Logger}
	if c.cfg.Upkeep != nil {
		c.cfg.Upkeep(&up)
	}
	if c.Upkeep, err = upkeep.New(up); err != nil {
		return err
	}
	return c.Gateway.Start(context.Background())
}

// mount opens the disk at place i and brings it into use.
func (c *Cell) mount(i int, first bool) error {
	ctx := context.Background()
	dev := c.Array.Disk(i)
	d, err := volume.OpenDisk(ctx, dev, volume.DiskConfig{Path: fmt.Sprintf("disk-%d", i), Cell: c.cellID(), Pool: c.Pool,
		Logger: c.cfg.Logger, CheckEvery: time.Hour})
	if err != nil {
		return err
	}
	if err := c.admit(ctx, i, d, first); err != nil {
		return errors.Join(err, d.Close())
	}
	return nil
}

func (c *Cell) admit(ctx context.Context, i int, d *volume.Disk, first bool) error {
	id := d.Identity().Disk
	st := d.Status()
	if first {
		row := metadata.Disk{ID: id, Path: st.Path, Capacity: st.Capacity, ZoneSize: st.ZoneSize, State: holdall.DiskActive}
		if err := c.Store.AddDisk(ctx, row); err != nil {
			return err
		}
	}
	grant, err := c.Store.GrantMount(ctx, id, st.Incarnation, st.Path, "sim")
	if err != nil {
		return err
	}
	if st.State == holdall.DiskActive {
		if err := d.Mount(grant.Incarnation); err != nil {
			return err
		}
		if err := c.Store.ConfirmMount(ctx, id, grant.Incarnation); err != nil {
			return err
		}
	}
	return c.Server.Add(d)
}

// Replug closes the disk at place i and opens it again, as a process does with a
// disk that comes back: whatever its medium holds now is what it finds.
func (c *Cell) Replug(i int) error {
	if err := c.Server.Remove(c.ids[i]); err != nil && !errors.Is(err, holdall.ErrNotFound) {
		return err
	}
	c.Array.Disk(i).Reopen()
	return c.mount(i, false)
}

// Readmit gives the disk at place i back its place after a failure, as `disk
// readmit` does.
func (c *Cell) Readmit(i int) error {
	ctx := context.Background()
	c.Array.Disk(i).Heal()
	c.Array.Disk(i).Plug()
	if _, err := c.Server.Readmit(ctx, c.ids[i]); err != nil {
		return err
	}
	return c.Store.SetDisk(ctx, c.ids[i], holdall.DiskActive, "")
}

// Rot flips a bit of the byte at off of an extent, durably.
func (c *Cell) Rot(disk holdall.DiskID, extent holdall.ExtentID, off int64, bit int) error {
	infos, err := c.Server.Extents(context.Background(), disk)
	if err != nil {
		return err
	}
	for _, e := range infos {
		if e.Extent != extent {
			continue
		}
		dev := c.Array.Disk(slices.Index(c.ids, disk))
		inZone := dev.Geometry().ZoneSize - volume.SectorSize
		dev.Rot(e.Zones[off/inZone], volume.SectorSize+off%inZone, bit)
		return nil
	}
	return fmt.Errorf("sim: disk %v has no extent %v: %w", disk, extent, holdall.ErrNotFound)
}

// stop ends the process: whatever still runs fails from now on.
func (c *Cell) stop(ctx context.Context) error {
	err := c.Gateway.Close(ctx)
	err = errors.Join(err, c.Server.Close())
	close(c.failed)
	c.watch.Wait()
	return errors.Join(err, c.Store.Close())
}

// Stop ends the cell in an orderly way. It reports what was left: memory that
// nobody gave back.
func (c *Cell) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := c.stop(ctx)
	if lent := c.Pool.Lent(); lent != 0 {
		err = errors.Join(err, fmt.Errorf("sim: %d bytes of buffers were not released; the last process that died: %v", lent, c.died))
	}
	return err
}

// Restart stops the cell in an orderly way and starts it again.
func (c *Cell) Restart() error {
	if err := c.Stop(); err != nil {
		return err
	}
	c.fs = c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	for i := range c.Array.Len() {
		c.Array.Disk(i).Reopen()
	}
	return c.start(false)
}

// Kill ends the process at this instant and starts the next one.
func (c *Cell) Kill() error {
	c.ending.Store(true)
	next := c.Array.Kill() // first: what metadata says later may rest on disks, not the other way round
	fs := c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	return c.goOn(next, fs)
}

// Crash cuts the power at this instant and starts again. r chooses what is left
// of what was not synced. It returns what it chose for the disks.
func (c *Cell) Crash(r *rand.Rand) (faultdisk.Crash, error) {
	c.ending.Store(true)
	next, how := c.Array.Crash(r)
	fs := c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
	return how, c.goOn(next, fs)
}

func (c *Cell) goOn(next *faultdisk.Array, fs *vfs.MemFS) error {
	dead, cancel := context.WithCancel(context.Background())
	cancel()
	c.died = c.stop(dead)
	c.Array, c.fs = next, fs
	return c.start(false)
}
