package object

import (
	"context"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/metadata"
)

// Buckets is the table of buckets. *metadata.Store is one.
type Buckets interface {
	CreateBucket(ctx context.Context, ns holdall.NamespaceID, name string) (metadata.Bucket, error)
	RemoveBucket(ctx context.Context, ns holdall.NamespaceID, name string) error

	// Bucket is linearizable.
	Bucket(ctx context.Context, ns holdall.NamespaceID, name string) (metadata.Bucket, error)
	Buckets(ns holdall.NamespaceID, after string, limit int) ([]metadata.Bucket, error)
}

// Names is what is read of the table of objects, linearizably. *metadata.Store
// is one.
type Names interface {
	// Object returns the newest row of a key, which may be a delete marker.
	Object(ctx context.Context, bucket holdall.BucketID, key string) (metadata.Object, error)
	ObjectVersion(ctx context.Context, key metadata.ObjectKey) (metadata.Object, error)
	List(ctx context.Context, q metadata.ListQuery) (metadata.ListPage, error)
}

// Commits is what changes the table of objects. *metadata.Store is one.
type Commits interface {
	// CommitNode counts a reference on every child of a node, or names the
	// blocks that are gone, and then does nothing. The first nodes of the children
	// are nodes, which must have been committed.
	CommitNode(ctx context.Context, ns holdall.NamespaceID, node holdall.BlockID, children []holdall.BlockID, nodes int) (gone []holdall.BlockID, err error)

	// CommitObject is the commit point of a put. When it names blocks that are
	// gone it has done nothing.
	CommitObject(ctx context.Context, c metadata.ObjectCommit) (o metadata.Object, gone []holdall.BlockID, err error)
	DeleteObject(ctx context.Context, d metadata.ObjectDelete) (marker metadata.Object, err error)
	UndeleteObject(ctx context.Context, bucket holdall.BucketID, key string) (metadata.Object, error)
	SetTags(ctx context.Context, key metadata.ObjectKey, tags []byte) (metadata.Object, error)
}

// Uploads is the table of multipart uploads. *metadata.Store is one.
type Uploads interface {
	CreateUpload(ctx context.Context, u metadata.Upload) (metadata.Upload, error)
	Upload(ctx context.Context, id holdall.PutID) (metadata.Upload, error)
	Uploads(bucket holdall.BucketID, prefix, afterKey string, afterID holdall.PutID, limit int) (page []metadata.Upload, more bool, err error)
	AbortUpload(ctx context.Context, id holdall.PutID) error
}

// Parts is the table of uploads' parts. *metadata.Store is one.
type Parts interface {
	// PutPart gives a part's block to an upload, in place of the part of that
	// number if there is one. When it names blocks that are gone it has done
	// nothing.
	PutPart(ctx context.Context, upload holdall.PutID, p metadata.Part) (gone []holdall.BlockID, err error)
	Parts(ctx context.Context, upload holdall.PutID, after, limit int) (page []metadata.Part, more bool, err error)
}

// Blocks stores and reads blocks. *gateway.Gateway is one.
type Blocks interface {
	// AdmitWait waits for room for a block of at most size bytes.
	AdmitWait(ctx context.Context, size int64) (*gateway.Admission, error)

	// ClaimPending makes sure that blocks stay for another day. It names those
	// that must be put again.
	ClaimPending(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error)
	Get(ctx context.Context, ns holdall.NamespaceID, id holdall.BlockID, o gateway.GetOptions) (gateway.GetResult, error)
}
