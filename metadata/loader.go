package metadata

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

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

// open makes the state, empty, and opens it.
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
