package upkeep

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// free takes dead volumes through the steps that end with their zones being
// given back. Bytes go only on proof:
//
//  1. No row names the volume: its count of rows is 0 (the plan, and again at
//     apply).
//  2. Its own directories agree: every block that they list has no row, or one
//     that points elsewhere (inspect.go).
//  3. FreeVolume commits; from then on nothing can point into it again.
//  4. Its extents wait in trash for the hold.
//  5. The referee: a linearizable read, made just before each reset, says freed.
//  6. The extent's zones are reset, and MarkFreed notes it.
func (u *Upkeep) free(ctx context.Context, p plan) error {
	var errs []error
	for _, v := range p.inspect {
		if ctx.Err() == nil {
			errs = append(errs, u.freeVolume(ctx, v))
		}
	}
	for _, at := range p.trash {
		errs = append(errs, u.trashExtent(ctx, at))
	}
	for _, at := range p.reset {
		if ctx.Err() == nil {
			errs = append(errs, u.resetExtent(ctx, at))
		}
	}
	for _, at := range p.gone {
		errs = append(errs, u.cfg.Volumes.MarkFreed(ctx, at.volume.ID, uint8(at.member)))
	}
	return errors.Join(errs...)
}

// freeVolume is steps 2 and 3, and the rest at once where there is no hold.
func (u *Upkeep) freeVolume(ctx context.Context, v *metadata.Volume) error {
	now := u.cfg.Now()
	wait := u.retryAfter[v.ID]
	if now.Before(wait.until) {
		return nil
	}
	if err := u.inspect(ctx, v); err != nil {
		wait.wait = min(max(2*wait.wait, firstRetry), lastRetry)
		u.retryAfter[v.ID] = backoff{now.Add(wait.wait), wait.wait}
		u.metrics.unproved.Inc()
		return fmt.Errorf("volume %v is not freed: %w", v.ID, err)
	}
	delete(u.retryAfter, v.ID)
	freed, err := u.cfg.Volumes.FreeVolume(ctx, v.ID, v.Epoch)
	if err != nil {
		return fmt.Errorf("free volume %v: %w", v.ID, err)
	}
	u.metrics.freedVolumes.Inc()
	u.log.Info("freed a volume: no row names it and its directories agree", "volume", v.ID.String(), "bytes", v.Shards)
	var errs []error
	for m := range freed.Members {
		at := place{&freed, m}
		if u.cfg.FreeHold > 0 {
			errs = append(errs, u.trashExtent(ctx, at))
		} else {
			errs = append(errs, u.resetExtent(ctx, at))
		}
	}
	return errors.Join(errs...)
}

// trashExtent is step 4: the disk is told, so that it shows.
func (u *Upkeep) trashExtent(ctx context.Context, at place) error {
	e := at.extent()
	if u.trashed[e] {
		return nil
	}
	err := u.cfg.Extents.Trash(ctx, at.disk(), e)
	if err != nil && !errors.Is(err, holdall.ErrNotFound) {
		return u.unlessAway(fmt.Errorf("trash extent %v on disk %v: %w", e, at.disk(), err))
	}
	u.trashed[e] = true
	return nil
}

// resetExtent is steps 5 and 6.
func (u *Upkeep) resetExtent(ctx context.Context, at place) error {
	e := at.extent()
	if err := u.cfg.Referee.Linearize(ctx); err != nil {
		return fmt.Errorf("referee of extent %v: %w", e, err)
	}
	now, err := u.cfg.Referee.Volume(e.Volume)
	if errors.Is(err, holdall.ErrNotFound) {
		return nil // all members are freed already
	}
	if err != nil {
		return fmt.Errorf("referee of extent %v: %w", e, err)
	}
	if now.State != holdall.VolumeFreed || at.member >= len(now.Members) || now.Extent(at.member) != e {
		u.metrics.disagreements.Inc()
		u.log.Error("an extent about to be reset is not one of a freed volume: nothing was reset", "extent", e.String(), "state", now.State.String())
		return fmt.Errorf("extent %v: the referee says that its volume is %v: %w", e, now.State, holdall.ErrRefused)
	}
	if err := u.trashExtent(ctx, at); err != nil {
		return err
	}
	if !u.trashed[e] {
		return nil
	}
	if err := u.cfg.Extents.Free(ctx, at.disk(), e); err != nil && !errors.Is(err, holdall.ErrNotFound) {
		return u.unlessAway(fmt.Errorf("reset extent %v on disk %v: %w", e, at.disk(), err))
	}
	if err := u.cfg.Volumes.MarkFreed(ctx, e.Volume, uint8(at.member)); err != nil {
		return fmt.Errorf("mark extent %v freed: %w", e, err)
	}
	delete(u.trashed, e)
	u.metrics.freedExtents.Inc()
	return nil
}

// unlessAway drops an error that only says that a disk is away: its extents are
// freed when it is back.
func (u *Upkeep) unlessAway(err error) error {
	if errors.Is(err, holdall.ErrDiskFailed) {
		return nil
	}
	return err
}
