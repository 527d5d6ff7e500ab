package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/wire"
)

// What no verified put or get over gRPC can beat: a server that hashes what it
// is sent and drops it, and that sends what lies in memory, behind the same
// front (package wire), codec and connections as the engine. It runs in a
// process of its own, as the engine does, or its share of the cores would be
// another.

// NetSet is how many bytes of blocks the server of the network limits sends:
// too many for the processor's caches, as blocks that were just read are.
const NetSet = 128 << 20

// netRun numbers the blocks of the server of the network limits, so that its
// client knows their ids.
const netRun = 0x6c696d697473

// ServeNetLimits serves blocks of size bytes to MeasureNet on l until ctx ends,
// and then returns nil.
func ServeNetLimits(ctx context.Context, l net.Listener, size int) error {
	if err := (Sizes{Fixed: size}).validate(); err != nil {
		return err
	}
	n := newNetServer(size)
	defer n.release()
	s, err := wire.NewServer(wire.Config{Put: n, Get: n, Process: n, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	s.SetReady(true)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		now, cancel := context.WithCancel(context.Background())
		cancel()
		s.Stop(now)
	})
	err = s.Serve(l)
	if !stop() {
		<-stopped
	}
	return err
}

// netServer keeps nothing of what it is sent.
type netServer struct {
	started time.Time
	pool    *buffer.Pool
	blocks  map[holdall.BlockID]*buffer.Buffer
}

func newNetServer(size int) *netServer {
	n := &netServer{started: time.Now(), pool: buffer.NewPool(0), blocks: map[holdall.BlockID]*buffer.Buffer{}}
	from := newSource(netRun, 0)
	for range netBlocks(size) {
		b := n.pool.Take(size)
		copy(b.Bytes(), from.block(size))
		n.blocks[holdall.HashBlock(b.Bytes())] = b
	}
	return n
}

func netBlocks(size int) int { return max(1, min(4096, NetSet/size)) }

func (n *netServer) release() {
	for _, b := range n.blocks {
		b.Release()
	}
}

func (n *netServer) ProcessStats(context.Context) (client.ProcessStats, error) {
	return Usage(n.started), nil
}

func (n *netServer) Stat(context.Context, holdall.NamespaceID, holdall.BlockID) (client.BlockStat, error) {
	return client.BlockStat{}, fmt.Errorf("the limits' server has no places: %w", holdall.ErrInvalid)
}

func (n *netServer) Get(_ context.Context, _ holdall.NamespaceID, id holdall.BlockID, _ wire.GetOptions) (wire.GetResult, error) {
	b := n.blocks[id]
	if b == nil {
		return wire.GetResult{}, fmt.Errorf("block %v: %w", id, holdall.ErrNotFound)
	}
	return wire.GetResult{View: buffer.View{Buffer: b.Ref(), Data: b.Bytes()}, Size: b.Len(), Proof: holdall.ProofNone}, nil
}

func (n *netServer) Admit(int64) (wire.Admission, error) { return drop{}, nil }

// drop is an admission that holds nothing.
type drop struct{}

func (drop) Release() {}

func (drop) Receive(holdall.NamespaceID, int) (wire.Incoming, error) {
	return &hashed{hasher: holdall.NewHasher()}, nil
}

// hashed is a block of which only the hash is kept.
type hashed struct{ hasher *holdall.Hasher }

func (h *hashed) Write(p []byte) (int, error) { return h.hasher.Write(p) }
func (h *hashed) Discard()                    {}

func (h *hashed) Put(_ context.Context, want *holdall.BlockID) (wire.PutResult, error) {
	id := h.hasher.ID()
	if want != nil && *want != id {
		return wire.PutResult{}, fmt.Errorf("block named %v hashes to %v: %w", *want, id, holdall.ErrInvalid)
	}
	return wire.PutResult{ID: id}, nil
}

// NetConfig says how the network limits are measured.
type NetConfig struct {
	Endpoint    string        // of ServeNetLimits
	Size        int           // bytes of a block, that of ServeNetLimits
	Concurrency int           // calls in flight; 0 = 16
	Connections int           // 0 = the client's default
	Duration    time.Duration // of each figure; 0 = 3 s
}

// NetFigure is one limit.
type NetFigure struct {
	OpsPerSecond float64 `json:"ops_per_s"`
	MBPerSecond  float64 `json:"mb_per_s"`             // 10^6 bytes
	ClientCPU    float64 `json:"client_cpu_s_per_gib"` // seconds
	ServerCPU    float64 `json:"server_cpu_s_per_gib"` // seconds
}

// MeasurePut returns the rate at which verified puts of c.Size go through gRPC:
// the client hashes and sends, the server receives, hashes and drops.
func (c NetConfig) MeasurePut(ctx context.Context) (NetFigure, error) {
	return c.measure(ctx, func(cl *client.Client, worker int, _ *rand.Rand) operation {
		from := newSource(rand.Uint64(), worker)
		return func(ctx context.Context) (int, error) {
			_, err := cl.Put(ctx, from.block(c.Size))
			return c.Size, err
		}
	})
}

// MeasureGet returns the rate at which verified gets of c.Size come through
// gRPC: the server sends from memory, the client hashes.
func (c NetConfig) MeasureGet(ctx context.Context) (NetFigure, error) {
	from := newSource(netRun, 0)
	ids := make([]holdall.BlockID, netBlocks(c.Size))
	for i := range ids {
		ids[i] = holdall.HashBlock(from.block(c.Size))
	}
	return c.measure(ctx, func(cl *client.Client, _ int, r *rand.Rand) operation {
		return func(ctx context.Context) (int, error) {
			b, err := cl.Fetch(ctx, ids[r.IntN(len(ids))], client.GetOptions{})
			if err != nil {
				return 0, err
			}
			b.Release()
			return c.Size, nil
		}
	})
}

// operation is one call of a workload. It returns the bytes that it moved.
type operation func(context.Context) (int, error)

func (c NetConfig) measure(ctx context.Context, begin func(cl *client.Client, worker int, r *rand.Rand) operation) (NetFigure, error) {
	cl, err := client.Dial(client.Options{Connections: c.Connections, Attempts: 1}, c.Endpoint)
	if err != nil {
		return NetFigure{}, err
	}
	defer cl.Close()
	if c.Concurrency == 0 {
		c.Concurrency = 16
	}
	if c.Duration == 0 {
		c.Duration = 3 * time.Second
	}
	l := load{workers: c.Concurrency, duration: c.Duration, stats: cl.ProcessStats}
	r, err := l.run(ctx, func(worker int) operation {
		return begin(cl, worker, rand.New(rand.NewPCG(uint64(worker), 1)))
	})
	if err == nil && r.first != nil {
		err = fmt.Errorf("%d of %d calls failed, the first with: %w", r.Errors, r.Ops, r.first)
	}
	if err != nil {
		return NetFigure{}, errors.Join(errors.New("bench: network limits"), err)
	}
	return NetFigure{OpsPerSecond: r.OpsPerSecond, MBPerSecond: r.MBPerSecond, ClientCPU: r.ClientCPU, ServerCPU: r.ServerCPU}, nil
}
