package pace

import "time"

// Backoff is how long to wait between attempts: at random between nothing and a
// bound that doubles, so that those who failed together do not come back
// together. The zero Backoff is the production default.
type Backoff struct {
	Base time.Duration // bound of the first wait; 0 = 100 ms
	Most time.Duration // largest bound; 0 = 20 s
}

// Delay returns the wait before attempt n (the second is 1), for a chance of 0
// to 1.
func (b Backoff) Delay(n int, chance float64) time.Duration {
	if b.Base == 0 {
		b.Base = 100 * time.Millisecond
	}
	if b.Most == 0 {
		b.Most = 20 * time.Second
	}
	bound := b.Base
	for i := 1; i < n && bound < b.Most; i++ {
		bound *= 2
	}
	return time.Duration(chance * float64(min(bound, b.Most)))
}
