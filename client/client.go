package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// DefaultEndpoint is where `holdall serve` listens.
const DefaultEndpoint = "127.0.0.1:7420"

// Options changes how a Client behaves. The zero Options are those for
// production.
type Options struct {
	Namespace   string        // of all calls; "" = "default"
	Connections int           // to each endpoint, 1 to 16; 0 = 4: one has one reader and one writer goroutine
	Timeout     time.Duration // of a call, retries included, whose context has no deadline; 0 = 10 s
	Attempts    int           // at most, of a call; 0 = 5
	TLS         *tls.Config   // nil = plaintext, which only loopback endpoints allow

	// Dialer connects to an endpoint; nil = TCP. With a Dialer of its own a
	// Client takes plaintext to be safe.
	Dialer func(ctx context.Context, endpoint string) (net.Conn, error)

	Random func() float64 // in [0, 1), for jitter; nil = math/rand/v2
}

// Validate reports every fault of o.
func (o Options) Validate() error {
	var faults []error
	add := func(field string, value any, rule string) {
		faults = append(faults, fmt.Errorf("%s is %v: %s", field, value, rule))
	}
	if o.Connections < 0 || o.Connections > 16 {
		add("Connections", o.Connections, "want 1 to 16, or 0 for 4")
	}
	if o.Timeout < 0 || o.Timeout > time.Minute {
		add("Timeout", o.Timeout, "want at most 1m, which is what servers allow, or 0 for 10s")
	}
	if o.Attempts < 0 {
		add("Attempts", o.Attempts, "want 1 or more, or 0 for 5")
	}
	if faults == nil {
		return nil
	}
	return fmt.Errorf("client options: %w: %w", errors.Join(faults...), holdall.ErrInvalid)
}

func (o Options) withDefaults() Options {
	if o.Connections == 0 {
		o.Connections = 4 // a server takes 64 MiB in flight on each: 16 blocks of 4 MiB
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Attempts == 0 {
		o.Attempts = 5
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return o
}

// Client calls a cell. It is safe for concurrent use.
type Client struct {
	options Options
	conns   []*connection
	next    atomic.Uint32 // where the search for the least used of conns begins
	budget  budget
	chunks  mem.BufferPool // of messages of objects
	sleep   func(context.Context, time.Duration) error
}

// Dial returns a Client of the servers at endpoints ("host:port"; none means
// DefaultEndpoint). It connects when first used, so a server that is not there
// shows as ErrUnavailable then. An endpoint that is not loopback, without TLS,
// is ErrRefused.
func Dial(options Options, endpoints ...string) (*Client, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if len(endpoints) == 0 {
		endpoints = []string{DefaultEndpoint}
	}
	c := &Client{options: options.withDefaults(), budget: budget{left: budgetMax}, chunks: NewBufferPool(), sleep: sleepFor}
	to := make([]uploads, len(endpoints))
	for i := range to {
		to[i] = newUploads()
	}
	for range c.options.Connections {
		for i, endpoint := range endpoints {
			conn, err := c.options.connect(endpoint)
			if err != nil {
				return nil, errors.Join(err, c.Close())
			}
			c.conns = append(c.conns, &connection{ClientConn: conn, uploads: to[i]})
		}
	}
	return c, nil
}

// Close ends the connections. Calls in flight fail.
func (c *Client) Close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// Bytes of grpc's own buffers for reads from and writes to a connection: fewer
// system calls a block than with the default of 32 KiB.
const connBuffer = 256 << 10

func (o Options) connect(endpoint string) (*grpc.ClientConn, error) {
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil, fmt.Errorf("endpoint %.80q: want host:port: %w: %w", endpoint, err, holdall.ErrInvalid)
	}
	creds := insecure.NewCredentials()
	switch {
	case o.TLS != nil:
		creds = credentials.NewTLS(o.TLS)
	case o.Dialer == nil && !loopback(host):
		return nil, fmt.Errorf("endpoint %s is not on this machine: plaintext is refused, set TLS: %w", endpoint, holdall.ErrRefused)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithReadBufferSize(connBuffer),
		grpc.WithWriteBufferSize(connBuffer),
		experimental.WithBufferPool(NewBufferPool()),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // retry.go knows more than gRPC does
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// Above the server's least interval between pings, or it hangs up.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(NewCodec()),
			grpc.MaxCallRecvMsgSize(MaxMessage),
			grpc.MaxCallSendMsgSize(MaxMessage),
		),
	}
	target := "dns:///" + endpoint
	if o.Dialer != nil {
		target = "passthrough:///" + endpoint
		options = append(options, grpc.WithContextDialer(o.Dialer))
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w: %w", endpoint, err, holdall.ErrInvalid)
	}
	return conn, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// connection is a connection and the number of unary calls on it.
type connection struct {
	*grpc.ClientConn
	calls   atomic.Int32
	uploads uploads // to the server, over all connections
}

// call makes a unary call, once.
func (conn *connection) call(ctx context.Context, method string, in, out any) error {
	return FromStatus(conn.Invoke(ctx, method, in, out))
}

func (conn *connection) release() { conn.calls.Add(-1) }

// take returns the least used connection, for one call, which ends with release.
func (c *Client) take() *connection {
	conn := c.conn()
	conn.calls.Add(1)
	return conn
}

// conn returns the connection with the fewest calls, the next one of equals: a
// server bounds the bytes in flight on each, and turns over its connections one
// by one.
func (c *Client) conn() *connection {
	first := int(c.next.Add(1) % uint32(len(c.conns)))
	best := c.conns[first]
	for i := 1; i < len(c.conns); i++ {
		if other := c.conns[(first+i)%len(c.conns)]; other.calls.Load() < best.calls.Load() {
			best = other
		}
	}
	return best
}

// call makes a unary call, once, on the least used connection.
func (c *Client) call(ctx context.Context, method string, in, out any) error {
	conn := c.take()
	defer conn.release()
	return conn.call(ctx, method, in, out)
}

func (c *Client) admin() holdallv1.AdminServiceClient {
	return holdallv1.NewAdminServiceClient(c.conn())
}
