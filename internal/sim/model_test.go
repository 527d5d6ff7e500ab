package sim

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/gateway"
)

var (
	seeds    = flag.Int("seeds", 512, "how many seeds the model test runs")
	oneSeed  = flag.Uint64("seed", 0, "run the model test with this seed alone; 0 = all")
	opsASeed = flag.Int("ops", 200, "operations for each seed of the model test")
)

// TestModel runs random operations on whole cells, with deaths, rot and lost
// disks, and compares every answer with a map.
func TestModel(t *testing.T) {
	if *oneSeed != 0 {
		runModel(t, *oneSeed)
		return
	}
	var next, ops atomic.Uint64
	var wg sync.WaitGroup
	// Most of a restart is waiting for an election: many cells at once.
	for range 8 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := next.Add(1); seed <= uint64(*seeds) && !t.Failed(); seed = next.Add(1) {
				ops.Add(uint64(runModel(t, seed)))
			}
		})
	}
	wg.Wait()
	t.Logf("%d operations over %d seeds", ops.Load(), *seeds)
}

// state is what the model knows of a block.
type state uint8

const (
	absent  state = iota // never there, or purged
	live                 // acknowledged: must be found
	trashed              // deleted: must not be found, may be undeleted
	unsure               // a crash came between the put and its answer: whole, or not there
)

// block is a block of the model. Its bytes come from its number.
type block struct {
	data  []byte
	id    holdall.BlockID
	state state
}

// model is one run: a cell, and the map it is compared with.
type model struct {
	t      *testing.T
	seed   uint64
	r      *rand.Rand
	c      *Cell
	ctx    context.Context
	blocks []*block
	byID   map[holdall.BlockID]*block
	weak   []int        // the disks that may be damaged or lost: as many as the scheme bears
	lost   map[int]bool // those that are away now
	extra  map[int]bool // disks away beyond what the scheme bears: reads may be unavailable
	ops    int
	log    []string
}

// runModel returns how many operations it ran.
func runModel(t *testing.T, seed uint64) int {
	r := rand.New(rand.NewPCG(seed, 0))
	m := &model{t: t, seed: seed, r: r, ctx: context.Background(), byID: map[holdall.BlockID]*block{},
		weak: r.Perm(9)[:3], lost: map[int]bool{}, extra: map[int]bool{}}
	c, err := New(Config{Seed: seed, Disk: faultdisk.Config{ZoneSize: 256 << 10, Zones: 64, Conventional: seed%3 == 0}, ExtentZones: 4,
		Gateway: func(g *gateway.Config) { g.OpenVolumes = 1 + int(seed%4) }})
	if err != nil {
		m.fatal("start", err)
		return 0
	}
	m.c = c
	for m.ops < *opsASeed && !t.Failed() {
		m.step()
	}
	for i := range m.extra {
		m.back(i)
	}
	for _, b := range m.blocks {
		m.get(b)
	}
	if err := c.Stop(); err != nil {
		m.fatal("stop", err)
	}
	return m.ops
}

// fatal reports what differs from the model, with the way to see it again.
func (m *model) fatal(op string, err error) {
	if m.t.Failed() {
		return
	}
	for _, line := range m.log {
		m.t.Log(line)
	}
	m.t.Errorf("seed %d, operation %d: %s: %v\nagain: go test ./internal/sim -run TestModel -seed %d -ops %d", m.seed, m.ops, op, err, m.seed, *opsASeed)
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf("%d: ", m.ops)+fmt.Sprintf(format, args...))
}

// step runs one operation, or a few at the same time.
func (m *model) step() {
	m.ops++
	ops := []struct {
		weight int
		run    func()
	}{
		{240, func() { m.putMany(1, false) }},
		{30, func() { m.putMany(2+m.r.IntN(10), false) }},
		{60, m.putAgain},
		{360, func() { m.get(m.some()) }},
		{90, m.getRange},
		{80, m.remove},
		{40, m.undelete},
		{30, m.claim},
		{16, m.purge},
		{10, m.seal},
		{30, m.rot},
		{8, m.loseDisk},
		{8, m.returnDisk},
		{3, m.loseTooMany},
		{2, func() { m.again("restart", m.c.Restart) }},
		{2, func() { m.again("kill", m.c.Kill) }},
		{4, func() { m.again("crash", m.crash) }},
		{4, func() { m.putMany(1+m.r.IntN(10), true) }},
	}
	sum := 0
	for _, op := range ops {
		sum += op.weight
	}
	at := m.r.IntN(sum)
	for _, op := range ops {
		if at -= op.weight; at < 0 {
			op.run()
			return
		}
	}
}

// some returns a block of the model, or nil if there is none yet.
func (m *model) some() *block {
	if len(m.blocks) == 0 {
		return nil
	}
	return m.blocks[m.r.IntN(len(m.blocks))]
}

func (m *model) newBlock() *block {
	n := 1 + m.r.IntN(1<<(1+m.r.IntN(14)))
	if m.r.IntN(40) == 0 {
		n = 1 + m.r.IntN(150_000)
	}
	data := make([]byte, n)
	for i := 0; i < n; i += 61 { // enough to tell blocks apart
		data[i] = byte(m.r.Uint32())
	}
	copy(data, fmt.Sprint(m.seed, len(m.blocks)))
	b := &block{data: data, id: holdall.HashBlock(data)}
	if known := m.byID[b.id]; known != nil {
		return known
	}
	m.blocks = append(m.blocks, b)
	m.byID[b.id] = b
	return b
}

// putMany puts blocks at the same time; dying, the power goes while they are on
// their way.
func (m *model) putMany(n int, dying bool) {
	blocks := make([]*block, n)
	for i := range blocks {
		blocks[i] = m.newBlock()
	}
	m.ops += n - 1
	m.put(blocks, dying)
}

func (m *model) putAgain() {
	if b := m.some(); b != nil {
		m.put([]*block{b}, false)
	}
}

func (m *model) put(blocks []*block, dying bool) {
	var dead atomic.Bool
	acked := make([]bool, len(blocks))
	errs := make([]error, len(blocks))
	var wg sync.WaitGroup
	gw := m.c.Gateway
	hang := make(chan struct{})
	var stuck *faultdisk.Injection
	if dying {
		kind := []faultdisk.OpKind{faultdisk.OpAppend, faultdisk.OpSync}[m.r.IntN(2)]
		stuck = m.c.Array.Disk(m.r.IntN(9)).Inject(faultdisk.Fault{Op: kind, Zone: faultdisk.AnyZone, Skip: m.r.IntN(4),
			Effect: faultdisk.Hang, Until: hang})
	}
	for i, b := range blocks {
		wg.Go(func() {
			_, err := gw.PutBytes(m.ctx, holdall.DefaultNamespace, b.data)
			acked[i], errs[i] = err == nil && !dead.Load(), err
		})
	}
	if dying {
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		for stuck.Hits() == 0 {
			select {
			case <-done:
			default:
				runtime.Gosched()
				continue
			}
			break
		}
		dead.Store(true)
		m.again("crash in a put", func() error {
			close(hang)
			return m.crash()
		})
	}
	wg.Wait()
	for i, b := range blocks {
		switch {
		case acked[i]:
			b.state = live
		case dying && b.state != live:
			b.state = unsure
		case !dying && m.mayFail(errs[i]):
		case !dying:
			m.fatal("put", errs[i])
		}
	}
}

// mayFail says whether puts or reads may fail like this at present.
func (m *model) mayFail(err error) bool {
	return len(m.extra) > 0 && (errors.Is(err, holdall.ErrUnavailable) || errors.Is(err, holdall.ErrRefused)) ||
		errors.Is(err, holdall.ErrExhausted)
}

func (m *model) get(b *block) {
	if b == nil {
		return
	}
	res, err := m.c.Gateway.Get(m.ctx, holdall.DefaultNamespace, b.id, gateway.GetOptions{})
	if err == nil {
		defer res.View.Release()
		if !bytes.Equal(res.View.Data, b.data) || res.Proof != holdall.ProofHash {
			m.fatal("get", fmt.Errorf("other bytes of block %v", b.id))
		}
	}
	m.compare("get", b, err)
}

// compare checks the outcome of a read against the model.
func (m *model) compare(op string, b *block, err error) {
	switch found, gone := err == nil, errors.Is(err, holdall.ErrNotFound); {
	case b.state == unsure && (found || gone):
		b.state = absent
		if found {
			b.state = live
		}
	case found && b.state != live:
		m.fatal(op, fmt.Errorf("block %v is found, and is %d in the model", b.id, b.state))
	case gone && b.state == live:
		m.fatal(op, fmt.Errorf("acknowledged block is not found: %v", err))
	case !found && !gone && (!m.mayFail(err) || errors.Is(err, holdall.ErrDataLoss)):
		m.fatal(op, err)
	}
}

func (m *model) getRange() {
	b := m.some()
	if b == nil {
		return
	}
	off := m.r.IntN(len(b.data))
	n := m.r.IntN(len(b.data) - off + 1)
	res, err := m.c.Gateway.Get(m.ctx, holdall.DefaultNamespace, b.id, gateway.GetOptions{Offset: off, Length: n, Consistent: m.r.IntN(3) == 0})
	if err == nil {
		defer res.View.Release()
		if n == 0 {
			n = len(b.data) - off
		}
		if !bytes.Equal(res.View.Data, b.data[off:off+n]) {
			m.fatal("range", fmt.Errorf("other bytes of block %v", b.id))
		}
	}
	m.compare("range", b, err)
}
