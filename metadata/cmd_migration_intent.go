package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// takeIntent locks a key for a write.
type takeIntent struct{ IntentRequest }

func (*takeIntent) tag() commandTag { return tagTakeIntent }

func (c *takeIntent) check() error {
	if c.Op == (holdall.PutID{}) || c.Kind < IntentPut || c.Kind > IntentRepair || (c.Upload != holdall.PutID{}) != (c.Kind == IntentComplete) {
		return fmt.Errorf("metadata: intent of op %v, %v, upload %v: %w", c.Op, c.Kind, c.Upload, holdall.ErrInvalid)
	}
	return holdall.CheckKey(c.Key)
}

func (c *takeIntent) encode(dst []byte) []byte {
	dst = putText(putBucketID(dst, c.Bucket), c.Key)
	dst = append(append(append(dst, c.Op[:]...), c.Door[:]...), byte(c.Kind))
	return append(dst, c.Upload[:]...)
}

func (c *takeIntent) decode(d *decoder) {
	c.Bucket, c.Key = d.bucketID(), d.text(holdall.MaxKeySize)
	c.Op, c.Door, c.Kind, c.Upload = d.putID(), d.doorID(), IntentKind(d.byte()), d.putID()
}

func (c *takeIntent) run(t *tx) (result, error) {
	if _, err := t.namedBucket(c.Bucket); err != nil {
		return nil, err
	}
	m, err := t.migration(c.Bucket)
	if err != nil {
		return nil, err
	}
	i, err := t.intent(c.Bucket, c.Key)
	switch {
	case err != nil:
		return nil, err
	case m != nil && i != nil && i.IntentRequest == c.IntentRequest:
		return t.grant(m, c.Key)
	}
	if err := c.admitted(t, m); err != nil {
		return nil, err
	}
	if i != nil {
		return &takeAnswer{Holder: i}, nil
	}
	if err := t.mayWrite(m, c.Key); err != nil && c.Kind != IntentRepair {
		return nil, err
	}
	t.addIntent(m, &Intent{IntentRequest: c.IntentRequest, Since: t.now.time(), Number: m.Number, State: m.State})
	return t.grant(m, c.Key)
}

// admitted refuses writes that take no intents now.
func (c *takeIntent) admitted(t *tx, m *migrationRow) error {
	switch {
	case m == nil || !m.State.Mirrored():
		return fmt.Errorf("metadata: bucket %d is not mirrored: its writes take no intents: %w", c.Bucket, holdall.ErrStale)
	case m.Step != 0 && c.Kind != IntentRepair:
		return fmt.Errorf("metadata: bucket %d is about to step to %v: %w", c.Bucket, m.Step, holdall.ErrStale)
	}
	silent, err := t.silent(c.Door)
	if err == nil && silent {
		err = fmt.Errorf("metadata: door %v was not seen for %v: %w", c.Door, DoorSilence, holdall.ErrStale)
	}
	return err
}

// grant returns what the holder of a key's intent needs to know.
func (t *tx) grant(m *migrationRow, key string) (result, error) {
	g := Granted{Migration: m.steady()}
	list, err := t.newest(m.Bucket, key, 1)
	if err != nil {
		return nil, err
	}
	if g.HasNewest = len(list) > 0; g.HasNewest {
		g.Newest = list[0]
	}
	g.Entry, err = t.entry(m.Bucket, key)
	return &takeAnswer{Granted: g}, err
}

// endIntent settles and ends an intent.
type endIntent struct{ EndIntent }

func (*endIntent) tag() commandTag { return tagEndIntent }

func (c *endIntent) check() error {
	if c.Op == (holdall.PutID{}) || !c.End || c.FactsOf == 0 && c.Facts != (SourceFacts{}) {
		return fmt.Errorf("metadata: end of an intent of op %v, facts of version %d: %w", c.Op, c.FactsOf, holdall.ErrInvalid)
	}
	if err := c.Settlement.check(); err != nil {
		return err
	}
	if err := c.Facts.check(); err != nil {
		return err
	}
	return holdall.CheckKey(c.Key)
}

func (c *endIntent) encode(dst []byte) []byte {
	dst = putSettlement(putText(putBucketID(dst, c.Bucket), c.Key), &c.Settlement)
	return putFacts(putVersion(dst, c.FactsOf), &c.Facts)
}

func (c *endIntent) decode(d *decoder) {
	c.Bucket, c.Key = d.bucketID(), d.text(holdall.MaxKeySize)
	d.settlement(&c.Settlement)
	c.FactsOf = d.versionID()
	d.facts(&c.Facts)
}

func (c *endIntent) run(t *tx) (result, error) {
	m, err := t.migration(c.Bucket)
	if err != nil {
		return nil, err
	}
	i, err := t.intent(c.Bucket, c.Key)
	if err != nil {
		return nil, err
	}
	if m == nil || i == nil || i.Op != c.Op {
		return noResult{}, c.late(t)
	}
	if c.Miss != SideNone {
		if err := m.decidedNow(&c.Settlement); err != nil {
			return nil, err
		}
	}
	if err := t.noteFacts(c); err != nil {
		return nil, err
	}
	return noResult{}, t.settleWrite(settling{m, i, false}, c.Key, &c.Settlement)
}

// late is for an intent that is not held any more. It was ended, or it lapsed, and
// then an entry says that the sides may differ; whoever asks knows less by now than
// that. What is left to say of the key nobody may take for said.
func (c *endIntent) late(t *tx) error {
	gone := c.Miss == SideNone
	if gone && c.Clear != 0 {
		e, err := t.entry(c.Bucket, c.Key)
		if err != nil {
			return err
		}
		gone = e == nil || e.Seq != c.Clear
	}
	if gone {
		return nil
	}
	return fmt.Errorf("metadata: op %v does not hold key %.80q of bucket %d any more: %w", c.Op, c.Key, c.Bucket, holdall.ErrStale)
}

// noteFacts notes what the source says of a version.
func (t *tx) noteFacts(c *endIntent) error {
	if c.FactsOf == 0 {
		return nil
	}
	old, err := t.object(ObjectKey{c.Bucket, c.Key, c.FactsOf})
	if err != nil || old == nil || old.Source == c.Facts {
		return err
	}
	b, err := t.bucket(c.Bucket)
	if err != nil {
		return err
	}
	if b == nil {
		return faultf("version %d is of bucket %d, which is not there: %w", c.FactsOf, c.Bucket, holdall.ErrCorrupt)
	}
	o := *old
	o.Source = c.Facts
	return t.setObject(b, old, &o)
}

// maxLapse bounds the intents that one entry lapses: their keys must fit it.
const maxLapse = 500

// lapsedReason is why an entry is there that apply made by itself. It is state: it
// must not be worded anew.
const lapsedReason = "the door that wrote the key went silent"

// lapseIntents makes entries of the intents of a door that is fenced.
type lapseIntents struct {
	Door DoorID
	Of   []heldKey
}

// heldKey is a key, and the op that was seen to hold it.
type heldKey struct {
	Bucket holdall.BucketID
	Key    string
	Op     holdall.PutID
}

func (*lapseIntents) tag() commandTag { return tagLapseIntents }

func (c *lapseIntents) check() error {
	if len(c.Of) > maxLapse {
		return fmt.Errorf("metadata: %d intents to be lapsed, the most is %d: %w", len(c.Of), maxLapse, holdall.ErrInvalid)
	}
	for i := range c.Of {
		if err := holdall.CheckKey(c.Of[i].Key); err != nil {
			return err
		}
	}
	return nil
}

func (c *lapseIntents) encode(dst []byte) []byte {
	dst = putUvarint(append(dst, c.Door[:]...), uint64(len(c.Of)))
	for i := range c.Of {
		dst = append(putText(putBucketID(dst, c.Of[i].Bucket), c.Of[i].Key), c.Of[i].Op[:]...)
	}
	return dst
}

func (c *lapseIntents) decode(d *decoder) {
	c.Door = d.doorID()
	n := d.length(maxLapse, 19)
	for range n {
		c.Of = append(c.Of, heldKey{d.bucketID(), d.text(holdall.MaxKeySize), d.putID()})
	}
}

func (c *lapseIntents) run(t *tx) (result, error) {
	switch silent, err := t.silent(c.Door); {
	case err != nil:
		return nil, err
	case !silent:
		return nil, fmt.Errorf("metadata: door %v is there: its intents do not lapse: %w", c.Door, holdall.ErrRefused)
	}
	until := t.now.after(IntentLife).time()
	lapsed := uint64(0)
	for _, k := range c.Of {
		i, err := t.intent(k.Bucket, k.Key)
		if err != nil {
			return nil, err
		}
		if i == nil || i.Door != c.Door || i.Op != k.Op {
			continue
		}
		m, err := t.migration(k.Bucket)
		if err != nil {
			return nil, err
		}
		if m == nil {
			return nil, faultf("an intent of bucket %d, which has no migration: %w", k.Bucket, holdall.ErrCorrupt)
		}
		if err := t.miss(m, m.missed(i), Entry{Key: k.Key, Reason: lapsedReason, Until: until}); err != nil {
			return nil, err
		}
		t.dropIntent(m, k.Key)
		lapsed++
	}
	return &numberResult{lapsed}, nil
}
