package manifest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"pgregory.net/rapid"
)

func id(n byte) holdall.BlockID { return holdall.HashBlock([]byte{n}) }

// page is what docs/format/object.md shows.
func exampleAttributes() Attributes {
	return Attributes{ContentType: "text/plain", User: []Field{{"colour", "red"}}, Checksums: []Checksum{{"CRC32C", FullObject, []byte{0xb1, 0xca, 0x5e, 0x07}}}}
}

func exampleNode() *Node {
	return &Node{Entries: []Entry{{0, id(1), holdall.MaxBlockSize}, {0, id(2), 1000}}}
}

func exampleRoot(t testing.TB) *Root {
	a := exampleAttributes()
	attributes, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	tags, err := EncodeTags([]Tag{{"team", "blue"}})
	if err != nil {
		t.Fatal(err)
	}
	return &Root{Namespace: 1, Bucket: 5, BucketName: "photos", Key: "a/b", Put: holdall.PutID{0: 0x10, 15: 0x1f}, Size: 2*holdall.MaxBlockSize + 1000,
		Modified: time.Unix(1700000000, 123).UTC(), ETag: "abc", Attributes: attributes, Tags: tags,
		Entries: []Entry{{1, holdall.HashBlock(exampleNode().Encode()), holdall.MaxBlockSize + 1000}, {0, id(3), holdall.MaxBlockSize}}}
}

// examples are the hex blocks of the format page, in order.
func examples(t testing.TB) [][]byte {
	page, err := os.ReadFile("../../docs/format/object.md")
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, m := range regexp.MustCompile("(?s)```hex\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		var b []byte
		for line := range strings.Lines(m[1]) {
			_, text, _ := strings.Cut(line, ":")
			part, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, part...)
		}
		out = append(out, b)
	}
	return out
}

func dump(b []byte) string {
	var s strings.Builder
	for at := 0; at < len(b); at += 16 {
		s.WriteString(strings.TrimRight(hexLine(at, b[at:min(len(b), at+16)]), " ") + "\n")
	}
	return s.String()
}

func hexLine(at int, b []byte) string {
	line := hex.EncodeToString([]byte{byte(at >> 8), byte(at)}) + ":"
	for _, c := range b {
		line += " " + hex.EncodeToString([]byte{c})
	}
	return line
}

func TestFormatPageExamplesAreWhatIsWritten(t *testing.T) {
	root, err := exampleRoot(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	inline := exampleRoot(t)
	inline.Entries, inline.Inline, inline.Size, inline.Attributes, inline.Tags = nil, []byte("holdall"), 7, nil, nil
	small, err := inline.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got := examples(t)
	for i, want := range [][]byte{exampleNode().Encode(), root, small} {
		if i >= len(got) || !bytes.Equal(got[i], want) {
			t.Errorf("example %d of the page is not what is written, which is\n%s", i, dump(want))
		}
	}
	if t.Failed() {
		return
	}
	if n, err := ParseNode(got[0]); err != nil || !reflect.DeepEqual(n, exampleNode()) {
		t.Errorf("node: %+v, %v", n, err)
	}
	r, err := ParseRoot(got[1])
	if err != nil || !reflect.DeepEqual(r, exampleRoot(t)) {
		t.Fatalf("root: %+v, %v", r, err)
	}
	if a, err := ParseAttributes(r.Attributes); err != nil || !reflect.DeepEqual(a, exampleAttributes()) {
		t.Errorf("attributes: %+v, %v", a, err)
	}
	if tags, err := ParseTags(r.Tags); err != nil || !reflect.DeepEqual(tags, []Tag{{"team", "blue"}}) {
		t.Errorf("tags: %+v, %v", tags, err)
	}
	if r, err := ParseRoot(got[2]); err != nil || string(r.Inline) != "holdall" || len(r.Entries) != 0 {
		t.Errorf("inline root: %+v, %v", r, err)
	}
}

// Every bit of a block says something: with one flipped it is refused, or it is
// the block of something else, which has another id.
func TestFlippedBitIsRefusedOrAnotherBlock(t *testing.T) {
	for i, b := range examples(t) {
		for bit := range 8 * len(b) {
			bad := bytes.Clone(b)
			bad[bit/8] ^= 1 << (bit % 8)
			if again, err := reencode(bad); err != nil && !errors.Is(err, holdall.ErrCorrupt) {
				t.Errorf("example %d, bit %d: %v, want corrupt", i, bit, err)
			} else if err == nil && !bytes.Equal(again, bad) {
				t.Errorf("example %d, bit %d: means something, and is not how that is written", i, bit)
			}
		}
		for n := range b {
			if _, err := reencode(b[:n]); !errors.Is(err, holdall.ErrCorrupt) {
				t.Errorf("example %d cut to %d bytes: %v, want corrupt", i, n, err)
			}
		}
		if _, err := reencode(append(bytes.Clone(b), 0)); !errors.Is(err, holdall.ErrCorrupt) {
			t.Errorf("example %d and a byte: %v, want corrupt", i, err)
		}
	}
}

// reencode parses a node or a root, whichever it is, and writes it again.
func reencode(b []byte) ([]byte, error) {
	if n, err := ParseNode(b); err == nil {
		return n.Encode(), nil
	}
	r, err := ParseRoot(b)
	if err != nil {
		return nil, err
	}
	return r.Encode()
}

func FuzzBlock(f *testing.F) {
	for _, b := range examples(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := reencode(b)
		if err != nil && !errors.Is(err, holdall.ErrCorrupt) {
			t.Fatal(err)
		}
		if err == nil && !bytes.Equal(again, b) {
			t.Fatalf("%x is read, and written as %x", b, again)
		}
	})
}

func FuzzAttributes(f *testing.F) {
	a := exampleAttributes()
	a.SetParts([]int64{5, 5, 2})
	a.SourceETag, a.SourceVersion, a.SourceModified, a.StorageClass = "e", "v", time.Unix(1, 2), "STANDARD"
	b, err := a.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAttributes(b)
		if err != nil {
			if !errors.Is(err, holdall.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if again, err := a.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is read, and written as %x, %v", b, again, err)
		}
	})
}

func FuzzTags(f *testing.F) {
	b, err := EncodeTags([]Tag{{"b", ""}, {"a", "x"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		tags, err := ParseTags(b)
		if err != nil {
			if !errors.Is(err, holdall.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if again, err := EncodeTags(tags); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is read, and written as %x, %v", b, again, err)
		}
	})
}

func TestWhatIsEncodedIsReadBack(t *testing.T) {
	text := rapid.StringN(0, 20, 200)
	rapid.Check(t, func(rt *rapid.T) {
		a := Attributes{ContentType: text.Draw(rt, "type"), ContentEncoding: text.Draw(rt, "encoding"), CacheControl: text.Draw(rt, "cache"),
			Expires: text.Draw(rt, "expires"), StorageClass: text.Draw(rt, "class"), SourceETag: text.Draw(rt, "etag"), SourceVersion: text.Draw(rt, "version")}
		for range rapid.IntRange(0, 5).Draw(rt, "user") {
			a.User = append(a.User, Field{rapid.StringMatching(`[A-Za-z-]{1,10}`).Draw(rt, "name"), text.Draw(rt, "value")})
		}
		for _, algorithm := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"SHA256", "CRC32", "CRC32C"}), rapid.ID[string]).Draw(rt, "algorithms") {
			a.Checksums = append(a.Checksums, Checksum{algorithm, Composite, []byte(algorithm)})
		}
		if rapid.Bool().Draw(rt, "migrated") {
			a.SourceModified = time.Unix(rapid.Int64Range(0, 1<<40).Draw(rt, "seconds"), 5).UTC()
		}
		a.SetParts(rapid.SliceOfN(rapid.Int64Range(0, 3), 0, 50).Draw(rt, "parts"))
		a.Normalize()
		b, err := a.Encode()
		if err != nil {
			rt.Fatal(err)
		}
		got, err := ParseAttributes(b)
		if err != nil {
			rt.Fatal(err)
		}
		if len(got.PartSizes) == 0 {
			got.PartSizes = a.PartSizes
		}
		if len(got.Checksums) == 0 {
			got.Checksums = a.Checksums
		}
		if !reflect.DeepEqual(got, a) {
			rt.Fatalf("got %+v, want %+v", got, a)
		}
	})
}

func TestPartsAreFoundInTheirRuns(t *testing.T) {
	var a Attributes
	sizes := []int64{5, 5, 5, 7, 7, 5, 1}
	a.SetParts(sizes)
	if len(a.PartSizes) != 4 || a.Parts != 7 {
		t.Fatalf("%+v", a)
	}
	at := int64(0)
	for i, want := range sizes {
		if off, size, ok := a.Part(i + 1); off != at || size != want || !ok {
			t.Errorf("part %d: %d+%d, %v", i+1, off, size, ok)
		}
		at += want
	}
	for _, n := range []int{-1, 0, 8} {
		if _, _, ok := a.Part(n); ok {
			t.Errorf("there is no part %d", n)
		}
	}
	// Too varied to keep: the count remains.
	sizes = make([]int64, holdall.MaxParts)
	for i := range sizes {
		sizes[i] = int64(i)
	}
	a.SetParts(sizes)
	if b, err := a.Encode(); err != nil || len(a.PartSizes) != 0 || a.Parts != holdall.MaxParts {
		t.Errorf("%d bytes, %d runs, %d parts, %v", len(b), len(a.PartSizes), a.Parts, err)
	}
}

func TestWhatDoesNotFitIsInvalid(t *testing.T) {
	for name, a := range map[string]Attributes{
		"a long type":        {ContentType: strings.Repeat("x", MaxAttributes)},
		"much user metadata": {User: []Field{{"a", strings.Repeat("x", holdall.MaxUserMetadata)}}},
		"an upper-case name": {User: []Field{{"A", ""}}},
		"a name twice":       {User: []Field{{"a", ""}, {"a", ""}}},
		"no kind":            {Checksums: []Checksum{{"SHA1", 0, []byte{1}}}},
		"too many parts":     {Parts: holdall.MaxParts + 1},
		"sizes of others":    {Parts: 2, PartSizes: []PartRun{{1, 5}}},
	} {
		if _, err := a.Encode(); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	many := make([]Tag, holdall.MaxTags+1)
	for i := range many {
		many[i].Key = string(rune('a' + i))
	}
	for name, tags := range map[string][]Tag{"many": many, "a key twice": {{"a", "1"}, {"a", "2"}}, "no key": {{"", "x"}},
		"a long key": {{strings.Repeat("é", 129), ""}}, "a long value": {{"a", strings.Repeat("é", 257)}}, "no text": {{"\xff", ""}}} {
		if _, err := EncodeTags(tags); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("tags: %s: %v, want invalid", name, err)
		}
	}
	for name, change := range map[string]func(*Root){
		"sizes differ":     func(r *Root) { r.Size++ },
		"both forms":       func(r *Root) { r.Inline = []byte{1} },
		"no key":           func(r *Root) { r.Key = "" },
		"a bucket's name":  func(r *Root) { r.BucketName = "B" },
		"too many entries": func(r *Root) { r.Entries = make([]Entry, holdall.MaxNodeEntries+1) },
		"an empty entry":   func(r *Root) { r.Entries[0].Size = 0 },
		"a large block":    func(r *Root) { r.Entries[1].Size++; r.Size++ },
		"a high entry":     func(r *Root) { r.Entries[0].Height = MaxHeight + 1 },
		"a long ETag":      func(r *Root) { r.ETag = strings.Repeat("x", MaxETag+1) },
	} {
		r := exampleRoot(t)
		change(r)
		if _, err := r.Encode(); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("root: %s: %v, want invalid", name, err)
		}
	}
}

func TestNodeThatCouldNotBeReadIsNotWritten(t *testing.T) {
	for name, n := range map[string]*Node{"empty": {}, "high": {[]Entry{{MaxHeight, id(1), 1}}}, "wide": {make([]Entry, holdall.MaxNodeEntries+1)}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: was written", name)
				}
			}()
			n.Encode()
		}()
	}
}

// The largest root stays far below a block, and its entry in Raft below 64 KiB.
func TestLargestRootIsABlock(t *testing.T) {
	r := &Root{BucketName: strings.Repeat("b", 63), Key: strings.Repeat("k", holdall.MaxKeySize), ETag: strings.Repeat("e", MaxETag),
		Inline: make([]byte, holdall.MaxInline), Size: holdall.MaxInline}
	b, err := r.Encode()
	if err != nil || len(b)+MaxAttributes+MaxTagBytes > 100<<10 {
		t.Errorf("%d bytes and attributes, %v", len(b), err)
	}
	if got, err := ParseRoot(b); err != nil || got.Key != r.Key {
		t.Error(err)
	}
	if size := holdall.MaxNodeEntries * 32; size > 64<<10 {
		t.Errorf("the ids of a node take %d bytes of an entry", size)
	}
}
