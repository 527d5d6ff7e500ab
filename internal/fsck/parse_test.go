package fsck

import (
	"bufio"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
)

// pageExample returns the n-th example of a page of the format, padded with the
// zeros that pages leave out to size bytes.
func pageExample(t testing.TB, page string, n, size int) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("../../docs/format", page))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := make([]byte, size)
	inside, seen := false, -1
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "```") {
			inside = strings.HasPrefix(line, "```hex")
			if inside {
				seen++
			}
			continue
		}
		at, digits, ok := strings.Cut(line, ": ")
		if !inside || seen != n || !ok {
			continue
		}
		off, err := strconv.ParseInt(at, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		copy(out[off:], b)
	}
	if seen < n {
		t.Fatalf("%s has %d examples, want more than %d", page, seen+1, n)
	}
	return out
}

// pageDisk is the disk, and the extent, of the pages' examples.
func pageDisk(zones ...int) (*disk, *extent) {
	d := &disk{medium: &medium{zone: 1 << 20, pool: buffer.NewPool(1 << 20)}, gens: map[int]uint32{5: 3}}
	for i := range d.id {
		d.cell[i], d.id[i] = byte(i), byte(i)
	}
	d.cell[0], d.id[0] = 0xc0, 0xd0
	e := &extent{
		id:     holdall.ExtentID{Volume: holdall.MakeVolumeID(1, 0x2a), Member: 2, Created: holdall.MakeEpoch(1, 7)},
		scheme: holdall.Scheme{Kind: holdall.ReedSolomon, Data: 2, Global: 1}, limit: 4 << 20, zones: zones,
	}
	return d, e
}

func TestPagesOfTheFormatReadTheSameTwice(t *testing.T) {
	d, e := pageDisk(5)
	r, err := parseRecord(pageExample(t, "record.md", 0, sector), d, e, 8192)
	if err != nil || r.shard != 0 || r.stripe.Number != 2 || r.length != 0x57 {
		t.Fatalf("record: %+v, %v", r, err)
	}
	pack := pageExample(t, "pack.md", 0, 0x57)
	if err := r.checkPayload(pack, make([]byte, 100)); err != nil {
		t.Errorf("the record's checksums are not of the page's pack: %v", err)
	}
	if lines, err := parsePack(pack); err != nil || len(lines) != 1 || lines[0].id != holdall.HashBlock([]byte("holdall")) {
		t.Errorf("pack: %+v, %v", lines, err)
	}
	foot := pageExample(t, "footer.md", 0, 2*sector)
	f, err := parseFooter(foot[:sector], foot[sector:], d, e, 0x7000)
	if err != nil || f.last != 4 || len(f.stripes) != 2 || f.stripes[0].Shards[0] != r.stripe.Shards[0] {
		t.Errorf("footer: %+v, %v", f, err)
	}
	d, e = pageDisk(4, 5)
	if err := checkZone(pageExample(t, "zone.md", 0, sector), d, e, 1); err != nil {
		t.Errorf("zone: %v", err)
	}
}

func TestEveryBitOfAHeaderCounts(t *testing.T) {
	d, e := pageDisk(5)
	record, foot := pageExample(t, "record.md", 0, sector), pageExample(t, "footer.md", 0, 2*sector)
	for bit := range 8 * len(foot) {
		foot[bit/8] ^= 1 << (bit % 8)
		if _, err := parseFooter(foot[:sector], foot[sector:], d, e, 0x7000); err == nil {
			t.Fatalf("bit %d of a footer can flip unseen", bit)
		}
		foot[bit/8] ^= 1 << (bit % 8)
	}
	for bit := range 8 * len(record) {
		record[bit/8] ^= 1 << (bit % 8)
		if _, err := parseRecord(record, d, e, 8192); err == nil {
			t.Fatalf("bit %d of a record header can flip unseen", bit)
		}
		record[bit/8] ^= 1 << (bit % 8)
	}
}

// reseal makes the checksum of a sector right, so that a fuzzer gets behind it.
func reseal(b []byte) []byte {
	s := make([]byte, sector)
	copy(s, b)
	v := sum(s[:sector-4])
	s[sector-4], s[sector-3], s[sector-2], s[sector-1] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	return s
}

func FuzzParseRecord(f *testing.F) {
	f.Add(pageExample(f, "record.md", 0, sector))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, e := pageDisk(5)
		if r, err := parseRecord(reseal(b), d, e, 8192); err == nil && len(r.stripe.Shards) != e.scheme.N() {
			t.Error("a record that parses has no table")
		}
	})
}

func FuzzParsePack(f *testing.F) {
	f.Add(pageExample(f, "pack.md", 0, 0x57))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, err := parsePack(b)
		for _, l := range lines {
			if err == nil && int(l.offset)+int(l.length) > len(b) {
				t.Error("a block lies outside its pack")
			}
		}
	})
}

func FuzzParseFooter(f *testing.F) {
	foot := pageExample(f, "footer.md", 0, 2*sector)
	f.Add(foot[:sector], foot[sector:])
	f.Fuzz(func(t *testing.T, head, body []byte) {
		d, e := pageDisk(5)
		parseFooter(reseal(head), body, d, e, 0x7000)
	})
}

func FuzzSuperblock(f *testing.F) {
	f.Add(pageExample(f, "superblock.md", 0, sector)[frameHead:], pageExample(f, "superblock.md", 1, sector)[frameHead:frameHead+0xd4])
	f.Fuzz(func(t *testing.T, entry, checkpoint []byte) {
		d, _ := pageDisk()
		d.extents = map[holdall.ExtentID]*extent{}
		if d.checkpoint(checkpoint) == nil {
			d.entry(&frame{kind: 2, changes: len(entry) / 96, body: entry})
		}
	})
}
