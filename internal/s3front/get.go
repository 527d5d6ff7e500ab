package s3front

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
)

// GetObject sends an object, or a stretch of it.
func (b *bridge) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	c, err := b.beginData(ctx, "GetObject", in.Bucket, in.Key)
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if !keep {
			c.cancel()
		}
	}()
	if err := c.noVersion(clone(in.VersionId)); err != nil {
		return nil, err
	}
	r, err := b.objects.Open(c, c.place(), object.GetOptions{})
	if err != nil {
		return nil, c.fail(err)
	}
	defer func() {
		if !keep {
			r.Close()
		}
	}()
	if err := (reading{in.IfMatch, in.IfNoneMatch, in.IfModifiedSince, in.IfUnmodifiedSince}).check(&r.Object); err != nil {
		return nil, err
	}
	v, err := newView(&r.Object, &r.Attributes, in.Range, in.PartNumber)
	if err != nil {
		return nil, err
	}
	if v.part && v.length > 0 {
		if err := r.Select(object.Range{Offset: v.offset, Length: v.length}); err != nil {
			return nil, c.fail(err)
		}
	}
	out := v.getOutput(in.ChecksumMode)
	if v.length > 0 {
		out.Body, keep = &sending{r, c}, true
	} else {
		out.Body = io.NopCloser(strings.NewReader(""))
	}
	return out, nil
}

// sending is an object's bytes on their way out.
type sending struct {
	r *object.Reader
	c *call
}

// Read is for callers that do not know WriteTo.
func (s *sending) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	return n, s.note(int64(n), err)
}

// WriteTo hands each block to w as it lies in memory.
func (s *sending) WriteTo(w io.Writer) (int64, error) {
	n, err := s.r.WriteTo(w)
	return n, s.note(n, err)
}

// note counts, and logs what the client can only see as an answer that breaks
// off.
func (s *sending) note(n int64, err error) error {
	s.c.front.metrics.sent.Add(float64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		s.c.front.cfg.Logger.Warn("s3: an object was not sent to its end", "bucket", s.c.about.bucket, "key", s.c.about.key, "error", err)
	}
	return err
}

// Close ends the call: the server calls it when all is sent, and when the client
// is gone.
func (s *sending) Close() error {
	defer s.c.cancel()
	return s.r.Close()
}

// HeadObject is GetObject without the bytes.
func (b *bridge) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	c, err := b.begin(ctx, "HeadObject", in.Bucket, in.Key)
	if err != nil {
		return nil, err
	}
	defer c.cancel()
	o, a, err := b.head(c, in.VersionId)
	if err != nil {
		return nil, err
	}
	if err := (reading{in.IfMatch, in.IfNoneMatch, in.IfModifiedSince, in.IfUnmodifiedSince}).check(&o); err != nil {
		return nil, err
	}
	v, err := newView(&o, &a, in.Range, in.PartNumber)
	if err != nil {
		return nil, err
	}
	g := v.getOutput(in.ChecksumMode)
	out := &s3.HeadObjectOutput{AcceptRanges: g.AcceptRanges, ContentLength: g.ContentLength, ContentRange: g.ContentRange, PartsCount: g.PartsCount,
		ETag: g.ETag, LastModified: g.LastModified, ContentType: g.ContentType, ContentEncoding: g.ContentEncoding, ContentDisposition: g.ContentDisposition,
		ContentLanguage: g.ContentLanguage, CacheControl: g.CacheControl, ExpiresString: g.ExpiresString, Metadata: g.Metadata, StorageClass: g.StorageClass,
		TagCount: g.TagCount, ChecksumType: g.ChecksumType}
	if g.ChecksumType != "" {
		s, _ := shown(&a)
		s.set(out)
	}
	return out, nil
}

// head returns the row of the call's object, and what it says.
func (b *bridge) head(c *call, version *string) (metadata.Object, manifest.Attributes, error) {
	if err := c.noVersion(clone(version)); err != nil {
		return metadata.Object{}, manifest.Attributes{}, err
	}
	o, err := b.objects.Head(c, c.place(), 0)
	if err != nil {
		return metadata.Object{}, manifest.Attributes{}, c.fail(err)
	}
	a, err := attributesOf(&o)
	return o, a, c.fail(err)
}

// view is what a client asked to see of an object.
type view struct {
	o              *metadata.Object
	a              *manifest.Attributes
	offset, length int64
	part           bool // not all of it, or asked for as if
	tags           int
}

func newView(o *metadata.Object, a *manifest.Attributes, ranged *string, number *int32) (view, error) {
	v := view{o: o, a: a, length: o.Size}
	tags, err := manifest.ParseTags(o.Tags)
	if err != nil {
		return v, s3err.GetAPIError(s3err.ErrInternalError)
	}
	v.tags = len(tags)
	if number != nil {
		return v, v.selectPart(*number)
	}
	v.offset, v.length, v.part, err = backend.ParseObjectRange(o.Size, clone(ranged))
	return v, err
}

// selectPart narrows v to one part of an object that was uploaded in parts. One
// that was not is its own first part.
func (v *view) selectPart(number int32) error {
	v.part = true
	parts := int32(max(1, v.a.Parts))
	if number > parts {
		return s3err.GetInvalidPartNumberRangeErr(parts, number)
	}
	if v.a.Parts == 0 {
		return nil
	}
	ok := false
	if v.offset, v.length, ok = v.a.Part(int(number)); !ok {
		return s3err.GetAPIError(s3err.ErrNotImplemented) // parts too varied for their sizes to be kept
	}
	return nil
}

func (v *view) getOutput(mode types.ChecksumMode) *s3.GetObjectOutput {
	o, a := v.o, v.a
	out := &s3.GetObjectOutput{AcceptRanges: ptr("bytes"), ContentLength: ptr(v.length), ETag: ptr(quote(o.ETag)), LastModified: ptr(o.Modified),
		ContentType: text(a.ContentType), ContentEncoding: text(a.ContentEncoding), ContentDisposition: text(a.ContentDisposition),
		ContentLanguage: text(a.ContentLanguage), CacheControl: text(a.CacheControl), ExpiresString: text(a.Expires),
		Metadata: userOf(a), StorageClass: storageClass(a.StorageClass)}
	if v.part && v.length > 0 {
		out.ContentRange = ptr(fmt.Sprintf("bytes %d-%d/%d", v.offset, v.offset+v.length-1, o.Size))
	}
	if v.part && a.Parts > 0 {
		out.PartsCount = ptr(int32(a.Parts))
	}
	if v.tags > 0 {
		out.TagCount = ptr(int32(v.tags))
	}
	if mode == types.ChecksumModeEnabled && v.length == o.Size {
		var s sum
		s, out.ChecksumType = shown(a)
		s.set(out)
	}
	return out
}

// reading is the conditions of a get, a head or the original of a copy.
type reading struct {
	match, noneMatch               *string
	modifiedSince, unmodifiedSince *time.Time
}

// check holds o against the conditions, in the order of RFC 9110, section
// 13.2.2. Times are compared in whole seconds, which is what headers say.
func (r reading) check(o *metadata.Object) error {
	modified := o.Modified.Unix()
	switch {
	case given(r.match):
		if !hasETag(*r.match, o.ETag) {
			return s3err.GetPreconditionFailedErr(s3err.ConditionIfMatch)
		}
	case r.unmodifiedSince != nil && modified > r.unmodifiedSince.Unix():
		return s3err.GetPreconditionFailedErr(s3err.ConditionIfUnmodifiedSince)
	}
	switch {
	case given(r.noneMatch):
		if hasETag(*r.noneMatch, o.ETag) {
			return s3err.GetAPIError(s3err.ErrNotModified)
		}
	case r.modifiedSince != nil && modified <= r.modifiedSince.Unix():
		return s3err.GetAPIError(s3err.ErrNotModified)
	}
	return nil
}

// hasETag says whether a header's list of ETags has this one.
func hasETag(list, etag string) bool {
	for word := range strings.SplitSeq(list, ",") {
		word = strings.Trim(strings.TrimPrefix(strings.TrimSpace(word), "W/"), `"`)
		if word == "*" || word == etag {
			return true
		}
	}
	return false
}

// GetObjectAttributes tells what is known of an object without its bytes.
func (b *bridge) GetObjectAttributes(ctx context.Context, in *s3.GetObjectAttributesInput) (s3response.GetObjectAttributesResponse, error) {
	c, err := b.begin(ctx, "GetObjectAttributes", in.Bucket, in.Key)
	if err != nil {
		return s3response.GetObjectAttributesResponse{}, err
	}
	defer c.cancel()
	o, a, err := b.head(c, in.VersionId)
	if err != nil {
		return s3response.GetObjectAttributesResponse{}, err
	}
	out := s3response.GetObjectAttributesResponse{ETag: ptr(o.ETag), ObjectSize: ptr(o.Size), LastModified: ptr(o.Modified), StorageClass: types.StorageClassStandard}
	if a.StorageClass != "" {
		out.StorageClass = storageClass(a.StorageClass)
	}
	if s, kind := shown(&a); kind != "" {
		out.Checksum = &types.Checksum{ChecksumType: kind}
		s.set(out.Checksum)
	}
	if a.Parts > 0 {
		out.ObjectParts, err = partsOf(&a, in)
	}
	return out, err
}

// partsOf lists parts by their sizes.
func partsOf(a *manifest.Attributes, in *s3.GetObjectAttributesInput) (*s3response.ObjectParts, error) {
	after, err := number(in.PartNumberMarker)
	if err != nil {
		return nil, err
	}
	out := &s3response.ObjectParts{PartNumberMarker: after, MaxParts: maxListed}
	if in.MaxParts != nil {
		out.MaxParts = int(*in.MaxParts)
	}
	for n := after + 1; n <= a.Parts; n++ {
		_, size, ok := a.Part(n)
		if !ok {
			break
		}
		if len(out.Parts) == out.MaxParts {
			out.IsTruncated = true
			break
		}
		out.Parts = append(out.Parts, types.ObjectPart{PartNumber: ptr(int32(n)), Size: ptr(size)})
		out.NextPartNumberMarker = n
	}
	return out, nil
}
