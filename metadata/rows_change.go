package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// appendChange appends all of c but its Seq, which is the key.
func appendChange(dst []byte, c *Change) []byte {
	dst = putTime(append(dst, rowVersion, byte(c.Kind)), c.Time)
	if c.Kind >= ChangeNamespace {
		return AppendNames(dst, c)
	}
	switch c.Kind {
	case ChangeStripe, ChangeSeal, ChangeFree:
		return putUvarint(putEpoch(putVolumeID(dst, c.Volume), c.Epoch), c.Stripe)
	case ChangeMove:
		dst = putLocation(dst, c.Location)
	}
	return append(putUvarint(dst, uint64(c.Namespace)), c.ID[:]...)
}

// change fills in c, but for its Seq.
func (d *decoder) change(c *Change) {
	d.version()
	c.Kind, c.Time = ChangeKind(d.byte()), d.time()
	switch c.Kind {
	case ChangeStripe, ChangeSeal, ChangeFree:
		c.Volume, c.Epoch, c.Stripe = d.volumeID(), d.epoch(), d.uvarint()
		return
	case ChangeMove:
		c.Location = d.location()
	case ChangeDelete, ChangeUndelete, ChangeClaim, ChangePurge:
	default:
		d.names(c)
		return
	}
	c.Namespace, c.ID = d.namespace(), d.blockID()
}

// The fields of a change of names. A change has those of its kind; of them the
// ones that are not zero are written, in this order, after a uvarint of their
// flags.
const (
	hasNamespace = 1 << iota
	hasID
	hasBucket
	hasKey
	hasVersion
	hasPut
	hasName
	hasRetention
	hasQuota
	hasNumber
	hasData
)

// maxChangeData bounds Data: the row of an upload with the most attributes and
// tags, and more.
const maxChangeData = 32 << 10

// MaxNames bounds what AppendNames appends, in bytes.
const MaxNames = maxChangeData + holdall.MaxKeySize + 512

// namesOf returns the fields of a kind, or false.
func namesOf(k ChangeKind) (fields uint64, ok bool) {
	switch k {
	case ChangeNamespace:
		return hasNamespace | hasName | hasRetention | hasQuota, true
	case ChangeNamespaceGone:
		return hasNamespace, true
	case ChangeBucket:
		return hasNamespace | hasBucket | hasName | hasNumber, true
	case ChangeBucketGone:
		return hasBucket, true
	case ChangeNode, ChangeNodeGone:
		return hasNamespace | hasID, true
	case ChangeObject:
		return hasNamespace | hasID | hasBucket | hasVersion | hasPut | hasData, true
	case ChangeMarker:
		return hasBucket | hasKey | hasVersion | hasPut | hasNumber, true
	case ChangeUnmark, ChangeObjectGone:
		return hasBucket | hasKey | hasVersion, true
	case ChangeTags:
		return hasBucket | hasKey | hasVersion | hasData, true
	case ChangeUpload:
		return hasPut | hasData, true
	case ChangePart:
		return hasPut | hasNumber | hasData, true
	case ChangePartsGone:
		return hasPut | hasNumber, true
	case ChangeAbort, ChangeUploadGone:
		return hasPut, true
	case ChangeMigration:
		return hasBucket | hasKey | hasNumber | hasData, true
	}
	return 0, false
}

// present returns the flags of the fields of c that are not zero.
func (c *Change) present() (fields uint64) {
	for i, there := range [...]bool{
		c.Namespace != 0, c.ID != holdall.BlockID{}, c.Bucket != 0, c.Key != "", c.Version != 0, c.Put != holdall.PutID{},
		c.Name != "", c.Retention != 0, c.Quota != 0, c.Number != 0, len(c.Data) != 0,
	} {
		if there {
			fields |= 1 << i
		}
	}
	return fields
}

// AppendNames appends what a change of kind ChangeNamespace or above says beside
// Seq, Time and Kind. The change journal on disks has it in this form too.
func AppendNames(dst []byte, c *Change) []byte {
	want, _ := namesOf(c.Kind)
	has := c.present() & want
	dst = putUvarint(dst, has)
	for field := uint64(1); field <= hasData; field <<= 1 {
		if has&field != 0 {
			dst = c.appendField(dst, field)
		}
	}
	return dst
}

func (c *Change) appendField(dst []byte, field uint64) []byte {
	switch field {
	case hasNamespace:
		return putUvarint(dst, uint64(c.Namespace))
	case hasID:
		return append(dst, c.ID[:]...)
	case hasBucket:
		return putEpoch(dst, holdall.Epoch(c.Bucket))
	case hasKey:
		return putText(dst, c.Key)
	case hasVersion:
		return putEpoch(dst, holdall.Epoch(c.Version))
	case hasPut:
		return append(dst, c.Put[:]...)
	case hasName:
		return putText(dst, c.Name)
	case hasRetention:
		return putDuration(dst, c.Retention)
	case hasQuota:
		return putCount(dst, c.Quota)
	case hasNumber:
		return putUvarint(dst, c.Number)
	}
	return putBytes(dst, c.Data)
}

// ParseNames fills in c, which has its Kind, from the front of b, and returns
// the rest. Data aliases nothing of b. Errors wrap ErrCorrupt.
func ParseNames(b []byte, c *Change) (rest []byte, err error) {
	d := decoder{b: b}
	d.names(c)
	if d.err != nil {
		return nil, fmt.Errorf("metadata: change of kind %d: %v: %w", c.Kind, d.err, holdall.ErrCorrupt)
	}
	return d.b, nil
}

func (d *decoder) names(c *Change) {
	want, ok := namesOf(c.Kind)
	has := d.uvarint()
	if !ok || has == 0 || has&^want != 0 {
		d.fail(fmt.Errorf("change kind %d with fields %#x", c.Kind, has))
		return
	}
	for field := uint64(1); field <= hasData; field <<= 1 {
		if has&field != 0 {
			d.nameField(c, field)
		}
	}
	if d.err == nil && c.present()&want != has {
		d.notZero(0)
	}
}

func (d *decoder) nameField(c *Change, field uint64) {
	switch field {
	case hasNamespace:
		c.Namespace = d.namespace()
	case hasID:
		c.ID = d.blockID()
	case hasBucket:
		c.Bucket = d.bucketID()
	case hasKey:
		c.Key = d.text(holdall.MaxKeySize)
	case hasVersion:
		c.Version = d.versionID()
	case hasPut:
		c.Put = d.putID()
	case hasName:
		c.Name = d.text(maxLabel)
	case hasRetention:
		c.Retention = d.duration()
	case hasQuota:
		c.Quota = d.count()
	case hasNumber:
		c.Number = d.uvarint()
	case hasData:
		c.Data = d.bytes(maxChangeData)
	}
}
