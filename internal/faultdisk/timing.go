package faultdisk

import "time"

// Timing is what calls on a disk cost. The zero Timing costs nothing.
type Timing struct {
	Seek           time.Duration // a read or append that is not where the last one ended
	Flush          time.Duration // a sync with something to sync
	BytesPerSecond int64         // of reads and appends; 0 = any number
}

// Rotating returns the timing of a disk with one arm: 8 ms a seek, 8 ms a
// flush, 200 MB/s.
func Rotating() Timing {
	return Timing{Seek: 8 * time.Millisecond, Flush: 8 * time.Millisecond, BytesPerSecond: 200e6}
}

// Clock waits for what calls cost. WallClock serves inside a testing/synctest
// bubble, where it is virtual.
type Clock interface {
	Now() time.Time
	Sleep(time.Duration)
}

// WallClock is package time as a Clock.
type WallClock struct{}

// Now returns time.Now.
func (WallClock) Now() time.Time { return time.Now() }

// Sleep calls time.Sleep.
func (WallClock) Sleep(d time.Duration) { time.Sleep(d) }

// pass charges op with n bytes, and waits until the arm has done it and all
// that came before.
func (d *Disk) pass(op *Op, n int64) {
	if wait := d.charge(op, n); wait > 0 {
		d.cfg.Clock.Sleep(wait)
	}
}

// charge books the time of op and returns how long the caller has to wait.
func (d *Disk) charge(op *Op, n int64) time.Duration {
	d.array.mu.Lock()
	defer d.array.mu.Unlock()
	t := d.cfg.Timing
	cost := d.delay
	if op.Kind == OpSync {
		cost += t.Flush
	} else {
		at := int64(op.Zone)*d.cfg.ZoneSize + op.Off
		if at != d.head {
			d.counts.Seeks++
			cost += t.Seek
		}
		d.head = at + n
		if t.BytesPerSecond > 0 {
			cost += time.Duration(float64(n) / float64(t.BytesPerSecond) * float64(time.Second))
		}
	}
	d.counts.Busy += cost
	if d.cfg.Clock == nil || cost == 0 {
		return 0
	}
	now := d.cfg.Clock.Now()
	if d.free.Before(now) {
		d.free = now
	}
	d.free = d.free.Add(cost)
	return d.free.Sub(now)
}
