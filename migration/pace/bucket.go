package pace

import (
	"math"
	"time"
)

// Bucket is a token bucket that goes into debt: what is taken is always granted,
// and the debt is the time to wait. golang.org/x/time/rate refuses what is larger
// than its burst, and the sizes of objects have no bound that a burst could have.
// The zero Bucket has no limit.
type Bucket struct {
	limited bool
	rate    float64 // a second
	burst   float64 // what an idle time saves up
	level   float64 // negative = debt
	at      time.Time
}

// SetRate changes the rate from now on; the debt stays. An idle bucket saves up
// what it gives in burst. Rates below zero are no limit.
func (b *Bucket) SetRate(now time.Time, rate float64, burst time.Duration) {
	b.settle(now)
	b.limited = rate >= 0
	b.rate, b.burst = rate, max(rate, 0)*burst.Seconds()
	b.level = min(b.level, b.burst)
}

// settle adds what the time since the last call has earned.
func (b *Bucket) settle(now time.Time) {
	if elapsed := now.Sub(b.at); b.limited && elapsed > 0 {
		b.level = min(b.level+b.rate*elapsed.Seconds(), b.burst)
	}
	b.at = now
}

// Take takes n and returns how long the taker has to wait for it. At a rate of
// zero that is Forever: the rate has to change first.
func (b *Bucket) Take(now time.Time, n float64) time.Duration {
	if !b.limited {
		return 0
	}
	b.settle(now)
	b.level -= n
	return b.Wait(now)
}

// Forever is a wait that only another rate can end.
const Forever = time.Duration(math.MaxInt64)

// Wait returns how long it takes until there is no debt.
func (b *Bucket) Wait(now time.Time) time.Duration {
	if !b.limited {
		return 0
	}
	b.settle(now)
	switch seconds := -b.level / b.rate; {
	case b.level >= 0 && b.rate > 0:
		return 0
	case b.rate == 0 || seconds > float64(Forever)/float64(time.Second)/2:
		return Forever
	default:
		return time.Duration(math.Ceil(seconds * float64(time.Second)))
	}
}
