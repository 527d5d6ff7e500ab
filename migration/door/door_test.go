package door

import (
	"errors"
	"strings"
	"testing"

	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/s3fault"
)

func TestEveryStateReadsAndWritesWhereItShould(t *testing.T) {
	r := newRig(t, options{})
	r.mustWrite("old", "assess")
	if r.sourceHolds("old") != "assess" {
		t.Error("in assess the source does not have the put")
	}
	if _, recorded := r.cellHolds("old"); recorded {
		t.Error("in assess the cell has a record")
	}
	r.reads("old", "assess")
	for _, state := range []metadata.MigrationState{metadata.StateMirror, metadata.StateShadow, metadata.StateFlipped} {
		r.to(state)
		t.Log(state)
		if state != metadata.StateShadow { // nobody has copied it, which a read in shadow finds
			r.reads("old", "assess")
		}
		r.mustWrite("k", state.String())
		r.reads("k", state.String())
		r.both("k", state.String())
		r.mustWrite("gone", "x")
		if err := r.remove("gone"); err != nil {
			t.Fatal(err)
		}
		r.reads("gone", "-")
		r.both("gone", "-")
		if _, recorded := r.cellHolds("gone"); !recorded {
			t.Errorf("%v: no marker", state)
		}
		if r.missed("k") != metadata.SideNone || r.missed("gone") != metadata.SideNone {
			t.Errorf("%v: something was missed", state)
		}
	}
	r.to(metadata.StateCutOver)
	r.mustWrite("k", "cut over")
	r.reads("k", "cut over")
	if r.sourceHolds("k") != "flipped" || r.missed("k") != metadata.SideSource {
		t.Error("in cut-over the source is not behind")
	}
	r.reads("old", "-") // nobody has copied it
}

func TestALostAnswerIsFoundOut(t *testing.T) {
	for _, state := range []metadata.MigrationState{metadata.StateMirror, metadata.StateFlipped} {
		t.Run(state.String(), func(t *testing.T) {
			r := newRig(t, options{})
			r.to(state)
			r.mustWrite("k", "one")
			r.proxy.SetPlan(s3fault.Plan{Rules: []s3fault.Rule{{Kind: s3fault.ResetLost, Rate: 1, Most: 1, Methods: []string{"PUT"}}}})
			r.mustWrite("k", "two")
			r.both("k", "two")
			if side := r.missed("k"); side != metadata.SideNone {
				t.Errorf("the %v missed it", side)
			}
		})
	}
}

func TestALatePutLandsOnNothingNewer(t *testing.T) {
	for _, state := range []metadata.MigrationState{metadata.StateMirror, metadata.StateFlipped} {
		t.Run(state.String(), func(t *testing.T) {
			r := newRig(t, options{timeout: 300e6})
			r.to(state)
			r.mustWrite("k", "one")
			r.quiet()
			r.proxy.SetPlan(s3fault.Plan{Rules: []s3fault.Rule{{Kind: s3fault.LatePut, Rate: 1, Most: 1}}})
			err := r.write("k", "late")
			if decided := state.CellDecides(); (err == nil) != decided {
				t.Fatalf("a put of which no answer came: %v", err)
			}
			if side := r.missed("k"); side != state.Follows() {
				t.Errorf("the outbox says that the %v missed it", side)
			}
			r.mustWrite("k", "two")
			if err := r.proxy.Land(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.quiet()
			r.both("k", "two")
			r.reads("k", "two")
		})
	}
}

func TestTheSideThatDecidesIsHeard(t *testing.T) {
	refuse := s3fault.Plan{Rules: []s3fault.Rule{{Kind: s3fault.SlowDown, Rate: 1, Methods: []string{"PUT", "DELETE"}}}}
	for _, state := range []metadata.MigrationState{metadata.StateMirror, metadata.StateFlipped} {
		t.Run(state.String(), func(t *testing.T) {
			r := newRig(t, options{})
			r.to(state)
			r.mustWrite("k", "one")
			r.quiet()
			r.proxy.SetPlan(refuse)
			putErr, deleteErr := r.write("k", "two"), r.remove("k")
			r.proxy.SetPlan(s3fault.Plan{})
			if state.CellDecides() {
				if putErr != nil || deleteErr != nil || r.missed("k") != metadata.SideSource {
					t.Errorf("put %v, delete %v, missed by %v", putErr, deleteErr, r.missed("k"))
				}
				r.reads("k", "-")
			} else {
				if putErr == nil || deleteErr == nil || r.missed("k") != metadata.SideNone {
					t.Errorf("put %v, delete %v, missed by %v", putErr, deleteErr, r.missed("k"))
				}
				r.both("k", "one")
			}
			for op, kind := range map[string]fault{"commit": notDone, "delete": exhausted} {
				r.faults.set(once(op, kind))
				if op == "commit" {
					putErr = r.write("k", "three")
				} else {
					putErr = r.remove("k")
				}
				if failed := putErr != nil; failed != state.CellDecides() {
					t.Errorf("%s fails in the cell: %v", op, putErr)
				}
				if side := r.missed("k"); side != state.Follows() {
					t.Errorf("%s fails in the cell, the outbox says that the %v missed it", op, side)
				}
			}
		})
	}
}

func TestABadBodyReachesNeitherSide(t *testing.T) {
	r := newRig(t, options{})
	r.to(metadata.StateMirror)
	bad := errors.New("the checksum is wrong")
	for _, size := range []int{0, 1, 70_000, chunkSize, 2*chunkSize + 5} {
		err := r.finishing("k", strings.Repeat("x", size), bad)
		if !errors.Is(err, bad) {
			t.Errorf("%d bytes: %v", size, err)
		}
		r.both("k", "-")
		if err := r.finishing("ok", strings.Repeat("y", size), nil); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		r.both("ok", strings.Repeat("y", size))
	}
}
