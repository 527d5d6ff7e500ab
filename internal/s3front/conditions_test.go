package s3front_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestConditionsOfReading(t *testing.T) {
	c := start(t)
	b := c.bucket("conditions")
	out := c.put(b, "k", []byte("hello"))
	head, err := c.aws().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: b, Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	at := *head.LastModified
	earlier, later := at.Add(-time.Hour), at.Add(time.Second)
	other := aws.String(`"00000000000000000000000000000000"`)
	for _, x := range []struct {
		name                      string
		match, noneMatch          *string
		modifiedSince, unmodSince *time.Time
		want                      int
	}{
		{"none", nil, nil, nil, nil, 200},
		{"match", out.ETag, nil, nil, nil, 200},
		{"match any", aws.String("*"), nil, nil, nil, 200},
		{"match one of two", aws.String(*other + ", " + *out.ETag), nil, nil, nil, 200},
		{"match other", other, nil, nil, nil, 412},
		{"none-match", nil, out.ETag, nil, nil, 304},
		{"none-match any", nil, aws.String("*"), nil, nil, 304},
		{"none-match other", nil, other, nil, nil, 200},
		{"modified since earlier", nil, nil, &earlier, nil, 200},
		{"modified since then", nil, nil, &at, nil, 304},
		{"unmodified since then", nil, nil, nil, &at, 200},
		{"unmodified since earlier", nil, nil, nil, &earlier, 412},
		{"match, though modified since", out.ETag, nil, nil, &earlier, 200},
		{"none-match other, though not modified", nil, other, &at, nil, 200},
		{"unmodified since later", nil, nil, nil, &later, 200},
	} {
		status := 200
		get, err := c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: aws.String("k"), IfMatch: x.match, IfNoneMatch: x.noneMatch,
			IfModifiedSince: x.modifiedSince, IfUnmodifiedSince: x.unmodSince})
		if err != nil {
			status = statusOf(err)
		} else {
			c.read(get.Body)
		}
		if status != x.want {
			t.Errorf("get, %s: %d (%v), want %d", x.name, status, err, x.want)
		}
		status = 200
		if _, err = c.aws().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: b, Key: aws.String("k"), IfMatch: x.match, IfNoneMatch: x.noneMatch,
			IfModifiedSince: x.modifiedSince, IfUnmodifiedSince: x.unmodSince}); err != nil {
			status = statusOf(err)
		}
		if status != x.want {
			t.Errorf("head, %s: %d (%v), want %d", x.name, status, err, x.want)
		}
	}
}

func TestConditionsOfWriting(t *testing.T) {
	c := start(t)
	b := c.bucket("conditions")
	put := func(match, noneMatch *string) error {
		_, err := c.aws().PutObject(t.Context(), &s3.PutObjectInput{Bucket: b, Key: aws.String("k"), Body: bytes.NewReader([]byte("x")), IfMatch: match, IfNoneMatch: noneMatch})
		return err
	}
	x := aws.String(etagOf([]byte("x")))
	other := aws.String(`"00000000000000000000000000000000"`)
	c.wantCode("match, nothing there", put(x, nil), "NoSuchKey")
	c.wantCode("none there, nothing there", put(nil, aws.String("*")), "")
	c.wantCode("none there", put(nil, aws.String("*")), "PreconditionFailed")
	c.wantCode("match", put(x, nil), "")
	c.wantCode("match other", put(other, nil), "PreconditionFailed")
	c.wantCode("none-match of an ETag", put(nil, x), "NotImplemented")
	_, err := c.aws().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: b, Key: aws.String("k"), IfMatch: other})
	c.wantCode("delete other", err, "PreconditionFailed")
	_, err = c.aws().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: b, Key: aws.String("k"), IfMatch: x})
	c.wantCode("delete", err, "")
	c.wantCode("none there, after a delete", put(nil, aws.String("*")), "")
	u := c.upload(&s3.CreateMultipartUploadInput{Bucket: b, Key: aws.String("k")})
	u.part(1, []byte("part"))
	_, err = c.aws().CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: b, Key: u.in.Key, UploadId: u.id, IfNoneMatch: aws.String("*"),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts}})
	c.wantCode("complete, none there", err, "PreconditionFailed")
	_, err = c.aws().CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: b, Key: u.in.Key, UploadId: u.id, IfMatch: x,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts}})
	c.wantCode("complete, match", err, "")
}

func TestRanges(t *testing.T) {
	c := start(t)
	b := c.bucket("ranges")
	body := random(1, 9<<20+5)
	c.put(b, "k", body)
	c.put(b, "empty", nil)
	n := len(body)
	for _, x := range []struct {
		r        string
		from, to int
	}{
		{"bytes=0-0", 0, 1}, {"bytes=5-", 5, n}, {"bytes=-7", n - 7, n}, {"bytes=4194303-4194304", 4194303, 4194305}, {"bytes=100-8388700", 100, 8388701},
		{"bytes=0-999999999", 0, n}, {"bytes=-999999999", 0, n}, {"bytes=" + itoa(n-1) + "-", n - 1, n},
	} {
		out, err := c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: aws.String("k"), Range: &x.r})
		if err != nil {
			t.Errorf("%s: %v", x.r, err)
			continue
		}
		want := "bytes " + itoa(x.from) + "-" + itoa(x.to-1) + "/" + itoa(n)
		if got := c.read(out.Body); !bytes.Equal(got, body[x.from:x.to]) || aws.ToString(out.ContentRange) != want {
			t.Errorf("%s: %d bytes, %s, want %s", x.r, len(got), aws.ToString(out.ContentRange), want)
		}
	}
	for _, r := range []string{"bytes=" + itoa(n) + "-", "bytes=-0"} {
		_, err := c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: aws.String("k"), Range: &r})
		c.wantCode(r, err, "InvalidRange")
		if statusOf(err) != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("%s: status %d", r, statusOf(err))
		}
	}
	_, err := c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: aws.String("empty"), Range: aws.String("bytes=0-")})
	c.wantCode("range of nothing", err, "InvalidRange")
	if got := c.get(b, "empty"); len(got) != 0 {
		t.Errorf("an empty object has %d bytes", len(got))
	}
}
