package mirror

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/holdall/holdall"
)

// streamed sends a body of size bytes in chunks with a checksum behind them, which
// is what S3 calls STREAMING-UNSIGNED-PAYLOAD-TRAILER and the SDKs' default over
// TLS. It is read once, as it comes, and cannot be hashed before. The end is part
// of the form: some servers take a plain body whose connection breaks for a whole
// one.
func (m *Mirror) streamed(size int64) func(*s3.Options) {
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			_, err := stack.Finalize.Swap((&v4.ComputePayloadSHA256{}).ID(), &streaming{size: size, named: m.cfg.Source.Endpoint == ""})
			return err
		})
	}
}

const (
	streamingHash = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	trailerName   = "x-amz-checksum-crc32c"
	chunkSize     = 64 << 10 // bytes: the least that servers have to take
)

// streaming is the step of a request that gives it its form.
type streaming struct {
	size  int64
	named bool // in Content-Encoding too: AWS wants it so, and keeps it to itself
}

// ID names the step that it takes the place of.
func (s *streaming) ID() string { return (&v4.ComputePayloadSHA256{}).ID() }

// HandleFinalize wraps the body and says so in the headers. Other servers than AWS
// go by the hash, and some of them would keep aws-chunked with the object.
func (s *streaming) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (out middleware.FinalizeOutput, _ middleware.Metadata, err error) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return out, middleware.Metadata{}, fmt.Errorf("mirror: a request of type %T: %w", in.Request, holdall.ErrInvalid)
	}
	if req, err = req.SetStream(newChunks(req.GetStream(), s.size)); err != nil {
		return out, middleware.Metadata{}, fmt.Errorf("mirror: body: %w", err)
	}
	req.ContentLength = chunkedSize(s.size)
	req.Header.Del("Content-Length")
	if s.named {
		encoding := "aws-chunked"
		if own := req.Header.Get("Content-Encoding"); own != "" {
			encoding += "," + own
		}
		req.Header.Set("Content-Encoding", encoding)
	}
	req.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(s.size))
	req.Header.Set("X-Amz-Trailer", trailerName)
	in.Request = req
	return next.HandleFinalize(v4.SetPayloadHash(ctx, streamingHash), in)
}

// chunks is a body in its form.
type chunks struct {
	r     io.Reader
	left  int64 // bytes of r that are to come
	sum   hash.Hash32
	ready []byte // of the form, to be given out before any more of r
	chunk int64  // bytes of the present chunk that are to come
	begun bool
	ended bool
}

func newChunks(r io.Reader, size int64) *chunks {
	return &chunks{r: r, left: size, sum: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
}

// Read returns the next bytes of the form.
func (c *chunks) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(c.ready) == 0 && c.chunk == 0 {
		c.frame()
	}
	if len(c.ready) > 0 {
		n := copy(p, c.ready)
		c.ready = c.ready[n:]
		return n, nil
	}
	if c.chunk == 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.chunk)])
	c.sum.Write(p[:n])
	c.chunk, c.left = c.chunk-int64(n), c.left-int64(n)
	if err == io.EOF && c.left > 0 {
		return n, fmt.Errorf("mirror: the body ends %d bytes early: %w", c.left, io.ErrUnexpectedEOF)
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// frame makes ready what stands before the next chunk, or behind the last.
func (c *chunks) frame() {
	head := ""
	if c.begun {
		head = "\r\n"
	}
	c.begun = true
	switch {
	case c.ended:
		return
	case c.left > 0:
		c.chunk = min(c.left, chunkSize)
		c.ready = fmt.Appendf(nil, "%s%x\r\n", head, c.chunk)
	default:
		c.ended = true
		c.ready = fmt.Appendf(nil, "%s0\r\n%s:%s\r\n\r\n", head, trailerName, base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, c.sum.Sum32())))
	}
}

// chunkedSize is how many bytes the form of size bytes has.
func chunkedSize(size int64) int64 {
	whole, rest := size/chunkSize, size%chunkSize
	total := whole * (chunkSize + int64(len(fmt.Sprintf("%x", chunkSize))) + 4)
	if rest > 0 {
		total += rest + int64(len(fmt.Sprintf("%x", rest))) + 4
	}
	return total + int64(len("0\r\n")+len(trailerName)+len(":12345678\r\n\r\n"))
}
