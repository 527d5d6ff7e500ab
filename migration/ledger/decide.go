package ledger

import "github.com/holdall/holdall/metadata"

// Outcome is what one side said to a write.
type Outcome uint8

// The outcomes of a write on one side.
const (
	Absent  Outcome = 0 // it was not asked
	Done    Outcome = 1 // it has the write, durably
	Refused Outcome = 2 // it said no, and surely does not have it
	Unknown Outcome = 3 // no answer, or one that says neither: it may have the write, or may have it later
)

// String returns the outcome's name.
func (o Outcome) String() string { return [...]string{"absent", "done", "refused", "unknown"}[o&3] }

// Answer is whose word the caller gets.
type Answer uint8

// The answers to a caller.
const (
	FromSource  Answer = 1 // what the source said
	FromCell    Answer = 2 // what the cell said
	Unavailable Answer = 3 // the write may or may not have been done: try again
)

// Write is a write that both sides have been asked for, as far as they answered.
type Write struct {
	State  metadata.MigrationState // when the decision is taken, not when the write began
	Policy metadata.MissPolicy

	// Source is what the source said. The cell is asked in two halves: Staged is
	// whether the bytes lie there, durable and unnamed; the commit that names them
	// waits for the decision.
	Source Outcome
	Staged Outcome
}

// Decision is what to do about a Write, in the order of the fields.
type Decision struct {
	// Resolve: ask the source what it holds for as long as the request may still
	// land there, and decide again with what it says. Nothing else is set.
	Resolve bool

	// Commit names the staged bytes in the cell, and drops the key's outbox entry
	// if both sides are then equal (Clear).
	Commit bool
	Clear  bool

	// Miss is the side that the outbox notes as behind, or ahead: always the one
	// that does not decide, for it is made equal to the other. It is noted before
	// the caller is answered: in the same Raft entry as the commit, where there is
	// one.
	Miss metadata.Side

	Answer Answer
}

// Decide says what a write comes to. resolved is whether the source was asked,
// after an unknown outcome, for as long as the request could live.
//
// Three things hold whatever comes in. A side is never left behind without an
// entry. A caller is told that the write is done only when the deciding side has
// it. And the cell is never given what the source surely refused, as long as the
// source decides, nor the other way round.
func Decide(w Write, resolved bool) Decision {
	if !w.State.Mirrored() {
		return decideAlone(w)
	}
	if w.Source == Unknown && !resolved {
		return Decision{Resolve: true}
	}
	if w.State.CellDecides() {
		return decideByCell(w)
	}
	return decideBySource(w)
}

// decideAlone is for a bucket that only one side is written in.
func decideAlone(w Write) Decision {
	if !w.State.CellDecides() {
		return Decision{Answer: FromSource}
	}
	return Decision{Commit: w.Staged == Done, Answer: FromCell}
}

func decideBySource(w Write) Decision {
	switch w.Source {
	case Done:
		if w.Staged == Done {
			return Decision{Commit: true, Clear: true, Answer: FromSource}
		}
		d := Decision{Miss: metadata.SideCell, Answer: FromSource}
		if w.Policy == metadata.MissFail {
			d.Answer = Unavailable
		}
		return d
	case Refused:
		return Decision{Answer: FromSource}
	case Unknown: // the source may be ahead of the cell
		return Decision{Miss: metadata.SideCell, Answer: Unavailable}
	}
	// The source was not asked: the body failed before it could be.
	return Decision{Answer: Unavailable}
}

func decideByCell(w Write) Decision {
	if w.Staged != Done {
		d := Decision{Answer: FromCell}
		if w.Source == Done || w.Source == Unknown {
			d.Miss = metadata.SideSource // it is ahead: repair makes it what the cell holds
		}
		if w.Staged == Unknown {
			d.Answer = Unavailable
		}
		return d
	}
	if w.Source == Done {
		return Decision{Commit: true, Clear: true, Answer: FromCell}
	}
	if w.Policy == metadata.MissFail && w.Source != Unknown {
		// Neither side has it, so nothing is to be made equal.
		return Decision{Answer: Unavailable}
	}
	d := Decision{Commit: true, Miss: metadata.SideSource, Answer: FromCell}
	if w.Policy == metadata.MissFail {
		d = Decision{Miss: metadata.SideSource, Answer: Unavailable}
	}
	return d
}

// AfterCommit says what a write comes to whose commit in the cell did not go as
// decided: committed is what became of it.
func AfterCommit(w Write, d Decision, committed Outcome) Decision {
	if !d.Commit || committed == Done {
		return d
	}
	w.Staged = committed
	if w.State.CellDecides() {
		if d.Miss == metadata.SideSource || w.Source == Done || w.Source == Unknown {
			return Decision{Miss: metadata.SideSource, Answer: answerOf(committed)}
		}
		return Decision{Answer: answerOf(committed)}
	}
	return decideBySource(w)
}

func answerOf(committed Outcome) Answer {
	if committed == Unknown {
		return Unavailable
	}
	return FromCell
}

// ReadFrom says where a key is read, given whether the cell has a record of it: a
// version or a delete marker. What the outbox holds does not matter: it names the
// side that does not decide, and only the other is read, but for keys of which
// the cell has never heard.
func ReadFrom(state metadata.MigrationState, recorded bool) metadata.Side {
	if state == metadata.StateFlipped && !recorded {
		return metadata.SideSource
	}
	return state.Decides()
}
