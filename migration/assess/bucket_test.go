package assess

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/holdall/holdall/migration/s3test"
	"github.com/holdall/holdall/migration/source"
)

// Old versions, delete markers and unfinished uploads are found in a bucket that
// keeps versions, and only what is current where they are not asked for.
func TestVersionsAndUploadsAreAssessed(t *testing.T) {
	server := s3test.New(t, s3test.Options{Versions: true})
	for _, pair := range server.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	cl, bucket := server.Client(""), aws.String("versions")
	_, err1 := cl.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	_, err2 := cl.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		for _, key := range []string{"kept", "deleted"} {
			if _, err := cl.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: bytes.NewReader(make([]byte, 100+i))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	up, err1 := cl.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("begun")})
	_, err2 = cl.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("deleted")})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: bucket, Key: aws.String("begun"), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(make([]byte, 777))}); err != nil {
		t.Fatal(err)
	}
	for _, versions := range []bool{true, false} {
		s := assessed(t, server, *bucket, versions)
		var old Amount
		var markers int64
		if versions {
			old, markers = Amount{5, 100 + 101 + 100 + 101 + 102}, 1
		}
		if s.Current != (Amount{1, 102}) || s.Old != old || s.Markers != markers || s.Uploads != (Amount{1, 777}) || !strings.HasPrefix(s.Versioning, "Enabled") {
			t.Errorf("versions asked for: %v: current %+v, old %+v, %d markers, uploads %+v, versioning %q", versions, s.Current, s.Old, s.Markers, s.Uploads, s.Versioning)
		}
	}
}

func assessed(t *testing.T, server *s3test.Server, bucket string, versions bool) *Summary {
	t.Helper()
	src, err := source.Open(t.Context(), source.Config{Bucket: bucket, Endpoint: server.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	c := newCatalogue(t, filepath.Join(t.TempDir(), "c.sqlite"), bucket)
	f := &Filling{Source: src, Versions: versions, Now: func() time.Time { return now }}
	if err := f.Fill(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s, err := Summarize(t.Context(), c, sheet(t), 0, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An inventory file that was read in part is read on from there, and still
// compared with its checksum.
func TestInventoryGoesOnAfterAStop(t *testing.T) {
	const records = 25_000 // more than two batches
	var text strings.Builder
	for i := range records {
		fmt.Fprintf(&text, "\"photos\",\"k%06d\",\"1\"\n", i)
	}
	i, err := OpenInventory(writeInventory(t, "Bucket, Key, Size", text.String()), "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "c.sqlite")
	c := newCatalogue(t, path, "photos")
	ctx, cancel := context.WithCancel(t.Context())
	f := &Filling{Now: func() time.Time { return now }, Progress: func(Progress) { cancel() }}
	if err := f.FillInventory(ctx, c, i); !errors.Is(err, context.Canceled) {
		t.Fatalf("a stopped run: %v", err)
	}
	before, err := c.Count(t.Context())
	if err != nil || before == 0 || before == records {
		t.Fatalf("%d records before the stop, %v", before, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = newCatalogue(t, path, "photos")
	reports := []int64{}
	f.Progress = func(p Progress) { reports = append(reports, p.Rows) }
	if err := f.FillInventory(t.Context(), c, i); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Count(t.Context()); err != nil || n != records || reports[0] < before {
		t.Errorf("%d records, %v; reports %v", n, err, reports)
	}
}

// A bucket of 1,000,000 objects is listed and assessed by the program in 300 MB;
// how long it took is printed.
func TestAMillionObjects(t *testing.T) {
	if !*full {
		t.Skip("lays a million files: run with -full")
	}
	server := s3test.New(t, s3test.Options{})
	dir := t.TempDir()
	for i := range 1000 {
		sub := filepath.Join(server.Root(), "million", fmt.Sprintf("p%04d", i))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		for j := range 1000 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%04d", j)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	program := filepath.Join(dir, "holdall")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/holdall/holdall/cmd/holdall").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program, "migrate", "assess", "--source", "s3://million", "--endpoint", server.Endpoint(), "--output", "json")
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), server.Environ()...), os.Stderr
	began := time.Now()
	out, err := cmd.Output()
	took := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	var s Summary
	if err := json.Unmarshal(out, &s); err != nil || s.Current.Objects != 1_000_000 {
		t.Errorf("%d objects, %v", s.Current.Objects, err)
	}
	rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	t.Logf("1,000,000 objects in %v, %s resident at most", took.Round(time.Second), Bytes(rss))
	if rss > 300e6 {
		t.Errorf("%s resident, want at most 300 MB", Bytes(rss))
	}
}
