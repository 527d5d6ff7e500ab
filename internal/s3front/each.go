package s3front

import (
	"sync"
	"sync/atomic"
)

// each calls f for 0 to n-1, at most atOnce at a time, and returns when all have
// returned.
func each(n, atOnce int, f func(int)) {
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(n, atOnce) {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wait.Wait()
}
