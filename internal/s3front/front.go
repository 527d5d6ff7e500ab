package s3front

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"

	"github.com/holdall/holdall"
)

// Region is what clients give as region: signatures name it.
const Region = "us-east-1"

// Config says what a Front stands on. Objects, Credentials and Vault must be
// set; what else is zero takes its default.
type Config struct {
	Objects     Objects
	Credentials Credentials
	Vault       *Vault

	// Doubt, if not nil, sees every error before it is answered: while metadata
	// may not know everything, that something was not found proves nothing.
	Doubt func(error) error

	// Connections is how many may be open at once; more wait until one is
	// closed. Each costs about 40 KiB. Default 2,048.
	Connections int

	// Requests is how many may be in work at once; more are answered SlowDown.
	// The blocks that they hold are bounded by the gateway's budget. Default 256.
	Requests int

	Idle   time.Duration // for the next request on a connection; default 75 s
	Header time.Duration // for a request's header; default 30 s
	Stall  time.Duration // for the next bytes of a body, either way; default 30 s
	Linger time.Duration // for the rest of a body that was refused; default 5 s

	Logger     *slog.Logger          // default slog.Default()
	Registerer prometheus.Registerer // default none
	Random     io.Reader             // default crypto/rand
}

func (cfg Config) withDefaults() (Config, error) {
	for _, d := range []struct {
		p       *time.Duration
		initial time.Duration
	}{{&cfg.Idle, 75 * time.Second}, {&cfg.Header, 30 * time.Second}, {&cfg.Stall, 30 * time.Second}, {&cfg.Linger, 5 * time.Second}} {
		if *d.p == 0 {
			*d.p = d.initial
		}
	}
	if cfg.Connections == 0 {
		cfg.Connections = 2048
	}
	if cfg.Requests == 0 {
		cfg.Requests = 256
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	var faults []error
	rule := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("s3front: "+format+": %w", append(args, holdall.ErrInvalid)...))
		}
	}
	rule(cfg.Objects != nil, "Objects: must be set")
	rule(cfg.Credentials != nil, "Credentials: must be set")
	rule(cfg.Vault != nil, "Vault: must be set")
	rule(cfg.Connections > 0, "Connections: %d, must be above 0", cfg.Connections)
	rule(cfg.Requests > 0, "Requests: %d, must be above 0", cfg.Requests)
	rule(min(cfg.Idle, cfg.Header, cfg.Stall, cfg.Linger) > 0, "Idle, Header, Stall, Linger: %v, %v, %v, %v, must be above 0", cfg.Idle, cfg.Header, cfg.Stall, cfg.Linger)
	return cfg, errors.Join(faults...)
}

// Front answers S3's calls. New makes one, Serve runs it, Close ends it.
type Front struct {
	cfg     Config
	app     *fiber.App
	metrics *metrics
	base    context.Context // of every call: ends when Close gives up waiting
	cancel  context.CancelFunc

	mu       sync.Mutex // guards what follows
	listener *listener
	closed   bool
}

// maxHeader is how long a request's header may be, in bytes: that of a copy whose
// keys have 1,024 bytes, each written %XX, with the user metadata that an object
// may have.
const maxHeader = 16 << 10

// New returns a Front. The error lists every fault of cfg.
func New(cfg Config) (*Front, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	f := &Front{cfg: cfg}
	if f.metrics, err = newMetrics(f, cfg.Registerer); err != nil {
		return nil, err
	}
	root, err := nobody(cfg.Random)
	if err != nil {
		return nil, err
	}
	f.base, f.cancel = context.WithCancel(context.Background())
	access := &accounts{cfg.Credentials, cfg.Vault, f.report}
	server, err := s3api.New(&bridge{front: f, objects: cfg.Objects}, root, Region, access, nil, nil, nil, f.metrics,
		s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithDisableACL(),
		s3api.WithConcurrencyLimiter(2*cfg.Connections, cfg.Requests), s3api.WithMiddleware("/", f.watch))
	if err != nil {
		return nil, fmt.Errorf("s3front: %w", err)
	}
	if f.app, err = appOf(server); err != nil {
		return nil, err
	}
	f.configure(f.app.Server())
	return f, nil
}

// nobody is versitygw's root user, who must exist and may do everything: nobody
// knows the secret, and the name cannot be empty, because that would be the name
// in a signature that has none.
func nobody(random io.Reader) (middlewares.RootUserConfig, error) {
	var b [64]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return middlewares.RootUserConfig{}, fmt.Errorf("s3front: no randomness: %w: %w", err, holdall.ErrUnavailable)
	}
	return middlewares.RootUserConfig{Access: hex.EncodeToString(b[:32]), Secret: hex.EncodeToString(b[32:])}, nil
}

// appOf takes the HTTP server out of versitygw's, which keeps it to itself and
// would listen on its own: then nothing could bound connections, and nothing
// would know which port it got. docs/decisions/s3-front-door.md.
func appOf(server *s3api.S3ApiServer) (*fiber.App, error) {
	field := reflect.ValueOf(server).Elem().FieldByName("app")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*fiber.App]() || field.IsNil() {
		return nil, errors.New("s3front: this version of versitygw has no field app that is a *fiber.App")
	}
	return reflect.NewAt(field.Type().Elem(), field.UnsafePointer()).Interface().(*fiber.App), nil
}

// configure sets what versitygw leaves at fasthttp's defaults.
func (f *Front) configure(s *fasthttp.Server) {
	s.Name, s.NoDefaultServerHeader = "", true
	s.ReadBufferSize = maxHeader
	s.ReadTimeout = f.cfg.Header // of the header alone: HeaderReceived changes it
	s.IdleTimeout = f.cfg.Idle
	s.CloseOnShutdown = true
	s.ErrorHandler = f.refuseHeader
	s.HeaderReceived = func(*fasthttp.RequestHeader) fasthttp.RequestConfig {
		return fasthttp.RequestConfig{ReadTimeout: bodyTimeout}
	}

	// A form would be read to its end, into files, before anybody asked who
	// sends it.
	s.DisablePreParseMultipartForm = true
}

// bodyTimeout is how long the body of one request may take, with every read of
// it bounded by Config.Stall.
const bodyTimeout = 24 * time.Hour

// Serve answers on l until Close. It returns nil when that was the reason.
func (f *Front) Serve(l net.Listener) error {
	f.mu.Lock()
	if f.closed || f.listener != nil {
		f.mu.Unlock()
		l.Close()
		return nil
	}
	f.listener = newListener(l, limits{connections: f.cfg.Connections, stall: f.cfg.Stall, linger: f.cfg.Linger})
	f.mu.Unlock()
	err := f.app.Listener(f.listener, fiber.ListenConfig{DisableStartupMessage: true})
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil || f.closed {
		return nil
	}
	return fmt.Errorf("s3front: serve: %w", err)
}

// Close stops accepting, lets the requests in work finish, and ends those that
// have not when ctx ends.
func (f *Front) Close(ctx context.Context) {
	f.mu.Lock()
	f.closed = true
	l := f.listener
	f.mu.Unlock()
	if l != nil {
		l.Close()
		if err := f.app.ShutdownWithContext(ctx); err != nil {
			f.cfg.Logger.Warn("s3: requests were cut off", "connections", l.count(), "error", err)
		}
	}
	f.cancel()
	if l != nil {
		l.abort()
	}
}

func (f *Front) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener == nil {
		return 0
	}
	return f.listener.count()
}

// report logs what a client is not told.
func (f *Front) report(what string, err error) {
	f.cfg.Logger.Error("s3: a request failed", "during", what, "error", err)
}
