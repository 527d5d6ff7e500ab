package sim

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

var discard = slog.New(slog.DiscardHandler)

// frozen answers with what metadata knew at the instant of a crash, as recorded
// from a real Store. Starting a real one on each of thousands of images would
// take a tenth of a second each. It changes nothing.
type frozen struct{ s *survivor }

var errFrozen = fmt.Errorf("sim: metadata is frozen: %w", holdall.ErrUnavailable)

func (f frozen) Lookup(_ context.Context, ns holdall.NamespaceID, ids []holdall.BlockID, _ bool) ([]metadata.Block, error) {
	rows := make([]metadata.Block, len(ids))
	for i, id := range ids {
		rows[i] = f.s.rows[id]
		rows[i].Namespace, rows[i].ID = ns, id
	}
	return rows, nil
}

func (f frozen) Volume(id holdall.VolumeID) (metadata.Volume, error) {
	if v, ok := f.s.volumes[id]; ok {
		return v, nil
	}
	return metadata.Volume{}, fmt.Errorf("sim: no volume %v: %w", id, holdall.ErrNotFound)
}

func (f frozen) Disks() ([]metadata.Disk, error) {
	var all []metadata.Disk
	for _, st := range f.s.server.Status() {
		all = append(all, metadata.Disk{ID: st.ID, State: holdall.DiskActive})
	}
	return all, nil
}

func (frozen) Volumes() ([]metadata.Volume, error) { return nil, nil }

func (frozen) CommitStripe(context.Context, metadata.StripeCommit) (metadata.CommitResult, error) {
	return metadata.CommitResult{}, errFrozen
}

func (frozen) Claim(context.Context, holdall.NamespaceID, []holdall.BlockID) ([]holdall.BlockID, error) {
	return nil, errFrozen
}

func (frozen) Delete(context.Context, holdall.NamespaceID, []holdall.BlockID) ([]holdall.BlockID, error) {
	return nil, errFrozen
}

func (frozen) Undelete(context.Context, holdall.NamespaceID, []holdall.BlockID) ([]holdall.BlockID, error) {
	return nil, errFrozen
}

func (frozen) CreateVolume(context.Context, metadata.NewVolume) (metadata.Volume, error) {
	return metadata.Volume{}, errFrozen
}

func (frozen) TakeLease(context.Context, holdall.VolumeID, string, time.Duration) (metadata.Volume, error) {
	return metadata.Volume{}, errFrozen
}

func (frozen) RenewLeases(context.Context, string, []holdall.VolumeID, time.Duration) ([]holdall.VolumeID, error) {
	return nil, errFrozen
}

func (frozen) SealVolume(context.Context, holdall.VolumeID, holdall.Epoch, bool) (metadata.Volume, error) {
	return metadata.Volume{}, errFrozen
}

func (frozen) MarkFooter(context.Context, holdall.VolumeID, uint8) error { return errFrozen }
