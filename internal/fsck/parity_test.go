package fsck

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/erasure"
)

// The examples of docs/format/coding.md come out of this arithmetic too.
func TestExamplesOfTheCodingPageAreReadTheSameTwice(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/coding.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, example := range strings.Split(string(page), "```\nscheme ")[1:] {
		lines := strings.Split(strings.Split(example, "\n```")[0], "\n")
		s, err := holdall.ParseScheme(lines[0])
		if err != nil {
			t.Fatal(err)
		}
		var packs [][]byte
		height := 0
		for _, line := range lines[1:] {
			f := strings.Fields(line)
			b, err := hex.DecodeString(strings.Trim(f[2], "-"))
			if err != nil {
				t.Fatal(err)
			}
			if f[0] == "pack" {
				packs, height = append(packs, b), max(height, len(b))
				continue
			}
			got := make([]byte, height)
			weigh(got, matrix(s)[int(f[1][0]-'0')], packs)
			if !bytes.Equal(got, b) {
				t.Errorf("%v: parity %s is %x, the page says %x", s, f[1], got, b)
			}
			seen++
		}
	}
	if seen < 10 {
		t.Errorf("%d parities in the examples of the page, want at least 10", seen)
	}
}

// Both arithmetics agree on parities, on what can be rebuilt, and on the bytes.
func TestArithmeticAgreesWithTheEngines(t *testing.T) {
	for _, name := range []string{"rs-6-3", "rs-17-4", "rep-3", "lrc-12-2-2", "lrc-6-3-1", "lrc-8-2-4"} {
		s, err := holdall.ParseScheme(name)
		if err != nil {
			t.Fatal(err)
		}
		coder, err := erasure.New(s)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, uint64(s.N())))
		const height = piece + 13 // more than one, and not of whole words
		shards := make([][]byte, s.N())
		for i := range shards {
			shards[i] = make([]byte, height)
			if i < s.K() && i > 0 {
				shards[i] = shards[i][:r.IntN(height)]
			}
			for j := range shards[i] {
				shards[i][j] = byte(r.Uint32())
			}
		}
		if err := coder.Encode(shards[:s.K()], shards[s.K():]); err != nil {
			t.Fatal(err)
		}
		p, sum := matrix(s), make([]byte, height)
		for i := range p {
			if weigh(sum, p[i], shards[:s.K()]); !bytes.Equal(sum, shards[s.K()+i]) {
				t.Fatalf("%v: parity %d differs", s, i)
			}
		}
		for range 200 {
			there, list := make([]bool, s.N()), make([]erasure.Shard, s.N())
			have := make([][]byte, s.N())
			want := r.IntN(s.K())
			lost := 1 + r.IntN(s.M()+1)
			for i := range there {
				there[i] = i != want && r.IntN(s.N()) >= lost
				list[i] = erasure.Shard{Have: there[i], Cost: 1}
				if there[i] {
					have[i] = shards[i]
				}
			}
			by := weights(p, want, there)
			if _, err := coder.Plan(want, list); (err == nil) != (by != nil) {
				t.Fatalf("%v: pack %d from %v: the engine says %v, weights %v", s, want, there, err, by)
			}
			if by == nil {
				continue
			}
			out := make([]byte, len(shards[want]))
			if weigh(out, by, have); !bytes.Equal(out, shards[want]) {
				t.Fatalf("%v: pack %d from %v: rebuilt wrong by %v", s, want, there, by)
			}
		}
	}
}
