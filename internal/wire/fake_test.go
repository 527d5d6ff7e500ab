package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/test/bufconn"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/buffer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCell is a cell in memory: what is put is there, until it is deleted.
type fakeCell struct {
	pool   *buffer.Pool
	limit  int64         // bytes that Admit gives out
	during chan struct{} // not nil: Put waits until it is closed
	fail   error         // not nil: what every call answers
	panics bool

	mu         sync.Mutex // guards all below
	blocks     map[holdall.BlockID][]byte
	trash      map[holdall.BlockID][]byte
	admitted   int64 // bytes
	most       int64 // the most ever admitted at once
	admissions int
	gets       int
	proof      holdall.Proof // of the last get
	rot        int           // gets of whole blocks that are still to be spoilt
}

func newFakeCell() *fakeCell {
	return &fakeCell{
		pool: buffer.NewPool(64 << 20), limit: 256 << 20,
		blocks: map[holdall.BlockID][]byte{}, trash: map[holdall.BlockID][]byte{},
	}
}

func (f *fakeCell) stored() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.blocks)
}

func (f *fakeCell) inFlight() (now, most int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.admitted, f.most
}

type fakeAdmission struct {
	cell *fakeCell
	size int64
	once sync.Once
}

func (f *fakeCell) Admit(size int64) (Admission, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.admitted+size > f.limit {
		return nil, &holdall.RetryAfter{Delay: 30 * time.Millisecond, Err: fmt.Errorf("%d of %d bytes in use: %w", f.admitted, f.limit, holdall.ErrExhausted)}
	}
	f.admitted += size
	f.admissions++
	f.most = max(f.most, f.admitted)
	return &fakeAdmission{cell: f, size: size}, nil
}

func (a *fakeAdmission) Release() {
	a.once.Do(func() {
		a.cell.mu.Lock()
		defer a.cell.mu.Unlock()
		a.cell.admitted -= a.size
	})
}

func (a *fakeAdmission) Receive(ns holdall.NamespaceID, size int) (Incoming, error) {
	if a.cell.panics {
		panic("a bug")
	}
	return &fakeIncoming{cell: a.cell}, a.cell.fail
}

type fakeIncoming struct {
	cell *fakeCell
	data []byte
}

func (in *fakeIncoming) Write(p []byte) (int, error) {
	in.data = append(in.data, p...)
	return len(p), nil
}
func (in *fakeIncoming) Discard() {}

func (in *fakeIncoming) Put(ctx context.Context, want *holdall.BlockID) (PutResult, error) {
	id := holdall.HashBlock(in.data)
	if want != nil && id != *want {
		return PutResult{}, fmt.Errorf("block named %v hashes to %v: %w", *want, id, holdall.ErrInvalid)
	}
	if in.cell.during != nil {
		select {
		case <-in.cell.during:
		case <-ctx.Done():
			return PutResult{}, fmt.Errorf("put: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
		}
	}
	in.cell.mu.Lock()
	defer in.cell.mu.Unlock()
	_, existed := in.cell.blocks[id]
	in.cell.blocks[id] = in.data
	return PutResult{ID: id, Existed: existed}, nil
}

func (f *fakeCell) Get(_ context.Context, _ holdall.NamespaceID, id holdall.BlockID, o GetOptions) (GetResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, ok := f.blocks[id]
	switch {
	case f.fail != nil:
		return GetResult{}, f.fail
	case !ok:
		return GetResult{}, fmt.Errorf("block %v: %w", id, holdall.ErrNotFound)
	case o.Offset+o.Length > len(data):
		return GetResult{}, fmt.Errorf("range outside the block: %w", holdall.ErrInvalid)
	}
	size := len(data)
	proof := holdall.ProofChunks
	if o.Length == 0 && o.Offset == 0 {
		if proof = holdall.ProofHash; o.CallerVerifies {
			proof = holdall.ProofNone
		}
	}
	data = data[o.Offset:]
	if o.Length > 0 {
		data = data[:o.Length]
	}
	buf := f.pool.Take(len(data))
	copy(buf.Bytes(), data)
	f.gets, f.proof = f.gets+1, proof
	if f.rot > 0 && proof != holdall.ProofChunks {
		f.rot--
		buf.Bytes()[len(data)/2] ^= 1
	}
	return GetResult{View: buffer.View{Buffer: buf, Data: buf.Bytes()}, Size: size, Proof: proof}, nil
}

func (f *fakeCell) Stat(_ context.Context, _ holdall.NamespaceID, id holdall.BlockID) (client.BlockStat, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := client.BlockStat{
		ID: id, Volume: 7, Scheme: holdall.DefaultScheme, Stripe: 3, Shard: 1, Member: 4, Offset: 8192,
		Members: []client.StatMember{{Disk: holdall.DiskID{1}, Node: "here", State: "active"}}, ShardsOK: 8, ShardsTotal: 9,
	}
	if data, ok := f.blocks[id]; ok {
		s.Size, s.Direct = uint32(len(data)), true
		return s, nil
	}
	if data, ok := f.trash[id]; ok {
		at := time.Unix(1000, 0).UTC()
		s.Size, s.TrashedAt = uint32(len(data)), &at
		return s, nil
	}
	return client.BlockStat{}, fmt.Errorf("block %v: %w", id, holdall.ErrNotFound)
}

func (f *fakeCell) move(ids []holdall.BlockID, from, to map[holdall.BlockID][]byte) (gone []holdall.BlockID, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		data, ok := from[id]
		if !ok {
			gone = append(gone, id)
			continue
		}
		delete(from, id)
		to[id] = data
	}
	return gone, f.fail
}

func (f *fakeCell) Missing(_ context.Context, _ holdall.NamespaceID, ids []holdall.BlockID) ([]holdall.BlockID, error) {
	return f.move(ids, f.blocks, f.blocks)
}

func (f *fakeCell) Claim(_ context.Context, _ holdall.NamespaceID, ids []holdall.BlockID) ([]holdall.BlockID, error) {
	return f.move(ids, f.blocks, f.blocks)
}

func (f *fakeCell) Delete(_ context.Context, _ holdall.NamespaceID, ids []holdall.BlockID) ([]holdall.BlockID, error) {
	return f.move(ids, f.blocks, f.trash)
}

func (f *fakeCell) Undelete(_ context.Context, _ holdall.NamespaceID, ids []holdall.BlockID) ([]holdall.BlockID, error) {
	return f.move(ids, f.trash, f.blocks)
}

func (f *fakeCell) NamespaceID(name string) (holdall.NamespaceID, error) {
	switch name {
	case "system":
		return holdall.SystemNamespace, nil
	case "photos":
		return 7, nil
	}
	return 0, fmt.Errorf("namespace %q: %w", name, holdall.ErrNotFound)
}

// fakeOperators answers the operators' part with fixed facts.
type fakeOperators struct {
	volumes []holdall.VolumeID
	sealed  []holdall.VolumeID
	fail    error
}

var aDisk = client.DiskStatus{
	ID: holdall.DiskID{1, 2}, Path: "/data/disk-00", Node: "here", Domain: "rack1/host3", State: "failed", Reason: "EIO",
	Since: time.Unix(5000, 0).UTC(), Capacity: 1, Written: 2, FreeZones: 3, TotalZones: 4, OpenZones: 5, MaxOpen: 6, ZoneSize: 7, Incarnation: 8, Extents: 9,
}

var aCell = client.CellStatus{
	Health: "degraded", Cell: "00112233445566778899aabbccddeeff", Version: "v1", Started: time.Unix(9000, 0).UTC(),
	Incarnation: 2, Quarantine: true, RaftIndex: 3, Scheme: "rs-6-3", Domain: "disk", Blocks: 4, UserBytes: 5, DiskBytes: 6, Overhead: 1.2,
	TrashBlocks: 7, TrashBytes: 8, StripesMissing: map[uint32]uint64{0: 10, 2: 1}, Disks: client.DiskCounts{Active: 8, Failed: 1, Draining: 2},
	VolumesOpen: 4, VolumesSealed: 5, Tasks: []client.TaskStatus{{Kind: "footer", Count: 1}, {Kind: "free", Count: 3, Rate: new(uint64(9)), ETA: new(1.5)}}, Notes: []string{"disk failed"},
}

var aPurge = client.PurgeStatus{
	Trash: []client.TrashAge{{UpToSeconds: 60, Blocks: 1, Bytes: 2}}, PurgedLastHour: 3, LimitPerHour: 4,
	BreakerTripped: true, Reason: "too many", RetentionSeconds: 5, FreeHoldSeconds: 6,
}

var someStats = client.ProcessStats{
	CPUSeconds: 1.5, RSSBytes: 2, PeakRSSBytes: 3, Goroutines: 4, Started: time.Unix(9000, 0).UTC(),
	DeviceReads: 5, DeviceWrites: 6, DeviceSyncs: 7, DeviceReadBytes: 8, DeviceWrittenBytes: 9,
}

func (o *fakeOperators) volume(id holdall.VolumeID) client.VolumeStatus {
	sealed := time.Unix(7000, 0).UTC()
	return client.VolumeStatus{
		ID: id, Scheme: "rs-6-3", State: "sealed", Epoch: "1.7", Gateway: "g", Created: time.Unix(6000, 0).UTC(), Sealed: &sealed,
		Limit: 1, Stripes: 2, Blocks: 3, BlockBytes: 4, LiveBytes: 5, PackBytes: 6, ShardBytes: 7, System: true,
	}
}

func (o *fakeOperators) CellStatus(context.Context) (client.CellStatus, error) { return aCell, o.fail }
func (o *fakeOperators) ProcessStats(context.Context) (client.ProcessStats, error) {
	return someStats, o.fail
}
func (o *fakeOperators) PurgeStatus(context.Context) (client.PurgeStatus, error) {
	return aPurge, o.fail
}
func (o *fakeOperators) ReleasePurge(context.Context) error    { return o.fail }
func (o *fakeOperators) ReleaseMetadata(context.Context) error { return o.fail }
func (o *fakeOperators) Disks(context.Context) ([]client.DiskStatus, error) {
	return []client.DiskStatus{aDisk}, o.fail
}

func (o *fakeOperators) Disk(_ context.Context, disk string) (client.DiskStatus, error) {
	if disk != aDisk.Path && disk != aDisk.ID.String() {
		return client.DiskStatus{}, fmt.Errorf("disk %q: %w", disk, holdall.ErrNotFound)
	}
	return aDisk, o.fail
}

func (o *fakeOperators) AddDisk(_ context.Context, path, domain string) (client.DiskStatus, error) {
	d := aDisk
	d.Path, d.Domain = path, domain
	return d, o.fail
}

func (o *fakeOperators) ReadmitDisk(_ context.Context, _ string, progress func(done, total uint64)) (client.DiskStatus, error) {
	for done := range uint64(3) {
		progress(done, 2)
	}
	return aDisk, o.fail
}

func (o *fakeOperators) Volumes(_ context.Context, after holdall.VolumeID, limit int) (out []client.VolumeStatus, err error) {
	for _, id := range o.volumes {
		if id > after && len(out) < limit {
			out = append(out, o.volume(id))
		}
	}
	return out, o.fail
}

func (o *fakeOperators) Volume(_ context.Context, id holdall.VolumeID) (client.VolumeStatus, error) {
	if !slices.Contains(o.volumes, id) {
		return client.VolumeStatus{}, fmt.Errorf("volume %v: %w", id, holdall.ErrNotFound)
	}
	v := o.volume(id)
	v.Members = []client.VolumeMember{{Disk: holdall.DiskID{3}, Path: "/p", State: "active", End: 9, Footer: true}}
	return v, o.fail
}

func (o *fakeOperators) SealVolumes(_ context.Context, ids []holdall.VolumeID) ([]holdall.VolumeID, error) {
	o.sealed = ids
	if ids == nil {
		return o.volumes, o.fail
	}
	return ids, o.fail
}

var aDump = bytes.Repeat([]byte(`{"row":1}`+"\n"), 100000)

func (o *fakeOperators) BackupMetadata(_ context.Context, w io.Writer) error {
	if _, err := w.Write(aDump); err != nil { // in one piece, larger than a message may be
		return err
	}
	return o.fail
}

func (o *fakeOperators) DumpMetadata(_ context.Context, w io.Writer) error {
	for line := range bytes.Lines(aDump) {
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return o.fail
}

// front is a Server on a listener in memory.
type front struct {
	t      testing.TB
	server *Server
	lis    *bufconn.Listener
	cell   *fakeCell
	ops    *fakeOperators
	things *fakeObjects
	names  *fakeNamespaces
}

func newFront(t testing.TB, change func(*Config)) *front {
	t.Helper()
	f := &front{t: t, lis: bufconn.Listen(1 << 20), cell: newFakeCell(), ops: &fakeOperators{}, names: &fakeNamespaces{}}
	f.things = newFakeObjects(f.cell.pool)
	moves := &fakeMigrations{}
	cfg := Config{
		Put: f.cell, Get: f.cell, IDs: f.cell, Namespaces: f.cell,
		Process: f.ops, Cell: f.ops, Disks: f.ops, Volumes: f.ops, Metadata: f.ops,
		Objects: f.things, Changes: f.things, Buckets: f.things, NamespaceTable: f.names, Credentials: f.names,
		Migrations: moves, MigrationWork: moves, MigrationKeys: moves,
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if f.server, err = NewServer(cfg); err != nil {
		t.Fatal(err)
	}
	f.server.SetReady(true)
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(f.lis) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		f.server.Stop(ctx)
		if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
		if now, _ := f.cell.inFlight(); now != 0 {
			t.Errorf("%d bytes are still admitted after Stop", now)
		}
		if lent := f.cell.pool.Lent(); lent != 0 {
			t.Errorf("%d bytes of buffers are still lent after Stop", lent)
		}
	})
	return f
}

func (f *front) dial(o client.Options) *client.Client {
	f.t.Helper()
	if o.Dialer == nil {
		o.Dialer = f.dialer()
	}
	c, err := client.Dial(o, "cell:1")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return c
}

func (f *front) dialer() func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) { return f.lis.DialContext(ctx) }
}

func (f *front) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	f.t.Cleanup(cancel)
	return ctx
}
