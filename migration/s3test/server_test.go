package s3test

import (
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A killed server comes back on the same port with what was acknowledged.
func TestServerKeepsItsObjectsOverAKill(t *testing.T) {
	s := New(t, Options{})
	cl := s.Client("")
	if _, err := cl.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("photos")}); err != nil {
		t.Fatal(err)
	}
	put := &s3.PutObjectInput{Bucket: aws.String("photos"), Key: aws.String("a/b"), Body: strings.NewReader("holdall")}
	if _, err := cl.PutObject(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	before := s.Endpoint()
	s.Kill()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := cl.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("photos"), Key: aws.String("a/b")})
	if err != nil {
		t.Fatalf("after the restart at %s (%s before): %v\n%s", s.Endpoint(), before, err, s.Log())
	}
	defer got.Body.Close()
	if b, err := io.ReadAll(got.Body); err != nil || string(b) != "holdall" {
		t.Errorf("read %q, %v", b, err)
	}
	if err := s.Restart(t.Context()); err == nil {
		t.Error("a server that runs was started again")
	}
}

func TestServerThatCannotStartSaysWhy(t *testing.T) {
	_, err := Start(t.Context(), Options{Root: "/nonexistent"})
	if err == nil || !strings.Contains(err.Error(), "nonexistent") {
		t.Errorf("err = %v, want the server's own words", err)
	}
}
