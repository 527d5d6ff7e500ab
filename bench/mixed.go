package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdall/holdall"
)

// MixedResult is what a mixed workload came to, and what became of every block
// that was acknowledged to it.
type MixedResult struct {
	Result
	Puts         int64 `json:"puts"` // acknowledged
	Gets         int64 `json:"gets"` // of acknowledged blocks, verified
	Acknowledged int64 `json:"acknowledged"`
	Verified     int64 `json:"verified"`   // read back in the end, and right
	Lost         int64 `json:"lost"`       // the cell said that there is no such block, then or in the end
	Wrong        int64 `json:"wrong"`      // the bytes were others
	Unreadable   int64 `json:"unreadable"` // could not be read, in the end, for as long as was tried

	Findings []string `json:"findings"` // the first of those lost, wrong or unreadable
}

// maxFindings is how many findings are told one by one.
const maxFindings = 20

// verdicts sorts what reads of acknowledged blocks come to.
type verdicts struct {
	lost, wrong atomic.Int64

	mu       sync.Mutex // guards findings
	findings []string
}

// judge counts an error of reading an acknowledged block, and returns whether it
// is final: asking again cannot make it better.
func (v *verdicts) judge(b Stored, err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, holdall.ErrNotFound), errors.Is(err, holdall.ErrDataLoss):
		v.lost.Add(1)
	case errors.Is(err, holdall.ErrCorrupt):
		v.wrong.Add(1)
	default:
		return false
	}
	v.note(b, err)
	return true
}

func (v *verdicts) note(b Stored, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.findings) < maxFindings {
		v.findings = append(v.findings, fmt.Sprintf("block %v of %d bytes: %v", b.ID, b.Size, err))
	}
}

// Mixed puts new blocks and gets acknowledged ones, goes on whatever errors it
// gets, and in the end reads back every block that was acknowledged to it. So it
// may be run while servers are killed and disks removed: whatever happens to
// them, Lost and Wrong must be 0. A block that is found missing is counted once
// in the end, and again each time that a get met it before.
func Mixed(ctx context.Context, c Config) (MixedResult, error) {
	s, err := c.open(1, c.IDs) // one attempt: errors are counted, not hidden
	if err != nil {
		return MixedResult{}, err
	}
	var v verdicts
	var out MixedResult
	var gets atomic.Int64
	out.Result, err = s.load(true).run(ctx, func(worker int) operation {
		from, random := newSource(s.run, worker), s.random(worker)
		return func(ctx context.Context) (int, error) {
			if !s.more() {
				return 0, doneError{}
			}
			known := s.ledger.all()
			if len(known) == 0 || random.Float64() < s.PutShare {
				return s.put(ctx, from.block(s.Sizes.next(random)))
			}
			b := known[random.IntN(len(known))]
			n, err := s.get(ctx, b.ID)
			if err == nil {
				gets.Add(1)
			}
			v.judge(b, err)
			return n, err
		}
	})
	out.Gets = gets.Load()
	out.Puts = int64(len(s.ledger.all()))
	out.Acknowledged = out.Puts
	if err == nil {
		out.Verified, out.Unreadable, err = s.readBack(ctx, &v)
	}
	out.Lost, out.Wrong, out.Findings = v.lost.Load(), v.wrong.Load(), v.findings
	return out, errors.Join(err, s.close(), out.verdict())
}

// readBack reads every acknowledged block. One that cannot be read now is asked
// for again, until it can or Settle is over.
func (s *session) readBack(ctx context.Context, v *verdicts) (verified, unreadable int64, err error) {
	blocks := s.ledger.all()
	until := time.Now().Add(s.Settle)
	var next, good, bad atomic.Int64
	var wg sync.WaitGroup
	for range s.Concurrency {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := next.Add(1) - 1
				if i >= int64(len(blocks)) {
					return
				}
				switch err := s.readUntil(ctx, blocks[i], until); {
				case err == nil:
					good.Add(1)
				case !v.judge(blocks[i], err):
					bad.Add(1)
					v.note(blocks[i], err)
				}
				if s.Progress != nil && i%1024 == 0 {
					s.Progress(i, 0, bad.Load())
				}
			}
		})
	}
	wg.Wait()
	return good.Load(), bad.Load(), ctx.Err()
}

// readUntil reads b until it can be read, or is known to be lost or wrong, or it
// is late.
func (s *session) readUntil(ctx context.Context, b Stored, until time.Time) error {
	for {
		n, err := s.get(ctx, b.ID)
		switch {
		case err == nil && n != b.Size:
			return fmt.Errorf("read %d bytes: %w", n, holdall.ErrCorrupt)
		case err == nil, errors.Is(err, holdall.ErrNotFound), errors.Is(err, holdall.ErrDataLoss), errors.Is(err, holdall.ErrCorrupt):
			return err
		case time.Now().After(until) || !pause(ctx, 10*errorPause):
			return err
		}
	}
}
