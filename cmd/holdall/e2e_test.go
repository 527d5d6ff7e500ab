package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/fsck"
)

func diskPath(data string, i int) string { return filepath.Join(data, fmt.Sprintf("disk-%02d", i)) }

// diskStates counts disks by state, as `disk ls` shows them.
func diskStates(t *testing.T) map[string]int {
	t.Helper()
	var list []client.DiskStatus
	if err := json.Unmarshal([]byte(must(t, "disk", "ls", "--output", "json")), &list); err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, d := range list {
		n[d.State]++
	}
	return n
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestCellBearsKillsAndThreeLostDisks(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := serve(t, data)
	if !strings.Contains(s.ready, "disks=9 scheme=rs-6-3") {
		t.Errorf("ready line: %s", s.ready)
	}
	b := newBlocks(t)
	for _, size := range []int{1, 4095, 4096, 4097, 100_000, 4 << 20} {
		b.put(2, size)
	}
	b.check("at first")
	s.kill()
	s = serve(t, data)
	b.check("after kill -9")

	loseThreeDisks(t, data)
	b.check("with three disks gone")
	b.put(3, 50_000)
	b.check("after puts with three disks gone")
	s.stop()
	s = serve(t, data)
	if !strings.Contains(s.ready, "disks=6 ") {
		t.Errorf("ready line with three disks gone: %s", s.ready)
	}
	b.check("after a restart with three disks gone")
	s.stop()

	more := []int{1, 2, 4, 6, 7}
	for _, i := range more {
		move(t, diskPath(data, i), filepath.Join(data, fmt.Sprint("away-", i)))
	}
	s = serve(t, data)
	checkOutOfReach(t, b)
	for _, i := range more {
		move(t, filepath.Join(data, fmt.Sprint("away-", i)), diskPath(data, i))
	}
	eventually(t, "five disks are back", func() bool { return strings.Count(must(t, "disk", "ls"), "disk readmit") == 5 })
	b.check("after five disks came back")
	for _, i := range more {
		must(t, "disk", "readmit", fmt.Sprintf("disk-%02d", i))
	}
	if n := diskStates(t); n["active"] != 6 {
		t.Errorf("after readmit: %v", n)
	}
	b.put(2, 10_000)
	b.check("after puts to readmitted disks")
	s.stop()

	for _, f := range damaged(t, data) {
		if f.Kind != fsck.KindDisk && f.Kind != fsck.KindSuperblock {
			t.Errorf("fsck found more than missing disks: %s", findingText(&f))
		}
	}
}

// loseThreeDisks removes one disk, renames one and empties one, while the server
// runs, and waits until they show as failed.
func loseThreeDisks(t *testing.T, data string) {
	t.Helper()
	if err := os.RemoveAll(diskPath(data, 0)); err != nil {
		t.Fatal(err)
	}
	move(t, diskPath(data, 3), filepath.Join(data, "away-3"))
	files, _ := filepath.Glob(diskPath(data, 5) + "/*")
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "three disks shown failed", func() bool { return diskStates(t)["failed"] == 3 })
}

// checkOutOfReach checks that with all disks but one gone some blocks are out of
// reach, none is wrong, and none is said not to be there.
func checkOutOfReach(t *testing.T, b *blocks) {
	t.Helper()
	unavailable := 0
	for id, want := range b.files {
		switch r := command(t, nil, "block", "get", id); {
		case r.code == exitUnavailable:
			unavailable++
		case r.code != exitDone || r.out != string(want):
			t.Errorf("with eight disks gone: exit %d: %s", r.code, r.err)
		}
	}
	if unavailable == 0 {
		t.Error("with eight disks gone every block was still there: the test lost nothing")
	}
	if r := command(t, []byte("new"), "block", "put", "-"); r.code != exitUnavailable {
		t.Errorf("put with eight disks gone: exit %d: %s", r.code, r.err)
	}
}

func anyOf(b *blocks) string {
	for id := range b.files {
		return id
	}
	return ""
}

func TestBlockCommands(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	serve(t, data)
	b := newBlocks(t)
	ids := b.put(3, 300_000)
	if r := command(t, nil, "block", "get", ids[0], "--range", "100-199"); r.out != string(b.files[ids[0]][100:200]) {
		t.Errorf("range: exit %d, %d bytes", r.code, len(r.out))
	}
	file := filepath.Join(t.TempDir(), "out")
	must(t, "block", "get", ids[1], "-o", file)
	if got, _ := os.ReadFile(file); string(got) != string(b.files[ids[1]]) {
		t.Error("-o wrote something else")
	}
	var stat client.BlockStat
	if err := json.Unmarshal([]byte(must(t, "block", "stat", ids[0], "--output", "json")), &stat); err != nil {
		t.Fatal(err)
	}
	if stat.Size != 300_000 || stat.ShardsOK != stat.ShardsTotal || len(stat.Members) != 9 || !stat.Direct || stat.Namespace != "default" {
		t.Errorf("stat: %+v", stat)
	}
	absent := strings.Repeat("0", 64)
	if r := command(t, []byte(ids[0]+"\n"+absent+"\n"), "block", "missing"); r.out != absent+"\n" {
		t.Errorf("missing: %q", r.out)
	}
	must(t, "block", "rm", ids[0])
	if r := command(t, nil, "block", "get", ids[0]); r.code != exitNotFound {
		t.Errorf("get of a deleted block: exit %d, %s", r.code, r.err)
	}
	must(t, "block", "undelete", ids[0])
	b.check("after undelete")
	if r := command(t, nil, "block", "rm", absent); r.code != exitNotFound || !strings.Contains(r.err, absent) {
		t.Errorf("rm of no block: exit %d, %s", r.code, r.err)
	}
	if r := command(t, nil, "block", "get", ids[0], "--namespace", "nobody"); r.code == exitDone {
		t.Error("a namespace that does not exist has the block")
	}
	if r := command(t, make([]byte, 4<<20+1), "block", "put", "-"); r.code != exitUsage || !strings.Contains(r.err, "object put") {
		t.Errorf("a file over 4 MiB: exit %d, %s", r.code, r.err)
	}
}

func TestOperatorsSeeTheCell(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := serve(t, data, "--retention", "0", "--free-hold", "0")
	b := newBlocks(t)
	ids := b.put(4, 200_000)
	var cell client.CellStatus
	if err := json.Unmarshal([]byte(must(t, "cell", "status", "--output", "json")), &cell); err != nil {
		t.Fatal(err)
	}
	if cell.Health != "ok" || cell.Blocks != 4 || cell.UserBytes != 800_000 || cell.Disks.Active != 9 {
		t.Errorf("cell: %+v", cell)
	}
	if !strings.Contains(must(t, "cell", "status"), "9 active, 0 failed") {
		t.Error("the table does not count disks")
	}
	var sealed struct{ Sealed []string }
	if err := json.Unmarshal([]byte(must(t, "volume", "seal", "--all", "--output", "json")), &sealed); err != nil || len(sealed.Sealed) == 0 {
		t.Fatalf("sealed %v, %v", sealed, err)
	}
	must(t, "volume", "show", sealed.Sealed[0])
	must(t, append([]string{"block", "rm"}, ids...)...)
	eventually(t, "the volume is purged and freed", func() bool {
		return !strings.Contains(must(t, "volume", "ls"), sealed.Sealed[0]) && strings.Contains(must(t, "purge", "status"), "the trash is empty")
	})
	must(t, "purge", "release")
	extra := filepath.Join(t.TempDir(), "extra")
	if err := os.Mkdir(extra, 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, "disk", "add", extra, "--domain", "rack1/host1")
	if n := diskStates(t); n["active"] != 10 {
		t.Errorf("after disk add: %v", n)
	}
	if r := command(t, nil, "disk", "add", extra); r.code != exitRefused {
		t.Errorf("a disk that is one already: exit %d, %s", r.code, r.err)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": "holdall_volume_device_writes_total", "/": "disk_list"} {
		resp, err := http.Get("http://" + s.http + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d, lacks %q", path, resp.StatusCode, want)
		}
	}
	s.stop()
	s = serve(t, data)
	if !strings.Contains(s.ready, "disks=10 ") {
		t.Errorf("a disk added without --disk is not found again: %s", s.ready)
	}
	s.stop()
	if r := command(t, nil, "fsck", "--data", data); r.code != exitDone {
		t.Errorf("fsck: exit %d\n%s%s", r.code, r.out, r.err)
	}
}

func TestMetadataIsRebuiltFromDisksAlone(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := serve(t, data)
	b := newBlocks(t)
	ids := b.put(30, 3_000)
	must(t, append([]string{"block", "rm"}, ids[:8]...)...)
	must(t, append([]string{"block", "undelete"}, ids[:3]...)...)
	s.stop() // flushes the journal
	s = serve(t, data)
	late := b.put(5, 40_000)
	before := must(t, "metadata", "dump")
	s.kill()

	lost := filepath.Join(data, "metadata")
	move(t, lost, lost+".lost")
	if r := runServe(t, data); r.code != exitRefused || !strings.Contains(r.err, "metadata rebuild") {
		t.Errorf("serve without metadata: exit %d, %s", r.code, r.err)
	}
	// A disk is gone too: what its packs listed is rebuilt.
	move(t, diskPath(data, 2), filepath.Join(data, "away-2"))
	former := filepath.Join(data, "rebuild.jsonl")
	if err := os.WriteFile(former, []byte("former\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := command(t, nil, "metadata", "rebuild", "--from-disks", "--data", data); r.code != exitRefused || !strings.Contains(r.err, "member ") || !strings.Contains(r.err, "--without-missing-disks") {
		t.Errorf("rebuild without a disk: exit %d, %s", r.code, r.err)
	}
	if list, err := os.ReadFile(former); err != nil || string(list) != "former\n" {
		t.Errorf("a refused rebuild made of the former one's list: %q, %v", list, err)
	}
	must(t, "metadata", "rebuild", "--from-disks", "--without-missing-disks", "--data", data)
	move(t, filepath.Join(data, "away-2"), diskPath(data, 2))
	list, err := os.ReadFile(filepath.Join(data, "rebuild.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range late {
		if !strings.Contains(string(list), id) {
			t.Errorf("block %s is younger than the journal and is not listed", id)
		}
	}

	// The disk that was away is not one that the rebuilt metadata knows: rebuild
	// again with all of them.
	if err := os.RemoveAll(lost); err != nil {
		t.Fatal(err)
	}
	must(t, "metadata", "rebuild", "--from-disks", "--data", data)
	s = serve(t, data)
	if r := command(t, nil, "block", "get", strings.Repeat("0", 64)); r.code != exitUnavailable || !strings.Contains(r.err, "metadata release") {
		t.Errorf("not found in quarantine: exit %d, %s", r.code, r.err)
	}
	must(t, "metadata", "release")
	compareBlocks(t, before, must(t, "metadata", "dump"))
	for _, id := range ids[3:8] {
		if r := command(t, nil, "block", "get", id); r.code != exitNotFound {
			t.Errorf("deleted block %s: exit %d", id, r.code)
		}
		delete(b.files, id)
	}
	b.check("after the rebuild")

	must(t, "metadata", "backup", filepath.Join(t.TempDir(), "cell.tar"))
	s.stop()
	if r := command(t, nil, "fsck", "--data", data); r.code != exitDone {
		t.Errorf("fsck after the rebuild: exit %d\n%s%s", r.code, r.out, r.err)
	}
}

// compareBlocks compares the block rows of two dumps.
func compareBlocks(t *testing.T, before, after string) {
	t.Helper()
	rows := func(dump string) map[string]string {
		m := map[string]string{}
		for line := range strings.Lines(dump) {
			var row struct {
				Table, ID string
				Namespace int
			}
			if json.Unmarshal([]byte(line), &row) == nil && row.Table == "blocks" && row.Namespace != 0 {
				m[row.ID] = line
			}
		}
		return m
	}
	a, b := rows(before), rows(after)
	if len(a) == 0 || len(a) != len(b) {
		t.Errorf("%d rows before, %d after", len(a), len(b))
	}
	for id, row := range a {
		if b[id] != row {
			t.Errorf("row before %safter  %s", row, b[id])
		}
	}
}

// runServe runs a server that is expected to refuse to start. One that starts all
// the same is stopped, and exits with 0.
func runServe(t *testing.T, data string, flags ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var out, err bytes.Buffer
	code := run(ctx, append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--http", "off"}, flags...), nil, &out, &err)
	return result{code, out.String(), err.String()}
}
