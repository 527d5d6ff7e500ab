package object

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// Objects puts and gets objects. It is safe for concurrent use, and has no
// goroutine that outlives a call or a Reader.
type Objects struct {
	cfg Config
	log *slog.Logger
}

// New returns Objects. The error lists every fault of cfg.
func New(cfg Config) (*Objects, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Objects{cfg: cfg, log: cfg.Logger}, nil
}

// NewPutID chooses the name of a put or an upload.
func (s *Objects) NewPutID() (holdall.PutID, error) {
	var id holdall.PutID
	if _, err := io.ReadFull(s.cfg.Random, id[:]); err != nil {
		return id, fmt.Errorf("object: no randomness for a put id: %w: %w", err, holdall.ErrUnavailable)
	}
	return id, nil
}

// CreateBucket makes a bucket. Errors: ErrInvalid (its name), ErrExists,
// ErrExhausted (too many).
func (s *Objects) CreateBucket(ctx context.Context, ns holdall.NamespaceID, name string) (metadata.Bucket, error) {
	if err := holdall.CheckBucketName(name); err != nil {
		return metadata.Bucket{}, err
	}
	return s.cfg.Buckets.CreateBucket(ctx, ns, name)
}

// RemoveBucket removes an empty bucket. Errors: ErrNoBucket, ErrNotEmpty.
func (s *Objects) RemoveBucket(ctx context.Context, ns holdall.NamespaceID, name string) error {
	return s.cfg.Buckets.RemoveBucket(ctx, ns, name)
}

// Bucket returns a bucket's row. Errors: ErrNoBucket.
func (s *Objects) Bucket(ctx context.Context, ns holdall.NamespaceID, name string) (metadata.Bucket, error) {
	return s.cfg.Buckets.Bucket(ctx, ns, name)
}

// ListBuckets returns at most limit buckets of a namespace whose names are above
// after, by name.
func (s *Objects) ListBuckets(_ context.Context, ns holdall.NamespaceID, after string, limit int) ([]metadata.Bucket, error) {
	return s.cfg.Buckets.Buckets(ns, after, limit)
}

// Head returns the row of an object's current version, or of a given one.
// Errors: ErrNoBucket, ErrNoKey, ErrMarked (with the marker's row), ErrNoVersion.
func (s *Objects) Head(ctx context.Context, at Place, version holdall.Version) (metadata.Object, error) {
	return metadata.Object{}, errUnfinished
}

// List returns one page of a bucket's listing; q.Bucket is filled in. Errors:
// ErrNoBucket.
func (s *Objects) List(ctx context.Context, ns holdall.NamespaceID, bucket string, q metadata.ListQuery) (metadata.ListPage, error) {
	return metadata.ListPage{}, errUnfinished
}

// Undelete makes the version current again that the newest delete marker hides.
// Errors: ErrNoBucket, ErrNoKey (nothing is left), ErrExists (it is not deleted).
func (s *Objects) Undelete(ctx context.Context, at Place) (metadata.Object, error) {
	return metadata.Object{}, errUnfinished
}

// Children returns the blocks that a manifest node or root lists, each once for
// every time it is listed: what upkeep gives back when the node goes. The block
// may be in trash. Errors: ErrCorrupt (it is neither node nor root), and those
// of a get.
func (s *Objects) Children(ctx context.Context, ns holdall.NamespaceID, id holdall.BlockID) ([]holdall.BlockID, error) {
	return nil, errUnfinished
}

var errUnfinished = fmt.Errorf("object: not written yet: %w", holdall.ErrUnavailable)
