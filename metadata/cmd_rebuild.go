package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// The commands of this file load a state from what was found on disks. They are
// refused outside quarantine. Whoever rebuilds sends them in the order of the
// change journal: volumes first, then stripes and changes as they happened.

func (t *tx) onlyRebuild(what string) error {
	if t.sys.Quarantine == "" {
		return fmt.Errorf("metadata: %s outside quarantine: %w", what, holdall.ErrRefused)
	}
	return nil
}

// maxCounter bounds what is believed of numbers found on disks, so that there is
// room to count on from them.
const maxCounter = 1 << 43

// adoptVolume makes a volume that was found on disks one of the cell's: open,
// with no stripe yet, under an epoch that is above all it had. Whoever rebuilds
// seals it when its stripes are in.
type adoptVolume struct{ Volume Volume }

func (*adoptVolume) tag() commandTag { return tagAdoptVolume }

func (c *adoptVolume) check() error {
	v := &c.Volume
	if v.ID == 0 || v.Scheme.Validate() != nil || len(v.Members) != v.Scheme.N() || v.Limit < minLimit || v.Limit > maxLimit ||
		v.State != holdall.VolumeOpen || len(v.Gateway) > maxGateway || v.Last != 0 || v.Rows != 0 || v.Bytes != 0 || v.Live != 0 || v.Packs != 0 || v.Shards != 0 {
		return fmt.Errorf("metadata: adopted volume %v of %v, %v, with %d members, extents of %d bytes, %d stripes, %d rows: %w",
			v.ID, v.Scheme, v.State, len(v.Members), v.Limit, v.Last, v.Rows, holdall.ErrInvalid)
	}
	if v.ID.Counter() > maxCounter || v.Epoch.Counter() > maxCounter {
		return fmt.Errorf("metadata: adopted volume %v at %v: no cell counts that far: %w", v.ID, v.Epoch, holdall.ErrInvalid)
	}
	for m := range v.Members {
		if v.Members[m].End != 0 {
			return fmt.Errorf("metadata: adopted volume %v: member %d has an end: %w", v.ID, m, holdall.ErrInvalid)
		}
	}
	return nil
}

func (c *adoptVolume) encode(dst []byte) []byte {
	return appendVolume(putVolumeID(dst, c.Volume.ID), &c.Volume)
}

func (c *adoptVolume) decode(d *decoder) {
	c.Volume.ID = d.volumeID()
	d.volume(&c.Volume)
}

func (c *adoptVolume) run(t *tx) (result, error) {
	if err := t.onlyRebuild("a volume is adopted"); err != nil {
		return nil, err
	}
	v, err := t.volume(c.Volume.ID)
	if err != nil {
		return nil, err
	}
	if v.found {
		return nil, fmt.Errorf("metadata: volume %v is known already: %w", v.ID, holdall.ErrRefused)
	}
	if v.ID.Incarnation() > t.sys.Incarnation || c.Volume.Epoch.Incarnation() > t.sys.Incarnation {
		return nil, fmt.Errorf("metadata: volume %v at %v is of a later incarnation than %d: %w", v.ID, c.Volume.Epoch, t.sys.Incarnation, holdall.ErrInvalid)
	}
	v.Volume, v.found = c.Volume, true
	t.raise(v)
	if v.ID.Incarnation() == t.sys.Incarnation {
		t.sys.counters.volume = max(t.sys.counters.volume, v.ID.Counter())
	}
	t.sys.Volumes++
	return noResult{}, nil
}

// adoptStripe puts the blocks of a stripe that was found on disks, as its
// commit did.
type adoptStripe struct {
	StripeCommit // Ends: 0 for a member whose records were not found

	// Journaled says that the change journal on disks lists the stripe: without
	// it the stripe is journaled now, behind all others, so that another rebuild
	// finds it in the same place.
	Journaled bool

	// Trashed brings blocks that have no row back as trash: nobody knows whether
	// they were deleted.
	Trashed bool

	Time instant // of the commit; 0 = not known
}

func (*adoptStripe) tag() commandTag { return tagAdoptStripe }
func (c *adoptStripe) check() error  { return checkStripe(&c.StripeCommit) }

func (c *adoptStripe) encode(dst []byte) []byte {
	dst = putBool(putBool(putStripe(dst, &c.StripeCommit), c.Journaled), c.Trashed)
	return putUvarint(dst, uint64(c.Time))
}

func (c *adoptStripe) decode(d *decoder) {
	d.stripe(&c.StripeCommit)
	c.Journaled, c.Trashed, c.Time = d.bool(), d.bool(), d.instant()
}

func (c *adoptStripe) run(t *tx) (result, error) {
	if err := t.onlyRebuild("a stripe is adopted"); err != nil {
		return nil, err
	}
	v, err := t.volume(c.Volume)
	switch {
	case err != nil:
		return nil, err
	case !v.found || v.State == holdall.VolumeFreed || len(c.Ends) != len(v.Members):
		return nil, fmt.Errorf("metadata: adopted stripe %d of volume %v, known: %t, %v, %d members: %w", c.Stripe, c.Volume, v.found, v.State, len(v.Members), holdall.ErrInvalid)
	}
	v.dirty = true
	v.Last = max(v.Last, c.Stripe)
	v.Packs += c.PackBytes
	v.Shards += c.ShardBytes
	for m := range v.Members {
		v.Members[m].End = max(v.Members[m].End, c.Ends[m])
	}
	if !c.Journaled && !v.System {
		t.change(Change{Kind: ChangeStripe, Volume: v.ID, Epoch: c.Epoch, Stripe: c.Stripe})
	}
	now := t.now
	t.at(c.Time)
	answer := new(commitAnswer)
	for i := range c.Blocks {
		if err := t.adoptSpace(c.Blocks[i].Namespace); err != nil {
			return nil, err
		}
		kept, err := t.adoptBlock(v, &c.Blocks[i], c.Trashed)
		if err != nil {
			return nil, err
		}
		if kept != c.Blocks[i].at(v.ID) {
			answer.Index, answer.Kept = append(answer.Index, i), append(answer.Kept, kept)
		}
	}
	t.now = now
	return answer, nil
}

// adoptSpace makes a namespace that blocks on disks are of and the journal does
// not tell of: it was made in the last moments, or that part of the journal is
// lost. Its name and how long its trash waits are not known.
func (t *tx) adoptSpace(id holdall.NamespaceID) error {
	n, err := t.space(id)
	if err != nil || n != nil {
		return err
	}
	name := fmt.Sprintf("rebuilt-%d", id)
	t.key = appendSpaceNameKey(t.key[:0], name)
	if _, taken, err := t.read(t.key); err != nil || taken {
		return err
	}
	t.spaceChange(t.addSpace(Namespace{ID: id, Name: name, Retention: DefaultRetention}))
	return nil
}

// at makes a replayed command happen when it happened.
func (t *tx) at(when instant) {
	if when != 0 {
		t.now = min(t.now, when)
	}
}

func (t *tx) adoptBlock(v *volumeRow, p *PutBlock, trashed bool) (holdall.Location, error) {
	if !trashed {
		return t.commitBlock(v, p)
	}
	if p.Pending { // an object may refer to it: whoever rebuilds looks for that last
		old, err := t.block(p.Namespace, &p.ID)
		if err != nil || old.Found {
			return old.Location, err
		}
		return t.commitBlock(v, p)
	}
	if err := t.knownSpace(p.Namespace); err != nil {
		return holdall.Location{}, err
	}
	old, err := t.block(p.Namespace, &p.ID)
	if err != nil || old.Live() {
		return old.Location, err
	}
	// Another rebuild replays the stripe as a commit, which takes its blocks out
	// of trash: the journal puts them back.
	if old.Found {
		t.blockChange(ChangeDelete, &old)
		return old.Location, nil
	}
	row := old
	row.Found, row.Location, row.TrashedAt = true, p.at(v.ID), t.now.time()
	t.blockChange(ChangeDelete, &row)
	return row.Location, t.setBlock(&old, &row)
}

// replayChanges does again what the change journal says was done. Changes of
// rows and volumes that are not there are left out.
type replayChanges struct{ Changes []Change }

// maxReplay bounds the changes in one entry.
const maxReplay = 10_000

func (*replayChanges) tag() commandTag { return tagReplayChanges }

func (c *replayChanges) check() error {
	if len(c.Changes) > maxReplay {
		return fmt.Errorf("metadata: replay of %d changes, the most is %d: %w", len(c.Changes), maxReplay, holdall.ErrInvalid)
	}
	for i := range c.Changes {
		if k := c.Changes[i].Kind; k < ChangeStripe || k > lastChange || c.Changes[i].Location.Offset < 0 ||
			c.Changes[i].Epoch.Counter() > maxCounter || c.Changes[i].Seq > maxCounter || checkRetention(c.Changes[i].Retention) != nil {
			return fmt.Errorf("metadata: replay of a change of kind %d to %v: %w", k, c.Changes[i].Location, holdall.ErrInvalid)
		}
	}
	return nil
}

func (c *replayChanges) encode(dst []byte) []byte {
	dst = putUvarint(dst, uint64(len(c.Changes)))
	for i := range c.Changes {
		dst = appendChange(putUvarint(dst, c.Changes[i].Seq), &c.Changes[i])
	}
	return dst
}

func (c *replayChanges) decode(d *decoder) {
	c.Changes = make([]Change, d.length(maxReplay, 5))
	for i := range c.Changes {
		c.Changes[i].Seq = d.uvarint()
		d.change(&c.Changes[i])
	}
}

func (c *replayChanges) run(t *tx) (result, error) {
	if err := t.onlyRebuild("changes are replayed"); err != nil {
		return nil, err
	}
	now := t.now
	for i := range c.Changes {
		k := &c.Changes[i]
		t.replayed(k.Seq)
		t.now = now
		t.at(toInstant(k.Time))
		var err error
		switch k.Kind {
		case ChangeStripe: // adoptStripe does it
		case ChangeSeal, ChangeFree:
			err = t.replayVolume(k)
		case ChangeNamespace, ChangeNamespaceGone:
			err = t.replaySpace(k)
		case ChangeBucket, ChangeBucketGone, ChangeNode, ChangeObject, ChangeMarker, ChangeUnmark, ChangeObjectGone, ChangeTags,
			ChangeUpload, ChangePart, ChangeAbort, ChangePartsGone, ChangeUploadGone, ChangeMigration: // see replayNames
		default:
			err = t.replayBlock(k)
		}
		if err != nil {
			return nil, err
		}
	}
	t.now = now
	return noResult{}, nil
}

// replayed keeps the numbers of changes to come above those in the journal.
func (t *tx) replayed(seq uint64) {
	if seq <= t.sys.LastChange {
		return
	}
	if t.sys.FirstChange == t.sys.LastChange+1 {
		t.sys.FirstChange = seq + 1
	}
	t.sys.LastChange = seq
}

func (t *tx) replayVolume(k *Change) error {
	v, err := t.volume(k.Volume)
	if err != nil || !v.found || v.State == holdall.VolumeFreed {
		return err
	}
	if k.Kind == ChangeFree && v.Rows != 0 {
		return nil // rows that came back hold it
	}
	v.dirty = true
	v.Epoch = max(v.Epoch, holdall.MakeEpoch(t.sys.Incarnation, k.Epoch.Counter()))
	if v.State == holdall.VolumeOpen {
		v.State, v.Sealed = holdall.VolumeSealed, t.now.time()
		if _, err := t.addTask(Task{Kind: TaskFooter, Volume: v.ID, Member: -1}); err != nil {
			return err
		}
	}
	if k.Kind == ChangeSeal {
		return nil
	}
	v.State, v.Freed = holdall.VolumeFreed, t.now.time()
	t.dropTask(TaskFooter, v.ID)
	_, err = t.addTask(Task{Kind: TaskFree, Volume: v.ID, Member: -1})
	return err
}

// replaySpace makes, sets or removes a namespace.
func (t *tx) replaySpace(k *Change) error {
	n, err := t.space(k.Namespace)
	if err != nil || k.Namespace == holdall.SystemNamespace {
		return err
	}
	switch {
	case n == nil && k.Kind == ChangeNamespace:
		t.key = appendSpaceNameKey(t.key[:0], k.Name)
		if _, taken, err := t.read(t.key); err != nil || taken {
			return err
		}
		t.addSpace(Namespace{ID: k.Namespace, Name: k.Name, Retention: k.Retention, Quota: k.Quota})
	case n != nil && k.Kind == ChangeNamespace:
		n.Retention, n.Quota = k.Retention, k.Quota
	case n != nil && k.Namespace != holdall.DefaultNamespace:
		has, err := t.spaceHas(n)
		if err != nil || has != "" {
			return err
		}
		t.dropSpace(n)
	}
	return nil
}

func (t *tx) replayBlock(k *Change) error {
	old, err := t.block(k.Namespace, &k.ID)
	if err != nil || !old.Found {
		return err
	}
	row := old
	switch k.Kind {
	case ChangeDelete:
		row.Direct = false
	case ChangeUndelete, ChangeClaim:
		row.Direct = true
	case ChangePurge, ChangeNodeGone:
		row = Block{Namespace: k.Namespace, ID: k.ID}
	case ChangeMove:
		v, err := t.volume(k.Location.Volume)
		if err != nil || !v.found || k.Location.Length != row.Location.Length {
			return err
		}
		row.Location = k.Location
	}
	if row.Found {
		t.settle(&row)
	}
	if row == old {
		return nil
	}
	return t.setBlock(&old, &row)
}
