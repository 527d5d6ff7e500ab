package upkeep

import "github.com/prometheus/client_golang/prometheus"

// metrics is what upkeep tells of itself.
type metrics struct {
	purged        prometheus.Counter
	versions      prometheus.Counter
	nodes         prometheus.Counter
	stuckNodes    prometheus.Counter
	uploads       prometheus.Counter
	breaker       prometheus.Gauge
	footers       prometheus.Counter
	freedVolumes  prometheus.Counter
	freedExtents  prometheus.Counter
	disagreements prometheus.Counter
	unproved      prometheus.Counter
	flushed       prometheus.Counter
	unflushed     prometheus.Gauge
	failures      prometheus.Counter
	waiting       *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "holdall_upkeep_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "holdall_upkeep_" + name, Help: help})
	}
	m := &metrics{
		purged:        counter("purged_blocks_total", "Rows removed from trash."),
		versions:      counter("purged_versions_total", "Versions of objects, and delete markers, removed from trash."),
		nodes:         counter("released_nodes_total", "Manifest nodes removed, and what they refer to released."),
		stuckNodes:    counter("node_failures_total", "Times that a manifest node in trash could not be released. They are tried again; what they refer to stays."),
		uploads:       counter("released_uploads_total", "Ended multipart uploads whose parts were released."),
		breaker:       gauge("purge_breaker_tripped", "1 while the purge breaker stops purging. Alarm."),
		footers:       counter("footers_total", "Footers written to extents that lacked theirs."),
		freedVolumes:  counter("freed_volumes_total", "Volumes freed."),
		freedExtents:  counter("freed_extents_total", "Extents whose zones were given back."),
		disagreements: counter("free_disagreements_total", "Times that the two proofs of a free, or its referee, disagreed. Alarm: nothing was freed."),
		unproved:      counter("free_unproved_total", "Volumes not freed because their directories could not all be read."),
		flushed:       counter("journal_changes_total", "Changes written to the journal on disks."),
		unflushed:     gauge("journal_unflushed_changes", "Changes that a rebuild from disks would not know."),
		failures:      counter("failures_total", "Rounds and flushes that failed; they are tried again."),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "holdall_upkeep_waiting", Help: "Work planned at the last look, by kind."},
			[]string{"kind"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.purged, m.versions, m.nodes, m.stuckNodes, m.uploads, m.breaker, m.footers, m.freedVolumes, m.freedExtents, m.disagreements, m.unproved, m.flushed, m.unflushed, m.failures, m.waiting} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// plan notes how much work a plan has.
func (m *metrics) plan(p plan) {
	m.waiting.WithLabelValues("footer").Set(float64(len(p.footers)))
	m.waiting.WithLabelValues("inspect").Set(float64(len(p.inspect)))
	m.waiting.WithLabelValues("hold").Set(float64(len(p.trash)))
	m.waiting.WithLabelValues("reset").Set(float64(len(p.reset)))
}
