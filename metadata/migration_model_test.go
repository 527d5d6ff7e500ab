package metadata

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"pgregory.net/rapid"
)

// TestWritesOfManyDoorsLeaveNoTrace draws doors that write the keys of a bucket to
// both stores as the protocol says, doors that go silent or die at any point,
// requests to the source that land late or never, steps, lapses and repairs. After
// every move it checks that no key differs between the stores, and no request can
// land, without an intent or an entry that knows of it; that whoever reads sees a
// register; and that counts agree. At the end all keys are the same on both sides.
func TestWritesOfManyDoorsLeaveNoTrace(t *testing.T) {
	did := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(drawn{t, rt}, rt, did)
		for i := range 150 {
			w.move()
			w.check()
			if i%30 == 29 {
				audit(drawn{t, rt}, w.db)
			}
		}
		w.quiesce()
		audit(drawn{t, rt}, w.db)
		if w.pick("apply it all again", 8) == 0 {
			b := newRig(drawn{t, rt})
			for i, entry := range w.all {
				b.applyEntry(uint64(i+1), entry)
			}
			if everything(t, b.db) != everything(t, w.db) {
				rt.Fatal("the same entries made another state")
			}
		}
	})
	t.Logf("%v", did)
	for _, what := range []string{"acked", "late request landed", "lapsed", "repaired", "stale commit", "in flipped", "in cut-over", "back", "straddled", "clear too early", "repeated"} {
		if did[what] == 0 {
			t.Errorf("never: %s", what)
		}
	}
}

// world is the bucket, the source that it is moved from, and who writes them. A
// value is a number, written once; one that is not positive is no object. Its ETag
// at the source is the value, so that a value put back is taken for one that never
// changed.
type world struct {
	*moving
	rt          *rapid.T
	did         map[string]int
	conditional bool // the source heeds If-Match
	source      map[string]int
	values      map[holdall.PutID]int // that puts have
	requests    []*toSource
	ops         []*write
	silent      map[int]bool // doors that are not seen any more
	holder      map[string]*write
	registers   map[string]*register
	made        int
}

// toSource is a request on its way.
type toSource struct {
	of       *write
	expect   int
	deadline instant // it lands before, or never
}

type phase int

const (
	granted phase = iota
	sent          // the request is on its way, or its outcome is known
	written       // committed, or ended with a miss: only the end is left
	over
)

// write is an op of a door.
type write struct {
	door, op, value int
	key             string
	phase           phase
	state           MigrationState // by which the door decides
	granted         MigrationState // when it was granted
	number, clear   uint64
	landed, failed  bool // what the request came to
	sent            bool
	deadline        instant
	waits           bool // for the request to be dead, its answer lost
}

// register is what readers of a key may see: values, of which those of writes that
// may still take effect are pending.
type register struct{ possible, pending []int }

func (r *register) settle(v int) {
	r.pending = slices.DeleteFunc(r.pending, func(p int) bool { return p == v })
	r.possible = append([]int{v}, r.pending...)
}

func (r *register) never(v int) {
	r.pending = slices.DeleteFunc(r.pending, func(p int) bool { return p == v })
	r.possible = slices.DeleteFunc(r.possible, func(p int) bool { return p == v })
}

var worldKeys = []string{"a", "b"}

const worldDoors = 3

func newWorld(tb testing.TB, rt *rapid.T, did map[string]int) *world {
	w := &world{moving: newMoving(tb), rt: rt, did: did, conditional: rapid.Bool().Draw(rt, "conditional"), source: map[string]int{}, values: map[holdall.PutID]int{},
		silent: map[int]bool{}, holder: map[string]*write{}, registers: map[string]*register{}}
	set := createMigration{w.bucket, w.settings()}
	set.Set.CleanRun = 0
	w.ok(&setMigration{set}, new(migrationAnswer))
	for _, k := range worldKeys {
		w.registers[k] = &register{possible: []int{0}}
	}
	w.in(StateMirror)
	w.seeAll()
	return w
}

func (w *world) pick(what string, n int) int { return rapid.IntRange(0, n-1).Draw(w.rt, what) }
func (w *world) often(what string) bool      { return w.pick(what, 4) != 0 }

func (w *world) seeAll() {
	for d := range worldDoors {
		if !w.silent[d] {
			w.seeDoor(d)
		}
	}
}

// seeDoor lets a door be seen. One that was fenced sends nothing any more under the
// intents that it had.
func (w *world) seeDoor(d int) {
	if !w.see(d) {
		return
	}
	for _, o := range w.ops {
		if o.door == d && o.phase == granted {
			o.phase = over
			w.registers[o.key].never(o.value)
		}
	}
}

// run applies c, and sometimes again: that must change nothing more.
func (w *world) run(c command, into result) error {
	err := w.do(c, into)
	if w.pick("again", 12) == 0 {
		before := contents(w.t, w.db)
		_ = w.do(c, noResult{})
		if after := contents(w.t, w.db); after != before {
			w.rt.Fatalf("%T %+v, applied again, changed\n%s\nto\n%s", c, c, before, after)
		}
		w.did["repeated"]++
	}
	return err
}

func (w *world) move() {
	moves := []func(){w.begin, w.begin, w.advance, w.advance, w.advance, w.advance, w.advance, w.land, w.land, w.lose, w.tick, w.tick, w.hush, w.lapseOne,
		w.repair, w.repair, w.steps, w.steps, w.steps, w.noteSomething}
	moves[w.pick("move", len(moves))]()
}

// begin takes an intent, or, in cut-over, commits without one.
func (w *world) begin() {
	w.made++
	o := &write{door: w.pick("door", worldDoors), op: w.made, key: worldKeys[w.pick("key", len(worldKeys))], value: w.made}
	if w.pick("delete", 5) == 0 {
		o.value = -w.made
	}
	if s := w.status(); s.State == StateCutOver && w.often("without a lock") {
		i, held, rerr := readIntent(w.db, w.bucket, o.key)
		err := w.commitOp(o, Settlement{Number: s.Number, Miss: SideSource})
		e := w.entry(o.key)
		if (err != nil) != (held && i.Straddles(&s) || e != nil && e.Missed == SideCell) || rerr != nil {
			w.rt.Fatalf("%+v while %+v holds the key: %v, %v", o, i, err, rerr)
		}
		if err == nil {
			w.registers[o.key].settle(o.value)
		}
		return
	}
	w.taken(o, IntentPut)
}

// taken says whether o was granted.
func (w *world) taken(o *write, kind IntentKind) bool {
	r := w.request(o.door, o.key, 0)
	r.Op, r.Kind = o.id(), kind
	var a takeAnswer
	err := w.run(&takeIntent{r}, &a)
	holder, s := w.holder[o.key], w.status()
	switch door, _, derr := w.doorRow(o.door); {
	case derr != nil:
		w.rt.Fatal(derr)
	case errors.Is(err, holdall.ErrUnavailable):
		if e := w.entry(o.key); kind == IntentRepair || e == nil || e.Missed != s.State.Decides() {
			w.rt.Fatalf("intent of %+v, whose key has entry %+v: %v", o, e, err)
		}
		w.did["repair first"]++
		return false
	case err != nil:
		if !errors.Is(err, holdall.ErrStale) || s.Step == 0 && !door.silent(w.now.time()) {
			w.rt.Fatalf("intent of %+v: %v", o, err)
		}
		return false
	case a.Holder != nil:
		if holder == nil || a.Holder.Op != holder.id() {
			w.rt.Fatalf("intent of %+v is held by %+v; it should be by %+v", o, a.Holder, holder)
		}
		return false
	}
	if holder != nil {
		w.rt.Fatalf("intent of %+v was granted; %+v holds the key", o, holder)
	}
	o.state, o.granted, o.number = a.Granted.Migration.State, a.Granted.Migration.State, a.Granted.Migration.Number
	if e := a.Granted.Entry; e != nil {
		o.clear = e.Seq
	}
	w.holder[o.key] = o
	if kind != IntentRepair {
		w.ops = append(w.ops, o)
		w.registers[o.key].pending = append(w.registers[o.key].pending, o.value)
		w.registers[o.key].possible = append(w.registers[o.key].possible, o.value)
	}
	return true
}

func (o *write) id() (p holdall.PutID) { p[0], p[1], p[2] = byte(o.op), byte(o.op>>8), 0x0b; return p }

func (w *world) doorRow(d int) (door Door, ok bool, err error) {
	door.ID = doorID(d)
	ok, err = get(w.db, appendDoorKey(nil, door.ID), func(dec *decoder) { dec.door(&door) })
	return door, ok, err
}

// advance brings a write a phase further.
func (w *world) advance() {
	w.ops = slices.DeleteFunc(w.ops, func(o *write) bool { return o.phase == over })
	if len(w.ops) == 0 {
		return
	}
	o := w.ops[w.pick("op", len(w.ops))]
	switch o.phase {
	case granted:
		// A door stops by its own clock before metadata take it for silent.
		door, _, err := w.doorRow(o.door)
		if err != nil || w.now.time().Sub(door.Seen) >= DoorSilence-2*time.Second {
			return
		}
		o.phase, o.sent, o.deadline = sent, true, w.now.after(IntentLife)
		w.requests = append(w.requests, &toSource{o, max(0, w.source[o.key]), o.deadline})
	case sent:
		w.decide(o)
	case written:
		w.finish(o, w.endOp(o, Settlement{}))
	}
}

// land lets a request arrive.
func (w *world) land() {
	if len(w.requests) == 0 {
		return
	}
	i := w.pick("request", len(w.requests))
	q := w.requests[i]
	w.requests = slices.Delete(w.requests, i, i+1)
	switch {
	case q.deadline < w.now:
	case w.conditional && max(0, w.source[q.of.key]) != q.expect:
		q.of.failed = true
	default:
		w.source[q.of.key], q.of.landed = q.of.value, true
		if q.of.phase == over {
			w.did["late request landed"]++
		}
	}
}

// lose drops an answer: the door waits, or gives up.
func (w *world) lose() {
	for _, o := range w.ops {
		if o.phase == sent && !o.landed && !o.failed {
			o.waits = true
			return
		}
	}
}

// decide settles a write by what its door knows.
func (w *world) decide(o *write) {
	how := Settlement{Op: o.id(), Number: o.number}
	outcome := "unknown"
	switch {
	case o.landed && !o.waits:
		outcome = "done"
	case o.failed && !o.waits:
		outcome = "refused"
	case w.now > o.deadline: // nothing lands any more: what the source says now holds
		if outcome = "refused"; o.landed {
			outcome = "done"
		}
	case o.waits && w.often("wait on"):
		return
	case !o.waits:
		return
	}
	if outcome == "unknown" {
		how.Until = o.deadline.time()
	}
	staged := w.often("staged")
	switch {
	case !o.state.CellDecides() && outcome == "refused":
		if w.finish(o, w.endOp(o, how)) {
			w.registers[o.key].never(o.value)
		}
	case !o.state.CellDecides() && outcome == "done" && staged, o.state.CellDecides() && outcome == "done" && staged:
		how.Clear = o.clear
		w.settle(o, how, w.commitOp)
	case o.state.CellDecides() && staged:
		how.Miss = SideSource
		w.settle(o, how, w.commitOp)
	case o.state.CellDecides() && outcome == "refused":
		if w.finish(o, w.endOp(o, Settlement{})) {
			w.registers[o.key].never(o.value)
		}
	default:
		how.Miss = o.state.Follows()
		err := w.endOp(o, how)
		if w.finish(o, err) && outcome == "done" && !o.state.CellDecides() {
			w.ack(o)
		}
	}
}

// settle commits, and acknowledges.
func (w *world) settle(o *write, how Settlement, commit func(*write, Settlement) error) {
	how.End = w.often("end with it")
	err := commit(o, how)
	switch {
	case err != nil:
		w.finish(o, err)
		return
	case how.End:
		w.finish(o, nil)
	default:
		o.phase = written
	}
	w.ack(o)
}

func (w *world) ack(o *write) {
	if r := w.registers[o.key]; slices.Contains(r.pending, o.value) { // else it was seen, and another may have been since
		r.settle(o.value)
	}
	w.did["acked"]++
}

func (w *world) commitOp(o *write, how Settlement) error {
	var a objectAnswer
	w.values[o.id()] = o.value
	if o.value <= 0 {
		return w.stale(o, w.run(&deleteObject{ObjectDelete{Bucket: w.bucket, Key: o.key, Put: o.id(), Always: true, Settle: how}}, &a))
	}
	c := &commitObject{ObjectCommit{Bucket: w.bucket, Key: o.key, Put: o.id(), Root: w.root, ETag: strconv.Itoa(o.value), Settle: how}}
	return w.stale(o, w.run(c, &a))
}

func (w *world) endOp(o *write, how Settlement) error {
	how.Op, how.End = o.id(), true
	before := w.entry(o.key)
	err := w.run(&endIntent{EndIntent{Bucket: w.bucket, Key: o.key, Settlement: how}}, noResult{})
	if after := w.entry(o.key); w.holder[o.key] != o && fmt.Sprint(before) != fmt.Sprint(after) {
		w.rt.Fatalf("the late end of %+v changed the entry from %+v to %+v", o, before, after)
	}
	return w.stale(o, err)
}

// stale checks that what is refused is so because o does not hold its key, or the
// state has changed since it decided.
func (w *world) stale(o *write, err error) error {
	s := w.status()
	gone := w.holder[o.key] != o
	if o.phase == granted && o.number == 0 {
		return err
	}
	if err != nil && (!errors.Is(err, holdall.ErrStale) || !gone && o.number >= s.Began) {
		w.rt.Fatalf("%+v, of the migration at %d since %d: %v", o, s.Number, s.Began, err)
	}
	return err
}

// finish is for an op that has ended, if err is nil. A stale one is to be decided
// again, if it holds its key still.
func (w *world) finish(o *write, err error) bool {
	switch {
	case err == nil:
		if w.holder[o.key] == o {
			delete(w.holder, o.key)
		}
		o.phase = over
		return true
	case w.holder[o.key] == o:
		s := w.status()
		o.state, o.number = s.State, s.Number
		w.did["stale commit"]++
	default:
		o.phase = over // it is answered that nobody knows
	}
	return false
}
