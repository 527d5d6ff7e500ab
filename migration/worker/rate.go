package worker

import (
	"time"

	"github.com/holdall/holdall"
)

// rate measures a job over the last minute.
type rate struct {
	samples []sample
	last    Job
}

// sample is what was done by a moment.
type sample struct {
	at          time.Time
	keys, bytes int64
}

const rateWindow = time.Minute

// note takes what a job has come to.
func (r *rate) note(now time.Time, j Job) {
	if j.Run != r.last.Run {
		r.samples = nil
	}
	r.last = j
	r.samples = append(r.samples, sample{now, j.Counts.settled(), j.Counts.Bytes})
	for len(r.samples) > 2 && now.Sub(r.samples[1].at) >= rateWindow {
		r.samples = r.samples[1:]
	}
}

// settled is how many keys need nothing any more.
func (c *Counts) settled() int64 { return c.Same + c.Copied + c.Taken + c.Gone + c.Faults + c.Excepted }

// Rate is how fast a job is.
type Rate struct {
	Keys, Bytes float64       // a second
	Left        time.Duration // until the pass ends at that rate; 0 = not known
}

// now returns the rate, zero while it is not known.
func (r *rate) now() (out Rate) {
	if len(r.samples) < 2 {
		return out
	}
	first, last := r.samples[0], r.samples[len(r.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return out
	}
	out.Keys, out.Bytes = float64(last.keys-first.keys)/seconds, float64(last.bytes-first.bytes)/seconds
	c := r.last.Counts
	if left := c.TotalKeys - c.settled(); out.Keys > 0 && left > 0 {
		out.Left = time.Duration(float64(left) / out.Keys * float64(time.Second))
	}
	if left := c.TotalBytes - c.Bytes; c.Same == 0 && out.Bytes > 0 && left > 0 { // all of it is being read
		out.Left = max(out.Left, time.Duration(float64(left)/out.Bytes*float64(time.Second)))
	}
	return out
}

// live takes what a running job has come to.
func (r *Runner) live(bucket holdall.BucketID, name string, j Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := taskKey{bucket, name}
	if r.rates[key] == nil {
		r.rates[key] = &rate{}
	}
	r.rates[key].note(r.cfg.Now(), j)
}
