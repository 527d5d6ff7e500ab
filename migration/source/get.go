package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/pace"
)

// GetRequest names bytes of one version of one object. ETag and Length have to be
// given: without them a change of the object, or an answer that is cut short and
// says so, could not be told from the truth.
type GetRequest struct {
	Key     string
	Version string // "" = the current one
	ETag    string // without quotes: the object has to have it, or the answer is ErrCondition
	Offset  int64
	Length  int64 // > 0
}

// Body is the bytes of a GetRequest. Where a connection breaks or stalls, it asks
// for the rest, of the same version and ETag. It reads exactly Length bytes and
// then io.EOF, or an error. It has to be closed. It is not for use by many
// goroutines at once.
type Body struct {
	s       *Source
	ctx     context.Context
	r       GetRequest
	c       call
	read    int64
	attempt int // without a byte between
	part    *part
}

// part is one answer of the server to a request for the rest.
type part struct {
	body    io.ReadCloser
	cancel  context.CancelFunc
	stall   *time.Timer
	release func(pace.Outcome)
}

// Get begins to read. It returns once the server has answered.
func (s *Source) Get(ctx context.Context, r GetRequest) (*Body, error) {
	if r.ETag == "" || r.Length <= 0 || r.Offset < 0 {
		return nil, fmt.Errorf("get %.200q: ETag %q, offset %d, length %d: the ETag and the length have to be known: %w", r.Key, r.ETag, r.Offset, r.Length, holdall.ErrInvalid)
	}
	b := &Body{s: s, ctx: ctx, r: r, c: call{op: "GetObject", key: r.Key, class: pace.Read}}
	return b, b.open()
}

// open asks for what is left, as often as is worth it.
func (b *Body) open() error {
	for {
		b.attempt++
		release, err := b.s.admit(b.ctx, b.c)
		if err != nil {
			return err
		}
		p := &part{release: release}
		if err = b.ask(p); err == nil {
			b.part = p
			return nil
		}
		f := b.s.explain(b.ctx, b.c, err)
		p.close(f.outcome)
		if err := b.s.again(b.ctx, f, b.attempt); err != nil {
			return err
		}
	}
}

// ask makes one request for the rest and checks that the answer is of that.
func (b *Body) ask(p *part) error {
	ctx, cancel := context.WithCancel(b.ctx)
	p.cancel = cancel
	p.stall = time.AfterFunc(b.s.cfg.Timeout, cancel) // of the answer's head, then of each read
	first, last := b.r.Offset+b.read, b.r.Offset+b.r.Length-1
	out, err := b.s.s3.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &b.s.cfg.Bucket, Key: &b.r.Key, VersionId: some(b.r.Version), IfMatch: quoted(b.r.ETag), Range: aws.String(fmt.Sprintf("bytes=%d-%d", first, last)),
	})
	if err != nil {
		return err
	}
	p.body = out.Body
	span := fmt.Sprintf("bytes %d-%d/", first, last)
	switch {
	case bare(out.ETag) != b.r.ETag:
		return b.s.broken(b.c, "the answer has the ETag %s, asked for was %q", aws.ToString(out.ETag), b.r.ETag)
	case !strings.HasPrefix(aws.ToString(out.ContentRange), span):
		return b.s.broken(b.c, "the answer has the range %q, asked for was %q", aws.ToString(out.ContentRange), span)
	case out.ContentLength != nil && *out.ContentLength != last-first+1:
		return b.s.broken(b.c, "the answer has %d bytes, asked for were %d", *out.ContentLength, last-first+1)
	case b.r.Version != "" && out.VersionId != nil && *out.VersionId != b.r.Version:
		return b.s.broken(b.c, "the answer is of version %q, asked for was %q", *out.VersionId, b.r.Version)
	}
	return nil
}

// close ends one answer.
func (p *part) close(o pace.Outcome) {
	if p.stall != nil {
		p.stall.Stop()
	}
	if p.cancel != nil {
		p.cancel()
	}
	if p.body != nil {
		_ = p.body.Close() // its bytes are read, or not wanted
	}
	p.release(o)
}

// Read reads on, over breaks of the connection.
func (b *Body) Read(buf []byte) (int, error) {
	left := b.r.Length - b.read
	if left == 0 {
		return 0, io.EOF
	}
	for {
		if b.part == nil {
			if err := b.open(); err != nil {
				return 0, err
			}
		}
		b.part.stall.Reset(b.s.cfg.Stall)
		n, err := b.part.body.Read(buf[:min(int64(len(buf)), left)])
		b.part.stall.Stop() // how long the caller takes is no stall of the server's
		if n > 0 {
			b.read, b.attempt = b.read+int64(n), 0
			b.finish(err)
			return n, b.s.rest(b.ctx, b.s.cfg.Budget.Read(b.s.cfg.Now(), int64(n)))
		}
		if err == nil {
			continue // a reader may return nothing
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		f := b.s.explain(b.ctx, b.c, fmt.Errorf("after %d of %d bytes: %w", b.read, b.r.Length, err))
		b.part.close(f.outcome)
		b.part = nil
		if err := b.s.again(b.ctx, f, max(b.attempt, 1)); err != nil {
			return 0, err
		}
	}
}

// finish closes the answer when it has brought all, or no more.
func (b *Body) finish(err error) {
	if b.part == nil || err == nil && b.read < b.r.Length {
		return
	}
	o := pace.Done
	if b.read < b.r.Length {
		o = pace.Failed
	}
	b.part.close(o)
	b.part = nil
}

// Close ends the reading, wherever it is.
func (b *Body) Close() error {
	if b.part != nil {
		b.part.close(pace.Done)
		b.part = nil
	}
	return nil
}
