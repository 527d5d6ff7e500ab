package metadata

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// overlay is a file system that shows the files of another and keeps whatever
// is written in memory. A Pebble opened on it recovers, flushes and applies as
// it always does, and nothing below is touched.
type overlay struct {
	base vfs.FS
	mem  *vfs.MemFS

	mu   sync.Mutex      // guards all below
	gone map[string]bool // files of base that were removed
}

func newOverlay(base vfs.FS) *overlay {
	return &overlay{base: base, mem: vfs.NewMem(), gone: make(map[string]bool)}
}

// below returns the file system that has name: mem first, then base.
func (o *overlay) below(name string) vfs.FS {
	if _, err := o.mem.Stat(name); err == nil {
		return o.mem
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone[name] {
		return o.mem // which says that it does not exist
	}
	return o.base
}

// room makes the directory of name in memory.
func (o *overlay) room(name string) error { return o.mem.MkdirAll(o.base.PathDir(name), 0o755) }

// Create makes a file in memory.
func (o *overlay) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := o.room(name); err != nil {
		return nil, err
	}
	return o.mem.Create(name, c)
}

// Link copies oldname to newname, in memory.
func (o *overlay) Link(oldname, newname string) error { return o.copy(oldname, newname) }

func (o *overlay) copy(from, to string) error {
	in, err := o.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := o.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Open opens a file for reading.
func (o *overlay) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return o.below(name).Open(name, opts...)
}

// OpenReadWrite opens a file in memory, where it is copied first.
func (o *overlay) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := o.room(name); err != nil {
		return nil, err
	}
	if o.below(name) == o.base {
		if err := o.copy(name, name); err != nil && !oserror.IsNotExist(err) {
			return nil, err
		}
	}
	return o.mem.OpenReadWrite(name, c, opts...)
}

// OpenDir opens a directory to be synced, in memory.
func (o *overlay) OpenDir(name string) (vfs.File, error) {
	if err := o.mem.MkdirAll(name, 0o755); err != nil {
		return nil, err
	}
	return o.mem.OpenDir(name)
}

// Remove hides a file.
func (o *overlay) Remove(name string) error {
	if _, err := o.Stat(name); err != nil {
		return err
	}
	if err := o.mem.Remove(name); err != nil && !oserror.IsNotExist(err) {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone[name] = true
	return nil
}

// RemoveAll hides a directory and what is in it.
func (o *overlay) RemoveAll(name string) error {
	names, err := o.List(name)
	if err == nil {
		for _, n := range names {
			if err := o.RemoveAll(o.PathJoin(name, n)); err != nil {
				return err
			}
		}
	}
	if err := o.Remove(name); err != nil && !oserror.IsNotExist(err) {
		return err
	}
	return nil
}

// Rename moves a file, in memory.
func (o *overlay) Rename(oldname, newname string) error {
	if err := o.copy(oldname, newname); err != nil {
		return err
	}
	return o.Remove(oldname)
}

// ReuseForWrite makes a new file in place of an old one.
func (o *overlay) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := o.Remove(oldname); err != nil {
		return nil, err
	}
	return o.Create(newname, c)
}

// MkdirAll makes a directory in memory.
func (o *overlay) MkdirAll(dir string, perm os.FileMode) error { return o.mem.MkdirAll(dir, perm) }

// Lock locks nothing: what is in memory is nobody else's.
func (o *overlay) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// List lists a directory of both.
func (o *overlay) List(dir string) ([]string, error) {
	names, err := o.base.List(dir)
	mem, merr := o.mem.List(dir)
	if err != nil && merr != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return o.below(o.PathJoin(dir, n)) != o.base })
	names = append(names, mem...)
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Stat describes a file.
func (o *overlay) Stat(name string) (vfs.FileInfo, error) { return o.below(name).Stat(name) }

// PathBase, PathJoin and PathDir are those of the file system below.
func (o *overlay) PathBase(path string) string                     { return o.base.PathBase(path) }
func (o *overlay) PathJoin(elem ...string) string                  { return o.base.PathJoin(elem...) }
func (o *overlay) PathDir(path string) string                      { return o.base.PathDir(path) }
func (o *overlay) Unwrap() vfs.FS                                  { return nil }
func (o *overlay) GetDiskUsage(path string) (vfs.DiskUsage, error) { return o.base.GetDiskUsage(path) }

var _ vfs.FS = (*overlay)(nil)
