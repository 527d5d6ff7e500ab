package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// Waits between two tries of a commit for which metadata has no room: it comes
// back when the change journal is written, every 20 s.
const (
	firstCommitRetry = 50 * time.Millisecond
	lastCommitRetry  = time.Second
)

// commit commits a stripe whose shards are durable. While metadata has no room
// for it (ErrExhausted: it is surely not committed) it is tried again until ctx
// ends, because to give up costs the volume: nothing may be appended behind it.
func (g *Gateway) commit(ctx context.Context, c metadata.StripeCommit) (metadata.CommitResult, error) {
	for wait := firstCommitRetry; ; wait = min(2*wait, lastCommitRetry) {
		res, err := g.cfg.Index.CommitStripe(ctx, c)
		if !errors.Is(err, holdall.ErrExhausted) {
			return res, err
		}
		g.log.Warn("metadata has no room for a stripe", "volume", c.Volume, "stripe", c.Stripe, "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return res, err
		case <-g.done:
			return res, err
		}
	}
}

// afterRefusal settles a stripe whose commit was refused as stale. It commits
// whole or not at all, so either it is committed, by an entry whose answer was
// lost, and its blocks count where their rows now point; or none of it is, and
// all of them go elsewhere. To go elsewhere is right in either case, and costs
// dead bytes at most: what needs proof is that it is committed.
func (g *Gateway) afterRefusal(ctx context.Context, st *stripe, refusal error) ([]*pack, error) {
	// The linearizable lookup comes first: what is read after it is no older.
	rows, err := g.lookUpItems(ctx, st.items)
	if err != nil {
		return nil, err
	}
	v, err := g.cfg.Tables.Volume(st.v.id)
	if err != nil && !errors.Is(err, holdall.ErrNotFound) { // not found: freed since, or the row is yet to come
		return nil, err
	}
	if !st.committed(&v, rows) {
		return st.again(g, refusal)
	}
	g.log.Info("commit was refused, and the stripe is committed", "volume", st.v.id, "stripe", st.table.Number, "err", refusal)
	res := metadata.CommitResult{Kept: make([]holdall.Location, len(rows))}
	for i := range rows {
		// A block without a live row was deleted since: its put came before.
		if res.Kept[i] = st.blocks[i].location(st.v.id); rows[i].Live() {
			res.Kept[i] = rows[i].Location
		}
	}
	return g.acknowledge(st, res), nil
}

// committed reports whether v, or the rows of its blocks, prove that this very
// stripe is committed. Rows alone do not disprove it: blocks are deleted and
// their rows moved.
func (st *stripe) committed(v *metadata.Volume, rows []metadata.Block) bool {
	if v.ID == st.v.id {
		// Only the holder of our lease, that is we, commits under our epoch; and a
		// seal, which raises it by one, fixes the last stripe.
		ours := v.Epoch == st.v.epoch || v.State == holdall.VolumeSealed &&
			v.Epoch.Incarnation() == st.v.epoch.Incarnation() && v.Epoch.Counter() == st.v.epoch.Counter()+1
		if ours || v.Last < st.table.Number {
			return ours && v.Last >= st.table.Number
		}
	}
	// Others wrote to the volume since, and its last stripe may be theirs. They
	// append only where everything ended as committed, so no block of theirs lies
	// where one of an uncommitted stripe does.
	for i := range rows {
		if rows[i].Found && rows[i].Location == st.blocks[i].location(st.v.id) {
			return true
		}
	}
	return false
}

// lookUpItems returns the row of every item, by linearizable reads.
func (g *Gateway) lookUpItems(ctx context.Context, items []*item) ([]metadata.Block, error) {
	places := map[holdall.NamespaceID][]int{}
	for i, it := range items {
		places[it.flight.key.ns] = append(places[it.flight.key.ns], i)
	}
	rows := make([]metadata.Block, len(items))
	for ns, at := range places {
		for len(at) > 0 {
			now := at[:min(len(at), holdall.MaxIDsPerCall)]
			at = at[len(now):]
			ids := make([]holdall.BlockID, len(now))
			for i, k := range now {
				ids[i] = items[k].flight.key.id
			}
			found, err := g.cfg.Index.Lookup(ctx, ns, ids, true)
			if err != nil {
				return nil, fmt.Errorf("gateway: look up %d blocks of a refused stripe: %w", len(ids), err)
			}
			for i, k := range now {
				rows[k] = found[i]
			}
		}
	}
	return rows, nil
}
