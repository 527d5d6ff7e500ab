package gateway_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/gateway"
)

// hang makes reads of the disk hang on which a block lies, until the test ends.
func (c *cell) hang(id holdall.BlockID) {
	disk, _ := c.place(id)
	release := make(chan struct{})
	c.t.Cleanup(sync.OnceFunc(func() { close(release) }))
	c.Array.Disk(disk).Inject(faultdisk.Fault{Op: faultdisk.OpRead, Zone: faultdisk.AnyZone, Count: -1, Effect: faultdisk.Hang, Until: release})
}

// TestReadsBehindAHangNeedNoLeaveToHedge: the budget of hedges is for reads that
// are slow. One that hangs is read around, whole or by range, also when nothing
// is known yet of how long reads take, and when the budget is spent.
func TestReadsBehindAHangNeedNoLeaveToHedge(t *testing.T) {
	for _, o := range []gateway.GetOptions{{Length: 1 << 20}, {Offset: 100, Length: 5000}} {
		cfg := tune(func(cfg *gateway.Config) { cfg.HedgeMin = time.Millisecond })
		cfg.Disk, cfg.ExtentZones = large().Disk, large().ExtentZones
		c := newCell(t, cfg)
		id := c.putMany(6, 1<<20)[0]
		c.cold()
		c.hang(id)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		res, err := c.Gateway.Get(ctx, ns, id, o)
		if err != nil || !bytes.Equal(res.View.Data, c.acks[id][o.Offset:][:o.Length]) {
			t.Errorf("get %+v behind a read that hangs: %v", o, err)
		}
		res.View.Release()
	}
}
