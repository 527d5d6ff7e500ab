package source

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/pace"
)

// Check asks whether the bucket is there and may be listed. It does not ask for
// its head: an answer to that has no body that says why not.
func (s *Source) Check(ctx context.Context) error {
	_, err := s.List(ctx, ListRequest{Most: 1})
	return err
}

// Versioning says whether the bucket keeps versions: "Enabled", "Suspended" (it
// did, and old ones are there), or "" for never.
func (s *Source) Versioning(ctx context.Context) (state string, err error) {
	err = s.do(ctx, call{op: "GetBucketVersioning", class: pace.Read}, func(ctx context.Context) error {
		out, err := s.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.cfg.Bucket})
		if err == nil {
			state = string(out.Status)
		}
		return err
	})
	return state, err
}

// Upload is a multipart upload that was begun and neither completed nor aborted.
// Its parts are paid for.
type Upload struct {
	Key       string
	ID        string
	Initiated time.Time
	Class     string
	Parts     int
	Size      int64 // of the parts so far
}

// Uploads calls found with every upload under the source's prefix, in the order
// of the server.
func (s *Source) Uploads(ctx context.Context, found func(Upload) error) error {
	var key, id *string
	for {
		var out *s3.ListMultipartUploadsOutput
		err := s.do(ctx, call{op: "ListMultipartUploads", class: pace.List}, func(ctx context.Context) (err error) {
			out, err = s.s3.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &s.cfg.Bucket, Prefix: some(s.cfg.Prefix), KeyMarker: key, UploadIdMarker: id, EncodingType: types.EncodingTypeUrl})
			return err
		})
		if err != nil {
			return err
		}
		d := decoder{encoded: out.EncodingType == types.EncodingTypeUrl}
		for _, u := range out.Uploads {
			one := Upload{Key: d.text(u.Key), ID: aws.ToString(u.UploadId), Initiated: aws.ToTime(u.Initiated), Class: string(u.StorageClass)}
			if err := s.parts(ctx, &one); err != nil {
				return err
			}
			if err := found(one); err != nil {
				return err
			}
		}
		next := d.text(out.NextKeyMarker)
		if err := d.failed(s, call{op: "ListMultipartUploads"}); err != nil {
			return err
		}
		if !aws.ToBool(out.IsTruncated) {
			return nil
		}
		if next == aws.ToString(key) && aws.ToString(out.NextUploadIdMarker) == aws.ToString(id) {
			return s.broken(call{op: "ListMultipartUploads"}, "the page ends where it began")
		}
		key, id = some(next), some(aws.ToString(out.NextUploadIdMarker))
	}
}

// parts adds up an upload's parts. One that is gone meanwhile has none.
func (s *Source) parts(ctx context.Context, u *Upload) error {
	var after *string
	for u.Parts < holdall.MaxParts {
		var out *s3.ListPartsOutput
		err := s.do(ctx, call{op: "ListParts", key: u.Key, class: pace.List}, func(ctx context.Context) (err error) {
			out, err = s.s3.ListParts(ctx, &s3.ListPartsInput{Bucket: &s.cfg.Bucket, Key: &u.Key, UploadId: &u.ID, PartNumberMarker: after})
			return err
		})
		if gone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range out.Parts {
			u.Parts++
			u.Size += aws.ToInt64(p.Size)
		}
		if !aws.ToBool(out.IsTruncated) || len(out.Parts) == 0 {
			return nil
		}
		after = out.NextPartNumberMarker
	}
	return nil
}
