package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/config"
	"github.com/holdall/holdall/internal/console"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/s3front"
	"github.com/holdall/holdall/internal/upkeep"
	"github.com/holdall/holdall/internal/wire"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/door"
	"github.com/holdall/holdall/migration/worker"
	"github.com/holdall/holdall/placement"
	"github.com/holdall/holdall/volume"
)

// Node is one process of a cell, with all roles. Start makes one; Close ends it.
type Node struct {
	cfg      *config.Config
	log      *slog.Logger
	registry *prometheus.Registry
	started  time.Time
	version  string

	dir           *dataDir
	cell          holdall.CellID
	scheme        holdall.Scheme
	newZone       int64 // zone size of disks made here
	pool          *buffer.Pool
	store         *metadata.Store
	volumes       *volume.Server
	volumeMetrics *volume.Metrics
	gateway       *gateway.Gateway
	upkeep        *upkeep.Upkeep
	objects       *object.Objects
	door          *door.Door
	workers       *worker.Runner
	grpc          *wire.Server
	vault         *s3front.Vault
	s3            *s3front.Front // nil: none
	grpcAddr      net.Addr
	httpAddr      net.Addr // nil: none
	s3Addr        net.Addr // nil: none

	damage   damage
	rates    taskRates
	failures chan diskFailure
	fatal    chan error     // holds the first reason to end that nobody asked for
	running  sync.WaitGroup // watcher, servers
	cancel   context.CancelFunc

	mu    sync.Mutex // guards slots and their fields
	slots []*slot
	adds  sync.Mutex // one `disk add` or `disk readmit` at a time; held across I/O on purpose
}

// Options is what a Node needs besides settings.
type Options struct {
	Logger  *slog.Logger // nil = slog.Default()
	Version string       // of this binary, for status
}

// failedStartTimeout is how long a node that could not start may take to write
// its journal and close: it served nobody, and whoever waits wants to read why.
const failedStartTimeout = 5 * time.Second

// Start brings a cell up and returns when it is ready to serve. Errors wrap a
// kind, and say what to do.
func Start(ctx context.Context, cfg *config.Config, o Options) (_ *Node, err error) {
	n := &Node{
		cfg: cfg, log: o.Logger, registry: prometheus.NewRegistry(), started: time.Now(), version: o.Version, newZone: zoneSize(cfg),
		failures: make(chan diskFailure, 2*holdall.MaxDisksPerProcess), fatal: make(chan error, 1),
	}
	if n.log == nil {
		n.log = slog.Default()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.giveUp(ctx, failedStartTimeout))
		}
	}()
	if n.dir, err = LockDataDir(cfg.Data, true); err != nil {
		return nil, err
	}
	n.openVault()
	listeners, err := n.listen()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			listeners.close()
		}
	}()
	b := cfg.Split()
	debug.SetMemoryLimit(b.GoLimit)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	n.pool = buffer.NewPool(b.InFlight)
	if err = n.openCell(ctx, b); err != nil {
		return nil, err
	}
	if err = n.startEngine(ctx, b); err != nil {
		return nil, err
	}
	return n, n.serve(listeners)
}

// gcPercent is how much the Go heap may grow, in percent of what is live, before
// it is collected. It is small beside the memory limit, which has the last word,
// since blocks lie outside of it: collecting it at each doubling cost puts of
// small blocks 5 to 9 %.
const gcPercent = 400

// listeners are taken first: a port that is in use is known before anything is
// touched.
type listeners struct{ grpc, http, s3 net.Listener }

func (l *listeners) close() {
	for _, one := range []net.Listener{l.grpc, l.http, l.s3} {
		if one != nil {
			one.Close()
		}
	}
}

func (n *Node) listen() (*listeners, error) {
	l := new(listeners)
	var err error
	if l.grpc, err = listenOn("listen", n.cfg.Listen); err != nil {
		return nil, err
	}
	n.grpcAddr = l.grpc.Addr()
	if l.http, n.httpAddr, err = listenUnlessOff("http", n.cfg.HTTP); err == nil {
		l.s3, n.s3Addr, err = listenUnlessOff("s3", n.cfg.S3)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func listenUnlessOff(setting, addr string) (net.Listener, net.Addr, error) {
	if addr == config.Off || addr == "" {
		return nil, nil, nil
	}
	l, err := listenOn(setting, addr)
	if err != nil {
		return nil, nil, err
	}
	return l, l.Addr(), nil
}

func listenOn(setting, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("address %s is in use by another process; stop that one, or choose another with --%s: %w", addr, setting, holdall.ErrUnavailable)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("address %s: uid may not listen there; choose a port above 1023 with --%s: %w", addr, setting, holdall.ErrInvalid)
	case err != nil:
		return nil, fmt.Errorf("address %s: %v; choose another with --%s: %w", addr, err, setting, holdall.ErrInvalid)
	}
	return l, nil
}

// startEngine starts what moves blocks, on top of metadata and disks.
func (n *Node) startEngine(ctx context.Context, b config.Budgets) error {
	level, err := placement.ParseLevel(n.cfg.Domain)
	if err != nil {
		return err
	}
	n.gateway, err = gateway.New(gateway.Config{
		Index: n.store, Tables: n.store, Leases: n.store, Pending: n.store, Namespaces: n.store, Writer: n.volumes, Reader: n.volumes, Pool: n.pool,
		ID: n.cfg.Node, Scheme: n.scheme, Domain: level, ExtentLimit: volume.ExtentCapacity(n.extentZone(), int(n.cfg.ExtentZones)),
		Memory: b.InFlight + b.Cache, OnDamage: n.onDamage, Logger: n.log, Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	n.objects, err = object.New(object.Config{
		Buckets: n.store, Names: n.store, Commits: n.store, Uploads: n.store, Parts: n.store, Blocks: n.gateway,
		Window: min(2*n.scheme.K(), object.MaxWindow), Logger: n.log, Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	n.upkeep, err = upkeep.New(upkeep.Config{
		Tables: n.store, Referee: n.store, Volumes: n.store, Trash: n.store, Journal: n.store,
		Extents: n.volumes, Disks: n.volumes, Blocks: n.gateway, Pool: n.pool, Versions: n.store, Nodes: n.objects,
		Retention: n.cfg.Retention, FreeHold: n.cfg.FreeHold, Logger: n.log, Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	if n.workers, err = n.newWorkers(); err != nil {
		return err
	}
	if n.door, err = n.newDoor(); err != nil {
		return err
	}
	if err := n.gateway.Start(ctx); err != nil {
		return err
	}
	n.upkeep.Start()
	n.workers.Start(ctx)
	n.door.Start()
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.cancel = cancel
	n.running.Go(func() { n.watchDisks(run) })
	n.running.Go(func() { n.watchTasks(run) })
	return nil
}

// extentZone returns the zone size by which extents are limited: the smallest of
// the disks, so that an extent never takes more zones than it was given.
func (n *Node) extentZone() int64 {
	zone := n.newZone
	for i, s := range n.volumes.Status() {
		if i == 0 || s.ZoneSize < zone {
			zone = s.ZoneSize
		}
	}
	return zone
}

// serve begins to answer.
func (n *Node) serve(l *listeners) error {
	var err error
	n.grpc, err = wire.NewServer(wire.Config{
		Put: putter{n.gateway}, Get: getter{n}, IDs: ids{n}, Namespaces: namespaces{n.store},
		Objects: objects{n}, Changes: objects{n}, Buckets: objects{n}, NamespaceTable: spaces{n}, Credentials: spaces{n},
		Migrations: n.workers, MigrationWork: n.workers, MigrationKeys: n.workers,
		StreamMemory: n.cfg.Split().GoLimit / 4,
		Process:      n, Cell: n, Disks: n, Volumes: n, Metadata: n, Logger: n.log, Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	if l.s3 != nil {
		if err := n.startS3(); err != nil {
			return err
		}
		n.running.Go(func() { n.failOn(n.s3.Serve(l.s3)) })
	}
	n.running.Go(func() { n.failOn(n.grpc.Serve(l.grpc)) })
	n.grpc.SetReady(true)
	if l.http == nil {
		return nil
	}
	if err := n.registerProcess(); err != nil {
		return err
	}
	page := console.Config{
		Gatherer: n.registry, Pprof: n.cfg.Pprof, Logger: n.log,
		Ready:  func(context.Context) error { return n.ready() },
		Status: func(ctx context.Context) any { return n.page(ctx) },
	}
	run, cancel := context.WithCancel(context.Background())
	engine := n.cancel
	n.cancel = func() { engine(); cancel() }
	n.running.Go(func() { n.failOn(console.Serve(run, l.http, page)) })
	return nil
}

// failOn ends the process for a reason that nobody asked for; only the first
// counts.
func (n *Node) failOn(err error) {
	if err == nil {
		return
	}
	select {
	case n.fatal <- err:
	default:
	}
}

// Fatal delivers the reason why the node cannot go on, if there ever is one. The
// owner then ends the process with a failure, after Abandon or at once.
func (n *Node) Fatal() <-chan error { return n.fatal }

// ready says why the node should get no work, or nil.
func (n *Node) ready() error {
	if err := n.store.Err(); err != nil {
		return err
	}
	if !n.store.Leader() {
		return fmt.Errorf("metadata has no leader: %w", holdall.ErrUnavailable)
	}
	return nil
}

// ReadyLine is the one line that `holdall serve` prints.
func (n *Node) ReadyLine() string {
	http := "off"
	if n.httpAddr != nil {
		http = n.httpAddr.String()
	}
	active := 0
	for _, s := range n.volumes.Status() {
		if s.State == holdall.DiskActive && !s.Gone {
			active++
		}
	}
	s3 := ""
	if n.s3Addr != nil {
		s3 = " s3=" + n.s3Addr.String()
	}
	return fmt.Sprintf("holdall: ready grpc=%s http=%s%s cell=%v disks=%d scheme=%v", n.grpcAddr, http, s3, n.cell, active, n.scheme)
}

// Close takes the node down: new calls are refused, those in flight finish, the
// change journal is flushed, and everything is closed. What is not done when ctx
// ends is given up; nothing that was acknowledged depends on it.
func (n *Node) Close(ctx context.Context) error {
	n.grpc.SetReady(false)
	var fronts sync.WaitGroup
	fronts.Go(func() { n.grpc.Stop(ctx) })
	if n.s3 != nil {
		fronts.Go(func() { n.s3.Close(ctx) })
	}
	fronts.Wait()
	return n.stop(ctx)
}

// giveUp ends what a start that failed has begun, within about limit, whether or
// not ctx has ended.
func (n *Node) giveUp(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	return n.stop(ctx)
}

// stop ends what was started, in the reverse order.
func (n *Node) stop(ctx context.Context) error {
	var errs []error
	if n.door != nil {
		n.door.Close(ctx)
	}
	if n.workers != nil {
		n.workers.Close(ctx)
	}
	if n.upkeep != nil {
		n.upkeep.Close(ctx)
	}
	if n.cancel != nil {
		n.cancel()
	}
	n.running.Wait()
	if n.gateway != nil {
		errs = append(errs, n.gateway.Close(ctx))
	}
	if n.volumes != nil {
		errs = append(errs, n.volumes.Close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.dir != nil {
		errs = append(errs, n.dir.Close())
	}
	return errors.Join(errs...)
}
