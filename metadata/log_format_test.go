package metadata

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

const dirPage = "../docs/format/metadata-dir.md"

// hexOf returns the bytes of the fenced block of the page that is marked with
// name: hex digits, white space between them left out.
func hexOf(t *testing.T, name string) (b []byte) {
	t.Helper()
	page, err := os.ReadFile(dirPage)
	if err != nil {
		t.Fatal(err)
	}
	in := false
	for lines := bufio.NewScanner(bytes.NewReader(page)); lines.Scan(); {
		switch line := lines.Text(); {
		case line == "```"+name:
			in = true
		case strings.HasPrefix(line, "```"):
			in = false
		case in:
			part, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			b = append(b, part...)
		}
	}
	if len(b) == 0 {
		t.Fatalf("%s has no block %q", dirPage, name)
	}
	return b
}

func TestLogRowsAreAsTheFormatPageSays(t *testing.T) {
	s := openTestLog(t, vfs.NewMem(), time.Now)
	want := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogNoop},
		{Index: 2, Term: 1, Type: raft.LogCommand, Data: []byte("data"), Extensions: []byte("x"), AppendedAt: time.Unix(0, 1_000_000_000)},
	}
	if err := s.StoreLogs(want); err != nil {
		t.Fatal(err)
	}
	if err := s.SetUint64([]byte("CurrentTerm"), 1); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for kv, err := range rows(s.db, []byte{0}, []byte{0xff}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(append(got, kv.key...), kv.value...)
	}
	if page := hexOf(t, "log"); !bytes.Equal(got, page) {
		t.Errorf("rows are %x, the page says %x", got, page)
	}
	var l raft.Log
	page := hexOf(t, "log")
	if err := parseEntry(2, page[9+4+9:9+4+9+13], &l); err != nil || !reflect.DeepEqual(&l, want[1]) {
		t.Errorf("the page's entry 2 is %+v, %v", l, err)
	}
	if _, _, err := s.db.Get(logKey(3)); err != pebble.ErrNotFound {
		t.Error(err)
	}
}

func TestArchiveIsAsTheFormatPageSays(t *testing.T) {
	fs := vfs.NewMem()
	for dir, names := range map[string][]string{"/in": {"a", "b"}, "/out": nil} {
		if err := fs.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := writeFile(fs, dir+"/"+name, []byte(strings.Repeat(name, 3))); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, size, err := listArchive(fs, "/in")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := writeArchive(&b, fs, "/in", files); err != nil {
		t.Fatal(err)
	}
	page := hexOf(t, "archive")
	if !bytes.Equal(b.Bytes(), page) || int64(len(page)) != size {
		t.Errorf("archive is %x of announced size %d, the page says %x", b.Bytes(), size, page)
	}
	if err := readArchive(bytes.NewReader(page), fs, "/out"); err != nil {
		t.Fatal(err)
	}
	if names, err := fs.List("/out"); err != nil || len(names) != 2 {
		t.Errorf("unpacked %v, %v", names, err)
	}
}

// TestDamagedArchivesAreRefused flips each bit, and cuts at each byte.
func TestDamagedArchivesAreRefused(t *testing.T) {
	page := hexOf(t, "archive")
	try := func(b []byte) error {
		fs := vfs.NewMem()
		if err := fs.MkdirAll("/out", 0o755); err != nil {
			t.Fatal(err)
		}
		return readArchive(bytes.NewReader(b), fs, "/out")
	}
	for bit := range 8 * len(page) {
		b := bytes.Clone(page)
		b[bit/8] ^= 1 << (bit % 8)
		if try(b) == nil {
			t.Errorf("bit %d of byte %d flipped: taken", bit%8, bit/8)
		}
	}
	for n := range page {
		if try(page[:n]) == nil {
			t.Errorf("cut at %d: taken", n)
		}
	}
}

func FuzzReadArchive(f *testing.F) {
	f.Add([]byte(archiveMagic))
	f.Add([]byte(archiveMagic + "\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte(archiveMagic + "\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00.."))
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := vfs.NewMem()
		if err := fs.MkdirAll("/cell/out", 0o755); err != nil {
			t.Fatal(err)
		}
		_ = readArchive(bytes.NewReader(b), fs, "/cell/out")
		for _, dir := range []string{"/", "/cell"} {
			if names, err := fs.List(dir); err != nil || len(names) != 1 {
				t.Errorf("%x: %s holds %v, %v", b, dir, names, err)
			}
		}
	})
}
