package object_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ns     = holdall.DefaultNamespace
	bucket = "photos"
)

// rig is objects over a whole cell in memory, with one bucket.
type rig struct {
	*object.Objects
	cell *sim.Cell
	t    testing.TB
	rnd  *rand.Rand
	cuts *[3]int64 // for after a restart
}

// newRig starts a cell. It is stopped at the end of the test, and must then have
// given all its memory back. change may put something between objects and the
// cell.
func newRig(t testing.TB, cell sim.Config, change func(*object.Config)) *rig {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	if os.Getenv("HOLDALL_TEST_LOG") != "" {
		cell.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	cell.Seed = seed
	cell.Objects = func(cfg *object.Config) {
		cfg.Registerer = prometheus.NewRegistry()
		if change != nil {
			change(cfg)
		}
	}
	c, err := sim.New(cell)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	r := &rig{Objects: c.Objects, cell: c, t: t, rnd: rand.New(rand.NewPCG(seed, 0))}
	if _, err := r.CreateBucket(t.Context(), ns, bucket); err != nil {
		t.Fatal(err)
	}
	return r
}

// restart stops the cell and starts it again.
func (r *rig) restart() {
	r.t.Helper()
	if err := r.cell.Restart(); err != nil {
		r.t.Fatal(err)
	}
	r.Objects = r.cell.Objects
	if r.cuts != nil {
		r.Objects.Cut(int(r.cuts[0]), r.cuts[1], int(r.cuts[2]))
	}
}

// Cut makes objects of smaller pieces.
func (r *rig) Cut(inline int, block int64, entries int) {
	r.cuts = &[3]int64{int64(inline), block, int64(entries)}
	r.Objects.Cut(inline, block, entries)
}

// large is a cell that has room for blocks of 4 MiB.
func large() sim.Config {
	return sim.Config{Disk: faultdisk.Config{ZoneSize: 4 << 20, Zones: 64}, ExtentZones: 4}
}

func roomy(memory int64) sim.Config {
	c := large()
	c.Gateway = func(cfg *gateway.Config) { cfg.Memory = memory }
	return c
}

func (r *rig) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.rnd.Uint32())
	}
	return b
}

func at(key string) object.Place { return object.Place{Namespace: ns, Bucket: bucket, Key: key} }

func (r *rig) put(key string, b []byte) metadata.Object {
	r.t.Helper()
	o, err := r.Put(r.t.Context(), object.PutRequest{Place: at(key), Body: bytes.NewReader(b), Size: int64(len(b))})
	if err != nil {
		r.t.Fatalf("put of %q, %d bytes: %v", key, len(b), err)
	}
	return o
}

func (r *rig) get(ctx context.Context, key string, o object.GetOptions) ([]byte, *object.Reader, error) {
	rd, err := r.Open(ctx, at(key), o)
	if err != nil {
		return nil, nil, err
	}
	defer rd.Close()
	b, err := io.ReadAll(rd)
	return b, rd, err
}

// same fails the test unless a key has the given bytes.
func (r *rig) same(key string, want []byte) {
	r.t.Helper()
	got, rd, err := r.get(r.t.Context(), key, object.GetOptions{})
	if err != nil {
		r.t.Fatalf("get of %q: %v", key, err)
	}
	if !bytes.Equal(got, want) || rd.Object.Size != int64(len(want)) {
		r.t.Fatalf("get of %q: %d other bytes, want %d", key, len(got), len(want))
	}
}

func (r *rig) rows(ids ...holdall.BlockID) []metadata.Block {
	r.t.Helper()
	rows, err := r.cell.Store.Lookup(r.t.Context(), ns, ids, true)
	if err != nil {
		r.t.Fatal(err)
	}
	return rows
}

func want(t testing.TB, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got %v, want %v", what, err, kind)
	}
}
