package pace

import (
	"fmt"
	"sync"
	"time"

	"github.com/holdall/holdall"
)

// Class is a kind of request as S3 charges for it.
type Class uint8

// The classes of requests.
const (
	Read  Class = iota // GET, HEAD
	List               // every page of a listing
	Write              // PUT, COPY, POST
	Free               // DELETE, and what is not charged
	Classes
)

// saved is how much of an idle time a rate makes up for: short, so that a limit
// holds for any few seconds and not only over an hour.
const saved = 250 * time.Millisecond

// Prices are what requests and bytes cost, in one currency.
type Prices struct {
	Request [Classes]float64 // each
	Byte    float64          // each byte read
}

// Limits are what a Budget keeps to. Take NoLimits and change it.
type Limits struct {
	Bandwidth Schedule // bytes a second
	Requests  Schedule // requests a second
	Money     float64  // in all; negative = no limit
}

// NoLimits limits nothing.
func NoLimits() Limits {
	return Limits{Bandwidth: Always(Unlimited), Requests: Always(Unlimited), Money: Unlimited}
}

// Spent is what was asked and read so far. It outlives the process: a Budget
// begins with what runs before it spent.
type Spent struct {
	Requests [Classes]int64 `json:"requests"`
	Bytes    int64          `json:"bytes"`
}

// Cost returns what was spent in money.
func (s *Spent) Cost(p Prices) float64 {
	cost := float64(s.Bytes) * p.Byte
	for c, n := range s.Requests {
		cost += float64(n) * p.Request[c]
	}
	return cost
}

// Budget says when the next request and the next bytes may go. Its methods may be
// called from many goroutines.
type Budget struct {
	limits Limits
	prices Prices

	mu        sync.Mutex // guards the fields below
	spent     Spent
	bandwidth Bucket
	requests  Bucket
	hour      time.Time // for which the buckets have their rates
}

// NewBudget returns a budget of which spent is used up.
func NewBudget(l Limits, p Prices, spent Spent) *Budget {
	return &Budget{limits: l, prices: p, spent: spent}
}

// turn gives the buckets the rates of this hour.
func (b *Budget) turn(now time.Time) {
	if hour := now.Truncate(time.Hour); !hour.Equal(b.hour) {
		b.hour = hour
		b.bandwidth.SetRate(now, float64(b.limits.Bandwidth.At(now)), saved)
		b.requests.SetRate(now, float64(b.limits.Requests.At(now)), saved)
	}
}

// Ask takes one request and returns how long to wait before it is made. After
// waits of an hour's rest or more the rates may be others: Ask waits no longer
// than to the next hour, and the caller comes with Again then. ErrExhausted means
// that the money is spent.
func (b *Budget) Ask(now time.Time, c Class) (time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cost := b.spent.Cost(b.prices); b.limits.Money >= 0 && cost+b.prices.Request[c] > b.limits.Money {
		return 0, fmt.Errorf("%.2f of the %.2f that may be spent are: %w", cost, b.limits.Money, holdall.ErrExhausted)
	}
	b.turn(now)
	b.spent.Requests[c]++
	return b.until(now, max(b.requests.Take(now, 1), b.bandwidth.Wait(now))), nil
}

// Read takes n bytes that have arrived and returns how long to wait before more
// are read.
func (b *Budget) Read(now time.Time, n int64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	b.spent.Bytes += n
	return b.until(now, b.bandwidth.Take(now, float64(n)))
}

// Again returns how long to wait still, after a wait that Ask or Read gave: zero
// unless it was cut at the hour.
func (b *Budget) Again(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	return b.until(now, max(b.requests.Wait(now), b.bandwidth.Wait(now)))
}

// until cuts a wait at the next hour, when the rates may be others.
func (b *Budget) until(now time.Time, wait time.Duration) time.Duration {
	return min(wait, NextHour(now).Sub(now))
}

// Spent returns what is used up.
func (b *Budget) Spent() (Spent, float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spent, b.spent.Cost(b.prices)
}
