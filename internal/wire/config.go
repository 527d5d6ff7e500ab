package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/buffer"
)

// Admission is leave to send one block. It counts against the memory for puts
// until Release, which may be called more than once.
type Admission interface {
	// Receive takes the buffer for a block of size bytes, at most the admitted.
	Receive(ns holdall.NamespaceID, size int) (Incoming, error)
	Release()
}

// Incoming is a block that is being received. It ends with Put or Discard;
// Discard after Put does nothing.
type Incoming interface {
	Write(p []byte) (int, error) // copies and hashes
	Put(ctx context.Context, want *holdall.BlockID) (PutResult, error)
	Discard()
}

// PutResult says what was acknowledged.
type PutResult struct {
	ID      holdall.BlockID
	Existed bool // no bytes were written for this put
}

// GetOptions says which bytes to get. Length 0 is to the end.
type GetOptions struct {
	Offset, Length int
	Consistent     bool
	CallerVerifies bool // nothing need be hashed here
}

// GetResult is a block, or the range of it that was asked for.
type GetResult struct {
	View  buffer.View // whoever has the result releases it
	Size  int         // bytes of the whole block
	Proof holdall.Proof
}

// Putter takes blocks in. Its Admit must not block: it runs between the frames
// of a connection. Errors: ErrExhausted inside holdall.RetryAfter, ErrInvalid.
type Putter interface {
	Admit(size int64) (Admission, error)
}

// Getter finds blocks.
type Getter interface {
	Get(ctx context.Context, ns holdall.NamespaceID, id holdall.BlockID, o GetOptions) (GetResult, error)
	Stat(ctx context.Context, ns holdall.NamespaceID, id holdall.BlockID) (client.BlockStat, error)
}

// IDs works on blocks by name. Each method names the ids that it left alone.
type IDs interface {
	Missing(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) ([]holdall.BlockID, error)
	Claim(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error)
	Delete(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error)
	Undelete(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error)
}

// Namespaces finds namespaces by name. One that does not exist is ErrNotFound.
type Namespaces interface {
	NamespaceID(name string) (holdall.NamespaceID, error)
}

// Process answers for the server's process.
type Process interface {
	ProcessStats(ctx context.Context) (client.ProcessStats, error)
}

// Cell answers for the whole cell.
type Cell interface {
	CellStatus(ctx context.Context) (client.CellStatus, error)
	PurgeStatus(ctx context.Context) (client.PurgeStatus, error)
	ReleasePurge(ctx context.Context) error
}

// Disks are those of the cell. A disk is named by its id or its path.
type Disks interface {
	Disks(ctx context.Context) ([]client.DiskStatus, error)
	Disk(ctx context.Context, disk string) (client.DiskStatus, error)
	AddDisk(ctx context.Context, path, domain string) (client.DiskStatus, error)

	// ReadmitDisk calls progress, now and then, with bytes done and to do.
	ReadmitDisk(ctx context.Context, disk string, progress func(done, total uint64)) (client.DiskStatus, error)
}

// Volumes are those of the cell.
type Volumes interface {
	// Volumes returns at most limit volumes with ids above after, by id,
	// without members.
	Volumes(ctx context.Context, after holdall.VolumeID, limit int) ([]client.VolumeStatus, error)
	Volume(ctx context.Context, id holdall.VolumeID) (client.VolumeStatus, error)

	// SealVolumes seals ids, or every open volume when ids is nil, and returns
	// those that were open.
	SealVolumes(ctx context.Context, ids []holdall.VolumeID) ([]holdall.VolumeID, error)
}

// Metadata is the cell's index as a whole.
type Metadata interface {
	BackupMetadata(ctx context.Context, w io.Writer) error // a tar archive
	DumpMetadata(ctx context.Context, w io.Writer) error   // JSON lines
	ReleaseMetadata(ctx context.Context) error
}

// Config says what a Server serves. Put and Get must be set. The methods of an
// interface that is nil are UNIMPLEMENTED; without Namespaces there is only
// "default".
type Config struct {
	Put        Putter
	Get        Getter
	IDs        IDs
	Namespaces Namespaces

	Process  Process
	Cell     Cell
	Disks    Disks
	Volumes  Volumes
	Metadata Metadata

	// ReceiveTimeout is how long a request may take to arrive; default 10 s.
	ReceiveTimeout time.Duration

	Logger     *slog.Logger          // default slog.Default()
	Registerer prometheus.Registerer // nil = metrics are not registered
}

// Validate returns every fault of cfg, joined, or nil.
func (cfg Config) Validate() error {
	var faults []error
	rule := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("wire: "+format+": %w", append(args, holdall.ErrInvalid)...))
		}
	}
	rule(cfg.Put != nil, "Put: must be set")
	rule(cfg.Get != nil, "Get: must be set")
	rule(cfg.ReceiveTimeout >= 0 && cfg.ReceiveTimeout <= maxDeadline,
		"ReceiveTimeout: %v, must be at most %v", cfg.ReceiveTimeout, maxDeadline)
	return errors.Join(faults...)
}

func (cfg Config) withDefaults() Config {
	if cfg.ReceiveTimeout == 0 {
		cfg.ReceiveTimeout = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg
}
