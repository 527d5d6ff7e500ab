package metadata

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

// fsm applies committed entries to the present state, for Raft. Its methods
// that Raft calls (ApplyBatch, Apply, Snapshot, Restore) run on one goroutine;
// the others are safe for concurrent use.
type fsm struct {
	dir     *dataDir
	cache   *pebble.Cache
	dead    *fatality
	log     *logStore
	tables  *tableCache
	applied appliedGate
	grown   chan struct{} // receives when a start would have much to replay
	limit   int64         // bytes of entries that are much in any case

	mu      sync.RWMutex // guards all below; never held across I/O
	state   *state
	pending backlog
}

// backlog is what was applied since the last flush: what a start would replay.
type backlog struct {
	bytes int64         // of entries
	took  time.Duration // to apply them
}

// A start is to replay no longer than about replayTime; but a state is not
// flushed for less than minFlush, because small flushes cost compactions. Of small
// stripes, 1 MiB took 0.5 s to replay in BenchmarkRestart, and up to 3.8 s on a busy
// machine; to flush more often costs little while state waits for twice as many tables
// before it compacts (stateOptions).
const (
	replayTime = 200 * time.Millisecond
	minFlush   = 256 << 10 // bytes of entries: some 2,600 of a block each, or 370 of 16
)

// outcome is what a proposer gets from Raft for its entry.
type outcome struct {
	answer []byte
	err    error // the state is broken; the entry has no effect
}

// hold returns the present state, which the caller must release.
func (f *fsm) hold() *state {
	f.mu.RLock()
	defer f.mu.RUnlock()
	f.state.refs.Add(1)
	return f.state
}

// Apply carries out one entry; see ApplyBatch.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch carries out entries in their order and returns an outcome for
// each. After one fails nothing is applied any more: this voter's state would
// not be that of the others.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	st := f.hold()
	defer st.release()
	answers, size, begin := make([]any, len(logs)), int64(0), time.Now()
	for i, l := range logs {
		o := outcome{err: f.dead.err()}
		if o.err == nil {
			o = f.applyOne(st, l)
		}
		answers[i] = o
		size += int64(len(l.Data))
	}
	f.applied.advance(st.machine.appliedIndex())
	f.grow(backlog{size, time.Since(begin)})
	return answers
}

func (f *fsm) applyOne(st *state, l *raft.Log) (o outcome) {
	switch l.Type {
	case raft.LogCommand:
		o.answer, o.err = st.machine.apply(l.Index, l.Term, l.Data)
		f.tables.applied(st.machine.touched, l.Data)
	case raft.LogConfiguration:
		o.err = st.machine.applyVoters(l.Index, l.Term, raft.DecodeConfiguration(l.Data))
	default:
		o.err = fmt.Errorf("metadata: entry %d of unknown type %d: %w", l.Index, l.Type, holdall.ErrCorrupt)
	}
	if o.err != nil {
		f.dead.report(o.err)
	}
	if err := f.dead.err(); err != nil { // of Pebble, which does not return it
		return outcome{err: err}
	}
	return o
}

// grow counts what was applied, and asks for a flush when a start would take
// too long to replay it.
func (f *fsm) grow(by backlog) {
	f.mu.Lock()
	f.pending.bytes += by.bytes
	f.pending.took += by.took
	full := f.pending.bytes >= f.limit || f.pending.bytes >= minFlush && f.pending.took >= replayTime
	f.mu.Unlock()
	if full {
		select {
		case f.grown <- struct{}{}:
		default:
		}
	}
}

// Snapshot returns the present state as a snapshot: there is nothing to copy,
// because the snapshot is the flushed state.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.dead.err(); err != nil {
		return nil, err
	}
	return &flushing{f: f, st: f.hold()}, nil
}

// flushing is a state about to be flushed.
type flushing struct {
	f  *fsm
	st *state
}

// Persist flushes the state. The sink stays empty.
func (s *flushing) Persist(raft.SnapshotSink) error { return s.f.flush(s.st) }

// Release lets go of the state.
func (s *flushing) Release() { s.st.release() }

// flush makes st durable as far as it is applied, then lets the log be
// truncated up to there and no further.
func (f *fsm) flush(st *state) error {
	f.mu.Lock()
	f.pending = backlog{}
	f.mu.Unlock()
	p, err := st.flush(f.dead)
	if err != nil {
		return err
	}
	f.log.setFlushed(p.index)
	return f.dead.err()
}

// Restore makes an installed snapshot the present state. r yields the name of
// the directory into which the snapshot store unpacked it, durably:
//
//  1. open it, and see that it is whole;
//  2. make it the present state on disk: one synced rename, after which the old
//     one is garbage whatever happens;
//  3. readers go over to it; the old one is closed and removed when the last of
//     them lets go;
//  4. empty the log: all of it was below the snapshot, or contradicted by it.
func (f *fsm) Restore(r io.ReadCloser) error {
	name, err := io.ReadAll(io.LimitReader(r, 256))
	if err != nil {
		return fmt.Errorf("metadata: restore: %w", err)
	}
	st, err := f.open(string(name), nil)
	if err != nil {
		return err
	}
	if err := f.dir.point(st.name); err != nil {
		f.dead.report(err)
		return err
	}
	f.mu.Lock()
	old := f.state
	f.state, f.pending = st, backlog{}
	f.mu.Unlock()
	old.release()
	f.tables.clear()
	p := st.flushed.Load()
	last, _ := f.log.LastIndex()
	if err := f.log.reset(); err != nil {
		f.dead.report(err)
		return err
	}
	f.log.setFlushed(p.index)
	f.applied.advance(p.index)
	if last > p.index {
		// Raft still believes in the entries that are gone, and would refuse the
		// leader's for ever. A new process starts from what is on disk.
		err := fmt.Errorf("metadata: an installed snapshot at entry %d replaced a log that went on to %d: start again: %w", p.index, last, holdall.ErrUnavailable)
		f.dead.report(err)
		return err
	}
	return nil
}

// open opens the state in directory name. A state that is no longer present
// when its last holder lets go is removed.
func (f *fsm) open(name string, change func(*pebble.Options)) (*state, error) {
	o := stateOptions(f.dir.fs, f.cache, f.dead)
	if change != nil {
		change(o)
	}
	db, err := openPebble(f.dir.join(name), o)
	if err != nil {
		return nil, err
	}
	st, err := openState(db, name)
	if err != nil {
		return nil, err
	}
	st.closed = func(st *state) {
		if err := st.db.Close(); err != nil {
			f.dead.logger.Warn("metadata state not closed", "state", st.name, "err", err)
			return
		}
		if st.name != f.present() {
			if err := f.dir.fs.RemoveAll(f.dir.join(st.name)); err != nil {
				f.dead.logger.Warn("old metadata state not removed", "state", st.name, "err", err)
			}
		}
	}
	return st, nil
}

// present returns the name of the present state's directory.
func (f *fsm) present() string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.state.name
}
