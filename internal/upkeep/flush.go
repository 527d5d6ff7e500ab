package upkeep

import (
	"context"
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// Bounds of a flush.
const (
	flushBatch   = 1 << 16 // changes read at once; metadata bounds their bytes
	flushTimeout = 30 * time.Second
)

// flushes writes the change journal to disks every so often. What is not
// written when all metadata is lost is what a rebuild cannot know.
func (u *Upkeep) flushes(ctx context.Context) {
	tick := time.NewTicker(u.cfg.FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		flush, cancel := context.WithTimeout(ctx, flushTimeout)
		if err := u.Flush(flush); err != nil && ctx.Err() == nil {
			u.metrics.failures.Inc()
			u.log.Warn("the change journal could not be written to disks: if all metadata were lost now, the latest deletes and undeletes would be too", "err", err)
		}
		cancel()
	}
}

// Flush writes every change that no block on disks lists yet as blocks of the
// system namespace, then lets metadata forget it.
func (u *Upkeep) Flush(ctx context.Context) error {
	u.flushing.Lock()
	defer u.flushing.Unlock()
	cell, err := u.cfg.Tables.Cell()
	if err != nil {
		return err
	}
	for {
		changes, err := u.cfg.Journal.Changes(flushBatch)
		if err != nil || len(changes) == 0 {
			u.metrics.unflushed.Set(0)
			return err
		}
		u.metrics.unflushed.Set(float64(len(changes)))
		for rest := changes; len(rest) > 0; {
			block, n := AppendJournal(nil, cell.ID, cell.Incarnation, rest, holdall.MaxBlockSize)
			if err := u.cfg.Blocks.PutSystem(ctx, block); err != nil {
				return fmt.Errorf("journal of changes %d to %d: %w", rest[0].Seq, rest[n-1].Seq, err)
			}
			if err := u.cfg.Journal.FlushChanges(ctx, rest[n-1].Seq); err != nil {
				return fmt.Errorf("forget changes up to %d: %w", rest[n-1].Seq, err)
			}
			u.metrics.flushed.Add(float64(n))
			rest = rest[n:]
		}
		if len(changes) < flushBatch && changes[len(changes)-1].Seq >= cell.LastChange {
			u.metrics.unflushed.Set(0)
			return nil
		}
	}
}
