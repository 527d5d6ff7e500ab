package metadata

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// Lookup returns the row of each id, in the order of ids: at most
// holdall.MaxIDsPerCall. What was found may be stale, never wrong; that an id
// was not found is proved only by a linearizable lookup, which is ErrUnavailable
// where this voter does not lead. In quarantine (see Cell) nothing is proved by
// not finding it.
func (s *Store) Lookup(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID, linearizable bool) (found []Block, err error) {
	if len(ids) > holdall.MaxIDsPerCall {
		return nil, fmt.Errorf("metadata: lookup of %d ids, at most %d: %w", len(ids), holdall.MaxIDsPerCall, holdall.ErrInvalid)
	}
	err = s.view(func(st *state) error {
		if linearizable {
			if err := s.r.linearize(ctx); err != nil {
				return err
			}
			now := s.r.fsm.hold() // a snapshot may have been installed meanwhile
			defer now.release()
			st = now
		}
		found, err = lookup(st.db, ns, ids, nil)
		return err
	})
	return found, err
}

// Linearize returns when reads of this Store see everything that was
// acknowledged, by any voter, before the call. It is ErrUnavailable where this
// voter does not lead.
func (s *Store) Linearize(ctx context.Context) error {
	return s.view(func(*state) error { return s.r.linearize(ctx) })
}

// Volume returns the row of a volume; ErrNotFound if there is none here. Its
// Members are shared: they must not be changed.
func (s *Store) Volume(id holdall.VolumeID) (Volume, error) {
	v, ok, changes := s.r.fsm.tables.volume(id)
	if ok {
		return v, nil
	}
	err := s.view(func(st *state) (err error) {
		if v, ok, err = readVolume(st.db, id); err == nil && !ok {
			err = fmt.Errorf("metadata: volume %v does not exist: %w", id, holdall.ErrNotFound)
		}
		return err
	})
	if err != nil {
		return Volume{}, err
	}
	s.r.fsm.tables.putVolume(v, changes)
	return v, nil
}

// Volumes returns all volumes by id.
func (s *Store) Volumes() ([]Volume, error) { return collect(s.AllVolumes(), -1) }

// AllVolumes yields all volumes by id, as they were when it began. It ends with
// the first error.
func (s *Store) AllVolumes() iter.Seq2[Volume, error] { return during(s, volumes) }

// Disks returns all disks by id, removed ones too. The slice is the caller's.
func (s *Store) Disks() ([]Disk, error) {
	rows, ok, changes := s.r.fsm.tables.diskRows()
	if !ok {
		var err error
		if rows, err = collect(during(s, disks), -1); err != nil {
			return nil, err
		}
		s.r.fsm.tables.putDisks(rows, changes)
	}
	return slices.Clone(rows), nil
}

// Disk returns the row of a disk; ErrNotFound if the cell has no such disk.
func (s *Store) Disk(id holdall.DiskID) (Disk, error) {
	rows, err := s.Disks()
	if err != nil {
		return Disk{}, err
	}
	at, ok := slices.BinarySearchFunc(rows, id, func(d Disk, id holdall.DiskID) int { return slices.Compare(d.ID[:], id[:]) })
	if !ok {
		return Disk{}, fmt.Errorf("metadata: disk %v is not of this cell: %w", id, holdall.ErrNotFound)
	}
	return rows[at], nil
}

// Namespace returns the namespace with a name; ErrNotFound if there is none.
func (s *Store) Namespace(name string) (n Namespace, err error) {
	err = s.view(func(st *state) error {
		var ok bool
		if n, ok, err = readSpaceName(st.db, name); err == nil && !ok {
			err = fmt.Errorf("metadata: namespace %.80q does not exist: %w", name, holdall.ErrNotFound)
		}
		return err
	})
	return n, err
}

// Namespaces returns all namespaces by id.
func (s *Store) Namespaces() ([]Namespace, error) { return collect(during(s, namespaces), -1) }

// Tasks returns all tasks.
func (s *Store) Tasks() ([]Task, error) { return collect(during(s, tasks), -1) }

// Trashed is a block in trash, and since when.
type Trashed struct {
	BlockKey
	Since time.Time
}

// Trash returns at most limit blocks that wait in trash since before the given
// time, oldest first. Purge looks again at each.
func (s *Store) Trash(before time.Time, limit int) ([]Trashed, error) {
	return s.TrashAfter(Trashed{}, before, limit)
}

// TrashAfter is Trash without what comes up to and with after: the next page.
func (s *Store) TrashAfter(after Trashed, before time.Time, limit int) ([]Trashed, error) {
	return collect(during(s, func(r pebble.Reader) iter.Seq2[Trashed, error] {
		return func(yield func(Trashed, error) bool) {
			for w, err := range trash(r, waiting{after.BlockKey, toInstant(after.Since)}, toInstant(before)) {
				if !yield(Trashed{BlockKey: w.BlockKey, Since: w.Since.time()}, err) {
					return
				}
			}
		}
	}), limit)
}

// maxChangesBytes bounds what Changes returns: an upload's attributes are in one.
const maxChangesBytes = 8 << 20

// Changes returns at most limit changes that wait to be written to the journal,
// oldest first, and no more than have about 8 MiB.
func (s *Store) Changes(limit int) ([]Change, error) {
	list, bytes := []Change{}, 0
	for c, err := range during(s, func(r pebble.Reader) iter.Seq2[Change, error] {
		c, err := readCell(r)
		if err != nil {
			return func(yield func(Change, error) bool) { yield(Change{}, err) }
		}
		return changes(r, &c)
	}) {
		if err != nil {
			return nil, err
		}
		if len(list) >= limit || bytes > maxChangesBytes {
			break
		}
		list = append(list, c)
		bytes += changeCost + len(c.Key) + len(c.Name) + len(c.Data)
	}
	return list, nil
}

// changeCost is what a change is counted as beside its texts, in bytes.
const changeCost = 64

// Cell returns what the state says of the cell as a whole.
func (s *Store) Cell() (c Cell, err error) {
	err = s.view(func(st *state) error { c, err = readCell(st.db); return err })
	return c, err
}

// during yields what read yields of a snapshot of the state, which it holds for
// as long.
func during[T any](s *Store, read func(pebble.Reader) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		err := s.view(func(st *state) error {
			snap := st.db.NewSnapshot()
			defer snap.Close()
			for v, err := range read(snap) {
				if err != nil {
					return err
				}
				if !yield(v, nil) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(zero, err)
		}
	}
}

// collect returns what seq yields, at most limit of it; no limit if negative.
func collect[T any](seq iter.Seq2[T, error], limit int) ([]T, error) {
	all := []T{}
	for v, err := range seq {
		if err != nil {
			return nil, err
		}
		if len(all) == limit {
			break
		}
		all = append(all, v)
	}
	return all, nil
}
