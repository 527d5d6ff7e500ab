package s3front_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/config"
	"github.com/holdall/holdall/internal/node"
	"github.com/holdall/holdall/internal/s3front"
	"github.com/holdall/holdall/metadata"
)

// cell is a node with an S3 front door on a port of its own.
type cell struct {
	t    testing.TB
	dir  string
	log  *lines
	node *node.Node
	addr string // of S3
	http string // of the console
	grpc string

	access string
	secret s3front.Secret
}

// start starts a cell of three directory disks, with one access key.
func start(t testing.TB) *cell {
	t.Helper()
	c := &cell{t: t, dir: t.TempDir(), log: new(lines)}
	c.up()
	row, secret, err := c.node.MakeCredential(t.Context(), holdall.DefaultNamespace, "test")
	if err != nil {
		t.Fatal(err)
	}
	c.access, c.secret = row.AccessKey, secret
	t.Cleanup(func() {
		c.down()
		if t.Failed() {
			for line := range strings.Lines(c.log.String()) {
				if strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN") {
					t.Log(strings.TrimSpace(line))
				}
			}
		}
		if text := c.log.String(); strings.Contains(text, c.secret.Reveal()) || strings.Contains(text, "Signature=") {
			t.Error("the log holds a secret or a signature")
		}
	})
	return c
}

func (c *cell) up() {
	c.t.Helper()
	flags := map[string][]string{"data": {c.dir}, "listen": {"127.0.0.1:0"}, "http": {"127.0.0.1:0"}, "s3": {"127.0.0.1:0"}, "memory": {"512MiB"},
		"zone-size": {"16MiB"}, "scheme": {"rs-2-1"}, "disk": {filepath.Join(c.dir, "d0"), filepath.Join(c.dir, "d1"), filepath.Join(c.dir, "d2")}}
	cfg, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		c.t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if c.node, err = node.Start(context.WithoutCancel(c.t.Context()), cfg, node.Options{Logger: logger}); err != nil {
		c.t.Fatal(err)
	}
	for word := range strings.FieldsSeq(c.node.ReadyLine()) {
		if addr, ok := strings.CutPrefix(word, "s3="); ok {
			c.addr = addr
		}
		if addr, ok := strings.CutPrefix(word, "grpc="); ok {
			c.grpc = addr
		}
		if addr, ok := strings.CutPrefix(word, "http="); ok {
			c.http = addr
		}
	}
	if c.addr == "" {
		c.t.Fatalf("no S3 address in %q", c.node.ReadyLine())
	}
}

func (c *cell) down() {
	if c.node == nil {
		return
	}
	n := c.node
	c.node = nil
	if err := n.Close(context.Background()); err != nil && !errors.Is(err, context.Canceled) {
		c.t.Errorf("close: %v", err)
	}
}

func (c *cell) restart() {
	c.t.Helper()
	c.down()
	c.up()
}

// aws is the SDK at its defaults: only what a configuration file would say is
// given.
func (c *cell) aws() *s3.Client { return awsClient(c.addr, c.access, c.secret.Reveal()) }

func awsClient(addr, access, secret string) *s3.Client {
	return s3.New(s3.Options{Region: s3front.Region, BaseEndpoint: aws.String("http://" + addr), UsePathStyle: true,
		Credentials: awscredentials.NewStaticCredentialsProvider(access, secret, "")})
}

// minio is the other SDK at its defaults.
func (c *cell) minio() *minio.Client {
	c.t.Helper()
	m, err := minio.New(c.addr, &minio.Options{Creds: credentials.NewStaticV4(c.access, c.secret.Reveal(), "")})
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

func (c *cell) bucket(name string) *string {
	c.t.Helper()
	if _, err := c.aws().CreateBucket(c.t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		c.t.Fatal(err)
	}
	return &name
}

func (c *cell) put(bucket *string, key string, body []byte) *s3.PutObjectOutput {
	c.t.Helper()
	out, err := c.aws().PutObject(c.t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		c.t.Fatalf("put %q: %v", key, err)
	}
	return out
}

func (c *cell) get(bucket *string, key string) []byte {
	c.t.Helper()
	out, err := c.aws().GetObject(c.t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: &key})
	if err != nil {
		c.t.Fatalf("get %q: %v", key, err)
	}
	return c.read(out.Body)
}

func (c *cell) read(r io.ReadCloser) []byte {
	c.t.Helper()
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// code returns S3's code of an error.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func (c *cell) wantCode(what string, err error, want string) {
	c.t.Helper()
	if got := code(err); got != want {
		c.t.Errorf("%s: %q (%v), want %q", what, got, err, want)
	}
}

// random returns n bytes that depend on the seed alone.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(b)
	return b
}

// lines is a log that many write.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// statusOf returns the HTTP status of an error's answer.
func statusOf(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// namespace makes one, in the metadata of a cell that is down meanwhile.
func (c *cell) namespace(name string) holdall.NamespaceID {
	c.t.Helper()
	c.down()
	defer c.up()
	store, err := metadata.Open(c.t.Context(), metadata.Config{Dir: filepath.Join(c.dir, "metadata"), NodeID: "local", Logger: slog.New(slog.DiscardHandler), CacheBytes: 1 << 20})
	if err != nil {
		c.t.Fatal(err)
	}
	defer store.Close()
	row, err := store.CreateNamespace(c.t.Context(), name, time.Hour, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	return row.ID
}

// metric returns a metric's value, as /metrics shows it.
func (c *cell) metric(name string) string {
	c.t.Helper()
	out, err := http.Get("http://" + c.http + "/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(c.read(out.Body))) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// eventually waits for something to hold.
func (c *cell) eventually(what string, holds func() bool) {
	c.t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit.C:
			c.t.Fatalf("%s: not within 20 s", what)
		}
	}
}
