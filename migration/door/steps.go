package door

import (
	"context"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// watch looks at the migrations until the door is closed: it lets metadata know
// that the door is there, and takes part in steps.
func (d *Door) watch() {
	t := time.NewTicker(d.cfg.Poll)
	defer t.Stop()
	for {
		select {
		case <-d.run.Done():
			return
		case <-t.C:
		case <-d.poke:
		}
		d.look()
	}
}

// look looks once. A cell without migrations hears nothing of its doors.
func (d *Door) look() {
	all, err := d.cfg.Migrations.Migrations()
	if err != nil {
		d.log.Debug("migration: the migrations cannot be read", "err", err)
		return
	}
	for i := range all {
		m := &all[i]
		if m.State == metadata.StateRetired {
			continue
		}
		d.mu.Lock()
		silence := time.Since(d.seen)
		due, late := silence >= beatEvery, !d.seen.IsZero() && silence >= fencedAfter
		d.mu.Unlock()
		if late {
			d.cutOff()
		}
		if due {
			d.beat(d.run)
		}
		if m.Step != 0 {
			d.join(m.Bucket)
		}
	}
}

// lookNow has watch look at once.
func (d *Door) lookNow() {
	select {
	case d.poke <- struct{}{}:
	default:
	}
}

// beat tells metadata that the door is there.
func (d *Door) beat(ctx context.Context) {
	d.beating.Lock()
	defer d.beating.Unlock()
	began := time.Now()
	d.mu.Lock()
	fresh := !d.seen.IsZero() && began.Sub(d.seen) < beatEvery
	d.mu.Unlock()
	if fresh {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fencedAfter)
	defer cancel()
	fenced, err := d.cfg.Migrations.SeeDoor(ctx, d.id)
	if err != nil {
		d.log.Debug("migration: a heartbeat was not taken", "door", d.id, "err", err)
		return
	}
	d.mu.Lock()
	first := d.seen.IsZero()
	d.seen = began
	d.mu.Unlock()
	if fenced && !first {
		d.cutOff()
		d.metrics.silences.Inc()
		d.log.Warn("migration: this door was silent for so long that steps were taken without it", "door", d.id)
	}
}

// cutOff ends the requests to sources that are under way: their intents may be
// given to others, who wait for as long as a request may live after that.
func (d *Door) cutOff() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unheed()
	d.heeded, d.unheed = context.WithCancel(context.Background())
}

// heed returns the context of a request to a source, which ends with ctx, and when
// the door is cut off.
func (d *Door) heed(ctx context.Context) (context.Context, context.CancelFunc) {
	d.mu.Lock()
	heeded := d.heeded
	d.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(heeded, cancel)
	return ctx, func() { stop(); cancel() }
}

// heard returns an ErrUnavailable if the door may have been silent for so long
// that steps are taken without it.
func (d *Door) heard(ctx context.Context) error {
	for range 2 {
		d.mu.Lock()
		ok := !d.seen.IsZero() && time.Since(d.seen) < fencedAfter
		d.mu.Unlock()
		if ok {
			return nil
		}
		d.beat(ctx)
	}
	d.metrics.fenced.Inc()
	return fmt.Errorf("door: metadata has not heard of this door for %v: steps of migrations may be taken without it: %w", fencedAfter, holdall.ErrUnavailable)
}

// join takes part in the step of a bucket, unless the door does so already.
func (d *Door) join(id holdall.BucketID) {
	b := d.bucket(id)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taking {
		return
	}
	b.taking = true
	d.work.Go(func() {
		d.takeStep(b, id)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.taking = false
	})
}

// takeStep shuts the bucket's gate, says so, and opens it when the step is done or
// called off. Calls that come meanwhile wait.
func (d *Door) takeStep(b *bucket, id holdall.BucketID) {
	drain, cancel := context.WithTimeout(d.run, d.cfg.Drain)
	straddling := b.gate.close(drain)
	cancel()
	defer b.gate.open()
	said := uint64(0)
	for {
		m, ok, err := d.cfg.Migrations.Migration(id)
		switch {
		case err != nil:
			d.log.Debug("migration: a step cannot be followed", "bucket", id, "err", err)
		case !ok || m.Step == 0:
			d.metrics.steps.Inc()
			d.log.Info("migration: calls go on", "bucket", id, "state", m.State.String(), "straddling", straddling)
			return
		case m.Number != said:
			if err := d.cfg.Migrations.Acknowledge(d.run, d.id, id, m.Number); err != nil {
				d.log.Debug("migration: a step was not acknowledged", "bucket", id, "number", m.Number, "err", err)
				break
			}
			said = m.Number
			d.log.Info("migration: calls are held for a step", "bucket", id, "from", m.State.String(), "to", m.Step.String(), "straddling", straddling)
		}
		if pause(d.run, d.cfg.Poll/4) != nil {
			return
		}
	}
}
