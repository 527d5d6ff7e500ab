package metadata

import (
	"iter"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// readMigration returns the migration of a bucket, or false.
func readMigration(r pebble.Reader, b holdall.BucketID) (Migration, bool, error) {
	m := Migration{Bucket: b}
	ok, err := get(r, appendMigrationKey(nil, tableMigration, b), func(d *decoder) { d.migration(&m) })
	if err != nil || !ok {
		return m, false, err
	}
	_, err = get(r, appendMigrationKey(nil, tableCounts, b), func(d *decoder) { d.counts(&m) })
	return m, err == nil, err
}

// migrations yields all migrations by bucket, without evidence and counts.
func migrations(r pebble.Reader) iter.Seq2[Migration, error] {
	lower := []byte{prefixMigration, tableMigration}
	return table(r, lower, after(lower), func(kv row) (m Migration, err error) {
		if m.Bucket, err = parseMigrationKey(kv.key, tableMigration); err != nil {
			return m, err
		}
		return m, decodeRow(kv.key, kv.value, func(d *decoder) { d.migration(&m) })
	})
}

// countedMigrations yields all migrations by bucket.
func countedMigrations(r pebble.Reader) iter.Seq2[Migration, error] {
	return func(yield func(Migration, error) bool) {
		for m, err := range migrations(r) {
			if err == nil {
				m, _, err = readMigration(r, m.Bucket)
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// doors yields all doors by id.
func doors(r pebble.Reader) iter.Seq2[Door, error] {
	lower := []byte{prefixMigration, tableDoor}
	return table(r, lower, after(lower), func(kv row) (w Door, err error) {
		if w.ID, err = parseDoorKey(kv.key); err != nil {
			return w, err
		}
		return w, decodeRow(kv.key, kv.value, func(d *decoder) { d.door(&w) })
	})
}

// ack is that a door has acknowledged a number.
type ack struct {
	Bucket holdall.BucketID
	Door   DoorID
	Number uint64
}

// acks yields what was acknowledged of a bucket, by door.
func acks(r pebble.Reader, b holdall.BucketID) iter.Seq2[ack, error] {
	return acksIn(r, appendMigrationKey(nil, tableAck, b))
}

func acksIn(r pebble.Reader, lower []byte) iter.Seq2[ack, error] {
	return table(r, lower, after(lower), func(kv row) (a ack, err error) {
		if a.Bucket, a.Door, err = parseAckKey(kv.key); err != nil {
			return a, err
		}
		return a, decodeRow(kv.key, kv.value, func(d *decoder) { a.Number = d.ack() })
	})
}

// keyed yields the rows of a table that are of keys of a bucket above after, by
// key; with bucket 0, all rows of the table.
func keyed[T any](r pebble.Reader, kind byte, b holdall.BucketID, above string, decode func(b holdall.BucketID, key string, d *decoder) T) iter.Seq2[T, error] {
	lower := []byte{prefixMigration, kind}
	if b != 0 {
		lower = appendMigrationKey(nil, kind, b)
	}
	upper := after(lower)
	if above != "" {
		lower = append(append(lower, above...), 0)
	}
	return table(r, lower, upper, func(kv row) (v T, err error) {
		of, key, err := parseWriteKey(kv.key, kind)
		if err != nil {
			return v, err
		}
		return v, decodeRow(kv.key, kv.value, func(d *decoder) { v = decode(of, key, d) })
	})
}

func intents(r pebble.Reader, b holdall.BucketID, above string) iter.Seq2[Intent, error] {
	return keyed(r, tableIntent, b, above, func(b holdall.BucketID, key string, d *decoder) (i Intent) {
		i.Bucket, i.Key = b, key
		d.intent(&i)
		return i
	})
}

func outbox(r pebble.Reader, b holdall.BucketID, above string) iter.Seq2[Entry, error] {
	return keyed(r, tableOutbox, b, above, func(b holdall.BucketID, key string, d *decoder) Entry {
		e := Entry{Bucket: b, Key: key}
		d.entry(&e)
		return e
	})
}

func quarantines(r pebble.Reader, b holdall.BucketID, above string) iter.Seq2[Quarantine, error] {
	return keyed(r, tableQuarantine, b, above, func(b holdall.BucketID, key string, d *decoder) Quarantine {
		q := Quarantine{Bucket: b, Key: key}
		d.quarantine(&q)
		return q
	})
}

func exceptions(r pebble.Reader, b holdall.BucketID, above string) iter.Seq2[Exception, error] {
	return keyed(r, tableException, b, above, func(b holdall.BucketID, key string, d *decoder) Exception {
		x := Exception{Bucket: b, Key: key}
		d.exception(&x)
		return x
	})
}

// walkerRow is a walker's progress.
type walkerRow struct {
	Bucket   holdall.BucketID
	Walker   string
	Progress []byte
}

func walkers(r pebble.Reader, b holdall.BucketID) iter.Seq2[walkerRow, error] {
	return keyed(r, tableWalker, b, "", func(b holdall.BucketID, key string, d *decoder) walkerRow {
		return walkerRow{b, key, d.progressOf()}
	})
}

// due is a line of the index of the outbox.
type due struct {
	Bucket holdall.BucketID
	Next   instant
	Key    string
}

// dueKeys yields the keys of a bucket that are due at a time, the longest due
// first; with bucket 0, all lines.
func dueKeys(r pebble.Reader, b holdall.BucketID, now instant) iter.Seq2[due, error] {
	lower := []byte{prefixMigration, tableDue}
	upper := after(lower)
	if b != 0 {
		lower = appendMigrationKey(nil, tableDue, b)
		upper = putBig64(appendMigrationKey(nil, tableDue, b), uint64(now)+1)
	}
	return table(r, lower, upper, func(kv row) (l due, err error) {
		l.Bucket, l.Next, l.Key, err = parseDueKey(kv.key)
		return l, err
	})
}

// readSide returns where a key of a bucket under migration is read.
func readSide(r pebble.Reader, m *Migration, key string) (Side, error) {
	i, ok, err := readIntent(r, m.Bucket, key)
	if err != nil || ok && i.Straddles(m) && i.State.Decides() != m.State.Decides() {
		return i.State.Decides(), err
	}
	if !m.State.CellDecides() {
		return SideSource, nil
	}
	e, ok, err := readEntry(r, m.Bucket, key)
	if err != nil || ok && e.Missed == SideCell {
		return SideSource, err
	}
	return SideCell, nil
}

func readIntent(r pebble.Reader, b holdall.BucketID, key string) (Intent, bool, error) {
	i := Intent{IntentRequest: IntentRequest{Bucket: b, Key: key}}
	ok, err := get(r, appendWriteKey(nil, tableIntent, b, key), func(d *decoder) { d.intent(&i) })
	return i, ok, err
}

func readEntry(r pebble.Reader, b holdall.BucketID, key string) (Entry, bool, error) {
	e := Entry{Bucket: b, Key: key}
	ok, err := get(r, appendWriteKey(nil, tableOutbox, b, key), func(d *decoder) { d.entry(&e) })
	return e, ok, err
}
