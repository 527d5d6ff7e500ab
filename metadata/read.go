package metadata

import (
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// The functions of this file read the state through any pebble.Reader: a
// snapshot, for reads that must agree with each other; a checkpoint opened to be
// inspected; the batch of an entry. They change nothing. Errors wrap ErrCorrupt
// for rows that do not decode and ErrUnavailable for reads that fail.

// get reads one row and decodes it, or returns false.
func get(r pebble.Reader, key []byte, decode func(*decoder)) (bool, error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, readError(key, err)
	}
	err = decodeRow(key, v, decode)
	return err == nil, errors.Join(err, closer.Close())
}

func readError(key []byte, err error) error {
	kind := holdall.ErrUnavailable
	if pebble.IsCorruptionError(err) {
		kind = holdall.ErrCorrupt
	}
	return fmt.Errorf("metadata: read at %x: %w: %w", key, err, kind)
}

// readVolume returns the row of a volume, or false.
func readVolume(r pebble.Reader, id holdall.VolumeID) (Volume, bool, error) {
	v := Volume{ID: id}
	ok, err := get(r, appendVolumeKey(nil, id), func(d *decoder) { d.volume(&v) })
	return v, ok, err
}

// readDisk returns the row of a disk, or false.
func readDisk(r pebble.Reader, id holdall.DiskID) (Disk, bool, error) {
	k := Disk{ID: id}
	ok, err := get(r, appendDiskKey(nil, id), func(d *decoder) { d.disk(&k) })
	return k, ok, err
}

// readNamespace returns the row of a namespace, or false.
func readNamespace(r pebble.Reader, id holdall.NamespaceID) (Namespace, bool, error) {
	n := Namespace{ID: id}
	ok, err := get(r, appendNamespaceKey(nil, id), func(d *decoder) { d.space(&n) })
	return n, ok, err
}

// readCell returns what the state says of the cell: the zero Cell if it is
// empty.
func readCell(r pebble.Reader) (Cell, error) {
	var s system
	err := s.load(r)
	return s.Cell, err
}

// row is a key and its value, valid until the next one.
type row struct{ key, value []byte }

// rows yields the rows from lower and below upper, in order. It ends with the
// first error.
func rows(r pebble.Reader, lower, upper []byte) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			yield(row{}, readError(lower, err))
			return
		}
		more := true
		for ok := it.First(); ok && more; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				break // Close returns it again
			}
			more = yield(row{it.Key(), v}, nil)
		}
		if err := it.Close(); err != nil && more {
			yield(row{}, readError(lower, err))
		}
	}
}

// table yields the decoded rows of a range. It ends with the first error.
func table[T any](r pebble.Reader, lower, upper []byte, decode func(row) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for kv, err := range rows(r, lower, upper) {
			var v T
			if err == nil {
				v, err = decode(kv)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// volumes yields all volumes by id.
func volumes(r pebble.Reader) iter.Seq2[Volume, error] {
	lower, upper := tableBounds(prefixVolume)
	return table(r, lower, upper, func(kv row) (v Volume, err error) {
		if v.ID, err = parseVolumeKey(kv.key); err != nil {
			return v, err
		}
		return v, decodeRow(kv.key, kv.value, func(d *decoder) { d.volume(&v) })
	})
}

// disks yields all disks by id, removed ones too.
func disks(r pebble.Reader) iter.Seq2[Disk, error] {
	lower, upper := tableBounds(prefixDisk)
	return table(r, lower, upper, func(kv row) (k Disk, err error) {
		if k.ID, err = parseDiskKey(kv.key); err != nil {
			return k, err
		}
		return k, decodeRow(kv.key, kv.value, func(d *decoder) { d.disk(&k) })
	})
}

// namespaces yields all namespaces by id.
func namespaces(r pebble.Reader) iter.Seq2[Namespace, error] {
	lower, upper := tableBounds(prefixNamespace)
	return table(r, lower, upper, func(kv row) (n Namespace, err error) {
		if n.ID, err = parseNamespaceKey(kv.key); err != nil {
			return n, err
		}
		return n, decodeRow(kv.key, kv.value, func(d *decoder) { d.space(&n) })
	})
}

// sessionRows yields all sessions by id.
func sessionRows(r pebble.Reader) iter.Seq2[sessionRow, error] {
	lower, upper := tableBounds(prefixSession)
	return table(r, lower, upper, func(kv row) (s sessionRow, err error) {
		if s.ID, err = parseSessionKey(kv.key); err != nil {
			return s, err
		}
		return s, decodeRow(kv.key, kv.value, func(d *decoder) { d.session(&s) })
	})
}

// tasks yields all tasks, by kind, then volume.
func tasks(r pebble.Reader) iter.Seq2[Task, error] {
	lower, upper := tableBounds(prefixTask)
	return table(r, lower, upper, func(kv row) (k Task, err error) {
		return k, decodeRow(kv.key, kv.value, func(d *decoder) { d.task(&k) })
	})
}

// changes yields the changes that wait to be flushed, oldest first.
func changes(r pebble.Reader, c *Cell) iter.Seq2[Change, error] {
	// From the first on: what was flushed are tombstones, not to be walked over.
	lower, upper := appendChangeKey(nil, c.FirstChange), []byte{prefixChange + 1}
	return table(r, lower, upper, func(kv row) (c Change, err error) {
		if c.Seq, err = parseChangeKey(kv.key); err != nil {
			return c, err
		}
		return c, decodeRow(kv.key, kv.value, func(d *decoder) { d.change(&c) })
	})
}

// waiting is a line of the trash table: a row that may be purged when its
// namespace's retention after Since has ended.
type waiting struct {
	BlockKey
	Since instant
}

// trash yields what waits since before the given time, oldest first, from what
// comes after the given row on. A row whose Since has come only now by its
// pending running out is among it.
func trash(r pebble.Reader, after waiting, before instant) iter.Seq2[waiting, error] {
	lower := []byte{prefixTrash}
	if after.Since != 0 {
		lower = append(appendTrashKey(nil, after.Since, after.Namespace, &after.ID), 0)
	}
	upper := putBig64([]byte{prefixTrash}, uint64(before))
	return table(r, lower, upper, func(kv row) (w waiting, err error) {
		w.Since, w.BlockKey, err = parseTrashKey(kv.key)
		return w, err
	})
}

// blocks yields all rows of blocks, by namespace, then id.
func blocks(r pebble.Reader) iter.Seq2[Block, error] {
	lower, upper := tableBounds(prefixBlock)
	return table(r, lower, upper, func(kv row) (b Block, err error) {
		k, err := parseBlockKey(kv.key)
		if err != nil {
			return b, err
		}
		b.Namespace, b.ID = k.Namespace, k.ID
		return b, decodeBlock(&b, kv.value)
	})
}

// A checksum is the running checksum of all changes by entries up to Index.
// Voters that applied the same entries have the same.
type checksum struct{ Index, Sum uint64 }

// checksums yields the checksums kept, oldest first.
func checksums(r pebble.Reader) iter.Seq2[checksum, error] {
	lower, upper := tableBounds(prefixChecksum)
	return table(r, lower, upper, func(kv row) (c checksum, err error) {
		if c.Index, err = parseChecksumKey(kv.key); err != nil {
			return c, err
		}
		return c, decodeRow(kv.key, kv.value, func(d *decoder) { c.Sum = d.big64() })
	})
}
