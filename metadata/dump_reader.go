package metadata

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

// Reader reads a metadata directory that no server has open: the flushed state,
// with the log's tail applied in memory. It writes nothing there. Of a cell with
// several voters the tail may hold entries that were never committed.
type Reader struct {
	cache *pebble.Cache
	lock  io.Closer
	log   *pebble.DB
	state *state
	Tail  uint64 // entries of the log that were applied in memory
}

// OpenReadOnly opens the directory dir of fs; nil is the operating system's.
// Errors wrap ErrNotFound where there is no cell, ErrRefused where a server runs.
func OpenReadOnly(dir string, fs vfs.FS) (_ *Reader, err error) {
	if fs == nil {
		fs = vfs.Default
	}
	r := &Reader{cache: pebble.NewCache(DefaultCacheBytes)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	name, err := readCurrent(fs, dir)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, fmt.Errorf("metadata: there is no cell in %s: %w", dir, holdall.ErrNotFound)
	}
	if r.lock, err = lockToRead(fs, dir); err != nil {
		return nil, err
	}
	return r, r.open(fs, dir, name)
}

// lockToRead keeps servers away, where dir can be written.
func lockToRead(f vfs.FS, dir string) (io.Closer, error) {
	lock, err := f.Lock(f.PathJoin(dir, lockName))
	var open *fs.PathError
	if errors.As(err, &open) && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, fmt.Errorf("metadata: %s is in use by another process (or cannot be locked: %w): %w", dir, err, holdall.ErrRefused)
	}
	return lock, nil
}

// open opens state and log over dir and applies what the log holds beyond the
// state.
func (r *Reader) open(fs vfs.FS, dir, name string) error {
	over, dead := newOverlay(fs), newFatality(nil, slog.New(slog.DiscardHandler))
	for _, sub := range []string{name, logName} {
		if _, err := fs.Stat(fs.PathJoin(dir, sub)); err != nil {
			if sub == logName { // rebuilt, and not started yet
				break
			}
			return fmt.Errorf("metadata: %s: %w: %w", dir, err, holdall.ErrCorrupt)
		}
	}
	o := stateOptions(over, r.cache, dead)
	o.DisableAutomaticCompactions = true // they would read the whole state into memory
	db, err := openPebble(fs.PathJoin(dir, name), o)
	if err != nil {
		return err
	}
	if r.state, err = openState(db, name); err != nil {
		return err
	}
	if r.log, err = openPebble(fs.PathJoin(dir, logName), logOptions(over, r.cache, dead)); err != nil {
		return err
	}
	log, err := openLogStore(r.log, dead, time.Now)
	if err != nil {
		return err
	}
	return r.applyTail(log)
}

func (r *Reader) applyTail(log *logStore) error {
	p := r.state.flushed.Load()
	if err := log.joinState(p); err != nil {
		return err
	}
	last, _ := log.LastIndex()
	for index := p.index + 1; index <= last; index++ {
		var l raft.Log
		if err := log.GetLog(index, &l); err != nil {
			return fmt.Errorf("metadata log: read entry %d of %d: %w: %w", index, last, err, holdall.ErrCorrupt)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if _, err := r.state.machine.apply(index, l.Term, l.Data); err != nil {
			return err
		}
		r.Tail++
	}
	return nil
}

// Close ends the reading.
func (r *Reader) Close() error {
	var faults []error
	if r.state != nil {
		faults = append(faults, r.state.db.Close())
	}
	if r.log != nil {
		faults = append(faults, r.log.Close())
	}
	if r.lock != nil {
		faults = append(faults, r.lock.Close())
	}
	r.cache.Unref()
	return errors.Join(faults...)
}

// Cell returns what the state says of the cell as a whole.
func (r *Reader) Cell() (Cell, error) { return readCell(r.state.db) }

// Blocks yields all rows of blocks, by namespace, then id.
func (r *Reader) Blocks() iter.Seq2[Block, error] { return blocks(r.state.db) }

// Volumes yields all volumes by id.
func (r *Reader) Volumes() iter.Seq2[Volume, error] { return volumes(r.state.db) }

// Disks yields all disks by id, removed ones too.
func (r *Reader) Disks() iter.Seq2[Disk, error] { return disks(r.state.db) }

// Namespaces yields all namespaces by id.
func (r *Reader) Namespaces() iter.Seq2[Namespace, error] { return namespaces(r.state.db) }

// Tasks yields all tasks.
func (r *Reader) Tasks() iter.Seq2[Task, error] { return tasks(r.state.db) }

// Buckets yields all buckets by id, removed ones too.
func (r *Reader) Buckets() iter.Seq2[Bucket, error] { return buckets(r.state.db) }

// Objects yields all versions by bucket, then key, newest first.
func (r *Reader) Objects() iter.Seq2[Object, error] { return objects(r.state.db) }

// Parts yields the parts of all uploads.
func (r *Reader) Parts() iter.Seq2[UploadPart, error] { return parts(r.state.db) }

// Lookup returns the row of each id; see Store.Lookup.
func (r *Reader) Lookup(ns holdall.NamespaceID, ids []holdall.BlockID) ([]Block, error) {
	return lookup(r.state.db, ns, ids, nil)
}

// Dump writes every table to w; see Store.Dump.
func (r *Reader) Dump(w io.Writer) error { return dump(r.state.db, w) }
