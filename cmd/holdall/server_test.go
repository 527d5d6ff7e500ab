package main

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

// server is `holdall serve` as a process of its own.
type server struct {
	t     *testing.T
	cmd   *exec.Cmd
	ready string // the line it printed
	grpc  string
	http  string
	ended chan error

	mu  sync.Mutex // guards log
	log bytes.Buffer
}

var readyLine = regexp.MustCompile(`^holdall: ready grpc=(\S+) http=(\S+) cell=[0-9a-f]{32} disks=\d+ scheme=\S+$`)

// program prepares the program as a process of its own.
func program(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "HOLDALL_TEST_AS_PROGRAM=1")
	return cmd
}

// serve starts a server on free ports and waits until it is ready.
func serve(t *testing.T, data string, flags ...string) *server {
	t.Helper()
	s := &server{t: t, ended: make(chan error, 1)}
	s.cmd = program(append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}, flags...)...)
	s.cmd.Stderr = s
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if lines.Scan() {
		s.ready = lines.Text()
	}
	go func() {
		for lines.Scan() {
		}
		s.ended <- s.cmd.Wait()
	}()
	t.Cleanup(s.kill)
	m := readyLine.FindStringSubmatch(s.ready)
	if m == nil {
		t.Fatalf("not ready: %q\n%s", s.ready, s.logged())
	}
	s.grpc, s.http = m[1], m[2]
	t.Setenv("HOLDALL_ENDPOINT", s.grpc)
	return s
}

// Write takes what the server logs.
func (s *server) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *server) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// kill ends the server as a power cut would, as far as a process can tell.
func (s *server) kill() {
	s.cmd.Process.Signal(syscall.SIGKILL)
	s.wait()
}

// stop ends the server as an operator would.
func (s *server) stop() {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.wait(); err != nil {
		s.t.Fatalf("SIGTERM: %v\n%s", err, s.logged())
	}
}

func (s *server) wait() error {
	err := <-s.ended
	s.ended <- err // for whoever waits again
	return err
}

// eventually waits until f holds; the test fails if it never does.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond) // another process changes what f looks at
	defer again.Stop()
	for begun := time.Now(); !f(); <-again.C {
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("never: %s", what)
		}
	}
}

// blocks are files and the ids that they were stored under.
type blocks struct {
	t     *testing.T
	dir   string
	files map[string][]byte // by id
}

func newBlocks(t *testing.T) *blocks {
	return &blocks{t: t, dir: t.TempDir(), files: map[string][]byte{}}
}

// put stores n blocks of a size and returns their ids.
func (b *blocks) put(n, size int) []string {
	b.t.Helper()
	args := []string{"block", "put"}
	var contents [][]byte
	r := rand.NewChaCha8([32]byte{byte(len(b.files)), byte(size), byte(size >> 8), byte(size >> 16)})
	for range n {
		data := make([]byte, size)
		r.Read(data)
		name := filepath.Join(b.dir, holdall.HashBlock(data).String())
		if err := os.WriteFile(name, data, 0o600); err != nil {
			b.t.Fatal(err)
		}
		args, contents = append(args, name), append(contents, data)
	}
	var ids []string
	for i, line := range strings.Split(strings.TrimSpace(must(b.t, args...)), "\n") {
		id := strings.Fields(line)[0]
		b.files[id] = contents[i]
		ids = append(ids, id)
	}
	return ids
}

// check gets every block and compares.
func (b *blocks) check(when string) {
	b.t.Helper()
	for id, data := range b.files {
		if r := command(b.t, nil, "block", "get", id); r.code != exitDone || r.out != string(data) {
			b.t.Fatalf("%s: block %s of %d bytes: exit %d, %d bytes\n%s", when, id, len(data), r.code, len(r.out), r.err)
		}
	}
}
