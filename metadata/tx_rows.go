package metadata

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/holdall/holdall"
)

// block returns the row of a block as the tx has it so far.
func (t *tx) block(ns holdall.NamespaceID, id *holdall.BlockID) (Block, error) {
	b := Block{Namespace: ns, ID: *id}
	if changed, ok := t.blocks[BlockKey{ns, *id}]; ok {
		return changed, nil
	}
	if t.finder == nil {
		f, err := newFinder(t.m.db)
		if err != nil {
			return b, &fault{err}
		}
		t.finder = f
	}
	t.key = appendBlockKey(t.key[:0], ns, id)
	if err := t.finder.find(&b, t.key); err != nil {
		return b, &fault{err}
	}
	return b, nil
}

// fetch reads the rows of blocks that a command is about to ask for one by one,
// in the order of their keys, which costs a fraction of any other order.
func (t *tx) fetch(keys []BlockKey) error {
	slices.SortFunc(keys, func(a, b BlockKey) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), bytes.Compare(a.ID[:], b.ID[:]))
	})
	for _, k := range keys {
		b, err := t.block(k.Namespace, &k.ID)
		if err != nil {
			return err
		}
		t.blocks[k] = b
	}
	return nil
}

// setBlock replaces the row old by new, of the same block; either may be one
// that is not Found. It is the only place where rows of blocks change, so that
// what follows from them, the trash table and every count, always agrees.
func (t *tx) setBlock(old, new *Block) error {
	if err := t.count(old, -1); err != nil {
		return err
	}
	if err := t.count(new, +1); err != nil {
		return err
	}
	was, now := waitsSince(old), waitsSince(new)
	if was != now && was != 0 {
		t.key = appendTrashKey(t.key[:0], was, old.Namespace, &old.ID)
		t.unset(t.key)
	}
	if was != now && now != 0 {
		t.key = appendTrashKey(t.key[:0], now, new.Namespace, &new.ID)
		t.set(t.key, nil)
	}
	t.blocks[BlockKey{new.Namespace, new.ID}] = *new
	t.key = appendBlockKey(t.key[:0], new.Namespace, &new.ID)
	if new.Found {
		t.val = appendBlock(t.val[:0], new)
		t.set(t.key, t.val)
	} else {
		t.unset(t.key)
	}
	return nil
}

// waitsSince returns when the retention of b began to count or, if nothing but
// pending holds it, will begin; 0 if neither.
func waitsSince(b *Block) instant {
	switch {
	case !b.Found || b.Direct || b.References != 0:
		return 0
	case !b.TrashedAt.IsZero():
		return toInstant(b.TrashedAt)
	}
	return toInstant(b.PendingUntil)
}

// count adds the row b, n = 1, to the counts of the volume that it names, of
// its namespace and of the cell, or takes it away, n = -1.
func (t *tx) count(b *Block, n int64) error {
	if !b.Found {
		return nil
	}
	v, err := t.volume(b.Location.Volume)
	if err != nil {
		return err
	}
	s, err := t.space(b.Namespace)
	if err != nil {
		return err
	}
	if !v.found || s == nil {
		return faultf("row of block %v names volume %v, namespace %d: one is not there: %w",
			b.ID, b.Location.Volume, b.Namespace, holdall.ErrCorrupt)
	}
	bytes := n * int64(b.Location.Length)
	v.dirty = true
	v.Rows += n
	v.Bytes += bytes
	t.sys.Blocks += n
	t.sys.Bytes += bytes
	if b.Live() {
		v.Live += bytes
		s.Blocks += n
		s.Bytes += bytes
		t.sys.Live += n
		t.sys.LiveBytes += bytes
	}
	if min(v.Rows, v.Bytes, v.Live, s.Blocks, s.Bytes, t.sys.Blocks, t.sys.Live) < 0 {
		return faultf("counts of volume %v fell below zero at block %v: %w", v.ID, b.ID, holdall.ErrCorrupt)
	}
	return nil
}

// settle sets or clears TrashedAt of b, whose holds have just changed.
func (t *tx) settle(b *Block) {
	switch pending := toInstant(b.PendingUntil); {
	case b.Direct || b.References != 0 || pending > t.now:
		b.TrashedAt = time.Time{}
	case b.TrashedAt.IsZero():
		b.TrashedAt = t.now.time()
	}
}

// volume returns a volume's row as the tx has it so far; not found is no error.
// Who changes it sets dirty.
func (t *tx) volume(id holdall.VolumeID) (*volumeRow, error) {
	if v := t.volumes[id]; v != nil {
		return v, nil
	}
	v := &volumeRow{Volume: Volume{ID: id}}
	t.key = appendVolumeKey(t.key[:0], id)
	b, ok, err := t.read(t.key)
	if err != nil {
		return nil, err
	}
	if ok {
		if err := decodeRow(t.key, b, func(d *decoder) { d.volume(&v.Volume) }); err != nil {
			return nil, &fault{err}
		}
		v.found = true
	}
	t.volumes[id] = v
	t.touched = append(t.touched, v)
	return v, nil
}

func (t *tx) flushVolume(v *volumeRow) error {
	if !v.dirty {
		return nil
	}
	t.key = appendVolumeKey(t.key[:0], v.ID)
	if !v.found {
		t.unset(t.key)
		return nil
	}
	if v.Rows == 0 && (v.Bytes != 0 || v.Live != 0) || v.Live > v.Bytes {
		return faultf("volume %v counts %d rows, %d bytes, %d live: %w", v.ID, v.Rows, v.Bytes, v.Live, holdall.ErrCorrupt)
	}
	t.val = appendVolume(t.val[:0], &v.Volume)
	t.set(t.key, t.val)
	return nil
}

// space returns a namespace as the tx has it so far, or nil. Changes of it are
// written.
func (t *tx) space(id holdall.NamespaceID) (*Namespace, error) {
	if n := t.spaces[id]; n != nil {
		if n.gone {
			return nil, nil
		}
		return &n.Namespace, nil
	}
	n := Namespace{ID: id}
	t.key = appendNamespaceKey(t.key[:0], id)
	b, ok, err := t.read(t.key)
	if err != nil || !ok {
		return nil, err
	}
	if err := decodeRow(t.key, b, func(d *decoder) { d.space(&n) }); err != nil {
		return nil, &fault{err}
	}
	return t.keepSpace(n, n), nil
}

// keepSpace makes n, which was was, part of what the tx may change.
func (t *tx) keepSpace(n, was Namespace) *Namespace {
	row := &spaceRow{Namespace: n, was: was}
	t.spaces[n.ID] = row
	t.spaced = append(t.spaced, row)
	return &row.Namespace
}

// knownSpace refuses a namespace that does not exist: none comes into being by
// use.
func (t *tx) knownSpace(id holdall.NamespaceID) error {
	n, err := t.space(id)
	if err == nil && n == nil {
		err = fmt.Errorf("metadata: namespace %d does not exist: %w", id, holdall.ErrInvalid)
	}
	return err
}

// disk returns a disk's row, or false.
func (t *tx) disk(id holdall.DiskID) (Disk, bool, error) {
	k := Disk{ID: id}
	t.key = appendDiskKey(t.key[:0], id)
	b, ok, err := t.read(t.key)
	if err != nil || !ok {
		return k, false, err
	}
	if err := decodeRow(t.key, b, func(d *decoder) { d.disk(&k) }); err != nil {
		return k, false, &fault{err}
	}
	return k, true, nil
}

func (t *tx) setDisk(k *Disk) {
	t.key = appendDiskKey(t.key[:0], k.ID)
	t.val = appendDisk(t.val[:0], k)
	t.set(t.key, t.val)
}

// knownDisk refuses a disk that the cell does not have.
func (t *tx) knownDisk(id holdall.DiskID) (Disk, error) {
	k, ok, err := t.disk(id)
	if err == nil && !ok {
		err = fmt.Errorf("metadata: disk %v is not of this cell (add it with `disk add`): %w", id, holdall.ErrNotFound)
	}
	return k, err
}

// maxChanges bounds the changes that nobody has flushed: about 700 MB. If the
// journal cannot be written for that long, changes are refused, not forgotten.
const maxChanges = 1 << 24

// change appends to the change journal. The system namespace holds the journal
// itself, so what happens there is not journaled.
func (t *tx) change(c Change) {
	t.sys.LastChange++
	c.Time = t.now.time()
	t.key = appendChangeKey(t.key[:0], t.sys.LastChange)
	t.val = appendChange(t.val[:0], &c)
	t.set(t.key, t.val)
}

// blockChange journals a change of one row.
func (t *tx) blockChange(kind ChangeKind, b *Block) {
	if b.Namespace == holdall.SystemNamespace {
		return
	}
	c := Change{Kind: kind, Namespace: b.Namespace, ID: b.ID}
	if kind == ChangeMove {
		c.Location = b.Location
	}
	t.change(c)
}

// journalRoom refuses when too many changes wait to be flushed.
func (t *tx) journalRoom() error {
	if waiting := t.sys.LastChange + 1 - t.sys.FirstChange; waiting > maxChanges {
		return fmt.Errorf("metadata: %d changes wait to be written to the journal on disks: %w", waiting, holdall.ErrExhausted)
	}
	return nil
}
