package worker

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/source"
)

// stretch is a range of a walk as it is noted: all keys after start and up to upto
// are its own, and those up to from are settled.
type stretch struct {
	start, from, upto string // upto "" = no bound
	done              bool
}

// runID tells the notes of one run from those of the run before.
type runID [16]byte

// MarshalText returns the hex digits of the id.
func (id runID) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(id[:])), nil }

// UnmarshalText reads them.
func (id *runID) UnmarshalText(text []byte) error {
	if len(text) != 2*len(id) {
		return fmt.Errorf("worker: run id of %d characters: %w", len(text), holdall.ErrCorrupt)
	}
	_, err := hex.Decode(id[:], text)
	return err
}

const stretchVersion = 1

// encode returns the note: version (1), run (16), done (1), and three texts, each
// after its length. With keys of at most 1,024 bytes it fits metadata.MaxProgress.
func (s *stretch) encode(run runID) []byte {
	b := append([]byte{stretchVersion}, run[:]...)
	done := byte(0)
	if s.done {
		done = 1
	}
	b = append(b, done)
	for _, text := range []string{s.start, s.from, s.upto} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	return b
}

func parseStretch(b []byte) (run runID, s stretch, err error) {
	bad := fmt.Errorf("worker: a walker's note of %d bytes is none: %w", len(b), holdall.ErrCorrupt)
	if len(b) < 2+len(run) || b[0] != stretchVersion || b[1+len(run)] > 1 {
		return run, s, bad
	}
	copy(run[:], b[1:])
	s.done = b[1+len(run)] == 1
	b = b[2+len(run):]
	for _, text := range []*string{&s.start, &s.from, &s.upto} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return run, s, bad
		}
		*text, b = string(b[size:][:n]), b[size:][n:]
	}
	if len(b) != 0 {
		return run, s, bad
	}
	return run, s, nil
}

// covered says whether stretches leave no key out.
func covered(all []stretch) bool {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b stretch) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	upto := ""
	for i, s := range sorted {
		if s.start > upto {
			return false
		}
		if s.upto == "" {
			return true
		}
		if i == 0 || s.upto > upto {
			upto = s.upto
		}
	}
	return false
}

// tracks follows the pages of a walk until all their entries are settled. It is a
// state machine, for one goroutine at a time.
type tracks struct {
	ranges map[int]*track // by the plan's number of the range
	notes  int            // that were ever given a number
	due    map[*track]bool
}

// track is one range.
type track struct {
	stretch
	note  int // number of its note
	noted bool
	pages []*page // handed out, in order
}

// page is what came of a range at once.
type page struct {
	track *track
	left  int // entries that are not settled
	from  string
	done  bool
}

// newTracks goes on with what was noted, in the order of the notes.
func newTracks(noted []stretch) *tracks {
	t := &tracks{ranges: map[int]*track{}, due: map[*track]bool{}, notes: len(noted)}
	for i, s := range noted {
		t.ranges[i] = &track{stretch: s, note: i, noted: true}
	}
	return t
}

// restore returns the ranges to walk on.
func (t *tracks) restore() (ranges []source.Range) {
	for i := range len(t.ranges) {
		s := t.ranges[i]
		ranges = append(ranges, source.Range{ID: i, From: source.Position{Key: s.from}, Upto: s.upto, Done: s.done})
	}
	return ranges
}

// take notes what a walk found, and returns the page that its entries make: nil if
// there are none.
func (t *tracks) take(f source.Found) (p *page) {
	for _, r := range f.Ranges {
		tr := t.ranges[r.ID]
		if tr == nil {
			tr = &track{stretch: stretch{start: r.From.Key, from: r.From.Key}, note: t.notes}
			t.ranges[r.ID] = tr
			t.notes++
		}
		tr.upto = r.Upto
		p = &page{track: tr, left: len(f.Entries), from: r.From.Key, done: r.Done}
		tr.pages = append(tr.pages, p)
		t.advance(tr)
	}
	if len(f.Entries) == 0 {
		return nil
	}
	if len(f.Ranges) != 1 {
		panic("worker: broken: the entries of a page are one range's")
	}
	return p
}

// settle notes that one entry of a page needs nothing any more.
func (t *tracks) settle(p *page) {
	p.left--
	if p.left == 0 {
		t.advance(p.track)
	}
}

// advance moves a range over the pages that are settled.
func (t *tracks) advance(tr *track) {
	for len(tr.pages) > 0 && tr.pages[0].left == 0 {
		tr.from, tr.done = tr.pages[0].from, tr.pages[0].done
		tr.pages = tr.pages[1:]
	}
	t.due[tr] = true
}

// note is one to be written.
type note struct {
	number int
	stretch
}

// notesDue returns what is to be noted, in this order: a range that was split off
// is noted before the one that is shorter by it.
func (t *tracks) notesDue() (notes []note) {
	all := slices.SortedFunc(maps.Keys(t.due), func(a, b *track) int {
		if a.noted != b.noted {
			if b.noted {
				return -1
			}
			return 1
		}
		return a.note - b.note
	})
	clear(t.due)
	for _, tr := range all {
		tr.noted = true
		notes = append(notes, note{tr.note, tr.stretch})
	}
	return notes
}
