package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdall/holdall/internal/fsck"
)

// damaged runs fsck and returns its findings. Its exit code has to fit them.
func damaged(t *testing.T, data string, flags ...string) []fsck.Finding {
	t.Helper()
	r := command(t, nil, append([]string{"fsck", "--data", data, "--output", "json"}, flags...)...)
	var facts fsckFacts
	if err := json.Unmarshal([]byte(r.out), &facts); err != nil {
		t.Fatalf("fsck: exit %d, %v\n%s%s", r.code, err, r.out, r.err)
	}
	if (r.code == exitDifferences) != (len(facts.List) > 0) || r.code != exitDone && r.code != exitDifferences {
		t.Fatalf("fsck: exit %d with %d findings: %s", r.code, len(facts.List), r.err)
	}
	return facts.List
}

// flip changes one byte of a file.
func flip(t *testing.T, file string, off int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// theExtent returns the extent of a disk that holds user records, and its first
// record that has a pack.
func theRecord(t *testing.T, disk, volume string) (e fsck.ExtentView, r fsck.RecordView) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, "inspect", "extent", disk, volume, "--output", "json")), &e); err != nil {
		t.Fatal(err)
	}
	for _, r := range e.Records {
		if r.Kind == "data" {
			if err := json.Unmarshal([]byte(must(t, "inspect", "record", disk, volume, fmt.Sprint(r.Offset), "--output", "json")), &r); err != nil {
				t.Fatal(err)
			}
			if r.Problem != "" || len(r.Blocks) == 0 || !r.Blocks[0].HashOK {
				t.Fatalf("record before any damage: %+v", r)
			}
			return e, r
		}
	}
	t.Fatalf("no pack on %s", disk)
	return e, r
}

func hasFooters(t *testing.T, volume string) bool {
	t.Helper()
	var v struct{ Members []struct{ Footer bool } }
	if err := json.Unmarshal([]byte(must(t, "volume", "show", volume, "--output", "json")), &v); err != nil {
		t.Fatal(err)
	}
	for _, m := range v.Members {
		if !m.Footer {
			return false
		}
	}
	return true
}

func TestFsckNamesWhatIsDamaged(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := serve(t, data, "--zone-size", "1MiB")
	b := newBlocks(t)
	b.put(24, 20_000)
	var volumes []struct{ ID string }
	if err := json.Unmarshal([]byte(must(t, "volume", "ls", "--output", "json")), &volumes); err != nil {
		t.Fatal(err)
	}
	must(t, "volume", "seal", "--all")
	eventually(t, "every footer is written", func() bool { return hasFooters(t, volumes[0].ID) })
	b.put(3, 10_000) // an open volume too
	s.stop()
	if list := damaged(t, data); len(list) > 0 {
		t.Fatalf("before any damage: %s", findingText(&list[0]))
	}
	disk := diskPath(data, 4)
	e, r := theRecord(t, disk, volumes[0].ID)
	zone := func(n int) string { return filepath.Join(disk, fmt.Sprintf("zone-%06d", n)) }
	at := func(off int64) int64 { return 4096 + off } // in the extent's first zone
	for _, c := range []struct {
		what string
		file string
		off  int64
		kind string
		zone int
	}{
		{"record header", zone(e.Zones[0]), at(r.Offset) + 100, fsck.KindHeader, e.Zones[0]},
		{"a header's reserved bytes", zone(e.Zones[0]), at(r.Offset) + 3000, fsck.KindHeader, e.Zones[0]},
		{"payload", zone(e.Zones[0]), at(r.Offset) + 4096 + 9, fsck.KindPayload, e.Zones[0]},
		{"directory", zone(e.Zones[0]), at(r.Offset) + 4096 + int64(r.Length) - 40, fsck.KindPayload, e.Zones[0]},
		{"padding", zone(e.Zones[0]), at(r.Offset) + 4096 + int64(r.Length) + 1, fsck.KindPayload, e.Zones[0]},
		{"zone header", zone(e.Zones[0]), 70, fsck.KindZone, e.Zones[0]},
		{"footer", zone(e.Zones[0]), at(e.Footer) + 60, fsck.KindFooter, e.Zones[0]},
		{"footer body", zone(e.Zones[0]), at(e.Footer) + 4096 + 10, fsck.KindFooter, e.Zones[0]},
	} {
		flip(t, c.file, c.off)
		list := damaged(t, data)
		found := false
		for _, f := range list {
			found = found || f.Kind == c.kind && f.Path == disk && f.Zone == c.zone && f.Volume == volumes[0].ID && (c.kind != fsck.KindHeader && c.kind != fsck.KindPayload || f.Offset == r.Offset)
		}
		if !found {
			t.Errorf("%s: fsck does not name %s zone %d: %+v", c.what, c.kind, c.zone, list)
		}
		flip(t, c.file, c.off)
	}
	if list := damaged(t, data); len(list) > 0 {
		t.Fatalf("with every bit put back: %s", findingText(&list[0]))
	}
	superblock := zone(0)
	if st, err := os.Stat(superblock); err != nil || st.Size() == 0 {
		superblock = zone(1)
	}
	flip(t, superblock, 100)
	named := false
	for _, f := range damaged(t, data) {
		named = named || f.Kind == fsck.KindSuperblock && f.Path == disk
	}
	if !named {
		t.Error("a damaged superblock is not named")
	}
	serve(t, data)
	b.check("with one superblock damaged")
}

func TestFsckFindsRowsThatNoDirectoryLists(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := serve(t, data)
	b := newBlocks(t)
	b.put(4, 5_000)
	s.stop()
	must(t, "fsck", "--data", data)
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(filepath.Join(data, "metadata"))); err != nil {
		t.Fatal(err)
	}
	s = serve(t, data)
	b.put(4, 6_000)
	s.stop()
	must(t, "fsck", "--data", data)
	// Older metadata over newer disks: what it does not know is dead bytes, but
	// the disks were mounted since.
	if err := os.RemoveAll(filepath.Join(data, "metadata")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(data, "metadata"), os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	incarnations := 0
	for _, f := range damaged(t, data) {
		if f.Kind == fsck.KindDisk {
			incarnations++
		}
	}
	if incarnations != 9 {
		t.Errorf("%d disks of a later mount were named, want 9", incarnations)
	}
	s = serve(t, data)
	if !strings.Contains(s.ready, "disks=0 ") || !strings.Contains(s.logged(), "an old image of it") {
		t.Errorf("a server mounts disks that were mounted since its metadata was copied: %s", s.ready)
	}
	if r := command(t, nil, "block", "get", anyOf(b)); r.code != exitUnavailable && r.code != exitNotFound {
		t.Errorf("get from such a server: exit %d", r.code)
	}
	s.stop()
}
