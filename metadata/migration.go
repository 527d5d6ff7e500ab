package metadata

import (
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// MigrationState is how far a bucket has come on its way from another store to
// this cell. docs/migration.md says what each means for reads and writes.
type MigrationState uint8

// The states of a migration, in their order.
const (
	StateAssess  MigrationState = 1 // the source alone is written and read
	StateMirror  MigrationState = 2 // both are written, the source decides; it is read
	StateShadow  MigrationState = 3 // as mirror; the cell is read too, and compared
	StateFlipped MigrationState = 4 // both are written, the cell decides; it is read
	StateCutOver MigrationState = 5 // the cell; the source is kept current behind it
	StateRetired MigrationState = 6 // the cell alone, for good
)

// String returns the state's name, as commands take and print it.
func (s MigrationState) String() string {
	names := [...]string{"none", "assess", "mirror", "shadow", "flipped", "cut-over", "retired"}
	if int(s) >= len(names) {
		return fmt.Sprintf("state %d", uint8(s))
	}
	return names[s]
}

// ParseMigrationState reads the name of a state.
func ParseMigrationState(name string) (MigrationState, error) {
	for s := StateAssess; s <= StateRetired; s++ {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("migration state %.40q: want assess, mirror, shadow, flipped, cut-over or retired: %w", name, holdall.ErrInvalid)
}

// Mirrored says whether writes go to both stores.
func (s MigrationState) Mirrored() bool { return s >= StateMirror && s <= StateCutOver }

// CellDecides says whether the cell's answer to a write is the one that counts.
func (s MigrationState) CellDecides() bool { return s >= StateFlipped }

// Side is one of the two stores of a migration.
type Side uint8

// The sides.
const (
	SideNone   Side = 0
	SideSource Side = 1 // the store that is left
	SideCell   Side = 2
)

// String returns "none", "source" or "cell".
func (s Side) String() string { return [...]string{"none", "source", "cell", "side 3"}[s&3] }

// Decides returns the side whose answer to a write counts, and Follows the one
// that is made equal to it.
func (s MigrationState) Decides() Side {
	if s.CellDecides() {
		return SideCell
	}
	return SideSource
}

// Follows returns the side that does not decide.
func (s MigrationState) Follows() Side { return SideSource + SideCell - s.Decides() }

// MissPolicy is what becomes of a write that the deciding side took and the
// other one missed.
type MissPolicy uint8

// The policies.
const (
	MissOutbox MissPolicy = 1 // it is acknowledged; the other side is made equal later
	MissFail   MissPolicy = 2 // it fails, to be tried again; the other side is made equal all the same
)

// Source is the bucket that is left, and where it is.
type Source struct {
	Endpoint  string // URL; "" = AWS
	Region    string
	Bucket    string
	Profile   string // of the credentials, which are nowhere in metadata; "" = the process's own
	PathStyle bool

	// Unconditional says that it ignores If-Match and If-None-Match on writes,
	// so that an unknown outcome holds its key until the request can no longer
	// live.
	Unconditional bool
}

// Migration is a row of the migrations table.
type Migration struct {
	Bucket    holdall.BucketID
	Namespace holdall.NamespaceID
	Source    Source
	Policy    MissPolicy
	CleanRun  time.Duration // without a finding, before flipped
	Window    time.Duration // in cut-over, before retired

	State     MigrationState
	Number    uint64         // rises with every change of State or Step
	Began     uint64         // Number when State began: what was decided by one since then still holds
	Step      MigrationState // announced, not yet done; 0 = none
	Announced time.Time
	Entered   time.Time // when State began

	Evidence    Evidence
	Certificate [32]byte // digest of the one that let it cut over; zero = none
	Certified   time.Time

	// What follows, and Evidence, change with every write; Store.Migration, which is
	// made to be asked with every call, leaves both zero.
	Intents     int64 // writes under way
	Entries     int64 // keys that one side missed
	Quarantined int64 // keys that could not be copied, and are not excepted
	Exceptions  int64 // keys that an operator signed off
}

// Evidence is what guards judge by. Times are zero until something happened.
type Evidence struct {
	Copied, CopiedBytes int64
	Backfilled          time.Time // the backfill reached the end of the source
	CaughtUp            time.Time // a listing after that found nothing new
	Passes              uint32    // full verifications without a difference since the last finding
	Verified            time.Time // when the last of them ended
	Mismatches          int64     // findings since the migration began
	LastFinding         time.Time
	CleanSince          time.Time // the clean-run clock runs from here
	Floor               uint64    // Raft index: a verification that began before does not count
}

// DefaultCleanRun and DefaultWindow are a migration's where its maker names none.
const (
	DefaultCleanRun = 30 * 24 * time.Hour
	DefaultWindow   = 30 * 24 * time.Hour
)

// CleanPasses is how many full verifications without a difference a flip needs.
const CleanPasses = 2

// Guard says whether a migration may step to a state at a time, by what metadata
// know: nil, or an ErrRefused that names everything that is in the way. It is
// asked when the step is announced and again when it is done.
func Guard(m *Migration, to MigrationState, now time.Time) error {
	var missing []string
	want := func(ok bool, format string, args ...any) {
		if !ok {
			missing = append(missing, fmt.Sprintf(format, args...))
		}
	}
	switch {
	case m.State == StateRetired:
		return fmt.Errorf("metadata: the migration is retired: there is no way on or back: %w", holdall.ErrRefused)
	case to < m.State:
		guardBack(m, to, want)
	case to != m.State+1:
		return fmt.Errorf("metadata: %v does not follow %v; steps are taken one by one: %w", to, m.State, holdall.ErrRefused)
	default:
		guardForward(m, to, now, want)
	}
	if missing == nil {
		return nil
	}
	return &guardError{from: m.State, to: to, missing: missing}
}

func guardForward(m *Migration, to MigrationState, now time.Time, want func(bool, string, ...any)) {
	e := &m.Evidence
	switch to {
	case StateMirror:
		// The inventory is the operator's: it decides nothing about what is safe.
	case StateShadow:
		want(!e.Backfilled.IsZero(), "the backfill has not reached the end of the source")
		want(!e.CaughtUp.IsZero() && !e.CaughtUp.Before(e.Backfilled), "no listing since the backfill has found nothing new")
		want(m.Entries == 0, "the outbox has %d keys", m.Entries)
		want(m.Quarantined == 0, "%d keys are in quarantine, neither copied nor excepted", m.Quarantined)
	case StateFlipped:
		want(e.Passes >= CleanPasses, "%d full verifications in a row were clean, %d are needed", e.Passes, CleanPasses)
		clean := now.Sub(e.CleanSince)
		want(!e.CleanSince.IsZero() && clean >= m.CleanRun, "the clean-run clock stands at %v of %v", max(clean, 0).Round(time.Second), m.CleanRun)
		want(m.Entries == 0, "the outbox has %d keys", m.Entries)
		want(m.Quarantined == 0, "%d keys are in quarantine, neither copied nor excepted", m.Quarantined)
	case StateCutOver:
		want(m.Certificate != [32]byte{} && !m.Certified.Before(m.Entered), "there is no certificate of this flip; `holdall migrate certificate create` makes one")
	case StateRetired:
		left := m.Entered.Add(m.Window).Sub(now)
		want(left <= 0, "the rollback window ends in %v", left.Round(time.Second))
	}
}

// guardBack lets every step back to the source be taken once the source holds
// all that was acknowledged.
func guardBack(m *Migration, to MigrationState, want func(bool, string, ...any)) {
	want(to >= StateAssess, "there is no state before assess")
	if m.State.CellDecides() && !to.CellDecides() {
		want(m.Entries == 0, "the source misses %d keys that the outbox still holds", m.Entries)
	}
}

// guardError lists all that is in the way of a step.
type guardError struct {
	from, to MigrationState
	missing  []string
}

func (e *guardError) Error() string {
	text := fmt.Sprintf("metadata: no step from %v to %v: ", e.from, e.to)
	for i, m := range e.missing {
		if i > 0 {
			text += "; "
		}
		text += m
	}
	return text + ": " + holdall.ErrRefused.Error()
}

func (e *guardError) Unwrap() error { return holdall.ErrRefused }

// Missing lists what is in the way, one line each.
func (e *guardError) Missing() []string { return e.missing }
