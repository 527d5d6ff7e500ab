package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdall/holdall"
)

// What lies in a data directory, besides disks.
const (
	lockName     = "lock"     // flock'ed by the process that uses the directory; holds its pid
	markerName   = "cell"     // holds the cell's id, written when the cell was complete for the first time
	metadataName = "metadata" // the metadata store
)

// dataDir is a data directory that this process has for itself.
type dataDir struct {
	path string // absolute
	lock *os.File
}

// LockDataDir takes the data directory at path for this process, and makes it
// when create is set. Errors wrap ErrRefused (in use), ErrNotFound (absent) or
// ErrInvalid (not to be used), and say what to do.
func LockDataDir(path string, create bool) (*dataDir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %v: %w", path, err, holdall.ErrInvalid)
	}
	if create {
		err = os.MkdirAll(abs, 0o755)
	} else if _, err = os.Stat(abs); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data directory %s does not exist; give --data the directory that `holdall serve` uses: %w", abs, holdall.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %v; make it writable for uid %d, or give another with --data: %w", abs, err, os.Geteuid(), holdall.ErrInvalid)
	}
	lock, err := os.OpenFile(filepath.Join(abs, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %v; make it writable for uid %d, or give another with --data: %w", abs, err, os.Geteuid(), holdall.ErrInvalid)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner := make([]byte, 32)
		n, _ := lock.ReadAt(owner, 0) // only for the message
		lock.Close()
		return nil, fmt.Errorf("data directory %s is in use by process %s; stop that one, or give another directory with --data: %w",
			abs, orUnknown(strings.TrimSpace(string(owner[:n]))), holdall.ErrRefused)
	}
	if err := errors.Join(lock.Truncate(0), writeAt(lock, fmt.Sprintf("%d\n", os.Getpid()))); err != nil {
		lock.Close()
		return nil, fmt.Errorf("data directory %s: write its lock: %v: %w", abs, err, holdall.ErrInvalid)
	}
	return &dataDir{path: abs, lock: lock}, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

func orUnknown(s string) string {
	if s == "" {
		return "(unknown)"
	}
	return s
}

// Close gives the directory up.
func (d *dataDir) Close() error { return d.lock.Close() }

// metadata returns where the metadata store lies.
func (d *dataDir) metadata() string { return filepath.Join(d.path, metadataName) }

// hasMetadata says whether there is anything of a metadata store.
func (d *dataDir) hasMetadata() bool {
	entries, err := os.ReadDir(d.metadata())
	return err == nil && len(entries) > 0
}

// mayRead refuses metadata that this user may not list: it is not missing.
func (d *dataDir) mayRead() error {
	if _, err := os.ReadDir(d.metadata()); errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("data directory: %w: %w", permission(d.path, err), holdall.ErrInvalid)
	}
	return nil
}

// cell returns the cell that the marker names, or false when setting up was
// never finished.
func (d *dataDir) cell() (holdall.CellID, bool, error) {
	var id holdall.CellID
	text, err := os.ReadFile(filepath.Join(d.path, markerName))
	if errors.Is(err, fs.ErrNotExist) {
		return id, false, nil
	}
	if err != nil {
		return id, false, fmt.Errorf("data directory %s: %w: %w", d.path, permission(d.path, err), holdall.ErrInvalid)
	}
	if err := id.UnmarshalText([]byte(strings.TrimSpace(string(text)))); err != nil {
		return id, false, fmt.Errorf("data directory %s: its file %q names no cell: %w", d.path, markerName, holdall.ErrCorrupt)
	}
	return id, true, nil
}

// setCell writes the marker, durably.
func (d *dataDir) setCell(id holdall.CellID) error {
	tmp := filepath.Join(d.path, markerName+".new")
	f, err := os.Create(tmp)
	if err != nil {
		return fmt.Errorf("data directory %s: write its marker: %w", d.path, err)
	}
	err = errors.Join(writeAt(f, id.String()+"\n"), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, filepath.Join(d.path, markerName))
	}
	if err == nil {
		err = syncDir(d.path)
	}
	if err != nil {
		return fmt.Errorf("data directory %s: write its marker: %w", d.path, err)
	}
	return nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
