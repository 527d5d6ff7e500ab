package holdall

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestSchemesRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name          string
		k, m, n, f    int
		ideal         float64
		narrow3       string
		narrowMembers int
	}{
		{"rs-6-3", 6, 3, 9, 3, 1.5, "rs-3-3", 6},
		{"rs-1-1", 1, 1, 2, 1, 2, "rs-3-1", 4},
		{"rs-28-4", 28, 4, 32, 4, 32.0 / 28, "rs-3-4", 7},
		{"lrc-12-2-2", 12, 4, 16, 3, 16.0 / 12, "rs-3-3", 6},
		{"lrc-4-2-1", 4, 3, 7, 2, 7.0 / 4, "rs-3-2", 5},
	} {
		s, err := ParseScheme(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if s.K() != c.k || s.M() != c.m || s.N() != c.n || s.Tolerance() != c.f || s.Ideal() != c.ideal || s.String() != c.name {
			t.Errorf("%s: k %d, m %d, n %d, f %d, ideal %f, name %v", c.name, s.K(), s.M(), s.N(), s.Tolerance(), s.Ideal(), s)
		}
		if w := s.Narrow(3); w.String() != c.narrow3 || w.N() != c.narrowMembers || w.Tolerance() != s.Tolerance() || w.Validate() != nil {
			t.Errorf("%s narrowed to 3 packs is %v", c.name, w)
		}
		text, err := json.Marshal(s)
		if err != nil || string(text) != `"`+c.name+`"` {
			t.Errorf("%s in JSON is %s, %v", c.name, text, err)
		}
		var back Scheme
		if err := json.Unmarshal(text, &back); err != nil || back != s {
			t.Errorf("%s back from JSON is %v, %v", c.name, back, err)
		}
	}
	if s, err := ParseScheme("rep-4"); err != nil || s.K() != 1 || s.M() != 3 || s.Tolerance() != 3 || s.Ideal() != 4 || s.String() != "rep-4" {
		t.Errorf("rep-4 is %v, %v", s, err)
	}
	if DefaultScheme.String() != "rs-6-3" {
		t.Errorf("the default is %v", DefaultScheme)
	}
}

func TestBadSchemes(t *testing.T) {
	for _, s := range []string{
		"", "rs", "rs-6", "rs-6-3-1", "RS-6-3", "rs-06-3", "rs-6-+3", "rs--6-3", "rs-6-0", "rs-0-3", "rs-30-3", "rs-256-1", "rs-6-3 ",
		"rep-0", "rep-1", "rep-33", "rep-2-2", "lrc-12-2", "lrc-12-1-2", "lrc-12-5-2", "lrc-2-2-2", "lrc-12-2-0", "lrc-28-4-4", "xor-2-1",
	} {
		if c, err := ParseScheme(s); !errors.Is(err, ErrInvalid) || c != (Scheme{}) {
			t.Errorf("%q parses to %v, %v", s, c, err)
		}
	}
	for _, s := range []Scheme{
		{}, {Kind: 9, Data: 1, Global: 1}, {Kind: Copies, Data: 2, Global: 1}, {Kind: Copies, Data: 1, Local: 1, Global: 1},
		{Kind: ReedSolomon, Data: 2, Local: 2, Global: 1}, {Kind: ReedSolomon, Data: 255, Local: 0, Global: 255},
	} {
		if err := s.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v is valid: %v", s, err)
		}
		if s.String() == "" {
			t.Errorf("%+v has no name", s)
		}
	}
}

// Every valid scheme has a name that reads back as itself.
func TestEveryValidSchemeHasItsName(t *testing.T) {
	names := map[string]bool{}
	for kind := range 5 {
		for k := range 34 {
			for l := range 34 {
				for g := range 34 {
					s := Scheme{Kind: SchemeKind(kind), Data: uint8(k), Local: uint8(l), Global: uint8(g)}
					if s.Validate() != nil {
						continue
					}
					if back, err := ParseScheme(s.String()); err != nil || back != s {
						t.Fatalf("%v parses to %v, %v", s, back, err)
					}
					if names[s.String()] || s.N() > MaxMembers || s.Tolerance() < 1 || s.Tolerance() > s.M() {
						t.Fatalf("%v: n %d, f %d", s, s.N(), s.Tolerance())
					}
					names[s.String()] = true
				}
			}
		}
	}
	if len(names) < 500 {
		t.Fatalf("only %d schemes are valid", len(names))
	}
}

func FuzzParseScheme(f *testing.F) {
	for _, s := range []string{"rs-6-3", "lrc-12-2-2", "rep-4", "rs-", "rs-1-", "-", "rs-300-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseScheme(s)
		switch {
		case err == nil && (c.String() != s || c.Validate() != nil):
			t.Fatalf("%q parses to %v, %v", s, c, c.Validate())
		case err != nil && (!errors.Is(err, ErrInvalid) || c != Scheme{}):
			t.Fatalf("%q: %v, %v", s, c, err)
		}
	})
}
