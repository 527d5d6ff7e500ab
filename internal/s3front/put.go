package s3front

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
)

// PutObject stores an object as its body comes.
func (b *bridge) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	c, err := b.beginData(ctx, "PutObject", in.Bucket, in.Key)
	if err != nil {
		return s3response.PutObjectOutput{}, err
	}
	defer c.cancel()
	if in.ObjectLockMode != "" || in.ObjectLockLegalHoldStatus != "" || given(in.WebsiteRedirectLocation) {
		return s3response.PutObjectOutput{}, s3err.GetAPIError(s3err.ErrNotImplemented)
	}
	r := object.PutRequest{Place: c.place(), Size: *in.ContentLength,
		Attributes: headers{in.ContentType, in.ContentEncoding, in.ContentDisposition, in.ContentLanguage, in.CacheControl, in.Expires, in.Metadata}.attributes()}
	if r.If, err = condition(in.IfMatch, in.IfNoneMatch); err != nil {
		return s3response.PutObjectOutput{}, err
	}
	if r.Tags, err = tagsOf(in.Tagging); err != nil {
		return s3response.PutObjectOutput{}, err
	}
	body, err := b.newIntake(in.Body, sumIn(in), "")
	if err != nil {
		return s3response.PutObjectOutput{}, c.fail(err)
	}
	r.Body = body
	r.Finish = func(f object.Finished) (object.Finished, error) {
		f.ETag = body.etag()
		f.Attributes.Checksums = body.sum().stored(manifest.FullObject)
		return f, nil
	}
	o, err := b.objects.Put(c, r)
	if err != nil {
		return s3response.PutObjectOutput{}, c.failPut(b, r.If, err)
	}
	out := s3response.PutObjectOutput{ETag: quote(o.ETag)}
	if s := body.sum(); s.algorithm != "" {
		s.set(&out)
		out.ChecksumType = types.ChecksumTypeFullObject
	}
	return out, nil
}

func given(s *string) bool { return s != nil && *s != "" }

// condition is what a put's If-Match and If-None-Match ask for.
func condition(match, noneMatch *string) (metadata.Condition, error) {
	switch {
	case given(match) && given(noneMatch):
		return metadata.Condition{}, s3err.GetNotImplementedErr("If-Match,If-None-Match", s3err.NmpAdditionalMessageMultipleCondHeaders)
	case given(noneMatch) && *noneMatch != "*":
		return metadata.Condition{}, s3err.GetNotImplementedErr("If-None-Match", s3err.NmpAdditionalMessageIfNoneMatch)
	case given(noneMatch):
		return metadata.Condition{Absent: true}, nil
	case given(match) && *match == "*":
		return metadata.Condition{Present: true}, nil
	case given(match):
		return metadata.Condition{ETag: clone(match)}, nil
	}
	return metadata.Condition{}, nil
}

// failPut is fail, with the difference that S3 makes when a condition does not
// hold: without an object there is none that could match.
func (c *call) failPut(b *bridge, cond metadata.Condition, err error) error {
	if !errors.Is(err, holdall.ErrCondition) {
		return c.fail(err)
	}
	if cond.Absent {
		return s3err.GetPreconditionFailedErr(s3err.ConditionIfNoneMatch)
	}
	if _, err := b.objects.Head(c, c.place(), 0); errors.Is(err, object.ErrNoKey) {
		return s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	return s3err.GetPreconditionFailedErr(s3err.ConditionIfMatch)
}

// DeleteObject hides an object behind a delete marker. Nothing there is nothing
// to do, unless a condition says that there is something.
func (b *bridge) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	c, err := b.begin(ctx, "DeleteObject", in.Bucket, in.Key)
	if err != nil {
		return nil, err
	}
	defer c.cancel()
	if err := c.noVersion(clone(in.VersionId)); err != nil {
		return nil, err
	}
	r := object.DeleteRequest{Place: c.place()}
	if r.If, err = condition(in.IfMatch, nil); err != nil {
		return nil, err
	}
	if in.IfMatchLastModifiedTime != nil || in.IfMatchSize != nil {
		o, err := b.objects.Head(c, r.Place, 0)
		if err != nil && !errors.Is(err, object.ErrNoKey) {
			return nil, c.fail(err)
		}
		switch {
		case err != nil:
			return nil, s3err.GetAPIError(s3err.ErrNoSuchKey)
		case in.IfMatchSize != nil && *in.IfMatchSize != o.Size:
			return nil, s3err.GetPreconditionFailedErr(s3err.ConditionIfMatchSize)
		case in.IfMatchLastModifiedTime != nil && in.IfMatchLastModifiedTime.Unix() != o.Modified.Unix():
			return nil, s3err.GetPreconditionFailedErr(s3err.ConditionIfMatchLastModTime)
		}
		r.If.Version = o.Version // what was looked at is what is deleted
	}
	if _, err := b.objects.Delete(c, r); err != nil {
		return nil, c.failPut(b, r.If, err)
	}
	return &s3.DeleteObjectOutput{}, nil
}

// maxDeletes is how many objects one DeleteObjects may name.
const maxDeletes = 1000

// deletesAtOnce is how many of them are deleted at a time: their commits share
// syncs.
const deletesAtOnce = 16

// DeleteObjects deletes many, each for itself.
func (b *bridge) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	if len(in.Delete.Objects) > maxDeletes {
		return s3response.DeleteResult{}, s3err.GetAPIError(s3err.ErrMalformedXML)
	}
	names := in.Delete.Objects
	errs := make([]error, len(names))
	each(len(names), deletesAtOnce, func(i int) {
		_, errs[i] = b.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: in.Bucket, Key: ptr(clone(names[i].Key)), VersionId: names[i].VersionId,
			IfMatch: names[i].ETag, IfMatchSize: names[i].Size, IfMatchLastModifiedTime: names[i].LastModifiedTime})
	})
	var out s3response.DeleteResult
	for i, name := range names {
		if errs[i] != nil {
			out.Error = append(out.Error, s3err.ObjectDeleteError(name.Key, name.VersionId, errs[i]))
			continue
		}
		out.Deleted = append(out.Deleted, types.DeletedObject{Key: name.Key, VersionId: name.VersionId})
	}
	return out, nil
}
