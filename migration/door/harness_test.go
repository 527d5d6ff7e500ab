package door

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/mirror"
	"github.com/holdall/holdall/migration/s3fault"
	"github.com/holdall/holdall/migration/s3test"
	"github.com/holdall/holdall/migration/source"
)

// server is the real S3 server that all tests share.
var server = sync.OnceValues(func() (*s3test.Server, error) { return s3test.Start(context.Background(), s3test.Options{}) })

func TestMain(m *testing.M) {
	code := m.Run()
	if s, err := server(); err == nil {
		_ = s.Stop()
	}
	os.Exit(code)
}

const (
	ns   = holdall.DefaultNamespace
	name = "photos"
)

// rig is a door before a whole cell in memory and a bucket of a real S3 server,
// behind a proxy that spoils requests.
type rig struct {
	*Door
	t      testing.TB
	seed   uint64
	cell   *sim.Cell
	bucket holdall.BucketID
	proxy  *s3fault.Proxy
	direct *s3.Client
	remote string // the bucket's name at the source
	faults *cellFaults
	silent *atomic.Bool // heartbeats are lost
	reg    *prometheus.Registry
}

// options are what tests change of a rig.
type options struct {
	policy        metadata.MissPolicy
	unconditional bool
	timeout       time.Duration // of the source
	life          time.Duration
	drain         time.Duration
	seed          uint64 // 0 = by chance
}

func newRig(t testing.TB, o options) *rig {
	t.Helper()
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	t.Logf("seed %d", o.seed)
	if o.timeout == 0 {
		o.timeout = 2 * time.Second
	}
	if o.life == 0 {
		o.life = time.Second
	}
	if o.drain == 0 {
		o.drain = 300 * time.Millisecond
	}
	r := &rig{t: t, seed: o.seed, reg: prometheus.NewRegistry()}
	r.openSource()
	c, err := sim.New(sim.Config{Seed: o.seed, Disk: faultdisk.Config{ZoneSize: 4 << 20, Zones: 64}, ExtentZones: 4})
	if err != nil {
		t.Fatal(err)
	}
	r.cell = c
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	r.faults = &cellFaults{Store: c.Store}
	r.silent = &r.faults.silent
	f := r.faults
	objects, err := object.New(object.Config{Buckets: c.Store, Names: c.Store, Commits: f, Uploads: c.Store, Parts: f, Blocks: c.Gateway, Now: c.Now, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	r.Door, err = New(Config{Objects: objects, Names: c.Store, Migrations: f, Intents: f, Notes: f, Life: o.life, Poll: 10 * time.Millisecond, Drain: o.drain, Rest: 50 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), Registerer: r.reg, Remote: func(ctx context.Context, from metadata.Source) (*Remote, error) {
			return openShort(ctx, from, o.timeout)
		}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.CreateBucket(t.Context(), ns, name)
	if err != nil {
		t.Fatal(err)
	}
	r.bucket = b.ID
	_, err = c.Store.CreateMigration(t.Context(), metadata.Migration{Bucket: b.ID, Policy: o.policy, CleanRun: time.Millisecond, Window: time.Millisecond,
		Source: metadata.Source{Endpoint: r.proxy.Endpoint(), Region: s3test.Region, Bucket: r.remote, PathStyle: true, Unconditional: o.unconditional}})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	t.Cleanup(func() { r.Close(context.Background()) })
	return r
}

// openShort opens a source whose requests are given up soon.
func openShort(ctx context.Context, from metadata.Source, timeout time.Duration) (*Remote, error) {
	r, err := source.Open(ctx, source.Config{Bucket: from.Bucket, Endpoint: from.Endpoint, Region: from.Region, Attempts: 6, Timeout: timeout, Stall: timeout})
	if err != nil {
		return nil, err
	}
	w, err := mirror.Open(ctx, mirror.Config{Source: from, Timeout: timeout, Stall: timeout})
	return &Remote{Read: r, Write: w}, err
}

func (r *rig) openSource() {
	r.t.Helper()
	srv, err := server()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, pair := range srv.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		r.t.Setenv(name, value)
	}
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		r.t.Setenv(name, filepath.Join(r.t.TempDir(), "none"))
	}
	r.direct = srv.Client("")
	r.remote = strings.NewReplacer("/", "-", "_", "-", "#", "-", "=", "-").Replace(strings.ToLower(r.t.Name()))
	r.remote = r.remote[:min(len(r.remote), 60)]
	if _, err := r.direct.CreateBucket(r.t.Context(), &s3.CreateBucketInput{Bucket: &r.remote}); err != nil {
		r.t.Fatal(err)
	}
	if r.proxy, err = s3fault.Start(srv.Endpoint(), s3fault.Plan{}); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = r.proxy.Close() })
}

// to takes steps until the migration is in a state, with the evidence that each
// needs.
func (r *rig) to(state metadata.MigrationState) {
	r.t.Helper()
	for tries := 0; ; tries++ {
		m, err := r.cell.Store.MigrationStatus(r.bucket)
		if err != nil {
			r.t.Fatal(err)
		}
		if m.State == state {
			return
		}
		next := m.State + 1
		if state < m.State {
			next = state
		}
		r.evidence(&m, next)
		if err := r.step(next); err != nil && (tries == 100 || !errors.Is(err, holdall.ErrRefused)) {
			r.t.Fatal(err)
		}
		_ = pause(r.t.Context(), time.Millisecond) // the clean-run clock has to move
	}
}

// step announces a step and does it, once the door has seen it.
func (r *rig) step(to metadata.MigrationState) error {
	s := r.cell.Store
	m, err := s.MigrationStatus(r.bucket)
	if err != nil {
		return err
	}
	if m, err = s.Announce(r.t.Context(), r.bucket, m.Number, to); err != nil {
		return err
	}
	for {
		_, err := s.Step(r.t.Context(), r.bucket, m.Number)
		if err == nil {
			return nil
		}
		if !errors.Is(err, holdall.ErrUnavailable) {
			_, cancelled := s.CancelStep(context.Background(), r.bucket, m.Number)
			return errors.Join(err, cancelled)
		}
		if err := pause(r.t.Context(), 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// evidence gives a migration what the guard of a state wants to see.
func (r *rig) evidence(m *metadata.Migration, to metadata.MigrationState) {
	r.t.Helper()
	s := r.cell.Store
	must := func(err error) {
		r.t.Helper()
		if err != nil {
			r.t.Fatal(err)
		}
	}
	switch to {
	case metadata.StateShadow:
		if m.State < to {
			must(s.NoteWalker(r.t.Context(), metadata.WalkerNote{Bucket: r.bucket, Walker: "backfill", Number: m.Number, Find: metadata.FindBackfill}))
			must(s.NoteWalker(r.t.Context(), metadata.WalkerNote{Bucket: r.bucket, Walker: "catch-up", Number: m.Number, Find: metadata.FindCaughtUp}))
		}
	case metadata.StateFlipped:
		for range metadata.CleanPasses {
			c, err := s.Cell()
			must(err)
			must(s.NotePass(r.t.Context(), metadata.PassResult{Bucket: r.bucket, Number: m.Number, Began: c.Applied}))
		}
	case metadata.StateCutOver:
		must(s.Certify(r.t.Context(), r.bucket, [32]byte{1}))
	}
}

func at(key string) object.Place { return object.Place{Namespace: ns, Bucket: name, Key: key} }

func (r *rig) write(key, content string) error {
	_, err := r.Put(r.t.Context(), object.PutRequest{Place: at(key), Body: strings.NewReader(content), Size: int64(len(content))})
	return err
}

func (r *rig) mustWrite(key, content string) {
	r.t.Helper()
	if err := r.write(key, content); err != nil {
		r.t.Fatalf("put of %q: %v", key, err)
	}
}

func (r *rig) remove(key string) error {
	_, err := r.Delete(r.t.Context(), object.DeleteRequest{Place: at(key)})
	return err
}

// read is what a client reads; "-" = there is nothing.
func (r *rig) read(key string) (string, error) {
	rd, err := r.Open(r.t.Context(), at(key), object.GetOptions{})
	if errors.Is(err, object.ErrNoKey) {
		return "-", nil
	}
	if err != nil {
		return "", err
	}
	defer rd.Close()
	b, err := io.ReadAll(rd)
	return string(b), err
}

func (r *rig) reads(key, want string) {
	r.t.Helper()
	got, err := r.read(key)
	if err != nil || got != want {
		r.t.Errorf("read of %q: %.40q, %v; want %.40q", key, got, err, want)
	}
}

// sourceHolds is what the source has, around the proxy.
func (r *rig) sourceHolds(key string) string {
	r.t.Helper()
	out, err := r.direct.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &r.remote, Key: &key})
	if err != nil {
		return "-"
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// cellHolds is what the cell has; "" with ok false = no record.
func (r *rig) cellHolds(key string) (content string, recorded bool) {
	r.t.Helper()
	rd, err := r.cfg.Objects.Open(context.Background(), at(key), object.GetOptions{})
	if errors.Is(err, object.ErrMarked) {
		return "-", true
	}
	if errors.Is(err, object.ErrNoKey) {
		return "-", false
	}
	if err != nil {
		r.t.Fatal(err)
	}
	defer rd.Close()
	var b bytes.Buffer
	if _, err := rd.WriteTo(&b); err != nil {
		r.t.Fatal(err)
	}
	return b.String(), true
}

// both fails the test unless both sides hold the same.
func (r *rig) both(key, want string) {
	r.t.Helper()
	c, _ := r.cellHolds(key)
	if s := r.sourceHolds(key); s != want || c != want {
		r.t.Errorf("%q: the source holds %.40q, the cell %.40q, want %.40q", key, s, c, want)
	}
}

// quiet waits until no intent is held.
func (r *rig) quiet() {
	r.t.Helper()
	for {
		m, err := r.cell.Store.MigrationStatus(r.bucket)
		if err != nil {
			r.t.Fatal(err)
		}
		if m.Intents == 0 {
			return
		}
		if err := pause(r.t.Context(), 2*time.Millisecond); err != nil {
			r.t.Fatal(err)
		}
	}
}

// entry is what the outbox says of a key.
func (r *rig) missed(key string) metadata.Side {
	r.t.Helper()
	r.quiet()
	e, ok, err := r.cell.Store.Entry(r.bucket, key)
	if err != nil {
		r.t.Fatal(err)
	}
	if !ok {
		return metadata.SideNone
	}
	return e.Missed
}

// cellFaults is metadata that fails at times: before it does something, or after.
type cellFaults struct {
	*metadata.Store
	silent atomic.Bool
	mu     sync.Mutex
	next   func(op string) fault
}

type fault uint8

const (
	noFault   fault = iota
	notDone         // refused, and not done
	doneLost        // done, and the answer lost
	exhausted       // refused for good
)

func (f *cellFaults) set(next func(op string) fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = next
}

func (f *cellFaults) fail(op string, do func() error) error {
	f.mu.Lock()
	kind := noFault
	if f.next != nil {
		kind = f.next(op)
	}
	f.mu.Unlock()
	switch kind {
	case notDone:
		return errors.Join(errors.New("injected"), holdall.ErrUnavailable)
	case exhausted:
		return errors.Join(errors.New("injected"), holdall.ErrExhausted)
	}
	err := do()
	if kind == doneLost && err == nil {
		return errors.Join(errors.New("injected, done"), holdall.ErrUnavailable)
	}
	return err
}

func (f *cellFaults) CommitObject(ctx context.Context, c metadata.ObjectCommit) (o metadata.Object, gone []holdall.BlockID, err error) {
	err = f.fail("commit", func() (err error) { o, gone, err = f.Store.CommitObject(ctx, c); return err })
	if err != nil {
		o, gone = metadata.Object{}, nil
	}
	return o, gone, err
}

func (f *cellFaults) DeleteObject(ctx context.Context, d metadata.ObjectDelete) (o metadata.Object, err error) {
	err = f.fail("delete", func() (err error) { o, err = f.Store.DeleteObject(ctx, d); return err })
	if err != nil {
		o = metadata.Object{}
	}
	return o, err
}

func (f *cellFaults) TakeIntent(ctx context.Context, r metadata.IntentRequest) (g metadata.Granted, err error) {
	err = f.fail("intent", func() (err error) { g, err = f.Store.TakeIntent(ctx, r); return err })
	return g, err
}

func (f *cellFaults) SeeDoor(ctx context.Context, id metadata.DoorID) (fenced bool, err error) {
	if f.silent.Load() {
		return false, holdall.ErrUnavailable
	}
	return f.Store.SeeDoor(ctx, id)
}

func (f *cellFaults) EndIntent(ctx context.Context, e metadata.EndIntent) error {
	return f.fail("end", func() error { return f.Store.EndIntent(ctx, e) })
}

func (f *cellFaults) SettleTags(ctx context.Context, key metadata.ObjectKey, tags []byte, how metadata.Settlement) (o metadata.Object, err error) {
	err = f.fail("tags", func() (err error) { o, err = f.Store.SettleTags(ctx, key, tags, how); return err })
	return o, err
}

// once fails the next call of an operation.
func once(op string, kind fault) func(string) fault {
	done := false
	return func(o string) fault {
		if o != op || done {
			return noFault
		}
		done = true
		return kind
	}
}

// finishing puts an object whose caller says at the end that it is bad.
func (r *rig) finishing(key, content string, bad error) error {
	_, err := r.Put(r.t.Context(), object.PutRequest{Place: at(key), Body: strings.NewReader(content), Size: int64(len(content)),
		Finish: func(f object.Finished) (object.Finished, error) { return f, bad }})
	return err
}
