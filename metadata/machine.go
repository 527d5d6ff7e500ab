package metadata

import (
	"errors"
	"fmt"
	"hash/crc64"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// A machine applies entries to the state in a Pebble. It is deterministic: what
// an entry does depends on the state and on the entry's bytes alone, never on a
// clock, on chance, on the order of a map, or on what is in memory. It owns
// neither the Pebble nor any goroutine. One goroutine applies; any may read the
// Pebble, through snapshots of it.
type machine struct {
	db      *pebble.DB
	known   Gate // the highest gate that this process knows
	sys     system
	applied atomic.Uint64
	touched []holdall.VolumeID // volumes whose rows the last entry may have changed
}

// A fault is an error that stops this voter: its state cannot be read or
// written, or is not what it must be. What is not a fault is a refusal, which
// is an answer as good as any.
type fault struct{ err error }

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func faultf(format string, args ...any) error { return &fault{fmt.Errorf(format, args...)} }

// newMachine returns a machine that goes on from the state in db: an empty one
// is the state before the first entry. Errors wrap ErrCorrupt, or ErrRefused for
// a state that a later release wrote.
func newMachine(db *pebble.DB) (*machine, error) {
	m := &machine{db: db, known: newestGate}
	if err := m.sys.load(db); err != nil {
		return nil, err
	}
	if m.sys.Format > FormatVersion || m.sys.Gate > m.known {
		return nil, fmt.Errorf("metadata: state has format %d and gate %d, this process knows %d and %d: upgrade it: %w",
			m.sys.Format, m.sys.Gate, FormatVersion, m.known, holdall.ErrRefused)
	}
	m.applied.Store(m.sys.Applied)
	return m, nil
}

// appliedIndex returns the Raft index of the last entry applied. It may be
// called while apply runs.
func (m *machine) appliedIndex() uint64 { return m.applied.Load() }

// apply carries out one entry and returns its answer, for decodeAnswer. The
// effect, the answer and the index go into one Pebble batch, without a sync. An
// index that was applied before has no effect and no answer. An error is fatal:
// this voter must apply nothing more.
func (m *machine) apply(index, term uint64, entry []byte) (answer []byte, err error) {
	m.touched = m.touched[:0]
	if index <= m.sys.Applied {
		return nil, nil
	}
	h, c, err := decodeCommand(entry)
	if err != nil {
		return nil, fmt.Errorf("metadata: apply of entry %d: %w", index, err)
	}
	t := &tx{m: m, index: index, term: term, time: h.Time}
	t.begin()
	defer func() { err = errors.Join(err, t.end()) }()
	answer, err = t.answer(h, c)
	if err == nil {
		err = t.commit()
	}
	if err != nil {
		return nil, fmt.Errorf("metadata: apply of %T, entry %d: %w", c, index, err)
	}
	m.sys = t.sys
	for _, v := range t.touched {
		m.touched = append(m.touched, v.ID)
	}
	m.applied.Store(index)
	return answer, nil
}

// A tx is the effect of one entry, while it is being worked out.
type tx struct {
	m           *machine
	index, term uint64
	time        instant // the entry's
	now         instant // that, but never before the state's clock

	b       *pebble.Batch // indexed: what the tx wrote so far can be read
	finder  *finder       // of blocks, in the state before the tx; nil until the first is wanted
	sys     system
	blocks  map[BlockKey]Block // read or changed so far
	volumes map[holdall.VolumeID]*volumeRow
	touched []*volumeRow // in the order of first use
	spaces  map[holdall.NamespaceID]*spaceRow
	spaced  []*spaceRow // in the order of first use
	buckets []*bucketRow

	migrations []*migrationRow

	key []byte // scratch
	val []byte // scratch
}

// volumeRow is a volume as the tx has it so far.
type volumeRow struct {
	Volume
	found bool // there was such a row, or there is now
	dirty bool
}

// spaceRow is a namespace as the tx has it so far, and as it found it.
type spaceRow struct {
	Namespace, was Namespace
	gone           bool
}

// begin throws away what the tx did so far.
func (t *tx) begin() {
	if t.b != nil {
		t.b.Close()
	}
	t.b = t.m.db.NewIndexedBatch()
	t.blocks = make(map[BlockKey]Block)
	t.volumes = make(map[holdall.VolumeID]*volumeRow)
	t.spaces = make(map[holdall.NamespaceID]*spaceRow)
	t.sys = t.m.sys
	t.now = max(t.time, toInstant(t.sys.Clock))
	t.sys.Clock = t.now.time()
	t.touched, t.spaced, t.buckets, t.migrations = t.touched[:0], t.spaced[:0], nil, nil
}

// end lets go of what the tx holds.
func (t *tx) end() error {
	err := t.b.Close()
	if t.finder != nil {
		err = errors.Join(err, t.finder.close())
	}
	return err
}

// run carries out c. A refusal undoes whatever c did before it refused.
func (t *tx) run(c command) ([]byte, error) {
	if gate := commandGate(c.tag()); gate > t.sys.Gate {
		return encodeAnswer(nil, fmt.Errorf("metadata: %T needs feature gate %d, which is not raised (at %d): %w",
			c, gate, t.sys.Gate, holdall.ErrRefused)), nil
	}
	r, err := c.run(t)
	if err != nil {
		var f *fault
		if errors.As(err, &f) {
			return nil, err
		}
		t.begin()
	}
	return encodeAnswer(r, err), nil
}

// commit writes the rows that the tx kept back, the progress, and the batch.
func (t *tx) commit() error {
	for _, v := range t.touched {
		if err := t.flushVolume(v); err != nil {
			return err
		}
	}
	for _, n := range t.spaced {
		switch {
		case n.gone:
			t.unset(appendNamespaceKey(t.key[:0], n.Namespace.ID))
		case n.Namespace != n.was:
			t.set(appendNamespaceKey(t.key[:0], n.Namespace.ID), appendNamespace(t.val[:0], &n.Namespace))
		}
	}
	t.flushBuckets()
	if err := t.flushMigrations(); err != nil {
		return err
	}
	t.noteChecksum()
	t.sys.Applied, t.sys.Term = t.index, t.term
	if t.sys.cellChanged(&t.m.sys) {
		t.put(keyCell[:], t.sys.appendCell(t.val[:0]))
	}
	t.put(keyProgress[:], t.sys.appendProgress(t.val[:0]))
	if err := t.m.db.Apply(t.b, pebble.NoSync); err != nil {
		return faultf("write the batch: %w", err)
	}
	return nil
}

// checksumEvery is the entries between two checksums that voters compare.
const checksumEvery = 10_000

// keepChecksums is how many of them are kept.
const keepChecksums = 64

var crcTable = crc64.MakeTable(crc64.ECMA)

// noteChecksum stores the running checksum of all changes before this entry,
// if a multiple of checksumEvery lies between the last entry and this one.
// Voters apply the same entries, so they note the same.
func (t *tx) noteChecksum() {
	at := (t.index - 1) / checksumEvery * checksumEvery
	if at == 0 || at < t.sys.Applied {
		return
	}
	t.put(appendChecksumKey(t.key[:0], at), putBig64(t.val[:0], t.m.sys.sum))
	if at > keepChecksums*checksumEvery {
		lower := appendChecksumKey(nil, 0)
		upper := appendChecksumKey(nil, at-keepChecksums*checksumEvery)
		t.must(t.b.DeleteRange(lower, upper, nil))
	}
}

// set and unset change a row and note it in the running checksum.
func (t *tx) set(key, value []byte) {
	t.sum(key, value)
	t.put(key, value)
}

func (t *tx) unset(key []byte) {
	t.sum(key, nil)
	t.must(t.b.Delete(key, nil))
}

func (t *tx) unsetRange(lower, upper []byte) {
	t.sum(lower, upper)
	t.must(t.b.DeleteRange(lower, upper, nil))
}

func (t *tx) sum(key, value []byte) {
	s := crc64.Update(t.sys.sum, crcTable, key)
	t.sys.sum = crc64.Update(s, crcTable, value)
}

func (t *tx) put(key, value []byte) { t.must(t.b.Set(key, value, nil)) }

// must takes the errors of a batch in memory, which has none to give.
func (t *tx) must(err error) {
	if err != nil {
		panic(fmt.Sprintf("metadata: change a batch in memory: %v", err))
	}
}

// read returns the value of key as the tx has it so far, or false. The bytes
// are valid until the next read.
func (t *tx) read(key []byte) ([]byte, bool, error) {
	v, closer, err := t.b.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, faultf("read %x: %w", key, err)
	}
	t.val = append(t.val[:0], v...)
	if err := closer.Close(); err != nil {
		return nil, false, faultf("read %x: %w", key, err)
	}
	return t.val, true, nil
}
