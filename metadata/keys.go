package metadata

import (
	"encoding/binary"
	"fmt"

	"github.com/holdall/holdall"
)

// The key space. Every key of the state is one of these; docs/format/metadata.md
// has the same table with the values. Numbers in keys are big-endian, so that
// keys sort as the numbers do. A namespace in a key is a varint: for all but
// 128 of them one byte, of ten billion keys. Never reuse a prefix.
//
//	table       key                                            written by
//	blocks      'b' namespace(varint) id(32)                   commit, claim, delete, undelete, purge
//	volumes     'v' volume(8)                                  create, leases, commit, seal, free; any change of a row of blocks
//	namespaces  'n' namespace(4)                               init, set namespace; any change of a row of blocks
//	sessions    's' session(8)                                 every command of a session
//	answers     'a' session(8) sequence(8)                     every command of a session
//	disks       'd' disk(16)                                   add, mount, set disk
//	tasks       't' kind 0 volume(8) member+1                  seal, free, add, done
//	trash       'x' due(8) namespace(varint) id(32)            any change of a row of blocks
//	changes     'j' sequence(8)                                whatever leaves no bytes on disks; flush
//	checksums   'k' index(8)                                   apply, every 10,000 entries
//	system      'y' 'c' (cell), 'y' 's' (progress)             cell commands; apply
//	names       'I' name -> namespace;                         create, remove
//	            'i' namespace(4) name -> bucket
//	credentials 'c' access key                                 put, remove
//	buckets     'B' bucket(8)                                  create, set, remove; any change of a row of objects
//	objects     'o' bucket(8) key ^version(8)                  commit, delete, undelete, tags, purge
//	puts        'q' hash(16) -> version                        with the row of the version
//	objecttrash 'w' since(8) bucket(8) key version(8)          with the row of the version
//	uploads     'u' upload(16);                                create, part, complete, abort, release
//	            'U' bucket(8) key upload(16): open;
//	            'e' due(8) upload(16): ended
//	parts       'p' upload(16) number(2)                       part, release
//	migrations  'm' 'b' bucket(8); 'm' 'c' bucket(8): counts   create, set, steps, certify; any change of its rows, notes
//	doors       'm' 'd' door(16)                               see, drop
//	acks        'm' 'a' bucket(8) door(16)                     acknowledge; steps
//	intents     'm' 'i' bucket(8) key                          take, end, lapse; a commit that ends one
//	outbox      'm' 'o' bucket(8) key;                         whatever settles a write; lapse, miss, mismatch, touch
//	            'm' 't' bucket(8) due(8) key
//	quarantine  'm' 'q' bucket(8) key                          put, drop
//	exceptions  'm' 'x' bucket(8) key                          put, drop
//	walkers     'm' 'w' bucket(8) name                         note
//
// The key of an object, in a key, is that of appendKeyBytes; in those of 'm' it is
// as it is, at the end. Kept free for tables to come: 'N' nodes, 'r' key ring.
const (
	prefixBlock     = 'b'
	prefixVolume    = 'v'
	prefixNamespace = 'n'
	prefixSession   = 's'
	prefixAnswer    = 'a'
	prefixDisk      = 'd'
	prefixTask      = 't'
	prefixTrash     = 'x'
	prefixChange    = 'j'
	prefixChecksum  = 'k'
	prefixSystem    = 'y'

	prefixSpaceName   = 'I'
	prefixBucketName  = 'i'
	prefixCredential  = 'c'
	prefixBucket      = 'B'
	prefixObject      = 'o'
	prefixPut         = 'q'
	prefixObjectTrash = 'w'
	prefixUpload      = 'u'
	prefixOpenUpload  = 'U'
	prefixEndedUpload = 'e'
	prefixPart        = 'p'

	prefixMigration = 'm'
)

var (
	keyCell     = [2]byte{prefixSystem, 'c'}
	keyProgress = [2]byte{prefixSystem, 's'}
)

func appendBlockKey(dst []byte, ns holdall.NamespaceID, id *holdall.BlockID) []byte {
	return append(putUvarint(append(dst, prefixBlock), uint64(ns)), id[:]...)
}

func parseBlockKey(key []byte) (k BlockKey, err error) {
	d := decoder{b: key}
	d.prefix(prefixBlock)
	k.Namespace, k.ID = d.namespace(), d.blockID()
	return k, d.key("block", key)
}

func appendVolumeKey(dst []byte, v holdall.VolumeID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, prefixVolume), uint64(v))
}

func parseVolumeKey(key []byte) (holdall.VolumeID, error) {
	d := decoder{b: key}
	d.prefix(prefixVolume)
	v := holdall.VolumeID(d.big64())
	return v, d.key("volume", key)
}

func appendNamespaceKey(dst []byte, ns holdall.NamespaceID) []byte {
	return binary.BigEndian.AppendUint32(append(dst, prefixNamespace), uint32(ns))
}

func parseNamespaceKey(key []byte) (ns holdall.NamespaceID, err error) {
	d := decoder{b: key}
	d.prefix(prefixNamespace)
	if b := d.take(4); len(b) == 4 {
		ns = holdall.NamespaceID(binary.BigEndian.Uint32(b))
	}
	return ns, d.key("namespace", key)
}

func appendSessionKey(dst []byte, session uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, prefixSession), session)
}

func parseSessionKey(key []byte) (uint64, error) {
	d := decoder{b: key}
	d.prefix(prefixSession)
	s := d.big64()
	return s, d.key("session", key)
}

func appendAnswerKey(dst []byte, session, seq uint64) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, prefixAnswer), session)
	return binary.BigEndian.AppendUint64(dst, seq)
}

func appendDiskKey(dst []byte, id holdall.DiskID) []byte {
	return append(append(dst, prefixDisk), id[:]...)
}

func parseDiskKey(key []byte) (holdall.DiskID, error) {
	d := decoder{b: key}
	d.prefix(prefixDisk)
	id := d.diskID()
	return id, d.key("disk", key)
}

// appendTaskKey names a task by its subject, so one subject has one task. Kinds
// hold no zero byte.
func appendTaskKey(dst []byte, kind string, v holdall.VolumeID, member int) []byte {
	dst = append(append(append(dst, prefixTask), kind...), 0)
	return append(binary.BigEndian.AppendUint64(dst, uint64(v)), byte(member+1))
}

// appendTrashKey sorts rows by when their retention begins to count.
func appendTrashKey(dst []byte, at instant, ns holdall.NamespaceID, id *holdall.BlockID) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, prefixTrash), uint64(at))
	return append(putUvarint(dst, uint64(ns)), id[:]...)
}

func parseTrashKey(key []byte) (at instant, k BlockKey, err error) {
	d := decoder{b: key}
	d.prefix(prefixTrash)
	at = instant(d.big64())
	k.Namespace, k.ID = d.namespace(), d.blockID()
	return at, k, d.key("trash", key)
}

func appendChangeKey(dst []byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, prefixChange), seq)
}

func parseChangeKey(key []byte) (uint64, error) {
	d := decoder{b: key}
	d.prefix(prefixChange)
	seq := d.big64()
	return seq, d.key("change", key)
}

func appendChecksumKey(dst []byte, index uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, prefixChecksum), index)
}

func parseChecksumKey(key []byte) (uint64, error) {
	d := decoder{b: key}
	d.prefix(prefixChecksum)
	index := d.big64()
	return index, d.key("checksum", key)
}

// tableBounds returns the keys between which a whole table lies: from lower,
// below upper.
func tableBounds(prefix byte) (lower, upper []byte) { return []byte{prefix}, []byte{prefix + 1} }

func (d *decoder) prefix(want byte) {
	if got := d.byte(); d.err == nil && got != want {
		d.fail(fmt.Errorf("prefix %q, want %q", got, want))
	}
}

func (d *decoder) big64() uint64 {
	b := d.take(8)
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// key ends the decoding of a key.
func (d *decoder) key(table string, key []byte) error {
	if err := d.finish(); err != nil {
		return fmt.Errorf("metadata: %s key %x: %v: %w", table, key, err, holdall.ErrCorrupt)
	}
	return nil
}
