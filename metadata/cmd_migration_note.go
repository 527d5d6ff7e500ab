package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// found starts the clean-run clock again: n differences were found.
func (m *migrationRow) found(t *tx, n int64) {
	e := &m.Evidence
	e.Mismatches += n
	e.LastFinding, e.Passes, e.Floor = t.now.time(), 0, t.index
	if !e.CleanSince.IsZero() {
		e.CleanSince = t.now.time()
	}
}

// noteWalker notes how far a walker has come.
type noteWalker struct{ WalkerNote }

func (*noteWalker) tag() commandTag { return tagNoteWalker }

func (c *noteWalker) check() error {
	if c.Walker == "" || len(c.Walker) > maxWalker || len(c.Progress) > MaxProgress || c.Find > FindNew ||
		min(c.Copied, c.CopiedBytes) < 0 || max(c.Copied, c.CopiedBytes) > maxCounter {
		return fmt.Errorf("metadata: note of walker %.80q: %d bytes, %d copied (%d bytes), finding %d: %w",
			c.Walker, len(c.Progress), c.Copied, c.CopiedBytes, c.Find, holdall.ErrInvalid)
	}
	return nil
}

func (c *noteWalker) encode(dst []byte) []byte {
	dst = putUvarint(putText(putBucketID(dst, c.Bucket), c.Walker), c.Number)
	return append(putCount(putCount(putBytes(dst, c.Progress), c.Copied), c.CopiedBytes), byte(c.Find))
}

func (c *noteWalker) decode(d *decoder) {
	c.Bucket, c.Walker, c.Number = d.bucketID(), d.text(maxWalker), d.uvarint()
	c.Progress, c.Copied, c.CopiedBytes, c.Find = d.bytes(MaxProgress), d.count(), d.count(), Finding(d.byte())
}

// sinceBegun refuses what began in another state.
func (m *migrationRow) sinceBegun(number uint64) error {
	if number < m.Began || number > m.Number {
		return fmt.Errorf("metadata: bucket %d is in %v since %d, this began at %d: %w", m.Bucket, m.State, m.Began, number, holdall.ErrStale)
	}
	return nil
}

func (c *noteWalker) run(t *tx) (result, error) {
	m, err := t.knownMigration(c.Bucket)
	if err != nil {
		return nil, err
	}
	if err := m.sinceBegun(c.Number); err != nil {
		return nil, err
	}
	e, now := &m.Evidence, t.now.time()
	switch c.Find {
	case FindBackfill:
		e.Backfilled = now
	case FindCaughtUp:
		e.CaughtUp = now
	case FindNew:
		e.CaughtUp = instant(0).time()
	}
	if e.Copied, e.CopiedBytes = e.Copied+c.Copied, e.CopiedBytes+c.CopiedBytes; min(e.Copied, e.CopiedBytes) < 0 {
		return nil, fmt.Errorf("metadata: bucket %d: more copied than can be counted: %w", m.Bucket, holdall.ErrInvalid)
	}
	t.key = append(appendMigrationKey(t.key[:0], tableWalker, m.Bucket), c.Walker...)
	t.val = appendProgressOf(t.val[:0], c.Progress)
	t.set(t.key, t.val)
	return noResult{}, nil
}

// notePass notes what a full verification came to.
type notePass struct{ PassResult }

func (*notePass) tag() commandTag { return tagNotePass }

func (c *notePass) check() error {
	if c.Differences < 0 || c.Differences > maxCounter {
		return fmt.Errorf("metadata: a verification with %d differences: %w", c.Differences, holdall.ErrInvalid)
	}
	return nil
}

func (c *notePass) encode(dst []byte) []byte {
	dst = putUvarint(putUvarint(putBucketID(dst, c.Bucket), c.Number), c.Began)
	return putCount(dst, c.Differences)
}

func (c *notePass) decode(d *decoder) {
	c.Bucket, c.Number, c.Began, c.Differences = d.bucketID(), d.uvarint(), d.uvarint(), d.count()
}

func (c *notePass) run(t *tx) (result, error) {
	m, err := t.knownMigration(c.Bucket)
	if err != nil {
		return nil, err
	}
	if err := m.sinceBegun(c.Number); err != nil {
		return nil, err
	}
	e := &m.Evidence
	switch {
	case c.Differences != 0 && e.Mismatches+c.Differences < 0:
		return nil, fmt.Errorf("metadata: bucket %d: more differences than can be counted: %w", m.Bucket, holdall.ErrInvalid)
	case c.Differences != 0:
		m.found(t, c.Differences)
	case c.Began < e.Floor:
		return nil, fmt.Errorf("metadata: bucket %d: something was found, or a pass ended, at entry %d, after this one began at %d: %w",
			m.Bucket, e.Floor, c.Began, holdall.ErrStale)
	default:
		// The next one counts if it begins after this entry.
		e.Passes, e.Verified, e.Floor = min(e.Passes+1, 1<<31), t.now.time(), t.index
	}
	return noResult{}, nil
}

// certify notes the certificate of a flip.
type certify struct {
	Bucket holdall.BucketID
	Digest [32]byte
}

func (*certify) tag() commandTag { return tagCertify }

func (c *certify) check() error {
	if c.Digest == [32]byte{} {
		return fmt.Errorf("metadata: a certificate without a digest: %w", holdall.ErrInvalid)
	}
	return nil
}

func (c *certify) encode(dst []byte) []byte {
	return append(putBucketID(dst, c.Bucket), c.Digest[:]...)
}

func (c *certify) decode(d *decoder) {
	c.Bucket = d.bucketID()
	copy(c.Digest[:], d.take(len(c.Digest)))
}

func (c *certify) run(t *tx) (result, error) {
	m, err := t.knownMigration(c.Bucket)
	if err != nil {
		return nil, err
	}
	if m.State != StateFlipped {
		return nil, fmt.Errorf("metadata: bucket %d is in %v: only what is flipped is certified: %w", m.Bucket, m.State, holdall.ErrRefused)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	m.Certificate, m.Certified = c.Digest, t.now.time()
	t.stepped(m)
	return noResult{}, nil
}
