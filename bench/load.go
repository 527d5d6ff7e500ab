package bench

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdall/holdall/client"
)

// Result is what a workload came to. Names in JSON are a contract with scripts;
// MB are 10^6 bytes.
type Result struct {
	OpsPerSecond float64 `json:"ops_per_s"` // that went well
	MBPerSecond  float64 `json:"mb_per_s"`
	P50          float64 `json:"p50_ms"`
	P99          float64 `json:"p99_ms"`
	P999         float64 `json:"p999_ms"`
	Errors       int64   `json:"errors"`
	ClientCPU    float64 `json:"client_cpu_s_per_gib"`
	ServerCPU    float64 `json:"server_cpu_s_per_gib"` // 0 where the server was restarted
	ServerRSS    uint64  `json:"server_rss_bytes"`     // the most that was seen

	Ops     int64   `json:"ops"` // that went well
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`

	first error // of those that failed
}

// load runs one operation after another in each of its workers.
type load struct {
	workers  int
	duration time.Duration // 0 = until the operations end it
	stats    func(context.Context) (*client.ProcessStats, error)
	patient  bool                           // goes on after errors
	restarts bool                           // the server may be away: what it used is told where it can be
	progress func(ops, bytes, errors int64) // nil = nobody asks
}

// errDone ends a worker.
type doneError struct{}

func (doneError) Error() string { return "done" }

// errorPause is how long a worker waits after an error: a server that is down
// refuses faster than it is worth asking.
const errorPause = 20 * time.Millisecond

// sampleEvery is how often progress is told and the server's memory looked at.
const sampleEvery = 500 * time.Millisecond

// tally is what all workers did so far.
type tally struct {
	ops, bytes, errors atomic.Int64
	once               sync.Once
	first              error
}

// run runs the load. begin returns worker i's operation, before time is taken.
func (l load) run(ctx context.Context, begin func(worker int) operation) (Result, error) {
	operations := make([]operation, l.workers)
	for i := range operations {
		operations[i] = begin(i)
	}
	before, err := l.stats(ctx)
	if err != nil && !l.restarts {
		return Result{}, err
	}
	var total tally
	var peak atomic.Uint64
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	started, cpu := time.Now(), cpuSeconds()
	until := started.Add(l.duration)
	if l.duration == 0 {
		until = started.Add(math.MaxInt64)
	}
	var watching, working sync.WaitGroup
	watching.Go(func() { l.watch(limited, &total, &peak) })
	took := make([][]time.Duration, l.workers)
	for i, f := range operations {
		working.Go(func() { took[i] = l.work(limited, f, until, &total) })
	}
	working.Wait()
	seconds := time.Since(started).Seconds()
	cpu = cpuSeconds() - cpu
	cancel()
	watching.Wait()
	after, err := l.stats(ctx)
	if err != nil && !l.restarts {
		return Result{}, err
	}
	r := Result{
		Ops: total.ops.Load(), Bytes: total.bytes.Load(), Errors: total.errors.Load(), Seconds: seconds,
		OpsPerSecond: float64(total.ops.Load()) / seconds, MBPerSecond: float64(total.bytes.Load()) / 1e6 / seconds,
		ServerRSS: peak.Load(), first: total.first,
	}
	gib := float64(r.Bytes) / (1 << 30)
	if gib > 0 {
		r.ClientCPU = cpu / gib
	}
	if after != nil {
		r.ServerRSS = max(r.ServerRSS, after.RSSBytes)
		if before != nil && before.Started.Equal(after.Started) && gib > 0 {
			r.ServerCPU = (after.CPUSeconds - before.CPUSeconds) / gib
		}
	}
	r.P50, r.P99, r.P999 = percentiles(slices.Concat(took...))
	return r, ctx.Err()
}

// work runs one worker and returns how long each operation that went well took.
func (l load) work(ctx context.Context, f operation, until time.Time, total *tally) (took []time.Duration) {
	for ctx.Err() == nil {
		began := time.Now()
		if !began.Before(until) {
			return took
		}
		n, err := f(ctx)
		switch {
		case err == doneError{}:
			return took
		case err == nil:
			took = append(took, time.Since(began))
			total.ops.Add(1)
			total.bytes.Add(int64(n))
		case ctx.Err() == nil:
			total.errors.Add(1)
			total.once.Do(func() { total.first = err })
			if !l.patient {
				return took
			}
			pause(ctx, errorPause)
		}
	}
	return took
}

// watch tells of progress, and looks at the server's memory, until ctx ends.
func (l load) watch(ctx context.Context, total *tally, peak *atomic.Uint64) {
	for pause(ctx, sampleEvery) {
		if s, err := l.stats(ctx); err == nil {
			peak.Store(max(peak.Load(), s.RSSBytes))
		}
		if l.progress != nil {
			l.progress(total.ops.Load(), total.bytes.Load(), total.errors.Load())
		}
	}
}

// pause waits for d and returns whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// percentiles returns the 50th, 99th and 99.9th of times, in milliseconds.
func percentiles(times []time.Duration) (p50, p99, p999 float64) {
	if len(times) == 0 {
		return 0, 0, 0
	}
	slices.Sort(times)
	at := func(share float64) float64 {
		return times[min(len(times)-1, int(share*float64(len(times))))].Seconds() * 1e3
	}
	return at(0.5), at(0.99), at(0.999)
}
