package holdall

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// These are the BLAKE3 team's published test vectors for no input and for one
// zero byte.
func TestHashBlockIsBLAKE3(t *testing.T) {
	for _, c := range []struct {
		in   []byte
		want string
	}{
		{nil, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"},
		{[]byte{0}, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"},
	} {
		if got := HashBlock(c.in).String(); got != c.want {
			t.Errorf("hash of %d bytes is %s, want %s", len(c.in), got, c.want)
		}
	}
}

func TestHasherAgreesWithHashBlock(t *testing.T) {
	b := bytes.Repeat([]byte("holdall"), 100_000)
	h := NewHasher()
	h.Write([]byte("left from another block"))
	h.Reset()
	for n := 1; len(b) > 0; n = n*3 + 1 {
		n := min(n, len(b))
		h.Write(b[:n])
		b = b[n:]
		h.ID() // must not change what follows
	}
	if got, want := h.ID(), HashBlock(bytes.Repeat([]byte("holdall"), 100_000)); got != want {
		t.Errorf("in pieces %v, whole %v", got, want)
	}
}

func TestBlockIDRoundTrip(t *testing.T) {
	id := HashBlock([]byte("x"))
	for _, s := range []string{id.String(), strings.ToUpper(id.String())} {
		if got, err := ParseBlockID(s); err != nil || got != id {
			t.Errorf("%s parses to %v, %v", s, got, err)
		}
	}
	text, err := json.Marshal(map[string]BlockID{"id": id})
	if err != nil || string(text) != `{"id":"`+id.String()+`"}` {
		t.Fatalf("JSON %s, %v", text, err)
	}
	var back map[string]BlockID
	if err := json.Unmarshal(text, &back); err != nil || back["id"] != id {
		t.Errorf("JSON back: %v, %v", back, err)
	}
}

func TestBadBlockIDs(t *testing.T) {
	good := HashBlock(nil).String()
	for _, s := range []string{"", "00", good[1:], good + "0", "0x" + good[2:], good[:63] + "g", good[:62] + "é", strings.Repeat("é", 32), strings.Repeat("x", 1<<20)} {
		got, err := ParseBlockID(s)
		if !errors.Is(err, ErrInvalid) || got != (BlockID{}) {
			t.Errorf("%.70q parses to %v, %v", s, got, err)
		}
		if len(err.Error()) > 1000 {
			t.Errorf("the error for an id of %d bytes has %d bytes", len(s), len(err.Error()))
		}
	}
}

// These are compiled into the format, the protocol and one another.
func TestLimitsFitTogether(t *testing.T) {
	const idSize = 32
	if MaxIDsPerCall*idSize > MaxRaftEntry/2 {
		t.Error("a call's ids are more than half a Raft entry")
	}
	if MaxStripeBlocks > MaxMembers*MaxPackBlocks {
		t.Error("a stripe may hold more blocks than its packs can")
	}
	if perBlock := MaxRaftEntry / MaxStripeBlocks; perBlock < idSize+16 {
		t.Errorf("a stripe's commit leaves %d bytes a block, and an id takes %d", perBlock, idSize)
	}
	if MaxBlockSize%RecordHeaderSize != 0 {
		t.Error("a full block does not end on a sector")
	}
	if SystemNamespace == DefaultNamespace {
		t.Error("users share the system's namespace")
	}
}

func FuzzParseBlockID(f *testing.F) {
	f.Add(HashBlock(nil).String())
	f.Add("")
	f.Add(strings.Repeat("F", 64))
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseBlockID(s)
		switch {
		case err == nil && id.String() != strings.ToLower(s):
			t.Fatalf("%q parses to %v", s, id)
		case err != nil && (!errors.Is(err, ErrInvalid) || id != BlockID{}):
			t.Fatalf("%q: %v, %v", s, id, err)
		}
	})
}
