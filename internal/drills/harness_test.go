package drills

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var full = flag.Bool("full", false, "run every drill at its full length and size")

// pick returns long with -full, and short without.
func pick[T any](short, long T) T {
	if *full {
		return long
	}
	return short
}

var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "holdall-drills-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "holdall")
	out, err := exec.Command("go", "build", "-o", path, "github.com/holdall/holdall/cmd/holdall").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if path, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// cell is a data directory with the addresses its server listens on.
type cell struct {
	t        testing.TB
	dir      string
	grpc     string
	http     string
	args     []string // of serve, beyond the data directory and addresses
	wrap     []string // a command that runs serve, as strace does
	server   *server
	diskDirs []string
}

// server is one running `holdall serve`.
type server struct {
	cmd    *exec.Cmd
	ready  time.Duration // from start to the ready line
	line   string        // the ready line
	stderr *lockedBuffer
	done   chan error
}

type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newCell makes a cell that is not running. Its data directory lies on the
// disk that holds the temporary directory and goes when the test ends.
func newCell(t testing.TB, args ...string) *cell {
	t.Helper()
	c := &cell{t: t, dir: filepath.Join(t.TempDir(), "data"), grpc: freeAddr(t), http: freeAddr(t), args: args}
	for i := range 9 {
		c.diskDirs = append(c.diskDirs, filepath.Join(c.dir, fmt.Sprintf("disk-%02d", i)))
	}
	t.Cleanup(func() { c.kill() })
	return c
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs serve and waits for its ready line.
func (c *cell) start() *server {
	c.t.Helper()
	s, err := c.tryStart(60 * time.Second)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *cell) tryStart(limit time.Duration) (*server, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	args := append(append([]string{}, c.wrap...), path, "serve", "--data", c.dir, "--listen", c.grpc, "--http", c.http)
	args = append(args, c.args...)
	s := &server{cmd: exec.Command(args[0], args[1:]...), stderr: &lockedBuffer{}, done: make(chan error, 1)}
	s.cmd.Stderr = s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	lines := make(chan string, 1)
	go func() {
		scan := bufio.NewScanner(out)
		for scan.Scan() {
			if strings.Contains(scan.Text(), "holdall: ready ") {
				lines <- scan.Text()
			}
		}
		_, _ = io.Copy(io.Discard, out)
		s.done <- s.cmd.Wait()
	}()
	select {
	case s.line = <-lines:
		s.ready = time.Since(began)
		c.server = s
		return s, nil
	case err := <-s.done:
		s.done <- err
		return nil, fmt.Errorf("serve ended before it was ready: %w\n%s", err, s.stderr)
	case <-time.After(limit):
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		return nil, fmt.Errorf("serve was not ready after %v\n%s", limit, s.stderr)
	}
}

// kill ends the server as a power switch would, if one runs.
func (c *cell) kill() { c.end(syscall.SIGKILL) }

// stop ends the server with SIGTERM and checks that it exits with 0.
func (c *cell) stop() {
	c.t.Helper()
	s := c.server
	if err := c.end(syscall.SIGTERM); err != nil {
		c.t.Fatalf("serve did not exit cleanly: %v\n%s", err, s.stderr)
	}
}

func (c *cell) end(sig syscall.Signal) error {
	if c.server == nil {
		return nil
	}
	s := c.server
	c.server = nil
	_ = syscall.Kill(-s.cmd.Process.Pid, sig)
	select {
	case err := <-s.done:
		return err
	case <-time.After(60 * time.Second):
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		return errors.New("still running 60 s after the signal")
	}
}

// result is what a command of the CLI did.
type result struct {
	code   int
	stdout string
	stderr string
}

// run runs a command of the CLI against the cell and returns what it did,
// whatever its exit code.
func (c *cell) run(args ...string) result {
	c.t.Helper()
	return c.runInput(nil, args...)
}

func (c *cell) runInput(stdin []byte, args ...string) result {
	c.t.Helper()
	path, err := program()
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "HOLDALL_ENDPOINT="+c.grpc)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("holdall %s: %v", strings.Join(args, " "), err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must runs a command that has to succeed and returns its output.
func (c *cell) must(args ...string) string {
	c.t.Helper()
	r := c.run(args...)
	if r.code != 0 {
		c.t.Fatalf("holdall %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// json runs a command with --output json and decodes what it prints into v.
func (c *cell) json(v any, args ...string) {
	c.t.Helper()
	out := c.must(append(args, "--output", "json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		c.t.Fatalf("holdall %s: %v in\n%s", strings.Join(args, " "), err, out)
	}
}

// eventually waits until ok says so, and fails the test with what after limit.
func (c *cell) eventually(limit time.Duration, what string, ok func() bool) time.Duration {
	c.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			c.t.Fatalf("%s: not within %v", what, limit)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(began)
}
