package upkeep

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
)

// writeFooters gives sealed extents the footers that they lack: their gateway
// died, or their disk was away. Sealing again is harmless.
func (u *Upkeep) writeFooters(ctx context.Context, places []place) error {
	var errs []error
	for _, p := range places {
		if ctx.Err() != nil {
			break
		}
		if err := u.writeFooter(ctx, p); err != nil && !errors.Is(err, holdall.ErrDiskFailed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (u *Upkeep) writeFooter(ctx context.Context, p place) error {
	v := p.volume
	if err := u.cfg.Extents.Seal(ctx, p.disk(), p.extent(), v.Epoch, v.Last, v.Members[p.member].End); err != nil {
		return fmt.Errorf("footer of extent %v on disk %v: %w", p.extent(), p.disk(), err)
	}
	if err := u.cfg.Volumes.MarkFooter(ctx, v.ID, uint8(p.member)); err != nil {
		return fmt.Errorf("footer of extent %v: %w", p.extent(), err)
	}
	u.metrics.footers.Inc()
	return nil
}
