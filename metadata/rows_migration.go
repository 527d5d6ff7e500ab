package metadata

import (
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// Limits of the texts in rows of migrations, in bytes.
const (
	maxSourceText = 1 << 10 // an endpoint, a region, a bucket, a profile
	maxWalker     = 64
)

const (
	sourcePathStyle     = 1 << 0
	sourceUnconditional = 1 << 1
)

func putSource(dst []byte, s *Source) []byte {
	var flags byte
	if s.PathStyle {
		flags |= sourcePathStyle
	}
	if s.Unconditional {
		flags |= sourceUnconditional
	}
	dst = append(dst, flags)
	for _, text := range [...]string{s.Endpoint, s.Region, s.Bucket, s.Profile} {
		dst = putText(dst, text)
	}
	return dst
}

func (d *decoder) source(s *Source) {
	flags := d.byte()
	if flags&^(sourcePathStyle|sourceUnconditional) != 0 {
		d.fail(fmt.Errorf("source flags %#x", flags))
	}
	s.PathStyle, s.Unconditional = flags&sourcePathStyle != 0, flags&sourceUnconditional != 0
	for _, text := range [...]*string{&s.Endpoint, &s.Region, &s.Bucket, &s.Profile} {
		*text = d.text(maxSourceText)
	}
}

// appendMigration appends what of m changes with its state and its settings only.
func appendMigration(dst []byte, m *Migration) []byte {
	dst = append(dst, rowVersion, byte(m.State), byte(m.Step), byte(m.Policy))
	dst = putSource(putUvarint(dst, uint64(m.Namespace)), &m.Source)
	dst = putDuration(putDuration(dst, m.CleanRun), m.Window)
	dst = putUvarint(putUvarint(dst, m.Number), m.Began)
	dst = putTime(putTime(dst, m.Announced), m.Entered)
	return putTime(append(dst, m.Certificate[:]...), m.Certified)
}

// migration fills in m, but for its bucket and what counts has.
func (d *decoder) migration(m *Migration) {
	d.version()
	m.State, m.Step, m.Policy = MigrationState(d.byte()), MigrationState(d.byte()), MissPolicy(d.byte())
	if d.err == nil && (m.State < StateAssess || m.State > StateRetired || m.Step > StateRetired || m.Policy < MissOutbox || m.Policy > MissFail) {
		d.fail(fmt.Errorf("migration in state %d, step %d, policy %d", m.State, m.Step, m.Policy))
	}
	m.Namespace = d.namespace()
	d.source(&m.Source)
	m.CleanRun, m.Window = d.duration(), d.duration()
	m.Number, m.Began = d.uvarint(), d.uvarint()
	m.Announced, m.Entered = d.time(), d.time()
	copy(m.Certificate[:], d.take(len(m.Certificate)))
	m.Certified = d.time()
}

// appendCounts appends the rest of m: what changes with every write.
func appendCounts(dst []byte, m *Migration) []byte {
	e := &m.Evidence
	dst = append(dst, rowVersion)
	for _, n := range [...]int64{m.Intents, m.Entries, m.Quarantined, m.Exceptions, e.Copied, e.CopiedBytes, e.Mismatches} {
		dst = putCount(dst, n)
	}
	for _, at := range [...]time.Time{e.Backfilled, e.CaughtUp, e.Verified, e.LastFinding, e.CleanSince} {
		dst = putTime(dst, at)
	}
	return putUvarint(putUvarint(dst, uint64(e.Passes)), e.Floor)
}

func (d *decoder) counts(m *Migration) {
	e := &m.Evidence
	d.version()
	for _, n := range [...]*int64{&m.Intents, &m.Entries, &m.Quarantined, &m.Exceptions, &e.Copied, &e.CopiedBytes, &e.Mismatches} {
		*n = d.count()
	}
	for _, at := range [...]*time.Time{&e.Backfilled, &e.CaughtUp, &e.Verified, &e.LastFinding, &e.CleanSince} {
		*at = d.time()
	}
	e.Passes, e.Floor = d.uint32(), d.uvarint()
}

func appendDoor(dst []byte, w *Door) []byte {
	return putTime(putTime(append(dst, rowVersion), w.Started), w.Seen)
}

// door fills in w, but for its id.
func (d *decoder) door(w *Door) {
	d.version()
	w.Started, w.Seen = d.time(), d.time()
}

// appendIntent appends the value of i: all but its bucket and key.
func appendIntent(dst []byte, i *Intent) []byte {
	dst = append(append(append(dst, rowVersion, byte(i.Kind)), i.Op[:]...), i.Door[:]...)
	dst = append(dst, i.Upload[:]...)
	return append(putUvarint(putTime(dst, i.Since), i.Number), byte(i.State))
}

func (d *decoder) intent(i *Intent) {
	d.version()
	i.Kind = d.intentKind()
	i.Op, i.Door, i.Upload = d.putID(), d.doorID(), d.putID()
	i.Since, i.Number, i.State = d.time(), d.uvarint(), MigrationState(d.byte())
	if d.err == nil && !i.State.Mirrored() {
		d.fail(fmt.Errorf("an intent in state %d", i.State))
	}
}

func (d *decoder) intentKind() IntentKind {
	k := IntentKind(d.byte())
	if d.err == nil && (k < IntentPut || k > IntentRepair) {
		d.fail(fmt.Errorf("intent of kind %d", k))
	}
	return k
}

// appendOutbox appends the value of e: all but its bucket and key.
func appendOutbox(dst []byte, e *Entry) []byte {
	dst = putUvarint(append(dst, rowVersion, byte(e.Missed)), e.Seq)
	dst = putUvarint(putTime(dst, e.Since), uint64(e.Tries))
	return putText(putTime(putTime(dst, e.Next), e.Until), e.Reason)
}

func (d *decoder) entry(e *Entry) {
	d.version()
	e.Missed = d.side()
	if d.err == nil && e.Missed == SideNone {
		d.fail(fmt.Errorf("an entry that no side missed"))
	}
	e.Seq, e.Since, e.Tries = d.uvarint(), d.time(), d.uint32()
	e.Next, e.Until, e.Reason = d.time(), d.time(), d.text(maxReason)
}

func (d *decoder) side() Side {
	s := Side(d.byte())
	if s > SideCell {
		d.fail(fmt.Errorf("side %d", s))
	}
	return s
}

// appendQuarantine appends the value of q: all but its bucket and key.
func appendQuarantine(dst []byte, q *Quarantine) []byte {
	return putText(putUvarint(putTime(append(dst, rowVersion), q.Since), uint64(q.Tries)), q.Reason)
}

func (d *decoder) quarantine(q *Quarantine) {
	d.version()
	q.Since, q.Tries, q.Reason = d.time(), d.uint32(), d.text(maxReason)
}

// appendException appends the value of x: all but its bucket and key.
func appendException(dst []byte, x *Exception) []byte {
	return putTime(putText(putText(putText(append(dst, rowVersion), x.What), x.Reason), x.SignedBy), x.At)
}

func (d *decoder) exception(x *Exception) {
	d.version()
	x.What, x.Reason, x.SignedBy, x.At = d.text(maxReason), d.text(maxReason), d.text(maxLabel), d.time()
}

// A walker's progress is opaque; a number's row is a number.

func appendProgressOf(dst, progress []byte) []byte {
	return putBytes(append(dst, rowVersion), progress)
}

func (d *decoder) progressOf() []byte {
	d.version()
	return d.bytes(MaxProgress)
}

func appendAck(dst []byte, number uint64) []byte { return putUvarint(append(dst, rowVersion), number) }

func (d *decoder) ack() uint64 {
	d.version()
	return d.uvarint()
}

// Flags of a settlement.
const (
	settlementSet = 1 << 0 // the rest follows
	settlementEnd = 1 << 1
)

// putSettlement appends s, which most commits have none of: a zero byte.
func putSettlement(dst []byte, s *Settlement) []byte {
	if *s == (Settlement{}) {
		return append(dst, 0)
	}
	flags := byte(settlementSet)
	if s.End {
		flags |= settlementEnd
	}
	dst = putUvarint(append(append(dst, flags), s.Op[:]...), s.Number)
	dst = putTime(putText(append(dst, byte(s.Miss)), s.Reason), s.Until)
	return putUvarint(dst, s.Clear)
}

func (d *decoder) settlement(s *Settlement) {
	flags := d.byte()
	if flags&^(settlementSet|settlementEnd) != 0 {
		d.fail(fmt.Errorf("settlement flags %#x", flags))
	}
	if flags == 0 {
		return
	}
	s.End = flags&settlementEnd != 0
	s.Op, s.Number, s.Miss = d.putID(), d.uvarint(), d.side()
	s.Reason, s.Until, s.Clear = d.text(maxReason), d.time(), d.uvarint()
	if d.err == nil && (flags&settlementSet == 0 || *s == (Settlement{})) {
		d.notZero(0)
	}
}

// check finds what is wrong with s whatever the state is.
func (s *Settlement) check() error {
	switch {
	case s.Op == (holdall.PutID{}) && (s.End || s.Clear != 0):
	case s.Miss > SideCell || len(s.Reason) > maxReason:
	case s.Miss == SideNone && (s.Reason != "" || !s.Until.IsZero()):
	case s.Miss != SideNone && s.Clear != 0:
	default:
		return nil
	}
	return fmt.Errorf("metadata: settlement of op %v: miss %d, reason of %d bytes, until %v, clear %d, end %t: %w",
		s.Op, s.Miss, len(s.Reason), s.Until, s.Clear, s.End, holdall.ErrInvalid)
}

// putFacts appends f, which most versions have none of: a zero byte.
func putFacts(dst []byte, f *SourceFacts) []byte {
	if f.ETag == "" && f.Version == "" && toInstant(f.Modified) == 0 {
		return append(dst, 0)
	}
	return putTime(putText(putText(append(dst, 1), f.ETag), f.Version), f.Modified)
}

func (d *decoder) facts(f *SourceFacts) {
	if !d.bool() {
		return
	}
	d.sourceFacts(f)
}

// sourceFacts reads facts that are not zero.
func (d *decoder) sourceFacts(f *SourceFacts) {
	f.ETag, f.Version, f.Modified = d.text(MaxETag), d.text(MaxSourceVersion), d.time()
	if d.err == nil && *f == (SourceFacts{}) {
		d.notZero(0)
	}
}

func (f *SourceFacts) check() error {
	if len(f.ETag) > MaxETag || len(f.Version) > MaxSourceVersion {
		return fmt.Errorf("metadata: ETag of %d bytes, version id of %d at the source: the most are %d, %d: %w",
			len(f.ETag), len(f.Version), MaxETag, MaxSourceVersion, holdall.ErrInvalid)
	}
	return nil
}
