package metadata

import (
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// Limits on volumes and leases.
const (
	maxVolumesPerCall = 1000             // volumes in a renewal
	maxLease          = 10 * time.Minute // a dead gateway's volumes are not taken before it ends
	minLimit          = 64 << 10         // bytes: a volume has room for a stripe and a footer
	maxLimit          = 1 << 40          // bytes
)

// openVolume returns a volume that the holder of the lease with this epoch may
// append to. Refusals wrap ErrStale.
func (t *tx) openVolume(id holdall.VolumeID, e holdall.Epoch) (*volumeRow, error) {
	v, err := t.volume(id)
	switch {
	case err != nil:
		return nil, err
	case !v.found:
		return nil, fmt.Errorf("metadata: volume %v does not exist: %w", id, holdall.ErrStale)
	case v.State != holdall.VolumeOpen:
		return nil, fmt.Errorf("metadata: volume %v is %v, not open: %w", id, v.State, holdall.ErrStale)
	case v.Epoch != e:
		return nil, fmt.Errorf("metadata: volume %v is at epoch %v, not %v: %w", id, v.Epoch, e, holdall.ErrStale)
	}
	return v, nil
}

// raise gives the volume the next epoch. Its counter only rises, also from one
// incarnation to the next.
func (t *tx) raise(v *volumeRow) {
	v.Epoch = holdall.MakeEpoch(t.sys.Incarnation, v.Epoch.Counter()+1)
	v.dirty = true
}

func checkLease(gateway string, lease time.Duration) error {
	if gateway == "" || len(gateway) > maxGateway {
		return fmt.Errorf("metadata: gateway id %.80q: want 1 to %d bytes: %w", gateway, maxGateway, holdall.ErrInvalid)
	}
	if lease < time.Millisecond || lease > maxLease {
		return fmt.Errorf("metadata: lease of %v: want 1ms to %v: %w", lease, maxLease, holdall.ErrInvalid)
	}
	return nil
}

// createVolume makes an open volume, leased to the gateway that asks.
type createVolume struct {
	Scheme  holdall.Scheme
	Limit   int64 // bytes of an extent
	Disks   []holdall.DiskID
	System  bool
	Gateway string
	Lease   time.Duration
}

func (*createVolume) tag() commandTag { return tagCreateVolume }

func (c *createVolume) check() error {
	if err := c.Scheme.Validate(); err != nil {
		return fmt.Errorf("metadata: scheme of a new volume: %w", err)
	}
	if len(c.Disks) != c.Scheme.N() || c.Limit < minLimit || c.Limit > maxLimit {
		return fmt.Errorf("metadata: new volume of %v on %d disks, extents of %d bytes: %w", c.Scheme, len(c.Disks), c.Limit, holdall.ErrInvalid)
	}
	for i := range c.Disks {
		for _, other := range c.Disks[:i] {
			if c.Disks[i] == other {
				return fmt.Errorf("metadata: new volume has disk %v twice: %w", other, holdall.ErrInvalid)
			}
		}
	}
	return checkLease(c.Gateway, c.Lease)
}

func (c *createVolume) encode(dst []byte) []byte {
	dst = append(putCount(putScheme(dst, c.Scheme), c.Limit), byte(len(c.Disks)))
	for i := range c.Disks {
		dst = append(dst, c.Disks[i][:]...)
	}
	return putDuration(putText(putBool(dst, c.System), c.Gateway), c.Lease)
}

func (c *createVolume) decode(d *decoder) {
	c.Scheme, c.Limit = d.scheme(), d.count()
	for range min(int(d.byte()), holdall.MaxMembers+1) {
		c.Disks = append(c.Disks, d.diskID())
	}
	c.System, c.Gateway, c.Lease = d.bool(), d.text(maxGateway), d.duration()
}

func (c *createVolume) run(t *tx) (result, error) {
	for _, id := range c.Disks {
		k, err := t.knownDisk(id)
		if err != nil {
			return nil, err
		}
		if k.State != holdall.DiskActive {
			return nil, fmt.Errorf("metadata: new volume on disk %v, which is %v: %w", id, k.State, holdall.ErrRefused)
		}
	}
	t.sys.counters.volume++
	v, err := t.volume(holdall.MakeVolumeID(t.sys.Incarnation, t.sys.counters.volume))
	if err != nil {
		return nil, err
	}
	if v.found {
		return nil, faultf("new volume %v is there already: %w", v.ID, holdall.ErrCorrupt)
	}
	v.found, v.dirty = true, true
	v.Scheme, v.Limit, v.System, v.State = c.Scheme, c.Limit, c.System, holdall.VolumeOpen
	v.Epoch, v.Created = holdall.MakeEpoch(t.sys.Incarnation, 1), t.now.time()
	v.Gateway, v.Expires = c.Gateway, t.now.after(c.Lease).time()
	for _, id := range c.Disks {
		v.Members = append(v.Members, Member{Disk: id, Created: v.Epoch})
	}
	t.sys.Volumes++
	return &volumeResult{v.Volume}, nil
}

// takeLease makes another writer the only one: the epoch rises, so whatever the
// last one still sends is refused.
type takeLease struct {
	Volume  holdall.VolumeID
	Gateway string
	Lease   time.Duration
}

func (*takeLease) tag() commandTag { return tagTakeLease }
func (c *takeLease) check() error  { return checkLease(c.Gateway, c.Lease) }

func (c *takeLease) encode(dst []byte) []byte {
	return putDuration(putText(putVolumeID(dst, c.Volume), c.Gateway), c.Lease)
}

func (c *takeLease) decode(d *decoder) {
	c.Volume, c.Gateway, c.Lease = d.volumeID(), d.text(maxGateway), d.duration()
}

func (c *takeLease) run(t *tx) (result, error) {
	v, err := t.volume(c.Volume)
	switch {
	case err != nil:
		return nil, err
	case !v.found:
		return nil, fmt.Errorf("metadata: lease of volume %v, which does not exist: %w", c.Volume, holdall.ErrNotFound)
	case v.State != holdall.VolumeOpen:
		return nil, fmt.Errorf("metadata: lease of volume %v, which is %v: %w", c.Volume, v.State, holdall.ErrStale)
	case v.Gateway != c.Gateway && toInstant(v.Expires) > t.now:
		return nil, fmt.Errorf("metadata: lease of volume %v: gateway %q holds it until %v: %w", c.Volume, v.Gateway, v.Expires, holdall.ErrRefused)
	}
	t.raise(v)
	v.Gateway, v.Expires = c.Gateway, t.now.after(c.Lease).time()
	return &volumeResult{v.Volume}, nil
}

// renewLeases prolongs the leases that the gateway still holds. It names the
// volumes whose lease is lost: no longer open, or taken by another.
type renewLeases struct {
	Gateway string
	Volumes []holdall.VolumeID
	Lease   time.Duration
}

func (*renewLeases) tag() commandTag { return tagRenewLeases }

func (c *renewLeases) check() error {
	if len(c.Volumes) > maxVolumesPerCall {
		return fmt.Errorf("metadata: renewal of %d leases, the most is %d: %w", len(c.Volumes), maxVolumesPerCall, holdall.ErrInvalid)
	}
	return checkLease(c.Gateway, c.Lease)
}

func (c *renewLeases) encode(dst []byte) []byte {
	return putDuration(putVolumeIDs(putText(dst, c.Gateway), c.Volumes), c.Lease)
}

func (c *renewLeases) decode(d *decoder) {
	c.Gateway, c.Volumes, c.Lease = d.text(maxGateway), d.volumeIDs(), d.duration()
}

func (c *renewLeases) run(t *tx) (result, error) {
	lost := new(volumesResult)
	for _, id := range c.Volumes {
		v, err := t.volume(id)
		if err != nil {
			return nil, err
		}
		if !v.found || v.State != holdall.VolumeOpen || v.Gateway != c.Gateway {
			lost.IDs = append(lost.IDs, id)
			continue
		}
		v.Expires = max(toInstant(v.Expires), t.now.after(c.Lease)).time()
		v.dirty = true
	}
	return lost, nil
}
