package source

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/pace"
)

// maxPartHeads is how many parts are asked for one by one, where they are not all
// of one size.
const maxPartHeads = 1000

// PartSizes returns the sizes of the parts that an object was uploaded in, in
// bytes and in order. nil: the server does not tell, or they are too many and too
// unlike to be asked for.
func (s *Source) PartSizes(ctx context.Context, key, version, etag string) ([]int64, error) {
	first, n, err := s.part(ctx, key, version, etag, 1)
	if err != nil || n < 1 || n > holdall.MaxParts {
		return nil, err
	}
	whole, err := s.Head(ctx, key, version, etag)
	if err != nil {
		return nil, err
	}
	sizes := make([]int64, n)
	for i := range sizes {
		sizes[i] = first
	}
	sizes[n-1] = whole.Size - int64(n-1)*first
	if last := sizes[n-1]; n == 1 || last > 0 && last <= first {
		if told, _, err := s.part(ctx, key, version, etag, n); err != nil || told == last {
			return sizes, err
		}
	}
	if n > maxPartHeads {
		return nil, nil
	}
	var sum int64
	for i := range sizes {
		if sizes[i], _, err = s.part(ctx, key, version, etag, i+1); err != nil {
			return nil, err
		}
		sum += sizes[i]
	}
	if sum != whole.Size {
		return nil, nil
	}
	return sizes, nil
}

// part asks for one part's size, and how many parts there are: 0 = not told.
func (s *Source) part(ctx context.Context, key, version, etag string, number int) (size int64, parts int, err error) {
	c := call{op: "HeadObject", key: key, class: pace.Read}
	in := &s3.HeadObjectInput{Bucket: &s.cfg.Bucket, Key: &key, VersionId: some(version), IfMatch: quoted(etag), PartNumber: aws.Int32(int32(number))}
	err = s.do(ctx, c, func(ctx context.Context) error {
		out, err := s.s3.HeadObject(ctx, in)
		if err != nil {
			return err
		}
		if bare(out.ETag) != etag {
			return s.broken(c, "the answer has the ETag %s, asked for was %q", aws.ToString(out.ETag), etag)
		}
		size, parts = aws.ToInt64(out.ContentLength), int(aws.ToInt32(out.PartsCount))
		return nil
	})
	return size, parts, err
}
