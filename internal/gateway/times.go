package gateway

import (
	"slices"
	"sync"
	"time"
)

// appendTimes knows how long appends take, and so how long is too long: ten
// times the median, within bounds.
type appendTimes struct {
	min, max time.Duration

	mu     sync.Mutex // guards all below
	recent [128]time.Duration
	n      int // appends seen
	limit  time.Duration
}

// lateFactor is how many medians a shard is waited for.
const lateFactor = 10

func newAppendTimes(min, max time.Duration) *appendTimes {
	return &appendTimes{min: min, max: max, limit: max}
}

func (t *appendTimes) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent[t.n%len(t.recent)] = d
	t.n++
	if t.n%32 == 0 {
		seen := slices.Clone(t.recent[:min(t.n, len(t.recent))])
		slices.Sort(seen)
		t.limit = min(max(lateFactor*seen[len(seen)/2], t.min), t.max)
	}
}

// timeout returns how long a shard may take to become durable.
func (t *appendTimes) timeout() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limit
}

// readTimes knows how long reads take at present, and decides which are hedged:
// few, and none that would only make long queues longer.
type readTimes struct {
	mu     sync.Mutex // guards all below
	recent [256]time.Duration
	n      int
	p95    time.Duration
	tokens float64 // hedges that may start
	active int     // reads under way
}

const (
	hedgeShare     = 0.05 // of reads, at most
	hedgeBurst     = 10
	hedgeMinSample = 64
	hedgeMaxQueue  = 4 // reads under way for each disk, above which nothing is hedged
)

func newReadTimes() *readTimes { return &readTimes{} }

// begin counts a read and returns how long it may take before it is hedged;
// zero = never.
func (t *readTimes) begin(floor time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active++
	t.tokens = min(t.tokens+hedgeShare, hedgeBurst)
	if t.n < hedgeMinSample {
		return 0
	}
	return max(2*t.p95, floor)
}

// patience returns how long a rebuild waits for one of its reads before it asks
// another disk in its place.
func (t *readTimes) patience(floor time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return 4 * max(t.p95, floor)
}

// A read that takes hangP95s times what reads take, and at least hangFloors
// times the least delay of a hedge (2 s by default), is taken for one that hangs.
const (
	hangP95s   = 16
	hangFloors = 40
)

// hang returns how long a read may take before others are read in its place,
// whatever hedges there were.
func (t *readTimes) hang(floor time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(hangP95s*t.p95, hangFloors*floor)
}

// hedge takes leave to hedge one read.
func (t *readTimes) hedge(disks int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tokens < 1 || t.active > hedgeMaxQueue*max(disks, 1) {
		return false
	}
	t.tokens--
	return true
}

// end counts the end of a read; took is zero if it tells nothing of the disk.
func (t *readTimes) end(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active--
	if took == 0 {
		return
	}
	t.recent[t.n%len(t.recent)] = took
	t.n++
	if t.n%64 == 0 {
		seen := slices.Clone(t.recent[:min(t.n, len(t.recent))])
		slices.Sort(seen)
		t.p95 = seen[len(seen)*95/100]
	}
}
