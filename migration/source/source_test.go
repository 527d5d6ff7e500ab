package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/pace"
	"github.com/holdall/holdall/migration/s3fault"
	"github.com/holdall/holdall/migration/s3test"
)

var full = flag.Bool("full", false, "run every test at its full length")

var (
	plain     = sync.OnceValues(func() (*s3test.Server, error) { return s3test.Start(context.Background(), s3test.Options{}) })
	versioned = sync.OnceValues(func() (*s3test.Server, error) {
		return s3test.Start(context.Background(), s3test.Options{Versions: true})
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, get := range []func() (*s3test.Server, error){plain, versioned} {
		if s, err := get(); err == nil {
			_ = s.Stop()
		}
	}
	os.Exit(code)
}

// stage is a bucket of a test's own behind a fault proxy.
type stage struct {
	t      *testing.T
	server *s3test.Server
	direct *s3.Client
	proxy  *s3fault.Proxy
	bucket string
}

func newStage(t *testing.T, get func() (*s3test.Server, error)) *stage {
	t.Helper()
	server, err := get()
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range server.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, filepath.Join(t.TempDir(), "none"))
	}
	st := &stage{t: t, server: server, direct: server.Client(""), bucket: strings.ToLower(t.Name())}
	st.bucket = st.bucket[:min(len(st.bucket), 60)]
	if _, err := st.direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &st.bucket}); err != nil {
		t.Fatal(err)
	}
	if st.proxy, err = s3fault.Start(server.Endpoint(), s3fault.Plan{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.proxy.Close() })
	return st
}

// open opens the source through the proxy, without waits.
func (st *stage) open(change func(*Config)) *Source {
	st.t.Helper()
	cfg := Config{Bucket: st.bucket, Endpoint: st.proxy.Endpoint(), Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(st.t.Context(), cfg)
	if err != nil {
		st.t.Fatal(err)
	}
	return s
}

func (st *stage) put(key string, body []byte) (etag string) {
	st.t.Helper()
	out, err := st.direct.PutObject(st.t.Context(), &s3.PutObjectInput{Bucket: &st.bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		st.t.Fatal(err)
	}
	return bare(out.ETag)
}

// lay puts empty files straight into the server's directory.
func (st *stage) lay(keys ...string) {
	st.t.Helper()
	for _, key := range keys {
		path := filepath.Join(st.server.Root(), st.bucket, key)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			st.t.Fatal(err)
		}
	}
}

// every kind of fault that reading shows, without stalls of real time.
func faults(seed uint64, rate float64) s3fault.Plan {
	kinds := slices.DeleteFunc(s3fault.Kinds(), func(k s3fault.Kind) bool {
		return k == s3fault.LatePut || k == s3fault.CorruptByte || k == s3fault.Changed || k == s3fault.AccessDenied
	})
	p := s3fault.Mix(seed, rate, kinds...)
	p.Slow, p.Stall = time.Millisecond, time.Millisecond
	return p
}

func TestWalkOverAFaultyServerFindsEveryKeyOnce(t *testing.T) {
	st := newStage(t, plain)
	want := map[string]int{}
	for i := range 60 {
		for j := range 50 {
			want[fmt.Sprintf("dir %02d/file+%02d%%", i, j)] = 1
		}
	}
	st.lay(slices.Collect(maps.Keys(want))...)
	seeds := uint64(2)
	if *full {
		seeds = 50
	}
	for seed := range seeds {
		st.proxy.SetPlan(faults(seed, 0.7))
		got := map[string]int{}
		err := st.open(func(c *Config) { c.Attempts = 100 }).Walk(t.Context(), WalkOptions{Walkers: 32}, func(f Found) error {
			for _, e := range f.Entries {
				got[e.Key]++
			}
			return nil
		})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !maps.Equal(got, want) {
			t.Errorf("seed %d: %d keys found, want each of %d once", seed, len(got), len(want))
		}
	}
	for _, k := range []s3fault.Kind{s3fault.SlowDown, s3fault.TruncateListing, s3fault.RepeatListing, s3fault.ResetLost} {
		if st.proxy.Counts()[k] == 0 {
			t.Errorf("no %v was injected: %v", k, st.proxy.Counts())
		}
	}
}

func TestWalkGoesOnAfterAStop(t *testing.T) {
	st := newStage(t, plain)
	want := map[string]int{}
	for i := range 1500 {
		want[fmt.Sprintf("%04d/x", i)] = 1
	}
	st.lay(slices.Collect(maps.Keys(want))...)
	s := st.open(nil)
	got := map[string]int{}
	var ranges []Range
	stop := errors.New("power cut")
	for range 100 {
		pages := 0
		err := s.Walk(t.Context(), WalkOptions{Walkers: 4, Ranges: ranges}, func(f Found) error {
			if pages++; pages > 3 {
				return stop // this page is not kept, nor what its ranges are
			}
			for _, e := range f.Entries {
				got[e.Key]++
			}
			ranges = merge(ranges, f.Ranges)
			return nil
		})
		if err == nil {
			break
		}
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d keys found, want each of %d once", len(got), len(want))
	}
}

func TestVersionsAndMarkersAreListed(t *testing.T) {
	st := newStage(t, versioned)
	on := &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}
	if _, err := st.direct.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &st.bucket, VersioningConfiguration: on}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		st.put("a", fmt.Append(nil, i))
		st.put("b/c", fmt.Append(nil, i))
	}
	if _, err := st.direct.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &st.bucket, Key: aws.String("a")}); err != nil {
		t.Fatal(err)
	}
	s := st.open(nil)
	if state, err := s.Versioning(t.Context()); err != nil || state != "Enabled" {
		t.Errorf("versioning %q, %v", state, err)
	}
	count := map[string]int{}
	err := s.Walk(t.Context(), WalkOptions{Walkers: 2, Versions: true}, func(f Found) error {
		for _, e := range f.Entries {
			count[fmt.Sprintf("%s latest=%v marker=%v", e.Key, e.Latest, e.Marker)]++
			if e.Version == "" {
				t.Errorf("%s has no version id", e.Key)
			}
		}
		return nil
	})
	want := map[string]int{"a latest=true marker=true": 1, "a latest=false marker=false": 5, "b/c latest=true marker=false": 1, "b/c latest=false marker=false": 4}
	if err != nil || !maps.Equal(count, want) {
		t.Errorf("found %v, %v; want %v", count, err, want)
	}
}

// Bytes come whole and right through every fault of reading, or not at all.
func TestGetOverAFaultyServer(t *testing.T) {
	st := newStage(t, plain)
	data := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	etag := st.put("k", data)
	st.proxy.SetPlan(faults(5, 0.5))
	s := st.open(func(c *Config) { c.Attempts = 50 })
	for i := range 100 {
		offset, length := int64(i*1000), int64(len(data)-i*2000)
		b, err := s.Get(t.Context(), GetRequest{Key: "k", ETag: etag, Offset: offset, Length: length})
		if err != nil {
			t.Fatalf("get %d: %v", i, err)
		}
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, data[offset:offset+length]) {
			t.Fatalf("get %d: %d bytes, want %d: %v", i, len(got), length, err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []s3fault.Kind{s3fault.ResetMid, s3fault.Stall, s3fault.Truncate, s3fault.WrongLength, s3fault.WrongETag} {
		if st.proxy.Counts()[k] == 0 {
			t.Errorf("no %v was injected: %v", k, st.proxy.Counts())
		}
	}
}

// An object that changes while it is read is never put together out of two.
func TestGetOfAChangedObjectIsRefused(t *testing.T) {
	st := newStage(t, plain)
	data := bytes.Repeat([]byte("old "), 100_000)
	etag := st.put("k", data)
	st.proxy.SetPlan(s3fault.Plan{
		Rules: []s3fault.Rule{{Kind: s3fault.ResetMid, Rate: 1, Most: 1}, {Kind: s3fault.Changed, Rate: 1, Most: 1}},
		Mutate: func(_, key string) {
			st.put(key, bytes.Repeat([]byte("new "), 100_000))
		},
	})
	b, err := st.open(nil).Get(t.Context(), GetRequest{Key: "k", ETag: etag, Length: int64(len(data))})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, err := io.ReadAll(b); !errors.Is(err, holdall.ErrCondition) {
		t.Errorf("%d bytes, %v; want the condition to fail", len(got), err)
	}
}

// Only what the server calls absent is absent.
func TestDeniedIsNotAbsent(t *testing.T) {
	st := newStage(t, plain)
	st.put("k", []byte("x"))
	s := st.open(nil)
	if _, err := s.Head(t.Context(), "nothing", "", ""); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
	for kind, want := range map[s3fault.Kind]error{
		s3fault.AccessDenied: ErrDenied, s3fault.ExpiredToken: ErrDenied, s3fault.SlowDown: holdall.ErrUnavailable, s3fault.InternalError: holdall.ErrUnavailable,
		s3fault.ResetBefore: holdall.ErrUnavailable, s3fault.FalseNotFound: holdall.ErrNotFound,
	} {
		st.proxy.SetPlan(s3fault.Mix(1, 1, kind))
		_, err := s.Get(t.Context(), GetRequest{Key: "k", ETag: "e", Length: 1})
		if !errors.Is(err, want) || want != holdall.ErrNotFound && errors.Is(err, holdall.ErrNotFound) {
			t.Errorf("%v: %v, want %v", kind, err, want)
		}
		// A HEAD has no body to say why.
		if _, err = s.Head(t.Context(), "k", "", ""); want != holdall.ErrNotFound && errors.Is(err, holdall.ErrNotFound) || err == nil {
			t.Errorf("head, %v: %v", kind, err)
		}
	}
	st.proxy.SetPlan(s3fault.Plan{})
	gone := st.open(func(c *Config) { c.Bucket = "no-such-bucket" })
	if err := gone.Check(t.Context()); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("no such bucket: %v", err)
	}
}

func TestHeadTagsAndChecksums(t *testing.T) {
	st := newStage(t, plain)
	_, err := st.direct.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &st.bucket, Key: aws.String("k"), Body: strings.NewReader("holdall"), ContentType: aws.String("text/x"),
		CacheControl: aws.String("no-store"), Metadata: map[string]string{"Owner": "ops"}, Tagging: aws.String("team=a&b=c"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	s := st.open(nil)
	info, err := s.Head(t.Context(), "k", "", "")
	if err != nil || info.Size != 7 || info.ContentType != "text/x" || info.CacheControl != "no-store" || info.User["owner"] != "ops" {
		t.Errorf("head %+v, %v", info, err)
	}
	if _, err := s.Head(t.Context(), "k", "", "another"); !errors.Is(err, holdall.ErrCondition) {
		t.Errorf("head of another ETag: %v", err)
	}
	tags, err := s.Tags(t.Context(), "k", "")
	if err != nil || len(tags) != 2 {
		t.Errorf("tags %v, %v", tags, err)
	}
	a, err := s.Attributes(t.Context(), "k", "")
	if err != nil || a.Size != 7 || a.ETag != info.ETag || a.Checksums["SHA256"] == "" || a.Type != "FULL_OBJECT" {
		t.Errorf("attributes %+v, %v", a, err)
	}
}

func TestUploadsAreFoundWithTheirParts(t *testing.T) {
	st := newStage(t, plain)
	for _, key := range []string{"u/1", "u/2"} {
		up, err := st.direct.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &st.bucket, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		for n := range int32(2) {
			if _, err := st.direct.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: &st.bucket, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(n + 1), Body: bytes.NewReader(make([]byte, 5<<20))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var found []Upload
	if err := st.open(nil).Uploads(t.Context(), func(u Upload) error { found = append(found, u); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[0].Key != "u/1" || found[0].Parts != 2 || found[0].Size != 10<<20 || found[0].Initiated.IsZero() {
		t.Errorf("found %+v", found)
	}
}

// No secret in any error, whatever the server echoes.
func TestSecretsAreNotPrinted(t *testing.T) {
	st := newStage(t, plain)
	st.put("k", []byte("x"))
	t.Setenv("AWS_SESSION_TOKEN", "session-token-of-the-test")
	s := st.open(func(c *Config) { c.Attempts = 2 })
	secrets := []string{st.server.SecretKey, "session-token-of-the-test"}
	var said strings.Builder
	for _, k := range append(s3fault.Kinds(), s3fault.FalseNotFound, s3fault.None) {
		st.proxy.SetPlan(s3fault.Plan{Stall: 1, Slow: 1, Rules: []s3fault.Rule{{Kind: k, Rate: 1}}})
		_, err1 := s.Head(t.Context(), "k", "", "")
		_, err2 := s.Get(t.Context(), GetRequest{Key: "k", ETag: "e", Length: 1})
		_, err3 := s.List(t.Context(), ListRequest{})
		fmt.Fprintf(&said, "%v %+v %#v\n", err1, err2, err3)
	}
	// A server that says what it was told.
	echo := s.explain(t.Context(), call{}, errors.New("bad secret "+st.server.SecretKey))
	secret := NewSecret(st.server.SecretKey)
	js, err := json.Marshal(struct{ S Secret }{secret})
	fmt.Fprintf(&said, "%v %s %v %+v %#v %q %x %d %v", echo, js, secret, secret, secret, secret, secret, secret, err)
	for _, hidden := range secrets {
		if strings.Contains(said.String(), hidden) {
			t.Errorf("a secret was printed:\n%s", said.String())
		}
	}
	if _, err := Open(t.Context(), Config{Bucket: "bucket", Endpoint: "http://user:" + secrets[0] + "@host"}); !errors.Is(err, holdall.ErrInvalid) || strings.Contains(err.Error(), secrets[0]) {
		t.Errorf("credentials in a URL: %v", err)
	}
}

func TestNoCredentialsIsSaidAtOnce(t *testing.T) {
	st := newStage(t, plain)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	err := st.open(nil).Check(t.Context())
	if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "AWS_PROFILE") {
		t.Errorf("without credentials: %v", err)
	}
	if n := st.proxy.Requests(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestBudgetEndsARun(t *testing.T) {
	st := newStage(t, plain)
	st.put("k", []byte("x"))
	l, p := pace.NoLimits(), pace.Prices{}
	l.Money, p.Request[pace.Read] = 1, 0.4
	s := st.open(func(c *Config) { c.Budget = pace.NewBudget(l, p, pace.Spent{}) })
	for i := range 3 {
		_, err := s.Head(t.Context(), "k", "", "")
		if spent := i == 2; spent != errors.Is(err, holdall.ErrExhausted) {
			t.Errorf("request %d: %v", i, err)
		}
	}
}

func TestConfigFaultsAreReportedTogether(t *testing.T) {
	c := Config{Endpoint: "ftp://x", Concurrency: -1, Attempts: -1}
	err := c.Validate()
	for _, part := range []string{"bucket", "endpoint", "concurrency", "attempts"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not mention %s", err, part)
		}
	}
}
