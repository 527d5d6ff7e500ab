package metadata

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

// errUnknown marks the failure of a mutation that may yet be carried out.
var errUnknown = errors.New("whether it was done is unknown")

// propose brings an entry through Raft and returns the answer of apply. The
// entry is numbered, so where the outcome of a try is unknown it is tried again:
// if it was carried out, its first answer comes back. again says that this
// happened. It gives up when ctx ends, or between two tries when the first
// failed leaderWait ago, with ErrUnavailable; the error wraps errUnknown too if
// the entry may be in the log.
func (r *replica) propose(ctx context.Context, entry []byte) (answer []byte, again bool, err error) {
	unknown := false
	var patience context.Context // for a leader; a try that has begun is not cut short by it
	for {
		o, err := r.try(ctx, entry)
		if err == nil {
			return o.answer, unknown, o.err
		}
		unknown = unknown || !notInLog(err)
		if dead := r.dead.err(); dead != nil {
			return nil, unknown, mayBeDone(dead, unknown)
		}
		if patience == nil {
			var done context.CancelFunc
			patience, done = context.WithTimeoutCause(ctx, leaderWait, errNoLeader)
			defer done()
		}
		if !errors.Is(err, raft.ErrRaftShutdown) && r.pause(patience) == nil {
			continue
		}
		if patience.Err() != nil {
			err = context.Cause(patience)
		}
		return nil, unknown, mayBeDone(fmt.Errorf("metadata: mutation not committed: %w: %w", err, holdall.ErrUnavailable), unknown)
	}
}

func mayBeDone(err error, unknown bool) error {
	if unknown {
		return fmt.Errorf("%w: %w", errUnknown, err)
	}
	return err
}

// notInLog says whether err proves that Raft has not put the entry in its log.
func notInLog(err error) bool {
	return errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrEnqueueTimeout) ||
		errors.Is(err, raft.ErrLeadershipTransferInProgress) || errors.Is(err, errNotProposed)
}

var errNotProposed = errors.New("not proposed")

// try gives the entry to Raft once. When ctx ends first, what Raft will answer
// is waited for by nobody, but counted until it comes.
func (r *replica) try(ctx context.Context, entry []byte) (outcome, error) {
	cost := int64(len(entry)) + proposeCost
	if err := r.bytes.Acquire(ctx, cost); err != nil {
		return outcome{}, fmt.Errorf("%w: %w", errNotProposed, err)
	}
	type reply struct {
		outcome
		err error
	}
	done := make(chan reply, 1)
	r.ops.add()
	go func() {
		defer r.ops.exit()
		defer r.bytes.Release(cost)
		f := r.raft.Apply(entry, 0)
		if err := f.Error(); err != nil {
			done <- reply{err: err}
			return
		}
		done <- reply{outcome: f.Response().(outcome)}
	}()
	select {
	case got := <-done:
		return got.outcome, got.err
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
}

// pause waits a moment before the next try, or until the lead changes hands. It
// returns an error, which wraps ErrUnavailable, when ctx ends before.
func (r *replica) pause(ctx context.Context) error {
	_, changed := r.lead.get()
	timer := time.NewTimer(proposeRetry)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-ctx.Done():
		return fmt.Errorf("metadata: no leader: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
	}
	return nil
}
