package s3front_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"
)

var oddKeys = flag.Int("odd-keys", 300, "how many odd keys TestOddKeysComeBack puts")

func TestListings(t *testing.T) {
	c := start(t)
	b := c.bucket("listings")
	keys := []string{"a", "a/", "a/b", "a/b/c", "b", "photos/1", "photos/2", "z"}
	for _, k := range keys {
		c.put(b, k, []byte(k))
	}
	for _, x := range []struct {
		prefix, delimiter, after string
		keys, prefixes           string
	}{
		{"", "", "", "a a/ a/b a/b/c b photos/1 photos/2 z", ""},
		{"", "/", "", "a b z", "a/ photos/"},
		{"a/", "/", "", "a/ a/b", "a/b/"},
		{"a", "", "", "a a/ a/b a/b/c", ""},
		{"photos", "/", "", "", "photos/"},
		{"", "", "a/b", "a/b/c b photos/1 photos/2 z", ""},
		{"", "/", "b", "z", "photos/"},
		{"none", "", "", "", ""},
		{"", "o", "", "a a/ a/b a/b/c b z", "pho"},
	} {
		for size := int32(1); size <= 4; size++ {
			name := fmt.Sprintf("%q %q %q by %d", x.prefix, x.delimiter, x.after, size)
			gotKeys, gotPrefixes := c.listV2(&s3.ListObjectsV2Input{Bucket: b, Prefix: &x.prefix, Delimiter: &x.delimiter, StartAfter: &x.after, MaxKeys: &size})
			if strings.Join(gotKeys, " ") != x.keys || strings.Join(gotPrefixes, " ") != x.prefixes {
				t.Errorf("v2 %s: %q, %q, want %q, %q", name, gotKeys, gotPrefixes, x.keys, x.prefixes)
			}
			gotKeys, gotPrefixes = c.listV1(&s3.ListObjectsInput{Bucket: b, Prefix: &x.prefix, Delimiter: &x.delimiter, Marker: &x.after, MaxKeys: &size})
			if strings.Join(gotKeys, " ") != x.keys || strings.Join(gotPrefixes, " ") != x.prefixes {
				t.Errorf("v1 %s: %q, %q, want %q, %q", name, gotKeys, gotPrefixes, x.keys, x.prefixes)
			}
		}
	}
	out, err := c.aws().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: b, FetchOwner: aws.Bool(true), MaxKeys: aws.Int32(1)})
	if err != nil || out.Contents[0].Owner == nil || *out.Contents[0].Size != 1 || *out.Contents[0].ETag != etagOf([]byte("a")) || *out.KeyCount != 1 {
		t.Errorf("an entry: %+v, %v", out, err)
	}
	out, err = c.aws().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: b, MaxKeys: aws.Int32(0)})
	if err != nil || *out.IsTruncated || len(out.Contents) != 0 {
		t.Errorf("a page of none: %+v, %v", out, err)
	}
	_, err = c.aws().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: b, ContinuationToken: aws.String("!")})
	c.wantCode("token of nonsense", err, "InvalidArgument")
}

func (c *cell) listV2(in *s3.ListObjectsV2Input) (keys, prefixes []string) {
	c.t.Helper()
	for {
		out, err := c.aws().ListObjectsV2(c.t.Context(), in)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, o := range out.Contents {
			keys = append(keys, c.decode(out.EncodingType, *o.Key))
		}
		for _, p := range out.CommonPrefixes {
			prefixes = append(prefixes, c.decode(out.EncodingType, *p.Prefix))
		}
		if !*out.IsTruncated {
			return keys, prefixes
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

func (c *cell) listV1(in *s3.ListObjectsInput) (keys, prefixes []string) {
	c.t.Helper()
	for {
		out, err := c.aws().ListObjects(c.t.Context(), in)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, o := range out.Contents {
			keys = append(keys, c.decode(out.EncodingType, *o.Key))
		}
		for _, p := range out.CommonPrefixes {
			prefixes = append(prefixes, c.decode(out.EncodingType, *p.Prefix))
		}
		if !*out.IsTruncated {
			return keys, prefixes
		}
		in.Marker = aws.String(c.decode(out.EncodingType, *out.NextMarker))
	}
}

func (c *cell) decode(e types.EncodingType, name string) string {
	c.t.Helper()
	if e != types.EncodingTypeUrl {
		return name
	}
	plain, err := url.QueryUnescape(name)
	if err != nil {
		c.t.Fatal(err)
	}
	return plain
}

// fixedOddKeys are keys that other stores were seen to mix up.
var fixedOddKeys = []string{
	"a/../b", "a/./b", "a//b", "/leading", "//two", "trailing/", "trailing//", "dir", "dir/", "dir/file",
	"caf\u00e9", "cafe\u0301", "with space", " leading space", "trailing space ", "100%", "%20", "%2F", "%2e%2e", "a+b", "a&b=c?d#e",
	"quote\"'<>&", "back\\slash", "tab\tand\nnewline", "\x01control\x1f", "delete\x7f", "é/ü/日本語/🎒", "...", "a/...", "..a", "a..", "semi;colon,comma",
	"~tilde", "star*", "[brackets]{braces}", "pipe|caret^backtick`", "$dollar@at!bang", "UPPER/lower", "upper/LOWER",
	strings.Repeat("x", 1024), strings.Repeat("é", 512), strings.Repeat("d/", 511) + "f", "null\x00byte", "\u202ertl", "zero\u200bwidth", "\ufeffbom",
}

// randomKey makes a key of characters that somebody, somewhere, treats in a way
// of his own.
func randomKey(r *rand.Rand) string {
	const alphabet = "ab/.%+ &?#=;:,é́ü~*'\"<>\\\t\x02日🎒"
	letters := []rune(alphabet)
	var b strings.Builder
	for range 1 + r.IntN(24) {
		b.WriteRune(letters[r.IntN(len(letters))])
	}
	return b.String()
}

// refusedKey says which keys the protocol's library refuses: those that would
// climb out of a bucket if they were paths, and those that come to nothing.
func refusedKey(key string) bool {
	depth, rest := 0, false
	for part := range strings.SplitSeq(key, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
			rest = true
		}
	}
	return depth == 0 || !rest
}

func TestOddKeysComeBack(t *testing.T) {
	c := start(t)
	b := c.bucket("oddkeys")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	want := map[string]bool{}
	for _, k := range fixedOddKeys {
		want[k] = true
	}
	for len(want) < *oddKeys {
		if k := randomKey(r); !refusedKey(k) {
			want[k] = true
		}
	}
	var keys []string
	for k := range want {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	client := c.aws()
	inParallel(keys, func(k string) {
		in := &s3.PutObjectInput{Bucket: b, Key: &k, Body: strings.NewReader(k)}
		if _, err := client.PutObject(t.Context(), in); err != nil {
			t.Errorf("put %q: %v", k, err)
		}
	})
	inParallel(keys, func(k string) {
		out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: &k})
		if err != nil {
			t.Errorf("get %q: %v", k, err)
			return
		}
		if got := c.read(out.Body); string(got) != k {
			t.Errorf("%q holds %q", k, got)
		}
	})
	listed, _ := c.listV2(&s3.ListObjectsV2Input{Bucket: b, EncodingType: types.EncodingTypeUrl})
	if !slices.Equal(listed, keys) {
		c.difference(listed, keys)
	}
	listed, _ = c.listV1(&s3.ListObjectsInput{Bucket: b, EncodingType: types.EncodingTypeUrl, MaxKeys: aws.Int32(77)})
	if !slices.Equal(listed, keys) {
		c.difference(listed, keys)
	}
	listed = nil
	for o := range c.minio().ListObjects(t.Context(), *b, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		listed = append(listed, o.Key)
	}
	if !slices.Equal(listed, keys) {
		c.difference(listed, keys)
	}
	inParallel(keys, func(k string) {
		if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: b, Key: &k}); err != nil {
			t.Errorf("delete %q: %v", k, err)
		}
	})
	if listed, _ = c.listV2(&s3.ListObjectsV2Input{Bucket: b}); len(listed) != 0 {
		t.Errorf("left after deleting all: %q", listed)
	}
}

func (c *cell) difference(got, want []string) {
	c.t.Helper()
	for _, k := range want {
		if !slices.Contains(got, k) {
			c.t.Errorf("not listed: %q", k)
		}
	}
	for _, k := range got {
		if !slices.Contains(want, k) {
			c.t.Errorf("listed, never put: %q", k)
		}
	}
	if len(got) == len(want) {
		c.t.Error("the order differs")
	}
}

func inParallel(keys []string, f func(string)) {
	var wait sync.WaitGroup
	next := make(chan string)
	for range 8 {
		wait.Go(func() {
			for k := range next {
				f(k)
			}
		})
	}
	for _, k := range keys {
		next <- k
	}
	close(next)
	wait.Wait()
}

func TestKeysThatClimbAreRefused(t *testing.T) {
	c := start(t)
	b := c.bucket("climbers")
	for _, k := range []string{"..", "../x", "a/../../b", ".", "../climbers/x", "./.."} {
		_, err := c.aws().PutObject(t.Context(), &s3.PutObjectInput{Bucket: b, Key: &k, Body: strings.NewReader("x")})
		if statusOf(err) != 400 {
			t.Errorf("put %q: %v, want status 400", k, err)
		}
	}
	for _, k := range []string{"/", "//", "///"} {
		for _, call := range []func() error{
			func() error {
				_, err := c.aws().PutObject(t.Context(), &s3.PutObjectInput{Bucket: b, Key: &k, Body: strings.NewReader("x")})
				return err
			},
			func() error {
				_, err := c.aws().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: b, Key: &k})
				return err
			},
		} {
			if err := call(); statusOf(err) != 400 {
				t.Errorf("%q: %v, want status 400", k, err)
			}
		}
	}
	long := strings.Repeat("x", 1025)
	_, err := c.aws().PutObject(t.Context(), &s3.PutObjectInput{Bucket: b, Key: &long, Body: strings.NewReader("x")})
	c.wantCode("1,025 bytes", err, "KeyTooLongError")
	if _, err := c.aws().HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: b}); err != nil {
		t.Errorf("the bucket: %v", err)
	}
}
