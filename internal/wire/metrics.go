package wire

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// metrics are the states of the front, by method and code: a few dozen series.
type metrics struct {
	calls       *prometheus.CounterVec   // method, code
	seconds     *prometheus.HistogramVec // method
	refused     *prometheus.CounterVec   // code
	connections prometheus.Gauge
	panics      prometheus.Counter
	unreturned  prometheus.Counter
}

func newMetrics(to prometheus.Registerer) (*metrics, error) {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "holdall", Subsystem: "wire", Name: name, Help: help}
	}
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts(opts("calls_total", "Calls that ended, by method and gRPC code.")), []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "holdall", Subsystem: "wire", Name: "call_seconds", Help: "Time from a call's headers to its end.",
			Buckets:                     prometheus.ExponentialBuckets(1e-4, 2, 16),
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"method"}),
		refused:     prometheus.NewCounterVec(prometheus.CounterOpts(opts("refused_total", "Puts refused before their bytes were read, by gRPC code.")), []string{"code"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts(opts("connections", "Open connections."))),
		panics:      prometheus.NewCounter(prometheus.CounterOpts(opts("panics_total", "Calls that panicked: each is a bug."))),
		unreturned:  prometheus.NewCounter(prometheus.CounterOpts(opts("buffers_unreturned_total", "Buffers that gRPC forgot with a broken connection and the garbage collector gave back."))),
	}
	if to == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.calls, m.seconds, m.refused, m.connections, m.panics, m.unreturned} {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// ended counts a call. name is that of a method in the table, so the labels are
// few.
func (m *metrics) ended(name string, code codes.Code, took time.Duration) {
	service, name, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if service == holdallv1.ObjectService_ServiceDesc.ServiceName {
		name = "Object" + name // blocks are put, too
	}
	m.calls.WithLabelValues(name, code.String()).Inc()
	m.seconds.WithLabelValues(name).Observe(took.Seconds())
}
