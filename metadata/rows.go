package metadata

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// Values of the tables. All but those of blocks begin with rowVersion; a block's
// begins with its flags, of which the upper four bits are its version.
const rowVersion = 1

// Limits of the texts in rows, in bytes: rows stay small whatever comes in.
const (
	maxGateway = 64   // gateway and session names
	maxPath    = 1024 // disk paths
	maxLabel   = 256  // node names, domain labels
	maxReason  = 512
	maxKind    = 16
)

// Flags of a block's value.
const (
	blockDirect     = 1 << 0
	blockReferences = 1 << 1 // the number follows
	blockPending    = 1 << 2 // until when follows
	blockTrashed    = 1 << 3 // since when follows

	// blockMore is version 1 of the row: a byte of further flags follows the first.
	// Nearly all rows are of version 0, a byte shorter.
	blockMore = 1 << 4

	moreNode = 1 << 0
)

// appendBlock appends the value of b: flags, location, then what the flags
// say there is. The volume comes first because neighbours in time share it; ids are
// random, so nothing else would compress.
func appendBlock(dst []byte, b *Block) []byte {
	at := len(dst)
	if dst = append(dst, 0); b.Node {
		dst[at] |= blockMore
		dst = append(dst, moreNode)
	}
	dst = putLocation(dst, b.Location)
	if b.Direct {
		dst[at] |= blockDirect
	}
	if b.References != 0 {
		dst[at] |= blockReferences
		dst = putUvarint(dst, uint64(b.References))
	}
	if !b.PendingUntil.IsZero() {
		dst[at] |= blockPending
		dst = putTime(dst, b.PendingUntil)
	}
	if !b.TrashedAt.IsZero() {
		dst[at] |= blockTrashed
		dst = putTime(dst, b.TrashedAt)
	}
	return dst
}

// decodeBlock fills in b, but for its names, from a value. Errors wrap
// ErrCorrupt.
func decodeBlock(b *Block, value []byte) error {
	d := decoder{b: value}
	flags := d.byte()
	if flags&^(blockDirect|blockReferences|blockPending|blockTrashed|blockMore) != 0 {
		d.fail(fmt.Errorf("flags %#x", flags))
	}
	if b.Node = flags&blockMore != 0; b.Node {
		if more := d.byte(); d.err == nil && more != moreNode {
			d.fail(fmt.Errorf("further flags %#x", more))
		}
	}
	b.Found, b.Direct = true, flags&blockDirect != 0
	b.Location = d.location()
	b.References, b.PendingUntil, b.TrashedAt = 0, time.Time{}, time.Time{}
	if flags&^blockDirect != 0 {
		d.rareBlock(b, flags)
	}
	if err := d.finish(); err != nil {
		return fmt.Errorf("metadata: row of block %v, namespace %d: %v: %w", b.ID, b.Namespace, err, holdall.ErrCorrupt)
	}
	return nil
}

func (d *decoder) rareBlock(b *Block, flags byte) {
	if flags&blockReferences != 0 {
		b.References = d.uint32()
		d.notZero(uint64(b.References))
	}
	if flags&blockPending != 0 {
		at := d.instant()
		b.PendingUntil = at.time()
		d.notZero(uint64(at))
	}
	if flags&blockTrashed != 0 {
		at := d.instant()
		b.TrashedAt = at.time()
		d.notZero(uint64(at))
	}
}

// notZero refuses a zero where a flag said that there is something.
func (d *decoder) notZero(v uint64) {
	if v == 0 {
		d.fail(fmt.Errorf("a flag for nothing"))
	}
}

// Flags of a volume and of its members.
const (
	volumeSystem = 1 << 0

	memberFooter = 1 << 0
	memberFreed  = 1 << 1
)

func appendVolume(dst []byte, v *Volume) []byte {
	var flags byte
	if v.System {
		flags |= volumeSystem
	}
	dst = append(dst, rowVersion, flags, byte(v.State))
	dst = putScheme(dst, v.Scheme)
	dst = putText(putEpoch(putCount(dst, v.Limit), v.Epoch), v.Gateway)
	for _, at := range [...]time.Time{v.Expires, v.Created, v.Sealed, v.Freed} {
		dst = putTime(dst, at)
	}
	dst = putUvarint(dst, v.Last)
	for _, n := range [...]int64{v.Rows, v.Bytes, v.Live, v.Packs, v.Shards} {
		dst = putCount(dst, n)
	}
	dst = append(dst, byte(len(v.Members)))
	for i := range v.Members {
		dst = appendMember(dst, &v.Members[i])
	}
	return dst
}

func appendMember(dst []byte, m *Member) []byte {
	var flags byte
	if m.Footer {
		flags |= memberFooter
	}
	if m.Freed {
		flags |= memberFreed
	}
	return putCount(putEpoch(append(append(dst, flags), m.Disk[:]...), m.Created), m.End)
}

// volume fills in v, but for its id.
func (d *decoder) volume(v *Volume) {
	d.version()
	flags := d.byte()
	if flags&^volumeSystem != 0 {
		d.fail(fmt.Errorf("volume flags %#x", flags))
	}
	v.System = flags&volumeSystem != 0
	v.State = holdall.VolumeState(d.byte())
	v.Scheme = d.scheme()
	v.Limit, v.Epoch, v.Gateway = d.count(), d.epoch(), d.text(maxGateway)
	for _, at := range [...]*time.Time{&v.Expires, &v.Created, &v.Sealed, &v.Freed} {
		*at = d.time()
	}
	v.Last = d.uvarint()
	for _, n := range [...]*int64{&v.Rows, &v.Bytes, &v.Live, &v.Packs, &v.Shards} {
		*n = d.count()
	}
	n := d.byte()
	if d.err == nil && (int(n) != v.Scheme.N() || v.State < holdall.VolumeOpen || v.State > holdall.VolumeFreed) {
		d.fail(fmt.Errorf("state %d, %d members of %v", v.State, n, v.Scheme))
		return
	}
	v.Members = make([]Member, n)
	for i := range v.Members {
		d.member(&v.Members[i])
	}
}

func (d *decoder) member(m *Member) {
	flags := d.byte()
	if flags&^(memberFooter|memberFreed) != 0 {
		d.fail(fmt.Errorf("member flags %#x", flags))
	}
	m.Footer, m.Freed = flags&memberFooter != 0, flags&memberFreed != 0
	m.Disk, m.Created, m.End = d.diskID(), d.epoch(), d.count()
}

func putScheme(dst []byte, s holdall.Scheme) []byte {
	return append(dst, byte(s.Kind), s.Data, s.Local, s.Global)
}

func (d *decoder) scheme() (s holdall.Scheme) {
	if b := d.take(4); len(b) == 4 {
		s = holdall.Scheme{Kind: holdall.SchemeKind(b[0]), Data: b[1], Local: b[2], Global: b[3]}
	}
	if err := s.Validate(); err != nil {
		d.fail(err)
	}
	return s
}

func (d *decoder) version() {
	if v := d.byte(); d.err == nil && v != rowVersion {
		d.fail(fmt.Errorf("row version %d, this process knows %d", v, rowVersion))
	}
}

func appendDisk(dst []byte, k *Disk) []byte {
	dst = append(dst, rowVersion, byte(k.State))
	dst = putText(putText(putText(putText(dst, k.Path), k.Node), k.Domain), k.Reason)
	dst = putTime(putCount(putCount(dst, k.Capacity), k.ZoneSize), k.Since)
	return putUvarint(putUvarint(dst, k.Incarnation), k.Granted)
}

// disk fills in k, but for its id.
func (d *decoder) disk(k *Disk) {
	d.version()
	k.State = holdall.DiskState(d.byte())
	if d.err == nil && (k.State < holdall.DiskActive || k.State > holdall.DiskRemoved) {
		d.fail(fmt.Errorf("disk state %d", k.State))
	}
	k.Path, k.Node, k.Domain, k.Reason = d.text(maxPath), d.text(maxLabel), d.text(maxLabel), d.text(maxReason)
	k.Capacity, k.ZoneSize, k.Since = d.count(), d.count(), d.time()
	k.Incarnation, k.Granted = d.uvarint(), d.uvarint()
}

func appendNamespace(dst []byte, n *Namespace) []byte {
	dst = putDuration(putText(append(dst, rowVersion), n.Name), n.Retention)
	for _, v := range [...]int64{n.Quota, n.Blocks, n.Bytes, n.Buckets, n.Leaving, n.Credentials} {
		dst = putCount(dst, v)
	}
	return dst
}

// space fills in n, but for its id.
func (d *decoder) space(n *Namespace) {
	d.version()
	n.Name, n.Retention = d.text(maxLabel), d.duration()
	for _, v := range [...]*int64{&n.Quota, &n.Blocks, &n.Bytes, &n.Buckets, &n.Leaving, &n.Credentials} {
		*v = d.count()
	}
}

// appendTask appends the whole task: the key's names are in the value too,
// because a kind in a key has no length.
func appendTask(dst []byte, k *Task) []byte {
	dst = putText(putUvarint(append(dst, rowVersion), k.ID), k.Kind)
	dst = putUvarint(putVolumeID(dst, k.Volume), uint64(k.Member+1))
	return putUvarint(putTime(putText(dst, k.Reason), k.Created), uint64(k.Priority))
}

func (d *decoder) task(k *Task) {
	d.version()
	k.ID, k.Kind = d.uvarint(), d.text(maxKind)
	k.Volume, k.Member = d.volumeID(), int(d.upTo(holdall.MaxMembers))-1
	k.Reason, k.Created, k.Priority = d.text(maxReason), d.time(), int(d.upTo(maxPriority))
}

// sessionRow is a row of the sessions table.
type sessionRow struct {
	ID     uint64
	Name   string
	Lowest uint64  // answers below are gone: a command with such a number is late
	Used   instant // by its last command
}

func appendSession(dst []byte, s *sessionRow) []byte {
	return putUvarint(putUvarint(putText(append(dst, rowVersion), s.Name), s.Lowest), uint64(s.Used))
}

// session fills in s, but for its id.
func (d *decoder) session(s *sessionRow) {
	d.version()
	s.Name, s.Lowest, s.Used = d.text(maxGateway), d.uvarint(), d.instant()
}

func putBig64(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }

// decodeRow decodes a value that must end where its table's decoder ends. The
// error names the key and wraps ErrCorrupt.
func decodeRow(key, value []byte, decode func(*decoder)) error {
	d := decoder{b: value}
	decode(&d)
	if err := d.finish(); err != nil {
		return fmt.Errorf("metadata: row %x: %v: %w", key, err, holdall.ErrCorrupt)
	}
	return nil
}
