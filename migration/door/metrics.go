package door

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// metrics are the numbers that /metrics shows of the door.
type metrics struct {
	writes, misses, reads, shadows *prometheus.CounterVec
	shadowSeconds, writeSeconds    *prometheus.HistogramVec
	fenced, silences, steps        prometheus.Counter
	mismatches, skipped, unnoted   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "holdall_migration_" + name, Help: help})
		all = append(all, c)
		return c
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdall_migration_" + name, Help: help}, labels)
		all = append(all, c)
		return c
	}
	seconds := func(name, help string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "holdall_migration_" + name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16), NativeHistogramBucketFactor: 1.1}, []string{"side"})
		all = append(all, h)
		return h
	}
	m := &metrics{
		writes:        vector("writes_total", "Writes to buckets under migration answered, by call and outcome.", "call", "outcome"),
		misses:        vector("misses_total", "Writes that one side missed, noted in the outbox, by side.", "side"),
		reads:         vector("reads_total", "Reads of buckets under migration, by the side that was read; source_fallback: in flipped, a key that the cell has never heard of.", "side"),
		shadows:       vector("shadow_reads_total", "Reads compared with the other side, in shadow, by outcome.", "outcome"),
		shadowSeconds: seconds("shadow_read_seconds", "Time of reads that were compared, in shadow, by side."),
		writeSeconds:  seconds("write_seconds", "Time until a side had a write, the body's included, by side."),
		fenced:        counter("fenced_calls_total", "Calls refused because metadata had not heard of this door for too long."),
		silences:      counter("silences_total", "Times that this door was silent for so long that steps may have been taken without it."),
		steps:         counter("steps_total", "Steps of migrations that this door held its calls for."),
		mismatches:    counter("mismatches_total", "Reads in shadow whose two sides differed."),
		skipped:       counter("list_source_failures_total", "Listings in flipped that could not ask the source for keys that the cell has never heard of."),
		unnoted:       counter("note_retries_total", "Notes to metadata about a write that had to be tried again."),
	}
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

// wrote counts a write that is answered.
func (m *metrics) wrote(call string, err *error) {
	m.writes.WithLabelValues(call, outcomeOf(*err)).Inc()
}

// took counts the time that a side took for a write.
func (m *metrics) took(side metadata.Side, began time.Time) {
	m.writeSeconds.WithLabelValues(side.String()).Observe(time.Since(began).Seconds())
}

// outcomeOf is the label of an error's kind.
func outcomeOf(err error) string {
	for _, o := range []struct {
		kind  error
		label string
	}{
		{holdall.ErrNotFound, "not_found"}, {holdall.ErrCondition, "condition"}, {holdall.ErrInvalid, "invalid"}, {holdall.ErrExhausted, "exhausted"},
		{holdall.ErrRefused, "refused"}, {holdall.ErrUnavailable, "unavailable"},
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
