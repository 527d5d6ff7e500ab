package metadata

import (
	"fmt"
	"strings"

	"github.com/holdall/holdall"
)

// stepMigration announces a step, takes it back, or does it, as Verb says.
type stepMigration struct {
	Verb   commandTag
	Bucket holdall.BucketID
	Number uint64         // that the migration must be at
	To     MigrationState // of an announcement
}

func (c *stepMigration) tag() commandTag { return c.Verb }

func (c *stepMigration) check() error {
	if announced := c.Verb == tagAnnounce; announced != (c.To != 0) || c.To > StateRetired {
		return fmt.Errorf("metadata: step of bucket %d to %v: %w", c.Bucket, c.To, holdall.ErrInvalid)
	}
	return nil
}

func (c *stepMigration) encode(dst []byte) []byte {
	return append(putUvarint(putBucketID(dst, c.Bucket), c.Number), byte(c.To))
}

func (c *stepMigration) decode(d *decoder) {
	c.Bucket, c.Number, c.To = d.bucketID(), d.uvarint(), MigrationState(d.byte())
}

func (c *stepMigration) run(t *tx) (result, error) {
	m, err := t.knownMigration(c.Bucket)
	if err != nil {
		return nil, err
	}
	if m.Number != c.Number {
		return nil, fmt.Errorf("metadata: the migration of bucket %d is at %d, not %d: %w", m.Bucket, m.Number, c.Number, holdall.ErrStale)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	switch c.Verb {
	case tagAnnounce:
		err = t.announce(m, c.To)
	case tagCancelStep:
		err = m.announced()
		m.Step = 0
	default:
		err = t.step(m)
	}
	if err != nil {
		return nil, err
	}
	m.Number++
	if c.Verb == tagStep {
		m.Began = m.Number
	}
	t.dropTable(tableAck, m.Bucket)
	t.stepped(m)
	return &migrationAnswer{m.Migration}, nil
}

func (t *tx) announce(m *migrationRow, to MigrationState) error {
	if m.Step != 0 {
		return fmt.Errorf("metadata: bucket %d: the step to %v is announced already: %w", m.Bucket, m.Step, holdall.ErrRefused)
	}
	if err := Guard(&m.Migration, to, t.now.time()); err != nil {
		return err
	}
	m.Step, m.Announced = to, t.now.time()
	return nil
}

// announced refuses where no step is announced.
func (m *migrationRow) announced() error {
	if m.Step == 0 {
		return fmt.Errorf("metadata: bucket %d: no step is announced: %w", m.Bucket, holdall.ErrStale)
	}
	return nil
}

// step does the step that was announced, in this order: the doors have to have
// stopped; nobody who might have shown a write to readers may be gone without a
// trace; the guard has to hold still.
func (t *tx) step(m *migrationRow) error {
	if err := m.announced(); err != nil {
		return err
	}
	if err := t.doorsStopped(m); err != nil {
		return err
	}
	if m.Step.Decides() != m.State.Decides() {
		if err := t.holdersLive(m); err != nil {
			return err
		}
	}
	if err := Guard(&m.Migration, m.Step, t.now.time()); err != nil {
		return err
	}
	b, err := t.namedBucket(m.Bucket)
	if err != nil {
		return err
	}
	m.evidenceAt(m.Step, t)
	m.State, m.Step, m.Entered = m.Step, 0, t.now.time()
	t.markersFollow(b, m)
	if m.State == StateRetired {
		t.retire(b, m)
	}
	return nil
}

// retire forgets what is of the source: nothing goes there any more.
func (t *tx) retire(b *bucketRow, m *migrationRow) {
	b.Migrates = false
	m.Intents, m.Entries = 0, 0
	for _, table := range [...]byte{tableIntent, tableOutbox, tableDue, tableWalker} {
		t.dropTable(table, m.Bucket)
	}
}

// doorsStopped refuses as long as a door that is not silent has not acknowledged
// the announcement.
func (t *tx) doorsStopped(m *migrationRow) error {
	var waiting []string
	for w, err := range doors(t.b) {
		if err != nil {
			return &fault{err}
		}
		if w.silent(t.now.time()) {
			continue
		}
		var number uint64
		t.key = appendAckKey(t.key[:0], m.Bucket, w.ID)
		if _, err := t.rowAt(func(d *decoder) { number = d.ack() }); err != nil {
			return err
		}
		if number != m.Number {
			waiting = append(waiting, w.ID.String())
		}
	}
	if waiting == nil {
		return nil
	}
	return fmt.Errorf("metadata: bucket %d: %d doors have not acknowledged the step to %v: %s: %w", m.Bucket, len(waiting), m.Step, strings.Join(waiting, ", "), holdall.ErrUnavailable)
}

// maxStraddlers bounds the intents that a step looks at.
const maxStraddlers = 10_000

// holdersLive refuses if a door that is fenced, or gone, has an intent in the
// bucket. Readers may have seen its write on the side that decides now: it has to
// become an entry, and be repaired, before the other side decides. A live door
// settles what it has under way by the state to come.
func (t *tx) holdersLive(m *migrationRow) error {
	if m.Intents > maxStraddlers {
		return fmt.Errorf("metadata: bucket %d: %d writes are under way, the most in a step is %d: %w", m.Bucket, m.Intents, maxStraddlers, holdall.ErrUnavailable)
	}
	known := map[DoorID]bool{}
	for i, err := range intents(t.b, m.Bucket, "") {
		if err != nil {
			return &fault{err}
		}
		if known[i.Door] {
			continue
		}
		switch silent, err := t.silent(i.Door); {
		case err != nil:
			return err
		case silent:
			return fmt.Errorf("metadata: bucket %d: door %v, which is silent, has intents, one on key %.80q: they have to be lapsed: %w", m.Bucket, i.Door, i.Key, holdall.ErrUnavailable)
		}
		known[i.Door] = true
	}
	return nil
}

// evidenceAt forgets what says nothing any more once m is in state to. The
// clean-run clock runs from shadow on, where both sides are read.
func (m *migrationRow) evidenceAt(to MigrationState, t *tx) {
	e := &m.Evidence
	e.Passes, e.Floor = 0, t.index
	switch {
	case to == StateShadow && m.State < to:
		e.CleanSince = t.now.time()
	case to < StateShadow:
		e.CleanSince = instant(0).time()
	}
	if to == StateAssess { // the source goes on alone
		e.Backfilled, e.CaughtUp = instant(0).time(), instant(0).time()
	}
}
