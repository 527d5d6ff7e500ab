package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryCell keeps blocks in memory, and loses what it is told to.
type memoryCell struct {
	pool *buffer.Pool

	mu     sync.Mutex // guards all below
	blocks map[holdall.BlockID][]byte
	spoil  func(n int, data []byte) ([]byte, error) // what becomes of the nth block to be put; nil = it is kept
	fails  map[holdall.BlockID]error
	puts   int
}

func serveMemory(t *testing.T) (*memoryCell, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &memoryCell{pool: buffer.NewPool(64 << 20), blocks: map[holdall.BlockID][]byte{}, fails: map[holdall.BlockID]error{}}
	s, err := wire.NewServer(wire.Config{Put: m, Get: m, Process: m, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop(context.Background())
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return m, l.Addr().String()
}

func (m *memoryCell) ProcessStats(context.Context) (client.ProcessStats, error) {
	return Usage(time.Unix(1, 0)), nil
}

func (m *memoryCell) Admit(int64) (wire.Admission, error) { return &memoryPut{cell: m}, nil }

type memoryPut struct {
	cell *memoryCell
	data []byte
}

func (p *memoryPut) Release() {}
func (p *memoryPut) Discard() {}
func (p *memoryPut) Receive(holdall.NamespaceID, int) (wire.Incoming, error) {
	return p, nil
}

func (p *memoryPut) Write(b []byte) (int, error) { p.data = append(p.data, b...); return len(b), nil }

func (p *memoryPut) Put(context.Context, *holdall.BlockID) (wire.PutResult, error) {
	id := holdall.HashBlock(p.data)
	p.cell.mu.Lock()
	defer p.cell.mu.Unlock()
	if p.cell.spoil != nil {
		data, err := p.cell.spoil(p.cell.puts, p.data)
		if p.data = data; err != nil {
			p.cell.fails[id] = err
		}
	}
	p.cell.puts++
	p.cell.blocks[id] = p.data
	return wire.PutResult{ID: id}, nil
}

func (m *memoryCell) Stat(context.Context, holdall.NamespaceID, holdall.BlockID) (client.BlockStat, error) {
	return client.BlockStat{}, holdall.ErrInvalid
}

func (m *memoryCell) Get(_ context.Context, _ holdall.NamespaceID, id holdall.BlockID, _ wire.GetOptions) (wire.GetResult, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.blocks[id]
	if !ok {
		m.fails[id] = holdall.ErrNotFound
	}
	if err := m.fails[id]; err != nil {
		return wire.GetResult{}, fmt.Errorf("block %v: %w", id, err)
	}
	b := m.pool.Take(len(data))
	copy(b.Bytes(), data)
	return wire.GetResult{View: buffer.View{Buffer: b, Data: b.Bytes()}, Size: len(data), Proof: holdall.ProofHash}, nil
}

func TestPutThenGetReadsEveryBlockOnce(t *testing.T) {
	m, endpoint := serveMemory(t)
	ids := filepath.Join(t.TempDir(), "ids")
	c := Config{Endpoint: endpoint, Sizes: Sizes{Fixed: 5000}, Concurrency: 4, Count: 100, IDs: ids}
	put, err := Put(t.Context(), c)
	if err != nil || put.Ops != 100 || put.Errors != 0 || put.Bytes != 500000 || put.P50 <= 0 || put.P999 < put.P50 || put.ServerRSS == 0 || put.OpsPerSecond <= 0 {
		t.Fatalf("%+v, %v", put, err)
	}
	if len(m.blocks) != 100 {
		t.Errorf("%d different blocks were put, want 100", len(m.blocks))
	}
	c.Count = 0
	get, err := Get(t.Context(), c)
	if err != nil || get.Ops != 100 || get.Errors != 0 || get.Bytes != 500000 {
		t.Errorf("%+v, %v", get, err)
	}
}

func TestAnotherRunPutsOtherBlocks(t *testing.T) {
	m, endpoint := serveMemory(t)
	for range 2 {
		if _, err := Put(t.Context(), Config{Endpoint: endpoint, Sizes: Sizes{Fixed: 100}, Count: 20}); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.blocks) != 40 {
		t.Errorf("%d different blocks were put, want 40", len(m.blocks))
	}
}

func TestMixedVerifiesWhatItWasPromised(t *testing.T) {
	_, endpoint := serveMemory(t)
	r, err := Mixed(t.Context(), Config{Endpoint: endpoint, Sizes: Sizes{Fixed: 3000}, Concurrency: 4, Count: 300})
	if err != nil || r.Ops != 300 || r.Puts+r.Gets != 300 || r.Puts == 0 || r.Gets == 0 || r.Verified != r.Acknowledged || r.Lost+r.Wrong+r.Unreadable != 0 || r.Findings != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

// A cell that loses one block, spoils one, and keeps one to itself: each is
// found, and told for what it is.
func TestMixedFindsWhatACellLost(t *testing.T) {
	m, endpoint := serveMemory(t)
	m.spoil = func(n int, data []byte) ([]byte, error) {
		switch n {
		case 3:
			return data, holdall.ErrNotFound
		case 5:
			data = slices.Clone(data)
			data[len(data)-1] ^= 1
		case 7:
			return data, holdall.ErrUnavailable
		case 9:
			return data, holdall.ErrDataLoss
		}
		return data, nil
	}
	ids := filepath.Join(t.TempDir(), "ids")
	r, err := Mixed(t.Context(), Config{Endpoint: endpoint, Sizes: Sizes{Fixed: 3000}, Concurrency: 1, Count: 12, PutShare: 1, IDs: ids, Settle: time.Millisecond})
	if err != nil || r.Acknowledged != 12 || r.Lost != 2 || r.Wrong != 1 || r.Unreadable != 1 || r.Verified != 8 || len(r.Findings) != 4 {
		t.Errorf("%+v, %v", r, err)
	}
	if noted, err := ReadIDs(ids); err != nil || len(noted) != 12 || noted[0].Size != 3000 {
		t.Errorf("file of ids: %v, %v", noted, err)
	}
}

func TestNothingGoingWellIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := Put(t.Context(), Config{Endpoint: l.Addr().String(), Sizes: Sizes{Fixed: 100}, Count: 2, Concurrency: 1}); !errors.Is(err, holdall.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

func TestNetworkLimitsAreMeasured(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- ServeNetLimits(ctx, l, 4096) }()
	c := NetConfig{Endpoint: l.Addr().String(), Size: 4096, Concurrency: 4, Duration: 50 * time.Millisecond}
	put, err1 := c.MeasurePut(ctx)
	get, err2 := c.MeasureGet(ctx)
	stop()
	if err := errors.Join(err1, err2, <-served); err != nil {
		t.Fatal(err)
	}
	for _, f := range []NetFigure{put, get} {
		if f.OpsPerSecond <= 0 || f.MBPerSecond <= 0 || f.ClientCPU <= 0 || f.ServerCPU <= 0 {
			t.Errorf("%+v", f)
		}
	}
}

func TestSizesAreDrawnAsTheySay(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var drawn []int
	for range 20000 {
		drawn = append(drawn, Sizes{LogNormal: true}.next(r))
	}
	slices.Sort(drawn)
	median := float64(drawn[len(drawn)/2])
	sigma := math.Log(median / float64(drawn[len(drawn)*1587/10000])) // one σ below the median lie 15.87 %
	if math.Abs(median-1<<20) > 50000 || math.Abs(sigma-1) > 0.05 || drawn[len(drawn)-1] != holdall.MaxBlockSize {
		t.Errorf("median %v, σ %v, largest %d", median, sigma, drawn[len(drawn)-1])
	}
	if n := (Sizes{}).next(r); n != holdall.MaxBlockSize {
		t.Errorf("the default size is %d", n)
	}
}

func TestBadConfigsAndFilesAreRefused(t *testing.T) {
	for _, c := range []Config{
		{Sizes: Sizes{Fixed: 3}}, {Sizes: Sizes{Fixed: 5 << 20}}, {Sizes: Sizes{Fixed: 100, LogNormal: true}},
		{Concurrency: -1}, {Duration: -1}, {Count: -1}, {PutShare: 2},
	} {
		if err := c.Validate(); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	path := filepath.Join(t.TempDir(), "ids")
	for _, text := range []string{"", "zz", holdall.BlockID{}.String() + " x", string(make([]byte, 5000))} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Get(t.Context(), Config{IDs: path}); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("file of ids %.10q: %v", text, err)
		}
	}
}
