package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/holdall/holdall"
)

// An instant is milliseconds since 1970, UTC; 0 = never. Time enters the state
// machine only in entries, and only as this.
type instant uint64

// maxInstant bounds what a decoder takes for a time: the year 10889.
const maxInstant instant = 1 << 48

func toInstant(t time.Time) instant {
	if t.IsZero() || t.UnixMilli() < 0 {
		return 0
	}
	return min(instant(t.UnixMilli()), maxInstant)
}

func (i instant) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(i)).UTC()
}

// after returns i + d, d rounded down to a millisecond and never negative.
func (i instant) after(d time.Duration) instant {
	return min(i+instant(max(0, d.Milliseconds())), maxInstant)
}

func putUvarint(dst []byte, v uint64) []byte { return binary.AppendUvarint(dst, v) }

// putCount appends a number that is never negative.
func putCount(dst []byte, v int64) []byte {
	if v < 0 {
		panic(fmt.Sprintf("metadata: encode of the negative count %d", v))
	}
	return binary.AppendUvarint(dst, uint64(v))
}

func putTime(dst []byte, t time.Time) []byte { return putUvarint(dst, uint64(toInstant(t))) }

func putText(dst []byte, s string) []byte { return append(putUvarint(dst, uint64(len(s))), s...) }

func putBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// putEpoch appends incarnation and counter as two varints: both are small, as
// one number they would not be.
func putEpoch(dst []byte, e holdall.Epoch) []byte {
	return putUvarint(putUvarint(dst, uint64(e.Incarnation())), e.Counter())
}

func putVolumeID(dst []byte, v holdall.VolumeID) []byte {
	return putUvarint(putUvarint(dst, uint64(v.Incarnation())), v.Counter())
}

func putLocation(dst []byte, l holdall.Location) []byte {
	dst = append(putVolumeID(dst, l.Volume), l.Member)
	return putUvarint(putCount(dst, l.Offset), uint64(l.Length))
}

// A decoder reads what the put functions wrote. The first fault sticks; after
// it every read gives zeros, so callers check once, with finish. It refuses
// what no encoder writes (long forms of varints, values out of range), so one
// value has one encoding.
type decoder struct {
	b   []byte
	err error
}

var errShort = errors.New("ends too early")

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

// finish returns the first fault; bytes left over are one.
func (d *decoder) finish() error {
	if d.err == nil && len(d.b) != 0 {
		d.fail(fmt.Errorf("%d bytes too many", len(d.b)))
	}
	return d.err
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errShort)
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 { // most are one byte
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.b)
	switch {
	case n == 0:
		d.fail(errShort)
		return 0
	case n < 0 || d.b[n-1] == 0:
		d.fail(errors.New("a number in a form that is too long"))
		return 0
	}
	d.b = d.b[n:]
	return v
}

// upTo reads a number that is at most limit.
func (d *decoder) upTo(limit uint64) uint64 {
	v := d.uvarint()
	if v > limit {
		d.fail(fmt.Errorf("number %d is over the limit %d", v, limit))
		return 0
	}
	return v
}

func (d *decoder) count() int64   { return int64(d.upTo(math.MaxInt64)) }
func (d *decoder) uint32() uint32 { return uint32(d.upTo(math.MaxUint32)) }

// length reads the number of things that follow, each of at least size bytes:
// memory is never taken for more than the input can hold.
func (d *decoder) length(limit, size int) int {
	n := int(d.upTo(uint64(limit)))
	if n*size > len(d.b) {
		d.fail(errShort)
		return 0
	}
	return n
}

func (d *decoder) bool() bool {
	v := d.byte()
	if v > 1 {
		d.fail(fmt.Errorf("truth value %d", v))
	}
	return v == 1
}

// take returns the next n bytes, which alias the input.
func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.fail(errShort)
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) text(limit int) string { return string(d.take(d.length(limit, 1))) }
func (d *decoder) instant() instant      { return instant(d.upTo(uint64(maxInstant))) }
func (d *decoder) time() time.Time       { return d.instant().time() }

func (d *decoder) epoch() holdall.Epoch {
	i, c := d.upTo(1<<20-1), d.upTo(1<<44-1)
	return holdall.MakeEpoch(uint32(i), c)
}

func (d *decoder) volumeID() holdall.VolumeID {
	i, c := d.upTo(1<<16-1), d.upTo(1<<48-1)
	return holdall.MakeVolumeID(uint32(i), c)
}

func (d *decoder) location() (l holdall.Location) {
	l.Volume, l.Member = d.volumeID(), d.byte()
	l.Offset, l.Length = d.count(), d.uint32()
	return l
}

func (d *decoder) blockID() (id holdall.BlockID) { copy(id[:], d.take(len(id))); return id }
func (d *decoder) diskID() (id holdall.DiskID)   { copy(id[:], d.take(len(id))); return id }

func (d *decoder) namespace() holdall.NamespaceID { return holdall.NamespaceID(d.uint32()) }

// duration reads milliseconds.
func (d *decoder) duration() time.Duration {
	return time.Duration(d.upTo(uint64(math.MaxInt64/time.Millisecond))) * time.Millisecond
}

func putDuration(dst []byte, v time.Duration) []byte { return putCount(dst, v.Milliseconds()) }
