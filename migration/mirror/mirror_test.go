package mirror

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/ledger"
	"github.com/holdall/holdall/migration/s3fault"
	"github.com/holdall/holdall/migration/s3test"
	"github.com/holdall/holdall/migration/source"
)

var server = sync.OnceValues(func() (*s3test.Server, error) { return s3test.Start(context.Background(), s3test.Options{}) })

func TestMain(m *testing.M) {
	code := m.Run()
	if s, err := server(); err == nil {
		_ = s.Stop()
	}
	os.Exit(code)
}

// stage is a bucket of a test's own behind a fault proxy.
type stage struct {
	*Mirror
	t      *testing.T
	direct *s3.Client
	proxy  *s3fault.Proxy
	bucket string
}

func newStage(t *testing.T, cfg Config) *stage {
	t.Helper()
	srv, err := server()
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range srv.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, filepath.Join(t.TempDir(), "none"))
	}
	st := &stage{t: t, direct: srv.Client(""), bucket: strings.NewReplacer("/", "-", "_", "-").Replace(strings.ToLower(t.Name()))}
	st.bucket = st.bucket[:min(len(st.bucket), 60)]
	if _, err := st.direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &st.bucket}); err != nil {
		t.Fatal(err)
	}
	if st.proxy, err = s3fault.Start(srv.Endpoint(), s3fault.Plan{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.proxy.Close() })
	cfg.Source = metadata.Source{Endpoint: st.proxy.Endpoint(), Bucket: st.bucket, PathStyle: true, Region: s3test.Region}
	if st.Mirror, err = Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return st
}

func (st *stage) put(key, content string, e Expect) Result {
	return st.Put(st.t.Context(), Put{Key: key, Body: strings.NewReader(content), Size: int64(len(content)), If: e})
}

// holds is what the server has under a key, around the proxy; "-" = nothing.
func (st *stage) holds(key string) string {
	st.t.Helper()
	out, err := st.direct.GetObject(st.t.Context(), &s3.GetObjectInput{Bucket: &st.bucket, Key: &key})
	if err != nil {
		return "-"
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		st.t.Fatal(err)
	}
	return string(b)
}

func (st *stage) want(what string, r Result, outcome ledger.Outcome, kind error) {
	st.t.Helper()
	if r.Outcome != outcome || !errors.Is(r.Err, kind) || (r.Err == nil) != (outcome == ledger.Done) {
		st.t.Errorf("%s: %v, %v; want %v, %v", what, r.Outcome, r.Err, outcome, kind)
	}
}

func etagOf(content string) string {
	sum := md5.Sum([]byte(content))
	return hex.EncodeToString(sum[:])
}

func TestWhatIsPutIsThere(t *testing.T) {
	st := newStage(t, Config{})
	big := strings.Repeat("0123456789abcdef", 3<<16)
	for _, content := range []string{"", "x", big} {
		r := st.Put(t.Context(), Put{
			Key: "a/b", Body: iotest.HalfReader(strings.NewReader(content)), Size: int64(len(content)),
			Attributes: manifest.Attributes{ContentType: "text/x", CacheControl: "no-store", ContentEncoding: "gzip", User: []manifest.Field{{Name: "colour", Value: "red"}}},
			Tags:       []manifest.Tag{{Key: "a b", Value: "c=d"}},
		})
		st.want("put", r, ledger.Done, nil)
		if r.Facts.ETag != etagOf(content) || st.holds("a/b") != content {
			t.Errorf("%d bytes: ETag %q, the server has another content", len(content), r.Facts.ETag)
		}
	}
	out, err := st.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &st.bucket, Key: aws.String("a/b")})
	if err != nil || *out.ContentType != "text/x" || *out.CacheControl != "no-store" || *out.ContentEncoding != "gzip" || out.Metadata["colour"] != "red" {
		t.Errorf("%+v: %v", out, err)
	}
	tags, err := st.direct.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: &st.bucket, Key: aws.String("a/b")})
	if err != nil || len(tags.TagSet) != 1 || *tags.TagSet[0].Key != "a b" || *tags.TagSet[0].Value != "c=d" {
		t.Errorf("%+v: %v", tags, err)
	}
	st.want("tags", st.SetTags(t.Context(), "a/b", nil), ledger.Done, nil)
	f, found, err := st.Head(t.Context(), "a/b")
	if err != nil || !found || f.Size != int64(len(big)) || f.ETag != etagOf(big) || f.Modified.IsZero() {
		t.Errorf("head %+v %t: %v", f, found, err)
	}
	if _, found, err := st.Head(t.Context(), "a"); found || err != nil {
		t.Errorf("head of what is not there: %t %v", found, err)
	}
}

func TestAWriteThatFindsAnotherObjectIsRefused(t *testing.T) {
	st := newStage(t, Config{})
	absent := Expect{Known: true}
	st.want("first", st.put("k", "one", absent), ledger.Done, nil)
	st.want("again as the first", st.put("k", "two", absent), ledger.Refused, holdall.ErrCondition)
	st.want("over another", st.put("k", "two", Expect{true, etagOf("zero")}), ledger.Refused, holdall.ErrCondition)
	st.want("over what is there", st.put("k", "two", Expect{true, etagOf("one")}), ledger.Done, nil)
	st.want("delete of another", st.Delete(t.Context(), "k", Expect{true, etagOf("one")}), ledger.Refused, holdall.ErrCondition)
	if got := st.holds("k"); got != "two" {
		t.Errorf("the server has %q", got)
	}
	st.want("delete", st.Delete(t.Context(), "k", Expect{true, etagOf("two")}), ledger.Done, nil)
	st.want("delete of nothing", st.Delete(t.Context(), "k", Expect{}), ledger.Done, nil)
	if got := st.holds("k"); got != "-" {
		t.Errorf("the server has %q", got)
	}
}

func TestALatePutFindsAnotherObject(t *testing.T) {
	st := newStage(t, Config{Timeout: 300 * time.Millisecond})
	st.want("first", st.put("k", "one", Expect{Known: true}), ledger.Done, nil)
	st.proxy.SetPlan(s3fault.Plan{Rules: []s3fault.Rule{{Kind: s3fault.LatePut, Rate: 1, Most: 1}}})
	st.want("no answer", st.put("k", "late", Expect{true, etagOf("one")}), ledger.Unknown, holdall.ErrUnavailable)
	st.want("the next", st.put("k", "two", Expect{true, etagOf("one")}), ledger.Done, nil)
	if err := st.proxy.Land(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := st.holds("k"); got != "two" {
		t.Errorf("the server has %q: what timed out landed after the next", got)
	}
}

func TestABodyThatFailsStoresNothing(t *testing.T) {
	st := newStage(t, Config{})
	broken := errors.New("broken")
	for _, missing := range []int{1, 1000, 1 << 19} {
		r := st.Put(t.Context(), Put{Key: "k", Size: 1 << 20, Body: io.MultiReader(bytes.NewReader(make([]byte, 1<<20-missing)), iotest.ErrReader(broken))})
		st.want("body that fails", r, ledger.Refused, broken)
	}
	r := st.Put(t.Context(), Put{Key: "k", Size: 1 << 20, Body: bytes.NewReader(make([]byte, 1<<19))})
	if r.Outcome == ledger.Done {
		t.Error("half a body was taken for a whole one")
	}
	if got := st.holds("k"); got != "-" {
		t.Errorf("the server has %d bytes", len(got))
	}
}

func TestEveryAnswerIsSorted(t *testing.T) {
	for kind, want := range map[s3fault.Kind]struct {
		outcome ledger.Outcome
		err     error
	}{
		s3fault.SlowDown:        {ledger.Refused, holdall.ErrUnavailable},
		s3fault.TooManyRequests: {ledger.Refused, holdall.ErrUnavailable},
		s3fault.InternalError:   {ledger.Unknown, holdall.ErrUnavailable},
		s3fault.AccessDenied:    {ledger.Refused, source.ErrDenied},
		s3fault.ExpiredToken:    {ledger.Refused, holdall.ErrInvalid},
		s3fault.ResetBefore:     {ledger.Unknown, holdall.ErrUnavailable},
		s3fault.ResetLost:       {ledger.Unknown, holdall.ErrUnavailable},
	} {
		t.Run(kind.String(), func(t *testing.T) {
			st := newStage(t, Config{})
			st.proxy.SetPlan(s3fault.Plan{Rules: []s3fault.Rule{{Kind: kind, Rate: 1}}})
			r := st.put("k", "one", Expect{})
			st.want("put", r, want.outcome, want.err)
			if r.Err != nil && strings.Contains(r.Err.Error(), os.Getenv("AWS_SECRET_ACCESS_KEY")) {
				t.Error("the error holds the secret key")
			}
		})
	}
}

func TestAServerThatIsNotThereRefuses(t *testing.T) {
	st := newStage(t, Config{})
	var err error
	st.Mirror, err = Open(t.Context(), Config{Source: metadata.Source{Endpoint: "http://127.0.0.1:1", Bucket: st.bucket, PathStyle: true}})
	if err != nil {
		t.Fatal(err)
	}
	st.want("put", st.put("k", "one", Expect{}), ledger.Refused, holdall.ErrUnavailable)
}

func TestAnUploadBecomesAnObject(t *testing.T) {
	st := newStage(t, Config{})
	u, r := st.CreateUpload(t.Context(), "k", manifest.Attributes{ContentType: "text/x"}, nil)
	st.want("create", r, ledger.Done, nil)
	var parts []Part
	for n, content := range []string{strings.Repeat("a", 5<<20), "b"} {
		p := Part{Number: n + 1, Body: iotest.HalfReader(strings.NewReader(content)), Size: int64(len(content))}
		r := st.PutPart(t.Context(), u, p)
		st.want("part", r, ledger.Done, nil)
		parts = append(parts, Part{Number: p.Number, ETag: r.Facts.ETag})
	}
	st.want("complete over another", st.Complete(t.Context(), u, parts, Expect{true, etagOf("other")}), ledger.Refused, holdall.ErrNotFound)
	r = st.Complete(t.Context(), u, parts, Expect{Known: true})
	st.want("complete", r, ledger.Done, nil)
	if got := st.holds("k"); len(got) != 5<<20+1 || !strings.HasSuffix(r.Facts.ETag, "-2") {
		t.Errorf("%d bytes, ETag %q", len(got), r.Facts.ETag)
	}
	other, r := st.CreateUpload(t.Context(), "k", manifest.Attributes{}, nil)
	st.want("create", r, ledger.Done, nil)
	st.want("abort", st.Abort(t.Context(), other), ledger.Done, nil)
	st.want("abort again", st.Abort(t.Context(), other), ledger.Done, nil)
}
