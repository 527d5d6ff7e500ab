package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

// Config says what a workload does. The zero Config is a put of 4 MiB blocks,
// 16 at a time, for 10 s, to client.DefaultEndpoint.
type Config struct {
	Endpoint    string
	Namespace   string
	Connections int // 0 = the client's default
	Sizes       Sizes
	Concurrency int           // calls in flight; 0 = 16
	Duration    time.Duration // 0 = 10 s, or no limit where Count is set
	Count       int64         // at most so many calls; 0 = no limit
	IDs         string        // file of ids: Put and Mixed write it, Get reads it; "" = none
	Seed        uint64        // of sizes and choices, not of blocks, which are never the same twice
	PutShare    float64       // Mixed: puts among all calls, above 0 to 1; 0 = 1/3

	// Settle is how long Mixed tries, in the end, to read back blocks that
	// cannot be read at once; 0 = 60 s.
	Settle time.Duration

	// Progress is called about twice a second; nil = nobody asks.
	Progress func(ops, bytes, errors int64)
}

// Validate returns every fault of c, joined, or nil.
func (c Config) Validate() error {
	var faults []error
	rule := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("bench: "+format+": %w", append(args, holdall.ErrInvalid)...))
		}
	}
	if err := c.Sizes.validate(); err != nil {
		faults = append(faults, err)
	}
	rule(c.Concurrency >= 0 && c.Concurrency <= 4096, "Concurrency: %d, want 1 to 4096, or 0 for 16", c.Concurrency)
	rule(c.Duration >= 0, "Duration: %v, want 0 or more", c.Duration)
	rule(c.Count >= 0, "Count: %d, want 0 or more", c.Count)
	rule(c.PutShare >= 0 && c.PutShare <= 1, "PutShare: %v, want 0 to 1", c.PutShare)
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.Endpoint == "" {
		c.Endpoint = client.DefaultEndpoint
	}
	if c.Concurrency == 0 {
		c.Concurrency = 16
	}
	if c.Duration == 0 && c.Count == 0 {
		c.Duration = 10 * time.Second
	}
	if c.PutShare == 0 {
		c.PutShare = 1.0 / 3
	}
	if c.Settle == 0 {
		c.Settle = time.Minute
	}
	return c
}

// session is one run of a workload.
type session struct {
	Config
	client *client.Client
	ledger *ledger
	run    uint64       // numbers its blocks apart from those of any other run
	begun  atomic.Int64 // calls, against Count
}

func (c Config) open(attempts int, ids string) (*session, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &session{Config: c.withDefaults(), run: rand.Uint64()}
	var err error
	s.client, err = client.Dial(client.Options{Namespace: s.Namespace, Connections: s.Connections, Attempts: attempts}, s.Endpoint)
	if err != nil {
		return nil, err
	}
	if s.ledger, err = newLedger(ids); err != nil {
		return nil, errors.Join(err, s.client.Close())
	}
	return s, nil
}

func (s *session) close() error { return errors.Join(s.ledger.close(), s.client.Close()) }

// more says whether another call may begin.
func (s *session) more() bool { return s.Count == 0 || s.begun.Add(1) <= s.Count }

// load is that of a workload that goes on after errors, and counts them.
// restarts says that the server may be away while it is asked what it used.
func (s *session) load(restarts bool) load {
	return load{
		workers: s.Concurrency, duration: s.Duration, stats: s.client.ProcessStats,
		patient: true, restarts: restarts, progress: s.Progress,
	}
}

func (s *session) random(worker int) *rand.Rand {
	return rand.New(rand.NewPCG(s.Seed, uint64(worker)))
}

// Put stores new blocks. Calls that are refused for want of memory are tried
// again, as clients do; errors are those that were left.
func Put(ctx context.Context, c Config) (Result, error) {
	s, err := c.open(0, c.IDs)
	if err != nil {
		return Result{}, err
	}
	r, err := s.load(false).run(ctx, func(worker int) operation {
		from, random := newSource(s.run, worker), s.random(worker)
		return func(ctx context.Context) (int, error) {
			if !s.more() {
				return 0, doneError{}
			}
			return s.put(ctx, from.block(s.Sizes.next(random)))
		}
	})
	return r, errors.Join(err, s.close(), r.verdict())
}

// put stores one block and notes it once it is acknowledged.
func (s *session) put(ctx context.Context, data []byte) (int, error) {
	id, err := s.client.Put(ctx, data)
	if err == nil {
		s.ledger.add(Stored{id, len(data)})
	}
	return len(data), err
}

// verdict is an error where nothing at all went well.
func (r *Result) verdict() error {
	if r.Ops == 0 && r.first != nil {
		return fmt.Errorf("bench: no call went well, the first failed with: %w", r.first)
	}
	return nil
}

// Get reads and verifies the blocks of the file of ids, shuffled, from the first
// to the last and again, until its time is over; with neither Duration nor Count
// it reads each once.
func Get(ctx context.Context, c Config) (Result, error) {
	blocks, err := ReadIDs(c.IDs)
	if err != nil {
		return Result{}, err
	}
	if len(blocks) == 0 {
		return Result{}, fmt.Errorf("bench: file of ids %s is empty: run `holdall bench put --ids` first: %w", c.IDs, holdall.ErrInvalid)
	}
	if c.Duration == 0 && c.Count == 0 {
		c.Count = int64(len(blocks))
	}
	s, err := c.open(0, "")
	if err != nil {
		return Result{}, err
	}
	rand.New(rand.NewPCG(c.Seed, 0)).Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
	var next atomic.Int64
	r, err := s.load(false).run(ctx, func(int) operation {
		return func(ctx context.Context) (int, error) {
			if !s.more() {
				return 0, doneError{}
			}
			return s.get(ctx, blocks[(next.Add(1)-1)%int64(len(blocks))].ID)
		}
	})
	return r, errors.Join(err, s.close(), r.verdict())
}

// get reads one block; the client hashes it.
func (s *session) get(ctx context.Context, id holdall.BlockID) (int, error) {
	b, err := s.client.Fetch(ctx, id, client.GetOptions{})
	if err != nil {
		return 0, err
	}
	defer b.Release()
	return b.Len(), nil
}
