package s3front

import (
	"crypto/md5"
	"encoding/hex"
	"hash"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"

	"github.com/prometheus/client_golang/prometheus"
)

// intake is a body on its way in. It hashes what it reads, in the goroutine that
// reads, while the blocks before it are being stored.
type intake struct {
	r       io.Reader
	md5     hash.Hash
	counter prometheus.Counter

	// A checksum comes in a header, and is then verified here when the body
	// ends; or behind the body, where versitygw verifies it; or not at all.
	asked   sum
	hashed  *utils.HashReader
	trailer middlewares.ChecksumReader
}

// newIntake reads body. asked is the checksum that the headers state; else, with
// compute, one of that algorithm is taken of what comes.
func (b *bridge) newIntake(body io.Reader, asked sum, compute types.ChecksumAlgorithm) (*intake, error) {
	in := &intake{r: body, md5: md5.New(), counter: b.front.metrics.received, asked: asked}
	if t, ok := body.(middlewares.ChecksumReader); ok && t.Algorithm() != "" {
		in.trailer = t
	}
	if compute != "" && in.algorithm() != compute {
		in.trailer, in.asked.algorithm = nil, compute
	}
	if in.asked.algorithm == "" {
		return in, nil
	}
	var err error
	in.hashed, err = utils.NewHashReader(body, asked.value, hashType(in.asked.algorithm))
	in.r = in.hashed
	return in, err
}

// Read returns the next bytes. It keeps nothing of p.
func (in *intake) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	in.md5.Write(p[:n])
	if in.counter != nil {
		in.counter.Add(float64(n))
	}
	return n, err
}

// etag returns S3's ETag of a body, once it is read.
func (in *intake) etag() string { return hex.EncodeToString(in.md5.Sum(nil)) }

// algorithm returns that of the body's checksum, "" = it has none.
func (in *intake) algorithm() types.ChecksumAlgorithm {
	if in.trailer != nil {
		return types.ChecksumAlgorithm(strings.ToUpper(in.trailer.Algorithm()))
	}
	return in.asked.algorithm
}

// sum returns the body's checksum, once it is read.
func (in *intake) sum() sum {
	switch {
	case in.trailer != nil:
		return sum{in.algorithm(), in.trailer.Checksum()}
	case in.hashed != nil:
		return sum{in.algorithm(), in.hashed.Sum()}
	}
	return sum{}
}

// drain reads the body for its hashes alone.
func (in *intake) drain() error {
	_, err := io.Copy(io.Discard, struct{ io.Reader }{in})
	return err
}

// emptyBody has no bytes.
type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
