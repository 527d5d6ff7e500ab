package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// The tables of migrations: the second byte of a key of prefixMigration.
const (
	tableMigration  = 'b'
	tableCounts     = 'c'
	tableDoor       = 'd'
	tableAck        = 'a'
	tableIntent     = 'i'
	tableOutbox     = 'o'
	tableDue        = 't'
	tableQuarantine = 'q'
	tableException  = 'x'
	tableWalker     = 'w'
)

// appendMigrationKey begins the key of a row of one of those tables that is of a
// bucket. The key of an object, or the name of a walker, ends it, as it is.
func appendMigrationKey(dst []byte, table byte, b holdall.BucketID) []byte {
	return putBig64(append(dst, prefixMigration, table), uint64(b))
}

func parseMigrationKey(key []byte, table byte) (holdall.BucketID, error) {
	d := decoder{b: key}
	b := d.migrationTable(table)
	return b, d.key("migration", key)
}

func (d *decoder) migrationTable(table byte) holdall.BucketID {
	d.prefix(prefixMigration)
	if got := d.byte(); d.err == nil && got != table {
		d.fail(fmt.Errorf("table %q, want %q", got, table))
	}
	return holdall.BucketID(d.big64())
}

// appendWriteKey is appendMigrationKey with the key of an object.
func appendWriteKey(dst []byte, table byte, b holdall.BucketID, key string) []byte {
	return append(appendMigrationKey(dst, table, b), key...)
}

func parseWriteKey(key []byte, table byte) (b holdall.BucketID, of string, err error) {
	d := decoder{b: key}
	b = d.migrationTable(table)
	of = d.rest(holdall.MaxKeySize)
	return b, of, d.key("migration", key)
}

// rest reads all that is left, which must not be empty.
func (d *decoder) rest(limit int) string {
	s := string(d.take(len(d.b)))
	if d.err == nil && (s == "" || len(s) > limit) {
		d.fail(fmt.Errorf("a name of %d bytes at the end of a key", len(s)))
	}
	return s
}

// appendDueKey sorts the outbox of a bucket by when its entries are due.
func appendDueKey(dst []byte, b holdall.BucketID, next instant, key string) []byte {
	return append(putBig64(appendMigrationKey(dst, tableDue, b), uint64(next)), key...)
}

func parseDueKey(key []byte) (b holdall.BucketID, next instant, of string, err error) {
	d := decoder{b: key}
	b = d.migrationTable(tableDue)
	next, of = instant(d.big64()), d.rest(holdall.MaxKeySize)
	return b, next, of, d.key("due entry", key)
}

func appendDoorKey(dst []byte, id DoorID) []byte {
	return append(append(dst, prefixMigration, tableDoor), id[:]...)
}

func parseDoorKey(key []byte) (id DoorID, err error) {
	d := decoder{b: key}
	d.prefix(prefixMigration)
	if got := d.byte(); d.err == nil && got != tableDoor {
		d.fail(fmt.Errorf("table %q, want doors", got))
	}
	id = d.doorID()
	return id, d.key("door", key)
}

func (d *decoder) doorID() (id DoorID) { copy(id[:], d.take(len(id))); return id }

func appendAckKey(dst []byte, b holdall.BucketID, door DoorID) []byte {
	return append(appendMigrationKey(dst, tableAck, b), door[:]...)
}

func parseAckKey(key []byte) (b holdall.BucketID, door DoorID, err error) {
	d := decoder{b: key}
	b, door = d.migrationTable(tableAck), d.doorID()
	return b, door, d.key("acknowledgement", key)
}
