package metadata

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

// keyVoters is the row of the Raft configuration, in the system table. It is
// state like any other, so a state carries all that a Raft snapshot needs:
// index, term and voters.
var keyVoters = [2]byte{prefixSystem, 'r'}

// voters is a Raft configuration and the index of the entry that made it so.
type voters struct {
	index  uint64
	config raft.Configuration
}

// state is one open state directory. Whoever reads it holds it, so that an
// installed snapshot can take its place at any time.
type state struct {
	db      *pebble.DB
	machine *machine
	name    string // of the directory
	refs    atomic.Int64
	closed  func(*state) // after the last holder let go
	flushed atomic.Pointer[progress]
}

// progress is what a state says of its own place in the log.
type progress struct {
	index, term uint64
	voters      voters
}

// openState opens the state in a Pebble that was opened by the caller, who no
// longer owns it.
func openState(db *pebble.DB, name string) (*state, error) {
	m, err := newMachine(db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	st := &state{db: db, machine: m, name: name}
	st.refs.Store(1)
	p, err := readProgress(db, nil)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	st.flushed.Store(p) // nothing is in a memtable yet
	return st, nil
}

// release lets go of the state. The last to do so closes it.
func (st *state) release() {
	if st.refs.Add(-1) == 0 {
		st.closed(st)
	}
}

// flushWait is how long a flush is waited for. Pebble tries again for ever, and
// until it succeeds the log holds what it would have flushed.
const flushWait = 30 * time.Second

// flush makes everything that was applied before the call durable in the state
// itself, and returns how far that reaches: read out of what is durable, not
// remembered.
func (st *state) flush(dead *fatality) (*progress, error) {
	done, err := st.db.AsyncFlush()
	if err != nil {
		return nil, fmt.Errorf("metadata: flush the state: %w: %w", err, holdall.ErrUnavailable)
	}
	late := time.NewTimer(flushWait)
	defer late.Stop()
	select {
	case <-done:
	case <-dead.gone:
		return nil, dead.err()
	case <-late.C:
		return nil, fmt.Errorf("metadata: state not flushed in %v (is its disk full?): %w", flushWait, holdall.ErrUnavailable)
	}
	p, err := readProgress(st.db, &pebble.IterOptions{OnlyReadGuaranteedDurable: true})
	if err != nil {
		return nil, err
	}
	st.flushed.Store(p)
	return p, nil
}

// readProgress reads the place of the state in the log, through an iterator
// with options o.
func readProgress(db *pebble.DB, o *pebble.IterOptions) (*progress, error) {
	it, err := db.NewIter(o)
	if err != nil {
		return nil, fmt.Errorf("metadata: read progress: %w: %w", err, holdall.ErrUnavailable)
	}
	defer it.Close()
	var sys system
	var v voters
	for _, row := range []struct {
		key    []byte
		decode func(*decoder)
	}{{keyProgress[:], sys.decodeProgress}, {keyVoters[:], v.decode}} {
		if !it.SeekGE(row.key) || string(it.Key()) != string(row.key) {
			continue
		}
		if err := decodeRow(row.key, it.Value(), row.decode); err != nil {
			return nil, err
		}
	}
	if err := it.Error(); err != nil {
		return nil, fmt.Errorf("metadata: read progress: %w: %w", err, holdall.ErrUnavailable)
	}
	return &progress{index: sys.Applied, term: sys.Term, voters: v}, nil
}

// The row of the voters: version (1 byte), index (uvarint), then the
// configuration as Raft encodes it in its own entries.
func (v *voters) encode(dst []byte) []byte {
	return append(putUvarint(append(dst, rowVersion), v.index), raft.EncodeConfiguration(v.config)...)
}

func (v *voters) decode(d *decoder) {
	d.version()
	v.index = d.uvarint()
	b := d.take(len(d.b))
	if d.err != nil {
		return
	}
	defer func() { // the library panics on bytes that it did not write
		if p := recover(); p != nil {
			d.fail(fmt.Errorf("configuration: %v", p))
		}
	}()
	v.config = raft.DecodeConfiguration(b)
}

// applyVoters carries out an entry that changes who votes.
func (m *machine) applyVoters(index, term uint64, c raft.Configuration) error {
	if index <= m.sys.Applied {
		return nil
	}
	t := &tx{m: m, index: index, term: term}
	t.begin()
	defer func() { t.b.Close() }()
	v := voters{index: index, config: c}
	t.put(keyVoters[:], v.encode(nil))
	if err := t.commit(); err != nil {
		return fmt.Errorf("metadata: apply of configuration, entry %d: %w", index, err)
	}
	m.sys = t.sys
	m.applied.Store(index)
	return nil
}
