package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// shelf is a bucket in memory that lists as S3 does.
type shelf []string

func newShelf(keys ...string) shelf {
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (s shelf) list(_ context.Context, r ListRequest) (p Page, err error) {
	most := cmp.Or(r.Most, 7) // small pages: many of them
	i, _ := slices.BinarySearch(s, r.After.Key)
	for ; i < len(s); i++ {
		key := s[i]
		if key <= r.After.Key || !strings.HasPrefix(key, r.Prefix) {
			continue
		}
		if len(p.Entries)+len(p.Prefixes) == most {
			p.More = true
			break
		}
		if n := strings.Index(key[len(r.Prefix):], cmp.Or(r.Delimiter, "\x00none")); n >= 0 {
			common := key[:len(r.Prefix)+n+1]
			if !slices.Contains(p.Prefixes, common) {
				p.Prefixes = append(p.Prefixes, common)
			}
			continue
		}
		p.Entries = append(p.Entries, Entry{Key: key, Latest: true})
		p.Next = Position{Key: key}
	}
	return p, nil
}

func shelves() map[string]shelf {
	r := rand.New(rand.NewPCG(3, 3))
	all := map[string]shelf{"empty": newShelf(), "one": newShelf("a")}
	add := func(name string, n int, key func(i int) string) {
		var keys []string
		for i := range n {
			keys = append(keys, key(i))
		}
		all[name] = newShelf(keys...)
	}
	add("directories", 3000, func(i int) string { return fmt.Sprintf("p%03d/f%03d", i/30, i%30) })
	add("deep", 2000, func(i int) string { return fmt.Sprintf("data/lake/year=2024/part-%05d", i) })
	add("flat", 2000, func(i int) string { return fmt.Sprintf("%08d", i) })
	add("hex", 2000, func(int) string { return fmt.Sprintf("%016x", r.Uint64()) })
	add("lopsided", 3000, func(i int) string {
		return fmt.Sprintf("%s/%06d", []string{"a", "big", "big", "big", "big", "z"}[i%6], i)
	})
	add("unicode", 1500, func(i int) string { return fmt.Sprintf("ключ/日本/é%d/%c", i%5, rune(0x3041+i)) })
	add("odd", 600, func(i int) string {
		return strings.Repeat([]string{"/", "a/", "a//", "~", " ", "\x01", "\x7f"}[i%7], 1+i/7%40) + fmt.Sprint(i%3)
	})
	return all
}

// Every key is found once, by many walkers, in every order of answers, and over
// stops at any moment.
func TestWalkFindsEveryKeyOnce(t *testing.T) {
	for name, s := range shelves() {
		for seed := range uint64(30) {
			r := rand.New(rand.NewPCG(seed, 1))
			walkers := 1 + r.IntN(12)
			var kept []Range // what a catalogue would hold
			seen := map[string]int{}
			requests := 0
			for run := 0; ; run++ {
				plan := NewPlan("", walkers, false)
				plan.Restore(kept)
				requests += drive(t, plan, s, r, func(f Found) {
					for _, e := range f.Entries {
						seen[e.Key]++
					}
					kept = merge(kept, f.Ranges)
				})
				if plan.Finished() {
					break
				}
				if run > 1000 {
					t.Fatalf("%s, seed %d: it never ends", name, seed)
				}
			}
			for _, key := range s {
				if seen[key] != 1 {
					t.Fatalf("%s, seed %d: key %q was found %d times", name, seed, key, seen[key])
				}
			}
			if len(seen) != len(s) {
				t.Fatalf("%s, seed %d: %d keys found, there are %d", name, seed, len(seen), len(s))
			}
			if most := 50 + 3*len(s)/7 + 400; requests > most {
				t.Errorf("%s, seed %d: %d requests for %d pages", name, seed, requests, len(s)/7)
			}
		}
	}
}

// drive runs a plan in one goroutine: answers come in an order of chance, and
// with a little chance the process dies, with requests in flight.
func drive(t *testing.T, plan *Plan, s shelf, r *rand.Rand, found func(Found)) (requests int) {
	t.Helper()
	var out []answer
	for {
		for len(out) < plan.walkers {
			task, ok := plan.Next()
			if !ok {
				break
			}
			requests++
			page, err := s.list(t.Context(), task.Request)
			if r.IntN(50) == 0 {
				err = errors.New("lost")
			}
			out = append(out, answer{task, page, err})
		}
		if len(out) == 0 || r.IntN(60) == 0 {
			return requests
		}
		i := r.IntN(len(out))
		a := out[i]
		out = slices.Delete(out, i, i+1)
		if a.err != nil {
			plan.Failed(a.task)
			continue
		}
		if err := plan.settle(a, func(f Found) error { found(f); return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// merge is what a catalogue does with changed ranges.
func merge(kept, changed []Range) []Range {
	for _, c := range changed {
		if c.ID == len(kept) {
			kept = append(kept, c)
		}
		kept[c.ID] = c
	}
	return kept
}

// A flat bucket and one with a single directory are divided too.
func TestWalkKeepsManyWalkersBusy(t *testing.T) {
	for name, s := range shelves() {
		if len(s) < 1000 {
			continue
		}
		plan := NewPlan("", 16, false)
		rounds, pages := 0, 0
		for !plan.Finished() {
			var out []answer
			for len(out) < 16 {
				task, ok := plan.Next()
				if !ok {
					break
				}
				page, _ := s.list(t.Context(), task.Request)
				out = append(out, answer{task: task, page: page})
				pages++
			}
			for _, a := range out {
				if err := plan.settle(a, func(Found) error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
			rounds++
		}
		if busy := float64(pages) / float64(rounds); busy < 5 && name != "unicode" { // characters are not divided
			t.Errorf("%s: %.1f of 16 walkers are busy (%d requests in %d rounds)", name, busy, pages, rounds)
		}
	}
}

func TestMidpointLiesBetween(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	word := func() string {
		b := make([]byte, r.IntN(6))
		for i := range b {
			b[i] = "abz09/~ \x01é"[r.IntN(11)]
		}
		return strings.ToValidUTF8(string(b), "ü")
	}
	found := 0
	for range 100_000 {
		lo, hi := word(), word()
		if hi != "" && lo >= hi {
			continue
		}
		if m := Midpoint(lo, hi); m != "" {
			found++
			if m <= lo || hi != "" && m >= hi {
				t.Fatalf("%q is not between %q and %q", m, lo, hi)
			}
		}
	}
	if found < 10_000 {
		t.Errorf("only %d midpoints", found)
	}
	if m := Midpoint("p0001/f0001", "p0001/f0009"); m != "p0001/f0005" {
		t.Errorf("got %q", m)
	}
}

// A probe that names no key, and says that there are some, proves nothing: what
// lies above it stays in its range.
func TestProbeThatTellsNothingChangesNothing(t *testing.T) {
	for _, c := range []struct {
		page Page
		upto string
	}{
		{Page{More: true}, ""},
		{Page{}, "m"},
		{Page{Entries: []Entry{{Key: "x"}}}, "m"},
	} {
		p := NewPlan("", 1, true)
		p.Restore([]Range{{From: Position{Key: "a"}}})
		p.Take(Task{Kind: Probe, Request: ListRequest{After: Position{Key: "m"}}}, c.page)
		if got := p.ranges[0].Upto; got != c.upto {
			t.Errorf("after %+v the range ends at %q, want %q", c.page, got, c.upto)
		}
	}
}
