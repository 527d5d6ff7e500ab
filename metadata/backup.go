package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
)

// A backup is a directory with the files of a checkpoint of the state, in
// "state", and a manifest that names and hashes them. The manifest is written
// last: a directory without one is no backup. Nothing here reads one back: a
// restore has to settle with disks that know more than the backup does.
const (
	manifestName   = "manifest.json"
	backupState    = "state"
	manifestFormat = 1
)

// Manifest says what a backup holds.
type Manifest struct {
	Format      int            `json:"format"`
	Cell        holdall.CellID `json:"cell"`
	Incarnation uint32         `json:"incarnation"`
	Index       uint64         `json:"index"` // of the last entry applied
	Term        uint64         `json:"term"`
	Taken       time.Time      `json:"taken"`
	Blocks      int64          `json:"blocks"` // rows, trashed ones too
	Files       []BackupFile   `json:"files"`
}

// BackupFile is one file of a backup.
type BackupFile struct {
	Name string          `json:"name"`
	Size int64           `json:"size"`
	Hash holdall.BlockID `json:"blake3"`
}

// Backup writes a consistent backup of everything acknowledged before the call
// to dir, which must be absent or empty, while the store goes on serving. On the
// same file system its files are hard links.
func (s *Store) Backup(ctx context.Context, dir string) (m Manifest, err error) {
	err = s.view(func(st *state) error {
		if err := refuseFull(s.r.cfg.FS, dir); err != nil {
			return err
		}
		if err := s.r.fsm.flush(st); err != nil {
			return err
		}
		files := s.r.cfg.FS.PathJoin(dir, backupState)
		if err := makeDir(s.r.cfg.FS, dir); err != nil {
			return fmt.Errorf("metadata: make %s: %w: %w", dir, err, holdall.ErrUnavailable)
		}
		if err := st.db.Checkpoint(files); err != nil {
			return fmt.Errorf("metadata: checkpoint to %s: %w: %w", files, err, holdall.ErrUnavailable)
		}
		m, err = s.r.writeManifest(ctx, dir)
		return err
	})
	return m, err
}

// refuseFull refuses a directory that holds anything.
func refuseFull(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil && !oserror.IsNotExist(err) {
		return fmt.Errorf("metadata: list %s: %w: %w", dir, err, holdall.ErrUnavailable)
	}
	if len(names) > 0 {
		return fmt.Errorf("metadata: %s is not empty: %w", dir, holdall.ErrRefused)
	}
	return nil
}

// writeManifest describes the checkpoint in dir as it lies there, and makes it a
// backup.
func (r *replica) writeManifest(ctx context.Context, dir string) (Manifest, error) {
	fs := r.cfg.FS
	m := Manifest{Format: manifestFormat, Taken: r.cfg.Clock().UTC()}
	files := fs.PathJoin(dir, backupState)
	names, err := fs.List(files)
	if err != nil {
		return m, fmt.Errorf("metadata: list %s: %w: %w", files, err, holdall.ErrUnavailable)
	}
	slices.Sort(names)
	for _, name := range names {
		f, err := hashFile(ctx, fs, fs.PathJoin(files, name))
		if err != nil {
			return m, err
		}
		f.Name = name
		m.Files = append(m.Files, f)
	}
	c, err := r.inspectCell(files)
	if err != nil {
		return m, err
	}
	m.Cell, m.Incarnation, m.Index, m.Term, m.Blocks = c.ID, c.Incarnation, c.Applied, c.Term, c.Blocks
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, fmt.Errorf("metadata: encode the manifest: %w: %w", err, holdall.ErrInvalid)
	}
	tmp := fs.PathJoin(dir, manifestName+".tmp")
	err = writeFile(fs, tmp, append(b, '\n'))
	if err == nil {
		err = fs.Rename(tmp, fs.PathJoin(dir, manifestName))
	}
	if err == nil {
		err = syncDir(fs, dir)
	}
	if err != nil {
		return m, fmt.Errorf("metadata: write the manifest in %s: %w: %w", dir, err, holdall.ErrUnavailable)
	}
	return m, nil
}

// inspectCell reads what a checkpoint says of its cell.
func (r *replica) inspectCell(dir string) (c Cell, err error) {
	o := stateOptions(r.cfg.FS, r.cache, newFatality(nil, r.cfg.Logger))
	o.ReadOnly = true
	db, err := openPebble(dir, o)
	if err != nil {
		return c, err
	}
	c, err = readCell(db)
	return c, errors.Join(err, db.Close())
}

// hashFile returns size and hash of a file.
func hashFile(ctx context.Context, fs vfs.FS, path string) (f BackupFile, err error) {
	in, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return f, fmt.Errorf("metadata: open %s: %w: %w", path, err, holdall.ErrUnavailable)
	}
	defer in.Close()
	h := holdall.NewHasher()
	if f.Size, err = io.Copy(ctxWriter{ctx, h}, in); err != nil {
		return f, fmt.Errorf("metadata: read %s: %w: %w", path, err, holdall.ErrUnavailable)
	}
	f.Hash = h.ID()
	return f, nil
}
