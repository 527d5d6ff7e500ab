package s3fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/holdall/holdall/migration/s3test"
)

var upstream = sync.OnceValues(func() (*s3test.Server, error) { return s3test.Start(context.Background(), s3test.Options{}) })

func TestMain(m *testing.M) {
	code := m.Run()
	if s, err := upstream(); err == nil {
		if err := s.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := goleak.Find(goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop")); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// content is what every test's object holds.
var content = bytes.Repeat([]byte("holdall "), 1<<15)

// front is a proxy before a server with a bucket of the test's own, and a client
// that never tries again.
func front(t *testing.T, plan Plan) (*Proxy, *s3.Client, string) {
	t.Helper()
	server, err := upstream()
	if err != nil {
		t.Fatal(err)
	}
	bucket := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(t.Name(), "/", "-"), "_", "-"))
	bucket = bucket[:min(len(bucket), 63)]
	direct := server.Client("")
	if _, err := direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b", "c"} {
		if _, err := direct.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Start(server.Endpoint(), plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	o := server.Client(p.Endpoint()).Options()
	o.Retryer = aws.NopRetryer{}
	return p, s3.New(o), bucket
}

// get reads an object with the checksums off that the SDK would compare.
func get(ctx context.Context, cl *s3.Client, bucket, key string, ifMatch *string) ([]byte, string, error) {
	out, err := cl.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, IfMatch: ifMatch}, func(o *s3.Options) {
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	if err != nil {
		return nil, "", err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	return b, aws.ToString(out.ETag), err
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// An empty plan changes nothing: the SDK at its defaults, trailing checksums
// included, is believed by the server.
func TestNothingPlannedNothingSpoiled(t *testing.T) {
	p, cl, bucket := front(t, Plan{})
	for _, key := range []string{"plain", "with space", "a+b", "100%", "ä/ö", "deep/er/key"} {
		if _, err := cl.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)}); err != nil {
			t.Fatalf("put %q: %v", key, err)
		}
		b, _, err := get(t.Context(), cl, bucket, key, nil)
		if err != nil || !bytes.Equal(b, content) {
			t.Fatalf("get %q: %d bytes, %v", key, len(b), err)
		}
	}
	if n := p.Counts(); len(n) != 0 {
		t.Errorf("injected %v", n)
	}
}

func TestRefusalsHaveTheirCodes(t *testing.T) {
	p, cl, bucket := front(t, Plan{})
	for kind, want := range map[Kind]string{SlowDown: "SlowDown", InternalError: "InternalError", TooManyRequests: "TooManyRequests", AccessDenied: "AccessDenied",
		ExpiredToken: "ExpiredToken", FalseNotFound: "NoSuchKey"} {
		p.SetPlan(Mix(1, 1, kind))
		_, _, err := get(t.Context(), cl, bucket, "a", nil)
		if code(err) != want {
			t.Errorf("%v: %v, want %s", kind, err, want)
		}
	}
}

// Every kind shows itself on the operation that it is for, and is counted.
func TestEveryKindShows(t *testing.T) {
	for _, kind := range []Kind{ResetBefore, ResetLost, ResetMid, Stall, Truncate, WrongLength, CorruptByte, WrongETag, Changed} {
		t.Run(kind.String(), func(t *testing.T) {
			p, cl, bucket := front(t, Plan{})
			_, etag, err := get(t.Context(), cl, bucket, "a", nil)
			if err != nil {
				t.Fatal(err)
			}
			plan := Mix(7, 1, kind)
			plan.Stall = time.Millisecond
			p.SetPlan(plan)
			b, other, err := get(t.Context(), cl, bucket, "a", nil)
			switch kind {
			case WrongLength:
				if err != nil || len(b) != len(content)/2 {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			case CorruptByte:
				if err != nil || len(b) != len(content) || bytes.Equal(b, content) || other != etag {
					t.Errorf("%d bytes, ETag %s, %v", len(b), other, err)
				}
			case WrongETag:
				if err != nil || !bytes.Equal(b, content) || other == etag {
					t.Errorf("%d bytes, ETag %s, %v", len(b), other, err)
				}
			case Changed:
				if err != nil || bytes.Equal(b, content) || other == etag {
					t.Errorf("%d bytes, ETag %s, %v", len(b), other, err)
				}
				if _, _, err := get(t.Context(), cl, bucket, "a", &etag); code(err) != "PreconditionFailed" {
					t.Errorf("If-Match of a changed object: %v", err)
				}
			default:
				if err == nil {
					t.Errorf("no error, %d bytes", len(b))
				}
			}
			if p.Counts()[kind] == 0 {
				t.Errorf("counts %v", p.Counts())
			}
		})
	}
}

func TestListingsAreSpoiled(t *testing.T) {
	p, cl, bucket := front(t, Plan{})
	list := func(after string) ([]string, error) {
		out, err := cl.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, StartAfter: &after, MaxKeys: aws.Int32(1)})
		if err != nil {
			return nil, err
		}
		var keys []string
		for _, o := range out.Contents {
			keys = append(keys, *o.Key)
		}
		return keys, nil
	}
	p.SetPlan(Mix(1, 1, TruncateListing))
	if keys, err := list(""); err == nil {
		t.Errorf("half a listing was read as %q", keys)
	}
	p.SetPlan(Plan{Rules: []Rule{{Kind: RepeatListing, Rate: 1}}})
	for _, after := range []string{"", "a"} {
		if keys, err := list(after); err != nil || len(keys) != 1 || keys[0] != "a" {
			t.Errorf("after %q: %q, %v; want the first page twice", after, keys, err)
		}
	}
	p.SetPlan(Plan{Slow: time.Microsecond, Rules: []Rule{{Kind: SlowListing, Rate: 1}}})
	if keys, err := list("a"); err != nil || keys[0] != "b" {
		t.Errorf("slow: %q, %v", keys, err)
	}
}

// A late PUT fails at the client and lands afterwards, over what was written
// meanwhile.
func TestLatePutLandsAfterItsTimeout(t *testing.T) {
	p, cl, bucket := front(t, Plan{Rules: []Rule{{Kind: LatePut, Rate: 1, Most: 1}}})
	put := func(ctx context.Context, body string) error {
		_, err := cl.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("a"), Body: strings.NewReader(body)})
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := put(ctx, "late"); err == nil {
		t.Fatal("the held PUT was acknowledged")
	}
	if err := put(t.Context(), "newer"); err != nil {
		t.Fatal(err)
	}
	if err := p.Land(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for p.Landed() == 0 {
		select {
		case <-again.C:
		case <-t.Context().Done():
			t.Fatal("it never landed")
		}
	}
	if b, _, err := get(t.Context(), cl, bucket, "a", nil); err != nil || string(b) != "late" {
		t.Errorf("read %.20q, %v", b, err)
	}
}

// Which request is spoiled depends on the seed and the request, not on order.
func TestPlanIsDeterministic(t *testing.T) {
	served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") }))
	defer served.Close()
	run := func(seed uint64, reverse bool) string {
		p, err := Start(served.URL, Mix(seed, 0.3, SlowDown, AccessDenied))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		statuses := make([]byte, 400)
		for i := range statuses {
			if reverse {
				i = len(statuses) - 1 - i
			}
			resp, err := http.Get(fmt.Sprintf("%s/bucket/key%d", p.Endpoint(), i))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			statuses[i] = byte('0' + resp.StatusCode/100)
		}
		return string(statuses)
	}
	one := run(1, false)
	if two := run(1, true); one != two {
		t.Errorf("the order matters:\n%s\n%s", one, two)
	}
	if run(2, false) == one {
		t.Error("the seed does not matter")
	}
	if bad := strings.Count(one, "5") + strings.Count(one, "4"); bad < 80 || bad > 160 {
		t.Errorf("%d of 400 spoiled at a rate of 0.3", bad)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestRulesMatchMethodsKeysAndCounts(t *testing.T) {
	p, cl, bucket := front(t, Plan{Rules: []Rule{{Kind: AccessDenied, Rate: 1, Methods: []string{"GET"}, Key: "b", Most: 1}}})
	if _, _, err := get(t.Context(), cl, bucket, "a", nil); err != nil {
		t.Errorf("another key: %v", err)
	}
	if _, err := cl.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String("b")}); err != nil {
		t.Errorf("another method: %v", err)
	}
	if _, _, err := get(t.Context(), cl, bucket, "b", nil); code(err) != "AccessDenied" {
		t.Errorf("matched: %v", err)
	}
	if _, _, err := get(t.Context(), cl, bucket, "b", nil); err != nil {
		t.Errorf("beyond Most: %v", err)
	}
	if n := p.Requests(); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
}

// Enough kinds, and the lie not among them.
func TestKindsAreHonest(t *testing.T) {
	all := Kinds()
	if len(all) < 14 {
		t.Errorf("%d kinds", len(all))
	}
	for _, k := range all {
		if k == FalseNotFound || k.String() == "" {
			t.Errorf("kind %d %q", k, k)
		}
	}
}
