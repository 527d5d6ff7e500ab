package metadata

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

// snapshots is Raft's snapshot store. No copies of the state are kept: the one
// snapshot there is, is the flushed state itself, and a checkpoint of it is
// made only while a follower is being sent one. A snapshot that is received is
// unpacked into a state directory beside the present one.
type snapshots struct {
	fsm *fsm

	mu       sync.Mutex // guards all below
	received *raft.SnapshotMeta
}

// presentID names the flushed state among snapshots.
const presentID = "present"

// meta describes a state at p as a snapshot.
func (p *progress) meta(id string) *raft.SnapshotMeta {
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: id, Index: p.index, Term: p.term,
		Configuration: p.voters.config, ConfigurationIndex: p.voters.index,
	}
}

// List returns the flushed state, or nothing before the first entry.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	st := s.fsm.hold()
	defer st.release()
	p := st.flushed.Load()
	if p.index == 0 {
		return nil, nil
	}
	return []*raft.SnapshotMeta{p.meta(presentID)}, nil
}

// Open returns the bytes of a snapshot. For the flushed state, these are the
// archive of a checkpoint made now, at an index that may be above the one
// listed: it is the one read out of the checkpoint. For a received one, which is
// unpacked already, they are the name of its directory, for fsm.Restore.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	received := s.received
	s.mu.Unlock()
	if received != nil && received.ID == id {
		return received, io.NopCloser(strings.NewReader(id)), nil
	}
	if id != presentID {
		return nil, nil, fmt.Errorf("metadata snapshot %q: %w", id, holdall.ErrNotFound)
	}
	st := s.fsm.hold()
	defer st.release()
	if err := s.fsm.flush(st); err != nil {
		return nil, nil, err
	}
	dir := s.fsm.dir.join(s.fsm.dir.newName(sendPrefix))
	if err := st.db.Checkpoint(dir); err != nil {
		return nil, nil, fmt.Errorf("metadata snapshot: checkpoint to %s: %w: %w", dir, err, holdall.ErrUnavailable)
	}
	meta, r, err := s.send(dir)
	if err != nil {
		return nil, nil, errors.Join(err, s.fsm.dir.fs.RemoveAll(dir))
	}
	return meta, r, nil
}

// send returns the archive of the checkpoint in dir, which it removes when the
// reader is closed.
func (s *snapshots) send(dir string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	fs := s.fsm.dir.fs
	p, err := s.inspect(dir)
	if err != nil {
		return nil, nil, err
	}
	files, size, err := listArchive(fs, dir)
	if err != nil {
		return nil, nil, fmt.Errorf("metadata snapshot: list %s: %w: %w", dir, err, holdall.ErrUnavailable)
	}
	meta := p.meta(presentID)
	meta.Size = size
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(writeArchive(w, fs, dir, files))
	}()
	return meta, &sending{PipeReader: r, done: done, remove: func() error { return fs.RemoveAll(dir) }}, nil
}

// sending is an archive on its way.
type sending struct {
	*io.PipeReader
	done   chan struct{} // closed when the writer has ended
	remove func() error
}

// Close stops the writer, waits for it, and removes the checkpoint.
func (s *sending) Close() error {
	s.PipeReader.Close()
	<-s.done
	return s.remove()
}

// inspect reads the place in the log out of the state in dir, without changing
// anything there.
func (s *snapshots) inspect(dir string) (*progress, error) {
	o := stateOptions(s.fsm.dir.fs, s.fsm.cache, newFatality(nil, s.fsm.dead.logger))
	o.ReadOnly = true
	db, err := openPebble(dir, o)
	if err != nil {
		return nil, err
	}
	p, err := readProgress(db, nil)
	return p, errors.Join(err, db.Close())
}

// Create returns a sink. Raft writes to it what a leader sends; for a snapshot
// of its own state it writes nothing, because fsm.Snapshot has nothing to copy.
func (s *snapshots) Create(_ raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	p := progress{index: index, term: term, voters: voters{index: at, config: c}}
	return &sink{s: s, meta: p.meta(presentID)}, nil
}

// discard removes a received snapshot that never became the present state.
func (s *snapshots) discard() error {
	s.mu.Lock()
	old := s.received
	s.received = nil
	s.mu.Unlock()
	if old == nil || old.ID == s.fsm.present() {
		return nil
	}
	if err := s.fsm.dir.fs.RemoveAll(s.fsm.dir.join(old.ID)); err != nil {
		return fmt.Errorf("metadata snapshot: remove %s: %w: %w", old.ID, err, holdall.ErrUnavailable)
	}
	return nil
}

// sink receives one snapshot.
type sink struct {
	s    *snapshots
	meta *raft.SnapshotMeta
	dir  string
	w    *io.PipeWriter
	done chan error // yields the result of unpacking
}

// ID returns the name of the snapshot: of the directory, for a received one.
func (k *sink) ID() string { return k.meta.ID }

// Write takes the next bytes of an archive.
func (k *sink) Write(p []byte) (int, error) {
	if k.w == nil {
		if err := k.begin(); err != nil {
			return 0, err
		}
	}
	n, err := k.w.Write(p)
	k.meta.Size += int64(n)
	return n, err
}

func (k *sink) begin() error {
	d := k.s.fsm.dir
	if err := k.s.discard(); err != nil {
		return err
	}
	k.meta.ID = d.newName(statePrefix)
	k.dir = d.join(k.meta.ID)
	if err := makeDir(d.fs, k.dir); err != nil {
		return fmt.Errorf("metadata snapshot: make %s: %w: %w", k.dir, err, holdall.ErrUnavailable)
	}
	r, w := io.Pipe()
	k.w, k.done = w, make(chan error, 1)
	go func() {
		err := readArchive(r, d.fs, k.dir)
		r.CloseWithError(errors.Join(err, io.ErrUnexpectedEOF)) // for bytes after the end
		k.done <- err
	}()
	return nil
}

// Close ends the archive. A snapshot that is not whole, or not the one that was
// announced, is removed and an error.
func (k *sink) Close() error {
	if k.w == nil {
		return nil
	}
	k.w.Close()
	err := <-k.done
	k.w = nil
	if err == nil {
		err = k.check()
	}
	if err != nil {
		return errors.Join(err, k.s.fsm.dir.fs.RemoveAll(k.dir))
	}
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	k.s.received = k.meta
	return nil
}

func (k *sink) check() error {
	p, err := k.s.inspect(k.dir)
	if err != nil {
		return err
	}
	if p.index != k.meta.Index || p.term != k.meta.Term {
		return fmt.Errorf("metadata snapshot: is at entry %d of term %d, was announced at %d of term %d: %w",
			p.index, p.term, k.meta.Index, k.meta.Term, holdall.ErrCorrupt)
	}
	return nil
}

// Cancel gives up a snapshot and removes what was received of it.
func (k *sink) Cancel() error {
	if k.w == nil {
		return nil
	}
	k.w.CloseWithError(errors.New("cancelled"))
	<-k.done
	k.w = nil
	return k.s.fsm.dir.fs.RemoveAll(k.dir)
}
