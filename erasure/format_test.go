package erasure

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// The examples of docs/format/coding.md are what Encode writes, and decode.
func TestFormatPageHoldsTrueExamples(t *testing.T) {
	page, err := os.ReadFile("../docs/format/coding.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(page), "```\n")
	if len(parts) != 7 {
		t.Fatalf("the page has %d fenced parts, want 3 examples", len(parts)/2)
	}
	for i := 1; i < len(parts); i += 2 {
		testExample(t, parts[i])
	}
}

func testExample(t *testing.T, text string) {
	t.Helper()
	var c *Coder
	s := &stripe{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if words[0] == "scheme" {
			c = coder(t, words[1])
			s.c = c
			continue
		}
		b, err := hex.DecodeString(strings.TrimPrefix(words[2], "-"))
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprint("pack ", len(s.shards))
		if len(s.shards) >= c.scheme.K() {
			want = fmt.Sprint("parity ", len(s.shards)-c.scheme.K())
		}
		if got := words[0] + " " + words[1]; got != want {
			t.Fatalf("%q comes where %q should", got, want)
		}
		s.shards = append(s.shards, b)
		s.height = max(s.height, len(b))
	}
	k := c.scheme.K()
	if len(s.shards) != c.scheme.N() {
		t.Fatalf("%v: %d shards", c.scheme, len(s.shards))
	}
	parity := make([][]byte, c.scheme.M())
	for i := range parity {
		parity[i] = make([]byte, s.height)
	}
	if err := c.Encode(s.shards[:k], parity); err != nil {
		t.Fatal(err)
	}
	for i, p := range parity {
		if !bytes.Equal(p, s.shards[k+i]) {
			t.Errorf("%v: parity %d is %x, the page has %x", c.scheme, i, p, s.shards[k+i])
		}
	}
	for lost := range s.shards {
		p := mustPlan(t, c, lost, s.known(1<<lost))
		if err := s.rebuild(p, span{0, s.height}, make([]byte, s.height)); err != nil {
			t.Errorf("%v: %v", c.scheme, err)
		}
	}
}
