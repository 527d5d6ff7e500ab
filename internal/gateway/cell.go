package gateway

import (
	"context"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// Index maps blocks to places. *metadata.Store is one.
type Index interface {
	// Lookup returns a row for each of ids, in order. With linearizable set it
	// goes through the leader: only then does a row that is not Found prove
	// anything.
	Lookup(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID, linearizable bool) ([]metadata.Block, error)

	// CommitStripe is the commit point of a put. ErrStale: refused, and this
	// volume takes no more stripes under this epoch.
	CommitStripe(ctx context.Context, c metadata.StripeCommit) (metadata.CommitResult, error)

	// Claim makes blocks direct, un-trashing them. It names those that are
	// gone, which are not claimed.
	Claim(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error)

	// Delete clears direct. It names those that were not found.
	Delete(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error)

	// Undelete sets direct on trashed blocks. It names those that are gone.
	Undelete(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error)
}

// Pending holds blocks that were put on behalf of objects. *metadata.Store is
// one.
type Pending interface {
	// ClaimPending holds blocks for another day, un-trashing them. It names those
	// that are gone, which are not held.
	ClaimPending(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error)
}

// Namespaces tells what a namespace uses, and may. Any replica may answer.
// *metadata.Store is one.
type Namespaces interface {
	NamespaceByID(id holdall.NamespaceID) (metadata.Namespace, error)
}

// Tables are the volumes and the disks of the cell. Any replica may answer.
// *metadata.Store is one.
type Tables interface {
	Volume(id holdall.VolumeID) (metadata.Volume, error)
	Volumes() ([]metadata.Volume, error)
	Disks() ([]metadata.Disk, error)
}

// Leases give volumes to gateways. *metadata.Store is one.
type Leases interface {
	CreateVolume(ctx context.Context, v metadata.NewVolume) (metadata.Volume, error)
	TakeLease(ctx context.Context, id holdall.VolumeID, gateway string, lease time.Duration) (metadata.Volume, error)
	RenewLeases(ctx context.Context, gateway string, ids []holdall.VolumeID, lease time.Duration) ([]holdall.VolumeID, error)
	SealVolume(ctx context.Context, id holdall.VolumeID, epoch holdall.Epoch, force bool) (metadata.Volume, error)
	MarkFooter(ctx context.Context, id holdall.VolumeID, member uint8) error
}

// Writer is what volume servers do for the writer of a volume. *volume.Server
// is one.
type Writer interface {
	CreateExtent(ctx context.Context, g volume.Grant) error

	// Append returns when the record is durable, or will never be.
	Append(ctx context.Context, disk holdall.DiskID, a *volume.Append) error
	Fence(ctx context.Context, disk holdall.DiskID, extent holdall.ExtentID, epoch holdall.Epoch, end int64, last uint64) (volume.ExtentInfo, error)
	Seal(ctx context.Context, disk holdall.DiskID, extent holdall.ExtentID, epoch holdall.Epoch, last uint64, end int64) error
	Status() []volume.DiskStatus
}

// Reader is what volume servers do for readers. *volume.Server is one.
type Reader interface {
	// Read returns n unverified bytes at off of an extent.
	Read(ctx context.Context, disk holdall.DiskID, extent holdall.ExtentID, off int64, n int) (buffer.View, error)

	// ReadChecked returns n bytes at off of the payload of the record at rec,
	// verified by the record's header and checksums.
	ReadChecked(ctx context.Context, disk holdall.DiskID, extent holdall.ExtentID, rec int64, off, n int) (buffer.View, error)

	// StripeAt asks the disk of one extent for the stripe whose shard on
	// member, which need not be the extent's own, covers offset off there.
	StripeAt(ctx context.Context, disk holdall.DiskID, extent holdall.ExtentID, member int, off int64) (holdall.Stripe, error)
}
