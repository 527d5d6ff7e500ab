package s3front

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
)

// bridge is versitygw's backend. What it has no method for is answered
// NotImplemented.
type bridge struct {
	backend.BackendUnsupported
	front   *Front
	objects Objects
}

// String names the backend, for versitygw's logs.
func (b *bridge) String() string { return "Holdall" }

// callTimeout bounds calls that move no object's bytes, as gRPC's deadline does
// there. Those that move some are bounded by what their connection does.
const callTimeout = 60 * time.Second

// call is one call of versitygw's. Its context is not versitygw's, which never
// ends and is used again after the call.
type call struct {
	context.Context
	cancel context.CancelFunc
	front  *Front
	what   string
	about  about
	space  holdall.NamespaceID
}

// begin opens a call for the namespace of whoever signed the request of ctx.
// Strings of versitygw's lie in memory that the next request overwrites, so they
// are copied here.
func (b *bridge) begin(ctx context.Context, what string, bucket, key *string) (*call, error) {
	c := &call{front: b.front, what: what, about: about{bucket: clone(bucket), key: clone(key)}}
	var err error
	if c.space, err = namespaceOf(ctx); err != nil {
		return nil, err
	}
	if n := int64(len(c.about.key)); n > holdall.MaxKeySize {
		return nil, s3err.GetKeyTooLongErr(n, holdall.MaxKeySize)
	}
	c.Context, c.cancel = context.WithTimeout(b.front.base, callTimeout)
	return c, nil
}

// beginData is begin for a call that moves an object's bytes.
func (b *bridge) beginData(ctx context.Context, what string, bucket, key *string) (*call, error) {
	c, err := b.begin(ctx, what, bucket, key)
	if err == nil {
		c.cancel()
		c.Context, c.cancel = context.WithCancel(b.front.base)
	}
	return c, err
}

// place is what the call is about.
func (c *call) place() object.Place {
	return object.Place{Namespace: c.space, Bucket: c.about.bucket, Key: c.about.key}
}

// fail returns err in S3's words.
func (c *call) fail(err error) error { return c.front.answerOf(c.what, err, c.about) }

// owner is who owns everything in the namespace of a call.
func (c *call) owner() string { return "namespace-" + strconv.FormatUint(uint64(c.space), 10) }

func clone(s *string) string {
	if s == nil {
		return ""
	}
	return strings.Clone(*s)
}

func ptr[T any](v T) *T { return &v }

// text returns s, or nil for the empty one: a header that is not sent.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func quote(etag string) string { return `"` + etag + `"` }

// noVersion refuses version ids other than the one that S3 gives to versions of
// a bucket without versioning.
func (c *call) noVersion(id string) error {
	if id == "" || id == "null" {
		return nil
	}
	return s3err.GetNoSuchVersionErr(c.about.key, strings.Clone(id))
}

// storageClass leaves out the one that S3 does not name either.
func storageClass(s string) types.StorageClass { return types.StorageClass(s) }
