package worker

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdall/holdall/metadata"
)

// metrics are what /metrics shows of the work; where each migration stands, states
// shows.
type metrics struct {
	copied, copiedBytes, compared, comparedBytes *prometheus.CounterVec
	differences, quarantined                     *prometheus.CounterVec
	repairs                                      *prometheus.CounterVec
	lapsed                                       prometheus.Counter
}

func newMetrics(r *Runner, reg prometheus.Registerer) (*metrics, error) {
	all := []prometheus.Collector{states{r}}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdall_migration_" + name, Help: help}, labels)
		all = append(all, c)
		return c
	}
	m := &metrics{
		copied:        vector("copied_objects_total", "Objects that backfill copied.", "bucket"),
		copiedBytes:   vector("copied_bytes_total", "Bytes of objects that backfill copied.", "bucket"),
		compared:      vector("compared_objects_total", "Objects that verification read on both sides and found equal.", "bucket"),
		comparedBytes: vector("compared_bytes_total", "Bytes of those, counted once.", "bucket"),
		differences:   vector("differences_total", "Keys that verification found to differ.", "bucket"),
		quarantined:   vector("quarantined_total", "Times that backfill could not copy a key, or not whole.", "bucket"),
		repairs:       vector("repairs_total", "Entries of outboxes that were tried, by outcome.", "outcome"),
		lapsed:        prometheus.NewCounter(prometheus.CounterOpts{Name: "holdall_migration_lapsed_writes_total", Help: "Writes of doors that died, noted to be repaired."}),
	}
	all = append(all, m.lapsed)
	if reg == nil {
		return m, nil
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("worker: metrics: %w", err)
		}
	}
	return m, nil
}

// states shows where each migration stands, as metadata say when they are asked.
type states struct{ r *Runner }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("holdall_migration_"+name, help, labels, nil)
}

// Describe sends nothing: the collector is unchecked, what it shows depends on the
// migrations.
func (states) Describe(chan<- *prometheus.Desc) {}

// Collect reads the table of migrations.
func (s states) Collect(out chan<- prometheus.Metric) {
	all, err := s.r.cfg.Migrations.Migrations()
	if err != nil {
		return // a metric that is missing is what says so
	}
	now := s.r.cfg.Now()
	for i := range all {
		m := &all[i]
		name := s.r.label(m)
		gauge := func(metric, help string, v float64) {
			out <- prometheus.MustNewConstMetric(desc(metric, help, "bucket"), prometheus.GaugeValue, v, name)
		}
		gauge("state", "Where a migration is: 1 assess, 2 mirror, 3 shadow, 4 flipped, 5 cut-over, 6 retired.", float64(m.State))
		gauge("outbox_keys", "Keys that one side missed and that wait to be repaired.", float64(m.Entries))
		gauge("quarantine_keys", "Keys that could not be copied, or not whole, and are not excepted.", float64(m.Quarantined))
		gauge("intents", "Writes to both sides under way.", float64(m.Intents))
		gauge("clean_passes", "Full verifications in a row without a difference.", float64(m.Evidence.Passes))
		gauge("findings", "Differences found since the migration began.", float64(m.Evidence.Mismatches))
		clean := 0.0
		if !m.Evidence.CleanSince.IsZero() {
			clean = now.Sub(m.Evidence.CleanSince).Seconds()
		}
		gauge("clean_seconds", "How long the clean-run clock has run.", clean)
		step := 0.0
		if m.Step != 0 {
			step = now.Sub(m.Announced).Seconds()
		}
		gauge("step_seconds", "How long a step has been announced and not done; nobody writes the bucket meanwhile.", step)
	}
}

// label is a bucket's name as metrics have it: with its namespace, unless that is
// the default one.
func (r *Runner) label(m *metadata.Migration) string {
	name, err := r.nameOf(r.base, m)
	if err != nil {
		return fmt.Sprint(uint64(m.Bucket))
	}
	if space, err := r.cfg.Names.NamespaceByID(m.Namespace); err == nil && space.Name != "default" {
		return space.Name + "/" + name
	}
	return name
}
