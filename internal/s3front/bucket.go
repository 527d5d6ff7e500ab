package s3front

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/holdall/holdall"
)

// ListBuckets lists those of the namespace.
func (b *bridge) ListBuckets(ctx context.Context, in s3response.ListBucketsInput) (s3response.ListAllMyBucketsResult, error) {
	c, err := b.begin(ctx, "ListBuckets", nil, nil)
	if err != nil {
		return s3response.ListAllMyBucketsResult{}, err
	}
	defer c.cancel()
	out := s3response.ListAllMyBucketsResult{Owner: s3response.CanonicalUser{ID: c.owner(), DisplayName: c.owner()}, Prefix: in.Prefix}
	after, limit := strings.Clone(in.ContinuationToken), int(in.MaxBuckets)
	if after < in.Prefix {
		after = before(in.Prefix)
	}
	for {
		page, err := b.objects.ListBuckets(c, c.space, after, holdall.MaxListPage)
		if err != nil {
			return s3response.ListAllMyBucketsResult{}, c.fail(err)
		}
		for _, row := range page {
			switch after = row.Name; {
			case !strings.HasPrefix(row.Name, in.Prefix):
				return out, nil // they are sorted: it lies behind
			case len(out.Buckets.Bucket) == limit:
				out.ContinuationToken = out.Buckets.Bucket[limit-1].Name
				return out, nil
			}
			out.Buckets.Bucket = append(out.Buckets.Bucket, s3response.ListAllMyBucketsEntry{Name: row.Name, CreationDate: row.Created})
		}
		if len(page) < holdall.MaxListPage {
			return out, nil
		}
	}
}

// before returns a string below every name that begins with prefix, and above
// every bucket's name that is below them.
func before(prefix string) string {
	if prefix == "" {
		return ""
	}
	last := len(prefix) - 1
	return prefix[:last] + string(rune(prefix[last]-1)) + "\x7f"
}

// HeadBucket says whether there is one.
func (b *bridge) HeadBucket(ctx context.Context, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	c, err := b.begin(ctx, "HeadBucket", in.Bucket, nil)
	if err != nil {
		return nil, err
	}
	defer c.cancel()
	_, err = b.objects.Bucket(c, c.space, c.about.bucket)
	return &s3.HeadBucketOutput{}, c.fail(err)
}

// CreateBucket makes one. A lock on its objects, and tags, are refused: silence
// would promise what does not hold.
func (b *bridge) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, _ []byte) error {
	c, err := b.begin(ctx, "CreateBucket", in.Bucket, nil)
	if err != nil {
		return err
	}
	defer c.cancel()
	if in.ObjectLockEnabledForBucket != nil && *in.ObjectLockEnabledForBucket ||
		in.CreateBucketConfiguration != nil && len(in.CreateBucketConfiguration.Tags) > 0 {
		return s3err.GetAPIError(s3err.ErrNotImplemented)
	}
	_, err = b.objects.CreateBucket(c, c.space, c.about.bucket)
	if errors.Is(err, holdall.ErrInvalid) {
		return s3err.GetBucketErr(s3err.ErrInvalidBucketName, c.about.bucket)
	}
	return c.fail(err)
}

// DeleteBucket removes an empty one.
func (b *bridge) DeleteBucket(ctx context.Context, bucket string) error {
	c, err := b.begin(ctx, "DeleteBucket", &bucket, nil)
	if err != nil {
		return err
	}
	defer c.cancel()
	return c.fail(b.objects.RemoveBucket(c, c.space, c.about.bucket))
}

// GetBucketAcl is how versitygw finds out, at each call, whether there is a
// bucket. Its owner may do everything, nobody else anything.
func (b *bridge) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	c, err := b.begin(ctx, "GetBucketAcl", in.Bucket, nil)
	if err != nil {
		return nil, err
	}
	defer c.cancel()
	if _, err := b.objects.Bucket(c, c.space, c.about.bucket); err != nil {
		return nil, c.fail(err)
	}
	return json.Marshal(auth.ACL{Owner: c.owner(), Grantees: []auth.Grantee{{Permission: auth.PermissionFullControl, Access: c.owner(), Type: types.TypeCanonicalUser}}})
}

// What buckets do not have is answered as S3 does for a bucket that has it not.
// versitygw lets no request through unless it is: other errors end it.

// GetBucketPolicy says that there is none.
func (b *bridge) GetBucketPolicy(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrNoSuchBucketPolicy)
}

// GetObjectLockConfiguration says that there is none.
func (b *bridge) GetObjectLockConfiguration(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrObjectLockConfigurationNotFound)
}

// GetBucketVersioning says that it was never on.
func (b *bridge) GetBucketVersioning(context.Context, string) (s3response.GetBucketVersioningOutput, error) {
	return s3response.GetBucketVersioningOutput{}, nil
}

// GetBucketTagging says that there are none.
func (b *bridge) GetBucketTagging(context.Context, string) (map[string]string, error) {
	return nil, s3err.GetAPIError(s3err.ErrBucketTaggingNotFound)
}

// GetBucketCors says that there are none.
func (b *bridge) GetBucketCors(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrNoSuchCORSConfiguration)
}

// GetBucketWebsite says that there is none.
func (b *bridge) GetBucketWebsite(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrNoSuchWebsiteConfiguration)
}

// GetBucketOwnershipControls says what holds: ACLs mean nothing.
func (b *bridge) GetBucketOwnershipControls(context.Context, string) (types.ObjectOwnership, error) {
	return types.ObjectOwnershipBucketOwnerEnforced, nil
}
