package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/sim"
)

func TestHealthyGetIsOneDeviceReadAndTheSecondNone(t *testing.T) {
	c := newCell(t, large())
	ids := append(c.putMany(8, 1<<20), c.putMany(8, 5000)...)
	c.seal()
	c.cold()
	before := c.counts()
	for _, id := range ids {
		if _, err := c.get(id); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.counts().Reads - before.Reads; n != int64(len(ids)) {
		t.Errorf("%d device reads for %d gets", n, len(ids))
	}
	before = c.counts()
	for _, id := range ids {
		if _, err := c.get(id); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.counts().Reads - before.Reads; n != 0 {
		t.Errorf("%d device reads for blocks that were just read", n)
	}
}

func TestDegradedGetIsAtMostSevenDeviceReads(t *testing.T) {
	c := newCell(t, large())
	ids := c.putMany(18, 300_000)
	c.seal()
	for _, id := range ids {
		c.cold() // no footer is cached
		disk, _ := c.place(id)
		c.cold() // nor by Stat
		c.Array.Disk(disk).Unplug()
		before := c.counts()
		got, err := c.get(id)
		if err != nil || !bytes.Equal(got, c.acks[id]) {
			t.Fatal(err)
		}
		// The call on the disk that is gone is counted too.
		if n := c.counts().Reads - before.Reads; n > 7+1 {
			t.Errorf("%d device reads", n)
		}
		c.Array.Disk(disk).Plug()
	}
}

func TestEveryBlockReadsWithAnyThreeDisksGone(t *testing.T) {
	c := newCell(t, sim.Config{})
	c.putMany(30, 40_000)
	c.seal()
	c.putMany(30, 9_000)
	for _, n := range []int{1, 5000, 70_000} {
		c.put(n) // alone in their stripes
	}
	for _, gone := range [][]int{{0, 1, 2}, {3, 5, 7}, {6, 7, 8}, {0, 4, 8}, {2, 3, 4}} {
		last := c.put(12_345) // acknowledged in the moment before
		for _, i := range gone {
			c.Array.Disk(i).Unplug()
		}
		if _, err := c.get(last); err != nil {
			t.Fatal(err)
		}
		c.check()
		for _, i := range gone {
			if err := c.Readmit(i); err != nil {
				t.Fatal(err)
			}
		}
		c.cold()
	}
}

func TestTooManyDisksGoneIsUnavailableUntilOneReturns(t *testing.T) {
	c := newCell(t, sim.Config{})
	ids := c.putMany(60, 40_000)
	c.cold()
	for i := range 4 {
		c.Array.Disk(i).Unplug()
	}
	unavailable := 0
	for _, id := range ids {
		got, err := c.get(id)
		switch {
		case err == nil && bytes.Equal(got, c.acks[id]):
		case errors.Is(err, holdall.ErrUnavailable) && !errors.Is(err, holdall.ErrNotFound) && !errors.Is(err, holdall.ErrDataLoss):
			unavailable++
		default:
			t.Fatalf("with four disks gone: %v", err)
		}
	}
	if unavailable == 0 {
		t.Error("every block reads with four disks of rs-6-3 gone: nothing was tested")
	}
	c.Array.Disk(2).Plug()
	c.check()
}

// spoil flips a bit in the shards of a block's stripe, its own first, in the
// range of the block. It returns the places of the disks with the next shards.
func spoil(c *cell, id holdall.BlockID, count int) (rest []int) {
	c.t.Helper()
	_, st := c.place(id)
	v, err := c.Store.Volume(st.Volume)
	if err != nil {
		c.t.Fatal(err)
	}
	stripe, err := c.Server.StripeAt(c.t.Context(), v.Members[st.Member].Disk, v.Extent(st.Member), st.Member, st.Offset)
	if err != nil {
		c.t.Fatal(err)
	}
	n := len(stripe.Shards)
	first := st.Offset - stripe.Shards[st.Shard].Offset // from the record
	for k := range n {
		shard := (st.Shard + k) % n
		p := stripe.Shards[shard]
		if int64(p.Length) <= first-holdall.RecordHeaderSize {
			continue
		}
		m := holdall.ShardMember(stripe.Number, shard, n)
		if count == 0 {
			rest = append(rest, c.diskAt(v.Members[m].Disk))
			continue
		}
		// Another bit each: the same one in two shards cancels out in an XOR.
		if err := c.Rot(v.Members[m].Disk, v.Extent(m), p.Offset+first, k%8); err != nil {
			c.t.Fatal(err)
		}
		count--
	}
	return rest
}

func TestGetSurvivesRotInOwnShardAndTwoMates(t *testing.T) {
	c := newCell(t, sim.Config{})
	for range 8 {
		spoil(c, c.putMany(6, 100_000)[0], 3) // one a stripe: they share ranges
	}
	spoil(c, c.put(100_000), 3)
	c.cold()
	c.check()
	c.seal()
	c.cold()
	c.check()
}

// TestCallerWhoVerifiesIsNotTrustedByOthers: bytes that nobody hashed are for
// the caller who said that it would, from the disk and from the cache alike.
func TestCallerWhoVerifiesIsNotTrustedByOthers(t *testing.T) {
	for _, rotten := range []bool{false, true} {
		c := newCell(t, large())
		id := c.putMany(6, 100_000)[0]
		if rotten {
			spoil(c, id, 1)
		}
		c.seal()
		c.cold()
		before := c.counts()
		for range 2 {
			res, err := c.Gateway.Get(t.Context(), ns, id, gateway.GetOptions{CallerVerifies: true})
			if err != nil {
				t.Fatal(err)
			}
			if right := bytes.Equal(res.View.Data, c.acks[id]); res.Proof != holdall.ProofNone || right == rotten {
				t.Errorf("rotten %t: proof %v, the right bytes: %t", rotten, res.Proof, right)
			}
			res.View.Release()
		}
		if n := c.counts().Reads - before.Reads; n != 1 {
			t.Errorf("rotten %t: %d device reads for two gets, want 1", rotten, n)
		}
		c.check()
		if n := c.counts().Reads - before.Reads; !rotten && n != int64(len(c.acks)) {
			t.Errorf("%d device reads for %d blocks, one of them in the cache", n, len(c.acks))
		}
		res, err := c.Gateway.Get(t.Context(), ns, id, gateway.GetOptions{CallerVerifies: true})
		if err != nil || res.Proof != holdall.ProofHash || !bytes.Equal(res.View.Data, c.acks[id]) {
			t.Errorf("rotten %t: after a get that verified: proof %v, %v", rotten, res.Proof, err)
		}
		res.View.Release()
	}
}

func TestDataLossIsSaidOnlyWhenProved(t *testing.T) {
	c := newCell(t, sim.Config{})
	ids := c.putMany(6, 100_000)
	rest := spoil(c, ids[0], 3)
	c.cold()
	c.Array.Disk(rest[0]).Unplug()
	if _, err := c.get(ids[0]); !errors.Is(err, holdall.ErrUnavailable) || errors.Is(err, holdall.ErrDataLoss) {
		t.Errorf("three shards rotten, one disk gone: %v, want unavailable", err)
	}
	c.Array.Disk(rest[0]).Plug()
	if _, err := c.get(ids[0]); err != nil {
		t.Errorf("three shards rotten, the disk is back: %v", err)
	}
	c.cold()
	id := c.putMany(6, 50_000)[0]
	spoil(c, id, 4)
	if _, err := c.get(id); !errors.Is(err, holdall.ErrDataLoss) {
		t.Errorf("four shards rotten: %v, want data loss", err)
	}
}

func TestRangesAreVerified(t *testing.T) {
	c := newCell(t, large())
	for _, n := range []int{3 << 20, 100_000} {
		id := c.put(n)
		c.cold()
		for _, o := range []gateway.GetOptions{{Offset: 0, Length: 1}, {Offset: n - 1, Length: 1}, {Offset: 65535, Length: 2}, {Offset: 1000},
			{Offset: 12345, Length: 30_000}, {Offset: n}, {Length: n}} {
			res, err := c.Gateway.Get(t.Context(), ns, id, o)
			if err != nil {
				t.Fatalf("%+v of %d: %v", o, n, err)
			}
			end := o.Offset + o.Length
			if o.Length == 0 {
				end = n
			}
			if !bytes.Equal(res.View.Data, c.acks[id][o.Offset:end]) || res.Size != n {
				t.Errorf("%+v of %d: other bytes", o, n)
			}
			if o.Length > 0 && o.Length < 100 && n > 1<<20 && res.Proof == holdall.ProofHash {
				t.Errorf("%+v of %d: the whole block was read", o, n)
			}
			res.View.Release()
		}
		for _, o := range []gateway.GetOptions{{Offset: -1}, {Offset: n + 1}, {Offset: 1, Length: n}, {Length: -1}} {
			if _, err := c.getRange(id, o); !errors.Is(err, holdall.ErrInvalid) {
				t.Errorf("%+v of %d: %v, want invalid", o, n, err)
			}
		}
	}
}

func TestRangeOfRottenShardComesFromTheOthers(t *testing.T) {
	c := newCell(t, large())
	var ids []holdall.BlockID
	for range 3 {
		ids = append(ids, c.putMany(6, 1<<20)[0])
		spoil(c, ids[len(ids)-1], 3)
	}
	c.cold()
	for _, id := range ids {
		got, err := c.getRange(id, gateway.GetOptions{Offset: 100, Length: 5000})
		if err != nil || !bytes.Equal(got, c.acks[id][100:5100]) {
			t.Fatal(err)
		}
	}
}

func TestDiskThatHangsIsReadAround(t *testing.T) {
	c := newCell(t, tune(func(cfg *gateway.Config) { cfg.HedgeMin = time.Millisecond }))
	ids := c.putMany(100, 10_000)
	c.check() // so that it is known how long reads take
	c.cold()
	for _, id := range ids[10:] {
		if _, err := c.get(id); err != nil {
			t.Fatal(err)
		}
	}
	disk, _ := c.place(ids[0])
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	c.Array.Disk(disk).Inject(faultdisk.Fault{Op: faultdisk.OpRead, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: release})
	if got, err := c.get(ids[0]); err != nil || !bytes.Equal(got, c.acks[ids[0]]) {
		t.Errorf("get behind a read that hangs: %v", err)
	}
	free()
}

func TestGetEndsWithItsContext(t *testing.T) {
	c := newCell(t, sim.Config{})
	id := c.put(10_000)
	c.cold()
	disk, _ := c.place(id)
	release := make(chan struct{})
	hang := faultdisk.Fault{Op: faultdisk.OpRead, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: release}
	in := c.Array.Disk(disk).Inject(hang)
	for i := range c.Array.Len() { // a read from elsewhere must not answer first
		if i != disk {
			c.Array.Disk(i).Inject(hang)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := c.Gateway.Get(ctx, ns, id, gateway.GetOptions{})
		done <- err
	}()
	c.waitFor("the read to hang", func() bool { return in.Hits() > 0 })
	cancel()
	if err := <-done; !errors.Is(err, holdall.ErrUnavailable) {
		t.Error(err)
	}
	close(release)
	c.waitFor("memory to come back", func() bool { return c.Gateway.Status().GetBytes == 0 })
}

func TestDeletedBlocksAreNotFoundAndUndeletedOnesAre(t *testing.T) {
	c := newCell(t, sim.Config{})
	ids := c.putMany(6, 10_000)
	c.check() // cached
	unknown := holdall.BlockID{1}
	gone, err := c.Gateway.Delete(t.Context(), ns, append(ids[:2:2], unknown))
	if err != nil || len(gone) != 1 || gone[0] != unknown {
		t.Fatal(gone, err)
	}
	for _, id := range ids[:2] {
		if _, err := c.get(id); !errors.Is(err, holdall.ErrNotFound) {
			t.Errorf("deleted block: %v", err)
		}
		if st, err := c.Gateway.Stat(t.Context(), ns, id); err != nil || st.TrashedAt.IsZero() || st.Direct {
			t.Errorf("stat of a trashed block: %+v, %v", st, err)
		}
	}
	missing, err := c.Gateway.Missing(t.Context(), ns, ids)
	if err != nil || !slices.Equal(missing, ids[:2]) {
		t.Error(missing, err)
	}
	if gone, err := c.Gateway.Undelete(t.Context(), ns, ids[:1]); err != nil || len(gone) != 0 {
		t.Fatal(gone, err)
	}
	if gone, err := c.Gateway.Claim(t.Context(), ns, []holdall.BlockID{ids[1], unknown}); err != nil || !slices.Equal(gone, []holdall.BlockID{unknown}) {
		t.Fatal(gone, err)
	}
	c.check()
	if _, err := c.Gateway.Delete(t.Context(), ns, make([]holdall.BlockID, holdall.MaxIDsPerCall+1)); !errors.Is(err, holdall.ErrInvalid) {
		t.Error(err)
	}
}

func TestStatTellsWhereABlockLies(t *testing.T) {
	c := newCell(t, sim.Config{})
	ids := c.putMany(6, 10_000)
	_, st := c.place(ids[0])
	if st.Size != 10_000 || st.Scheme != holdall.DefaultScheme || st.Stripe == 0 || st.Shard < 0 || st.ShardsOK != st.ShardsTotal || st.ShardsTotal < 4 ||
		!st.Direct || len(st.Members) != 9 {
		t.Errorf("%+v", st)
	}
	total := st.ShardsTotal
	own := st.Members[st.Member].Disk
	if err := c.Server.Remove(own); err != nil {
		t.Fatal(err)
	}
	c.Advance(2 * time.Second)
	_, st = c.place(ids[0])
	if st.ShardsOK != total-1 || st.ShardsTotal != total || st.Members[st.Member].State != holdall.DiskFailed {
		t.Errorf("own disk gone: %+v", st)
	}
	if _, err := c.Gateway.Stat(t.Context(), ns, holdall.BlockID{9}); !errors.Is(err, holdall.ErrNotFound) {
		t.Error(err)
	}
}
