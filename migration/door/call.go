package door

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/mirror"
)

// call is one call on a bucket under migration.
type call struct {
	d    *Door
	id   holdall.BucketID
	name string
	b    *bucket
	pass *pass // nil: the call is over
	m    metadata.Migration
	at   *Remote // nil: the cell stands alone
}

// enter begins a call; nil is for buckets that do not migrate. It waits while a
// step is being taken. Errors: ErrNoBucket, ErrUnavailable.
func (d *Door) enter(ctx context.Context, ns holdall.NamespaceID, name string) (*call, error) {
	row, err := d.cfg.Names.Bucket(ctx, ns, name)
	if err != nil || !row.Migrates {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.cfg.Wait, errWaited)
	defer cancel()
	c := &call{d: d, id: row.ID, name: name, b: d.bucket(row.ID)}
	if c.pass, err = c.b.gate.enter(ctx); err != nil {
		return nil, err
	}
	var ok bool
	if c.m, ok, err = d.cfg.Migrations.Migration(row.ID); err != nil || !ok {
		c.leave()
		return nil, err
	}
	if c.m.State == metadata.StateRetired {
		return c, nil
	}
	if err = d.heard(ctx); err == nil {
		c.at, err = c.b.open(ctx, d, c.m.Source)
	}
	if err != nil {
		c.leave()
		return nil, err
	}
	return c, nil
}

var errWaited = errors.New("waited as long as a call may")

// leave ends the call, once or more.
func (c *call) leave() {
	if c != nil && c.pass != nil {
		c.pass.leave()
		c.pass = nil
	}
}

// now reads the migration again: what began under one state is decided by the one
// in which it ends.
func (c *call) now() error {
	m, ok, err := c.d.cfg.Migrations.Migration(c.id)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("door: the migration was removed while a call was under way: %w", holdall.ErrUnavailable)
	}
	c.m = m
	return nil
}

// write is one write of one key, from the intent to its end.
type write struct {
	*call
	key     string
	request metadata.IntentRequest // Op is zero: there is no intent, the state needs none
	granted metadata.Granted
	unlock  func() // of the writers in this process
	began   time.Time

	holds  holding       // what the source holds, as far as is known
	result mirror.Result // what the source said
	plan   plan          // what the write comes to
}

// begin takes the key of a write, waiting for others who have it. nil is for
// buckets that do not migrate. In assess and cut-over, where one side alone is
// written, there is no intent. Errors: ErrNoBucket, ErrInvalid (the key),
// ErrUnavailable.
func (d *Door) begin(ctx context.Context, at object.Place, kind metadata.IntentKind, upload holdall.PutID) (*write, error) {
	if err := holdall.CheckKey(at.Key); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.cfg.Wait, errWaited)
	defer cancel()
	r := metadata.IntentRequest{Key: at.Key, Door: d.id, Kind: kind, Upload: upload}
	var err error
	if r.Op, err = d.cfg.Objects.NewPutID(); err != nil {
		return nil, err
	}
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		w, again, err := d.tryBegin(ctx, at, r)
		if !again {
			return w, err
		}
		if pause(ctx, wait/2+rand.N(wait)) != nil {
			return nil, err
		}
	}
}

// firstWait and lastWait bound the wait between two tries at an intent.
const (
	firstWait = 4 * time.Millisecond
	lastWait  = 250 * time.Millisecond
)

// tryBegin tries once. again says that it is worth another try.
func (d *Door) tryBegin(ctx context.Context, at object.Place, r metadata.IntentRequest) (w *write, again bool, err error) {
	c, err := d.enter(ctx, at.Namespace, at.Bucket)
	if c == nil || err != nil {
		return nil, false, err
	}
	w = &write{call: c, key: at.Key, began: time.Now()}
	switch {
	case c.m.State == metadata.StateCutOver:
		if err = c.free(at.Key); err != nil {
			c.leave()
			return nil, true, err
		}
		return w, false, nil
	case !c.m.State.Mirrored():
		return w, false, nil
	}
	if w.unlock, err = d.keys.take(ctx, place{c.id, at.Key}); err != nil {
		c.leave()
		return nil, false, err
	}
	r.Bucket = c.id
	w.granted, err = d.cfg.Intents.TakeIntent(ctx, r)
	if err == nil {
		w.request, w.m = r, w.granted.Migration
		return w, false, nil
	}
	stale := errors.Is(err, holdall.ErrStale)
	held := new(metadata.HeldError)
	if again = stale || errors.As(err, &held); again {
		w.release()
		if stale {
			d.lookNow()
			err = fmt.Errorf("door: the migration is taking a step: %w: %w", err, holdall.ErrUnavailable)
		}
		return nil, true, err
	}
	// It may have been granted all the same.
	lost := w
	lost.request = r
	lost.leave()
	d.after(func(ctx context.Context) { lost.end(ctx, metadata.EndIntent{}) })
	return nil, false, err
}

// free returns an ErrUnavailable while a key is still read at the source, because
// a write to it began before the flip: writes that take no intents would pass that
// one unseen.
func (c *call) free(key string) error {
	side, err := c.side(key)
	if err == nil && side != metadata.SideCell {
		err = fmt.Errorf("door: key %.80q is being written since before the flip: %w", key, holdall.ErrUnavailable)
	}
	return err
}

// release lets the next writer of the key go, and ends the call.
func (w *write) release() {
	if w.unlock != nil {
		w.unlock()
		w.unlock = nil
	}
	w.leave()
}

// abandon ends a write that has changed nothing.
func (w *write) abandon() {
	if w.request.Op == (holdall.PutID{}) {
		w.release()
		return
	}
	w.leave()
	w.d.after(func(ctx context.Context) { w.end(ctx, metadata.EndIntent{}) })
}
