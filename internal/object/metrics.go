package object

import (
	"errors"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the numbers that /metrics shows of objects.
type metrics struct {
	puts, gets, others                  *prometheus.CounterVec
	putBytes, getBytes                  prometheus.Counter
	nodes, gone, missedAheads, mismatch prometheus.Counter
	putSeconds                          prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "holdall_object_" + name, Help: help})
		all = append(all, c)
		return c
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdall_object_" + name, Help: help}, labels)
		all = append(all, c)
		return c
	}
	m := &metrics{
		puts:         vector("puts_total", "Puts of objects and of parts answered, by outcome.", "outcome"),
		gets:         vector("gets_total", "Reads of objects that ended, by outcome.", "outcome"),
		others:       vector("calls_total", "Other calls answered, by call and outcome.", "call", "outcome"),
		putBytes:     counter("put_bytes_total", "Bytes of objects and of parts that were committed."),
		getBytes:     counter("get_bytes_total", "Bytes of objects read."),
		nodes:        counter("nodes_total", "Manifest nodes committed, roots not counted."),
		gone:         counter("gone_blocks_total", "Blocks that were gone when their manifest was committed."),
		missedAheads: counter("missed_aheads_total", "Blocks not read ahead because the memory for gets was in use."),
		mismatch:     counter("bad_manifests_total", "Reads that found a manifest which does not fit its object."),
		putSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "holdall_object_put_seconds", Help: "Time of a put of an object or a part, its body's included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 18), NativeHistogramBucketFactor: 1.1}),
	}
	all = append(all, m.putSeconds)
	if reg == nil {
		return m, nil
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// put counts a put that began at a time and is answered now.
func (m *metrics) put(began time.Time, o *metadata.Object, err *error) { m.stored(began, o.Size, *err) }

func (m *metrics) part(began time.Time, p *metadata.Part, err *error) { m.stored(began, p.Size, *err) }

func (m *metrics) stored(began time.Time, size int64, err error) {
	m.puts.WithLabelValues(outcome(err)).Inc()
	if err == nil {
		m.putBytes.Add(float64(size))
		m.putSeconds.Observe(time.Since(began).Seconds())
	}
}

// call counts another call.
func (m *metrics) call(name string, err *error) { m.others.WithLabelValues(name, outcome(*err)).Inc() }

// outcome is the label of an error's kind.
func outcome(err error) string {
	for _, o := range []struct {
		kind  error
		label string
	}{
		{holdall.ErrNotFound, "not_found"}, {holdall.ErrCondition, "condition"}, {holdall.ErrInvalid, "invalid"}, {holdall.ErrExhausted, "exhausted"},
		{holdall.ErrExists, "exists"}, {holdall.ErrRefused, "refused"}, {holdall.ErrDataLoss, "data_loss"}, {holdall.ErrCorrupt, "corrupt"},
		{holdall.ErrUnavailable, "unavailable"},
	} {
		if errors.Is(err, o.kind) {
			return o.label
		}
	}
	if err == nil {
		return "ok"
	}
	return "other"
}
