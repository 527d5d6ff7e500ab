package metadata

import (
	"errors"
	"slices"
	"time"

	"github.com/holdall/holdall"
)

// What happens to the world of TestWritesOfManyDoorsLeaveNoTrace beside writes.

func (w *world) tick() {
	w.pass([]time.Duration{time.Millisecond, 3 * time.Second, DoorSilence, IntentLife + time.Second}[w.pick("time", 4)])
	if w.often("seen") {
		w.seeAll()
	}
}

// hush makes a door silent, or lets it come back.
func (w *world) hush() {
	d := w.pick("door", worldDoors)
	w.silent[d] = !w.silent[d]
}

func (w *world) lapseOne() {
	door := w.pick("door", worldDoors)
	c := &lapseIntents{Door: doorID(door)}
	for i, err := range intents(w.db, w.bucket, "") {
		if err != nil {
			w.rt.Fatal(err)
		}
		if i.Door == c.Door {
			c.Of = append(c.Of, heldKey{w.bucket, i.Key, i.Op})
		}
	}
	row, ok, err := w.doorRow(door)
	if err != nil {
		w.rt.Fatal(err)
	}
	live := ok && !row.silent(w.now.time())
	if err := w.run(c, new(numberResult)); (err != nil) != live {
		w.rt.Fatalf("lapse of door %+v: %v", row, err)
	} else if err != nil {
		return
	}
	for _, k := range c.Of {
		if o := w.holder[k.Key]; o != nil && o.id() == k.Op {
			delete(w.holder, k.Key)
			w.did["lapsed"]++
		}
	}
}

// repair makes the side that follows equal, for the first entry that is due.
func (w *world) repair() {
	var key string
	for l, err := range dueKeys(w.db, w.bucket, w.now) {
		if err != nil {
			w.rt.Fatal(err)
		}
		key = l.Key
		break
	}
	if key == "" {
		return
	}
	w.made++
	o := &write{door: w.pick("door", worldDoors), op: w.made, key: key}
	if !w.taken(o, IntentRepair) {
		return
	}
	if o.clear == 0 {
		w.rt.Fatalf("the entry of %q is due, and was not given to who repairs it", key)
	}
	o.phase = sent
	if w.pick("another miss", 6) == 0 {
		w.ok(&noteKey{tagNoteMiss, w.bucket, key, "meanwhile"}, noResult{})
	}
	how := Settlement{Op: o.id(), Number: o.number, Clear: o.clear}
	before := w.entry(key)
	var err error
	if before.Missed == SideSource {
		w.source[key] = w.cell(key)
		err = w.endOp(o, how)
	} else {
		o.value, how.End = w.source[key], true
		err = w.commitOp(o, how)
	}
	if !w.finish(o, err) {
		w.rt.Fatalf("repair of %+v: %v", before, err)
	}
	after := w.entry(key)
	if (after != nil) != (before.Seq != o.clear) {
		w.rt.Fatalf("repair of entry %d, which was %+v, left %+v", o.clear, before, after)
	}
	if w.did["repaired"]++; after != nil {
		w.did["clear too early"]++
	}
}

// steps announces a step, acknowledges it, calls it off, or does it.
func (w *world) steps() {
	s := w.status()
	if s.Step == 0 && w.often("announce only") {
		to := max(StateMirror, min(StateCutOver, s.State-1+MigrationState(2*min(1, w.pick("forward", 3)))))
		if s.State < StateCutOver {
			w.prove(s.State + 1)
		}
		err := w.run(&stepMigration{tagAnnounce, w.bucket, s.Number, to}, new(migrationAnswer))
		if s = w.status(); err != nil && !errors.Is(err, holdall.ErrRefused) {
			w.rt.Fatalf("announce %v in %+v: %v", to, s, err)
		}
		return
	}
	if s.Step == 0 {
		w.hasten()
		return
	}
	if w.pick("cancel", 8) == 0 {
		w.ok(&stepMigration{tagCancelStep, w.bucket, s.Number, 0}, new(migrationAnswer))
		return
	}
	for d := range worldDoors {
		if w.often("acknowledge") {
			w.ok(&ackStep{doorID(d), w.bucket, s.Number}, noResult{})
		}
	}
	w.tryStep(s)
}

// hasten repairs what is due and takes the next step forward, if it can be.
func (w *world) hasten() {
	for range 2 * len(worldKeys) {
		w.repair()
	}
	s := w.status()
	if s.State == StateCutOver {
		return
	}
	w.prove(s.State + 1)
	if w.do(&stepMigration{tagAnnounce, w.bucket, s.Number, s.State + 1}, new(migrationAnswer)) != nil {
		return
	}
	w.acknowledge()
	w.tryStep(w.status())
}

func (w *world) tryStep(s Migration) {
	err := w.run(w.doStep(), new(migrationAnswer))
	if err != nil {
		if !errors.Is(err, holdall.ErrUnavailable) && !errors.Is(err, holdall.ErrRefused) {
			w.rt.Fatalf("step of %+v: %v", s, err)
		}
		return
	}
	if w.did["in "+s.Step.String()]++; s.Step < s.State {
		w.did["back"]++
	}
	if s.Step.Decides() != s.State.Decides() {
		for _, o := range w.holder {
			w.did["straddled"]++
			if row, ok, err := w.doorRow(o.door); err != nil || !ok || row.silent(w.now.time()) {
				w.rt.Fatalf("the step to %v left the intent of %+v, whose door is silent", s.Step, o)
			}
		}
		for _, k := range worldKeys {
			if e := w.entry(k); e != nil {
				w.rt.Fatalf("the step to %v left entry %+v", s.Step, e)
			}
		}
	}
}

// prove is evidence, but no time passes: the clean run is none.
func (w *world) prove(to MigrationState) {
	if to != StateFlipped {
		w.evidence(to)
		return
	}
	for range CleanPasses {
		w.ok(&notePass{PassResult{Bucket: w.bucket, Number: w.status().Number, Began: w.index}}, noResult{})
	}
}

func (w *world) noteSomething() {
	tag := []commandTag{tagNoteMiss, tagNoteMismatch}[w.pick("what", 2)]
	w.ok(&noteKey{tag, w.bucket, worldKeys[w.pick("key", len(worldKeys))], "found"}, noResult{})
}

// cell returns what the cell has of a key.
func (w *world) cell(key string) int {
	lower := appendKeyRows(nil, w.bucket, key)
	for kv, err := range rows(w.db, lower, after(lower)) {
		o, derr := decodeObject(kv)
		if err := errors.Join(err, derr); err != nil {
			w.rt.Fatal(err)
		}
		return w.values[o.Put]
	}
	return 0
}

func (w *world) check() {
	s := w.status()
	for _, k := range worldKeys {
		e, o := w.entry(k), w.holder[k]
		i, held, err := readIntent(w.db, w.bucket, k)
		if err != nil || held != (o != nil) || held && i.Op != o.id() {
			w.rt.Fatalf("key %q: intent %+v, %t, %v; it should be held by %+v", k, i, held, err, o)
		}
		if w.source[k] != w.cell(k) && e == nil && o == nil {
			w.rt.Fatalf("key %q is %d at the source, %d in the cell, and nothing says so", k, w.source[k], w.cell(k))
		}
		side, err := readSide(w.db, &s, k)
		if err != nil {
			w.rt.Fatal(err)
		}
		seen := w.cell(k)
		if side == SideSource {
			seen = w.source[k]
		}
		r := w.registers[k]
		if !slices.Contains(r.possible, seen) {
			w.rt.Fatalf("in %v key %q is read as %d, from the %v; it can be %v", s.State, k, seen, side, r.possible)
		}
		r.settle(seen)
	}
	for _, q := range w.requests {
		if e := w.entry(q.of.key); q.deadline >= w.now && w.holder[q.of.key] != q.of && (e == nil || toInstant(e.Until) < q.deadline) {
			w.rt.Fatalf("a request of %+v can land until %d, entry %+v does not wait for it", q.of, q.deadline, e)
		}
	}
}

// quiesce lets everything end: all doors but one die, what they left is repaired.
func (w *world) quiesce() {
	if s := w.status(); s.Step != 0 {
		w.ok(&stepMigration{tagCancelStep, w.bucket, s.Number, 0}, new(migrationAnswer))
	}
	w.pass(DoorSilence)
	for d := range worldDoors {
		c := &lapseIntents{Door: doorID(d)}
		for i, err := range intents(w.db, w.bucket, "") {
			if err != nil {
				w.rt.Fatal(err)
			}
			if i.Door == c.Door {
				c.Of = append(c.Of, heldKey{w.bucket, i.Key, i.Op})
			}
		}
		w.ok(c, new(numberResult))
	}
	clear(w.holder)
	for len(w.requests) > 0 && w.often("one lands") {
		w.land()
		w.check()
	}
	w.requests = nil
	w.pass(IntentLife + time.Second)
	for d := range worldDoors {
		w.seeDoor(d)
	}
	for range 20 * len(worldKeys) {
		w.repair()
		w.check()
	}
	for _, k := range worldKeys {
		if w.source[k] != w.cell(k) || w.entry(k) != nil {
			w.rt.Fatalf("at the end key %q is %d at the source, %d in the cell; entry %+v", k, w.source[k], w.cell(k), w.entry(k))
		}
	}
}
