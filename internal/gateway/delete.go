package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

func checkIDs(ids []holdall.BlockID) error {
	if len(ids) > holdall.MaxIDsPerCall {
		return fmt.Errorf("gateway: %d ids in one call, at most %d: %w", len(ids), holdall.MaxIDsPerCall, holdall.ErrInvalid)
	}
	return nil
}

// Delete puts blocks that nothing else holds into trash, where they stay until
// their retention ends. It returns the ids that were not there. When it returns
// without error no get of this gateway finds the others; another's cache may for
// up to a minute.
func (g *Gateway) Delete(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error) {
	if err := checkIDs(ids); err != nil {
		return nil, err
	}
	if err := g.enter(); err != nil {
		return nil, err
	}
	defer g.leave()
	gone, err = g.cfg.Index.Delete(ctx, ns, ids)
	g.places.forget(ns, ids) // after an error too: it may have been carried out
	return gone, err
}

// Undelete takes blocks out of trash. It returns the ids that are gone: purged,
// or never there.
func (g *Gateway) Undelete(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error) {
	if err := checkIDs(ids); err != nil {
		return nil, err
	}
	if err := g.enter(); err != nil {
		return nil, err
	}
	defer g.leave()
	return g.cfg.Index.Undelete(ctx, ns, ids)
}

// Missing returns those of ids that need to be sent. It is a hint: what it does
// not name is secured with Claim.
func (g *Gateway) Missing(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) ([]holdall.BlockID, error) {
	if err := checkIDs(ids); err != nil {
		return nil, err
	}
	rows, err := g.cfg.Index.Lookup(ctx, ns, ids, false)
	if err != nil {
		return nil, err
	}
	var missing []holdall.BlockID
	for i := range rows {
		if !rows[i].Live() || !g.safe(rows[i].Location.Volume) {
			missing = append(missing, ids[i])
		}
	}
	return missing, nil
}

// Claim makes blocks the caller's without sending them: for each id it does not
// return, its OK is an acknowledgement like that of a put. It returns the ids
// that must be sent: they are not there, or their volume misses too many members
// for a dedup hit to count.
func (g *Gateway) Claim(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error) {
	if err := checkIDs(ids); err != nil {
		return nil, err
	}
	if err := g.enter(); err != nil {
		return nil, err
	}
	defer g.leave()
	return g.claim(ctx, ns, ids, g.cfg.Index.Claim)
}

// ClaimPending is Claim on behalf of an object: the blocks stay for another day.
func (g *Gateway) ClaimPending(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error) {
	if err := checkIDs(ids); err != nil {
		return nil, err
	}
	if err := g.enter(); err != nil {
		return nil, err
	}
	defer g.leave()
	return g.claim(ctx, ns, ids, g.cfg.Pending.ClaimPending)
}

// claim claims those of ids that are safe where they are, and returns the others.
func (g *Gateway) claim(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID,
	claim func(context.Context, holdall.NamespaceID, []holdall.BlockID) ([]holdall.BlockID, error)) (gone []holdall.BlockID, err error) {
	rows, err := g.cfg.Index.Lookup(ctx, ns, ids, false)
	if err != nil {
		return nil, err
	}
	var safe []holdall.BlockID
	for i := range rows {
		if rows[i].Found && g.safe(rows[i].Location.Volume) {
			safe = append(safe, ids[i])
		} else {
			gone = append(gone, ids[i])
		}
	}
	if len(safe) == 0 {
		return gone, nil
	}
	lost, err := claim(ctx, ns, safe)
	return append(gone, lost...), err
}

// BlockStat is all that is known of a block.
type BlockStat struct {
	ID          holdall.BlockID
	Size        int64
	Namespace   holdall.NamespaceID
	Volume      holdall.VolumeID
	Scheme      holdall.Scheme
	Stripe      uint64 // 0 = no member can tell
	Shard       int    // -1 = no member can tell
	Member      int
	Offset      int64 // in the member's extent
	Members     []MemberStat
	ShardsOK    int // shards whose members answer and agree on the stripe
	ShardsTotal int // shards that the stripe has, absent packs left out
	Direct      bool
	References  uint32
	TrashedAt   time.Time // zero = not in trash
}

// MemberStat is one member of a block's volume.
type MemberStat struct {
	Disk  holdall.DiskID
	Node  string
	State holdall.DiskState // failed if no volume server has the disk
}

// Stat tells all that is known of a block, in trash or not, by the leader's word.
// Errors: ErrNotFound, ErrUnavailable.
func (g *Gateway) Stat(ctx context.Context, ns holdall.NamespaceID, id holdall.BlockID) (BlockStat, error) {
	if err := g.enter(); err != nil {
		return BlockStat{}, err
	}
	defer g.leave()
	row, err := g.lookUp(ctx, blockKey{ns, id}, true)
	if err != nil {
		return BlockStat{}, fmt.Errorf("gateway: stat of %v: %w", id, err)
	}
	if !row.Found {
		return BlockStat{}, fmt.Errorf("gateway: stat of %v: %w", id, errGone)
	}
	at := row.Location
	v, err := g.members(at)
	if err != nil {
		return BlockStat{}, fmt.Errorf("gateway: stat of %v: %v: %w", id, err, holdall.ErrUnavailable)
	}
	n := len(v.Members)
	st := BlockStat{ID: id, Size: int64(at.Length), Namespace: ns, Volume: at.Volume, Scheme: v.Scheme, Shard: -1, Member: int(at.Member),
		Offset: at.Offset, ShardsTotal: n, Direct: row.Direct, References: row.References, TrashedAt: row.TrashedAt}
	disks := g.health.disks()
	for _, m := range v.Members {
		d := disks[m.Disk]
		state := d.state
		if state == holdall.DiskActive && !d.writable() || state == 0 {
			state = holdall.DiskFailed
		}
		st.Members = append(st.Members, MemberStat{Disk: m.Disk, Node: d.node, State: state})
	}
	told, best := (&rebuilding{g: g, id: id, at: at, volume: v}).tables(ctx)
	if best < 0 {
		return st, nil
	}
	stripe := &told[best]
	st.Stripe, st.Shard, st.ShardsTotal = stripe.Number, holdall.MemberShard(stripe.Number, st.Member, n), 0
	for i, p := range stripe.Shards {
		if p.Length == 0 {
			continue // an absent pack is missing nowhere
		}
		st.ShardsTotal++
		if sameStripe(stripe, &told[holdall.ShardMember(stripe.Number, i, n)]) {
			st.ShardsOK++
		}
	}
	return st, nil
}
