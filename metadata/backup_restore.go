package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

// Restore makes the directory cfg.Dir, which must be absent or empty, hold the
// cell as it was when the backup in from was taken, with cfg.NodeID its only
// voter. The incarnation is raised, so that nothing the backup does not know of
// is ever given out again, and the cell is in quarantine until an operator
// releases it. cfg.Clock, FS and Logger are used; no server may run.
func Restore(ctx context.Context, from string, cfg Config) (Cell, error) {
	if err := cfg.Validate(); err != nil {
		return Cell{}, err
	}
	cfg = cfg.withDefaults()
	m, err := ReadManifest(cfg.FS, from)
	if err != nil {
		return Cell{}, err
	}
	l, err := newLoader(cfg)
	if err != nil {
		return Cell{}, err
	}
	err = l.copyFiles(ctx, cfg.FS.PathJoin(from, backupState), m.Files)
	if err == nil {
		err = l.open()
	}
	if err == nil && l.state.machine.appliedIndex() != m.Index {
		err = fmt.Errorf("metadata: backup in %s is at entry %d, its manifest says %d: %w", from, l.state.machine.appliedIndex(), m.Index, holdall.ErrCorrupt)
	}
	if err == nil {
		reason := fmt.Sprintf("restored from the backup taken at %s", m.Taken.Format("2006-01-02T15:04:05Z"))
		err = l.apply(&raiseCell{Reason: reason}, new(numberResult))
	}
	if err != nil {
		return Cell{}, errors.Join(err, l.abort())
	}
	return l.finish()
}

// loader makes a state that did not come through Raft. Nothing is there, as far
// as any other process can see, before finish.
type loader struct {
	cfg   Config
	dir   *dataDir
	cache *pebble.Cache
	dead  *fatality
	name  string
	state *state
	clock numbering
}

func newLoader(cfg Config) (*loader, error) {
	dir, err := openDataDir(cfg.FS, cfg.Dir, fillDir)
	if err != nil {
		return nil, err
	}
	return &loader{
		cfg: cfg, dir: dir, cache: pebble.NewCache(cfg.CacheBytes),
		dead: newFatality(cfg.OnFatal, cfg.Logger), name: dir.newName(statePrefix),
	}, nil
}

// copyFiles fills the state's directory, and checks every file as it goes.
func (l *loader) copyFiles(ctx context.Context, from string, files []BackupFile) error {
	fs, to := l.cfg.FS, l.dir.join(l.name)
	if err := makeDir(fs, to); err != nil {
		return fmt.Errorf("metadata: make %s: %w: %w", to, err, holdall.ErrUnavailable)
	}
	for _, f := range files {
		out, err := fs.Create(fs.PathJoin(to, f.Name), vfs.WriteCategoryUnspecified)
		if err != nil {
			return fmt.Errorf("metadata: make %s in %s: %w: %w", f.Name, to, err, holdall.ErrUnavailable)
		}
		got, err := hashFile(ctx, fs, fs.PathJoin(from, f.Name), io.Writer(out))
		if err == nil {
			if serr := out.Sync(); serr != nil {
				err = fmt.Errorf("metadata: sync %s in %s: %w: %w", f.Name, to, serr, holdall.ErrUnavailable)
			}
		}
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
		if got.Name = f.Name; got != f {
			return fmt.Errorf("metadata: %s in %s has %d bytes with hash %v, the manifest says %d with %v: %w", f.Name, from, got.Size, got.Hash, f.Size, f.Hash, holdall.ErrCorrupt)
		}
	}
	if err := syncDir(fs, to); err != nil {
		return fmt.Errorf("metadata: sync %s: %w: %w", to, err, holdall.ErrUnavailable)
	}
	return nil
}

// open opens the state that is being made: an empty one, if it was not filled.
func (l *loader) open() error {
	db, err := openPebble(l.dir.join(l.name), stateOptions(l.cfg.FS, l.cache, l.dead))
	if err != nil {
		return err
	}
	l.state, err = openState(db, l.name)
	return err
}

// apply carries out a command as the next entry.
func (l *loader) apply(c command, into result) error {
	entry, err := encodeCommand(header{Time: l.clock.stamp(l.cfg.Clock())}, c)
	if err != nil {
		return err
	}
	m := l.state.machine
	answer, err := m.apply(m.appliedIndex()+1, max(m.sys.Term, 1), entry)
	if err = errors.Join(err, l.dead.err()); err != nil {
		return err
	}
	return decodeAnswer(answer, into)
}

// finish makes the state this node's, durable, and then the present one.
func (l *loader) finish() (c Cell, err error) {
	m := l.state.machine
	id := raft.ServerID(l.cfg.NodeID)
	alone := raft.Configuration{Servers: []raft.Server{{ID: id, Address: raft.ServerAddress(id)}}}
	err = m.applyVoters(m.appliedIndex()+1, max(m.sys.Term, 1), alone)
	if err == nil {
		_, err = l.state.flush(l.dead)
	}
	if err == nil {
		c, err = readCell(l.state.db)
	}
	if err = errors.Join(err, l.dead.err()); err != nil {
		return c, errors.Join(err, l.abort())
	}
	if err = l.close(); err == nil {
		err = l.dir.point(l.name)
	}
	return c, errors.Join(err, l.dir.Close())
}

func (l *loader) close() error {
	defer l.cache.Unref()
	if l.state == nil {
		return nil
	}
	if err := l.state.db.Close(); err != nil {
		return fmt.Errorf("metadata: close %s: %w: %w", l.name, err, holdall.ErrUnavailable)
	}
	return nil
}

// abort removes what was made.
func (l *loader) abort() error {
	return errors.Join(l.close(), l.cfg.FS.RemoveAll(l.dir.join(l.name)), l.dir.Close())
}
