package ledger

import (
	"testing"

	"github.com/holdall/holdall/metadata"
)

// every yields each combination of what may come in.
func every(yield func(Write, bool) bool) {
	for state := metadata.StateAssess; state <= metadata.StateRetired; state++ {
		for policy := metadata.MissOutbox; policy <= metadata.MissFail; policy++ {
			for source := Absent; source <= Unknown; source++ {
				for staged := Absent; staged <= Unknown; staged++ {
					for _, resolved := range [...]bool{false, true} {
						if !yield(Write{state, policy, source, staged}, resolved) {
							return
						}
					}
				}
			}
		}
	}
}

func TestNoSideIsLeftBehindWithoutAnEntry(t *testing.T) {
	for w, resolved := range every {
		if !w.State.Mirrored() {
			continue
		}
		first := Decide(w, resolved)
		if first.Resolve {
			continue
		}
		for committed := Done; committed <= Unknown; committed++ {
			d := AfterCommit(w, first, committed)
			cell := Absent
			if first.Commit {
				cell = committed
			}
			equal := w.Source == Done && cell == Done || (w.Source == Absent || w.Source == Refused) && (cell == Absent || cell == Refused)
			if !equal && d.Miss == metadata.SideNone && d.Answer != Unavailable {
				t.Errorf("%+v resolved %t committed %v: %+v: the sides may differ and nothing notes it", w, resolved, committed, d)
			}
			if (w.Source == Done) != (cell == Done) && cell != Unknown && d.Miss == metadata.SideNone {
				t.Errorf("%+v resolved %t committed %v: %+v: one side has it, the other does not", w, resolved, committed, d)
			}
			if d.Clear && !equal {
				t.Errorf("%+v resolved %t committed %v: %+v: an entry is dropped though the sides may differ", w, resolved, committed, d)
			}
		}
	}
}

func TestACallerHearsDoneOnlyFromTheSideThatDecides(t *testing.T) {
	for w, resolved := range every {
		first := Decide(w, resolved)
		if first.Resolve {
			continue
		}
		for committed := Done; committed <= Unknown; committed++ {
			d := AfterCommit(w, first, committed)
			switch {
			case d.Answer == FromSource && w.State.CellDecides():
				t.Errorf("%+v: the source answers in a state where the cell decides", w)
			case d.Answer == FromCell && !w.State.CellDecides():
				t.Errorf("%+v: the cell answers in a state where the source decides", w)
			case d.Answer == FromCell && w.Staged == Done && !first.Commit && w.State.Mirrored():
				t.Errorf("%+v: %+v: the cell's bytes are there, unnamed, and its answer is given", w, d)
			case first.Commit && w.Staged != Done:
				t.Errorf("%+v: %+v: bytes are named that are not there", w, d)
			case first.Commit && !w.State.CellDecides() && w.Source != Done:
				t.Errorf("%+v: %+v: the cell takes what the source did not", w, d)
			}
		}
	}
}

func TestFailLeavesNoSideAheadUnnoted(t *testing.T) {
	got := Decide(Write{metadata.StateMirror, metadata.MissFail, Done, Refused}, false)
	if want := (Decision{Miss: metadata.SideCell, Answer: Unavailable}); got != want {
		t.Errorf("mirror, the cell refused: %+v, want %+v", got, want)
	}
	got = Decide(Write{metadata.StateFlipped, metadata.MissFail, Refused, Done}, false)
	if want := (Decision{Answer: Unavailable}); got != want {
		t.Errorf("flipped, the source refused: %+v, want %+v", got, want)
	}
	got = Decide(Write{metadata.StateFlipped, metadata.MissFail, Unknown, Done}, true)
	if want := (Decision{Miss: metadata.SideSource, Answer: Unavailable}); got != want {
		t.Errorf("flipped, the source does not say: %+v, want %+v", got, want)
	}
}

func TestTheOutboxKeepsTheDecidingSidesWordGood(t *testing.T) {
	got := Decide(Write{metadata.StateShadow, metadata.MissOutbox, Done, Unknown}, false)
	if want := (Decision{Miss: metadata.SideCell, Answer: FromSource}); got != want {
		t.Errorf("shadow, the cell missed it: %+v, want %+v", got, want)
	}
	got = Decide(Write{metadata.StateFlipped, metadata.MissOutbox, Unknown, Done}, true)
	if want := (Decision{Commit: true, Miss: metadata.SideSource, Answer: FromCell}); got != want {
		t.Errorf("flipped, the source missed it: %+v, want %+v", got, want)
	}
}

func TestOnlyTheDecidingSideIsRead(t *testing.T) {
	for state := metadata.StateAssess; state <= metadata.StateRetired; state++ {
		if side := ReadFrom(state, true); side != state.Decides() {
			t.Errorf("%v: a key that the cell knows is read from %v", state, side)
		}
		want := state.Decides()
		if state == metadata.StateFlipped {
			want = metadata.SideSource
		}
		if side := ReadFrom(state, false); side != want {
			t.Errorf("%v: a key that the cell has never heard of is read from %v, want %v", state, side, want)
		}
	}
}

func TestTheOutboxNamesTheSideThatDoesNotDecide(t *testing.T) {
	for w, resolved := range every {
		for committed := Done; committed <= Unknown; committed++ {
			d := AfterCommit(w, Decide(w, resolved), committed)
			if d.Miss != metadata.SideNone && d.Miss != w.State.Follows() {
				t.Errorf("%+v: %+v: the deciding side would be made equal to the other", w, d)
			}
		}
	}
}
