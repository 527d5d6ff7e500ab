package volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/holdall/holdall"
)

var update = flag.Bool("update", false, "rewrite the hex examples in docs/format")

// The examples of docs/format: one of everything, with a different value in
// every field.
var (
	exampleCell   = holdall.CellID{0xc0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	exampleDisk   = holdall.DiskID{0xd0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	exampleScheme = holdall.Scheme{Kind: holdall.ReedSolomon, Data: 2, Global: 1}
	exampleExtent = holdall.ExtentID{Volume: holdall.MakeVolumeID(1, 42), Member: 2, Created: holdall.MakeEpoch(1, 7)}
	exampleBlock  = []byte("holdall")
)

func exampleZone() ZoneHeader {
	return ZoneHeader{Cell: exampleCell, Disk: exampleDisk, Zone: 5, Generation: 3, ZoneSize: 1 << 20, Extent: exampleExtent,
		Place: 1, Scheme: exampleScheme, Limit: 4 << 20}
}

func examplePayload() []byte {
	return AppendDirectory(bytes.Clone(exampleBlock), []BlockEntry{
		{ID: holdall.HashBlock(exampleBlock), Namespace: holdall.DefaultNamespace, Length: uint32(len(exampleBlock)), Flags: BlockPending}})
}

func exampleRecord() RecordHeader {
	payload := examplePayload()
	h := RecordHeader{Cell: exampleCell, Disk: exampleDisk, Extent: exampleExtent, Zone: 5, Generation: 3, Offset: 8192,
		Epoch: holdall.MakeEpoch(1, 8), Number: 2, Scheme: exampleScheme, Shard: 0, Length: uint32(len(payload))}
	h.Shards[0] = holdall.ShardPlace{Offset: 8192, Length: h.Length}
	h.Shards[2] = holdall.ShardPlace{Offset: 12288, Length: h.Length} // shard 1 is absent
	h.sumChunks(payload)
	return h
}

func exampleTable() *table {
	t := newTable(3)
	h := exampleRecord()
	t.add(2, h.Epoch, h.Shards[:3], 0x01020304)
	t.add(3, h.Epoch, []holdall.ShardPlace{{Offset: 0, Length: 5000}, {Offset: 20480, Length: 4096}, {Offset: 16384, Length: 5000}}, 0x05060708)
	return t
}

func exampleFooter() (FooterHeader, *table) {
	t := exampleTable()
	return FooterHeader{Cell: exampleCell, Disk: exampleDisk, Extent: exampleExtent, Zone: 5, Generation: 3, Offset: 28672,
		Epoch: holdall.MakeEpoch(1, 9), Last: 4, RecordsEnd: t.ends[2], Scheme: exampleScheme, Count: uint32(t.count),
		Body: uint32(len(t.buf)), BodySum: checksum(t.buf), Running: t.running}, t
}

func exampleChanges() []change {
	return []change{
		{kind: changeExtent, extent: exampleExtent, scheme: exampleScheme, epoch: exampleExtent.Created, limit: 4 << 20},
		{kind: changeZone, extent: exampleExtent, zone: 5, generation: 1, place: 0},
		{kind: changeEpoch, extent: exampleExtent, epoch: holdall.MakeEpoch(1, 8)},
		{kind: changeSealed, extent: exampleExtent, epoch: holdall.MakeEpoch(1, 9), end: 28672, last: 4, footer: 28672, footerSize: 8192},
		{kind: changeTrashed, extent: exampleExtent},
		{kind: changeFreed, extent: exampleExtent},
		{kind: changeState, state: holdall.DiskFailed, reason: "sync: input/output error"},
		{kind: changeIncarnation, incarnation: 6},
	}
}

func exampleEntry() (frame, []byte) {
	var body []byte
	changes := exampleChanges()
	for i := range changes {
		body = appendChange(body, &changes[i])
	}
	return frame{kind: frameEntry, cell: exampleCell, disk: exampleDisk, sequence: 12, base: 10, offset: 8192, zone: 1,
		count: uint32(len(changes)), body: uint32(len(body)), bodySum: checksum(body)}, body
}

func exampleCatalog(tb testing.TB) *catalog {
	c := newCatalog(Identity{Cell: exampleCell, Disk: exampleDisk, ZoneSize: 1 << 20})
	open := exampleExtent
	open.Member = 1
	for _, ch := range append(exampleChanges()[:4],
		change{kind: changeExtent, extent: open, scheme: exampleScheme, epoch: 3, limit: 8192},
		change{kind: changeZone, extent: open, zone: 3, generation: 1},
		change{kind: changeState, state: holdall.DiskFailed, reason: "gone"},
		change{kind: changeIncarnation, incarnation: 6}) {
		if err := c.check(&ch); err != nil {
			tb.Fatal(err)
		}
		c.apply(&ch)
	}
	return c
}

func exampleCheckpoint(tb testing.TB) (frame, []byte) {
	body := encodeCheckpoint(exampleCatalog(tb))
	return frame{kind: frameCheckpoint, cell: exampleCell, disk: exampleDisk, sequence: 10, base: 10, zone: 1, body: uint32(len(body)), bodySum: checksum(body)}, body
}

// framed joins a frame's header and body and pads them to whole sectors.
func framed(f frame, body []byte) []byte {
	b := make([]byte, f.size())
	f.encode(b)
	copy(b[frSize:], body)
	return b
}

func sectorOf(h interface{ encode([]byte) }) []byte {
	b := make([]byte, SectorSize)
	h.encode(b)
	return b
}

// TestDocumentedExamples decodes the hex in docs/format and compares it with
// what the pages say it is.
func TestDocumentedExamples(t *testing.T) {
	zone, record, payload := exampleZone(), exampleRecord(), examplePayload()
	footer, tab := exampleFooter()
	recordBytes := make([]byte, SectorSize, 2*SectorSize)
	record.encode(recordBytes)
	footerBytes := make([]byte, footer.size())
	footer.encode(footerBytes)
	copy(footerBytes[SectorSize:], tab.buf)
	for _, x := range []struct {
		page  string
		bytes []byte
		check func(b []byte) (got, want any, err error)
	}{
		{"zone.md", sectorOf(&zone), func(b []byte) (any, any, error) {
			var h ZoneHeader
			err := h.Decode(b)
			return h, zone, err
		}},
		{"record.md", recordBytes, func(b []byte) (any, any, error) {
			var h RecordHeader
			err := h.Decode(b)
			want := record
			want.Sum = binary.LittleEndian.Uint32(b[sectorSum:])
			return h, want, err
		}},
		{"pack.md", payload, func(b []byte) (any, any, error) {
			got, err := ParseDirectory(b)
			return got, []BlockEntry{{ID: holdall.HashBlock(exampleBlock), Namespace: 1, Length: 7, Flags: BlockPending}}, err
		}},
		{"footer.md", footerBytes, func(b []byte) (any, any, error) {
			var h FooterHeader
			if err := h.Decode(b[:SectorSize]); err != nil {
				return nil, nil, err
			}
			got, err := h.parseBody(b[SectorSize:][:h.Body])
			if err != nil {
				return nil, nil, err
			}
			return []any{h, got.cursor, got.count}, []any{footer, tab.cursor, tab.count}, nil
		}},
		{"superblock.md", framed(exampleEntry()), func(b []byte) (any, any, error) {
			var f frame
			if err := f.decode(b); err != nil {
				return nil, nil, err
			}
			got, err := parseEntry(&f, b[frSize:][:f.body])
			return got, exampleChanges(), err
		}},
		{"superblock.md#checkpoint", framed(exampleCheckpoint(t)), func(b []byte) (any, any, error) {
			got, err := decodeCheckpointFrame(b)
			if err != nil {
				return nil, nil, err
			}
			return encodeCheckpoint(got), encodeCheckpoint(exampleCatalog(t)), nil
		}},
	} {
		t.Run(x.page, func(t *testing.T) {
			b := docExample(t, x.page, x.bytes)
			got, want, err := x.check(b)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the page's bytes are %+v, want %+v", got, want)
			}
			if !bytes.Equal(b, x.bytes) {
				t.Errorf("the page's bytes are not what is written today:\n%s", hexLines(x.bytes))
			}
		})
	}
}

// docExample returns the bytes of a page's example: the block of lines
// "offset: bytes" after ```hex, or after ```hex NAME for page#NAME.
func docExample(t *testing.T, page string, now []byte) []byte {
	name, part, _ := strings.Cut(page, "#")
	path := filepath.Join("..", "docs", "format", name)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fence := strings.TrimSpace("```hex "+part) + "\n"
	before, rest, ok := strings.Cut(string(text), fence)
	lines, after, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatalf("%s has no block %q", path, fence)
	}
	if *update {
		lines = hexLines(now)
		if err := os.WriteFile(path, []byte(before+fence+lines+"```"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, len(now))
	for line := range strings.Lines(lines) {
		var at int
		head, data, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if _, err := fmt.Sscanf(head, "%x", &at); err != nil {
			t.Fatalf("%s: line %q: %v", path, line, err)
		}
		for i, w := range strings.Fields(data) {
			if _, err := fmt.Sscanf(w, "%02x", &b[at+i]); err != nil {
				t.Fatalf("%s: line %q: %v", path, line, err)
			}
		}
	}
	return b
}

// hexLines prints b, sixteen bytes a line, lines of zeros left out.
func hexLines(b []byte) string {
	var s strings.Builder
	for at := 0; at < len(b); at += 16 {
		line := b[at:min(at+16, len(b))]
		if !allZero(line) {
			fmt.Fprintf(&s, "%04x: % x\n", at, line)
		}
	}
	return s.String()
}

// TestEveryBitOfAHeaderCounts flips each bit of each structure: no decoder may
// take the result for sound.
func TestEveryBitOfAHeaderCounts(t *testing.T) {
	zone, record := exampleZone(), exampleRecord()
	footer, tab := exampleFooter()
	recordBytes := make([]byte, SectorSize)
	record.encode(recordBytes)
	entry, checkpoint := framed(exampleEntry()), framed(exampleCheckpoint(t))
	for _, x := range []struct {
		name   string
		b      []byte
		decode func(b []byte) error
	}{
		{"zone", sectorOf(&zone), func(b []byte) error { return new(ZoneHeader).Decode(b) }},
		{"record", recordBytes, func(b []byte) error { return new(RecordHeader).Decode(b) }},
		{"footer", sectorOf(&footer), func(b []byte) error { return new(FooterHeader).Decode(b) }},
		{"table", bytes.Clone(tab.buf), func(b []byte) error { _, err := footer.parseBody(b); return err }},
		{"pack", examplePayload()[len(exampleBlock):], func(b []byte) error {
			_, err := ParseDirectory(append(bytes.Clone(exampleBlock), b...))
			return err
		}},
		{"entry", entry, decodeEntryFrame},
		{"checkpoint", checkpoint, func(b []byte) error { _, err := decodeCheckpointFrame(b); return err }},
	} {
		if err := x.decode(x.b); err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		for i := range x.b {
			for bit := range 8 {
				x.b[i] ^= 1 << bit
				if err := x.decode(x.b); !errors.Is(err, holdall.ErrCorrupt) && !errors.Is(err, holdall.ErrRefused) {
					t.Fatalf("%s: bit %d of byte %d flipped: %v, want ErrCorrupt", x.name, bit, i, err)
				}
				x.b[i] ^= 1 << bit
			}
		}
	}
}

func decodeEntryFrame(b []byte) error {
	var f frame
	if err := f.decode(b); err != nil {
		return err
	}
	if f.kind != frameEntry || f.size() != int64(len(b)) || !allZero(b[frSize+f.body:]) {
		return malformed("frame")
	}
	_, err := parseEntry(&f, b[frSize:][:f.body])
	return err
}

func decodeCheckpointFrame(b []byte) (*catalog, error) {
	var f frame
	if err := f.decode(b); err != nil {
		return nil, err
	}
	if f.kind != frameCheckpoint || f.size() != int64(len(b)) || !allZero(b[frSize+f.body:]) {
		return nil, malformed("frame")
	}
	return parseCheckpoint(&f, b[frSize:][:f.body])
}

// TestDecodersAreStrict gives well-checksummed headers that contradict
// themselves.
func TestDecodersAreStrict(t *testing.T) {
	for name, spoil := range map[string]func(h *RecordHeader){
		"no payload":             func(h *RecordHeader) { h.Length = 0; h.Shards[0].Length = 0 },
		"payload too long":       func(h *RecordHeader) { h.Shards[0].Length = MaxPayload + 1 },
		"stripe zero":            func(h *RecordHeader) { h.Number = 0 },
		"shard of another":       func(h *RecordHeader) { h.Shard = 2 },
		"member out of range":    func(h *RecordHeader) { h.Extent.Member = 3 },
		"place is not its own":   func(h *RecordHeader) { h.Shards[0].Offset += SectorSize },
		"unaligned":              func(h *RecordHeader) { h.Shards[2].Offset++ },
		"parity of other length": func(h *RecordHeader) { h.Shards[2].Length++ },
		"no data shard":          func(h *RecordHeader) { h.Shards[0].Length = 0 },
	} {
		h := exampleRecord()
		spoil(&h)
		b := make([]byte, SectorSize)
		if h.Length > 0 {
			h.encode(b)
		} else {
			h.Length = 1
			h.encode(b)
			binary.LittleEndian.PutUint32(b[recLength:], 0)
			stampSector(b)
		}
		if err := new(RecordHeader).Decode(b); !errors.Is(err, holdall.ErrCorrupt) {
			t.Errorf("record header with %s: %v, want ErrCorrupt", name, err)
		}
	}
	for _, at := range []int{recReserved, recEnd, sectorSum - 1, recPlaces + 3*recPlaceSize, recChunks + 4} {
		h := exampleRecord()
		b := make([]byte, SectorSize)
		h.encode(b)
		b[at] = 1
		stampSector(b)
		if err := new(RecordHeader).Decode(b); !errors.Is(err, holdall.ErrCorrupt) {
			t.Errorf("record header with byte %d set: %v, want ErrCorrupt", at, err)
		}
	}
}

// TestUnknownVersionIsRefused: a disk of a later version is not an empty or a
// broken one.
func TestUnknownVersionIsRefused(t *testing.T) {
	b := framed(exampleEntry())
	binary.LittleEndian.PutUint16(b[frVersion:], FormatVersion+1)
	binary.LittleEndian.PutUint32(b[frSum:], checksum(b[:frSum]))
	if err := new(frame).decode(b); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("a frame of version %d: %v, want ErrRefused", FormatVersion+1, err)
	}
}

// randomStripes adds random stripes to tab, and returns them and where members
// end.
func randomStripes(t *testing.T, r *rand.Rand, scheme holdall.Scheme, tab *table) ([]stripeEntry, []int64) {
	n := scheme.N()
	var list []stripeEntry
	ends := make([]int64, n)
	number, epoch := uint64(0), holdall.Epoch(5)
	for range 1 + r.IntN(400) {
		number += 1 + uint64(r.IntN(2)*r.IntN(3)) // gaps: stripes without a shard here
		epoch += holdall.Epoch(r.IntN(2) * r.IntN(2) * r.IntN(5))
		e := stripeEntry{number: number, epoch: epoch}
		var height uint32
		for i := range scheme.K() {
			if i == 0 || r.IntN(3) > 0 {
				e.shards[i].Length = 1 + uint32(r.IntN(100_000))
				height = max(height, e.shards[i].Length)
			}
		}
		for i := range n {
			if i >= scheme.K() {
				e.shards[i].Length = height
			}
			m := holdall.ShardMember(number, i, n)
			ends[m] += int64(r.IntN(2)*r.IntN(2)*r.IntN(9)) * SectorSize
			if e.shards[i].Length > 0 {
				e.shards[i].Offset = ends[m]
				ends[m] += holdall.RecordSize(e.shards[i].Length)
			}
		}
		if err := tab.fits(e.number, e.epoch, e.shards[:n]); err != nil {
			t.Fatal(err)
		}
		sum := r.Uint32()
		tab.add(e.number, e.epoch, e.shards[:n], sum)
		e.running = tab.running
		list = append(list, e)
	}
	return list, ends
}

// TestTableAgainstAList adds random stripes to a table and to a list, and asks
// both the same questions.
func TestTableAgainstAList(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		scheme := holdall.Scheme{Kind: holdall.ReedSolomon, Data: uint8(1 + r.IntN(12)), Global: uint8(1 + r.IntN(4))}
		n := scheme.N()
		own := r.IntN(n)
		tab := newTable(n)
		list, ends := randomStripes(t, r, scheme, tab)
		if len(tab.buf) > int(FooterSize(len(list), n))-SectorSize {
			t.Fatalf("seed %d: %d stripes take %d bytes, bound %d", seed, len(list), len(tab.buf), FooterSize(len(list), n))
		}
		back, err := parseTable(n, len(list), scheme, bytes.Clone(tab.buf))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if back.cursor != tab.cursor || !reflect.DeepEqual(back.starts, tab.starts) {
			t.Fatalf("seed %d: parsed table ends at %+v, want %+v", seed, back.cursor, tab.cursor)
		}
		for range 400 {
			m := r.IntN(n)
			off := r.Int64N(ends[m] + 3*SectorSize)
			var got, want stripeEntry
			found := false
			for _, e := range list {
				p := e.shards[holdall.MemberShard(e.number, m, n)]
				if off >= p.Offset && off < p.Offset+holdall.RecordSize(p.Length) {
					want, found = e, true
				}
			}
			if ok := back.at(m, off, &got); ok != found || (ok && got != want) {
				t.Fatalf("seed %d: at(%d, %d) = %v %+v, want %v %+v", seed, m, off, ok, got, found, want)
			}
		}
		last, end := list[r.IntN(len(list))].number, r.Int64N(ends[own]+SectorSize)
		keep := 0
		for keep < len(list) && list[keep].number <= last {
			if _, e := tab.own(own, &list[keep]); e > end {
				break
			}
			keep++
		}
		kept := tab.until(own, last, end)
		if kept.count != keep || (keep > 0 && kept.running != list[keep-1].running) {
			t.Fatalf("seed %d: cut at stripe %d, byte %d keeps %d stripes, want %d", seed, last, end, kept.count, keep)
		}
	}
}
