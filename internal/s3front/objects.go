package s3front

import (
	"context"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
)

// Objects is all that a Front does to objects. A method's errors are those of
// object.Objects, which is one; a migration's door is another.
type Objects interface {
	Contents
	Changes
	Uploads
	UploadLists
	Buckets
}

// Contents puts objects and finds them.
type Contents interface {
	Put(ctx context.Context, r object.PutRequest) (metadata.Object, error)
	Open(ctx context.Context, at object.Place, o object.GetOptions) (*object.Reader, error)
	Head(ctx context.Context, at object.Place, version holdall.Version) (metadata.Object, error)
	List(ctx context.Context, ns holdall.NamespaceID, bucket string, q metadata.ListQuery) (metadata.ListPage, error)
}

// Changes changes what is known of objects, without their bytes.
type Changes interface {
	Delete(ctx context.Context, r object.DeleteRequest) (metadata.Object, error)
	Copy(ctx context.Context, r object.CopyRequest) (metadata.Object, error)
	Tags(ctx context.Context, at object.Place, version holdall.Version) ([]manifest.Tag, metadata.Object, error)
	SetTags(ctx context.Context, at object.Place, version holdall.Version, tags []manifest.Tag) (metadata.Object, error)
}

// Uploads makes objects of parts.
type Uploads interface {
	CreateUpload(ctx context.Context, r object.UploadRequest) (metadata.Upload, error)
	PutPart(ctx context.Context, r object.PartRequest) (metadata.Part, error)
	CopyPart(ctx context.Context, r object.CopyPartRequest) (metadata.Part, error)
	Complete(ctx context.Context, r object.CompleteRequest) (metadata.Object, error)
	Abort(ctx context.Context, at object.UploadPlace) error
}

// UploadLists lists uploads that are open, and their parts.
type UploadLists interface {
	Parts(ctx context.Context, at object.UploadPlace, after, limit int) (object.PartPage, error)
	Uploads(ctx context.Context, in object.Place, afterKey string, afterID holdall.PutID, limit int) (object.UploadPage, error)
}

// Buckets are those of a namespace.
type Buckets interface {
	CreateBucket(ctx context.Context, ns holdall.NamespaceID, name string) (metadata.Bucket, error)
	RemoveBucket(ctx context.Context, ns holdall.NamespaceID, name string) error
	Bucket(ctx context.Context, ns holdall.NamespaceID, name string) (metadata.Bucket, error)
	ListBuckets(ctx context.Context, ns holdall.NamespaceID, after string, limit int) ([]metadata.Bucket, error)
}
