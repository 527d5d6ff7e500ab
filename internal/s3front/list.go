package s3front

import (
	"context"
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// maxListed is the most entries of a page, and what a request without a number
// gets.
const maxListed = holdall.MaxListPage

// listing is what both versions of ListObjects ask and answer.
type listing struct {
	prefix, delimiter, after string
	limit                    int
	owner                    bool // show who owns each object

	page     metadata.ListPage
	contents []s3response.Object
	prefixes []types.CommonPrefix
	names    names
}

// names writes keys and prefixes as a listing asked for them. XML has no way to
// write some characters that keys may have: with encoding-type=url they survive.
type names struct{ encoding types.EncodingType }

func namesFor(ctx context.Context) names {
	if queryOf(ctx, "encoding-type") == string(types.EncodingTypeUrl) {
		return names{types.EncodingTypeUrl}
	}
	return names{}
}

// write returns name so that every decoder of URLs gets it back: a space is %20,
// since some take a plus for itself.
func (n names) write(name string) string {
	if n.encoding == "" {
		return name
	}
	return strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(name))
}

func (n names) ptr(name string) *string { return ptr(n.write(name)) }

func (n names) text(name string) *string { return text(n.write(name)) }

// list fills in a page of l.
func (b *bridge) list(c *call, l *listing) error {
	if l.limit == 0 {
		_, err := b.objects.Bucket(c, c.space, c.about.bucket)
		return c.fail(err)
	}
	var err error
	l.page, err = b.objects.List(c, c.space, c.about.bucket, metadata.ListQuery{Prefix: l.prefix, Delimiter: l.delimiter, After: l.after, Limit: l.limit})
	if err != nil {
		return c.fail(err)
	}
	for i := range l.page.Objects {
		o := &l.page.Objects[i]
		a, err := attributesOf(o)
		if err != nil {
			return c.fail(err)
		}
		l.contents = append(l.contents, l.entry(c, o, &a))
	}
	for _, p := range l.page.Prefixes {
		l.prefixes = append(l.prefixes, types.CommonPrefix{Prefix: l.names.ptr(p)})
	}
	return nil
}

func (l *listing) entry(c *call, o *metadata.Object, a *manifest.Attributes) s3response.Object {
	e := s3response.Object{Key: l.names.ptr(o.Key), Size: ptr(o.Size), ETag: ptr(quote(o.ETag)), LastModified: ptr(o.Modified), StorageClass: types.ObjectStorageClassStandard}
	if a.StorageClass != "" {
		e.StorageClass = types.ObjectStorageClass(a.StorageClass)
	}
	if s, kind := shown(a); kind != "" {
		e.ChecksumAlgorithm, e.ChecksumType = []types.ChecksumAlgorithm{s.algorithm}, kind
	}
	if l.owner {
		e.Owner = &types.Owner{ID: ptr(c.owner()), DisplayName: ptr(c.owner())}
	}
	return e
}

// ListObjects is the first version, whose pages go on behind a key.
func (b *bridge) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (s3response.ListObjectsResult, error) {
	c, err := b.begin(ctx, "ListObjects", in.Bucket, nil)
	if err != nil {
		return s3response.ListObjectsResult{}, err
	}
	defer c.cancel()
	l := listing{prefix: clone(in.Prefix), delimiter: clone(in.Delimiter), after: clone(in.Marker), limit: int(*in.MaxKeys), owner: true, names: namesFor(ctx)}
	if err := b.list(c, &l); err != nil {
		return s3response.ListObjectsResult{}, err
	}
	out := s3response.ListObjectsResult{Name: ptr(c.about.bucket), Prefix: l.names.ptr(l.prefix), Marker: l.names.ptr(l.after), Delimiter: l.names.text(l.delimiter),
		MaxKeys: in.MaxKeys, IsTruncated: ptr(l.page.More), Contents: l.contents, CommonPrefixes: l.prefixes, EncodingType: l.names.encoding}
	if l.page.More {
		out.NextMarker = l.names.ptr(l.page.Last)
	}
	return out, nil
}

// ListObjectsV2 is the second version, whose pages go on behind a token: the
// last name, in a form that XML can hold.
func (b *bridge) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	c, err := b.begin(ctx, "ListObjectsV2", in.Bucket, nil)
	if err != nil {
		return s3response.ListObjectsV2Result{}, err
	}
	defer c.cancel()
	start := clone(in.StartAfter)
	l := listing{prefix: clone(in.Prefix), delimiter: clone(in.Delimiter), after: start, limit: int(*in.MaxKeys), owner: in.FetchOwner != nil && *in.FetchOwner, names: namesFor(ctx)}
	if token := clone(in.ContinuationToken); token != "" {
		last, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			return s3response.ListObjectsV2Result{}, s3err.APIError{Code: "InvalidArgument", Description: "The continuation token provided is incorrect.", HTTPStatusCode: 400}
		}
		l.after = string(last)
	}
	if err := b.list(c, &l); err != nil {
		return s3response.ListObjectsV2Result{}, err
	}
	out := s3response.ListObjectsV2Result{Name: ptr(c.about.bucket), Prefix: l.names.ptr(l.prefix), StartAfter: l.names.text(start), Delimiter: l.names.text(l.delimiter),
		ContinuationToken: text(clone(in.ContinuationToken)), MaxKeys: in.MaxKeys, KeyCount: ptr(int32(len(l.contents) + len(l.prefixes))),
		IsTruncated: ptr(l.page.More), Contents: l.contents, CommonPrefixes: l.prefixes, EncodingType: l.names.encoding}
	if l.page.More {
		out.NextContinuationToken = ptr(base64.RawURLEncoding.EncodeToString([]byte(l.page.Last)))
	}
	return out, nil
}

// number reads a marker that is a number; none is 0.
func number(s *string) (int, error) {
	if !given(s) {
		return 0, nil
	}
	n, err := strconv.Atoi(*s)
	if err != nil || n < 0 {
		return 0, s3err.APIError{Code: "InvalidArgument", Description: "The part number marker provided is not a number.", HTTPStatusCode: 400}
	}
	return n, nil
}
