package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

// The log is a Pebble of its own, with a write-ahead log: its syncs are what
// makes an entry durable. Keys:
//
//	'l', index (8 bytes, big-endian)  an entry; value: see appendEntry
//	's', name                         the stable store: term and vote
const (
	logPrefix    = 'l'
	stablePrefix = 's'
)

// logStore keeps Raft's entries and its vote. Entries are contiguous: no gaps.
// It is safe for concurrent use.
type logStore struct {
	db   *pebble.DB
	dead *fatality
	now  func() time.Time
	tail logTail

	mu    sync.Mutex // guards all below; never held across I/O
	first uint64     // 0: the log is empty
	last  uint64
	floor uint64        // the state is flushed up to here: no entry above is truncated
	keep  time.Duration // entries younger than this stay, for followers that are behind
}

// openLogStore reads the bounds of the log in db. dead is asked after every
// commit, because Pebble returns success from a commit that its logger was told
// is fatal.
func openLogStore(db *pebble.DB, dead *fatality, now func() time.Time) (*logStore, error) {
	s := &logStore{db: db, dead: dead, now: now}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{logPrefix}, UpperBound: []byte{logPrefix + 1}})
	if err != nil {
		return nil, fmt.Errorf("metadata log: %w: %w", err, holdall.ErrUnavailable)
	}
	defer it.Close()
	if it.First() {
		if s.first, err = parseLogKey(it.Key()); err != nil {
			return nil, err
		}
	}
	if it.Last() {
		if s.last, err = parseLogKey(it.Key()); err != nil {
			return nil, err
		}
	}
	if err := it.Error(); err != nil {
		return nil, fmt.Errorf("metadata log: read bounds: %w: %w", err, holdall.ErrCorrupt)
	}
	return s, nil
}

func logKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{logPrefix}, index)
}

func parseLogKey(k []byte) (uint64, error) {
	if len(k) != 9 || k[0] != logPrefix {
		return 0, fmt.Errorf("metadata log: key %x: want 'l' and 8 bytes: %w", k, holdall.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(k[1:]), nil
}

// IsMonotonic tells Raft that the log cannot have gaps, so that an installed
// snapshot clears it instead of leaving old entries below the gap.
func (s *logStore) IsMonotonic() bool { return true }

// FirstIndex returns the index of the oldest entry, 0 if there is none.
func (s *logStore) FirstIndex() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first, nil
}

// LastIndex returns the index of the newest entry, 0 if there is none.
func (s *logStore) LastIndex() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, nil
}

// GetLog reads the entry at index into log. It returns raft.ErrLogNotFound,
// which Raft compares by identity, if there is none.
func (s *logStore) GetLog(index uint64, log *raft.Log) (err error) {
	if e, ok := s.tail.get(index); ok {
		*log = e
		return nil
	}
	defer func() {
		// A goroutine of Raft that reports the age of the log is not waited for
		// when Raft stops; reading a closed Pebble panics.
		if p := recover(); p == pebble.ErrClosed {
			err = pebble.ErrClosed
		} else if p != nil {
			panic(p)
		}
	}()
	v, closer, err := s.db.Get(logKey(index))
	if errors.Is(err, pebble.ErrNotFound) {
		return raft.ErrLogNotFound
	}
	if err != nil {
		return fmt.Errorf("metadata log: read entry %d: %w", index, err)
	}
	defer closer.Close()
	return parseEntry(index, v, log)
}

// StoreLog stores one entry; see StoreLogs.
func (s *logStore) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs appends entries, which follow the last without a gap, in one batch
// with one sync: whatever callers waited together becomes durable together.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	first, last := logs[0].Index, logs[len(logs)-1].Index
	s.mu.Lock()
	end, empty := s.last, s.first == 0
	s.mu.Unlock()
	for i, l := range logs {
		if l.Index != first+uint64(i) || (!empty && first != end+1) {
			return fmt.Errorf("metadata log: entry %d among %d to %d does not follow entry %d: %w", l.Index, first, last, end, holdall.ErrInvalid)
		}
	}
	b := s.db.NewBatch()
	defer b.Close()
	var buf []byte
	for _, l := range logs {
		buf = appendEntry(buf[:0], l)
		if err := b.Set(logKey(l.Index), buf, nil); err != nil {
			return fmt.Errorf("metadata log: entry %d: %w", l.Index, err)
		}
	}
	if err := s.commit(b, pebble.Sync); err != nil {
		return fmt.Errorf("metadata log: append entries %d to %d: %w", first, last, err)
	}
	s.mu.Lock()
	if s.first == 0 {
		s.first = first
	}
	s.last = last
	s.mu.Unlock()
	s.tail.add(logs)
	return nil
}

// commit makes b durable. A Pebble that failed is not to be believed, whatever
// it returned.
func (s *logStore) commit(b *pebble.Batch, o *pebble.WriteOptions) error {
	if err := s.dead.err(); err != nil {
		return err
	}
	if err := b.Commit(o); err != nil {
		return err
	}
	return s.dead.err()
}

// joinState makes log and state agree at a start, when the state is flushed up
// to p. An entry between them that is missing is ErrCorrupt: nothing can be
// applied after it. A log that the state has left behind, or contradicts at p,
// is what an installed snapshot replaced just before a crash, and goes.
func (s *logStore) joinState(p *progress) error {
	s.setFlushed(p.index)
	s.mu.Lock()
	first, last := s.first, s.last
	s.mu.Unlock()
	switch {
	case first == 0:
		return nil
	case first > p.index+1:
		return fmt.Errorf("metadata log: begins at entry %d, the state ends at %d: rebuild the metadata from the disks: %w", first, p.index, holdall.ErrCorrupt)
	case last < p.index:
		return s.reset()
	case first > p.index:
		return nil
	}
	var l raft.Log
	if err := s.GetLog(p.index, &l); err != nil {
		return fmt.Errorf("%w: %w", err, holdall.ErrCorrupt)
	}
	if l.Term != p.term {
		return s.reset()
	}
	return nil
}

// setFlushed lets entries up to index be truncated: the state holds them on its
// own. It never goes down.
func (s *logStore) setFlushed(index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor = max(s.floor, index)
}

// setKeep sets how long entries stay although the state has been flushed.
func (s *logStore) setKeep(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = d
}

// DeleteRange removes entries lo to hi. There are two callers in Raft. One
// drops a tail that a new leader contradicts: exactly lo to hi go, durably. The
// other truncates below a snapshot: what the state has not flushed, and what
// followers may still want, stays, whatever Raft asks; and it need not be
// durable, because entries that come back are only older than needed.
func (s *logStore) DeleteRange(lo, hi uint64) error {
	s.mu.Lock()
	first, last, floor, keep := s.first, s.last, s.floor, s.keep
	s.mu.Unlock()
	if first == 0 || hi < first || lo > last {
		return nil
	}
	if lo > first {
		if hi < last {
			return fmt.Errorf("metadata log: delete %d to %d out of %d to %d would leave a gap: %w", lo, hi, first, last, holdall.ErrInvalid)
		}
		return s.cut(lo, last, pebble.Sync)
	}
	if lo > floor { // the whole log is a contradicted tail
		return s.cut(first, min(hi, last), pebble.Sync)
	}
	hi = min(hi, floor, last)
	if keep > 0 {
		var err error
		if hi, err = s.oldEnough(first, hi, s.now().Add(-keep)); err != nil {
			return err
		}
	}
	if hi < first {
		return nil
	}
	return s.cut(first, hi, pebble.NoSync)
}

// reset empties the log: an installed snapshot replaced all that it held.
func (s *logStore) reset() error {
	s.mu.Lock()
	first, last := s.first, s.last
	s.mu.Unlock()
	if first == 0 {
		return nil
	}
	return s.cut(first, last, pebble.Sync)
}

// cut removes lo to hi, which is a prefix or a suffix of the log.
func (s *logStore) cut(lo, hi uint64, o *pebble.WriteOptions) error {
	b := s.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange(logKey(lo), logKey(hi+1), nil); err != nil {
		return fmt.Errorf("metadata log: delete entries %d to %d: %w", lo, hi, err)
	}
	s.tail.drop(lo, hi)
	if err := s.commit(b, o); err != nil {
		return fmt.Errorf("metadata log: delete entries %d to %d: %w", lo, hi, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case lo == s.first && hi == s.last:
		s.first, s.last = 0, 0
	case lo == s.first:
		s.first = hi + 1
	default:
		s.last = lo - 1
	}
	return nil
}

// oldEnough returns the last index of lo to hi whose entry was appended at or
// before t, lo-1 if none was. Times rise with the index, but for a leader's
// clock that differed from its predecessor's: then a few more or fewer stay.
func (s *logStore) oldEnough(lo, hi uint64, t time.Time) (uint64, error) {
	for lo <= hi {
		mid := lo + (hi-lo)/2
		var l raft.Log
		if err := s.GetLog(mid, &l); err != nil {
			return 0, fmt.Errorf("metadata log: truncate: %w", err)
		}
		if l.AppendedAt.After(t) {
			hi = mid - 1
		} else {
			lo = mid + 1
		}
	}
	return hi, nil
}

// appendEntry adds the stored form of l: type (1 byte), term (uvarint), time of
// append in Unix nanoseconds (varint; 0 = not known), length of extensions
// (uvarint), extensions, data.
func appendEntry(b []byte, l *raft.Log) []byte {
	b = append(b, byte(l.Type))
	b = binary.AppendUvarint(b, l.Term)
	var at int64
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	b = binary.AppendVarint(b, at)
	b = binary.AppendUvarint(b, uint64(len(l.Extensions)))
	b = append(b, l.Extensions...)
	return append(b, l.Data...)
}

// parseEntry is the inverse of appendEntry. It copies what it keeps of b.
func parseEntry(index uint64, b []byte, l *raft.Log) error {
	bad := func(what string) error {
		return fmt.Errorf("metadata log: entry %d: bad %s: %w", index, what, holdall.ErrCorrupt)
	}
	if len(b) == 0 || b[0] > byte(raft.LogConfiguration) {
		return bad("type")
	}
	*l = raft.Log{Index: index, Type: raft.LogType(b[0])}
	b = b[1:]
	term, n := binary.Uvarint(b)
	if n <= 0 {
		return bad("term")
	}
	l.Term, b = term, b[n:]
	at, n := binary.Varint(b)
	if n <= 0 {
		return bad("time")
	}
	if b = b[n:]; at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	ext, n := binary.Uvarint(b)
	if n <= 0 || ext > uint64(len(b)-n) {
		return bad("length of extensions")
	}
	b = b[n:]
	rest := append([]byte(nil), b...) // one copy for both
	if ext > 0 {
		l.Extensions = rest[:ext:ext]
	}
	if uint64(len(rest)) > ext {
		l.Data = rest[ext:]
	}
	return nil
}

// length returns the number of entries.
func (s *logStore) length() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == 0 {
		return 0
	}
	return s.last - s.first + 1
}
