package metadata

import (
	"fmt"
	"slices"

	"github.com/holdall/holdall"
)

// Kinds of tasks that the machine adds and drops by itself.
const (
	TaskFooter = "footer" // a sealed volume has members without their footer
	TaskFree   = "free"   // a freed volume has members whose zones were not reset
)

// sealVolume ends a volume's open life: Last is final.
type sealVolume struct {
	Volume holdall.VolumeID
	Epoch  holdall.Epoch // of the lease under which it is sealed
	Force  bool          // an operator's: whoever holds the lease
}

func (*sealVolume) tag() commandTag { return tagSealVolume }
func (*sealVolume) check() error    { return nil }

func (c *sealVolume) encode(dst []byte) []byte {
	return putBool(putEpoch(putVolumeID(dst, c.Volume), c.Epoch), c.Force)
}

func (c *sealVolume) decode(d *decoder) {
	c.Volume, c.Epoch, c.Force = d.volumeID(), d.epoch(), d.bool()
}

func (c *sealVolume) run(t *tx) (result, error) {
	v, err := t.volume(c.Volume)
	switch {
	case err != nil:
		return nil, err
	case !v.found:
		return nil, fmt.Errorf("metadata: seal of volume %v, which does not exist: %w", c.Volume, holdall.ErrNotFound)
	case v.State != holdall.VolumeOpen:
		return &volumeResult{v.Volume}, nil
	case v.Epoch != c.Epoch && !c.Force && toInstant(v.Expires) > t.now:
		return nil, fmt.Errorf("metadata: seal of volume %v under epoch %v: it is at %v, leased to %q: %w", c.Volume, c.Epoch, v.Epoch, v.Gateway, holdall.ErrStale)
	}
	t.raise(v)
	v.State, v.Sealed = holdall.VolumeSealed, t.now.time()
	t.change(Change{Kind: ChangeSeal, Volume: v.ID, Epoch: v.Epoch, Stripe: v.Last})
	_, err = t.addTask(Task{Kind: TaskFooter, Volume: v.ID, Member: -1})
	return &volumeResult{v.Volume}, err
}

// freeVolume lets a volume's zones be reused, after the hold. It is the first of
// the two proofs of upkeep: no row names the volume.
type freeVolume struct {
	Volume holdall.VolumeID
	Epoch  holdall.Epoch
}

func (*freeVolume) tag() commandTag { return tagFreeVolume }
func (*freeVolume) check() error    { return nil }

func (c *freeVolume) encode(dst []byte) []byte {
	return putEpoch(putVolumeID(dst, c.Volume), c.Epoch)
}

func (c *freeVolume) decode(d *decoder) { c.Volume, c.Epoch = d.volumeID(), d.epoch() }

func (c *freeVolume) run(t *tx) (result, error) {
	v, err := t.volume(c.Volume)
	switch {
	case err != nil:
		return nil, err
	case t.sys.Quarantine != "":
		return nil, t.quarantined("free")
	case !v.found:
		return nil, fmt.Errorf("metadata: free of volume %v, which does not exist: %w", c.Volume, holdall.ErrNotFound)
	case v.State == holdall.VolumeFreed:
		return &volumeResult{v.Volume}, nil
	case v.State != holdall.VolumeSealed:
		return nil, fmt.Errorf("metadata: free of volume %v, which is %v: %w", c.Volume, v.State, holdall.ErrRefused)
	case v.Rows != 0:
		return nil, fmt.Errorf("metadata: free of volume %v, which has %d rows: %w", c.Volume, v.Rows, holdall.ErrRefused)
	case v.Epoch != c.Epoch:
		return nil, fmt.Errorf("metadata: free of volume %v under epoch %v: it is at %v: %w", c.Volume, c.Epoch, v.Epoch, holdall.ErrStale)
	}
	err = t.free(v)
	return &volumeResult{v.Volume}, err
}

func (t *tx) free(v *volumeRow) error {
	t.raise(v)
	v.State, v.Freed = holdall.VolumeFreed, t.now.time()
	t.change(Change{Kind: ChangeFree, Volume: v.ID, Epoch: v.Epoch, Stripe: v.Last})
	t.dropTask(TaskFooter, v.ID)
	_, err := t.addTask(Task{Kind: TaskFree, Volume: v.ID, Member: -1})
	return err
}

// markMember notes that a member has its footer, or that its zones were reset;
// or that neither will ever be, its disk being gone. The row of a volume whose
// members are all freed is dropped.
type markMember struct {
	Mark   commandTag // tagMarkFooter or tagMarkFreed
	Volume holdall.VolumeID
	Member uint8
}

func (c *markMember) tag() commandTag { return c.Mark }
func (*markMember) check() error      { return nil }

func (c *markMember) encode(dst []byte) []byte {
	return append(putVolumeID(dst, c.Volume), c.Member)
}

func (c *markMember) decode(d *decoder) { c.Volume, c.Member = d.volumeID(), d.byte() }

func (c *markMember) run(t *tx) (result, error) {
	v, err := t.volume(c.Volume)
	need := holdall.VolumeSealed
	if c.Mark == tagMarkFreed {
		need = holdall.VolumeFreed
	}
	switch {
	case err != nil:
		return nil, err
	case !v.found:
		return noResult{}, nil // dropped since: its last member was marked
	case int(c.Member) >= len(v.Members):
		return nil, fmt.Errorf("metadata: member %d of volume %v, which has %d: %w", c.Member, c.Volume, len(v.Members), holdall.ErrInvalid)
	case v.State < need:
		return nil, fmt.Errorf("metadata: member %d of volume %v: the volume is %v, not %v: %w", c.Member, c.Volume, v.State, need, holdall.ErrRefused)
	}
	v.dirty = true
	if c.Mark == tagMarkFooter {
		v.Members[c.Member].Footer = true
		if !slices.ContainsFunc(v.Members, func(m Member) bool { return !m.Footer }) {
			t.dropTask(TaskFooter, v.ID)
		}
		return noResult{}, nil
	}
	v.Members[c.Member].Freed = true
	if !slices.ContainsFunc(v.Members, func(m Member) bool { return !m.Freed }) {
		t.dropTask(TaskFree, v.ID)
		v.found = false
		t.sys.Volumes--
	}
	return noResult{}, nil
}
