package source

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/pace"
)

// Config names a bucket and says how it is read. Only Bucket has to be set.
// Credentials come from where the AWS tools find them: environment, files, roles.
type Config struct {
	Bucket      string
	Prefix      string // only keys that begin so
	Endpoint    string // URL of another server than AWS; "" = AWS
	Region      string // "" = the environment's or profile's
	Profile     string // of the AWS tools' files, by name; "" = the environment's
	VirtualHost bool   // with Endpoint: name the bucket in the host, not in the path

	Concurrency int           // requests in flight in all; 0 = 64
	Attempts    int           // of a request before it fails; 0 = 10
	Timeout     time.Duration // of one attempt, without its body; 0 = 30 s
	Stall       time.Duration // without a byte of a body before it is asked for again; 0 = 30 s
	Backoff     pace.Backoff  // between attempts
	Budget      *pace.Budget  // nil = no limits

	Now    func() time.Time                           // nil = the clock
	Sleep  func(context.Context, time.Duration) error // nil = a timer
	Chance func() float64                             // 0 to 1, to spread waits; nil = at random
}

const (
	defaultConcurrency = 64               // S3 bears 5,500 reads a second for one prefix: this many at 12 ms
	maxConcurrency     = 1024             // sockets
	defaultAttempts    = 10               // with the waits between them, about a minute of trouble
	defaultTimeout     = 30 * time.Second // a page of a listing takes at most seconds
	defaultStall       = 30 * time.Second
)

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	var faults []string
	if c.Bucket == "" || len(c.Bucket) > 255 || strings.ContainsAny(c.Bucket, "/?#") {
		// Old buckets have capitals and underscores: today's rules are for new ones.
		faults = append(faults, fmt.Sprintf("bucket %.80q: want the name of a bucket, 1 to 255 characters without a slash", c.Bucket))
	}
	if len(c.Prefix) > holdall.MaxKeySize {
		faults = append(faults, fmt.Sprintf("prefix: has %d bytes, the most is %d", len(c.Prefix), holdall.MaxKeySize))
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			faults = append(faults, "endpoint: want a URL as in https://s3.example.com")
		case u.User != nil:
			faults = append(faults, "endpoint: holds a user or password; credentials come from the environment or files, never from a URL")
		}
	}
	if c.Concurrency < 0 || c.Concurrency > maxConcurrency {
		faults = append(faults, fmt.Sprintf("concurrency %d: want 1 to %d", c.Concurrency, maxConcurrency))
	}
	if c.Attempts < 0 || c.Timeout < 0 || c.Stall < 0 {
		faults = append(faults, "attempts, timeout and stall: want 0 or more")
	}
	if len(faults) > 0 {
		return fmt.Errorf("source: %s: %w", strings.Join(faults, "; "), holdall.ErrInvalid)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Concurrency == 0 {
		c.Concurrency = defaultConcurrency
	}
	if c.Attempts == 0 {
		c.Attempts = defaultAttempts
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Stall == 0 {
		c.Stall = defaultStall
	}
	if c.Budget == nil {
		c.Budget = pace.NewBudget(pace.NoLimits(), pace.Prices{}, pace.Spent{})
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Chance == nil {
		c.Chance = rand.Float64
	}
	return c
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Source is one bucket. Its methods may be called from many goroutines.
type Source struct {
	cfg   Config
	s3    *s3.Client
	creds *aws.CredentialsCache
	slots *slots

	echoes atomic.Bool // the server repeats where a listing begins

	mu    sync.Mutex // guards known
	known []Secret   // credentials seen, to be kept out of texts
}

// Open prepares to read a bucket. It asks the server nothing yet.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	sdk, err := config.LoadDefaultConfig(ctx,
		config.WithSharedConfigProfile(cfg.Profile),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
		config.WithLogger(logging.Nop{}), // it has warnings of its own for stderr
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns, t.MaxIdleConnsPerHost = 2*cfg.Concurrency, cfg.Concurrency
			t.DisableCompression = true // bytes as they are stored
		})),
	)
	if err != nil {
		return nil, fmt.Errorf("source %s: settings of the AWS tools: %w", cfg.Bucket, err)
	}
	if cfg.Region == "" {
		cfg.Region = sdk.Region
	}
	if cfg.Region == "" && cfg.Endpoint != "" {
		cfg.Region = "us-east-1" // what servers that have no regions answer to
	}
	if cfg.Region == "" {
		return nil, fmt.Errorf("source %s: no region: set AWS_REGION, or give --region: %w", cfg.Bucket, holdall.ErrInvalid)
	}
	s := &Source{cfg: cfg, creds: aws.NewCredentialsCache(sdk.Credentials), slots: newSlots(cfg.Concurrency)}
	s.s3 = s3.NewFromConfig(sdk, func(o *s3.Options) {
		o.Region, o.Credentials = cfg.Region, s.creds
		o.DisableLogOutputChecksumValidationSkipped = true
		if cfg.Endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = aws.String(cfg.Endpoint), !cfg.VirtualHost
		}
	})
	return s, nil
}

// Bucket returns the bucket's name.
func (s *Source) Bucket() string { return s.cfg.Bucket }

// secrets returns the credentials in use, so that they can be cut from texts.
func (s *Source) secrets() []Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// learn notes the credentials that the next request is signed with. What cannot be
// had is what the request itself will complain about.
func (s *Source) learn(ctx context.Context) {
	c, err := s.creds.Retrieve(ctx)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.known); n < 2 || s.known[n-2].value != c.SecretAccessKey {
		s.known = append(s.known, NewSecret(c.SecretAccessKey), NewSecret(c.SessionToken))
	}
}

// call is what all attempts at one request have in common.
type call struct {
	op    string
	key   string
	class pace.Class
}

// do makes a request, as often as is worth it and the budget allows.
func (s *Source) do(ctx context.Context, c call, f func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		release, err := s.admit(ctx, c)
		if err != nil {
			return err
		}
		one, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		err = f(one)
		cancel()
		if err == nil {
			release(pace.Done)
			return nil
		}
		failed := s.explain(ctx, c, err)
		release(failed.outcome)
		if err := s.again(ctx, failed, attempt); err != nil {
			return err
		}
	}
}

// admit waits until the budget and the prefix's window let a request go. The
// caller has to release it.
func (s *Source) admit(ctx context.Context, c call) (release func(pace.Outcome), err error) {
	wait, err := s.cfg.Budget.Ask(s.cfg.Now(), c.class)
	if err != nil {
		return nil, &Failure{Op: c.op, Bucket: s.cfg.Bucket, Key: c.key, Message: err.Error(), Kind: holdall.ErrExhausted}
	}
	if err := s.rest(ctx, wait); err != nil {
		return nil, err
	}
	s.learn(ctx)
	prefix := prefixOf(c.key)
	if err := s.slots.enter(ctx, prefix); err != nil {
		return nil, err
	}
	return func(o pace.Outcome) { s.slots.leave(s.cfg.Now(), prefix, o) }, nil
}

// rest sleeps for what the budget asks, past the turn of hours.
func (s *Source) rest(ctx context.Context, wait time.Duration) error {
	for wait > 0 {
		if err := s.cfg.Sleep(ctx, wait); err != nil {
			return err
		}
		wait = s.cfg.Budget.Again(s.cfg.Now())
	}
	return nil
}

// again waits before the next attempt, or returns why there is none.
func (s *Source) again(ctx context.Context, f *Failure, attempt int) error {
	if attempt > f.retries || attempt >= s.cfg.Attempts {
		if attempt > 1 && !errors.Is(f.Kind, holdall.ErrNotFound) {
			f.Message += fmt.Sprintf(" (%d attempts)", attempt)
		}
		return f
	}
	if f.expired {
		s.creds.Invalidate() // files may hold newer ones
	}
	return s.cfg.Sleep(ctx, s.cfg.Backoff.Delay(attempt, s.cfg.Chance()))
}

// prefixOf is the part of a key that shares a window: its first directory, as S3
// splits a bucket by leading bytes.
func prefixOf(key string) string {
	head, _, found := strings.Cut(key, "/")
	if !found {
		return ""
	}
	return head
}
