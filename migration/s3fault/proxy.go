package s3fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdall/holdall"
)

const (
	defaultSlow = 100 * time.Millisecond
	maxHeld     = 64 << 20 // bytes of the body of a late PUT, or of a listing's page: they are kept in memory
	landLimit   = time.Minute
)

// Proxy is a running proxy.
type Proxy struct {
	upstream *url.URL
	client   http.Transport
	server   http.Server
	listener net.Listener
	closed   chan struct{}  // closed by Close
	land     chan struct{}  // receives or is closed: held PUTs go on
	work     sync.WaitGroup // the server, and PUTs on their way

	mu      sync.Mutex // guards the fields below
	plan    Plan
	hits    []int // by rule of the plan
	asked   map[request]int
	changed map[string]bool   // "bucket/key" of objects that Changed made up
	pages   map[string]served // by bucket: the page before
	counts  map[Kind]int
	total   int
	landed  int
}

// served is a listing's page as it went out.
type served struct {
	header http.Header
	body   []byte
}

// Start runs a proxy in front of the S3 server at a URL, on a free loopback port.
// Buckets have to be named in the path.
func Start(upstream string, plan Plan) (*Proxy, error) {
	u, err := url.Parse(upstream)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("upstream %q: want a URL of an S3 server: %w", upstream, holdall.ErrInvalid)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	p := &Proxy{upstream: u, listener: l, closed: make(chan struct{}), land: make(chan struct{}), asked: map[request]int{}, changed: map[string]bool{}, pages: map[string]served{}, counts: map[Kind]int{}}
	p.SetPlan(plan)
	p.client.DisableCompression = true
	p.client.MaxIdleConnsPerHost = 64 // as many as a test has in flight
	p.server.Handler = p
	p.server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // resets are its work
	p.work.Go(func() { _ = p.server.Serve(l) })                                 // ends with Close
	return p, nil
}

// Endpoint returns the proxy's URL.
func (p *Proxy) Endpoint() string { return "http://" + p.listener.Addr().String() }

// SetPlan replaces the plan. What Counts returns goes on counting.
func (p *Proxy) SetPlan(plan Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan, p.hits = plan, make([]int, len(plan.Rules))
}

// Counts returns how often each kind was injected.
func (p *Proxy) Counts() map[Kind]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

// Requests returns how many requests came, spoiled or not.
func (p *Proxy) Requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// Landed returns how many late PUTs reached the server.
func (p *Proxy) Landed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.landed
}

// Land lets one held PUT go to the server, waiting until there is one; it
// returns before the server has answered.
func (p *Proxy) Land(ctx context.Context) error {
	select {
	case p.land <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the proxy. PUTs that are still held never land.
func (p *Proxy) Close() error {
	close(p.closed)
	err := p.server.Close()
	p.work.Wait()
	p.client.CloseIdleConnections()
	return err
}

// ServeHTTP forwards one request, or spoils it.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := parse(r)
	kind, plan := p.pick(q)
	if p.isChanged(q) {
		kind = Changed
	}
	switch kind {
	case SlowDown, InternalError, TooManyRequests, AccessDenied, ExpiredToken, FalseNotFound:
		refuse(w, r, kind)
	case ResetBefore:
		reset(w)
	case LatePut:
		p.hold(r, plan)
	case Changed:
		p.change(w, r, q, plan)
	case SlowListing:
		p.sleep(r.Context(), or(plan.Slow, defaultSlow))
		p.forward(w, r, nil)
	case TruncateListing, RepeatListing:
		p.spoilListing(w, r, q, kind)
	case None:
		p.forward(w, r, p.remember(q, plan))
	default:
		p.forward(w, r, p.spoiler(r.Context(), q, kind, plan))
	}
}

// pick decides what happens to a request, and counts it.
func (p *Proxy) pick(q request) (Kind, Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total++
	p.asked[q]++
	for i := range p.plan.Rules {
		rule := &p.plan.Rules[i]
		if !rule.matches(q) || rule.Most > 0 && p.hits[i] >= rule.Most || p.plan.chance(i, q, p.asked[q]) >= rule.Rate {
			continue
		}
		if rule.Kind == RepeatListing && p.pages[q.bucket].body == nil {
			continue // there is no page before the first
		}
		p.hits[i]++
		p.counts[rule.Kind]++
		return rule.Kind, p.plan
	}
	return None, p.plan
}

// parse says what a request is about, from its path and query alone.
func parse(r *http.Request) request {
	path := strings.TrimPrefix(r.URL.Path, "/")
	q := request{method: r.Method, query: r.URL.RawQuery, span: r.Header.Get("Range")}
	q.bucket, q.key, _ = strings.Cut(path, "/")
	query := r.URL.Query()
	sub := func(names ...string) bool { return slices.ContainsFunc(names, query.Has) }
	q.listing = r.Method == http.MethodGet && q.bucket != "" && q.key == "" && (query.Has("list-type") || query.Has("versions") || len(query) == 0)
	q.object = q.key != "" && !sub("tagging", "attributes", "acl", "uploads", "retention", "legal-hold") && (r.Method == http.MethodPut || !sub("uploadId"))
	return q
}

func (p *Proxy) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-p.closed:
	}
}

// hold takes a PUT whole, gives no answer, and sends it on later.
func (p *Proxy) hold(r *http.Request, plan Plan) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxHeld))
	if err != nil {
		panic(http.ErrAbortHandler) // the client left while sending
	}
	late := p.outgoing(context.WithoutCancel(r.Context()), r, bytes.NewReader(body))
	p.work.Go(func() {
		var after <-chan time.Time
		if plan.Late > 0 {
			after = time.After(plan.Late)
		}
		select {
		case <-after:
		case <-p.land:
		case <-p.closed:
			return
		}
		ctx, cancel := context.WithTimeout(late.Context(), landLimit)
		defer cancel()
		if resp, err := p.client.RoundTrip(late.WithContext(ctx)); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			p.mu.Lock()
			p.landed++
			p.mu.Unlock()
		}
	})
	select { // no answer: the client's own timeout has to end this
	case <-r.Context().Done():
	case <-p.closed:
	}
	panic(http.ErrAbortHandler)
}

// outgoing is r for the server: same method, target, headers and Host.
func (p *Proxy) outgoing(ctx context.Context, r *http.Request, body io.Reader) *http.Request {
	out := r.Clone(ctx)
	out.URL.Scheme, out.URL.Host = p.upstream.Scheme, p.upstream.Host
	out.URL.Opaque, _, _ = strings.Cut(r.RequestURI, "?") // as it came: signed, never cleaned
	out.Host, out.RequestURI, out.Close = r.Host, "", false
	out.Header.Del("Connection")
	if body != nil {
		out.Body = io.NopCloser(body)
	} else if r.ContentLength == 0 {
		out.Body = http.NoBody
	}
	return out
}

// roundTrip asks the server. It ends the connection to the client when there is
// no answer.
func (p *Proxy) roundTrip(r *http.Request) *http.Response {
	resp, err := p.client.RoundTrip(p.outgoing(r.Context(), r, nil))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return resp
}

// forward sends the answer of the server through spoil, nil = as it is.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, spoil func(http.ResponseWriter, *http.Response) error) {
	resp := p.roundTrip(r)
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	if spoil == nil {
		spoil = whole
	}
	switch err := spoil(w, resp); {
	case errors.Is(err, errReset):
		reset(w)
	case err != nil:
		panic(http.ErrAbortHandler)
	}
}

// reset ends the connection with a reset where it can, and else with an end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // what is not sent is thrown away, and the peer is told
	}
	_ = conn.Close()
}

// whole sends the answer as it is.
func whole(w http.ResponseWriter, resp *http.Response) error {
	w.WriteHeader(resp.StatusCode)
	_, err := io.Copy(w, resp.Body)
	return err
}

// What ends an answer early: an end of the connection, or a reset.
var (
	errCut   = errors.New("cut off by plan")
	errReset = errors.New("reset by plan")
)

func or(d, initial time.Duration) time.Duration {
	if d == 0 {
		return initial
	}
	return d
}
