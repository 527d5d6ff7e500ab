package door

import (
	"context"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// Names finds buckets and rows, linearizably. *metadata.Store does.
type Names interface {
	Bucket(ctx context.Context, ns holdall.NamespaceID, name string) (metadata.Bucket, error)

	// Object returns the newest row of a key, which may be a delete marker.
	Object(ctx context.Context, bucket holdall.BucketID, key string) (metadata.Object, error)

	// ReadSide says where a key of a bucket that is mirrored is read. It is a local
	// read, to be done after a linearizable one.
	ReadSide(m *metadata.Migration, key string) (metadata.Side, error)

	// Entries are a local read, too: at most limit of them with keys above after.
	Entries(bucket holdall.BucketID, after string, limit int) ([]metadata.Entry, error)
}

// Migrations is the table of migrations, and of the doors that take part in their
// steps. *metadata.Store has them.
type Migrations interface {
	Migration(bucket holdall.BucketID) (m metadata.Migration, ok bool, err error)
	Migrations() ([]metadata.Migration, error)
	Acknowledge(ctx context.Context, door metadata.DoorID, bucket holdall.BucketID, number uint64) error
	SeeDoor(ctx context.Context, door metadata.DoorID) (fenced bool, err error)
	DropDoor(ctx context.Context, door metadata.DoorID) error
}

// Intents is the lock of keys over all doors. *metadata.Store has it.
type Intents interface {
	TakeIntent(ctx context.Context, r metadata.IntentRequest) (metadata.Granted, error)
	EndIntent(ctx context.Context, e metadata.EndIntent) error

	// Intent, Entry and Intents hold what was acknowledged before a linearizable read that
	// has ended.
	Intent(bucket holdall.BucketID, key string) (i metadata.Intent, ok bool, err error)
	Entry(bucket holdall.BucketID, key string) (e metadata.Entry, ok bool, err error)
	Intents(bucket holdall.BucketID, after string, limit int) ([]metadata.Intent, error)
}

// Notes is what a door has to note beside its intents. *metadata.Store does.
type Notes interface {
	SettleTags(ctx context.Context, key metadata.ObjectKey, tags []byte, how metadata.Settlement) (metadata.Object, error)
	NoteMiss(ctx context.Context, bucket holdall.BucketID, key, reason string) error
	NoteMismatch(ctx context.Context, bucket holdall.BucketID, key, what string) error
}
