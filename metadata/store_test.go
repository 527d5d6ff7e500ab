package metadata

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
)

// testConfig returns the config of a new cell in memory, quiet, on which any
// fatal error fails the test.
func testConfig(t testing.TB, fs vfs.FS) Config {
	return Config{
		Dir: "/cell/metadata", FS: fs, Bootstrap: true, Logger: slog.New(slog.DiscardHandler), CacheBytes: 4 << 20,
		OnFatal: func(err error) { t.Errorf("fatal: %v", err) },
	}
}

func openTest(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeTest(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// testID returns the n-th block id of a test.
func testID(n uint64) (id holdall.BlockID) {
	binary.BigEndian.PutUint64(id[:], n*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

func diskID(n int) (id holdall.DiskID) { id[0], id[15] = 0xd1, byte(n); return id }

// testScheme is small, so that its volumes are.
var testScheme = holdall.Scheme{Kind: holdall.ReedSolomon, Data: 2, Global: 1}

// testVolume adds disks, once, and makes a volume on them.
func testVolume(t testing.TB, s *Store) Volume {
	t.Helper()
	ctx := context.Background()
	var disks []holdall.DiskID
	for i := range testScheme.N() {
		disks = append(disks, diskID(i))
		if _, err := s.Disk(diskID(i)); err == nil {
			continue
		}
		d := Disk{ID: diskID(i), Capacity: 1 << 40, ZoneSize: 256 << 20, State: holdall.DiskActive, Incarnation: 1, Granted: 1}
		if err := s.AddDisk(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	v, err := s.CreateVolume(ctx, NewVolume{Scheme: testScheme, Limit: 1 << 40, Disks: disks, Gateway: "g", Lease: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// stripeBytes is what a stripe of stripeOf takes of each member.
const stripeBytes = 17 * 4096

// stripeOf returns the commit of stripe number n of v, with at most 16 blocks of
// a sector each.
func stripeOf(v *Volume, n uint64, ids ...holdall.BlockID) StripeCommit {
	c := StripeCommit{
		Volume: v.ID, Epoch: v.Epoch, Stripe: n,
		PackBytes: int64(len(ids)) * 4096, ShardBytes: stripeBytes * int64(len(v.Members)),
	}
	for range v.Members {
		c.Ends = append(c.Ends, int64(n)*stripeBytes)
	}
	for i, id := range ids {
		c.Blocks = append(c.Blocks, PutBlock{
			Namespace: holdall.DefaultNamespace, ID: id, Member: 0, Length: 4096,
			Offset: int64(n-1)*stripeBytes + holdall.RecordHeaderSize + int64(i)*4096,
		})
	}
	return c
}

func found(t testing.TB, s *Store, id holdall.BlockID) Block {
	t.Helper()
	b, err := s.Lookup(context.Background(), holdall.DefaultNamespace, []holdall.BlockID{id}, true)
	if err != nil {
		t.Fatal(err)
	}
	return b[0]
}

func TestStoreKeepsWhatItAcknowledgedAcrossRestarts(t *testing.T) {
	cfg := testConfig(t, nil)
	cfg.Dir = t.TempDir()
	var cell holdall.CellID
	var v Volume
	for n := uint64(1); n <= 5; n++ {
		s := openTest(t, cfg)
		c, err := s.Cell()
		if err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			cell = c.ID
			v = testVolume(t, s)
		}
		if c.ID != cell || cell == (holdall.CellID{}) {
			t.Errorf("start %d: cell %v, want %v", n, c.ID, cell)
		}
		if _, err := s.CommitStripe(context.Background(), stripeOf(&v, n, testID(n))); err != nil {
			t.Fatal(err)
		}
		for k := uint64(1); k <= n; k++ {
			if b := found(t, s, testID(k)); !b.Live() || b.Location.Volume != v.ID {
				t.Errorf("start %d: block %d: %+v", n, k, b)
			}
		}
		if b := found(t, s, testID(n+1)); b.Found {
			t.Errorf("start %d: found %+v", n, b)
		}
		closeTest(t, s)
	}
}

func TestOpenRefuses(t *testing.T) {
	fs := vfs.NewMem()
	cfg := testConfig(t, fs)
	cfg.Bootstrap = false
	if _, err := Open(context.Background(), cfg); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("absent directory: %v", err)
	}
	if err := fs.MkdirAll(cfg.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), cfg); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("empty directory: %v", err)
	}
	cfg.Bootstrap = true
	s := openTest(t, cfg)
	if _, err := Open(context.Background(), cfg); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("directory in use: %v", err)
	}
	closeTest(t, s)
	other := cfg
	other.NodeID = "other"
	if _, err := Open(context.Background(), other); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("another node's directory: %v", err)
	}
	if _, err := Open(context.Background(), Config{CacheBytes: -1, FlushBytes: -1}); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("bad config: %v", err)
	}
	if err := fs.RemoveAll(cfg.Dir + "/CURRENT"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), cfg); !errors.Is(err, holdall.ErrCorrupt) {
		t.Errorf("log without state: %v", err)
	}
}

// TestSmallStripesAreFlushedBeforeTheyTakeLong: entries of one block each are
// small, and take long to apply for their size.
func TestSmallStripesAreFlushedBeforeTheyTakeLong(t *testing.T) {
	f := &fsm{grown: make(chan struct{}, 1), limit: DefaultFlushBytes}
	const entry, took = 100, 100 * time.Microsecond
	n := 0
	for ; len(f.grown) == 0 && n < 100_000; n++ {
		f.grow(backlog{entry, took})
	}
	if longest := time.Duration(n) * took; longest > 2*replayTime {
		t.Errorf("%d entries, which take %v to replay, before a flush", n, longest)
	}
}
