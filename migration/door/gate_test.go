package door

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdall/holdall"
)

func TestAStepHappensBetweenTwoCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		first, err := g.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan int, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			closed <- g.close(ctx)
		}()
		synctest.Wait()
		entered := make(chan *pass, 1)
		go func() {
			p, err := g.enter(t.Context())
			if err != nil {
				t.Error(err)
			}
			entered <- p
		}()
		synctest.Wait()
		if len(closed) != 0 || len(entered) != 0 {
			t.Fatal("the gate is shut before the call ended, or lets a call in while it is")
		}
		first.leave()
		if n := <-closed; n != 0 || first.straddled() {
			t.Errorf("%d calls straddle", n)
		}
		synctest.Wait()
		if len(entered) != 0 {
			t.Error("a call got in before the step was done")
		}
		g.open()
		(<-entered).leave()
	})
}

func TestALongCallStraddles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		long, err := g.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if n := g.close(ctx); n != 1 || !long.straddled() {
			t.Errorf("%d calls straddle, the long one: %t", n, long.straddled())
		}
		late, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if _, err := g.enter(late); !errors.Is(err, holdall.ErrUnavailable) {
			t.Errorf("a call that waited for the step and gave up: %v", err)
		}
		g.open()
		if n := g.close(t.Context()); n != 1 {
			t.Errorf("a second step waited for the first one's straddler: %d", n)
		}
		g.open()
		long.leave()
		if n := g.close(t.Context()); n != 0 {
			t.Errorf("%d calls straddle after the last ended", n)
		}
		g.open()
	})
}

func TestWritersOfAKeyTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeys()
		p, other := place{1, "a"}, place{1, "b"}
		unlock, err := k.take(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if free, err := k.take(t.Context(), other); err != nil {
			t.Errorf("another key: %v", err)
		} else {
			free()
		}
		order := make(chan int, 3)
		for i := range 3 {
			go func() {
				ctx := t.Context()
				if i == 1 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Second)
					defer cancel()
				}
				unlock, err := k.take(ctx, p)
				if i == 1 {
					if !errors.Is(err, holdall.ErrUnavailable) {
						t.Errorf("a writer that gave up: %v", err)
					}
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				order <- i
				unlock()
			}()
			synctest.Wait() // so that they come in order
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		unlock()
		if a, b := <-order, <-order; a != 0 || b != 2 {
			t.Errorf("turns in the order %d, %d", a, b)
		}
		synctest.Wait()
		if len(k.queue) != 0 {
			t.Errorf("%d keys are still queued for", len(k.queue))
		}
	})
}
