package worker

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/certificate"
)

// The examples of docs/format/migration.md are what is written today.
func TestDocumentedExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(page), "```")
	if len(parts) != 5 {
		t.Fatalf("%d pieces, want two examples", len(parts))
	}
	var examples [2][]byte
	for i := range examples {
		if examples[i], err = hex.DecodeString(strings.TrimSpace(parts[2*i+1])); err != nil {
			t.Fatal(err)
		}
	}
	run, s, err := parseStretch(examples[0])
	if want := (stretch{start: "a", from: "b/2", upto: "c"}); err != nil || s != want || run != (runID{0: 1, 15: 0xff}) || string(s.encode(run)) != string(examples[0]) {
		t.Errorf("range %+v of run %x, %v", s, run, err)
	}
	want := certificate.Leaf{Key: "photos/1", Version: 7, Size: 5, Content: holdall.HashBlock([]byte("hello")), ETag: "5d41402abc4b2a76b9719d911017c592",
		Evidence: certificate.Verified, At: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	l, err := parseFact(examples[1])
	if err != nil || l != want || string(appendFact(nil, &l)) != string(examples[1]) {
		t.Errorf("fact %+v, %v", l, err)
	}
}

func FuzzNotes(f *testing.F) {
	f.Add((&stretch{start: "a", upto: "b"}).encode(runID{1}))
	f.Add(appendFact(nil, &certificate.Leaf{Key: "k", At: time.UnixMilli(1)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if run, s, err := parseStretch(b); err == nil {
			if _, again, err := parseStretch(s.encode(run)); err != nil || again != s {
				t.Errorf("%+v comes back as %+v, %v", s, again, err)
			}
		}
		if l, err := parseFact(b); err == nil {
			if again, err := parseFact(appendFact(nil, &l)); err != nil || again != l {
				t.Errorf("%+v comes back as %+v, %v", l, again, err)
			}
		}
	})
}
