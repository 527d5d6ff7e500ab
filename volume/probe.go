package volume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/holdall/holdall"
)

// Probe says which disk lies at path, a directory, an image file or a block
// device, without opening it as one: nothing is locked, written or verified but
// the head of a superblock checkpoint. It is for finding out how to open a disk,
// whose zones have a size that only its superblock tells. Errors wrap
// ErrDiskFailed (nothing is there, or it does not answer), ErrNotFound (no
// superblock is) or ErrRefused (one of a later version).
func Probe(path string) (Identity, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Identity{}, fmt.Errorf("disk %s: there is nothing at this path; mount it or put it back: %w", path, holdall.ErrDiskFailed)
	case err != nil:
		return Identity{}, fmt.Errorf("disk %s: %v: %w", path, err, holdall.ErrDiskFailed)
	case st.IsDir():
		return probeDir(path)
	}
	return probeImage(path)
}

// probeDir looks at both zones of the superblock log: one of them is empty.
func probeDir(path string) (Identity, error) {
	var failed error
	for zone := range superZones {
		id, err := probeAt(filepath.Join(path, fmt.Sprintf("zone-%06d", zone)), 0)
		if err == nil {
			return id, nil
		}
		if !errors.Is(err, holdall.ErrNotFound) {
			failed = err
		}
	}
	if failed != nil {
		return Identity{}, failed
	}
	return Identity{}, fmt.Errorf("disk %s: the directory has no superblock: %w", path, holdall.ErrNotFound)
}

// probeImage looks at the start, where the first checkpoint was written and
// where bytes stay after a reset. If that is damaged it looks where the second
// zone would begin, for each size that is a power of two.
func probeImage(path string) (Identity, error) {
	id, err := probeAt(path, 0)
	for zone := int64(MinZoneSize); err != nil && zone <= MaxExtentBytes; zone *= 2 {
		if second, err := probeAt(path, zone); err == nil && second.ZoneSize == zone {
			return second, nil
		}
	}
	return id, err
}

func probeAt(file string, off int64) (Identity, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, fmt.Errorf("%s: no superblock: %w", file, holdall.ErrNotFound)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("%s: %v: %w", file, err, holdall.ErrDiskFailed)
	}
	defer f.Close()
	head := make([]byte, frSize+cpHead)
	if _, err := f.ReadAt(head, off); errors.Is(err, io.EOF) {
		return Identity{}, fmt.Errorf("%s: no superblock at %d: %w", file, off, holdall.ErrNotFound)
	} else if err != nil {
		return Identity{}, fmt.Errorf("%s: read at %d: %v: %w", file, off, err, holdall.ErrDiskFailed)
	}
	var h frame
	if err := h.decode(head); errors.Is(err, holdall.ErrRefused) {
		return Identity{}, fmt.Errorf("%s: %w", file, err)
	} else if err != nil {
		return Identity{}, fmt.Errorf("%s: no superblock at %d (%v): %w", file, off, err, holdall.ErrNotFound)
	}
	id := Identity{Cell: h.cell, Disk: h.disk, ZoneSize: int64(binary.LittleEndian.Uint64(head[frSize+cpZoneSize:]))}
	if h.kind != frameCheckpoint || id.ZoneSize < MinZoneSize || id.ZoneSize%SectorSize != 0 || id.ZoneSize > MaxExtentBytes {
		return Identity{}, fmt.Errorf("%s: the superblock at %d does not begin with a checkpoint: %w", file, off, holdall.ErrNotFound)
	}
	return id, nil
}
