package upkeep

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

var exampleCell = holdall.CellID{0xc0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// exampleChanges is what the hex example of docs/format/journal.md lists.
func exampleChanges() []metadata.Change {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return []metadata.Change{
		{Seq: 41, Time: at, Kind: metadata.ChangeStripe, Volume: holdall.MakeVolumeID(1, 7), Epoch: holdall.MakeEpoch(1, 9), Stripe: 300},
		{Seq: 42, Time: at.Add(time.Millisecond), Kind: metadata.ChangeDelete, Namespace: holdall.DefaultNamespace, ID: holdall.HashBlock([]byte("holdall"))},
		{Seq: 50, Time: at, Kind: metadata.ChangeSeal, Volume: holdall.MakeVolumeID(1, 7), Epoch: holdall.MakeEpoch(1, 10), Stripe: 300},
		{Seq: 51, Time: at, Kind: metadata.ChangeMove, Namespace: holdall.DefaultNamespace, ID: holdall.HashBlock([]byte("holdall")),
			Location: holdall.Location{Volume: holdall.MakeVolumeID(1, 8), Member: 2, Offset: 4096, Length: 7}},
		{Seq: 52, Time: at, Kind: metadata.ChangeObjectGone, Bucket: holdall.BucketID(holdall.MakeEpoch(1, 1)), Key: "k", Version: holdall.Version(holdall.MakeEpoch(1, 9))},
	}
}

// randomNames fills in the fields of a change of names.
func randomNames(r *rand.Rand, c *metadata.Change) {
	text := func(limit int) string { return strings.Repeat("\x00k", r.IntN(limit/2)) + "z" }
	full := metadata.Change{Namespace: holdall.NamespaceID(1 + r.Uint32N(9)), Bucket: 1 + holdall.BucketID(r.Uint64()>>1), Key: text(holdall.MaxKeySize), Version: 1 + holdall.Version(r.Uint64()>>1),
		Name: text(60), Retention: time.Duration(1+r.IntN(1e6)) * time.Millisecond, Quota: 1 + r.Int64N(1e12), Number: 1 + r.Uint64()>>1, Data: []byte(text(20 << 10))}
	full.ID[0], full.Put[0] = 1, 1
	// A change of the kind has some of the fields: what it does not have is not
	// written, so ask the codec.
	full.Kind = c.Kind
	if _, err := metadata.ParseNames(metadata.AppendNames(nil, &full), c); err != nil {
		panic(err)
	}
}

func randomChanges(r *rand.Rand, n int) []metadata.Change {
	list := make([]metadata.Change, n)
	seq, at := r.Uint64()>>1, time.Unix(1.7e9, r.Int64N(1e9)).UTC()
	for i := range list {
		c := metadata.Change{Seq: seq, Time: at, Kind: metadata.ChangeKind(1 + r.IntN(int(metadata.ChangeMigration)))}
		if ofName(c.Kind) {
			randomNames(r, &c)
		} else if ofVolume(c.Kind) {
			c.Volume, c.Epoch, c.Stripe = holdall.VolumeID(r.Uint64()), holdall.Epoch(r.Uint64()), r.Uint64()>>r.IntN(64)
		} else {
			c.Namespace = holdall.NamespaceID(r.Uint32())
			for j := range c.ID {
				c.ID[j] = byte(r.Uint32())
			}
		}
		if c.Kind == metadata.ChangeMove {
			c.Location = holdall.Location{Volume: holdall.VolumeID(r.Uint64()), Member: byte(r.Uint32()), Offset: r.Int64() >> r.IntN(63), Length: r.Uint32() >> r.IntN(32)}
		}
		list[i] = c
		seq += 1 + r.Uint64N(1<<r.IntN(20))
		at = at.Add(time.Duration(r.Int64N(2e9) - 1e9))
	}
	return list
}

func TestJournalBlocksReadBackWhatWasWritten(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		want := randomChanges(r, 1+r.IntN(300))
		limit := journalHeaderSize + maxChangeSize*(1+r.IntN(10))
		var got []metadata.Change
		for rest := want; len(rest) > 0; {
			block, n := AppendJournal(nil, exampleCell, 3, rest, limit)
			if len(block) > limit {
				t.Fatalf("block of %d bytes, limit %d", len(block), limit)
			}
			h, part, err := ParseJournal(block)
			if err != nil {
				t.Fatal(err)
			}
			if h != (JournalHeader{exampleCell, 3, rest[0].Seq, rest[n-1].Seq}) {
				t.Fatalf("header %+v", h)
			}
			got, rest = append(got, part...), rest[n:]
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatal("changes differ")
		}
	}
}

func TestJournalPageShowsRealBytes(t *testing.T) {
	f, err := os.Open("../../docs/format/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var digits strings.Builder
	inside := false
	for s := bufio.NewScanner(f); s.Scan(); {
		switch line := s.Text(); {
		case line == "```hex":
			inside = true
		case line == "```":
			inside = false
		case inside:
			bytes, _, _ := strings.Cut(line, "|")
			digits.WriteString(strings.ReplaceAll(bytes, " ", ""))
		}
	}
	block, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	want, _ := AppendJournal(nil, exampleCell, 1, exampleChanges(), 1<<20)
	h, changes, err := ParseJournal(block)
	if err != nil || !reflect.DeepEqual(changes, exampleChanges()) || h.Incarnation != 1 {
		t.Errorf("the page decodes to %+v %+v %v\nwant bytes:\n%s", h, changes, err, hex.Dump(want))
	}
	if string(block) != string(want) {
		t.Errorf("the page shows\n%s\nwant\n%s", hex.Dump(block), hex.Dump(want))
	}
}

func TestDamagedJournalBlocksAreRefused(t *testing.T) {
	good, _ := AppendJournal(nil, exampleCell, 1, exampleChanges(), 1<<20)
	for n := range good {
		if _, _, err := ParseJournal(good[:n]); !errors.Is(err, holdall.ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, _, err := ParseJournal(append(good[:len(good):len(good)], 0)); !errors.Is(err, holdall.ErrCorrupt) {
		t.Errorf("a byte too many: %v", err)
	}
	if _, _, err := ParseJournal(bytesOfKind(good, 255)); !errors.Is(err, holdall.ErrCorrupt) {
		t.Errorf("a kind that nobody knows: %v", err)
	}
	for _, at := range []int{0, 8, 10, 12, 15, 20, journalHeaderSize, journalHeaderSize + 1} {
		bad := append([]byte(nil), good...)
		bad[at] ^= 0xff
		if _, _, err := ParseJournal(bad); !errors.Is(err, holdall.ErrCorrupt) {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
}

// bytesOfKind returns block with the kind of its first change replaced.
func bytesOfKind(block []byte, kind byte) []byte {
	other := append([]byte(nil), block...)
	other[journalHeaderSize] = kind
	return other
}

func FuzzParseJournal(f *testing.F) {
	block, _ := AppendJournal(nil, exampleCell, 1, exampleChanges(), 1<<20)
	f.Add(block)
	f.Add([]byte(journalMagic))
	r := rand.New(rand.NewPCG(1, 1))
	for kind := metadata.ChangeNamespace; kind <= metadata.ChangeMigration; kind++ {
		c := metadata.Change{Seq: 7, Time: time.Unix(1.7e9, 0).UTC(), Kind: kind}
		randomNames(r, &c)
		block, _ := AppendJournal(nil, exampleCell, 1, []metadata.Change{c}, 1<<20)
		f.Add(block)
	}
	late := bytes.Clone(block)
	late[journalHeaderSize+2] = 2 // the first change a nanosecond after the block's time
	f.Add(late)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, changes, err := ParseJournal(b)
		if err != nil {
			return
		}
		again, n := AppendJournal(nil, h.Cell, h.Incarnation, changes, len(b)+maxChangeSize)
		if n != len(changes) || string(again) != string(b) {
			t.Error("a block that parses has another encoding")
		}
	})
}

// Memory is taken for no more changes than the bytes can hold: a count is four
// bytes that anyone may have written.
func TestJournalCountIsBoundByTheBytesThatAreThere(t *testing.T) {
	one := []metadata.Change{{Seq: 1, Kind: metadata.ChangeStripe, Volume: 1, Epoch: 1, Stripe: 1}}
	block, _ := AppendJournal(nil, holdall.CellID{1}, 1, one, holdall.MaxBlockSize)
	block = append(block, make([]byte, 1<<16)...)
	binary.LittleEndian.PutUint32(block[12:], uint32(len(block)/4))
	if _, _, err := ParseJournal(block); err == nil || !strings.Contains(err.Error(), "impossible count") {
		t.Errorf("a count of a quarter of the bytes: %v", err)
	}
}
