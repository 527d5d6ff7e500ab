package s3front

import (
	"errors"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/versity/versitygw/s3err"
)

// metrics are the numbers that /metrics shows of a front door. It is also
// versitygw's metrics manager, which alone knows what operation a request was.
type metrics struct {
	requests       *prometheus.CounterVec
	seconds        *prometheus.HistogramVec
	received, sent prometheus.Counter
	inWork         prometheus.Gauge
}

func newMetrics(f *Front, reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdall_s3_requests_total",
			Help: "Requests answered, by operation and S3's error code."}, []string{"operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "holdall_s3_request_seconds",
			Help: "Time from a request's header to its answer's, by operation.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16), NativeHistogramBucketFactor: 1.1}, []string{"operation"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Name: "holdall_s3_received_bytes_total", Help: "Bytes of objects and parts received."}),
		sent:     prometheus.NewCounter(prometheus.CounterOpts{Name: "holdall_s3_sent_bytes_total", Help: "Bytes of objects sent."}),
		inWork:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "holdall_s3_requests_in_work", Help: "Requests being answered."}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.received, m.sent, m.inWork,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "holdall_s3_connections", Help: "Connections that are open."}, func() float64 { return float64(f.connections()) }),
	} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// operationKey is where a request's context holds what Send was told.
const operationKey = "holdall-operation"

// Send is called by versitygw once for every request that it answers.
func (m *metrics) Send(ctx fiber.Ctx, err error, action string, _ int64, _ int) {
	operation := strings.TrimPrefix(action, "s3_")
	code := "OK"
	if err != nil {
		code = "InternalError"
		if known := s3err.S3Error(nil); errors.As(err, &known) {
			code = known.BaseError().Code
		}
	}
	m.requests.WithLabelValues(operation, code).Inc()
	ctx.Locals(operationKey, [2]string{operation, code})
}

// Close has nothing to do.
func (m *metrics) Close() {}
