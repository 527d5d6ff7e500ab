package volume

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what disks do. It is shared by all disks of a process.
type Metrics struct {
	reads, readErrors, writes, writeBytes, syncs *prometheus.CounterVec
	entries, records, faults                     *prometheus.CounterVec
	active                                       *prometheus.GaugeVec
}

// NewMetrics returns Metrics published through reg; nil = not published.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdall_volume_" + name, Help: help}, labels)
	}
	m := &Metrics{
		reads:      counter("device_reads_total", "Reads of a disk, by what they were for.", "disk", "use"),
		readErrors: counter("device_read_errors_total", "Reads of a disk that failed.", "disk"),
		writes:     counter("device_writes_total", "Writes to a disk, by what they were for. A zone's header goes with what is written after it.", "disk", "use"),
		writeBytes: counter("device_written_bytes_total", "Bytes written to a disk for extents.", "disk"),
		syncs:      counter("device_syncs_total", "Syncs of a disk for extents.", "disk"),
		entries:    counter("superblock_entries_total", "Frames written to a disk's superblock log: each is one write and one sync.", "disk"),
		records:    counter("records_total", "Records made durable.", "disk"),
		faults:     counter("faults_total", "Places found where bytes were not what they should be.", "disk"),
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "holdall_volume_disk_active",
			Help: "1 while a disk takes writes, 0 since it failed or went."}, []string{"disk"}),
	}
	if reg != nil {
		reg.MustRegister(m.reads, m.readErrors, m.writes, m.writeBytes, m.syncs, m.entries, m.records, m.faults, m.active)
	}
	return m
}

// use says what a device call is for.
type use int

const (
	useBlock  use = iota // a read that a caller asked for
	useTable             // a footer
	useIndex             // record headers of an open extent
	useScan              // a sequential, verified read
	useRecord            // an appended record
	useFooter            // a footer written
	uses
)

var useNames = [uses]string{"block", "table", "index", "scan", "record", "footer"}

// diskMetrics are the counters of one disk.
type diskMetrics struct {
	reads, writes                          [uses]prometheus.Counter
	readErrors, writeBytes, syncs, entries prometheus.Counter
	records, faults                        prometheus.Counter
	active                                 prometheus.Gauge
}

func (m *Metrics) disk(id string) *diskMetrics {
	d := &diskMetrics{
		readErrors: m.readErrors.WithLabelValues(id),
		writeBytes: m.writeBytes.WithLabelValues(id),
		syncs:      m.syncs.WithLabelValues(id),
		entries:    m.entries.WithLabelValues(id),
		records:    m.records.WithLabelValues(id),
		faults:     m.faults.WithLabelValues(id),
		active:     m.active.WithLabelValues(id),
	}
	for u := range uses {
		if u < useRecord {
			d.reads[u] = m.reads.WithLabelValues(id, useNames[u])
		} else {
			d.writes[u] = m.writes.WithLabelValues(id, useNames[u])
		}
	}
	return d
}
