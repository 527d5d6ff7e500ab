package s3fault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// refusals are the answers that the server did not give.
var refusals = map[Kind]struct {
	status        int
	code, message string
}{
	SlowDown:        {http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate."},
	InternalError:   {http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again."},
	TooManyRequests: {http.StatusTooManyRequests, "TooManyRequests", "Too many requests."},
	AccessDenied:    {http.StatusForbidden, "AccessDenied", "Access Denied"},
	ExpiredToken:    {http.StatusBadRequest, "ExpiredToken", "The provided token has expired."},
	FalseNotFound:   {http.StatusNotFound, "NoSuchKey", "The specified key does not exist."},
	Changed:         {http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"},
}

// refuse answers with an error of S3, once the request's body is in: an answer
// before that is a reset to most clients.
func refuse(w http.ResponseWriter, r *http.Request, kind Kind) {
	_, _ = io.Copy(io.Discard, r.Body)
	f := refusals[kind]
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(f.status)
	if r.Method != http.MethodHead {
		fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message><RequestId>s3fault</RequestId></Error>", f.code, f.message)
	}
}

// spoiler returns what kind does to the server's answer, nil for nothing.
func (p *Proxy) spoiler(ctx context.Context, q request, kind Kind, plan Plan) func(http.ResponseWriter, *http.Response) error {
	half := func(w http.ResponseWriter, resp *http.Response) error {
		w.WriteHeader(resp.StatusCode)
		_, _ = io.CopyN(w, resp.Body, resp.ContentLength/2)
		_ = http.NewResponseController(w).Flush() // or the client sees nothing of it
		return errCut
	}
	switch kind {
	case ResetLost:
		return func(http.ResponseWriter, *http.Response) error { return errReset }
	case ResetMid:
		return func(w http.ResponseWriter, resp *http.Response) error {
			_ = half(w, resp)
			return errReset
		}
	case Truncate:
		return half
	case Stall:
		return func(w http.ResponseWriter, resp *http.Response) error {
			_ = half(w, resp)
			if plan.Stall == 0 {
				plan.Stall = landLimit
			}
			p.sleep(ctx, plan.Stall)
			return errReset
		}
	case WrongLength:
		return func(w http.ResponseWriter, resp *http.Response) error {
			w.Header().Set("Content-Length", strconv.FormatInt(resp.ContentLength/2, 10))
			w.WriteHeader(resp.StatusCode)
			_, err := io.CopyN(w, resp.Body, resp.ContentLength/2)
			return err
		}
	case CorruptByte:
		at := p.place(q)
		return func(w http.ResponseWriter, resp *http.Response) error {
			w.WriteHeader(resp.StatusCode)
			_, err := io.Copy(w, &flipped{r: resp.Body, at: int64(at * float64(resp.ContentLength))})
			return err
		}
	case WrongETag:
		return func(w http.ResponseWriter, resp *http.Response) error {
			w.Header().Set("ETag", otherETag(resp.Header.Get("ETag")))
			return whole(w, resp)
		}
	}
	return nil
}

// place is where in a body a byte is changed, 0 to 1: it depends on the request.
func (p *Proxy) place(q request) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan.chance(-1, q, p.asked[q])
}

// flipped changes the byte at a position.
type flipped struct {
	r  io.Reader
	at int64 // what is left until the byte
}

// Read reads, with that byte changed.
func (f *flipped) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if f.at >= 0 && f.at < int64(n) {
		b[f.at] ^= 0x20
	}
	f.at -= int64(n)
	return n, err
}

// inverted changes every byte.
type inverted struct{ r io.Reader }

// Read reads, with every byte changed.
func (i inverted) Read(b []byte) (int, error) {
	n, err := i.r.Read(b)
	for j := range b[:n] {
		b[j] ^= 0xff
	}
	return n, err
}

// otherETag is an ETag of the same form that is not the one given.
func otherETag(etag string) string {
	swap := map[rune]rune{'0': '1', '1': '0', 'a': 'b', 'b': 'a', '9': '8', '8': '9'}
	other := strings.Map(func(r rune) rune {
		if s, ok := swap[r]; ok {
			return s
		}
		return r
	}, etag)
	if other == etag {
		return `"00000000000000000000000000000000"`
	}
	return other
}

// isChanged says whether the proxy makes up another object under this name. A
// write through the proxy ends that.
func (p *Proxy) isChanged(q request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := q.bucket + "/" + q.key
	if q.method != http.MethodGet && q.method != http.MethodHead {
		delete(p.changed, name)
	}
	return q.object && p.changed[name]
}

// change lets the object be another one, now and later.
func (p *Proxy) change(w http.ResponseWriter, r *http.Request, q request, plan Plan) {
	if plan.Mutate != nil {
		plan.Mutate(q.bucket, q.key)
		p.forward(w, r, nil)
		return
	}
	p.mu.Lock()
	p.changed[q.bucket+"/"+q.key] = true
	p.mu.Unlock()
	if r.Header.Get("If-Match") != "" {
		// The server would have to be asked for an ETag that it does not know.
		refuse(w, r, Changed)
		return
	}
	p.forward(w, r, func(w http.ResponseWriter, resp *http.Response) error {
		w.Header().Set("ETag", otherETag(resp.Header.Get("ETag")))
		if resp.StatusCode >= http.StatusMultipleChoices {
			return whole(w, resp)
		}
		w.WriteHeader(resp.StatusCode)
		_, err := io.Copy(w, inverted{resp.Body})
		return err
	})
}

// remember keeps the page of a listing that goes out, if the plan may serve it
// again; nil for other requests.
func (p *Proxy) remember(q request, plan Plan) func(http.ResponseWriter, *http.Response) error {
	if !q.listing || !slices.ContainsFunc(plan.Rules, func(r Rule) bool { return r.Kind == RepeatListing }) {
		return nil
	}
	return func(w http.ResponseWriter, resp *http.Response) error {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxHeld))
		if err == nil && resp.StatusCode == http.StatusOK {
			p.mu.Lock()
			p.pages[q.bucket] = served{resp.Header.Clone(), body}
			p.mu.Unlock()
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(body) // the client may have left
		return err
	}
}

// spoilListing cuts a page's XML, or serves the page before again.
func (p *Proxy) spoilListing(w http.ResponseWriter, r *http.Request, q request, kind Kind) {
	p.mu.Lock()
	page := p.pages[q.bucket]
	p.mu.Unlock()
	if kind == TruncateListing {
		resp := p.roundTrip(r)
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxHeld))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		page = served{resp.Header, body[:len(body)/2]}
	}
	for name, values := range page.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(page.body)))
	_, _ = io.Copy(w, bytes.NewReader(page.body)) // the client may have left
}
