package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdall/holdall/migration/s3fault"
	"github.com/holdall/holdall/migration/s3test"
)

// assessed is a bucket with a few thousand objects, and a proxy before its server.
type assessed struct {
	t      *testing.T
	server *s3test.Server
	proxy  *s3fault.Proxy
	dir    string
	env    []string
}

const assessedObjects = 2400

func newAssessed(t *testing.T) *assessed {
	t.Helper()
	a := &assessed{t: t, server: s3test.New(t, s3test.Options{}), dir: t.TempDir()}
	bucket := "photos"
	cl := a.server.Client("")
	if _, err := cl.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	for i := range assessedObjects {
		path := filepath.Join(a.server.Root(), bucket, fmt.Sprintf("dir%03d", i/20), fmt.Sprintf("file %d", i))
		if i%20 == 0 {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if a.proxy, err = s3fault.Start(a.server.Endpoint(), s3fault.Plan{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.proxy.Close() })
	a.env = append(a.server.Environ(), "AWS_SESSION_TOKEN=", "AWS_PROFILE=", "AWS_CONFIG_FILE="+filepath.Join(a.dir, "no-config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(a.dir, "no-credentials"))
	for _, pair := range a.env {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	return a
}

// args are of an assessment into the test's directory.
func (a *assessed) args(more ...string) []string {
	return append([]string{"migrate", "assess", "--source", "s3://photos", "--endpoint", a.proxy.Endpoint(),
		"--catalogue", filepath.Join(a.dir, "c.sqlite"), "--report", filepath.Join(a.dir, "r.html")}, more...)
}

// A listing that is killed ends with every object once; what was durable before
// the kill is not listed again.
func TestAssessGoesOnAfterAKill(t *testing.T) {
	a := newAssessed(t)
	cmd := program(a.args("--walkers", "16", "--requests", "15")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Fifty requests take three seconds, and a batch is made durable every two.
	eventually(t, "requests", func() bool { return a.proxy.Requests() > 50 })
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	before := a.proxy.Requests()
	var s struct {
		Current  struct{ Objects, Bytes int64 }
		Finished string
		Report   string
	}
	if err := json.Unmarshal([]byte(must(t, a.args("--output", "json")...)), &s); err != nil || s.Current.Objects != assessedObjects || s.Finished == "" {
		t.Errorf("after a kill: %+v, %v", s, err)
	}
	if n := a.proxy.Requests() - before; n > 100 { // 124 with its 32 walkers, from the beginning
		t.Errorf("%d requests after the kill: what was listed was listed again", n)
	}
	page, err := os.ReadFile(s.Report)
	if err != nil || !bytes.Contains(page, []byte("2,400")) {
		t.Errorf("the report: %d bytes, %v", len(page), err)
	}
	// Complete: the bucket is not listed again.
	before = a.proxy.Requests()
	if out := must(t, a.args()...); !strings.Contains(out, "2,400 of 0 B") || a.proxy.Requests() != before {
		t.Errorf("a second report made %d requests:\n%s", a.proxy.Requests()-before, out)
	}
	if out := must(t, "migrate", "audit", "prefixes", "--catalogue", filepath.Join(a.dir, "c.sqlite"), "--output", "json", "--limit", "1"); !strings.Contains(out, `"objects":20`) {
		t.Errorf("audit: %s", out)
	}
}

// Nothing that a run prints or writes, and no argument, holds a credential.
func TestAssessKeepsSecrets(t *testing.T) {
	a := newAssessed(t)
	var said bytes.Buffer
	run := func(args ...string) {
		cmd := program(args...)
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
		_ = cmd.Wait() // some are to fail
		if err == nil {
			said.Write(line)
		}
	}
	for _, kind := range []s3fault.Kind{s3fault.None, s3fault.AccessDenied, s3fault.ExpiredToken} {
		for _, more := range [][]string{{"--dry-run"}, {"--output", "json"}} {
			_ = os.Remove(filepath.Join(a.dir, "c.sqlite"))
			a.proxy.SetPlan(s3fault.Mix(1, 1, kind))
			run(a.args(more...)...)
		}
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong"+a.server.SecretKey)
	a.proxy.SetPlan(s3fault.Plan{})
	_ = os.Remove(filepath.Join(a.dir, "c.sqlite"))
	run(a.args()...)
	for _, name := range []string{"c.sqlite", "r.html"} {
		b, err := os.ReadFile(filepath.Join(a.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		said.Write(b)
	}
	if !strings.Contains(said.String(), "SignatureDoesNotMatch") || !strings.Contains(said.String(), "ExpiredToken") {
		t.Errorf("the runs did not fail as planned:\n%.2000q", said.String())
	}
	if bytes.Contains(said.Bytes(), []byte(a.server.SecretKey)) {
		t.Error("the secret key was printed or written")
	}
}

func TestAssessErrorsSayWhatToDo(t *testing.T) {
	a := newAssessed(t)
	for _, c := range []struct {
		kind s3fault.Kind
		args []string
		code int
		want string
	}{
		{s3fault.AccessDenied, a.args(), exitFailed, "s3:ListBucket"},
		{s3fault.None, a.args("--source", "s3://no-such-bucket", "--catalogue", filepath.Join(a.dir, "other.sqlite")), exitNotFound, "bucket's name"},
		{s3fault.None, a.args("--source", "photos"), exitUsage, "s3://BUCKET"},
		{s3fault.None, a.args("--endpoint", "http://me:pw@localhost"), exitUsage, "never from a URL"},
		{s3fault.None, a.args("--prices", "none.toml"), exitFailed, "migrate prices"},
		{s3fault.None, a.args("--bandwidth", "fast"), exitUsage, "1.25GB"},
		{s3fault.None, a.args("--requests", "many"), exitUsage, "schedule"},
		{s3fault.None, a.args("--inventory", "none.csv"), exitFailed, "check the path"},
		{s3fault.None, []string{"migrate", "audit", "nonsense"}, exitUsage, "holdall migrate audit"},
		{s3fault.None, []string{"migrate", "audit", "cold"}, exitUsage, "--catalogue"},
		{s3fault.None, []string{"migrate", "audit", "cold", "--catalogue", "none.sqlite"}, exitFailed, "migrate assess"},
	} {
		a.proxy.SetPlan(s3fault.Mix(1, 1, c.kind))
		if r := command(t, nil, c.args...); r.code != c.code || !strings.Contains(r.err, c.want) || !strings.Contains(r.err, "next: ") {
			t.Errorf("%v %v: exit %d\n%swant %d and %q", c.kind, c.args, r.code, r.err, c.code, c.want)
		}
	}
}

func TestAssessDryRunWritesNothing(t *testing.T) {
	a := newAssessed(t)
	before := a.proxy.Requests()
	out := must(t, a.args("--dry-run")...)
	if n := a.proxy.Requests() - before; n > 3 || !strings.Contains(out, `"dir000/file 0"`) {
		t.Errorf("%d requests\n%s", n, out)
	}
	if files, err := os.ReadDir(a.dir); err != nil || len(files) != 0 {
		t.Errorf("it wrote %v, %v", files, err)
	}
}

// An operator who stops a listing is told how to go on.
func TestAssessStoppedSaysHowToGoOn(t *testing.T) {
	a := newAssessed(t)
	ctx, stop := context.WithCancel(t.Context())
	a.proxy.SetPlan(s3fault.Plan{Rules: []s3fault.Rule{{Kind: s3fault.SlowListing, Rate: 1}}, Slow: 1e6})
	var out, errs bytes.Buffer
	done := make(chan int)
	go func() { done <- run(ctx, a.args("--walkers", "16", "--requests", "20"), nil, &out, &errs) }()
	eventually(t, "requests", func() bool { return a.proxy.Requests() > 10 })
	stop()
	if code := <-done; code != exitFailed || !strings.Contains(errs.String(), "same command again") {
		t.Errorf("exit %d\n%s", code, errs.String())
	}
}

func TestPricesCanBeEdited(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.toml")
	if err := os.WriteFile(file, []byte(must(t, "migrate", "prices")), 0o600); err != nil {
		t.Fatal(err)
	}
	inventory := filepath.Join(t.TempDir(), "i.csv")
	if err := os.WriteFile(inventory, []byte(`"photos","a%2Fb","1099511627776","2024-01-02T03:04:05Z","e","STANDARD"`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	out := must(t, "migrate", "assess", "--source", "s3://photos", "--inventory", inventory, "--prices", file)
	if !strings.Contains(out, "1 of 1.0 TiB") || !strings.Contains(out, "23.55 USD") || !strings.Contains(out, "photos.html") {
		t.Errorf("got\n%s", out)
	}
}
