package metadata

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
)

// Timing and limits of Raft.
const (
	heartbeat    = time.Second            // a follower that heard nothing for so long stands for election
	leaderLease  = 500 * time.Millisecond // a leader that reached no majority for so long steps down
	leaderWait   = 2 * time.Second        // how long a mutation waits for a leader before it fails
	proposeRetry = 10 * time.Millisecond  // between two tries while there is no leader
	maxAppend    = 256                    // entries that share one sync, and one message to a follower
	maxProposed  = 64 << 20               // bytes of entries on their way through Raft
	proposeCost  = 1 << 10                // bytes that an entry on its way counts for besides its own
	keepLog      = 6 * time.Hour          // how long entries are kept for followers, beyond a snapshot
	never        = 365 * 24 * time.Hour
)

// replica is one voter: the log, the state and Raft between them. Its methods
// are safe for concurrent use.
type replica struct {
	cfg     Config
	dir     *dataDir
	cache   *pebble.Cache
	dead    *fatality
	logDB   *pebble.DB
	log     *logStore
	fsm     *fsm
	raft    *raft.Raft
	trans   raft.Transport
	reads   readRounds
	bytes   *semaphore.Weighted // of entries on their way, at most maxProposed
	ops     opGate              // calls that are being served
	lead    leadership
	session numbering
	tally   tally
	shown   []prometheus.Collector // registered, until close

	stop    context.CancelFunc // ends the goroutines that run counts
	stopped context.Context
	run     sync.WaitGroup
}

// openReplica opens the voter in cfg.Dir, whose fields have their defaults. A
// voter alone is the leader, and has applied its whole log, when this returns.
func openReplica(ctx context.Context, cfg Config) (_ *replica, err error) {
	r := &replica{
		cfg:   cfg,
		dead:  newFatality(cfg.OnFatal, cfg.Logger),
		cache: pebble.NewCache(cfg.CacheBytes),
		bytes: semaphore.NewWeighted(maxProposed),
		tally: newTally(),
	}
	r.session.opening = make(chan struct{}, 1)
	r.stopped, r.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	use := useDir
	if cfg.Bootstrap || cfg.join {
		use = makeOne
	}
	if r.dir, err = openDataDir(cfg.FS, cfg.Dir, use); err != nil {
		return nil, err
	}
	if err := r.openFiles(); err != nil {
		return nil, err
	}
	if err := r.startRaft(); err != nil {
		return nil, err
	}
	r.run.Go(r.watchLeadership)
	r.run.Go(r.flushNowAndThen)
	alone, err := r.alone()
	if err != nil || !alone {
		return r, err
	}
	if err := r.elect(); err != nil {
		return nil, err
	}
	return r, r.lead.wait(ctx)
}

// openFiles opens state and log, in this order: a log without a state is what a
// lost disk looks like.
func (r *replica) openFiles() error {
	r.fsm = &fsm{
		dir: r.dir, cache: r.cache, dead: r.dead, tables: new(tableCache),
		grown: make(chan struct{}, 1), limit: r.cfg.FlushBytes,
	}
	st, err := r.fsm.open(r.dir.state, nil)
	if err != nil {
		return err
	}
	r.fsm.state = st
	if r.logDB, err = openPebble(r.dir.join(logName), logOptions(r.dir.fs, r.cache, r.dead)); err != nil {
		return err
	}
	if r.log, err = openLogStore(r.logDB, r.dead, r.cfg.Clock); err != nil {
		return err
	}
	r.fsm.log = r.log
	p := st.flushed.Load()
	r.fsm.applied.advance(p.index)
	if err := r.log.joinState(p); err != nil {
		return err
	}
	return r.log.raiseTerm(p.term)
}

// startRaft starts Raft on state and log.
func (r *replica) startRaft() error {
	r.trans = r.cfg.transport
	if r.trans == nil {
		_, r.trans = raft.NewInmemTransport(raft.ServerAddress(r.cfg.NodeID))
	}
	if err := r.bootstrap(); err != nil {
		return err
	}
	var err error
	if r.raft, err = raft.NewRaft(raftConfig(&r.cfg), r.fsm, r.log, r.log, &snapshots{fsm: r.fsm}, r.trans); err != nil {
		return fmt.Errorf("metadata: start Raft: %w: %w", err, holdall.ErrUnavailable)
	}
	return nil
}

// bootstrap begins the log of a new cell with its voters. It is not the
// library's, which writes the term first and then takes that for a log: a crash
// between the two would leave a voter that waits for others for ever.
func (r *replica) bootstrap() error {
	if r.log.length() > 0 || r.fsm.applied.load() > 0 || r.cfg.join {
		return nil
	}
	if !r.cfg.Bootstrap {
		return fmt.Errorf("metadata: %s was never bootstrapped: %w", r.cfg.Dir, holdall.ErrNotFound)
	}
	servers := r.cfg.voters
	if servers == nil {
		servers = []raft.Server{{ID: raft.ServerID(r.cfg.NodeID), Address: r.trans.LocalAddr()}}
	}
	err := r.log.raiseTerm(1)
	if err == nil {
		data := raft.EncodeConfiguration(raft.Configuration{Servers: servers})
		err = r.log.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: data})
	}
	if err != nil {
		return fmt.Errorf("metadata: begin a log: %w: %w", err, holdall.ErrUnavailable)
	}
	return nil
}

// raftConfig leaves snapshots to flushNowAndThen, and truncation to the log
// store, which knows what is flushed and how old entries are.
func raftConfig(cfg *Config) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(cfg.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = heartbeat, heartbeat, leaderLease
	c.BatchApplyCh, c.MaxAppendEntries = true, maxAppend
	c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = never, math.MaxUint64, 0
	c.NoSnapshotRestoreOnStart = true // the state is its own snapshot, and open already
	c.ShutdownOnRemove = false
	c.NoLegacyTelemetry = true
	c.Logger = newRaftLogger(cfg.Logger)
	return c
}

// alone says whether this is the cell's only voter, and sets how long the log
// is kept beyond the flushed state: a voter alone has nobody to keep it for.
func (r *replica) alone() (bool, error) {
	f := r.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return false, fmt.Errorf("metadata: read the voters: %w: %w", err, holdall.ErrUnavailable)
	}
	servers := f.Configuration().Servers
	if len(servers) == 0 {
		return false, nil // joining: a leader will add this node
	}
	for _, s := range servers {
		if s.ID == raft.ServerID(r.cfg.NodeID) {
			alone := len(servers) == 1
			if !alone {
				r.log.setKeep(keepLog)
			}
			return alone, nil
		}
	}
	return false, fmt.Errorf("metadata: %s belongs to node %q and this is %q: %w", r.cfg.Dir, servers[0].ID, r.cfg.NodeID, holdall.ErrInvalid)
}

// elect makes a voter that is alone stand for election now. Raft's timeouts fit
// a group whose members may be slow to answer; alone, it would wait one out at
// every start. Lowering the timeout, by however little, re-arms the timer at once.
func (r *replica) elect() error {
	c := r.raft.ReloadableConfig()
	c.HeartbeatTimeout -= time.Millisecond
	if err := r.raft.ReloadConfig(c); err != nil {
		return fmt.Errorf("metadata: stand for election: %w: %w", err, holdall.ErrUnavailable)
	}
	return nil
}

// flushNowAndThen flushes the state so often that a start never has much to
// replay, and truncates the log.
func (r *replica) flushNowAndThen() {
	tick := time.NewTicker(r.cfg.FlushInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.fsm.grown:
		case <-r.stopped.Done():
			return
		}
		if err := r.flush(); err != nil {
			r.cfg.Logger.Warn("metadata not flushed", "err", err)
		}
	}
}

// flush makes the state durable as far as it is applied and truncates the log.
func (r *replica) flush() error {
	st := r.fsm.hold()
	clean := st.machine.appliedIndex() == st.flushed.Load().index
	st.release()
	if clean {
		return nil
	}
	err := r.raft.Snapshot().Error()
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	r.tally.flushes.WithLabelValues(outcomeOf(err)).Inc()
	if err != nil {
		return fmt.Errorf("metadata: flush: %w: %w", err, holdall.ErrUnavailable)
	}
	return nil
}

// close ends everything that was opened, whether or not opening got to its end.
func (r *replica) close() error {
	var faults []error
	for _, c := range r.shown {
		r.cfg.Registerer.Unregister(c)
	}
	r.ops.close()
	r.stop()
	r.run.Wait()
	if r.raft != nil {
		if r.dead.err() == nil {
			faults = append(faults, r.flush())
		}
		faults = append(faults, r.raft.Shutdown().Error())
	}
	if r.logDB != nil {
		faults = append(faults, r.logDB.Close())
	}
	if r.fsm != nil && r.fsm.state != nil {
		r.fsm.state.release()
	}
	if r.cache != nil {
		r.cache.Unref()
	}
	if r.dir != nil {
		faults = append(faults, r.dir.Close())
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("metadata: close: %w: %w", err, holdall.ErrUnavailable)
	}
	return nil
}
