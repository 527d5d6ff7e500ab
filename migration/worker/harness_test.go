package worker

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/s3fault"
	"github.com/holdall/holdall/migration/s3test"
	"github.com/holdall/holdall/migration/source"
)

var full = flag.Bool("full", false, "run every test at its full length")

var server = sync.OnceValues(func() (*s3test.Server, error) { return s3test.Start(context.Background(), s3test.Options{}) })

func TestMain(m *testing.M) {
	code := m.Run()
	if s, err := server(); err == nil {
		_ = s.Stop()
	}
	os.Exit(code)
}

const ns = holdall.DefaultNamespace

// stage is a bucket at a real S3 server, behind a proxy that spoils what passes,
// and the bucket of a whole cell that it migrates to.
type stage struct {
	*Runner
	t      *testing.T
	cell   *sim.Cell
	server *s3test.Server
	direct *s3.Client
	proxy  *s3fault.Proxy
	bucket string
	id     holdall.BucketID
	dir    string
	change func(*Config)
	ops    int
}

func newStage(t *testing.T, change func(*Config)) *stage {
	t.Helper()
	srv, err := server()
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range srv.Environ() {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	st := &stage{t: t, server: srv, direct: srv.Client(""), dir: t.TempDir(), change: change, bucket: fmt.Sprintf("b-%d", rand.Uint32())}
	if _, err := st.direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &st.bucket}); err != nil {
		t.Fatal(err)
	}
	if st.proxy, err = s3fault.Start(srv.Endpoint(), s3fault.Plan{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.proxy.Close() })
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	if st.cell, err = sim.New(sim.Config{Seed: seed, Disk: faultdisk.Config{ZoneSize: 4 << 20, Zones: 64}, ExtentZones: 4}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.cell.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	b, err := st.cell.Store.CreateBucket(t.Context(), ns, st.bucket)
	if err != nil {
		t.Fatal(err)
	}
	st.id = b.ID
	st.start()
	_, err = st.Create(t.Context(), Asked{Namespace: ns, Bucket: st.bucket, MigrationSettings: metadata.MigrationSettings{
		Source: metadata.Source{Endpoint: st.proxy.Endpoint(), Region: s3test.Region, Bucket: st.bucket, PathStyle: true}, Policy: metadata.MissOutbox, CleanRun: time.Nanosecond, Window: time.Nanosecond,
	}})
	if err != nil {
		t.Fatal(err)
	}
	st.until("the state mirror", func() bool { return st.state() == metadata.StateMirror }, metadata.StateMirror)
	return st
}

// start makes the workers and has them work.
func (st *stage) start() {
	st.t.Helper()
	s := st.cell.Store
	cfg := Config{
		Objects: st.cell.Objects, Uploads: st.cell.Objects, Names: s, Migrations: s, Steps: s, Doors: s, Intents: s, Outbox: s, Faults: s, Notes: s, Cell: s,
		Dir: st.dir, Code: "test", Now: st.cell.Now, Lead: time.Nanosecond, Tick: 50 * time.Millisecond, Life: 300 * time.Millisecond, Copies: 8, Registerer: prometheus.NewPedanticRegistry(), Logger: slog.New(slog.NewTextHandler(st.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Sleep: func(ctx context.Context, d time.Duration) error { return sleep(ctx, d/100) },
	}
	cfg.OpenSource = func(ctx context.Context, m metadata.Source, j Job) (Source, error) {
		budget, err := j.Limits.budget(j.Spent)
		if err != nil {
			return nil, err
		}
		src, err := source.Open(ctx, source.Config{Bucket: m.Bucket, Endpoint: m.Endpoint, Region: m.Region, Budget: budget, Attempts: 30, Timeout: 20 * time.Second, Sleep: cfg.Sleep})
		return bucketOf{src, budget}, err
	}
	if st.change != nil {
		st.change(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		st.t.Fatal(err)
	}
	st.Runner = r
	r.Start(st.t.Context())
	st.t.Cleanup(func() { r.Close(context.Background()) })
}

// until waits for something; steps, if there is one, is announced first.
func (st *stage) until(what string, ok func() bool, step ...metadata.MigrationState) {
	st.t.Helper()
	for _, to := range step {
		if _, err := st.Announce(st.t.Context(), ns, st.bucket, to); err != nil {
			st.t.Fatalf("step to %v: %v", to, err)
		}
	}
	wait := 20 * time.Second
	if *full {
		wait = 10 * time.Minute
	}
	limit := time.NewTimer(wait)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			s, err := st.Show(st.t.Context(), ns, st.bucket)
			st.t.Fatalf("%s does not come: backfill %+v, verify %+v, %v", what, s.Backfill, s.Verify, err)
		case <-st.t.Context().Done():
			st.t.Fatal(st.t.Context().Err())
		}
	}
}

func (st *stage) status() Status {
	st.t.Helper()
	s, err := st.Show(st.t.Context(), ns, st.bucket)
	if err != nil {
		st.t.Fatal(err)
	}
	return s
}

func (st *stage) state() metadata.MigrationState { return st.status().State }

// run has a job run to its end.
func (st *stage) run(job string) Job {
	st.t.Helper()
	if _, err := st.Begin(st.t.Context(), ns, st.bucket, job, Limits{}); err != nil {
		st.t.Fatal(err)
	}
	return st.wait(job)
}

func (st *stage) wait(job string) (j Job) {
	st.t.Helper()
	st.until("the end of "+job, func() bool {
		var err error
		if j, err = st.job(st.id, job); err != nil {
			st.t.Fatal(err)
		}
		return !j.Wanted
	})
	return j
}

// put puts an object at the source, past the proxy.
func (st *stage) put(key string, body []byte, change func(*s3.PutObjectInput)) {
	st.t.Helper()
	in := &s3.PutObjectInput{Bucket: &st.bucket, Key: &key, Body: bytes.NewReader(body)}
	if change != nil {
		change(in)
	}
	if _, err := st.direct.PutObject(st.t.Context(), in); err != nil {
		st.t.Fatal(err)
	}
}

// multipart uploads an object in parts of the given sizes.
func (st *stage) multipart(key string, body []byte, sizes ...int) {
	st.t.Helper()
	up, err := st.direct.CreateMultipartUpload(st.t.Context(), &s3.CreateMultipartUploadInput{Bucket: &st.bucket, Key: &key})
	if err != nil {
		st.t.Fatal(err)
	}
	done := completed(st, key, *up.UploadId, body, sizes)
	if _, err := st.direct.CompleteMultipartUpload(st.t.Context(), &s3.CompleteMultipartUploadInput{Bucket: &st.bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: done}); err != nil {
		st.t.Fatal(err)
	}
}

func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// faults are the kinds that an honest server or its network can show while it is
// read.
func faults(seed uint64, rate float64) s3fault.Plan {
	listing := []s3fault.Kind{s3fault.SlowListing, s3fault.TruncateListing, s3fault.RepeatListing}
	kinds := slices.DeleteFunc(s3fault.Kinds(), func(k s3fault.Kind) bool {
		return k == s3fault.LatePut || k == s3fault.Changed || k == s3fault.AccessDenied || slices.Contains(listing, k)
	})
	p := s3fault.Mix(seed, rate, kinds...)
	for _, k := range listing { // there are few of them
		p.Rules = append(p.Rules, s3fault.Rule{Kind: k, Rate: 0.3})
	}
	p.Slow, p.Stall = time.Millisecond, time.Millisecond
	return p
}

// equal fails the test unless both sides hold the same under every key, with all
// that is said of it. It reads the source past the proxy, and trusts nothing of
// this package.
func (st *stage) equal() (keys int) {
	st.t.Helper()
	there := map[string]string{}
	pages := s3.NewListObjectsV2Paginator(st.direct, &s3.ListObjectsV2Input{Bucket: &st.bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(st.t.Context())
		if err != nil {
			st.t.Fatal(err)
		}
		for _, o := range page.Contents {
			there[*o.Key] = strings.Trim(*o.ETag, `"`)
		}
	}
	for here := (metadata.ListPage{More: true}); here.More; {
		var err error
		if here, err = st.cell.Store.List(st.t.Context(), metadata.ListQuery{Bucket: st.id, After: here.Last}); err != nil {
			st.t.Fatal(err)
		}
		for _, o := range here.Objects {
			if there[o.Key] == "" {
				st.t.Errorf("%q is in the cell alone", o.Key)
			}
			st.same(o)
			delete(there, o.Key)
			keys++
		}
	}
	for key := range there {
		st.t.Errorf("%q is at the source alone", key)
	}
	return keys
}

func (st *stage) same(o metadata.Object) {
	st.t.Helper()
	rd, err := st.cell.Objects.Open(st.t.Context(), object.Place{Namespace: ns, Bucket: st.bucket, Key: o.Key}, object.GetOptions{})
	if err != nil {
		st.t.Fatal(err)
	}
	defer rd.Close()
	got, err := io.ReadAll(rd)
	if err != nil {
		st.t.Fatalf("%q: %v", o.Key, err)
	}
	out, err := st.direct.GetObject(st.t.Context(), &s3.GetObjectInput{Bucket: &st.bucket, Key: &o.Key})
	if err != nil {
		st.t.Fatalf("%q: %v", o.Key, err)
	}
	defer out.Body.Close()
	want, err := io.ReadAll(out.Body)
	if err != nil {
		st.t.Fatal(err)
	}
	a := rd.Attributes
	switch {
	case !bytes.Equal(got, want):
		st.t.Errorf("%q: other bytes: %d here, %d there", o.Key, len(got), len(want))
	case o.ETag != strings.Trim(aws.ToString(out.ETag), `"`) && o.Source.ETag != strings.Trim(aws.ToString(out.ETag), `"`):
		st.t.Errorf("%q: ETag %s here, %s there", o.Key, o.ETag, *out.ETag)
	case !o.Source.Modified.IsZero() && o.Source.Modified.Unix() != out.LastModified.Unix():
		st.t.Errorf("%q: modified %v here, %v there", o.Key, o.Modified, out.LastModified)
	case a.ContentType != aws.ToString(out.ContentType) || a.CacheControl != aws.ToString(out.CacheControl):
		st.t.Errorf("%q: %+v here, %s, %s there", o.Key, a, aws.ToString(out.ContentType), aws.ToString(out.CacheControl))
	case len(a.User) != len(out.Metadata):
		st.t.Errorf("%q: metadata %v here, %v there", o.Key, a.User, out.Metadata)
	}
}
