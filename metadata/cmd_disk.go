package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// addDisk makes a disk part of the cell. Its id is new for ever.
type addDisk struct{ Disk Disk }

func (*addDisk) tag() commandTag { return tagAddDisk }

func (c *addDisk) check() error {
	k := &c.Disk
	if k.ID == (holdall.DiskID{}) || k.State != holdall.DiskActive && k.State != holdall.DiskFailed && k.State != holdall.DiskDraining ||
		k.Capacity < 0 || k.ZoneSize < 0 || k.Granted < k.Incarnation {
		return fmt.Errorf("metadata: new disk %v, %v, %d bytes in zones of %d, incarnation %d, granted %d: %w",
			k.ID, k.State, k.Capacity, k.ZoneSize, k.Incarnation, k.Granted, holdall.ErrInvalid)
	}
	return checkTexts(k)
}

func checkTexts(k *Disk) error {
	if len(k.Path) > maxPath || len(k.Node) > maxLabel || len(k.Domain) > maxLabel || len(k.Reason) > maxReason {
		return fmt.Errorf("metadata: disk %v: path, node, domain or reason is longer than %d, %d, %d, %d bytes: %w",
			k.ID, maxPath, maxLabel, maxLabel, maxReason, holdall.ErrInvalid)
	}
	return nil
}

func (c *addDisk) encode(dst []byte) []byte { return appendDisk(append(dst, c.Disk.ID[:]...), &c.Disk) }

func (c *addDisk) decode(d *decoder) {
	c.Disk.ID = d.diskID()
	d.disk(&c.Disk)
}

func (c *addDisk) run(t *tx) (result, error) {
	k := c.Disk
	old, found, err := t.disk(k.ID)
	if err != nil {
		return nil, err
	}
	if found {
		return nil, fmt.Errorf("metadata: disk %v is known already, %v; a wiped disk comes back under a new id: %w", k.ID, old.State, holdall.ErrRefused)
	}
	if t.sys.counters.disks >= holdall.MaxDisksPerCell {
		return nil, fmt.Errorf("metadata: the cell has %d disks, the most there may be: %w", t.sys.counters.disks, holdall.ErrExhausted)
	}
	t.sys.counters.disks++
	k.Since = t.now.time()
	t.setDisk(&k)
	return noResult{}, nil
}

// grantMount gives a disk the incarnation under which it may be mounted. The
// disk writes it, durably, and only then is confirmMount sent.
type grantMount struct {
	Disk  holdall.DiskID
	Shown uint64 // the incarnation in its superblock
	Path  string // where it is mounted now; "" = as before
	Node  string // "" = as before
}

func (*grantMount) tag() commandTag { return tagGrantMount }

func (c *grantMount) check() error {
	return checkTexts(&Disk{ID: c.Disk, Path: c.Path, Node: c.Node})
}

func (c *grantMount) encode(dst []byte) []byte {
	return putText(putText(putUvarint(append(dst, c.Disk[:]...), c.Shown), c.Path), c.Node)
}

func (c *grantMount) decode(d *decoder) {
	c.Disk, c.Shown, c.Path, c.Node = d.diskID(), d.uvarint(), d.text(maxPath), d.text(maxLabel)
}

// run grants a number that was never granted before, so that of two copies of a
// disk at most one shows the number that counts. A disk shows the last number
// confirmed, or the last granted if it wrote that and could not confirm it.
func (c *grantMount) run(t *tx) (result, error) {
	k, err := t.knownDisk(c.Disk)
	switch {
	case err != nil:
		return nil, err
	case k.State == holdall.DiskRemoved:
		return nil, fmt.Errorf("metadata: disk %v was removed from the cell; wipe it and add it anew: %w", c.Disk, holdall.ErrRefused)
	case c.Shown != k.Incarnation && c.Shown != k.Granted:
		return nil, fmt.Errorf("metadata: disk %v at %q shows incarnation %d, not %d (confirmed) or %d (granted): it is a copy of the disk or an old image of it; "+
			"mount the original, or wipe this one and add it anew: %w", c.Disk, c.Path, c.Shown, k.Incarnation, k.Granted, holdall.ErrRefused)
	}
	granted := max(k.Incarnation, k.Granted) + 1
	k.Incarnation, k.Granted = c.Shown, granted
	if c.Path != "" {
		k.Path = c.Path
	}
	if c.Node != "" {
		k.Node = c.Node
	}
	t.setDisk(&k)
	return &mountAnswer{MountGrant{Incarnation: granted, State: k.State}}, nil
}

// confirmMount notes that a disk has written the incarnation it was granted.
type confirmMount struct {
	Disk        holdall.DiskID
	Incarnation uint64
}

func (*confirmMount) tag() commandTag { return tagConfirmMount }
func (*confirmMount) check() error    { return nil }

func (c *confirmMount) encode(dst []byte) []byte {
	return putUvarint(append(dst, c.Disk[:]...), c.Incarnation)
}

func (c *confirmMount) decode(d *decoder) { c.Disk, c.Incarnation = d.diskID(), d.uvarint() }

func (c *confirmMount) run(t *tx) (result, error) {
	k, err := t.knownDisk(c.Disk)
	if err != nil {
		return nil, err
	}
	if c.Incarnation != k.Granted {
		return nil, fmt.Errorf("metadata: disk %v confirms incarnation %d, granted was %d since: another mount overtook this one: %w", c.Disk, c.Incarnation, k.Granted, holdall.ErrStale)
	}
	k.Incarnation = k.Granted
	t.setDisk(&k)
	return noResult{}, nil
}

// setDisk changes what a disk may be used for.
type setDisk struct {
	Disk   holdall.DiskID
	State  holdall.DiskState
	Reason string
}

func (*setDisk) tag() commandTag { return tagSetDisk }

func (c *setDisk) check() error {
	if c.State < holdall.DiskActive || c.State > holdall.DiskRemoved {
		return fmt.Errorf("metadata: disk %v becomes %v: %w", c.Disk, c.State, holdall.ErrInvalid)
	}
	return checkTexts(&Disk{ID: c.Disk, Reason: c.Reason})
}

func (c *setDisk) encode(dst []byte) []byte {
	return putText(append(append(dst, c.Disk[:]...), byte(c.State)), c.Reason)
}

func (c *setDisk) decode(d *decoder) {
	c.Disk, c.State, c.Reason = d.diskID(), holdall.DiskState(d.byte()), d.text(maxReason)
}

func (c *setDisk) run(t *tx) (result, error) {
	k, err := t.knownDisk(c.Disk)
	if err != nil {
		return nil, err
	}
	if k.State == c.State {
		return noResult{}, nil // the first reason stays: it is the cause
	}
	if k.State == holdall.DiskRemoved {
		return nil, fmt.Errorf("metadata: disk %v was removed, for good: %w", c.Disk, holdall.ErrRefused)
	}
	if c.State == holdall.DiskRemoved {
		if err := t.unused(c.Disk); err != nil {
			return nil, err
		}
	}
	k.State, k.Reason, k.Since = c.State, c.Reason, t.now.time()
	t.setDisk(&k)
	return noResult{}, nil
}

// unused refuses if a volume still has a member on the disk.
func (t *tx) unused(id holdall.DiskID) error {
	for v, err := range volumes(t.b) {
		if err != nil {
			return &fault{err}
		}
		for m := range v.Members {
			if v.Members[m].Disk == id && !v.Members[m].Freed {
				return fmt.Errorf("metadata: disk %v holds member %d of volume %v: drain it first: %w", id, m, v.ID, holdall.ErrRefused)
			}
		}
	}
	return nil
}
