package gateway

import (
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
)

func viewOf(p *buffer.Pool, n int) buffer.View {
	b := p.Take(n)
	return buffer.View{Buffer: b, Data: b.Bytes()}
}

// Two namespaces may have a block of one id, and a damaged row its length wrong.
func TestUnhashedBytesOfAnotherLengthAreNotServed(t *testing.T) {
	pool := buffer.NewPool(0)
	g := &Gateway{blocks: newBlockCache(1<<20, time.Now)}
	v := viewOf(pool, 100)
	id := holdall.HashBlock(v.Data)
	g.blocks.put(id, v, holdall.ProofNone)
	v.Release()
	if _, _, ok := g.cachedBlock(id, 1<<19, true); ok {
		t.Error("100 bytes are served as a block of 512 KiB")
	}
	if lent := pool.Lent(); lent != 0 {
		t.Errorf("%d bytes are still lent", lent)
	}
}

func TestBlockCacheKeepsWhatWasReadLastWithinItsBytes(t *testing.T) {
	now := time.Unix(1000, 0)
	pool := buffer.NewPool(0)
	one := int64(pool.Take(5000).Cap())
	c := newBlockCache(2*one, func() time.Time { return now })
	held := pool.Lent()
	for i := range 3 {
		v := viewOf(pool, 5000)
		c.put(holdall.BlockID{byte(i)}, v, holdall.ProofHash)
		v.Release()
		if i == 1 {
			v, _, ok := c.get(holdall.BlockID{0}) // used: 1 is now the oldest
			if !ok {
				t.Fatal("block 0 is not there")
			}
			v.Release()
		}
	}
	for i, want := range []bool{true, false, true} {
		v, _, ok := c.get(holdall.BlockID{byte(i)})
		if ok != want {
			t.Errorf("block %d: there %t, want %t", i, ok, want)
		}
		v.Release()
	}
	if c.bytes() != 2*one || pool.Lent() != held+2*one {
		t.Errorf("cache says %d bytes, the pool lent %d, want %d", c.bytes(), pool.Lent()-held, 2*one)
	}
	now = now.Add(maxCached + 1)
	if _, _, ok := c.get(holdall.BlockID{0}); ok {
		t.Error("a block that nobody read for long is still there")
	}
	c.clear()
	if pool.Lent() != held {
		t.Errorf("%d bytes leaked", pool.Lent()-held)
	}
}

func TestPlaceCacheForgetsAlsoWhatIsJustBeingLookedUp(t *testing.T) {
	now := time.Unix(1000, 0)
	c := newPlaceCache(func() time.Time { return now })
	k := blockKey{1, holdall.BlockID{7}}
	row := metadata.Block{Found: true, Location: holdall.Location{Volume: 3}}
	c.put(k, row, now)
	if _, ok := c.get(k); !ok {
		t.Fatal("row is not there")
	}
	asked := now // a lookup begins
	now = now.Add(time.Millisecond)
	c.forget(k.ns, []holdall.BlockID{k.id}) // the block is deleted
	c.put(k, row, asked)                    // the lookup's answer, which is older
	if _, ok := c.get(k); ok {
		t.Fatal("a deleted block's row came back into the cache")
	}
	now = now.Add(time.Millisecond)
	c.put(k, row, now) // undeleted since, and looked up again
	if _, ok := c.get(k); !ok {
		t.Fatal("a newer row was not kept")
	}
	now = now.Add(maxRowAge + 1)
	if _, ok := c.get(k); ok {
		t.Fatal("an old row is still used")
	}
}

func TestCacheHoldsASetOf256MiBByDefault(t *testing.T) {
	const blocks = 256 << 20 / holdall.MaxBlockSize
	if have, want := int64(defaultMemory)*cacheShare/100, int64(blocks*buffer.MaxSize); have < want {
		t.Errorf("the cache has %d bytes, %d blocks of 4 MiB need %d", have, blocks, want)
	}
	if sum := cacheShare + receiveShare + sendShare; sum > 100 {
		t.Errorf("shares sum to %d %%", sum)
	}
}
