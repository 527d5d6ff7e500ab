package gateway

import (
	"sync"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/erasure"
)

// coders makes each scheme's coder once.
type coders struct {
	mu       sync.Mutex // guards byScheme
	byScheme map[holdall.Scheme]*erasure.Coder
}

func newCoders() *coders { return &coders{byScheme: map[holdall.Scheme]*erasure.Coder{}} }

func (c *coders) of(s holdall.Scheme) (*erasure.Coder, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if coder := c.byScheme[s]; coder != nil {
		return coder, nil
	}
	coder, err := erasure.New(s)
	if err == nil {
		c.byScheme[s] = coder
	}
	return coder, err
}
