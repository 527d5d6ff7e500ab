package pace

import (
	"math"
	"time"
)

// Outcome is how a request ended, as far as pace is concerned.
type Outcome uint8

// The outcomes of requests.
const (
	Done      Outcome = iota // the server answered, whatever it said
	Throttled                // 503 SlowDown, 429: too many for this prefix
	Failed                   // no answer, or 5xx: says nothing about load
)

// Window is how many requests may be in flight for one prefix: one more for each
// round of successes, half as many after a SlowDown (additive increase,
// multiplicative decrease, as TCP does; Chiu and Jain 1989).
type Window struct {
	limit    float64
	inFlight int
	calm     time.Time // before this, decreases are one with the last, and nothing grows
}

const (
	firstWindow = 4           // requests: a prefix that nobody used takes this many at once
	halved      = 0.5         // what a SlowDown leaves
	calmTime    = time.Second // answers to requests that were in flight when it came tell nothing new
)

// NewWindow returns the window of a prefix that nobody used yet.
func NewWindow() Window { return Window{limit: firstWindow} }

// Open says whether one more may go.
func (w *Window) Open() bool { return float64(w.inFlight) < math.Floor(w.limit) }

// Begin notes that one more goes.
func (w *Window) Begin() { w.inFlight++ }

// End notes how one went. most bounds the window.
func (w *Window) End(now time.Time, o Outcome, most int) {
	full := float64(w.inFlight) >= math.Floor(w.limit)
	w.inFlight--
	switch {
	case o == Throttled && !now.Before(w.calm):
		w.limit, w.calm = max(1, w.limit*halved), now.Add(calmTime)
	case o == Done && full && !now.Before(w.calm):
		// A window that is not used up proves nothing about a larger one, and
		// after a decrease it stays as it is for a while.
		w.limit = min(w.limit+1/w.limit, float64(most))
	}
}

// Limit returns how many may be in flight.
func (w *Window) Limit() int { return int(w.limit) }

// maxPrefixes bounds the windows that are remembered: S3 splits a bucket into far
// fewer partitions, and one that is forgotten begins again.
const maxPrefixes = 1024

// Gate is the windows of all prefixes under one bound. It is not for use by many
// goroutines at once.
type Gate struct {
	most     int // in flight in all, and for one prefix
	inFlight int
	windows  map[string]*Window
}

// NewGate returns a gate for at most most requests at once.
func NewGate(most int) *Gate { return &Gate{most: most, windows: map[string]*Window{}} }

// Enter says whether a request for a prefix may go now, and counts it if so.
func (g *Gate) Enter(prefix string) bool {
	if g.inFlight >= g.most {
		return false
	}
	w := g.windows[prefix]
	if w == nil {
		g.forget()
		fresh := NewWindow()
		w = &fresh
		g.windows[prefix] = w
	}
	if !w.Open() {
		return false
	}
	w.Begin()
	g.inFlight++
	return true
}

// forget makes room for one more window, of those that nobody uses.
func (g *Gate) forget() {
	for prefix, w := range g.windows {
		if len(g.windows) < maxPrefixes {
			return
		}
		if w.inFlight == 0 {
			delete(g.windows, prefix)
		}
	}
}

// Leave notes how a request that entered ended.
func (g *Gate) Leave(now time.Time, prefix string, o Outcome) {
	g.inFlight--
	g.windows[prefix].End(now, o, g.most)
}

// Limit returns how many may be in flight for a prefix.
func (g *Gate) Limit(prefix string) int {
	if w := g.windows[prefix]; w != nil {
		return min(w.Limit(), g.most)
	}
	return min(firstWindow, g.most)
}
