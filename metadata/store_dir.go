package metadata

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
)

// A metadata directory holds
//
//	LOCK            held by the process that owns it
//	CURRENT         a line: the name of the present state's directory
//	state-NNNNNN/   a Pebble: the state
//	log/            a Pebble: the Raft log and the vote
//	send-NNNNNN/    a checkpoint on its way to a follower
//
// Renaming a new CURRENT over the old is the one step by which an installed
// snapshot takes the place of the state. A state or checkpoint that CURRENT does
// not name is left over from a crash and removed at the next start.
const (
	lockName    = "LOCK"
	currentName = "CURRENT"
	logName     = "log"
	statePrefix = "state-"
	sendPrefix  = "send-"
)

// dataDir is an owned metadata directory. Only newName and join may be called
// concurrently.
type dataDir struct {
	fs    vfs.FS
	path  string
	lock  io.Closer
	state string       // name of the present state's directory
	next  atomic.Int64 // highest number of a directory made
}

// dirUse says what a directory is opened for.
type dirUse int

const (
	useDir  dirUse = iota // there must be a cell
	makeOne               // or one is begun, if there is nothing
	fillDir               // there must be nothing; the caller makes a state, then calls point
)

// openDataDir takes the directory at path for this process. One without a cell
// where there must be one is ErrNotFound; one with a cell where there must be
// none, or that another process has taken, is ErrRefused.
func openDataDir(fs vfs.FS, path string, use dirUse) (*dataDir, error) {
	if use != useDir {
		if err := makeDir(fs, path); err != nil {
			return nil, fmt.Errorf("metadata: make %s: %w: %w", path, err, holdall.ErrUnavailable)
		}
	} else if _, err := fs.Stat(path); oserror.IsNotExist(err) {
		return nil, fmt.Errorf("metadata: there is nothing in %s: %w", path, holdall.ErrNotFound)
	}
	lock, err := fs.Lock(fs.PathJoin(path, lockName))
	if err != nil {
		return nil, fmt.Errorf("metadata: %s is in use by another process (or cannot be locked: %w): %w", path, err, holdall.ErrRefused)
	}
	d := &dataDir{fs: fs, path: path, lock: lock}
	if err := d.load(use); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// load finds the present state and removes what is left over from a crash.
func (d *dataDir) load(use dirUse) error {
	names, err := d.fs.List(d.path)
	if err != nil {
		return fmt.Errorf("metadata: list %s: %w: %w", d.path, err, holdall.ErrUnavailable)
	}
	if d.state, err = readCurrent(d.fs, d.path); err != nil {
		return err
	}
	hasLog, hasState := false, false
	for _, name := range names {
		hasLog = hasLog || name == logName
		hasState = hasState || (d.state != "" && name == d.state)
		d.count(name)
	}
	switch {
	case use == fillDir && (d.state != "" || hasLog):
		return fmt.Errorf("metadata: there is a cell in %s already: move it away first: %w", d.path, holdall.ErrRefused)
	case d.state == "" && hasLog, d.state != "" && hasLog && !hasState:
		return fmt.Errorf("metadata: %s has a log but no state: rebuild the metadata from the disks: %w", d.path, holdall.ErrCorrupt)
	case use == useDir && !hasState:
		return fmt.Errorf("metadata: there is no cell in %s: %w", d.path, holdall.ErrNotFound)
	case use == makeOne && d.state == "":
		if err := d.point(d.newName(statePrefix)); err != nil {
			return err
		}
	}
	for _, name := range names {
		if name != d.state && (isNumbered(name, statePrefix) || isNumbered(name, sendPrefix)) {
			if err := d.fs.RemoveAll(d.join(name)); err != nil {
				return fmt.Errorf("metadata: remove %s: %w: %w", d.join(name), err, holdall.ErrUnavailable)
			}
		}
	}
	return nil
}

// count keeps next above every number in use.
func (d *dataDir) count(name string) {
	for _, p := range []string{statePrefix, sendPrefix} {
		if n, err := strconv.ParseInt(strings.TrimPrefix(name, p), 10, 64); err == nil {
			d.next.Store(max(d.next.Load(), n))
		}
	}
}

// newName returns a directory name that was never used since this start.
func (d *dataDir) newName(prefix string) string {
	return fmt.Sprintf("%s%06d", prefix, d.next.Add(1))
}

func isNumbered(name, prefix string) bool {
	digits, ok := strings.CutPrefix(name, prefix)
	_, err := strconv.Atoi(digits)
	return ok && err == nil
}

func (d *dataDir) join(name string) string { return d.fs.PathJoin(d.path, name) }

// readCurrent returns the name of the present state's directory, "" if none was
// ever made.
func readCurrent(fs vfs.FS, path string) (string, error) {
	f, err := fs.Open(fs.PathJoin(path, currentName))
	if oserror.IsNotExist(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("metadata: open %s in %s: %w: %w", currentName, path, err, holdall.ErrUnavailable)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return "", fmt.Errorf("metadata: read %s in %s: %w: %w", currentName, path, err, holdall.ErrUnavailable)
	}
	name, whole := strings.CutSuffix(string(b), "\n")
	if !whole || !isNumbered(name, statePrefix) {
		return "", fmt.Errorf("metadata: %s in %s says %q, want a state and a newline: %w", currentName, path, b, holdall.ErrCorrupt)
	}
	return name, nil
}

// point makes the state in directory name the present one: durable on return.
// After an error nobody knows which of the two it is.
func (d *dataDir) point(name string) error {
	if err := d.writeCurrent(name); err != nil {
		return fmt.Errorf("metadata: %s: make %s the present state: %w: %w", d.path, name, err, holdall.ErrUnavailable)
	}
	d.state = name
	return nil
}

func (d *dataDir) writeCurrent(name string) error {
	tmp := d.join(currentName + ".tmp")
	if err := writeFile(d.fs, tmp, []byte(name+"\n")); err != nil {
		return err
	}
	if err := d.fs.Rename(tmp, d.join(currentName)); err != nil {
		return err
	}
	return syncDir(d.fs, d.path)
}

// Close gives the directory back.
func (d *dataDir) Close() error { return d.lock.Close() }

// writeFile makes a file with the bytes b and syncs it, but not its directory.
func writeFile(fs vfs.FS, path string, b []byte) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// makeDir makes path and whichever parents are missing, and makes them durable.
func makeDir(fs vfs.FS, path string) error {
	parent := fs.PathDir(path)
	if _, err := fs.Stat(path); err == nil || parent == path {
		return nil
	}
	if err := makeDir(fs, parent); err != nil {
		return err
	}
	if err := fs.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return syncDir(fs, parent)
}

func syncDir(fs vfs.FS, path string) error {
	dir, err := fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
