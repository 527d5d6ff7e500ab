package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress shows how far something long has come, on a terminal's one line:
// bar, share, rate, time left. It appears only once two seconds have passed.
// Without a terminal it shows nothing. Its methods may be called from many
// goroutines.
type progress struct {
	out   io.Writer
	label string
	unit  string // "B" or a plural noun
	stop  chan struct{}
	ended chan struct{}

	mu    sync.Mutex // guards the fields below
	begun time.Time
	done  int64
	total int64 // 0 = unknown
}

const (
	progressQuiet = 2 * time.Second
	progressTick  = 200 * time.Millisecond
)

// progress begins to show label; the caller must end it with finish.
func (c *cli) progress(label, unit string, total int64) *progress {
	p := &progress{label: label, unit: unit, begun: time.Now(), total: total}
	if !c.errTTY {
		return p
	}
	p.out, p.stop, p.ended = c.err, make(chan struct{}), make(chan struct{})
	go p.draw()
	return p
}

// set says that done of total is behind; total 0 leaves it as it was.
func (p *progress) set(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = done
	if total > 0 {
		p.total = total
	}
}

// add says that n more are behind.
func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
}

// finish takes the line away and waits until it is.
func (p *progress) finish() {
	if p.out != nil {
		close(p.stop)
		<-p.ended
	}
}

func (p *progress) draw() {
	defer close(p.ended)
	tick := time.NewTicker(progressTick)
	defer tick.Stop()
	shown := false
	for {
		select {
		case <-p.stop:
			if shown {
				fmt.Fprint(p.out, "\r\x1b[K")
			}
			return
		case now := <-tick.C:
			if now.Sub(p.begun) >= progressQuiet {
				shown = true
				fmt.Fprint(p.out, "\r\x1b[K", p.line(now))
			}
		}
	}
}

// line is what the terminal shows at now.
func (p *progress) line(now time.Time) string {
	p.mu.Lock()
	done, total, elapsed := p.done, p.total, now.Sub(p.begun).Seconds()
	p.mu.Unlock()
	rate := float64(done) / max(elapsed, 0.001)
	amount := func(n int64) string {
		if p.unit == "B" {
			return bytesText(n)
		}
		return count(n) + " " + p.unit
	}
	if total <= 0 {
		return fmt.Sprintf("%s  %s  %s/s", p.label, amount(done), amount(int64(rate)))
	}
	share := min(float64(done)/float64(total), 1)
	const width = 24
	full := int(share * width)
	eta := "-"
	if rate > 0 {
		eta = time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("%s [%s%s] %3.0f %%  %s of %s  %s/s  eta %s", p.label, strings.Repeat("=", full), strings.Repeat(" ", width-full),
		100*share, amount(done), amount(total), amount(int64(rate)), eta)
}
