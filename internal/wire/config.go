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
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
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

// Objects puts objects and finds them. A method's errors are those of
// object.Objects.
type Objects interface {
	Put(ctx context.Context, r object.PutRequest) (metadata.Object, error)
	Open(ctx context.Context, at object.Place, o object.GetOptions) (Opened, error)
	Head(ctx context.Context, at object.Place, version holdall.Version) (metadata.Object, error)
	List(ctx context.Context, ns holdall.NamespaceID, bucket string, q metadata.ListQuery) (metadata.ListPage, error)
}

// Opened is an object, or a range of it, that is about to be read.
type Opened struct {
	Object metadata.Object
	Offset int64 // of the first byte that Body has
	Length int64 // bytes that it has
	Body   Body
}

// Body is bytes of an object, in pieces of at most holdall.MaxBlockSize. Close
// ends it.
type Body interface {
	// Next returns the next piece, which the caller releases, or io.EOF.
	Next() (buffer.View, error)
	Close() error
}

// ObjectChanges changes what is known of objects, without their bytes.
type ObjectChanges interface {
	Delete(ctx context.Context, r object.DeleteRequest) (metadata.Object, error)
	Undelete(ctx context.Context, at object.Place) (metadata.Object, error)
	Copy(ctx context.Context, r object.CopyRequest) (metadata.Object, error)
	SetTags(ctx context.Context, at object.Place, version holdall.Version, tags []manifest.Tag) (metadata.Object, error)
}

// Buckets are those of the cell.
type Buckets interface {
	CreateBucket(ctx context.Context, ns holdall.NamespaceID, name string) (metadata.Bucket, error)
	RemoveBucket(ctx context.Context, ns holdall.NamespaceID, name string) error
	ListBuckets(ctx context.Context, ns holdall.NamespaceID, after string, limit int) ([]metadata.Bucket, error)
}

// NamespaceTable is the table of namespaces, for operators. The cell's own
// namespace is not in it. A retention or a quota that is nil is left as it is,
// or at its default.
type NamespaceTable interface {
	CreateNamespace(ctx context.Context, name string, retention *time.Duration, quota int64) (client.Namespace, error)

	// ListNamespaces returns at most limit namespaces with names above after, by
	// name.
	ListNamespaces(ctx context.Context, after string, limit int) ([]client.Namespace, error)
	ShowNamespace(ctx context.Context, name string) (client.Namespace, error)
	SetNamespace(ctx context.Context, name string, retention *time.Duration, quota *int64) (client.Namespace, error)
	RemoveNamespace(ctx context.Context, name string) error
}

// Credentials are the access keys of the S3 front door.
type Credentials interface {
	// CreateCredential makes an access key and its secret, which is kept nowhere
	// in the clear.
	CreateCredential(ctx context.Context, namespace, note string) (c client.Credential, secret string, err error)

	// ListCredentials returns at most limit access keys above after, in order.
	ListCredentials(ctx context.Context, namespace, after string, limit int) ([]client.Credential, error)
	RemoveCredential(ctx context.Context, namespace, accessKey string) error
}

// Config says what a Server serves. Put and Get must be set. The methods of an
// interface that is nil are UNIMPLEMENTED; without Namespaces there is only
// "default".
type Config struct {
	Put        Putter
	Get        Getter
	IDs        IDs
	Namespaces Namespaces

	Objects Objects
	Changes ObjectChanges
	Buckets Buckets

	NamespaceTable NamespaceTable
	Credentials    Credentials

	// Migrations, or none of the three.
	Migrations    Migrations
	MigrationWork MigrationWork
	MigrationKeys MigrationKeys

	Process  Process
	Cell     Cell
	Disks    Disks
	Volumes  Volumes
	Metadata Metadata

	// ReceiveTimeout is how long a request may take to arrive; default 10 s.
	ReceiveTimeout time.Duration

	// SendTimeout is how long the caller of a get of an object may take nothing;
	// default 30 s.
	SendTimeout time.Duration

	// StreamMemory is how many bytes the messages of puts of objects may take on
	// their way in, before they are part of a block. Default 128 MiB.
	StreamMemory int64

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
	rule(cfg.SendTimeout >= 0, "SendTimeout: %v, must not be negative", cfg.SendTimeout)
	rule(cfg.StreamMemory == 0 || cfg.StreamMemory >= minStreamMemory, "StreamMemory: %d bytes, must be at least %d", cfg.StreamMemory, minStreamMemory)
	return errors.Join(faults...)
}

// minStreamMemory lets one stream in that states nothing.
const minStreamMemory = holdall.MaxBlockSize + streamWindow

func (cfg Config) withDefaults() Config {
	if cfg.ReceiveTimeout == 0 {
		cfg.ReceiveTimeout = 10 * time.Second
	}
	if cfg.SendTimeout == 0 {
		cfg.SendTimeout = 30 * time.Second
	}
	if cfg.StreamMemory == 0 {
		cfg.StreamMemory = 128 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg
}
