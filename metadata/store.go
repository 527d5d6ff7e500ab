package metadata

import (
	"context"
	"fmt"
	"io"

	"github.com/holdall/holdall"
)

// Store is one voter of the metadata group: it answers reads and carries out
// mutations. Its methods are safe for concurrent use.
//
// Every mutation is one Raft entry. A mutation that fails with ErrUnavailable
// may have been carried out, or may yet be, but never twice. Without a leader
// mutations fail within 2 s. Refusals wrap the kind that the state machine gave.
type Store struct{ r *replica }

// Open opens the store in cfg.Dir. A store that is its cell's only voter can
// serve when Open returns. Errors wrap ErrInvalid for a bad cfg, ErrNotFound for
// a directory without a cell, ErrRefused for one that is in use or was written
// by a later release, ErrCorrupt for one that is damaged.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	r, err := openReplica(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{r: r}
	if err := r.registerMetrics(); err != nil {
		return nil, joinClose(err, s)
	}
	if cfg.Bootstrap && cfg.voters == nil {
		if err := s.initCell(ctx); err != nil {
			return nil, joinClose(err, s)
		}
	}
	return s, nil
}

func joinClose(err error, c io.Closer) error {
	if cerr := c.Close(); cerr != nil {
		return fmt.Errorf("%w (and then: %v)", err, cerr)
	}
	return err
}

// initCell makes the state that of a new cell, unless it is a cell's already: a
// crash may have come between the first start and this.
func (s *Store) initCell(ctx context.Context) error {
	c, err := s.Cell()
	if err != nil || c.ID != (holdall.CellID{}) {
		return err
	}
	id := s.r.cfg.Cell
	if id == (holdall.CellID{}) {
		if _, err := io.ReadFull(s.r.cfg.Rand, id[:]); err != nil {
			return fmt.Errorf("metadata: draw a cell id: %w: %w", err, holdall.ErrUnavailable)
		}
	}
	return s.r.do(ctx, &initCell{Cell: id, Retention: DefaultRetention}, noResult{})
}

// Close waits for the calls being served, flushes the state so that the next
// start has nothing to replay, and ends. Calls made since are ErrUnavailable.
func (s *Store) Close() error { return s.r.close() }

// Leader says whether this voter leads and may answer for the cell.
func (s *Store) Leader() bool {
	term, _ := s.r.lead.get()
	return term != 0
}

// Err returns nil, or why this voter can go on no more; see Config.OnFatal.
func (s *Store) Err() error { return s.r.dead.err() }

// Flush makes the state durable on its own as far as it is applied, and
// truncates the log. Nothing that was acknowledged needs it: it shortens the
// next start, and precedes measuring the state on disk.
func (s *Store) Flush() error {
	if err := s.r.ops.enter(); err != nil {
		return err
	}
	defer s.r.ops.exit()
	return s.r.flush()
}

// Compact rewrites the whole state without what was deleted or overwritten. It
// takes as long as the state is large, and is for measurements.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.Flush(); err != nil {
		return err
	}
	return s.view(func(st *state) error {
		if err := st.db.Compact(ctx, []byte{0}, []byte{0xff}, true); err != nil {
			return fmt.Errorf("metadata: compact: %w: %w", err, holdall.ErrUnavailable)
		}
		return nil
	})
}

// DiskBytes returns the bytes that the state takes on disk, the Raft log not
// counted.
func (s *Store) DiskBytes() (n uint64, err error) {
	err = s.view(func(st *state) error { n = st.db.Metrics().DiskSpaceUsage(); return nil })
	return n, err
}

// view calls f with the present state, which stays open until f returns.
func (s *Store) view(f func(*state) error) error {
	if err := s.r.ops.enter(); err != nil {
		return err
	}
	defer s.r.ops.exit()
	st := s.r.fsm.hold()
	defer st.release()
	return f(st)
}
