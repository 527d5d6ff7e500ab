package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMistakesAreAnsweredWithWhatToDo tries what a new user gets wrong.
func TestMistakesAreAnsweredWithWhatToDo(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if r := command(t, nil, "block", "put", os.Args[0], "--endpoint", "127.0.0.1:1"); r.code != exitUsage {
		t.Errorf("a file over 4 MiB: exit %d, %s", r.code, r.err)
	}
	expect := func(what string, r result, code int, parts ...string) {
		t.Helper()
		if r.code != code {
			t.Errorf("%s: exit %d, want %d: %s", what, r.code, code, r.err)
		}
		for _, p := range parts {
			if !strings.Contains(r.err, p) {
				t.Errorf("%s: %q does not say %q", what, r.err, p)
			}
		}
	}
	expect("server down", command(t, nil, "cell", "status", "--endpoint", "127.0.0.1:1"), exitUnavailable, "no server answers at 127.0.0.1:1", "holdall serve")
	expect("put of what is not there", command(t, nil, "block", "put", data), exitFailed, "no such file", "check the path")
	expect("put of a directory", command(t, nil, "block", "put", t.TempDir()), exitFailed, "is a directory", "name files")
	expect("fsck of a directory without a cell", command(t, nil, "fsck", "--data", t.TempDir()), exitNotFound, "holds no cell", "--data")
	s := serve(t, data)
	expect("data directory in use", runServe(t, data), exitRefused, "in use by process", "--data")
	expect("port taken", command(t, nil, "serve", "--data", data+"2", "--listen", s.grpc, "--http", "off"), exitUnavailable, "in use by another process", "--listen", "same command again")
	expect("HTTP port taken", command(t, nil, "serve", "--data", data+"2", "--listen", "127.0.0.1:0", "--http", s.http), exitUnavailable, "--http")
	expect("fsck of a running cell", command(t, nil, "fsck", "--data", data), exitRefused, "stop the server")
	expect("bad id", command(t, nil, "block", "get", "xyz"), exitUsage, "64 hex digits")
	expect("unknown id", command(t, nil, "block", "get", strings.Repeat("ab", 32)), exitNotFound, "not found", "undelete")
	expect("unknown disk", command(t, nil, "disk", "show", "nothing"), exitNotFound, "holdall disk ls")
	expect("add of what is not there", command(t, nil, "disk", "add", data+"/nothing"), exitUnavailable, "nothing at this path")
	expect("add of a disk of the cell", command(t, nil, "disk", "add", diskPath(data, 0)), exitRefused, "of this cell already", "readmit")
	expect("readmit of no disk", command(t, nil, "disk", "readmit", "nothing"), exitNotFound, "holdall disk ls")
	expect("add of what is not empty", command(t, nil, "disk", "add", filepath.Dir(data)), exitRefused, "not empty")
	s.stop()

	expect("wrong directory, fsck", command(t, nil, "fsck", "--data", data+"-typo"), exitNotFound, "--data")
	expect("wrong directory, rebuild", command(t, nil, "metadata", "rebuild", "--from-disks", "--data", data+"-typo"), exitFailed, "--data")
	expect("rebuild over metadata", command(t, nil, "metadata", "rebuild", "--from-disks", "--data", data), exitRefused, "move it away")
	expect("too few disks", runServe(t, data+"3", "--disk", t.TempDir()), exitRefused, "at least 2", "--disk")
	expect("too few for a scheme", runServe(t, data+"4", "--disk", t.TempDir(), "--disk", t.TempDir(), "--scheme", "rs-6-3"), exitRefused, "--scheme")
	expect("no parent of a disk", runServe(t, data+"5", "--disk", data+"/x/y/z", "--disk", t.TempDir()), exitUsage, "parent directory")
	if _, err := os.Stat(data + "5/metadata"); err == nil {
		t.Error("a first start that was refused left metadata behind")
	}
	expect("disks of another cell, no metadata", runServe(t, data+"6", "--disk", diskPath(data, 0), "--disk", diskPath(data, 1)), exitRefused, "metadata rebuild")
	small := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(small, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("image too small for its zones", runServe(t, data+"7", "--disk", small, "--disk", t.TempDir()), exitUsage, "zone")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	expect("data is a file", runServe(t, file), exitUsage, "--data")
}

func TestForeignAndDoubledDisksAreLeftAlone(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	s := serve(t, a)
	s.stop()
	s = serve(t, b)
	blocks := newBlocks(t)
	blocks.put(3, 10_000)
	s.stop()
	// A disk of another cell where one of ours was.
	move(t, diskPath(b, 2), filepath.Join(b, "own-2"))
	if err := os.CopyFS(diskPath(b, 2), os.DirFS(diskPath(a, 2))); err != nil {
		t.Fatal(err)
	}
	// A copy of one of ours beside it.
	if err := os.CopyFS(filepath.Join(b, "disk-77"), os.DirFS(diskPath(b, 5))); err != nil {
		t.Fatal(err)
	}
	s = serve(t, b)
	if r := command(t, nil, "disk", "add", diskPath(a, 3)); r.code != exitRefused || !strings.Contains(r.err, "this is cell") || strings.Contains(r.err, "empty it") {
		t.Errorf("disk add of a disk of another cell: exit %d, %s", r.code, r.err)
	}
	if n := diskStates(t); n["active"] != 7 || n["failed"] != 2 {
		t.Errorf("with a foreign disk and a double: %v", n)
	}
	for _, part := range []string{"is disk", "of cell", "one is a copy"} {
		if !strings.Contains(s.logged(), part) {
			t.Errorf("the log does not say %q", part)
		}
	}
	blocks.check("with a foreign disk and a double")
	s.stop()
	if err := errors.Join(os.RemoveAll(diskPath(b, 2)), os.RemoveAll(filepath.Join(b, "disk-77"))); err != nil {
		t.Fatal(err)
	}
	move(t, filepath.Join(b, "own-2"), diskPath(b, 2))
	serve(t, b)
	must(t, "disk", "readmit", "disk-02")
	must(t, "disk", "readmit", "disk-05")
	if n := diskStates(t); n["active"] != 9 {
		t.Errorf("with every disk back: %v", n)
	}
	blocks.check("with every disk back")
}

func TestADiskNamedLaterIsSaidHowToBeAdded(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	flags := []string{}
	for range 3 {
		flags = append(flags, "--disk", t.TempDir())
	}
	s := serve(t, data, flags...)
	s.stop()
	later := t.TempDir()
	flags = append(flags, "--disk", later)
	s = serve(t, data, flags...)
	if !strings.Contains(s.ready, "disks=3 scheme=rep-3") {
		t.Errorf("a disk that was never added is used: %s", s.ready)
	}
	if out := must(t, "cell", "status"); !strings.Contains(out, later) || !strings.Contains(out, "holdall disk add") {
		t.Errorf("cell status does not say how the disk is added:\n%s", out)
	}
	must(t, "disk", "add", later)
	s.stop()
	s = serve(t, data, flags...)
	if !strings.Contains(s.ready, "disks=4 ") {
		t.Errorf("after disk add: %s", s.ready)
	}
}
