package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// Objects puts and gets objects. It is safe for concurrent use, and has no
// goroutine that outlives a call or a Reader.
type Objects struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	cut     cut
}

// cut says how objects are cut. Tests have smaller pieces.
type cut struct {
	inline  int   // bytes of the largest object that lies in its root
	block   int64 // bytes of a data block
	entries int   // of a node
}

// New returns Objects. The error lists every fault of cfg.
func New(cfg Config) (*Objects, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("object: metrics: %w", err)
	}
	return &Objects{cfg: cfg, log: cfg.Logger, metrics: m, cut: cut{holdall.MaxInline, holdall.MaxBlockSize, holdall.MaxNodeEntries}}, nil
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
func (s *Objects) RemoveBucket(ctx context.Context, ns holdall.NamespaceID, name string) (err error) {
	defer s.metrics.call("remove_bucket", &err)
	err = s.cfg.Buckets.RemoveBucket(ctx, ns, name)
	if errors.Is(err, holdall.ErrRefused) {
		return fmt.Errorf("%w: %w", ErrNotEmpty, err)
	}
	return err
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
func (s *Objects) Head(ctx context.Context, at Place, version holdall.Version) (o metadata.Object, err error) {
	defer s.metrics.call("head", &err)
	if err := holdall.CheckKey(at.Key); err != nil {
		return metadata.Object{}, err
	}
	b, err := s.cfg.Buckets.Bucket(ctx, at.Namespace, at.Bucket)
	if err != nil {
		return metadata.Object{}, err
	}
	missing := ErrNoKey
	if version == 0 {
		o, err = s.cfg.Names.Object(ctx, b.ID, at.Key)
	} else {
		missing = ErrNoVersion
		o, err = s.cfg.Names.ObjectVersion(ctx, metadata.ObjectKey{Bucket: b.ID, Key: at.Key, Version: version})
	}
	switch {
	case errors.Is(err, ErrNoBucket):
		return metadata.Object{}, err // removed just now
	case errors.Is(err, holdall.ErrNotFound):
		return metadata.Object{}, fmt.Errorf("object: %.80q in bucket %s: %w", at.Key, at.Bucket, missing)
	case err == nil && o.Marker:
		return o, fmt.Errorf("object: %.80q in bucket %s: %w", at.Key, at.Bucket, ErrMarked)
	}
	return o, err
}

// List returns one page of a bucket's listing; q.Bucket is filled in. Errors:
// ErrNoBucket.
func (s *Objects) List(ctx context.Context, ns holdall.NamespaceID, bucket string, q metadata.ListQuery) (page metadata.ListPage, err error) {
	defer s.metrics.call("list", &err)
	b, err := s.cfg.Buckets.Bucket(ctx, ns, bucket)
	if err != nil {
		return metadata.ListPage{}, err
	}
	q.Bucket = b.ID
	return s.cfg.Names.List(ctx, q)
}

// Children returns the blocks that a manifest node or root lists, each once for
// every time it is listed: what upkeep gives back when the node goes. The block
// may be in trash. Errors: ErrCorrupt (it is neither node nor root), and those
// of a get.
func (s *Objects) Children(ctx context.Context, ns holdall.NamespaceID, id holdall.BlockID) (ids []holdall.BlockID, err error) {
	err = s.whole(ctx, ns, id, gateway.GetOptions{Trash: true}, func(b []byte) error {
		ids, err = manifest.Children(b)
		return err
	})
	return ids, err
}

// invariant panics when the program is wrong, not its input.
func invariant(ok bool, what string) {
	if !ok {
		panic("object: broken: " + what)
	}
}
