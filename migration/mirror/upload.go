package mirror

import (
	"context"
	"errors"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/migration/ledger"
)

// Upload is a multipart upload at the bucket.
type Upload struct {
	Key string
	ID  string // the server's
}

// CreateUpload begins an upload, which is invisible until it is completed. What an
// unknown outcome may leave behind is paid for until the bucket's own rules abort
// it.
func (m *Mirror) CreateUpload(ctx context.Context, key string, a manifest.Attributes, tags []manifest.Tag) (Upload, Result) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	in := &s3.CreateMultipartUploadInput{Bucket: &m.bucket, Key: &key}
	in.ContentType, in.ContentEncoding, in.ContentDisposition = some(a.ContentType), some(a.ContentEncoding), some(a.ContentDisposition)
	in.ContentLanguage, in.CacheControl, in.Metadata, in.Tagging = some(a.ContentLanguage), some(a.CacheControl), user(&a), tagging(tags)
	in.StorageClass = types.StorageClass(a.StorageClass)
	var err error
	if in.Expires, err = expiry(a.Expires); err != nil {
		return Upload{}, Result{Outcome: ledger.Refused, Err: err}
	}
	out, err := m.s3.CreateMultipartUpload(ctx, in)
	r := m.result("CreateMultipartUpload", key, err)
	if err != nil {
		return Upload{}, r
	}
	return Upload{key, aws.ToString(out.UploadId)}, r
}

// Part is a part of an upload on its way to the bucket, or there.
type Part struct {
	Number int
	Body   io.Reader // as in Put
	Size   int64
	ETag   string // of one that is there
}

// PutPart writes a part, in place of the one of its number.
func (m *Mirror) PutPart(ctx context.Context, u Upload, p Part) Result {
	ctx, body, stop := m.watch(ctx, p.Body)
	defer stop()
	out, err := m.s3.UploadPart(ctx, &s3.UploadPartInput{Bucket: &m.bucket, Key: &u.Key, UploadId: &u.ID, PartNumber: aws.Int32(int32(p.Number)), Body: body, ContentLength: &p.Size}, m.streamed(p.Size))
	if failed := body.failed(); failed != nil {
		return Result{Outcome: ledger.Refused, Err: failed}
	}
	r := m.result("UploadPart", u.Key, err)
	if err == nil {
		r.Facts = Facts{ETag: bare(out.ETag), Size: p.Size}
	}
	return r
}

// Complete makes an object of an upload's parts, if what is there is as expected.
// ErrNotFound: there is no such upload, any more perhaps.
func (m *Mirror) Complete(ctx context.Context, u Upload, parts []Part, e Expect) Result {
	ctx, cancel := context.WithTimeout(ctx, completeFactor*m.cfg.Timeout)
	defer cancel()
	in := &s3.CompleteMultipartUploadInput{Bucket: &m.bucket, Key: &u.Key, UploadId: &u.ID, MultipartUpload: &types.CompletedMultipartUpload{}}
	in.IfMatch, in.IfNoneMatch = m.match(e)
	for _, p := range parts {
		in.MultipartUpload.Parts = append(in.MultipartUpload.Parts, types.CompletedPart{PartNumber: aws.Int32(int32(p.Number)), ETag: aws.String(`"` + p.ETag + `"`)})
	}
	out, err := m.s3.CompleteMultipartUpload(ctx, in)
	r := m.result("CompleteMultipartUpload", u.Key, err)
	if err == nil {
		r.Facts = Facts{ETag: bare(out.ETag), Version: aws.ToString(out.VersionId)}
	}
	return r
}

// completeFactor is how much longer than others a completion may take: servers put
// the parts together meanwhile.
const completeFactor = 4

// Abort ends an upload without an object. One that is gone is Done.
func (m *Mirror) Abort(ctx context.Context, u Upload) Result {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	_, err := m.s3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &m.bucket, Key: &u.Key, UploadId: &u.ID})
	r := m.result("AbortMultipartUpload", u.Key, err)
	if errors.Is(r.Err, holdall.ErrNotFound) {
		return Result{Outcome: ledger.Done}
	}
	return r
}
