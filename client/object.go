package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// ObjectName names an object. A key is 1 to holdall.MaxKeySize bytes of any
// value.
type ObjectName struct{ Bucket, Key string }

// Condition is what a change asks of the key's current version; where it does
// not hold nothing is changed, and the error is ErrCondition. A delete marker
// counts as no version, but for Version. The zero Condition always holds.
type Condition struct {
	Absent  bool            // there is none
	Present bool            // there is one
	ETag    string          // there is one, with this ETag; "" = any
	Version holdall.Version // the newest is this one, delete marker or not; 0 = any
}

func (c Condition) message() *holdallv1.Condition {
	if c == (Condition{}) {
		return nil
	}
	return &holdallv1.Condition{Absent: c.Absent, Present: c.Present, Etag: c.ETag, Version: uint64(c.Version)}
}

// newPutID chooses what a put is called, so that it can be repeated.
func newPutID() (id holdall.PutID) {
	rand.Read(id[:]) // never fails
	return id
}

// once makes a unary call that is not safe to repeat, within the time that calls
// have.
func (c *Client) once(ctx context.Context, method string, in, out any) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.options.Timeout)
		defer cancel()
	}
	return c.call(ctx, method, in, out)
}

// CreateBucket makes a bucket. ErrExists when there is one of this name,
// ErrExhausted when the cell has too many.
func (c *Client) CreateBucket(ctx context.Context, name string) (*BucketStatus, error) {
	in := holdallv1.CreateBucketRequest{Namespace: c.options.Namespace, Bucket: name}
	var out holdallv1.CreateBucketResponse
	if err := c.once(ctx, holdallv1.ObjectService_CreateBucket_FullMethodName, &in, &out); err != nil {
		return nil, err
	}
	return bucketStatus(out.Bucket)
}

// RemoveBucket removes a bucket. ErrRefused while a key in it has a current
// version, or an upload is open. What is in its trash goes too.
func (c *Client) RemoveBucket(ctx context.Context, name string) error {
	in := holdallv1.RemoveBucketRequest{Namespace: c.options.Namespace, Bucket: name}
	return c.once(ctx, holdallv1.ObjectService_RemoveBucket_FullMethodName, &in, &holdallv1.RemoveBucketResponse{})
}

// Buckets calls f with every bucket of the namespace, by name, until f returns
// an error, which is returned.
func (c *Client) Buckets(ctx context.Context, f func(BucketStatus) error) error {
	in := holdallv1.ListBucketsRequest{Namespace: c.options.Namespace}
	for {
		var out holdallv1.ListBucketsResponse
		if err := c.ask(ctx, holdallv1.ObjectService_ListBuckets_FullMethodName, &in, &out); err != nil {
			return err
		}
		last := in.After
		for _, m := range out.Buckets {
			b, err := bucketStatus(m)
			if err != nil {
				return err
			}
			if err := f(*b); err != nil {
				return err
			}
			last = b.Name
		}
		if !out.More {
			return nil
		}
		if last <= in.After {
			return fmt.Errorf("buckets after %q: %w", in.After, errNoProgress)
		}
		in.After = last
	}
}

// errNoProgress is the error of a listing that would never end.
var errNoProgress = fmt.Errorf("the server says that there are more and sends none: %w", holdall.ErrCorrupt)

// HeadObject returns a version of an object, 0 = the current one. ErrNotFound
// where there is none, or a delete marker hides it.
func (c *Client) HeadObject(ctx context.Context, bucket, key string, version holdall.Version) (*Object, error) {
	in := holdallv1.HeadObjectRequest{Namespace: c.options.Namespace, Bucket: bucket, Key: []byte(key), Version: uint64(version)}
	var out holdallv1.HeadObjectResponse
	if err := c.ask(ctx, holdallv1.ObjectService_Head_FullMethodName, &in, &out); err != nil {
		return nil, err
	}
	return objectFacts(out.Object)
}

// DeleteObject puts a delete marker on a key, which it returns; nil: there was
// nothing to delete. UndeleteObject takes it away again until the namespace's
// retention ends.
func (c *Client) DeleteObject(ctx context.Context, bucket, key string, only Condition) (*Object, error) {
	id := newPutID()
	in := holdallv1.DeleteObjectRequest{Namespace: c.options.Namespace, Bucket: bucket, Key: []byte(key), PutId: id[:], Condition: only.message()}
	var out holdallv1.DeleteObjectResponse
	if err := c.ask(ctx, holdallv1.ObjectService_Delete_FullMethodName, &in, &out); err != nil || out.Marker == nil {
		return nil, err
	}
	return objectFacts(out.Marker)
}

// UndeleteObject takes the delete marker of a key away and returns the version
// that is current again. ErrExists when the key is not deleted, ErrNotFound when
// nothing is left of it.
func (c *Client) UndeleteObject(ctx context.Context, bucket, key string) (*Object, error) {
	in := holdallv1.UndeleteObjectRequest{Namespace: c.options.Namespace, Bucket: bucket, Key: []byte(key)}
	var out holdallv1.UndeleteObjectResponse
	if err := c.once(ctx, holdallv1.ObjectService_Undelete_FullMethodName, &in, &out); err != nil {
		return nil, err
	}
	return objectFacts(out.Object)
}

// CopyOptions says what a copy has of its own.
type CopyOptions struct {
	Version    holdall.Version    // of the original; 0 = the current one
	Attributes *Attributes        // of the copy, without Checksums and Parts; nil = those of the original
	Tags       *map[string]string // of the copy; nil = those of the original
	If         Condition          // on the key of the copy
}

// CopyObject makes an object of another one's blocks, within the namespace: no
// bytes are moved.
func (c *Client) CopyObject(ctx context.Context, from, to ObjectName, o CopyOptions) (*Object, error) {
	id := newPutID()
	in := holdallv1.CopyObjectRequest{
		Namespace: c.options.Namespace, Bucket: to.Bucket, Key: []byte(to.Key), PutId: id[:],
		FromBucket: from.Bucket, FromKey: []byte(from.Key), FromVersion: uint64(o.Version), Condition: o.If.message(),
	}
	if o.Attributes != nil {
		in.Attributes = o.Attributes.message()
	}
	if o.Tags != nil {
		in.Tags = &holdallv1.CopyObjectRequest_Tags{Tags: tagMessages(*o.Tags)}
	}
	var out holdallv1.CopyObjectResponse
	if err := c.ask(ctx, holdallv1.ObjectService_Copy_FullMethodName, &in, &out); err != nil {
		return nil, err
	}
	return objectFacts(out.Object)
}

// SetTags replaces the tags of a version, 0 = the current one. No tags remove
// them.
func (c *Client) SetTags(ctx context.Context, name ObjectName, version holdall.Version, tags map[string]string) (*Object, error) {
	in := holdallv1.SetObjectTagsRequest{
		Namespace: c.options.Namespace, Bucket: name.Bucket, Key: []byte(name.Key), Version: uint64(version), Tags: tagMessages(tags),
	}
	var out holdallv1.SetObjectTagsResponse
	if err := c.ask(ctx, holdallv1.ObjectService_SetTags_FullMethodName, &in, &out); err != nil {
		return nil, err
	}
	return objectFacts(out.Object)
}

// checkedSize refuses a number of bytes that no object has.
func checkedSize(n uint64) (int64, error) {
	if n > math.MaxInt64 {
		return 0, fmt.Errorf("the server says that there are %d bytes: %w", n, holdall.ErrCorrupt)
	}
	return int64(n), nil
}
