package s3front

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
)

// original is what a copy is made of.
type original struct {
	place      object.Place
	row        metadata.Object
	attributes manifest.Attributes
}

// original finds the object that a copy-source header names, and holds it
// against the conditions. What it finds is the version that is copied.
func (b *bridge) original(c *call, source *string, conditions reading) (original, error) {
	bucket, key, version, err := backend.ParseCopySource(clone(source))
	if err != nil {
		return original{}, err
	}
	from := *c
	from.about = about{bucket: bucket, key: key}
	if n := int64(len(key)); n > holdall.MaxKeySize {
		return original{}, s3err.GetKeyTooLongErr(n, holdall.MaxKeySize)
	}
	o := original{place: from.place()}
	if o.row, o.attributes, err = b.head(&from, &version); err != nil {
		return original{}, err
	}
	err = conditions.check(&o.row)
	if errors.Is(err, s3err.GetAPIError(s3err.ErrNotModified)) { // a copy has no such answer
		err = s3err.GetPreconditionFailedErr(s3err.ConditionIfNoneMatch)
	}
	return o, err
}

// CopyObject makes a new object of an old one's blocks.
func (b *bridge) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	c, err := b.begin(ctx, "CopyObject", in.Bucket, in.Key)
	if err != nil {
		return s3response.CopyObjectOutput{}, err
	}
	defer c.cancel()
	if in.ObjectLockMode != "" || in.ObjectLockLegalHoldStatus != "" || given(in.WebsiteRedirectLocation) {
		return s3response.CopyObjectOutput{}, s3err.GetAPIError(s3err.ErrNotImplemented)
	}
	from, err := b.original(c, in.CopySource, reading{in.CopySourceIfMatch, in.CopySourceIfNoneMatch, in.CopySourceIfModifiedSince, in.CopySourceIfUnmodifiedSince})
	if err != nil {
		return s3response.CopyObjectOutput{}, err
	}
	r := object.CopyRequest{Place: c.place(), From: from.place, Version: from.row.Version}
	if in.MetadataDirective == types.MetadataDirectiveReplace {
		a := headers{in.ContentType, in.ContentEncoding, in.ContentDisposition, in.ContentLanguage, in.CacheControl, in.Expires, in.Metadata}.attributes()
		a.Checksums, a.Parts, a.PartSizes, a.StorageClass = from.attributes.Checksums, from.attributes.Parts, from.attributes.PartSizes, from.attributes.StorageClass
		r.Attributes = &a
	}
	if in.TaggingDirective == types.TaggingDirectiveReplace {
		tags, err := tagsOf(in.Tagging)
		if err != nil {
			return s3response.CopyObjectOutput{}, err
		}
		r.Tags = &tags
	}
	if r.From == r.Place && r.Attributes == nil && r.Tags == nil {
		return s3response.CopyObjectOutput{}, s3err.GetAPIError(s3err.ErrInvalidCopyDest)
	}
	o, err := b.objects.Copy(c, r)
	if err != nil {
		return s3response.CopyObjectOutput{}, c.fail(err)
	}
	result := &s3response.CopyObjectResult{ETag: ptr(quote(o.ETag)), LastModified: ptr(o.Modified)}
	var s sum
	s, result.ChecksumType = shown(&from.attributes)
	s.set(result)
	return s3response.CopyObjectOutput{CopyObjectResult: result}, nil
}

// unquote returns an ETag as it is stored.
func unquote(etag string) string { return strings.Trim(strings.Clone(etag), `"`) }
