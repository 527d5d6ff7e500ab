package metadata

import (
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// pendingFor is how long a block put on behalf of an object is held until the
// object refers to it.
const pendingFor = 24 * time.Hour

// Flags of a block in a commit.
const (
	putPending = 1 << 0
	putReplace = 1 << 1 // the location to replace follows
)

// maxStripeBytes bounds the bytes of a stripe, well above what MaxMembers records
// of the largest packs take.
const maxStripeBytes = 1 << 30

// MaxCommitBlocks is how many blocks a commit may have for its entry to stay
// under holdall.MaxRaftEntry whatever they are, all of them moved from elsewhere:
// the most bytes of each, beside those of the rest of the entry.
const MaxCommitBlocks = (holdall.MaxRaftEntry - maxStripeHead) / maxPutBlock

const (
	maxStripeHead = 512 // bytes: entry's header, volume, epoch, stripe, MaxMembers ends, sums, counts; below 300 as it is

	// maxPutBlock is the most bytes of a block in a commit: flags, namespace, id,
	// member, offset, length; and the location to replace: volume, member, offset,
	// length.
	maxPutBlock = 1 + 5 + 32 + 1 + 6 + 4 + (3 + 7) + 1 + 9 + 5
)

// Validate finds what is wrong with c whatever the state is, before anything is
// written to disks for it. Errors wrap ErrInvalid.
func (c *StripeCommit) Validate() error {
	if len(c.Blocks) > MaxCommitBlocks {
		return fmt.Errorf("metadata: commit of volume %v stripe %d: has %d blocks, an entry surely has room for %d: %w",
			c.Volume, c.Stripe, len(c.Blocks), MaxCommitBlocks, holdall.ErrInvalid)
	}
	return checkStripe(c)
}

// commitStripe is the commit point of a put.
type commitStripe struct{ StripeCommit }

func (*commitStripe) tag() commandTag { return tagCommitStripe }

func (c *commitStripe) check() error { return checkStripe(&c.StripeCommit) }

// checkStripe finds what is wrong with a stripe whatever the state is.
func checkStripe(c *StripeCommit) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("metadata: commit of volume %v stripe %d: %s: %w", c.Volume, c.Stripe, fmt.Sprintf(format, args...), holdall.ErrInvalid)
	}
	switch {
	case c.Volume == 0 || c.Stripe == 0 || c.Stripe > holdall.MaxVolumeStripes:
		return bad("no such volume or stripe can be")
	case len(c.Blocks) > holdall.MaxStripeBlocks:
		return bad("has %d blocks, the most is %d", len(c.Blocks), holdall.MaxStripeBlocks)
	case len(c.Ends) == 0 || len(c.Ends) > holdall.MaxMembers:
		return bad("has %d ends", len(c.Ends))
	case c.PackBytes < 0 || c.ShardBytes < 0 || c.PackBytes > maxStripeBytes || c.ShardBytes > maxStripeBytes:
		return bad("has %d bytes of packs, %d of shards", c.PackBytes, c.ShardBytes)
	}
	for m, end := range c.Ends {
		if end < 0 || end > maxLimit || end%holdall.RecordHeaderSize != 0 {
			return bad("member %d ends at %d, which is not between records", m, end)
		}
	}
	for i := range c.Blocks {
		b := &c.Blocks[i]
		if b.Length == 0 || b.Length > holdall.MaxBlockSize || b.Offset < 0 || b.Offset > maxLimit || int(b.Member) >= len(c.Ends) {
			return bad("block %v lies at %d+%d of member %d", b.ID, b.Offset, b.Length, b.Member)
		}
		if b.Replace.Offset < 0 {
			return bad("block %v replaces an offset of %d", b.ID, b.Replace.Offset)
		}
	}
	return nil
}

func (c *commitStripe) encode(dst []byte) []byte {
	return putStripe(dst, &c.StripeCommit)
}

func putStripe(dst []byte, c *StripeCommit) []byte {
	dst = putUvarint(putEpoch(putVolumeID(dst, c.Volume), c.Epoch), c.Stripe)
	dst = append(dst, byte(len(c.Ends)))
	for _, end := range c.Ends {
		dst = putCount(dst, end)
	}
	dst = putUvarint(putCount(putCount(dst, c.PackBytes), c.ShardBytes), uint64(len(c.Blocks)))
	for i := range c.Blocks {
		dst = putPutBlock(dst, &c.Blocks[i])
	}
	return dst
}

func putPutBlock(dst []byte, b *PutBlock) []byte {
	var flags byte
	if b.Pending {
		flags |= putPending
	}
	if b.Replace != (holdall.Location{}) {
		flags |= putReplace
	}
	dst = append(putUvarint(append(dst, flags), uint64(b.Namespace)), b.ID[:]...)
	dst = putUvarint(putCount(append(dst, b.Member), b.Offset), uint64(b.Length))
	if flags&putReplace != 0 {
		dst = putLocation(dst, b.Replace)
	}
	return dst
}

// minPutBlock is the fewest bytes of a block in a commit.
const minPutBlock = 1 + 1 + 32 + 1 + 1 + 1

func (c *commitStripe) decode(d *decoder) { d.stripe(&c.StripeCommit) }

func (d *decoder) stripe(c *StripeCommit) {
	c.Volume, c.Epoch, c.Stripe = d.volumeID(), d.epoch(), d.uvarint()
	for range min(int(d.byte()), holdall.MaxMembers+1) {
		c.Ends = append(c.Ends, d.count())
	}
	c.PackBytes, c.ShardBytes = d.count(), d.count()
	n := d.length(holdall.MaxStripeBlocks, minPutBlock)
	c.Blocks = make([]PutBlock, n)
	for i := range c.Blocks {
		d.putBlock(&c.Blocks[i])
	}
}

func (d *decoder) putBlock(b *PutBlock) {
	flags := d.byte()
	if flags&^(putPending|putReplace) != 0 {
		d.fail(fmt.Errorf("block flags %#x", flags))
	}
	b.Pending = flags&putPending != 0
	b.Namespace, b.ID = d.namespace(), d.blockID()
	b.Member, b.Offset, b.Length = d.byte(), d.count(), d.uint32()
	if flags&putReplace != 0 {
		if b.Replace = d.location(); b.Replace == (holdall.Location{}) {
			d.notZero(0)
		}
	}
}

// result makes the result of c from apply's answer to it.
func (c *commitStripe) result(answer []byte) (CommitResult, error) {
	var a commitAnswer
	if err := decodeAnswer(answer, &a); err != nil {
		return CommitResult{}, err
	}
	r := CommitResult{Kept: make([]holdall.Location, len(c.Blocks))}
	for i := range c.Blocks {
		r.Kept[i] = c.Blocks[i].at(c.Volume)
	}
	for i, at := range a.Index {
		if at >= len(r.Kept) {
			return CommitResult{}, fmt.Errorf("metadata: answer names block %d of %d: %w", at, len(r.Kept), holdall.ErrCorrupt)
		}
		r.Kept[at] = a.Kept[i]
	}
	return r, nil
}

// at returns the location of the new copy in v.
func (b *PutBlock) at(v holdall.VolumeID) holdall.Location {
	return holdall.Location{Volume: v, Member: b.Member, Offset: b.Offset, Length: b.Length}
}

// run is step 7 of a put: the stripe counts only if it is the next one of an
// open volume whose lease the writer still holds.
func (c *commitStripe) run(t *tx) (result, error) {
	v, err := t.openVolume(c.Volume, c.Epoch)
	if err != nil {
		return nil, err
	}
	if c.Stripe != v.Last+1 {
		return nil, fmt.Errorf("metadata: volume %v: stripe %d does not follow stripe %d: %w", c.Volume, c.Stripe, v.Last, holdall.ErrStale)
	}
	if !v.System { // it makes no change, and may be the journal itself, which makes room
		if err := t.journalRoom(); err != nil {
			return nil, err
		}
	}
	if err := c.fits(&v.Volume); err != nil {
		return nil, err
	}
	v.dirty = true
	v.Last = c.Stripe
	v.Packs += c.PackBytes
	v.Shards += c.ShardBytes
	for m := range v.Members {
		v.Members[m].End = c.Ends[m]
	}
	if !v.System {
		t.change(Change{Kind: ChangeStripe, Volume: v.ID, Epoch: c.Epoch, Stripe: c.Stripe})
	}
	keys := make([]BlockKey, len(c.Blocks))
	for i := range c.Blocks {
		keys[i] = BlockKey{c.Blocks[i].Namespace, c.Blocks[i].ID}
	}
	if err := t.fetch(keys); err != nil {
		return nil, err
	}
	answer := new(commitAnswer)
	for i := range c.Blocks {
		kept, err := t.commitBlock(v, &c.Blocks[i])
		if err != nil {
			return nil, err
		}
		if kept != c.Blocks[i].at(v.ID) {
			answer.Index = append(answer.Index, i)
			answer.Kept = append(answer.Kept, kept)
		}
	}
	return answer, nil
}

// fits refuses a stripe that cannot lie where it says: members' ends only grow,
// never over the limit, and every block lies inside what this stripe added.
func (c *commitStripe) fits(v *Volume) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("metadata: commit of volume %v stripe %d: %s: %w", v.ID, c.Stripe, fmt.Sprintf(format, args...), holdall.ErrInvalid)
	}
	if len(c.Ends) != len(v.Members) {
		return bad("has %d ends, the volume %d members", len(c.Ends), len(v.Members))
	}
	var grown int64
	for m, end := range c.Ends {
		if was := v.Members[m].End; end < was || end > v.Limit {
			return bad("member %d would end at %d; it ended at %d, its limit is %d", m, end, was, v.Limit)
		}
		grown += end - v.Members[m].End
	}
	if grown != c.ShardBytes {
		return bad("says its records have %d bytes, its ends say %d", c.ShardBytes, grown)
	}
	var bytes int64
	for i := range c.Blocks {
		b := &c.Blocks[i]
		first := v.Members[b.Member].End + holdall.RecordHeaderSize
		if b.Offset < first || b.Offset+int64(b.Length) > c.Ends[b.Member] {
			return bad("block %v at %d+%d of member %d lies outside its record's payload, %d to %d",
				b.ID, b.Offset, b.Length, b.Member, first, c.Ends[b.Member])
		}
		if system := b.Namespace == holdall.SystemNamespace; system != v.System {
			return bad("block %v of namespace %d in a volume whose system flag is %t", b.ID, b.Namespace, v.System)
		}
		bytes += int64(b.Length)
	}
	if bytes > c.PackBytes {
		return bad("blocks of %d bytes in packs of %d", bytes, c.PackBytes)
	}
	return nil
}

// commitBlock puts one block, and returns where its row then points. The first
// commit of an id keeps its location, unless the put names that location as the
// one to replace.
func (t *tx) commitBlock(v *volumeRow, p *PutBlock) (holdall.Location, error) {
	if err := t.knownSpace(p.Namespace); err != nil {
		return holdall.Location{}, err
	}
	old, err := t.block(p.Namespace, &p.ID)
	if err != nil {
		return holdall.Location{}, err
	}
	row := old
	moved := false
	switch {
	case !old.Found:
		row.Found, row.Location = true, p.at(v.ID)
	case old.Location.Length != p.Length:
		return holdall.Location{}, fmt.Errorf("metadata: block %v has %d bytes, the commit says %d: %w", p.ID, old.Location.Length, p.Length, holdall.ErrInvalid)
	case old.Location == p.Replace:
		row.Location, moved = p.at(v.ID), true
	}
	if p.Pending {
		row.PendingUntil = max(toInstant(old.PendingUntil), t.now.after(pendingFor)).time()
	} else {
		row.Direct = true
	}
	t.settle(&row)
	if row == old {
		return row.Location, nil
	}
	if moved {
		t.blockChange(ChangeMove, &row)
	}
	return row.Location, t.setBlock(&old, &row)
}
