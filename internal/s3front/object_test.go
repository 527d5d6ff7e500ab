package s3front_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/minio/minio-go/v7"
)

func etagOf(b []byte) string {
	sum := md5.Sum(b)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// Sizes around those at which an object is stored otherwise: inline, one block,
// more blocks than are in flight.
func TestObjectsComeBack(t *testing.T) {
	c := start(t)
	b := c.bucket("objects")
	for i, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 4 << 20, 4<<20 + 1, 21<<20 + 7} {
		body := random(uint64(i), size)
		out := c.put(b, "key", body)
		if *out.ETag != etagOf(body) {
			t.Errorf("%d bytes: ETag %s, want %s", size, *out.ETag, etagOf(body))
		}
		if got := c.get(b, "key"); !bytes.Equal(got, body) {
			t.Errorf("%d bytes: got %d others", size, len(got))
		}
	}
	head, err := c.aws().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: b, Key: aws.String("key")})
	if err != nil || *head.ContentLength != 21<<20+7 {
		t.Errorf("head: %v, %v", head, err)
	}
}

func TestMinioObjectsComeBack(t *testing.T) {
	c := start(t)
	m := c.minio()
	if err := m.MakeBucket(t.Context(), "minio", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{0, 100, 5 << 20, 40 << 20} { // the last is sent in parts
		body := random(uint64(i), size)
		info, err := m.PutObject(t.Context(), "minio", "a/key", bytes.NewReader(body), int64(size), minio.PutObjectOptions{
			ContentType: "text/plain", UserMetadata: map[string]string{"Colour": "blue"}, UserTags: map[string]string{"k": "v"}})
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if size <= 16<<20 && `"`+info.ETag+`"` != etagOf(body) {
			t.Errorf("%d bytes: ETag %s", size, info.ETag)
		}
		o, err := m.GetObject(t.Context(), "minio", "a/key", minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.read(o); !bytes.Equal(got, body) {
			t.Errorf("%d bytes: got %d others", size, len(got))
		}
		stat, err := m.StatObject(t.Context(), "minio", "a/key", minio.StatObjectOptions{})
		if err != nil || stat.Size != int64(size) || stat.ContentType != "text/plain" || stat.UserMetadata["Colour"] != "blue" {
			t.Errorf("stat: %+v, %v", stat, err)
		}
	}
	// a stream of unknown length
	body := random(9, 17<<20)
	if _, err := m.PutObject(t.Context(), "minio", "stream", struct{ *strings.Reader }{strings.NewReader(string(body))}, -1, minio.PutObjectOptions{PartSize: 5 << 20}); err != nil {
		t.Fatal(err)
	}
	if got := c.get(aws.String("minio"), "stream"); !bytes.Equal(got, body) {
		t.Error("a stream came back otherwise")
	}
	if err := m.RemoveObject(t.Context(), "minio", "stream", minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	for o := range m.ListObjects(t.Context(), "minio", minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil || o.Key != "a/key" {
			t.Errorf("listed %+v", o)
		}
	}
}
