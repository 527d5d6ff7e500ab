package fsck

import (
	"context"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// rowPlaces remembers, by volume, which places rows were matched with.
type rowPlaces map[holdall.VolumeID]*volumePlaces

// volumePlaces is what the directories of one volume matched.
type volumePlaces struct {
	matched map[rowPlace]bool
	unknown bool // some directory could not be read: rows may point into it
}

type rowPlace struct {
	member uint8
	offset int64
}

func (p rowPlaces) of(v holdall.VolumeID) *volumePlaces {
	if p[v] == nil {
		p[v] = &volumePlaces{matched: map[rowPlace]bool{}}
	}
	return p[v]
}

// matchRows looks up the blocks that the pack of a data shard lists. A row may be
// absent (purged) or point to another copy; one that points here must say so to
// the byte.
func (c *checker) matchRows(v *theVolume, s *holdall.Stripe, shard int, lines []line, places *volumePlaces) error {
	c.result.Blocks += uint64(len(lines))
	if c.reader == nil {
		return nil
	}
	member := holdall.ShardMember(s.Number, shard, len(s.Shards))
	base := s.Shards[shard].Offset + sector
	for len(lines) > 0 {
		n := 1
		for n < len(lines) && n < holdall.MaxIDsPerCall && lines[n].namespace == lines[0].namespace {
			n++
		}
		ids := make([]holdall.BlockID, n)
		for i := range ids {
			ids[i] = lines[i].id
		}
		rows, err := c.reader.Lookup(lines[0].namespace, ids)
		if err != nil {
			return fmt.Errorf("look up blocks of stripe %d of volume %v: %w", s.Number, v.id, err)
		}
		for i := range rows {
			at := rows[i].Location
			if !rows[i].Found || at.Volume != v.id || int(at.Member) != member || at.Offset != base+int64(lines[i].offset) {
				continue
			}
			places.matched[rowPlace{at.Member, at.Offset}] = true
			if at.Length != lines[i].length {
				f := v.at(v.members[member], KindRow, s.Number, s.Shards[shard].Offset).say("the row says %d bytes, the directory %d", at.Length, lines[i].length)
				f.Block = lines[i].id.String()
				c.find(f)
			}
		}
		lines = lines[n:]
	}
	return nil
}

// counts is what the rows of a volume come to.
type counts struct{ rows, bytes, live int64 }

// checkRows goes through all block rows: each must have been met in a directory,
// and together they must come to what the volumes' and the cell's rows say.
func (c *checker) checkRows(ctx context.Context) error {
	sums := map[holdall.VolumeID]*counts{}
	for b, err := range c.reader.Blocks() {
		if err != nil {
			c.find(nowhere(KindMetadata, "the blocks table cannot be read: %v", err))
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.result.Rows++
		n := sums[b.Location.Volume]
		if n == nil {
			n = &counts{}
			sums[b.Location.Volume] = n
		}
		n.rows, n.bytes = n.rows+1, n.bytes+int64(b.Location.Length)
		if b.Live() {
			n.live += int64(b.Location.Length)
		}
		c.checkRow(&b)
	}
	for id, v := range c.rows {
		n := sums[id]
		if n == nil {
			n = &counts{}
		}
		if n.rows != v.Rows || n.bytes != v.Bytes || n.live != v.Live {
			f := nowhere(KindVolume, "metadata counts %d rows, %d bytes, %d live; the rows are %d, %d, %d", v.Rows, v.Bytes, v.Live, n.rows, n.bytes, n.live)
			f.Volume = id.String()
			c.find(f)
		}
	}
	return c.checkCell(sums)
}

// checkRow checks that the row was matched by a directory.
func (c *checker) checkRow(b *metadata.Block) {
	v := c.rows[b.Location.Volume]
	places := c.places[b.Location.Volume]
	f := nowhere(KindRow, "")
	f.Volume, f.Member, f.Offset, f.Block = b.Location.Volume.String(), int(b.Location.Member), b.Location.Offset, b.ID.String()
	switch {
	case v == nil:
		f.Detail = "the row points into a volume that metadata does not know"
	case v.State == holdall.VolumeFreed:
		f.Detail = "the row points into a volume that was freed"
	case int(b.Location.Member) >= len(v.Members) || b.Location.Offset+int64(b.Location.Length) > v.Members[b.Location.Member].End:
		f.Detail = "the row points beyond the committed end"
	case places != nil && (places.unknown || places.matched[rowPlace{b.Location.Member, b.Location.Offset}]):
		return
	default:
		f.Detail = "no directory lists the block where its row points"
	}
	if v != nil && f.Member < len(v.Members) {
		id := v.Members[f.Member].Disk
		f.Disk = id.String()
		if d := c.disks[id]; d != nil {
			f.Path, f.Zone = d.medium.path, d.zoneOf(d.extents[v.Extent(f.Member)], f.Offset)
		}
	}
	c.find(f)
}

// checkCell compares the cell's own counts with all rows.
func (c *checker) checkCell(sums map[holdall.VolumeID]*counts) error {
	cell, err := c.reader.Cell()
	if err != nil {
		return err
	}
	var all counts
	for _, n := range sums {
		all.rows, all.bytes, all.live = all.rows+n.rows, all.bytes+n.bytes, all.live+n.live
	}
	if cell.Blocks != all.rows || cell.Bytes != all.bytes || cell.LiveBytes != all.live {
		c.find(nowhere(KindMetadata, "the cell counts %d rows, %d bytes, %d live; the rows are %d, %d, %d", cell.Blocks, cell.Bytes, cell.LiveBytes, all.rows, all.bytes, all.live))
	}
	return nil
}
