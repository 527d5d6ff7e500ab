package gateway

import (
	"context"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/volume"
)

// getRange reads part of a large block from its own shard, verified without the
// rest: the record's checksums prove that the bytes are those that were written,
// and the pack's directory that they are this block's.
func (g *Gateway) getRange(ctx context.Context, key blockKey, at holdall.Location, o GetOptions) (buffer.View, error) {
	v, err := g.members(at)
	if err != nil {
		return buffer.View{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, g.reads.hang(g.cfg.HedgeMin)) // behind a disk that hangs the whole block is had sooner
	defer cancel()
	disk, extent := v.Members[at.Member].Disk, v.Extent(int(at.Member))
	s, err := g.cfg.Reader.StripeAt(ctx, disk, extent, int(at.Member), at.Offset)
	if err != nil {
		return buffer.View{}, err
	}
	if len(s.Shards) != len(v.Members) || s.Number == 0 {
		return buffer.View{}, fmt.Errorf("volume %v: stripe of %d shards: %w", v.ID, len(s.Shards), holdall.ErrCorrupt)
	}
	p := s.Shards[holdall.MemberShard(s.Number, int(at.Member), len(s.Shards))]
	first := at.Offset - p.Offset - holdall.RecordHeaderSize
	if first < 0 || first+int64(at.Length) > int64(p.Length) {
		return buffer.View{}, fmt.Errorf("volume %v stripe %d does not hold the block: %w", v.ID, s.Number, holdall.ErrCorrupt)
	}
	end := min(int(p.Length), volume.DirectorySize(holdall.MaxPackBlocks))
	tail, err := g.cfg.Reader.ReadChecked(ctx, disk, extent, p.Offset, int(p.Length)-end, end)
	if err != nil {
		return buffer.View{}, err
	}
	entries, err := volume.ParseDirectoryTail(tail.Data, int(p.Length))
	tail.Release()
	if err != nil {
		return buffer.View{}, err
	}
	want := volume.BlockEntry{ID: key.id, Namespace: key.ns, Offset: uint32(first), Length: at.Length}
	for _, e := range entries {
		if e.Flags = 0; e == want {
			return g.cfg.Reader.ReadChecked(ctx, disk, extent, p.Offset, int(first)+o.Offset, o.Length)
		}
	}
	return buffer.View{}, fmt.Errorf("volume %v stripe %d: directory does not list the block there: %w", v.ID, s.Number, holdall.ErrCorrupt)
}
