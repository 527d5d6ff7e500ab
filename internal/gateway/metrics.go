package gateway

import (
	"errors"

	"github.com/holdall/holdall"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the numbers that /metrics shows of a gateway.
type metrics struct {
	puts, gets, takeovers, damages        *prometheus.CounterVec
	putBytes, getBytes, dedups, cacheHits prometheus.Counter
	refused, stripes, packBytes           prometheus.Counter
	shardBytes, rewrites, seals           prometheus.Counter
	failedShards, lateShards, badEncodes  prometheus.Counter
	hedges, rebuilds, badRebuilds, losses prometheus.Counter
	putSeconds, getSeconds                prometheus.Histogram
}

func newMetrics(g *Gateway, reg prometheus.Registerer) (*metrics, error) {
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "holdall_gateway_" + name, Help: help})
		all = append(all, c)
		return c
	}
	vector := func(name, label, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdall_gateway_" + name, Help: help}, []string{label})
		all = append(all, c)
		return c
	}
	seconds := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "holdall_gateway_" + name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16), NativeHistogramBucketFactor: 1.1})
		all = append(all, h)
		return h
	}
	gauge := func(name, help string, f func() float64) {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "holdall_gateway_" + name, Help: help}, f))
	}
	m := &metrics{
		puts:         vector("puts_total", "outcome", "Puts answered, by outcome."),
		gets:         vector("gets_total", "outcome", "Gets answered, by outcome."),
		takeovers:    vector("takeovers_total", "outcome", "Volumes whose lapsed lease was taken, by what became of them."),
		damages:      vector("bad_shards_total", "kind", "Shards that a read could not use."),
		putBytes:     counter("put_bytes_total", "Bytes of blocks written for puts that were acknowledged."),
		getBytes:     counter("get_bytes_total", "Bytes returned by gets."),
		dedups:       counter("dedups_total", "Puts acknowledged without writing their bytes."),
		cacheHits:    counter("cache_hits_total", "Gets served from memory."),
		refused:      counter("refused_puts_total", "Puts refused because the memory for puts was in use."),
		stripes:      counter("stripes_total", "Stripes committed."),
		packBytes:    counter("pack_bytes_total", "Bytes of packs committed."),
		shardBytes:   counter("shard_bytes_total", "Bytes of records committed, all shards."),
		rewrites:     counter("rewrites_total", "Stripes that went to another volume because one failed."),
		seals:        counter("seals_total", "Volumes sealed by this gateway."),
		failedShards: counter("failed_shards_total", "Shards that were not written."),
		lateShards:   counter("late_shards_total", "Shards that were not durable in time."),
		badEncodes:   counter("bad_encodes_total", "Encodings that failed their check: suspect this machine."),
		hedges:       counter("hedges_total", "Reads hedged by a degraded read."),
		rebuilds:     counter("rebuilds_total", "Degraded reads begun."),
		badRebuilds:  counter("bad_rebuilds_total", "Degraded reads whose first result did not hash to the id."),
		losses:       counter("losses_total", "Gets that proved a block destroyed."),
		putSeconds:   seconds("put_seconds", "Time from the last byte of a block to its acknowledgement."),
		getSeconds:   seconds("get_seconds", "Time of a get."),
	}
	gauge("put_bytes_in_flight", "Bytes of puts in flight.", func() float64 { return float64(g.receive.inUse()) })
	gauge("get_bytes_in_flight", "Bytes of gets in flight.", func() float64 { return float64(g.send.inUse()) })
	gauge("cache_bytes", "Bytes of blocks kept in memory.", func() float64 { return float64(g.blocks.bytes()) })
	gauge("open_volumes", "Volumes this gateway may append to.", func() float64 {
		return float64(len(g.user.volumes.ids()) + len(g.system.volumes.ids()))
	})
	gauge("unsealed_volumes", "Volumes on their way to their footers.", func() float64 { return float64(g.footers.waiting()) })
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

// outcome is the label of an error's kind.
func outcome(err error) string {
	for _, o := range []struct {
		kind  error
		label string
	}{
		{holdall.ErrInvalid, "invalid"}, {holdall.ErrNotFound, "not_found"}, {holdall.ErrExhausted, "exhausted"},
		{holdall.ErrDataLoss, "data_loss"}, {holdall.ErrUnavailable, "unavailable"},
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
