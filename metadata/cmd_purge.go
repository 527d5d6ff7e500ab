package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// MaxObjectsPerPurge bounds the versions of a PurgeObjects: keys may be long, and
// all must fit one Raft entry.
const MaxObjectsPerPurge = 500

// purgeObjects removes rows of versions whose retention has ended, and drops the
// reference that each holds to its root.
type purgeObjects struct{ Keys []ObjectKey }

func (*purgeObjects) tag() commandTag { return tagPurgeObjects }

func (c *purgeObjects) check() error {
	if len(c.Keys) > MaxObjectsPerPurge {
		return fmt.Errorf("metadata: %d versions in a purge, the most is %d: %w", len(c.Keys), MaxObjectsPerPurge, holdall.ErrInvalid)
	}
	for i := range c.Keys {
		if err := holdall.CheckKey(c.Keys[i].Key); err != nil {
			return err
		}
	}
	return nil
}

func (c *purgeObjects) encode(dst []byte) []byte {
	dst = putUvarint(dst, uint64(len(c.Keys)))
	for i := range c.Keys {
		dst = putObjectName(dst, &c.Keys[i])
	}
	return dst
}

func (c *purgeObjects) decode(d *decoder) {
	n := d.length(MaxObjectsPerPurge, 5)
	if n == 0 {
		return
	}
	c.Keys = make([]ObjectKey, n)
	for i := range c.Keys {
		c.Keys[i] = d.objectName()
	}
}

func (c *purgeObjects) run(t *tx) (result, error) {
	if t.sys.Quarantine != "" {
		return nil, t.quarantined("purge")
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	answer := new(purgeAnswer)
	for _, k := range c.Keys {
		b, o, err := t.dueObject(k)
		if err != nil {
			return nil, err
		}
		if o == nil {
			answer.Waiting++
			continue
		}
		if !t.mayPurge() {
			answer.Stopped = true
			break
		}
		t.change(Change{Kind: ChangeObjectGone, Bucket: k.Bucket, Key: k.Key, Version: k.Version})
		if !o.Marker {
			// A root without the reference is not what it should be. Nothing is lost
			// by dropping the version, which is due, and leaving the block alone.
			if _, err := t.unrefer(b.Namespace, &o.Root, 1); err != nil {
				return nil, err
			}
		}
		if err := t.setObject(b, o, nil); err != nil {
			return nil, err
		}
		answer.Purged++
	}
	return answer, nil
}

// dueObject returns the bucket and the row of a version that may be purged, or
// nil. Those of a removed bucket need not wait. A marker that is current goes
// when it is old and the last row of its key, unless its bucket keeps it.
func (t *tx) dueObject(k ObjectKey) (*bucketRow, *Object, error) {
	b, err := t.bucket(k.Bucket)
	if err != nil || b == nil {
		return nil, nil, err
	}
	o, err := t.object(k)
	if err != nil || o == nil {
		return nil, nil, err
	}
	n, err := t.space(b.Namespace)
	if err != nil {
		return nil, nil, err
	}
	since := o.waits()
	switch {
	case n == nil || since == 0:
		return nil, nil, nil
	case !b.Removed.IsZero():
		return b, o, nil
	case since.after(n.Retention) > t.now:
		return nil, nil, nil
	case !o.TrashedAt.IsZero():
		return b, o, nil
	case b.KeepsMarkers:
		return nil, nil, nil
	}
	list, err := t.newest(k.Bucket, k.Key, 2)
	if err != nil || len(list) != 1 {
		return nil, nil, err
	}
	return b, o, nil
}
