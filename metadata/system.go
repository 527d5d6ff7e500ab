package metadata

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// system is the system table: what the machine keeps of the cell as a whole.
// Two rows: the cell, which hardly ever changes, and the progress, which every
// entry writes.
type system struct {
	Cell
	sum      uint64 // running checksum of all changes
	counters counters
}

// counters give out ids. They only rise.
type counters struct {
	session, volume, task uint64
	sessions, disks       int64 // rows of those tables

	namespace, bucket, version   uint64
	spaces, buckets, credentials int64 // rows; of buckets, those with a name
}

// load reads the system table, or leaves s zero if the state is empty.
func (s *system) load(r pebble.Reader) error {
	for _, row := range []struct {
		key    []byte
		decode func(*decoder)
	}{{keyCell[:], s.decodeCell}, {keyProgress[:], s.decodeProgress}} {
		v, closer, err := r.Get(row.key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("metadata: read the system table: %w: %w", err, holdall.ErrUnavailable)
		}
		err = decodeRow(row.key, v, row.decode)
		if err := errors.Join(err, closer.Close()); err != nil {
			return err
		}
	}
	return nil
}

// cellChanged says whether the row of the cell differs from that of old.
func (s *system) cellChanged(old *system) bool {
	return s.ID != old.ID || s.Format != old.Format || s.Incarnation != old.Incarnation ||
		s.Quarantine != old.Quarantine || s.Gate != old.Gate
}

func (s *system) appendCell(dst []byte) []byte {
	dst = append(append(dst, rowVersion), s.ID[:]...)
	dst = putUvarint(putUvarint(dst, uint64(s.Format)), uint64(s.Incarnation))
	return putUvarint(putText(dst, s.Quarantine), uint64(s.Gate))
}

func (s *system) decodeCell(d *decoder) {
	d.version()
	copy(s.ID[:], d.take(len(s.ID)))
	s.Format, s.Incarnation = d.uint32(), d.uint32()
	s.Quarantine, s.Gate = d.text(maxReason), Gate(d.uint32())
}

func (s *system) appendProgress(dst []byte) []byte {
	dst = putTime(putUvarint(putUvarint(append(dst, rowVersion), s.Applied), s.Term), s.Clock)
	for _, n := range [...]int64{s.Blocks, s.Bytes, s.Live, s.LiveBytes, s.Volumes, s.counters.sessions, s.counters.disks,
		s.counters.spaces, s.counters.buckets, s.counters.credentials} {
		dst = putCount(dst, n)
	}
	for _, n := range [...]uint64{s.FirstChange, s.LastChange, s.counters.session, s.counters.volume, s.counters.task,
		s.counters.namespace, s.counters.bucket, s.counters.version} {
		dst = putUvarint(dst, n)
	}
	dst = appendBreaker(dst, &s.Breaker)
	return putBig64(dst, s.sum)
}

func (s *system) decodeProgress(d *decoder) {
	d.version()
	s.Applied, s.Term, s.Clock = d.uvarint(), d.uvarint(), d.time()
	for _, n := range [...]*int64{&s.Blocks, &s.Bytes, &s.Live, &s.LiveBytes, &s.Volumes, &s.counters.sessions, &s.counters.disks,
		&s.counters.spaces, &s.counters.buckets, &s.counters.credentials} {
		*n = d.count()
	}
	for _, n := range [...]*uint64{&s.FirstChange, &s.LastChange, &s.counters.session, &s.counters.volume, &s.counters.task,
		&s.counters.namespace, &s.counters.bucket, &s.counters.version} {
		*n = d.uvarint()
	}
	d.breaker(&s.Breaker)
	s.sum = d.big64()
}

func appendBreaker(dst []byte, b *Breaker) []byte {
	dst = putCount(putUvarint(dst, uint64(b.Share)), b.Floor)
	dst = putTime(putBool(dst, b.Tripped), b.WindowStart)
	return putTime(putCount(putCount(dst, b.Allowance), b.Purged), b.Released)
}

func (d *decoder) breaker(b *Breaker) {
	b.Share, b.Floor, b.Tripped = d.uint32(), d.count(), d.bool()
	b.WindowStart, b.Allowance, b.Purged, b.Released = d.time(), d.count(), d.count(), d.time()
}
