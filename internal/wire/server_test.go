package wire

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

// Every method that is registered is in the table, with the roles that may call
// it, and the table has no others.
func TestEveryMethodIsListedWithItsRoles(t *testing.T) {
	f := newFront(t, nil)
	table := methods()
	var registered []string
	for service, info := range f.server.GetServiceInfo() {
		for _, m := range info.Methods {
			name := "/" + service + "/" + m.Name
			registered = append(registered, name)
			row, ok := table[name]
			switch {
			case !ok:
				t.Errorf("%s is registered and not in the table", name)
			case row.allowed == 0:
				t.Errorf("%s may be called by nobody", name)
			case row.stream != (m.IsServerStream || m.IsClientStream):
				t.Errorf("%s: the table says stream is %v", name, row.stream)
			case row.payload != (name == "/holdall.v1.BlockService/Put"):
				t.Errorf("%s: the table says payload is %v", name, row.payload)
			case row.chunks != (m.IsClientStream && strings.HasPrefix(name, "/holdall.")):
				t.Errorf("%s: the table says chunks is %v", name, row.chunks)
			case strings.Contains(name, "AdminService") && row.allowed != roleOperator:
				t.Errorf("%s: more than operators may call it", name)
			case (strings.Contains(name, "BlockService") || strings.Contains(name, "ObjectService")) && row.allowed&roleAnyone != 0:
				t.Errorf("%s: anyone may call it", name)
			}
		}
	}
	slices.Sort(registered)
	if listed := slices.Sorted(maps.Keys(table)); !slices.Equal(listed, registered) {
		t.Errorf("listed:     %v\nregistered: %v", listed, registered)
	}
}

func TestCallersWithoutTheRoleAreRefused(t *testing.T) {
	f := newFront(t, nil)
	f.server.granted = roleUser | roleAnyone
	c, ctx := f.dial(client.Options{Attempts: 1}), f.ctx()
	if _, err := c.CellStatus(ctx); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("an operator's call by a user: %v", err)
	}
	if _, err := c.Put(ctx, []byte("x")); err != nil {
		t.Error(err)
	}
	f.server.granted = roleAnyone
	if _, err := c.Put(ctx, []byte("x")); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("a put by anyone: %v", err)
	}
	if now, _ := f.cell.inFlight(); now != 0 {
		t.Errorf("%d bytes are admitted for a caller that was refused", now)
	}
}

func TestHealthAndReflectionAnswer(t *testing.T) {
	f := newFront(t, nil)
	conn, ctx := f.plain(), f.ctx()
	check := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		got, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: "holdall.v1.BlockService"})
		if err != nil || got.Status != want {
			t.Errorf("health is %v, %v; want %v", got, err, want)
		}
	}
	check(healthpb.HealthCheckResponse_SERVING)
	f.server.SetReady(false)
	check(healthpb.HealthCheckResponse_NOT_SERVING)

	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "holdall.v1.BlockService.Put"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := stream.Recv()
	if err != nil || len(got.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("reflection: %v, %v", got, err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	f := newFront(t, nil)
	f.cell.during = make(chan struct{})
	c, ctx := f.dial(client.Options{Attempts: 1}), f.ctx()
	done := make(chan error, 1)
	go func() { _, err := c.Put(ctx, []byte("in flight")); done <- err }()
	waitFor(t, "the put to arrive", func() bool { now, _ := f.cell.inFlight(); return now > 0 })
	stopped := make(chan struct{})
	go func() { f.server.Stop(ctx); close(stopped) }()
	waitFor(t, "new calls to be refused", func() bool { _, err := c.Get(ctx, holdall.BlockID{}); return errors.Is(err, holdall.ErrUnavailable) })
	close(f.cell.during)
	if err := <-done; err != nil {
		t.Errorf("the put in flight: %v", err)
	}
	<-stopped
}

func TestStopCutsOffWhatDoesNotEnd(t *testing.T) {
	f := newFront(t, nil)
	f.cell.during = make(chan struct{})
	c, ctx := f.dial(client.Options{Attempts: 1}), f.ctx()
	done := make(chan error, 1)
	go func() { _, err := c.Put(ctx, []byte("in flight")); done <- err }()
	waitFor(t, "the put to arrive", func() bool { now, _ := f.cell.inFlight(); return now > 0 })
	now, cancel := context.WithCancel(ctx)
	cancel()
	f.server.Stop(now)
	if err := <-done; !errors.Is(err, holdall.ErrUnavailable) {
		t.Errorf("the put that was cut off: %v", err)
	}
}

func TestPlaintextIsServedOnLoopbackOnly(t *testing.T) {
	f := newFront(t, nil)
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Skip("no network:", err)
	}
	if err := f.server.Serve(l); !errors.Is(err, holdall.ErrRefused) || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("serve on %v: %v", l.Addr(), err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener is still open")
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	_, err := NewServer(Config{ReceiveTimeout: time.Hour})
	for _, field := range []string{"Put", "Get", "ReceiveTimeout"} {
		if !errors.Is(err, holdall.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

func TestWhatIsNotServedHereIsUnimplemented(t *testing.T) {
	f := newFront(t, func(c *Config) {
		c.IDs, c.Namespaces, c.Process, c.Cell, c.Disks, c.Volumes, c.Metadata = nil, nil, nil, nil, nil, nil, nil
	})
	c, ctx := f.dial(client.Options{Attempts: 1}), f.ctx()
	ids := []holdall.BlockID{{}}
	calls := map[string]func() error{
		"missing":  func() error { _, err := c.Missing(ctx, ids); return err },
		"cell":     func() error { _, err := c.CellStatus(ctx); return err },
		"process":  func() error { _, err := c.ProcessStats(ctx); return err },
		"purge":    func() error { _, err := c.PurgeStatus(ctx); return err },
		"release":  func() error { return c.ReleasePurge(ctx) },
		"disks":    func() error { _, err := c.Disks(ctx); return err },
		"disk":     func() error { _, err := c.Disk(ctx, "d"); return err },
		"add":      func() error { _, err := c.AddDisk(ctx, "d", ""); return err },
		"readmit":  func() error { _, err := c.ReadmitDisk(ctx, "d", nil); return err },
		"volumes":  func() error { return c.Volumes(ctx, nil) },
		"volume":   func() error { _, err := c.Volume(ctx, 1); return err },
		"seal":     func() error { _, err := c.SealVolumes(ctx); return err },
		"backup":   func() error { return c.BackupMetadata(ctx, nil) },
		"dump":     func() error { return c.DumpMetadata(ctx, nil) },
		"metadata": func() error { return c.ReleaseMetadata(ctx) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, holdall.ErrInvalid) || !strings.Contains(err.Error(), "does not serve") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMetricsCountCalls(t *testing.T) {
	r := prometheus.NewRegistry()
	f := newFront(t, func(c *Config) { c.Registerer = r })
	f.cell.limit = 10
	c, ctx := f.dial(client.Options{Attempts: 1}), f.ctx()
	_, err1 := c.Put(ctx, []byte("0123456789"))
	_, err2 := c.Put(ctx, []byte("0123456789a"))
	if err1 != nil || !errors.Is(err2, holdall.ErrExhausted) {
		t.Fatal(err1, err2)
	}
	m := f.server.metrics
	waitFor(t, "the call to be counted", func() bool { return counted(m.calls.WithLabelValues("Put", "OK")) == 1 })
	if n := counted(m.refused.WithLabelValues("ResourceExhausted")); n != 1 {
		t.Errorf("%v puts were refused, want 1", n)
	}
	families, err := r.Gather()
	if err != nil || len(families) < 5 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "holdall_wire_") || family.GetHelp() == "" {
			t.Errorf("metric %v", family)
		}
	}
}

// counted returns the value of a counter.
func counted(c prometheus.Counter) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return m.GetCounter().GetValue()
}
