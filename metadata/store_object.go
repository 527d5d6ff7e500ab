package metadata

import (
	"context"
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

var errSoon = fmt.Errorf("metadata: not built yet: %w", holdall.ErrUnavailable)

// Errors that say what was not found; each wraps holdall.ErrNotFound.
var (
	ErrNoBucket = fmt.Errorf("no such bucket: %w", holdall.ErrNotFound)
	ErrNoUpload = fmt.Errorf("no such upload, or it has ended: %w", holdall.ErrNotFound)
)

// CreateNamespace makes a namespace: ErrExists if the name is taken.
func (s *Store) CreateNamespace(ctx context.Context, name string, retention time.Duration, quota int64) (Namespace, error) {
	return Namespace{}, errSoon
}

// SetNamespace changes the retention and the quota of a namespace.
func (s *Store) SetNamespace(ctx context.Context, id holdall.NamespaceID, retention time.Duration, quota int64) error {
	return errSoon
}

// RemoveNamespace removes a namespace that has nothing any more: ErrRefused while
// it has rows, buckets or credentials.
func (s *Store) RemoveNamespace(ctx context.Context, id holdall.NamespaceID) error { return errSoon }

// NamespaceByID returns a namespace: what a gateway needs to refuse early what is
// over its quota.
func (s *Store) NamespaceByID(id holdall.NamespaceID) (Namespace, error) { return Namespace{}, errSoon }

// PutCredential adds a credential, or replaces one of the same namespace.
func (s *Store) PutCredential(ctx context.Context, c Credential) error { return errSoon }

// RemoveCredential removes a credential: ErrNotFound if there is none.
func (s *Store) RemoveCredential(ctx context.Context, accessKey string) error { return errSoon }

// Credential returns a credential: ErrNotFound if there is none.
func (s *Store) Credential(accessKey string) (Credential, error) { return Credential{}, errSoon }

// Credentials returns the credentials of a namespace, by access key.
func (s *Store) Credentials(ns holdall.NamespaceID) ([]Credential, error) { return nil, errSoon }

// CreateBucket makes a bucket: ErrExists if the name is taken.
func (s *Store) CreateBucket(ctx context.Context, ns holdall.NamespaceID, name string) (Bucket, error) {
	return Bucket{}, errSoon
}

// SetBucket says whether a bucket keeps the markers of deleted keys for ever.
func (s *Store) SetBucket(ctx context.Context, id holdall.BucketID, keepsMarkers bool) error {
	return errSoon
}

// RemoveBucket removes a bucket: ErrNoBucket, or ErrRefused while a key has a
// current version or an upload is open.
func (s *Store) RemoveBucket(ctx context.Context, ns holdall.NamespaceID, name string) error {
	return errSoon
}

// Bucket returns the bucket with a name: ErrNoBucket if there is none.
func (s *Store) Bucket(ctx context.Context, ns holdall.NamespaceID, name string) (Bucket, error) {
	return Bucket{}, errSoon
}

// Buckets returns at most limit buckets of a namespace with names above after.
func (s *Store) Buckets(ns holdall.NamespaceID, after string, limit int) ([]Bucket, error) {
	return nil, errSoon
}

// ClaimPending holds blocks for another 24 h on behalf of an object, out of trash
// where they were there, and returns the ids that are gone.
func (s *Store) ClaimPending(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error) {
	return nil, errSoon
}

// CommitNode counts the references of a manifest node.
func (s *Store) CommitNode(ctx context.Context, ns holdall.NamespaceID, node holdall.BlockID, children []holdall.BlockID) (gone []holdall.BlockID, err error) {
	return nil, errSoon
}

// CommitObject is the commit point of an object.
func (s *Store) CommitObject(ctx context.Context, c ObjectCommit) (o Object, gone []holdall.BlockID, err error) {
	return Object{}, nil, errSoon
}

// DeleteObject puts a delete marker on a key.
func (s *Store) DeleteObject(ctx context.Context, d ObjectDelete) (marker Object, err error) {
	return Object{}, errSoon
}

// UndeleteObject takes a delete marker away.
func (s *Store) UndeleteObject(ctx context.Context, bucket holdall.BucketID, key string) (Object, error) {
	return Object{}, errSoon
}

// SetTags replaces the tags of a version; Version 0 is the current one.
func (s *Store) SetTags(ctx context.Context, key ObjectKey, tags []byte) (Object, error) {
	return Object{}, errSoon
}

// Object returns the newest row of a key, which may be a marker.
func (s *Store) Object(ctx context.Context, bucket holdall.BucketID, key string) (Object, error) {
	return Object{}, errSoon
}

// ObjectVersion returns one version.
func (s *Store) ObjectVersion(ctx context.Context, key ObjectKey) (Object, error) {
	return Object{}, errSoon
}

// List returns a page of a bucket's listing.
func (s *Store) List(ctx context.Context, q ListQuery) (ListPage, error) { return ListPage{}, errSoon }

// CreateUpload begins a multipart upload.
func (s *Store) CreateUpload(ctx context.Context, u Upload) (Upload, error) { return Upload{}, errSoon }

// Upload returns an upload: ErrNoUpload if there is none.
func (s *Store) Upload(ctx context.Context, id holdall.PutID) (Upload, error) {
	return Upload{}, errSoon
}

// Uploads returns open uploads of a bucket by key, then id.
func (s *Store) Uploads(bucket holdall.BucketID, prefix, afterKey string, afterID holdall.PutID, limit int) (list []Upload, more bool, err error) {
	return nil, false, errSoon
}

// PutPart adds a part to an upload, or replaces the one of its number.
func (s *Store) PutPart(ctx context.Context, upload holdall.PutID, p Part) (gone []holdall.BlockID, err error) {
	return nil, errSoon
}

// Parts returns parts of an upload with numbers above after.
func (s *Store) Parts(ctx context.Context, upload holdall.PutID, after, limit int) (list []Part, more bool, err error) {
	return nil, false, errSoon
}

// AbortUpload ends an upload.
func (s *Store) AbortUpload(ctx context.Context, id holdall.PutID) error { return errSoon }

// ReleaseUpload drops the references of parts of an ended upload.
func (s *Store) ReleaseUpload(ctx context.Context, id holdall.PutID, limit int) (left int, err error) {
	return 0, errSoon
}

// EndedUploads returns uploads that wait for ReleaseUpload since before a time.
func (s *Store) EndedUploads(before time.Time, limit int) ([]Upload, error) { return nil, errSoon }

// ObjectTrash returns versions that wait in trash since before a time.
func (s *Store) ObjectTrash(after ObjectTrashed, before time.Time, limit int) ([]ObjectTrashed, error) {
	return nil, errSoon
}

// PurgeObjects removes the rows of versions whose retention in trash has ended.
func (s *Store) PurgeObjects(ctx context.Context, keys []ObjectKey) (PurgeResult, error) {
	return PurgeResult{}, errSoon
}

// ReleaseNode removes the row of a node that is due, and drops its references.
func (s *Store) ReleaseNode(ctx context.Context, ns holdall.NamespaceID, node holdall.BlockID, children []holdall.BlockID) (PurgeResult, error) {
	return PurgeResult{}, errSoon
}
