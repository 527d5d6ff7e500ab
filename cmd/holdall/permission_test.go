package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const nobody = 65534 // a user who owns nothing here

// asNobody runs the program as an unprivileged user. It skips the test where
// this user may not become another.
func asNobody(t *testing.T, args ...string) result {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	binary := filepath.Join("/proc/self/fd", "3") // its directory may be closed to nobody
	exe, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	var out, errs bytes.Buffer
	cmd := &exec.Cmd{Path: binary, Args: append([]string{"holdall"}, args...), ExtraFiles: []*os.File{exe}, Stdout: &out, Stderr: &errs, Dir: "/",
		Env: append(os.Environ(), "HOLDALL_TEST_AS_PROGRAM=1"), SysProcAttr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("this process may not become another user: %v", err)
	}
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// openDir makes a directory that nobody may pass and owns.
func openDir(t *testing.T, parts ...string) string {
	t.Helper()
	dir := filepath.Join(parts...)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestNoPermissionIsAnsweredWithWhatToDo(t *testing.T) {
	base, err := os.MkdirTemp("/tmp", "holdall-permission-*") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(base, name) }
	for _, err := range []error{
		os.Mkdir(path("closed"), 0o755), os.Mkdir(path("unreadable"), 0o700), os.Mkdir(path("closed-disk"), 0o755),
		os.WriteFile(path("image"), nil, 0o600), os.Truncate(path("image"), 1<<30), // sparse
		os.MkdirAll(path("half/metadata"), 0o700), os.WriteFile(path("half/metadata/CURRENT"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	openDir(t, base, "half")
	good := openDir(t, base, "good-disk")
	for _, c := range []struct {
		what  string
		flags []string
		parts []string
	}{
		{"a data directory that it cannot write", []string{"--data", path("closed")}, []string{"data directory " + path("closed"), "permission denied", "uid 65534", "--data"}},
		{"a data directory that it cannot read", []string{"--data", path("unreadable")}, []string{"data directory " + path("unreadable"), "permission denied", "uid 65534", "--data"}},
		{"metadata that it cannot read", []string{"--data", path("half")}, []string{path("half/metadata"), "permission denied", "uid 65534", "chown"}},
		{"a disk that it cannot write", []string{"--data", openDir(t, base, "a"), "--disk", path("closed-disk"), "--disk", good},
			[]string{"disk " + path("closed-disk"), "permission denied", "uid 65534", "owner"}},
		{"a disk that it cannot make", []string{"--data", openDir(t, base, "b"), "--disk", path("closed/new"), "--disk", good},
			[]string{"disk " + path("closed/new"), "permission denied", "uid 65534", "mkdir"}},
		{"an image that it cannot open", []string{"--data", openDir(t, base, "c"), "--disk", path("image"), "--disk", good},
			[]string{"disk " + path("image"), "permission denied", "uid 65534", "owner"}},
	} {
		r := asNobody(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--http", "off"}, c.flags...)...)
		said := r.err[strings.LastIndex("\n"+r.err, "\nholdall: "):]
		if r.code == exitDone || r.out != "" {
			t.Errorf("%s: exit %d, printed %q", c.what, r.code, r.out)
		}
		for _, p := range c.parts {
			if !strings.Contains(said, p) {
				t.Errorf("%s: %q does not say %q", c.what, said, p)
			}
		}
	}
	if entries, err := os.ReadDir(good); err != nil || len(entries) > 0 {
		t.Errorf("a disk was formatted by a start that could not use the others: %v, %v", entries, err)
	}
}
