package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// noteKey says something of a key of a bucket under migration: that it is missed,
// or differs (both make an entry), that it could not be copied, or can be again, or
// is to be an exception no more.
type noteKey struct {
	Verb   commandTag
	Bucket holdall.BucketID
	Key    string
	Reason string
}

func (c *noteKey) tag() commandTag { return c.Verb }

func (c *noteKey) check() error {
	if len(c.Reason) > maxReason {
		return fmt.Errorf("metadata: a reason of %d bytes, the most is %d: %w", len(c.Reason), maxReason, holdall.ErrInvalid)
	}
	return holdall.CheckKey(c.Key)
}

func (c *noteKey) encode(dst []byte) []byte {
	return putText(putText(putBucketID(dst, c.Bucket), c.Key), c.Reason)
}

func (c *noteKey) decode(d *decoder) {
	c.Bucket, c.Key, c.Reason = d.bucketID(), d.text(holdall.MaxKeySize), d.text(maxReason)
}

func (c *noteKey) run(t *tx) (result, error) {
	m, err := t.knownMigration(c.Bucket)
	if err != nil {
		return nil, err
	}
	switch c.Verb {
	case tagPutQuarantine:
		err = t.putQuarantine(m, c)
	case tagDropQuarantine:
		err = t.dropQuarantine(m, c.Key)
	case tagDropException:
		err = t.dropException(m, c.Key)
	default:
		err = t.noteMiss(m, c)
	}
	return noResult{}, err
}

// noteMiss makes an entry of a key that nobody has to hold: whoever holds it
// learns nothing that was not so when it was granted, and does not drop the entry.
func (t *tx) noteMiss(m *migrationRow, c *noteKey) error {
	if !m.State.Mirrored() {
		return fmt.Errorf("metadata: bucket %d is in %v: nothing is kept equal: %w", m.Bucket, m.State, holdall.ErrRefused)
	}
	if c.Verb == tagNoteMismatch {
		m.found(t, 1)
	}
	return t.miss(m, SideNone, Entry{Key: c.Key, Reason: c.Reason})
}

func (t *tx) putQuarantine(m *migrationRow, c *noteKey) error {
	var q Quarantine
	excepted, err := t.exceptionAt(m.Bucket, c.Key)
	if err != nil || excepted {
		return err
	}
	found, err := t.quarantineAt(m.Bucket, c.Key, &q)
	if err != nil {
		return err
	}
	if !found {
		m.Quarantined++
		q.Since = t.now.time()
	}
	q.Tries, q.Reason = q.Tries+1, c.Reason
	t.key = appendWriteKey(t.key[:0], tableQuarantine, m.Bucket, c.Key)
	t.val = appendQuarantine(t.val[:0], &q)
	t.set(t.key, t.val)
	return nil
}

func (t *tx) quarantineAt(b holdall.BucketID, key string, q *Quarantine) (bool, error) {
	t.key = appendWriteKey(t.key[:0], tableQuarantine, b, key)
	return t.rowAt(func(d *decoder) { d.quarantine(q) })
}

func (t *tx) exceptionAt(b holdall.BucketID, key string) (bool, error) {
	t.key = appendWriteKey(t.key[:0], tableException, b, key)
	return t.rowAt(func(d *decoder) { d.exception(new(Exception)) })
}

func (t *tx) dropQuarantine(m *migrationRow, key string) error {
	found, err := t.quarantineAt(m.Bucket, key, new(Quarantine))
	if err != nil || !found {
		return err
	}
	m.Quarantined--
	t.unset(appendWriteKey(t.key[:0], tableQuarantine, m.Bucket, key))
	return nil
}

func (t *tx) dropException(m *migrationRow, key string) error {
	found, err := t.exceptionAt(m.Bucket, key)
	if err != nil || !found {
		return err
	}
	if err := t.journalRoom(); err != nil {
		return err
	}
	m.Exceptions--
	t.unset(appendWriteKey(t.key[:0], tableException, m.Bucket, key))
	t.migrationChange(journalException, m.Bucket, key, nil)
	return nil
}

// putException notes that a key may be different.
type putException struct{ Exception Exception } // but for At

func (*putException) tag() commandTag { return tagPutException }

func (c *putException) check() error {
	x := &c.Exception
	if !x.At.IsZero() || x.SignedBy == "" || max(len(x.What), len(x.Reason)) > maxReason || len(x.SignedBy) > maxLabel {
		return fmt.Errorf("metadata: exception for key %.80q, signed by %.80q: %w", x.Key, x.SignedBy, holdall.ErrInvalid)
	}
	return holdall.CheckKey(x.Key)
}

func (c *putException) encode(dst []byte) []byte {
	x := &c.Exception
	dst = putText(putBucketID(dst, x.Bucket), x.Key)
	return putText(putText(putText(dst, x.What), x.Reason), x.SignedBy)
}

func (c *putException) decode(d *decoder) {
	x := &c.Exception
	x.Bucket, x.Key = d.bucketID(), d.text(holdall.MaxKeySize)
	x.What, x.Reason, x.SignedBy = d.text(maxReason), d.text(maxReason), d.text(maxLabel)
}

func (c *putException) run(t *tx) (result, error) {
	m, err := t.knownMigration(c.Exception.Bucket)
	if err != nil {
		return nil, err
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	if err := t.dropQuarantine(m, c.Exception.Key); err != nil {
		return nil, err
	}
	x := c.Exception
	x.At = t.now.time()
	found, err := t.exceptionAt(x.Bucket, x.Key)
	if err != nil {
		return nil, err
	}
	if !found {
		m.Exceptions++
	}
	t.setException(&x)
	t.migrationChange(journalException, x.Bucket, x.Key, appendException(nil, &x))
	return noResult{}, nil
}

func (t *tx) setException(x *Exception) {
	t.key = appendWriteKey(t.key[:0], tableException, x.Bucket, x.Key)
	t.val = appendException(t.val[:0], x)
	t.set(t.key, t.val)
}

// touchEntry notes that an entry was tried in vain.
type touchEntry struct {
	Bucket holdall.BucketID
	Key    string
	Seq    uint64
	Next   instant
	Reason string
}

func (*touchEntry) tag() commandTag { return tagTouchEntry }

func (c *touchEntry) check() error {
	if len(c.Reason) > maxReason || c.Next > maxInstant {
		return fmt.Errorf("metadata: entry due at %d, a reason of %d bytes: %w", c.Next, len(c.Reason), holdall.ErrInvalid)
	}
	return holdall.CheckKey(c.Key)
}

func (c *touchEntry) encode(dst []byte) []byte {
	dst = putUvarint(putText(putBucketID(dst, c.Bucket), c.Key), c.Seq)
	return putText(putUvarint(dst, uint64(c.Next)), c.Reason)
}

func (c *touchEntry) decode(d *decoder) {
	c.Bucket, c.Key, c.Seq = d.bucketID(), d.text(holdall.MaxKeySize), d.uvarint()
	c.Next, c.Reason = d.instant(), d.text(maxReason)
}

func (c *touchEntry) run(t *tx) (result, error) {
	m, err := t.knownMigration(c.Bucket)
	if err != nil {
		return nil, err
	}
	old, err := t.entry(c.Bucket, c.Key)
	if err != nil || old == nil || old.Seq != c.Seq {
		return noResult{}, err
	}
	e := *old
	if e.Tries != 1<<32-1 {
		e.Tries++
	}
	e.Next, e.Reason = later(max(c.Next, t.now).time(), e.Until), c.Reason
	t.setEntry(m, old, &e)
	return noResult{}, nil
}
