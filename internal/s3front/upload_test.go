package s3front_test

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const part = 5 << 20 // the least that S3 takes

// uploading is a multipart upload in a test.
type uploading struct {
	c     *cell
	in    *s3.CreateMultipartUploadInput
	id    *string
	parts []types.CompletedPart
}

func (c *cell) upload(in *s3.CreateMultipartUploadInput) *uploading {
	c.t.Helper()
	out, err := c.aws().CreateMultipartUpload(c.t.Context(), in)
	if err != nil {
		c.t.Fatal(err)
	}
	return &uploading{c: c, in: in, id: out.UploadId}
}

func (u *uploading) part(number int32, body []byte) *s3.UploadPartOutput {
	u.c.t.Helper()
	out, err := u.c.aws().UploadPart(u.c.t.Context(), &s3.UploadPartInput{Bucket: u.in.Bucket, Key: u.in.Key, UploadId: u.id, PartNumber: &number,
		Body: bytes.NewReader(body), ChecksumAlgorithm: u.in.ChecksumAlgorithm})
	if err != nil {
		u.c.t.Fatal(err)
	}
	u.parts = append(u.parts, types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC32C: out.ChecksumCRC32C,
		ChecksumCRC64NVME: out.ChecksumCRC64NVME, ChecksumSHA1: out.ChecksumSHA1, ChecksumSHA256: out.ChecksumSHA256})
	return out
}

func (u *uploading) complete() (*s3.CompleteMultipartUploadOutput, error) {
	return u.c.aws().CompleteMultipartUpload(u.c.t.Context(), &s3.CompleteMultipartUploadInput{Bucket: u.in.Bucket, Key: u.in.Key, UploadId: u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts}})
}

func multipartETag(parts ...[]byte) string {
	var all []byte
	for _, p := range parts {
		sum := md5.Sum(p)
		all = append(all, sum[:]...)
	}
	return fmt.Sprintf(`"%x-%d"`, md5.Sum(all), len(parts))
}

// Parts survive a restart of the server, in any order, and one sent again takes
// the place of the one before.
func TestUploadSurvivesARestart(t *testing.T) {
	c := start(t)
	b := c.bucket("uploads")
	u := c.upload(&s3.CreateMultipartUploadInput{Bucket: b, Key: aws.String("big"), ContentType: aws.String("x/y"), Metadata: map[string]string{"a": "b"}, Tagging: aws.String("t=1")})
	one, two, three := random(1, part), random(2, part+1), random(3, 100)
	u.part(3, three)
	u.part(1, random(9, part))
	c.restart()
	u.part(2, two)
	u.parts = slices.DeleteFunc(u.parts, func(p types.CompletedPart) bool { return *p.PartNumber == 1 })
	u.part(1, one)
	if _, err := u.complete(); code(err) != "InvalidPartOrder" {
		t.Errorf("parts in disorder: %v", err)
	}
	slices.SortFunc(u.parts, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	list, err := c.aws().ListParts(t.Context(), &s3.ListPartsInput{Bucket: b, Key: u.in.Key, UploadId: u.id, MaxParts: aws.Int32(2)})
	if err != nil || len(list.Parts) != 2 || !*list.IsTruncated || *list.NextPartNumberMarker != "2" || *list.Parts[1].Size != part+1 {
		t.Errorf("parts: %+v, %v", list, err)
	}
	out, err := u.complete()
	if err != nil {
		t.Fatal(err)
	}
	if want := multipartETag(one, two, three); *out.ETag != want {
		t.Errorf("ETag %s, want %s", *out.ETag, want)
	}
	if got := c.get(b, "big"); !bytes.Equal(got, slices.Concat(one, two, three)) {
		t.Error("the object is not its parts")
	}
	head, err := c.aws().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: b, Key: u.in.Key, PartNumber: aws.Int32(2)})
	if err != nil || *head.ContentLength != part+1 || *head.PartsCount != 3 || *head.ContentType != "x/y" || head.Metadata["a"] != "b" {
		t.Errorf("head of part 2: %+v, %v", head, err)
	}
	get, err := c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: u.in.Key, PartNumber: aws.Int32(3)})
	if err != nil || !bytes.Equal(c.read(get.Body), three) || aws.ToInt32(get.TagCount) != 1 {
		t.Errorf("part 3: %v", err)
	}
	if _, err := c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: u.in.Key, PartNumber: aws.Int32(4)}); code(err) != "InvalidPartNumber" {
		t.Errorf("part 4: %v", err)
	}
	if again, err := u.complete(); err != nil || *again.ETag != *out.ETag {
		t.Errorf("completed again: %v", err)
	}
}

func TestUploadErrors(t *testing.T) {
	c := start(t)
	b := c.bucket("uploads")
	u := c.upload(&s3.CreateMultipartUploadInput{Bucket: b, Key: aws.String("k")})
	u.part(1, random(1, 10))
	u.part(2, random(2, 10))
	_, err := u.complete()
	c.wantCode("small part", err, "EntityTooSmall")
	u.parts = u.parts[:1]
	u.parts[0].ETag = aws.String(`"00000000000000000000000000000000"`)
	_, err = u.complete()
	c.wantCode("wrong ETag", err, "InvalidPart")
	u.parts[0].PartNumber = aws.Int32(7)
	_, err = u.complete()
	c.wantCode("unknown part", err, "InvalidPart")
	for _, id := range []string{"nonsense", "00112233445566778899aabbccddeeff"} {
		_, err = c.aws().UploadPart(t.Context(), &s3.UploadPartInput{Bucket: b, Key: u.in.Key, UploadId: &id, PartNumber: aws.Int32(1), Body: bytes.NewReader(random(1, 10))})
		c.wantCode("part of "+id, err, "NoSuchUpload")
		_, err = c.aws().AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: b, Key: u.in.Key, UploadId: &id})
		c.wantCode("abort of "+id, err, "NoSuchUpload")
	}
	if _, err = c.aws().AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: b, Key: u.in.Key, UploadId: u.id}); err != nil {
		t.Error(err)
	}
	_, err = c.aws().ListParts(t.Context(), &s3.ListPartsInput{Bucket: b, Key: u.in.Key, UploadId: u.id})
	c.wantCode("parts of an aborted upload", err, "NoSuchUpload")
}

func TestUploadsAreListed(t *testing.T) {
	c := start(t)
	b := c.bucket("uploads")
	var ids []string
	for _, key := range []string{"a", "d/1", "d/2", "e", "e"} {
		ids = append(ids, *c.upload(&s3.CreateMultipartUploadInput{Bucket: b, Key: &key}).id)
	}
	var got []string
	in := &s3.ListMultipartUploadsInput{Bucket: b, MaxUploads: aws.Int32(2)}
	for {
		out, err := c.aws().ListMultipartUploads(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range out.Uploads {
			got = append(got, *u.UploadId)
		}
		if !*out.IsTruncated {
			break
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
	slices.Sort(ids[3:])
	slices.Sort(got[3:])
	if !slices.Equal(got, ids) {
		t.Errorf("uploads %v, want %v", got, ids)
	}
	out, err := c.aws().ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: b, Delimiter: aws.String("/")})
	if err != nil || len(out.Uploads) != 3 || len(out.CommonPrefixes) != 1 || *out.CommonPrefixes[0].Prefix != "d/" {
		t.Errorf("with a delimiter: %+v, %v", out, err)
	}
	out, err = c.aws().ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: b, Prefix: aws.String("d/"), KeyMarker: aws.String("d/1")})
	if err != nil || len(out.Uploads) != 1 || *out.Uploads[0].Key != "d/2" {
		t.Errorf("behind a key: %+v, %v", out, err)
	}
}

func TestPartsAreCopied(t *testing.T) {
	c := start(t)
	b := c.bucket("uploads")
	source := random(1, 12<<20)
	c.put(b, "from here", source)
	u := c.upload(&s3.CreateMultipartUploadInput{Bucket: b, Key: aws.String("to")})
	for i, r := range []string{fmt.Sprintf("bytes=0-%d", part-1), fmt.Sprintf("bytes=%d-%d", part, len(source)-1)} {
		out, err := c.aws().UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{Bucket: b, Key: u.in.Key, UploadId: u.id, PartNumber: aws.Int32(int32(i + 1)),
			CopySource: aws.String(*b + "/from%20here"), CopySourceRange: &r})
		if err != nil {
			t.Fatal(err)
		}
		u.parts = append(u.parts, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: out.CopyPartResult.ETag, ChecksumCRC32: out.CopyPartResult.ChecksumCRC32})
	}
	out, err := u.complete()
	if err != nil {
		t.Fatal(err)
	}
	if want := multipartETag(source[:part], source[part:]); *out.ETag != want {
		t.Errorf("ETag %s, want %s", *out.ETag, want)
	}
	if !bytes.Equal(c.get(b, "to"), source) {
		t.Error("the copy is not the original")
	}
}
