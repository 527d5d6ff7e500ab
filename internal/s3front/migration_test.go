package s3front_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/migration/s3test"
)

// leaving is a bucket of a real S3 server that is being left, behind the front
// door.
type leaving struct {
	*cell
	calls  *client.Client
	source *s3.Client
	front  *s3.Client
	bucket *string
}

func leave(t *testing.T) *leaving {
	t.Helper()
	srv := s3test.New(t, s3test.Options{})
	for _, pair := range srv.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, filepath.Join(t.TempDir(), "none"))
	}
	c := start(t)
	l := &leaving{cell: c, source: srv.Client(""), front: c.aws(), bucket: c.bucket("photos")}
	if _, err := l.source.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("old")}); err != nil {
		t.Fatal(err)
	}
	var err error
	if l.calls, err = client.Dial(client.Options{}, c.grpc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.calls.Close() })
	_, err = l.calls.CreateMigration(t.Context(), "photos", client.MigrationSettings{OnSecondaryFailure: "outbox", CleanRun: client.Span(time.Millisecond), Window: client.Span(time.Millisecond),
		Source: client.MigrationSource{Endpoint: srv.Endpoint(), Region: s3test.Region, Bucket: "old", PathStyle: true}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// to takes a step, and waits until it is taken.
func (l *leaving) to(state string) {
	l.t.Helper()
	for {
		_, err := l.calls.StepMigration(l.t.Context(), "photos", state)
		if err == nil {
			break
		}
		m, e := l.calls.Migration(l.t.Context(), "photos")
		if e != nil || !errors.Is(err, holdall.ErrRefused) {
			l.t.Fatal(err, e)
		}
		if m.Outbox == 0 && m.Quarantined > 0 {
			l.t.Fatalf("%v; %d keys are in quarantine", err, m.Quarantined)
		}
		l.wait()
	}
	l.eventually("a step to "+state, func() bool {
		m, err := l.calls.Migration(l.t.Context(), "photos")
		return err == nil && m.State == state && m.Step == ""
	})
}

func (l *leaving) wait() {
	select {
	case <-time.After(50 * time.Millisecond):
	case <-l.t.Context().Done():
		l.t.Fatal("the test's time is over")
	}
}

// same fails the test unless an object is the same at the front door and at the
// source.
func (l *leaving) same(key string, want []byte) {
	l.t.Helper()
	get := func(c *s3.Client, bucket *string) (*s3.GetObjectOutput, []byte) {
		out, err := c.GetObject(l.t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: &key})
		if err != nil {
			l.t.Fatalf("get of %q: %v", key, err)
		}
		return out, l.read(out.Body)
	}
	front, b := get(l.front, l.bucket)
	source, s := get(l.source, aws.String("old"))
	if !bytes.Equal(b, want) || !bytes.Equal(s, want) {
		l.t.Errorf("%q: %d bytes at the front door, %d at the source, want %d", key, len(b), len(s), len(want))
	}
	if *front.ETag != *source.ETag || !front.LastModified.Equal(*source.LastModified) || aws.ToString(front.ContentType) != aws.ToString(source.ContentType) ||
		aws.ToString(front.ContentEncoding) != aws.ToString(source.ContentEncoding) || front.Metadata["colour"] != source.Metadata["colour"] {
		l.t.Errorf("%q: the front door says %s %v %s %s %v, the source %s %v %s %s %v", key, *front.ETag, front.LastModified, aws.ToString(front.ContentType), aws.ToString(front.ContentEncoding), front.Metadata,
			*source.ETag, source.LastModified, aws.ToString(source.ContentType), aws.ToString(source.ContentEncoding), source.Metadata)
	}
}

func TestABucketIsLeftWhileItIsInUse(t *testing.T) {
	l := leave(t)
	small, big := []byte("hello"), bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	for _, key := range []string{"before/a", "before/b"} { // of the time before the front door
		if _, err := l.source.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("old"), Key: &key, Body: bytes.NewReader(big), ContentType: aws.String("text/x"), Metadata: map[string]string{"colour": "red"}}); err != nil {
			t.Fatal(err)
		}
	}
	l.same("before/a", big)
	write := func(state string) {
		t.Helper()
		for key, b := range map[string][]byte{"k": small, state + "/small": small, state + "/big": big, state + "/none": nil} {
			in := &s3.PutObjectInput{Bucket: l.bucket, Key: &key, Body: bytes.NewReader(b), ContentType: aws.String("text/x"), ContentEncoding: aws.String("gzip"), Metadata: map[string]string{"colour": "blue"}}
			if _, err := l.front.PutObject(t.Context(), in); err != nil {
				t.Fatalf("%s: put: %v", state, err)
			}
		}
		m := l.minio()
		parts := bytes.Repeat([]byte("x"), 11<<20)
		if _, err := m.PutObject(t.Context(), "photos", state+"/parts", bytes.NewReader(parts), int64(len(parts)), minio.PutObjectOptions{PartSize: 5 << 20}); err != nil {
			t.Fatalf("%s: upload: %v", state, err)
		}
		from := "photos/" + state + "/big"
		if _, err := l.front.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: l.bucket, Key: aws.String(state + "/copy"), CopySource: &from}); err != nil {
			t.Fatalf("%s: copy: %v", state, err)
		}
		tags := &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}
		if _, err := l.front.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: l.bucket, Key: aws.String(state + "/small"), Tagging: tags}); err != nil {
			t.Fatalf("%s: tags: %v", state, err)
		}
		if _, err := l.front.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: l.bucket, Key: aws.String(state + "/none")}); err != nil {
			t.Fatalf("%s: delete: %v", state, err)
		}
		l.eventually("no write under way", func() bool {
			m, err := l.calls.Migration(t.Context(), "photos")
			return err == nil && m.Intents == 0
		})
		for _, key := range []string{"k", state + "/small"} {
			l.same(key, small)
		}
		l.same(state+"/big", big)
		l.same(state+"/copy", big)
		l.same(state+"/parts", parts)
	}
	write("assess")
	l.to("mirror")
	write("mirror")
	if _, err := l.calls.StartMigrationJob(t.Context(), "photos", "backfill", client.JobLimits{}); err != nil {
		t.Fatal(err)
	}
	l.to("shadow")
	write("shadow")
	if _, err := l.calls.StartMigrationJob(t.Context(), "photos", "verify", client.JobLimits{}); err != nil {
		t.Fatal(err)
	}
	l.to("flipped")
	write("flipped")
	l.same("before/b", big)
	l.same("assess/big", big)
	front, _ := l.listV2(&s3.ListObjectsV2Input{Bucket: l.bucket})
	if len(front) != 2+4*4+1 {
		t.Errorf("%d keys are listed: %v", len(front), front)
	}
	l.to("mirror")
	l.same("flipped/big", big)
}
