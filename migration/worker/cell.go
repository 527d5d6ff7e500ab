package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/mirror"
	"github.com/holdall/holdall/migration/pace"
	"github.com/holdall/holdall/migration/source"
)

// Objects is the object engine. *object.Objects is one.
type Objects interface {
	Put(ctx context.Context, r object.PutRequest) (metadata.Object, error)
	Open(ctx context.Context, at object.Place, o object.GetOptions) (*object.Reader, error)
	List(ctx context.Context, ns holdall.NamespaceID, bucket string, q metadata.ListQuery) (metadata.ListPage, error)
	Delete(ctx context.Context, r object.DeleteRequest) (metadata.Object, error)
}

// Uploads is the object engine's multipart half. *object.Objects is one.
type Uploads interface {
	CreateUpload(ctx context.Context, r object.UploadRequest) (metadata.Upload, error)
	PutPart(ctx context.Context, r object.PartRequest) (metadata.Part, error)
	Parts(ctx context.Context, at object.UploadPlace, after, limit int) (object.PartPage, error)
	Complete(ctx context.Context, r object.CompleteRequest) (metadata.Object, error)
	Abort(ctx context.Context, at object.UploadPlace) error
}

// Names finds buckets and rows. *metadata.Store is one.
type Names interface {
	Object(ctx context.Context, bucket holdall.BucketID, key string) (metadata.Object, error)
	Bucket(ctx context.Context, ns holdall.NamespaceID, name string) (metadata.Bucket, error)
	Buckets(ns holdall.NamespaceID, after string, limit int) ([]metadata.Bucket, error)
	NamespaceByID(id holdall.NamespaceID) (metadata.Namespace, error)
	Namespace(name string) (metadata.Namespace, error)
}

// Migrations is the table of migrations. *metadata.Store is one.
type Migrations interface {
	CreateMigration(ctx context.Context, m metadata.Migration) (metadata.Migration, error)
	SetMigration(ctx context.Context, bucket holdall.BucketID, set metadata.MigrationSettings) (metadata.Migration, error)
	MigrationStatus(bucket holdall.BucketID) (metadata.Migration, error)
	Migrations() ([]metadata.Migration, error)
}

// Steps is how a migration moves. *metadata.Store is one.
type Steps interface {
	Announce(ctx context.Context, bucket holdall.BucketID, number uint64, to metadata.MigrationState) (metadata.Migration, error)
	CancelStep(ctx context.Context, bucket holdall.BucketID, number uint64) (metadata.Migration, error)
	Acknowledge(ctx context.Context, door metadata.DoorID, bucket holdall.BucketID, number uint64) error
	Acknowledged(bucket holdall.BucketID) ([]metadata.DoorID, error)
	Step(ctx context.Context, bucket holdall.BucketID, number uint64) (metadata.Migration, error)
}

// Doors is who writes. *metadata.Store is one.
type Doors interface {
	SeeDoor(ctx context.Context, door metadata.DoorID) (fenced bool, err error)
	DropDoor(ctx context.Context, door metadata.DoorID) error
	Doors() ([]metadata.Door, error)
	LapseIntents(ctx context.Context, door metadata.DoorID, limit int) (lapsed int, more bool, err error)
}

// Intents are writes under way. *metadata.Store is one.
type Intents interface {
	TakeIntent(ctx context.Context, r metadata.IntentRequest) (metadata.Granted, error)
	EndIntent(ctx context.Context, e metadata.EndIntent) error
	Intent(bucket holdall.BucketID, key string) (i metadata.Intent, ok bool, err error)
}

// Outbox is the keys that one side missed. *metadata.Store is one.
type Outbox interface {
	Entry(bucket holdall.BucketID, key string) (e metadata.Entry, ok bool, err error)
	Entries(bucket holdall.BucketID, after string, limit int) ([]metadata.Entry, error)
	DueEntries(bucket holdall.BucketID, now time.Time, limit int) ([]metadata.Entry, error)
	TouchEntry(ctx context.Context, e metadata.Entry, next time.Time, reason string) error
	NoteMiss(ctx context.Context, bucket holdall.BucketID, key, reason string) error
}

// Faults are the keys that could not be copied, or not whole. *metadata.Store is
// one.
type Faults interface {
	PutQuarantine(ctx context.Context, bucket holdall.BucketID, key, reason string) error
	DropQuarantine(ctx context.Context, bucket holdall.BucketID, key string) error
	Quarantined(bucket holdall.BucketID, after string, limit int) ([]metadata.Quarantine, error)
	PutException(ctx context.Context, e metadata.Exception) error
	Exceptions(bucket holdall.BucketID, after string, limit int) ([]metadata.Exception, error)
}

// Notes is what walkers note, and what they came to. *metadata.Store is one.
type Notes interface {
	NoteWalker(ctx context.Context, n metadata.WalkerNote) error
	Walker(bucket holdall.BucketID, walker string) ([]byte, error)
	NotePass(ctx context.Context, p metadata.PassResult) error
	NoteMismatch(ctx context.Context, bucket holdall.BucketID, key, what string) error
	Certify(ctx context.Context, bucket holdall.BucketID, digest [32]byte) error
}

// Cell says which cell it is, and where its log is. *metadata.Store is one.
type Cell interface {
	Cell() (metadata.Cell, error)
	Leader() bool
}

// Source is the bucket that is left, to be read.
type Source interface {
	Walk(ctx context.Context, o source.WalkOptions, found func(source.Found) error) error
	List(ctx context.Context, r source.ListRequest) (source.Page, error)
	Head(ctx context.Context, key, version, etag string) (source.Info, error)
	Tags(ctx context.Context, key, version string) ([]source.Tag, error)
	Get(ctx context.Context, r source.GetRequest) (io.ReadCloser, error)
}

// PartSizes tells how an object was uploaded. A Source that can tell is one.
type PartSizes interface {
	PartSizes(ctx context.Context, key, version, etag string) ([]int64, error)
}

// Mirror is the bucket that is left, to be written. *mirror.Mirror is one.
type Mirror interface {
	Put(ctx context.Context, p mirror.Put) mirror.Result
	Delete(ctx context.Context, key string, e mirror.Expect) mirror.Result
	Head(ctx context.Context, key string) (f mirror.Facts, found bool, err error)
}

// MirrorUploads writes objects in parts. *mirror.Mirror is one; a Mirror that is
// none takes objects of one piece only.
type MirrorUploads interface {
	CreateUpload(ctx context.Context, key string, a manifest.Attributes, tags []manifest.Tag) (mirror.Upload, mirror.Result)
	PutPart(ctx context.Context, u mirror.Upload, p mirror.Part) mirror.Result
	Complete(ctx context.Context, u mirror.Upload, parts []mirror.Part, e mirror.Expect) mirror.Result
	Abort(ctx context.Context, u mirror.Upload) mirror.Result
}

// bucketOf is a *source.Source as workers read it.
type bucketOf struct {
	*source.Source
	budget *pace.Budget
}

// Get begins to read.
func (b bucketOf) Get(ctx context.Context, r source.GetRequest) (io.ReadCloser, error) {
	body, err := b.Source.Get(ctx, r)
	if err != nil {
		return nil, err
	}
	return body, nil
}

// Config is what workers stand on. All interfaces must be set.
type Config struct {
	Objects    Objects
	Uploads    Uploads
	Names      Names
	Migrations Migrations
	Steps      Steps
	Doors      Doors
	Intents    Intents
	Outbox     Outbox
	Faults     Faults
	Notes      Notes
	Cell       Cell

	Dir  string // of the data directory: leaves, certificates and the key lie here
	Code string // version of the binary, as certificates state it

	// OpenSource and OpenMirror make the two ways to the bucket that is left. nil =
	// those of packages source and mirror.
	OpenSource func(context.Context, metadata.Source, Job) (Source, error)
	OpenMirror func(context.Context, metadata.Source) (Mirror, error)

	// Lead is how long a process that begins to lead waits before it steps and
	// lapses; 0 = metadata.DoorSilence.
	Lead time.Duration

	// Life is how long a request to the source may live on of which no answer came;
	// 0 = metadata.IntentLife.
	Life time.Duration

	Tick   time.Duration // between looks at what there is to do; 0 = 1 s
	Copies int           // objects copied or compared at once; 0 = 32
	Now    func() time.Time
	Sleep  func(context.Context, time.Duration) error
	Chance func() float64
	Logger *slog.Logger

	Registerer prometheus.Registerer // nil = metrics are not registered
}

// defaultCopies keep a source at 20 ms busy with small objects, and two cores.
const defaultCopies = 32

// Validate reports every fault of c.
func (c *Config) Validate() error {
	var faults []error
	rule := func(ok bool, what string) {
		if !ok {
			faults = append(faults, errors.New(what))
		}
	}
	rule(c.Objects != nil && c.Uploads != nil && c.Names != nil, "Objects, Uploads and Names must be set")
	rule(c.Migrations != nil && c.Steps != nil && c.Doors != nil && c.Intents != nil, "Migrations, Steps, Doors and Intents must be set")
	rule(c.Outbox != nil && c.Faults != nil && c.Notes != nil && c.Cell != nil, "Outbox, Faults, Notes and Cell must be set")
	rule(c.Dir != "", "Dir must be set")
	rule(c.Copies >= 0, "Copies is not negative")
	if faults == nil {
		return nil
	}
	return fmt.Errorf("worker: %w: %w", errors.Join(faults...), holdall.ErrInvalid)
}

func (c Config) withDefaults() Config {
	if c.OpenSource == nil {
		c.OpenSource = openSource
	}
	if c.OpenMirror == nil {
		c.OpenMirror = func(ctx context.Context, s metadata.Source) (Mirror, error) {
			return mirror.Open(ctx, mirror.Config{Source: s})
		}
	}
	if c.Lead == 0 {
		c.Lead = metadata.DoorSilence
	}
	if c.Life == 0 {
		c.Life = metadata.IntentLife
	}
	if c.Tick == 0 {
		c.Tick = time.Second
	}
	if c.Copies == 0 {
		c.Copies = defaultCopies
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Chance == nil {
		c.Chance = rand.Float64
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// place is one bucket under migration, as workers need it.
type place struct {
	metadata.Migration
	name string
}

func (p *place) at(key string) object.Place {
	return object.Place{Namespace: p.Namespace, Bucket: p.name, Key: key}
}
