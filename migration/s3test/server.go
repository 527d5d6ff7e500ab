package s3test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdall/holdall"
)

// Region is the region that every server says it is in.
const Region = "us-east-1"

const (
	startLimit = time.Minute            // a start that takes longer has failed; usually 200 ms
	startPoll  = 20 * time.Millisecond  // between looks at whether it answers
	stopLimit  = 5 * time.Second        // then a polite stop becomes a kill
	startTries = 5                      // another process may take the free port first
	probeLimit = 500 * time.Millisecond // of one look
)

// Options say how a server runs. The zero Options are a server without versions
// over a new directory on a free port.
type Options struct {
	Program  string // versitygw; "" = Build
	Root     string // its directory: buckets are directories in it; "" = a new one, removed by Stop
	Port     int    // on 127.0.0.1; 0 = a free one
	Versions bool   // buckets may have versions
}

// Server is one S3 server, running or killed.
type Server struct {
	// AccessKey and SecretKey are the credentials that it takes.
	AccessKey, SecretKey string

	options Options
	made    string // directory to remove at the end, "" for none
	log     tail

	mu   sync.Mutex // guards proc
	proc *process
}

// process is one life of a server.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed once Wait has returned
}

// Start starts a server and waits until it answers. ctx bounds the start alone;
// the server runs until Kill or Stop.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	s := &Server{AccessKey: "AK" + rand.Text()[:18], SecretKey: rand.Text() + rand.Text()}
	if o.Program == "" {
		if o.Program, err = Build(ctx); err != nil {
			return nil, err
		}
	}
	if s.made, err = os.MkdirTemp("", "s3test-"); err != nil {
		return nil, fmt.Errorf("S3 server's directory: %w", err)
	}
	if o.Root == "" {
		o.Root = filepath.Join(s.made, "root")
		if err := os.Mkdir(o.Root, 0o755); err != nil {
			return nil, fmt.Errorf("S3 server's directory: %w", err)
		}
	}
	fixed := o.Port != 0
	for try := 1; ; try++ {
		s.options = o
		if !fixed {
			if s.options.Port, err = freePort(); err != nil {
				return nil, err
			}
		}
		if err = s.Restart(ctx); err == nil {
			return s, nil
		}
		if fixed || try == startTries || ctx.Err() != nil {
			return nil, errors.Join(err, os.RemoveAll(s.made))
		}
	}
}

// freePort returns a port that nobody listened on a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// Root returns the directory in which buckets are directories and objects files.
func (s *Server) Root() string { return s.options.Root }

// Address returns host and port.
func (s *Server) Address() string { return "127.0.0.1:" + strconv.Itoa(s.options.Port) }

// Endpoint returns the server's URL.
func (s *Server) Endpoint() string { return "http://" + s.Address() }

// Environ returns the credentials as the AWS SDKs read them from the environment.
func (s *Server) Environ() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey, "AWS_REGION=" + Region, "AWS_EC2_METADATA_DISABLED=true"}
}

// Client returns an S3 client of the SDK, at its defaults, that talks to the
// server at endpoint, "" for the server itself (a proxy in front of it is the
// other choice).
func (s *Server) Client(endpoint string) *s3.Client {
	if endpoint == "" {
		endpoint = s.Endpoint()
	}
	return s3.New(s3.Options{
		Region: Region, BaseEndpoint: aws.String(endpoint), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
}

// Restart starts the server again, on the same root and port, after Kill.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		return fmt.Errorf("S3 server at %s runs already: %w", s.Address(), holdall.ErrExists)
	}
	p := &process{cmd: s.command(), ended: make(chan struct{})}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start the S3 server: %w", err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how a killed process ended is no news
	}()
	if err := s.await(ctx, p); err != nil {
		p.end(syscall.SIGKILL)
		return err
	}
	s.proc = p
	return nil
}

func (s *Server) command() *exec.Cmd {
	// The credentials go by the environment: what is in arguments, everybody sees.
	args := []string{"--quiet", "--port", s.Address(), "--region", Region, "posix"}
	if s.options.Versions {
		dir := filepath.Join(s.made, "versions")
		_ = os.MkdirAll(dir, 0o755) // the server says so if it is missing
		args = append(args, "--versioning-dir", dir)
	}
	cmd := exec.Command(s.options.Program, append(args, s.options.Root)...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+s.AccessKey, "ROOT_SECRET_ACCESS_KEY="+s.SecretKey)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	cmd.SysProcAttr = dieWithParent()
	return cmd
}

// await returns once the server answers HTTP, whatever it says.
func (s *Server) await(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	probe := &http.Client{Timeout: probeLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	again := time.NewTicker(startPoll)
	defer again.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint(), nil)
		if err != nil {
			return fmt.Errorf("S3 server at %s: %w", s.Address(), err)
		}
		if resp, err := probe.Do(req); err == nil {
			return resp.Body.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("S3 server at %s ended instead of answering: %w\n%s", s.Address(), holdall.ErrUnavailable, s.log.String())
		case <-ctx.Done():
			return fmt.Errorf("S3 server at %s does not answer: %w\n%s", s.Address(), ctx.Err(), s.log.String())
		case <-again.C:
		}
	}
}

// end sends a signal and waits until the process is gone.
func (p *process) end(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// Kill ends the server as kill -9 does, and returns once it is gone. A server
// that does not run stays so.
func (s *Server) Kill() { s.down(syscall.SIGKILL) }

// Stop ends the server for good and removes the directories made for it.
func (s *Server) Stop() error {
	s.down(syscall.SIGTERM)
	if err := os.RemoveAll(s.made); err != nil {
		return fmt.Errorf("remove the S3 server's directory: %w", err)
	}
	return nil
}

func (s *Server) down(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		s.proc.end(sig)
		s.proc = nil
	}
}

// Log returns the last of what the server printed.
func (s *Server) Log() string { return s.log.String() }
