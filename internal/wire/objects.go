package wire

import (
	"context"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// objectServer is ObjectService; the methods are documented in object.proto.
type objectServer struct {
	holdallv1.UnimplementedObjectServiceServer
	server *Server
}

func (o *objectServer) CreateBucket(ctx context.Context, in *holdallv1.CreateBucketRequest) (*holdallv1.CreateBucketResponse, error) {
	if o.server.cfg.Buckets == nil {
		return nil, absent("buckets")
	}
	ns, name, err := o.server.bucket(in)
	if err != nil {
		return nil, err
	}
	b, err := o.server.cfg.Buckets.CreateBucket(ctx, ns, name)
	if err != nil {
		return nil, err
	}
	return &holdallv1.CreateBucketResponse{Bucket: encodeBucket(&b)}, nil
}

func (o *objectServer) RemoveBucket(ctx context.Context, in *holdallv1.RemoveBucketRequest) (*holdallv1.RemoveBucketResponse, error) {
	if o.server.cfg.Buckets == nil {
		return nil, absent("buckets")
	}
	ns, name, err := o.server.bucket(in)
	if err != nil {
		return nil, err
	}
	return &holdallv1.RemoveBucketResponse{}, o.server.cfg.Buckets.RemoveBucket(ctx, ns, name)
}

func (o *objectServer) ListBuckets(ctx context.Context, in *holdallv1.ListBucketsRequest) (*holdallv1.ListBucketsResponse, error) {
	if o.server.cfg.Buckets == nil {
		return nil, absent("buckets")
	}
	if err := checkAfter(in.After); err != nil {
		return nil, err
	}
	ns, err := o.server.namespace(in.Namespace)
	if err != nil {
		return nil, err
	}
	limit := pageLimit(in.Limit)
	list, err := o.server.cfg.Buckets.ListBuckets(ctx, ns, in.After, limit+1)
	if err != nil {
		return nil, err
	}
	out := &holdallv1.ListBucketsResponse{More: len(list) > limit}
	for i := range list[:min(limit, len(list))] {
		out.Buckets = append(out.Buckets, encodeBucket(&list[i]))
	}
	return out, nil
}

func (o *objectServer) Head(ctx context.Context, in *holdallv1.HeadObjectRequest) (*holdallv1.HeadObjectResponse, error) {
	if o.server.cfg.Objects == nil {
		return nil, absent("objects")
	}
	at, err := o.server.place(in)
	if err != nil {
		return nil, err
	}
	row, err := o.server.cfg.Objects.Head(ctx, at, holdall.Version(in.Version))
	m, err := answered(at, row, err)
	return &holdallv1.HeadObjectResponse{Object: m}, err
}

// answered makes a call's row a message.
func answered(at object.Place, row metadata.Object, err error) (*holdallv1.Object, error) {
	if err != nil {
		return nil, err
	}
	return encodeObject(at.Bucket, &row)
}

func (o *objectServer) List(ctx context.Context, in *holdallv1.ListObjectsRequest) (*holdallv1.ListObjectsResponse, error) {
	if o.server.cfg.Objects == nil {
		return nil, absent("objects")
	}
	q, err := listQuery(in)
	if err != nil {
		return nil, err
	}
	ns, bucket, err := o.server.bucket(in)
	if err != nil {
		return nil, err
	}
	page, err := o.server.cfg.Objects.List(ctx, ns, bucket, q)
	if err != nil {
		return nil, err
	}
	out := &holdallv1.ListObjectsResponse{More: page.More, Last: []byte(page.Last)}
	if q.Versions {
		out.LastVersion = uint64(page.LastVer)
	}
	for i := range page.Objects {
		out.Objects = append(out.Objects, encodeRow(bucket, &page.Objects[i]))
	}
	for _, p := range page.Prefixes {
		out.Prefixes = append(out.Prefixes, []byte(p))
	}
	return out, nil
}

func (o *objectServer) Delete(ctx context.Context, in *holdallv1.DeleteObjectRequest) (*holdallv1.DeleteObjectResponse, error) {
	if o.server.cfg.Changes == nil {
		return nil, absent("objects")
	}
	r := object.DeleteRequest{Origin: metadata.OriginClient}
	var err error
	if r.Put, err = putID(in.PutId); err != nil {
		return nil, err
	}
	if r.If, err = condition(in.Condition); err != nil {
		return nil, err
	}
	if r.Place, err = o.server.place(in); err != nil {
		return nil, err
	}
	marker, err := o.server.cfg.Changes.Delete(ctx, r)
	if err != nil {
		return nil, err
	}
	out := &holdallv1.DeleteObjectResponse{}
	if marker.Version != 0 {
		out.Marker = encodeRow(r.Bucket, &marker)
	}
	return out, nil
}

func (o *objectServer) Undelete(ctx context.Context, in *holdallv1.UndeleteObjectRequest) (*holdallv1.UndeleteObjectResponse, error) {
	if o.server.cfg.Changes == nil {
		return nil, absent("objects")
	}
	at, err := o.server.place(in)
	if err != nil {
		return nil, err
	}
	row, err := o.server.cfg.Changes.Undelete(ctx, at)
	m, err := answered(at, row, err)
	return &holdallv1.UndeleteObjectResponse{Object: m}, err
}

func (o *objectServer) Copy(ctx context.Context, in *holdallv1.CopyObjectRequest) (*holdallv1.CopyObjectResponse, error) {
	if o.server.cfg.Changes == nil {
		return nil, absent("objects")
	}
	r, err := o.copyRequest(in)
	if err != nil {
		return nil, err
	}
	row, err := o.server.cfg.Changes.Copy(ctx, r)
	m, err := answered(r.Place, row, err)
	return &holdallv1.CopyObjectResponse{Object: m}, err
}

func (o *objectServer) copyRequest(in *holdallv1.CopyObjectRequest) (r object.CopyRequest, err error) {
	r.Version = holdall.Version(in.FromVersion)
	if r.Place, err = o.server.place(in); err != nil {
		return r, err
	}
	if r.From, err = o.server.place(&holdallv1.HeadObjectRequest{Namespace: in.Namespace, Bucket: in.FromBucket, Key: in.FromKey}); err != nil {
		return r, err
	}
	if r.Put, err = putID(in.PutId); err != nil {
		return r, err
	}
	if r.If, err = condition(in.Condition); err != nil {
		return r, err
	}
	if in.Attributes != nil {
		a, err := attributes(in.Attributes)
		if err != nil {
			return r, err
		}
		r.Attributes = &a
		r.Check = func(original metadata.Object) error { return keepFacts(&a, original.Attributes) }
	}
	if in.Tags != nil {
		list, err := tags(in.Tags.Tags)
		if err != nil {
			return r, err
		}
		r.Tags = &list
	}
	return r, nil
}

// keepFacts leaves in a what a copy has of its original whatever its attributes
// are replaced with: what is known of its bytes.
func keepFacts(a *manifest.Attributes, original []byte) error {
	was, err := manifest.ParseAttributes(original)
	if err != nil {
		return err
	}
	a.Checksums, a.Parts, a.PartSizes = was.Checksums, was.Parts, was.PartSizes
	a.SourceETag, a.SourceVersion, a.SourceModified = was.SourceETag, was.SourceVersion, was.SourceModified
	return nil
}

func (o *objectServer) SetTags(ctx context.Context, in *holdallv1.SetObjectTagsRequest) (*holdallv1.SetObjectTagsResponse, error) {
	if o.server.cfg.Changes == nil {
		return nil, absent("objects")
	}
	list, err := tags(in.Tags)
	if err != nil {
		return nil, err
	}
	at, err := o.server.place(in)
	if err != nil {
		return nil, err
	}
	row, err := o.server.cfg.Changes.SetTags(ctx, at, holdall.Version(in.Version), list)
	m, err := answered(at, row, err)
	return &holdallv1.SetObjectTagsResponse{Object: m}, err
}
