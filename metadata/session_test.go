package metadata

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

func (r *rig) session() uint64 {
	r.t.Helper()
	var n numberResult
	r.ok(&openSession{"test"}, &n)
	return n.N
}

func TestRepeatedCommandGetsItsFirstAnswer(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	r.put(&v, id(1))
	s := r.session()
	del := &changeBlocks{tagDelete, holdall.DefaultNamespace, []holdall.BlockID{id(1), id(2)}}
	first := r.apply(header{Session: s, Seq: 1, Lowest: 1, Time: r.now}, del)
	r.hold(tagUndelete, id(1))
	before := contents(t, r.db)
	again := r.apply(header{Session: s, Seq: 1, Lowest: 1, Time: r.now}, del)
	if !bytes.Equal(first, again) {
		t.Errorf("answers: %x, then %x", first, again)
	}
	if contents(t, r.db) != before {
		t.Error("the repeat changed the state: it deleted what was undeleted since")
	}
	var gone idsResult
	if err := decodeAnswer(again, &gone); err != nil || len(gone.IDs) != 1 || gone.IDs[0] != id(2) {
		t.Errorf("answer: %+v, %v", gone, err)
	}
}

func TestRefusalsAreAnswersToo(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	s := r.session()
	late := stripe(&v, id(1))
	late.Stripe = 2
	r.apply(header{Session: s, Seq: 1, Lowest: 1, Time: r.now}, late)
	r.put(&v, id(2))
	late.Ends = stripe(&v, id(1)).Ends // now it would be accepted
	late.Blocks[0].Offset = v.Members[0].End + 4096
	err := decodeAnswer(r.apply(header{Session: s, Seq: 1, Lowest: 1, Time: r.now}, late), new(commitAnswer))
	if !errors.Is(err, holdall.ErrStale) || r.block(id(1)).Found {
		t.Errorf("repeat of a refused command: %v", err)
	}
}

// TestSessionMayJump: however far a session's lowest number goes up at once, no
// more is looked for than there can be; else one entry could keep every voter busy
// for ever.
func TestSessionMayJump(t *testing.T) {
	r := newCell(t, 3)
	s := r.session()
	for seq := range uint64(3) {
		r.apply(header{Session: s, Seq: 1 + seq*(sessionWindow-1)/2, Lowest: 1, Time: r.now}, &changeBlocks{tagClaim, 1, nil})
	}
	r.apply(header{Session: s, Seq: math.MaxUint64, Lowest: math.MaxUint64, Time: r.now}, &changeBlocks{tagClaim, 1, nil})
	answers := 0
	for _, err := range table(r.db, appendAnswerKey(nil, s, 0), appendAnswerKey(nil, s+1, 0), func(row) (struct{}, error) { return struct{}{}, nil }) {
		if answers++; err != nil {
			t.Fatal(err)
		}
	}
	if answers != 1 {
		t.Errorf("%d answers are kept, want the last alone", answers)
	}
}

func TestLateCommandIsRefused(t *testing.T) {
	r := newCell(t, 3)
	s := r.session()
	for seq := uint64(1); seq <= 5; seq++ {
		r.apply(header{Session: s, Seq: seq, Lowest: max(seq, 2) - 1, Time: r.now}, &changeBlocks{tagClaim, 1, nil})
	}
	before := contents(t, r.db)
	for seq, want := range map[uint64]error{1: holdall.ErrStale, 3: holdall.ErrStale, 4: nil, 5: nil} {
		err := r.doAs(header{Session: s, Seq: seq, Lowest: 1, Time: r.now}, &addTask{Task{Kind: "x"}}, new(idsResult))
		if !errors.Is(err, want) || errors.Is(err, errNoSession) {
			t.Errorf("command %d: %v, want %v", seq, err, want)
		}
	}
	if contents(t, r.db) != before {
		t.Error("a late or repeated command changed the state")
	}
	answers := 0
	for _, err := range rows(r.db, []byte{prefixAnswer}, []byte{prefixAnswer + 1}) {
		if err != nil {
			t.Fatal(err)
		}
		answers++
	}
	if answers != 2 {
		t.Errorf("%d answers kept, want those of 4 and 5", answers)
	}
}

func TestSessionWindowIsBounded(t *testing.T) {
	r := newCell(t, 0)
	s := r.session()
	err := r.doAs(header{Session: s, Seq: sessionWindow + 1, Lowest: 1, Time: r.now}, &changeBlocks{tagClaim, 1, nil}, new(idsResult))
	if !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("too far ahead: %v", err)
	}
	if err := r.doAs(header{Session: s, Seq: sessionWindow, Lowest: 1, Time: r.now}, &changeBlocks{tagClaim, 1, nil}, new(idsResult)); err != nil {
		t.Errorf("the last of the window: %v", err)
	}
}

func TestIdleSessionsAreDroppedWhenAnotherOpens(t *testing.T) {
	r := newCell(t, 0)
	idle, busy := r.session(), r.session()
	claim := &changeBlocks{tagClaim, 1, nil}
	if err := r.doAs(header{Session: idle, Seq: 1, Lowest: 1, Time: r.now}, claim, new(idsResult)); err != nil {
		t.Fatal(err)
	}
	r.pass(sessionIdle - time.Second)
	if err := r.doAs(header{Session: busy, Seq: 1, Lowest: 1, Time: r.now}, claim, new(idsResult)); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Second)
	r.session()
	if err := r.doAs(header{Session: idle, Seq: 1, Lowest: 1, Time: r.now}, claim, new(idsResult)); !errors.Is(err, errNoSession) || !errors.Is(err, holdall.ErrStale) {
		t.Errorf("dropped session: %v", err)
	}
	if err := r.doAs(header{Session: busy, Seq: 2, Lowest: 1, Time: r.now}, claim, new(idsResult)); err != nil {
		t.Errorf("busy session: %v", err)
	}
	if n := r.m.sys.counters.sessions; n != 2 {
		t.Errorf("%d sessions counted", n)
	}
}

func TestSessionsOfAnotherIncarnationAreOthers(t *testing.T) {
	r := newCell(t, 0)
	a := r.session()
	r.ok(&raiseCell{Reason: "restored"}, new(numberResult))
	if b := r.session(); holdall.Epoch(b).Incarnation() != 2 || b == a {
		t.Errorf("sessions %d and %d", a, b)
	}
}
