package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/migration/ledger"
)

// MaxPut is the most bytes that S3 takes in one request; more go in parts.
const MaxPut = 5 << 30

// Put is an object on its way to the bucket.
type Put struct {
	Key        string
	Body       io.Reader // read to its end; an error of it fails the write, which is then surely not done
	Size       int64     // of Body, exactly: at most MaxPut
	Attributes manifest.Attributes
	Tags       []manifest.Tag
	If         Expect
}

// Put writes an object. The server has it whole or not at all.
func (m *Mirror) Put(ctx context.Context, p Put) Result {
	ctx, body, stop := m.watch(ctx, p.Body)
	defer stop()
	in := &s3.PutObjectInput{Bucket: &m.bucket, Key: &p.Key, Body: body, ContentLength: &p.Size}
	in.IfMatch, in.IfNoneMatch = m.match(p.If)
	a := &p.Attributes
	in.ContentType, in.ContentEncoding, in.ContentDisposition = some(a.ContentType), some(a.ContentEncoding), some(a.ContentDisposition)
	in.ContentLanguage, in.CacheControl, in.Metadata, in.Tagging = some(a.ContentLanguage), some(a.CacheControl), user(a), tagging(p.Tags)
	in.StorageClass = types.StorageClass(a.StorageClass)
	expires, err := expiry(a.Expires)
	if err != nil {
		return Result{Outcome: ledger.Refused, Err: err}
	}
	in.Expires = expires
	out, err := m.s3.PutObject(ctx, in, m.streamed(p.Size))
	if failed := body.failed(); failed != nil { // short of its length: no server takes it
		return Result{Outcome: ledger.Refused, Err: failed}
	}
	r := m.result("PutObject", p.Key, err)
	if err == nil {
		r.Facts = Facts{ETag: bare(out.ETag), Version: aws.ToString(out.VersionId), Size: p.Size}
	}
	return r
}

// Delete deletes an object, or has the bucket note that it is deleted.
func (m *Mirror) Delete(ctx context.Context, key string, e Expect) Result {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	in := &s3.DeleteObjectInput{Bucket: &m.bucket, Key: &key}
	in.IfMatch, _ = m.match(e)
	out, err := m.s3.DeleteObject(ctx, in)
	r := m.result("DeleteObject", key, err)
	if errors.Is(r.Err, holdall.ErrNotFound) {
		return Result{Outcome: ledger.Done} // not there: that is what was wanted
	}
	if err == nil {
		r.Facts = Facts{Version: aws.ToString(out.VersionId)}
	}
	return r
}

// SetTags replaces an object's tags; none removes them.
func (m *Mirror) SetTags(ctx context.Context, key string, tags []manifest.Tag) Result {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	if len(tags) == 0 {
		_, err := m.s3.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: &m.bucket, Key: &key})
		return m.result("DeleteObjectTagging", key, err)
	}
	set := &types.Tagging{}
	for _, t := range tags {
		set.TagSet = append(set.TagSet, types.Tag{Key: aws.String(t.Key), Value: aws.String(t.Value)})
	}
	_, err := m.s3.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: &m.bucket, Key: &key, Tagging: set})
	return m.result("PutObjectTagging", key, err)
}

// Head says what the bucket holds under a key, or that there is nothing: found is
// then false. An error says neither.
func (m *Mirror) Head(ctx context.Context, key string) (f Facts, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	out, err := m.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &m.bucket, Key: &key})
	r := m.result("HeadObject", key, err)
	switch {
	case errors.Is(r.Err, holdall.ErrNotFound):
		return Facts{}, false, nil
	case r.Err != nil:
		return Facts{}, false, r.Err
	}
	return Facts{bare(out.ETag), aws.ToString(out.VersionId), aws.ToInt64(out.ContentLength), aws.ToTime(out.LastModified)}, true, nil
}

// errStalled ends a request whose body the server does not take.
var errStalled = fmt.Errorf("mirror: the server takes no bytes: %w", holdall.ErrUnavailable)

// watch bounds a request with a body: each read of the body may wait for its
// bytes, but between two reads the server has Stall to take what was read, and
// Timeout to answer after the last. The body's own error is kept apart: it is not
// the server's.
func (m *Mirror) watch(ctx context.Context, r io.Reader) (context.Context, *watched, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watched{r: r, stall: m.cfg.Stall, answer: m.cfg.Timeout}
	w.timer = time.AfterFunc(m.cfg.Stall, func() { cancel(errStalled) })
	return ctx, w, func() { w.timer.Stop(); cancel(nil) }
}

// watched is a body that is being sent. It cannot be read twice.
type watched struct {
	r      io.Reader
	timer  *time.Timer
	stall  time.Duration
	answer time.Duration

	mu  sync.Mutex // guards err: the library may read on after it has returned
	err error
}

// failed returns the body's own error.
func (w *watched) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Stop()
	n, err := w.r.Read(p)
	switch {
	case err == nil:
		w.timer.Reset(w.stall)
	case err == io.EOF:
		w.timer.Reset(w.answer)
	default:
		w.mu.Lock()
		w.err = err
		w.mu.Unlock()
	}
	return n, err
}

// expiry reads an Expires header. One that is no time cannot be mirrored.
func expiry(value string) (*time.Time, error) {
	if value == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC1123, value)
	if err != nil {
		return nil, fmt.Errorf("mirror: Expires %.80q is no HTTP date: %w", value, holdall.ErrInvalid)
	}
	return &at, nil
}

func user(a *manifest.Attributes) map[string]string {
	if len(a.User) == 0 {
		return nil
	}
	meta := make(map[string]string, len(a.User))
	for _, f := range a.User {
		meta[f.Name] = f.Value
	}
	return meta
}

// tagging is tags as the header of a put has them.
func tagging(tags []manifest.Tag) *string {
	if len(tags) == 0 {
		return nil
	}
	var b strings.Builder
	for i, t := range tags {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(t.Key) + "=" + url.QueryEscape(t.Value))
	}
	return aws.String(b.String())
}

func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// bare is an ETag without its quotes.
func bare(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }
