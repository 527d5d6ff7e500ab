package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
	"github.com/prometheus/client_golang/prometheus"
)

// tally counts what a voter does.
type tally struct {
	mutations *prometheus.CounterVec
	seconds   prometheus.Histogram
	flushes   *prometheus.CounterVec
}

// Outcomes of mutations and flushes, as label values.
const (
	outcomeDone   = "done"
	outcomeFailed = "failed"
)

func newTally() tally {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdall_metadata_" + name, Help: help}, []string{"outcome"})
	}
	return tally{
		mutations: counter("mutations_total", "Mutations answered (refusals are answers), and those that failed."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "holdall_metadata_mutation_seconds", Help: "Time from a mutation's call to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18),
		}),
		flushes: counter("flushes_total", "Flushes of the state."),
	}
}

func outcomeOf(err error) string {
	if err != nil {
		return outcomeFailed
	}
	return outcomeDone
}

// metrics returns what a voter shows of itself. Each is read when it is
// scraped: nothing is counted twice.
func (r *replica) metrics() []prometheus.Collector {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "holdall_metadata_" + name, Help: help}, f)
	}
	view := func(read func(*state) float64) func() float64 {
		return func() float64 {
			if r.ops.enter() != nil {
				return -1
			}
			defer r.ops.exit()
			st := r.fsm.hold()
			defer st.release()
			return read(st)
		}
	}
	cell := func(pick func(*Cell) float64) func() float64 {
		return view(func(st *state) float64 {
			c, err := readCell(st.db)
			if err != nil {
				return -1
			}
			return pick(&c)
		})
	}
	return []prometheus.Collector{
		r.tally.mutations, r.tally.seconds, r.tally.flushes,
		gauge("leader", "1 while this voter leads.", func() float64 {
			term, _ := r.lead.get()
			return one(term != 0)
		}),
		gauge("failed", "1 once this voter can go on no more.", func() float64 { return one(r.dead.err() != nil) }),
		gauge("applied_index", "Raft index of the last entry applied.", func() float64 { return float64(r.fsm.applied.load()) }),
		gauge("flushed_index", "Raft index up to which the state is durable on its own.",
			view(func(st *state) float64 { return float64(st.flushed.Load().index) })),
		gauge("log_entries", "Entries in the Raft log.", func() float64 { return float64(r.log.length()) }),
		gauge("state_bytes", "Bytes of the state on disk.",
			view(func(st *state) float64 { return float64(st.db.Metrics().DiskSpaceUsage()) })),
		gauge("blocks", "Rows of blocks, trashed ones too.", cell(func(c *Cell) float64 { return float64(c.Blocks) })),
		gauge("live_blocks", "Rows of blocks not in trash.", cell(func(c *Cell) float64 { return float64(c.Live) })),
		gauge("live_bytes", "Bytes of blocks not in trash.", cell(func(c *Cell) float64 { return float64(c.LiveBytes) })),
		gauge("volumes", "Rows of volumes.", cell(func(c *Cell) float64 { return float64(c.Volumes) })),
		gauge("unflushed_changes", "Changes that wait to be written to the journal on disks.", cell(func(c *Cell) float64 {
			return float64(c.LastChange + 1 - c.FirstChange)
		})),
		gauge("quarantine", "1 while purge and free are off after a rebuild.", cell(func(c *Cell) float64 { return one(c.Quarantine != "") })),
		gauge("breaker_tripped", "1 while the purge breaker holds purging back.", cell(func(c *Cell) float64 { return one(c.Breaker.Tripped) })),
	}
}

// registerMetrics shows the metrics until the voter is closed.
func (r *replica) registerMetrics() error {
	if r.cfg.Registerer == nil {
		return nil
	}
	for _, c := range r.metrics() {
		if err := r.cfg.Registerer.Register(c); err != nil {
			return fmt.Errorf("metadata: register metrics: %w: %w", err, holdall.ErrInvalid)
		}
		r.shown = append(r.shown, c)
	}
	return nil
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
