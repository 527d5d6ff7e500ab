package door

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/ledger"
	"github.com/holdall/holdall/migration/mirror"
)

// holding is what the source holds under a key, as far as is known.
type holding struct {
	expect mirror.Expect // not Known: the source could not be asked
	err    error         // why not
}

// plan is what a write comes to, as far as it is decided.
type plan struct {
	ledger.Decision
	tried bool // its commit was sent: what became of it may be unknown
}

// errVoid ends a commit that is not to be.
var errVoid = errors.New("door: the deciding side does not have the write")

// prepare finds out what the source holds, which the cell knows of an object that
// both sides have, and holds the caller's condition
// against the side that decides. Errors: ErrCondition; ErrUnavailable, if the side
// that decides cannot be asked.
func (w *write) prepare(ctx context.Context, cond metadata.Condition) error {
	g := &w.granted
	known := g.HasNewest && g.Entry == nil
	switch {
	case known && !g.Newest.Marker:
		w.holds.expect = mirror.Expect{Known: true, ETag: sourceETag(&g.Newest)}
	default:
		w.ask(ctx)
	}
	there, etag := w.holds.expect.ETag != "", w.holds.expect.ETag
	switch {
	case w.m.State.CellDecides() && g.HasNewest:
		there, etag = !g.Newest.Marker, g.Newest.ETag
	case w.holds.err != nil && (cond != metadata.Condition{} || !w.m.State.CellDecides()):
		return readError(w.holds.err)
	}
	ok := (!cond.Absent || !there) && (!cond.Present || there) && (cond.ETag == "" || there && cond.ETag == etag) &&
		(cond.Version == 0 || g.HasNewest && g.Newest.Version == cond.Version)
	if !ok {
		return fmt.Errorf("door: %w", holdall.ErrCondition)
	}
	return nil
}

// ask asks the source what it holds.
func (w *write) ask(ctx context.Context) {
	if w.leaveAlone() {
		w.holds = holding{err: errLeftAlone}
		return
	}
	f, found, err := w.at.Write.Head(ctx, w.key)
	w.asked(err)
	w.holds = holding{err: err}
	if err == nil {
		w.holds.expect.Known = true
		if found {
			w.holds.expect.ETag = f.ETag
		}
	}
}

// sourceETag is the ETag that the source has of a version on both sides.
func sourceETag(o *metadata.Object) string {
	if o.Source.ETag != "" {
		return o.Source.ETag
	}
	return o.ETag
}

// resolveTries is how often the source is asked what became of a write, and
// resolveWait how long to wait between.
const (
	resolveTries = 3
	resolveWait  = 100 * time.Millisecond
)

// resolve asks the source what became of a write of which no answer came. done
// says whether what it holds proves that the write was done. Where nothing does,
// the write stays Unknown: it may land as long as its request lives.
func (w *write) resolve(ctx context.Context, r mirror.Result, done func(f mirror.Facts, found bool) bool) mirror.Result {
	if r.Outcome != ledger.Unknown {
		return r
	}
	for i := range resolveTries {
		f, found, err := w.at.Write.Head(ctx, w.key)
		if err == nil && done(f, found) {
			return mirror.Result{Outcome: ledger.Done, Facts: f}
		}
		if err == nil || i == resolveTries-1 || pause(ctx, resolveWait<<i) != nil {
			return r
		}
	}
	return r
}

// putDone says that a put was done if the source holds another object than before:
// nobody else writes the key.
func (w *write) putDone(f mirror.Facts, found bool) bool {
	return found && w.holds.expect.Known && f.ETag != w.holds.expect.ETag
}

// unasked is the result of a source that was not asked.
func (w *write) unasked() mirror.Result {
	err := w.holds.err
	if err == nil {
		err = fmt.Errorf("door: the source was not asked: %w", holdall.ErrUnavailable)
	}
	return mirror.Result{Outcome: ledger.Refused, Err: err}
}

// decide decides by the state as it is now.
func (w *write) decide(staged ledger.Outcome) error {
	if err := w.now(); err != nil {
		return err
	}
	w.plan.Decision = w.decided(staged)
	return nil
}

func (w *write) decided(staged ledger.Outcome) ledger.Decision {
	d := ledger.Decide(ledger.Write{State: w.m.State, Policy: w.policy(), Source: w.result.Outcome, Staged: staged}, true)
	if !w.m.State.CellDecides() && w.result.Outcome == ledger.Refused && errors.Is(w.result.Err, holdall.ErrCondition) {
		// The caller's condition was looked at before: the source holds something
		// that did not come through here, and the cell may not know it.
		d.Miss, d.Answer = metadata.SideCell, ledger.Unavailable
	}
	return d
}

// policy is that of the migration; in cut-over the source is always behind.
func (w *write) policy() metadata.MissPolicy {
	if w.m.State == metadata.StateCutOver {
		return metadata.MissOutbox
	}
	return w.m.Policy
}

// settle is what the cell's commit asks: it decides, by the state as it is then.
func (w *write) settle(context.Context) (object.Settled, error) {
	if w.plan.tried {
		w.d.log.Info("migration: a write ends in another state than it began in", "bucket", w.id, "key", w.key, "op", w.request.Op)
	}
	if err := w.decide(ledger.Done); err != nil {
		return object.Settled{}, err
	}
	if !w.plan.Commit {
		return object.Settled{}, errVoid
	}
	w.plan.tried = true
	how := object.Settled{Settlement: w.settlement()}
	if w.plan.Clear && w.granted.Entry != nil {
		how.Clear = w.granted.Entry.Seq
	}
	if w.result.Outcome == ledger.Done {
		how.Source = metadata.SourceFacts{ETag: w.result.Facts.ETag, Version: w.result.Facts.Version}
	}
	return how, nil
}

// settlement is what metadata has to note of the write as it is decided.
func (w *write) settlement() metadata.Settlement {
	s := metadata.Settlement{Op: w.request.Op, Number: w.m.Number, Miss: w.plan.Miss}
	if s.Miss != metadata.SideNone {
		s.Reason = w.reason()
		if w.result.Outcome == ledger.Unknown {
			s.Until = time.Now().Add(w.d.cfg.Life)
		}
	}
	return s
}

const maxReason = 512 // bytes, of metadata.Settlement

// reason says why a side missed the write.
func (w *write) reason() string {
	text := "the " + w.plan.Miss.String() + " missed a " + w.request.Kind.String()
	if err := w.result.Err; err != nil {
		text += ": " + err.Error()
	}
	return text[:min(len(text), maxReason)]
}

// conclude ends a write after both sides have answered: err is what the cell said,
// nil if it has the write, as the given version. It returns nil when the caller is
// to be told that the write is done.
func (w *write) conclude(ctx context.Context, version holdall.Version, err error) error {
	answer, noted := w.settled(ctx, err)
	w.leave()
	var end metadata.EndIntent
	if !noted && w.plan.Miss != metadata.SideNone {
		end.Settlement = w.settlement()
	}
	held := w.held()
	of := err == nil && version != 0 && w.result.Outcome == ledger.Done
	w.d.after(func(ctx context.Context) {
		if held {
			if pause(ctx, w.d.cfg.Life) != nil {
				w.release() // whoever finds the door silent makes an entry of the intent
				return
			}
			w.plan.Miss = w.m.State.Follows()
			end.Settlement = w.settlement()
			end.Until = time.Time{}
		}
		if of {
			w.facts(ctx, version, &end)
		}
		w.end(ctx, end)
	})
	return answer
}

// held says that the key is kept until a lost request can no longer land: nothing
// else keeps it from landing on a newer write.
func (w *write) held() bool {
	return w.m.Source.Unconditional && w.result.Outcome == ledger.Unknown
}

// settled notes what is still to be noted, and returns the answer.
func (w *write) settled(ctx context.Context, err error) (answer error, noted bool) {
	if err != nil {
		if e := w.redecide(ctx, err); e != nil {
			return e, false
		}
	}
	for tries := 0; err != nil && !noted && w.plan.Miss != metadata.SideNone && !w.held(); tries++ {
		e := w.d.cfg.Intents.EndIntent(ctx, metadata.EndIntent{Bucket: w.id, Key: w.key, Settlement: w.settlement()})
		noted = e == nil
		if was := w.m.Number; errors.Is(e, holdall.ErrStale) && tries < maxStale && w.redecide(ctx, err) == nil && w.m.Number != was {
			continue // a step was taken
		}
		if e != nil {
			w.d.log.Warn("migration: a miss could not be noted yet", "bucket", w.id, "key", w.key, "missed", w.plan.Miss.String(), "err", e)
			return fmt.Errorf("door: what one side missed could not be noted: %w: %w", e, holdall.ErrUnavailable), false
		}
	}
	if w.plan.Miss != metadata.SideNone {
		w.d.metrics.misses.WithLabelValues(w.plan.Miss.String()).Inc()
		w.d.log.Info("migration: one side missed a write", "bucket", w.id, "key", w.key, "op", w.request.Op, "missed", w.plan.Miss.String(), "reason", w.reason())
	}
	switch {
	case w.plan.Answer == ledger.FromSource:
		return writeError(w.result.Err), noted
	case w.plan.Answer == ledger.FromCell && !errors.Is(err, errVoid):
		return err, noted
	}
	return w.unavailable(err), noted
}

// maxStale is how many steps may be taken while a write is being settled.
const maxStale = 4

// redecide decides, by the state as it is now, what a write comes to that the cell
// did not take: err says why.
func (w *write) redecide(ctx context.Context, err error) error {
	if e := w.now(); e != nil {
		return fmt.Errorf("door: what the write came to is not known: %w: %w", e, holdall.ErrUnavailable)
	}
	if !w.plan.tried {
		w.plan.Decision = w.decided(ledger.Refused)
		return nil
	}
	was := ledger.Refused
	if errors.Is(err, holdall.ErrUnavailable) || ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		was = ledger.Unknown
	}
	sent := w.plan.Decision
	sent.Commit = true
	w.plan.Decision = ledger.AfterCommit(ledger.Write{State: w.m.State, Policy: w.policy(), Source: w.result.Outcome, Staged: ledger.Done}, sent, was)
	return nil
}

// unavailable says why a write may or may not have been done.
func (w *write) unavailable(err error) error {
	if w.result.Err != nil {
		err = w.result.Err
	}
	if err == nil || errors.Is(err, errVoid) {
		err = errors.New("one side missed it")
	}
	return fmt.Errorf("door: the write may or may not have been done: %v: %w", err, holdall.ErrUnavailable)
}

// facts asks the source for what it did not say when it took the write.
func (w *write) facts(ctx context.Context, of holdall.Version, end *metadata.EndIntent) {
	f, found, err := w.at.Write.Head(ctx, w.key)
	if err != nil || !found || f.ETag != w.result.Facts.ETag {
		w.d.log.Debug("migration: the source did not say when it took a write", "bucket", w.id, "key", w.key, "err", err)
		return
	}
	end.FactsOf, end.Facts = of, metadata.SourceFacts{ETag: f.ETag, Version: f.Version, Modified: f.Modified}
}

// noteLimit bounds one try at ending an intent, and noteWait the wait before the
// next.
const (
	noteLimit = 5 * time.Second
	noteWait  = 2 * time.Second
)

// end ends the intent, trying again for as long as the door is there, and lets the
// next writer go. An intent that is gone was made an entry by whoever took it.
func (w *write) end(ctx context.Context, e metadata.EndIntent) {
	defer w.release()
	if w.request.Op == (holdall.PutID{}) {
		return
	}
	e.Bucket, e.Key, e.Op, e.Number = w.id, w.key, w.request.Op, w.m.Number
	for wait := firstWait; ; wait = min(2*wait, noteWait) {
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteLimit)
		err := w.d.cfg.Intents.EndIntent(once, e)
		cancel()
		if err == nil {
			return
		}
		if errors.Is(err, holdall.ErrStale) && w.now() == nil {
			if w.m.Number == e.Number {
				return
			}
			if e.Number = w.m.Number; e.Miss != metadata.SideNone {
				e.Miss = w.m.State.Follows()
			}
			continue
		}
		w.d.metrics.unnoted.Inc()
		w.d.log.Debug("migration: an intent could not be ended yet", "bucket", w.id, "key", w.key, "op", e.Op, "err", err)
		if pause(ctx, wait) != nil {
			return
		}
	}
}
