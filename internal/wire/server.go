package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// Limits of connections. gRPC's defaults are: unlimited streams, headers of
// 16 MiB, 120 s for a handshake, connections that may idle for ever.
const (
	maxConnections = 1024      // a process; more wait to be accepted
	maxStreams     = 256       // calls in flight a connection
	maxHeader      = 16 << 10  // bytes of a request's headers
	workers        = 64        // goroutines kept for calls: their stacks have grown already
	connBuffer     = 256 << 10 // bytes of gRPC's own buffer each way: fewer system calls a block than with 32 KiB

	// gRPC takes in this much of a stream before anybody asks for it, and of a
	// connection before it has looked at it. It widens a stream's window by itself
	// once it knows the length of a message that a handler waits for; left to
	// itself, it widens every stream's to up to 16 MiB, whoever waits.
	streamWindow = 256 << 10
	connWindow   = 16 << 20

	handshakeTimeout = 10 * time.Second
	idleTimeout      = 15 * time.Minute // of a connection without calls: clients come back by themselves
	pingAfter        = 30 * time.Second // of silence, to find peers that are gone
	pingTimeout      = 10 * time.Second
	minPing          = 15 * time.Second // between a client's pings; one that pings more often is hung up on
)

// Server serves BlockService, ObjectService, AdminService, health and reflection.
type Server struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	methods map[string]method
	granted roles // to every caller: plaintext is for loopback, where all are one user
	health  *health.Server
	grpc    *grpc.Server

	in *semaphore.Weighted // bytes of memory of puts of objects
}

// NewServer returns a Server that is not ready: health says so until SetReady.
// The error lists every fault of cfg.
func NewServer(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("wire: metrics: %w", err)
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, metrics: m, methods: methods(),
		granted: roleUser | roleOperator | roleAnyone,
		health:  health.NewServer(),
		in:      semaphore.NewWeighted(cfg.StreamMemory),
	}
	s.grpc = grpc.NewServer(append(transportOptions(),
		grpc.ForceServerCodecV2(codec{client.NewCodec()}),
		grpc.InTapHandle(s.admit),
		grpc.StatsHandler(s),
	)...)
	s.register()
	s.SetReady(false)
	return s, nil
}

// transportOptions are those of every Holdall server: limits, and buffers.
func transportOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.MaxRecvMsgSize(client.MaxMessage),
		grpc.MaxSendMsgSize(client.MaxMessage),
		grpc.ReadBufferSize(connBuffer),
		grpc.WriteBufferSize(connBuffer),
		experimental.BufferPool(client.NewBufferPool()),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout, Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(workers),
	}
}

func (s *Server) register() {
	blocks := &blockServer{server: s}
	s.RegisterService(&holdallv1.BlockService_ServiceDesc, blocks)
	s.RegisterService(&holdallv1.ObjectService_ServiceDesc, &objectServer{server: s})
	s.RegisterService(&holdallv1.AdminService_ServiceDesc, &adminServer{cfg: s.cfg})
	s.RegisterService(&holdallv1.MigrationService_ServiceDesc, &migrationServer{server: s, table: s.cfg.Migrations, work: s.cfg.MigrationWork, keys: s.cfg.MigrationKeys})
	s.RegisterService(&healthpb.Health_ServiceDesc, s.health)
	reflection.Register(s)
}

// RegisterService adds a service, inside the rules that hold for all calls. It
// is for gRPC's own packages, which register themselves.
func (s *Server) RegisterService(d *grpc.ServiceDesc, implementation any) {
	own := map[string]grpc.MethodHandler{}
	if b, ok := implementation.(*blockServer); ok {
		own["Put"], own["Get"] = b.putHandler, b.getHandler
	}
	s.grpc.RegisterService(s.wrap(*d, own), implementation)
}

// GetServiceInfo says what is registered; reflection asks for it.
func (s *Server) GetServiceInfo() map[string]grpc.ServiceInfo { return s.grpc.GetServiceInfo() }

// SetReady says whether the health service answers SERVING.
func (s *Server) SetReady(ready bool) {
	status := healthpb.HealthCheckResponse_NOT_SERVING
	if ready {
		status = healthpb.HealthCheckResponse_SERVING
	}
	for _, name := range []string{"", holdallv1.BlockService_ServiceDesc.ServiceName, holdallv1.ObjectService_ServiceDesc.ServiceName, holdallv1.AdminService_ServiceDesc.ServiceName, holdallv1.MigrationService_ServiceDesc.ServiceName} {
		s.health.SetServingStatus(name, status)
	}
}

// Serve accepts connections from l until Stop, and then returns nil. It closes
// l. A listener that others than this machine can reach is ErrRefused: what
// goes over it is neither encrypted nor authenticated.
func (s *Server) Serve(l net.Listener) error {
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		l.Close()
		return fmt.Errorf("wire: listen on %v: plaintext is for loopback only: %w", a, holdall.ErrRefused)
	}
	if err := s.grpc.Serve(netutil.LimitListener(l, maxConnections)); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("wire: serve on %v: %w: %w", l.Addr(), err, holdall.ErrUnavailable)
	}
	return nil
}

// Stop refuses new calls, waits for those in flight, and returns when no
// goroutine of the Server is left. When ctx ends first, they are cut off.
func (s *Server) Stop(ctx context.Context) {
	s.health.Shutdown()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
}
