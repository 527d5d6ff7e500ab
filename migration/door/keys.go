package door

import (
	"context"
	"fmt"
	"sync"

	"github.com/holdall/holdall"
)

// keys lets one writer at a time have a key, in the order in which they came.
// Writers of other processes are held off by the intent in metadata; these queue
// here, so that they need not ask it again and again.
type keys struct {
	mu    sync.Mutex // guards queue
	queue map[place]*turn
}

type place struct {
	bucket holdall.BucketID
	key    string
}

// turn is who has a key, and who waits for it.
type turn struct{ waiting []chan struct{} }

func newKeys() *keys { return &keys{queue: map[place]*turn{}} }

// take waits for the key. unlock gives it to the next; it is called once. Errors
// wrap ErrUnavailable: the context ended first.
func (k *keys) take(ctx context.Context, p place) (unlock func(), err error) {
	k.mu.Lock()
	t := k.queue[p]
	if t == nil {
		k.queue[p] = &turn{}
		k.mu.Unlock()
		return func() { k.next(p) }, nil
	}
	mine := make(chan struct{})
	t.waiting = append(t.waiting, mine)
	k.mu.Unlock()
	select {
	case <-mine:
		return func() { k.next(p) }, nil
	case <-ctx.Done():
	}
	k.mu.Lock()
	for i, w := range t.waiting {
		if w == mine {
			t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
			k.mu.Unlock()
			return nil, fmt.Errorf("door: key %.80q is being written by others: %w: %w", p.key, context.Cause(ctx), holdall.ErrUnavailable)
		}
	}
	k.mu.Unlock()
	k.next(p) // it became ours at the same moment
	return nil, fmt.Errorf("door: key %.80q: %w: %w", p.key, context.Cause(ctx), holdall.ErrUnavailable)
}

// next gives a key to whoever has waited longest.
func (k *keys) next(p place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.queue[p]
	if len(t.waiting) == 0 {
		delete(k.queue, p)
		return
	}
	close(t.waiting[0])
	t.waiting = t.waiting[1:]
}
