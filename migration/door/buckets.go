package door

import (
	"context"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// CreateBucket is that of object.Objects.
func (d *Door) CreateBucket(ctx context.Context, ns holdall.NamespaceID, name string) (metadata.Bucket, error) {
	return d.cfg.Objects.CreateBucket(ctx, ns, name)
}

// RemoveBucket is that of object.Objects. A bucket under migration is refused.
func (d *Door) RemoveBucket(ctx context.Context, ns holdall.NamespaceID, name string) error {
	return d.cfg.Objects.RemoveBucket(ctx, ns, name)
}

// Bucket is that of object.Objects.
func (d *Door) Bucket(ctx context.Context, ns holdall.NamespaceID, name string) (metadata.Bucket, error) {
	return d.cfg.Objects.Bucket(ctx, ns, name)
}

// ListBuckets is that of object.Objects.
func (d *Door) ListBuckets(ctx context.Context, ns holdall.NamespaceID, after string, limit int) ([]metadata.Bucket, error) {
	return d.cfg.Objects.ListBuckets(ctx, ns, after, limit)
}
