package gateway

import (
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/packer"
)

// lane is one stream of puts with volumes of its own. There are two: users'
// blocks, and the cell's own, whose volumes must not pin users' blocks nor be
// pinned by them.
type lane struct {
	g       *Gateway
	system  bool
	volumes *openSet
	max     int           // stripes written at once
	poke    chan struct{} // holds one: look again

	mu      sync.Mutex // guards packer, writing, puts, closed
	packer  *packer.Packer[*item]
	writing int // stripes being written
	puts    int // items in them
	closed  bool
}

func newLane(g *Gateway, system bool, volumes int) *lane {
	l := &lane{g: g, system: system, max: volumes, poke: make(chan struct{}, 1), packer: packer.New[*item](g.cfg.Scheme)}
	l.volumes = newOpenSet(g, l, volumes)
	return l
}

func (g *Gateway) laneOf(ns holdall.NamespaceID) *lane {
	if ns == holdall.SystemNamespace {
		return g.system
	}
	return g.user
}

// wake makes the lane look again: a block came, or one less is on its way, or a
// stripe is done.
func (l *lane) wake() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// add gives an item to the packer, whose it is from then on. r, if not nil, is
// its arrival, which ends in the same instant, so that nobody waits for a block
// that is there.
func (l *lane) add(it *item, r *arrival) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errClosing()
	}
	l.packer.Add(l.g.cfg.Now(), it, it.size)
	l.mu.Unlock()
	if r != nil {
		l.g.arrivals.end(r)
	}
	l.wake()
	return nil
}

// setScheme makes stripes as wide as the volumes that can be had.
func (l *lane) setScheme(s holdall.Scheme) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.packer.SetScheme(s)
}

// run cuts stripes when they are due and a volume may be free for them, until
// the Gateway closes and nothing waits.
func (l *lane) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	closing := l.g.done
	for {
		wait, finished := l.cut()
		if finished {
			return
		}
		timer.Reset(wait)
		select {
		case <-l.poke:
		case <-timer.C:
		case <-closing:
			closing = nil
		}
	}
}

// cut starts all stripes that are due, and returns how long until the next look.
// Closing, every stripe is due; finished says that there are none.
func (l *lane) cut() (wait time.Duration, finished bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	closing := l.g.isClosing()
	for l.writing < l.max {
		arriving, writing := 0, 0
		if !closing && !l.system {
			arriving, writing = l.g.arrivals.count(), l.puts
		}
		d, some := l.packer.Wait(l.g.cfg.Now(), arriving, writing)
		if !some {
			l.closed = closing
			return time.Hour, closing
		}
		if d > 0 {
			return min(d, arrivalSlice), false
		}
		l.start(l.packer.Cut())
	}
	return time.Hour, false
}

// start writes a stripe. Callers hold mu.
func (l *lane) start(cut []packer.Pack[*item]) {
	packs := make([]*pack, len(cut))
	puts := 0
	for i, c := range cut {
		packs[i] = &pack{items: c.Items, bytes: c.Bytes}
		puts += len(c.Items)
	}
	l.writing++
	l.puts += puts
	l.g.puts.Add(1)
	go func() {
		defer l.g.puts.Done()
		l.g.writeStripe(l, packs)
		l.mu.Lock()
		l.writing--
		l.puts -= puts
		l.mu.Unlock()
		l.wake()
	}()
}
