package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// Set durably stores a value of Raft's stable store: the vote.
func (s *logStore) Set(key, val []byte) error {
	b := s.db.NewBatch()
	defer b.Close()
	if err := b.Set(stableKey(key), val, nil); err != nil {
		return fmt.Errorf("metadata log: store %q: %w", key, err)
	}
	if err := s.commit(b, pebble.Sync); err != nil {
		return fmt.Errorf("metadata log: store %q: %w", key, err)
	}
	return nil
}

// Get returns the value of key, nil if there is none.
func (s *logStore) Get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(stableKey(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("metadata log: read %q: %w", key, err)
	}
	defer closer.Close()
	return append([]byte{}, v...), nil
}

// SetUint64 durably stores a number: the current term. Raft panics if it cannot,
// so once this voter can go on no more it is let believe that it could. Nothing
// can come of that: votes and entries are refused, and the process ends.
func (s *logStore) SetUint64(key []byte, val uint64) error {
	err := s.Set(key, binary.BigEndian.AppendUint64(nil, val))
	if s.dead.err() != nil {
		return nil
	}
	return err
}

// GetUint64 returns the number of key, 0 if there is none.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil || v == nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("metadata log: %q has %d bytes, want 8: %w", key, len(v), holdall.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(v), nil
}

// raiseTerm makes the term at least that of the state. It is below only where a
// state came without a log, by a rebuild: new entries must not
// carry older terms than those before them.
func (s *logStore) raiseTerm(term uint64) error {
	key := []byte("CurrentTerm") // what Raft calls it
	now, err := s.GetUint64(key)
	if err != nil || now >= term {
		return err
	}
	return s.SetUint64(key, term)
}

func stableKey(key []byte) []byte { return append([]byte{stablePrefix}, key...) }
