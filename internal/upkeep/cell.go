package upkeep

import (
	"context"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// Tables is what upkeep reads of metadata. *metadata.Store is one.
type Tables interface {
	Cell() (metadata.Cell, error)
	Volumes() ([]metadata.Volume, error)
	Disks() ([]metadata.Disk, error)
	Lookup(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID, linearizable bool) ([]metadata.Block, error)
}

// Referee is what a free asks last. *metadata.Store is one.
type Referee interface {
	// Linearize returns when reads see everything that was acknowledged before
	// the call.
	Linearize(ctx context.Context) error
	Volume(id holdall.VolumeID) (metadata.Volume, error)
}

// Volumes is what upkeep changes about volumes. *metadata.Store is one.
type Volumes interface {
	MarkFooter(ctx context.Context, id holdall.VolumeID, member uint8) error
	FreeVolume(ctx context.Context, id holdall.VolumeID, epoch holdall.Epoch) (metadata.Volume, error)
	MarkFreed(ctx context.Context, id holdall.VolumeID, member uint8) error
}

// Trash is the blocks that wait for their retention to end. *metadata.Store is
// one.
type Trash interface {
	// TrashAfter returns up to limit blocks that have been in trash since before
	// a time, the oldest first, and of them those that come after a given one.
	TrashAfter(after metadata.Trashed, before time.Time, limit int) ([]metadata.Trashed, error)
	Namespaces() ([]metadata.Namespace, error)
	Purge(ctx context.Context, keys []metadata.BlockKey) (metadata.PurgeResult, error)
}

// Versions is the versions of objects that wait for their retention to end, and
// the uploads that have ended. *metadata.Store is one.
type Versions interface {
	// ObjectTrash returns up to limit versions that have been in trash since
	// before a time, the oldest first, and of them those after a given one.
	ObjectTrash(after metadata.ObjectTrashed, before time.Time, limit int) ([]metadata.ObjectTrashed, error)
	PurgeObjects(ctx context.Context, keys []metadata.ObjectKey) (metadata.PurgeResult, error)

	// ReleaseNode removes the row of a manifest node that is due, and drops its
	// references to children.
	ReleaseNode(ctx context.Context, ns holdall.NamespaceID, node holdall.BlockID, children []holdall.BlockID) (metadata.PurgeResult, error)

	// EndedUploads returns up to limit uploads that have something to release
	// since before a time.
	EndedUploads(before time.Time, limit int) ([]metadata.Upload, error)
	ReleaseUpload(ctx context.Context, id holdall.PutID, limit int) (left int, err error)
}

// Nodes reads manifests. *object.Objects is one.
type Nodes interface {
	// Children returns the blocks that a manifest node lists, each once for every
	// time it does.
	Children(ctx context.Context, ns holdall.NamespaceID, node holdall.BlockID) ([]holdall.BlockID, error)
}

// Journal is the changes that no block on disks lists yet. *metadata.Store is
// one.
type Journal interface {
	Changes(limit int) ([]metadata.Change, error)
	FlushChanges(ctx context.Context, upTo uint64) error
}

// Extents is what volume servers do for upkeep. *volume.Server is one.
type Extents interface {
	shards
	Seal(ctx context.Context, disk holdall.DiskID, extent holdall.ExtentID, epoch holdall.Epoch, last uint64, end int64) error
	Trash(ctx context.Context, disk holdall.DiskID, extent holdall.ExtentID) error
	Free(ctx context.Context, disk holdall.DiskID, extent holdall.ExtentID) error
}

// Disks tells how full the disks are. *volume.Server is one.
type Disks interface {
	Status() []volume.DiskStatus
}

// Blocks is what gateways do for upkeep. *gateway.Gateway is one.
type Blocks interface {
	// PutSystem stores data as a block of the system namespace. It is durable
	// and committed when PutSystem returns nil.
	PutSystem(ctx context.Context, data []byte) error

	// SealVolumes ends appends to volumes, and returns those that were open.
	SealVolumes(ctx context.Context, ids []holdall.VolumeID) ([]holdall.VolumeID, error)
}
