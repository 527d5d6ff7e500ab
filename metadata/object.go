package metadata

import (
	"time"

	"github.com/holdall/holdall"
)

// Bucket is a row of the buckets table.
type Bucket struct {
	ID        holdall.BucketID
	Namespace holdall.NamespaceID
	Name      string
	Created   time.Time
	Objects   int64 // keys with a current version that is no delete marker
	Bytes     int64 // of those
	Versions  int64 // rows: current ones, those in trash, delete markers
	Uploads   int64 // open ones

	// KeepsMarkers keeps a delete marker that is the last row of its key for ever:
	// it says that a client deleted the key, which a migration must know.
	// In a bucket that migrates it is so from mirror to cut-over, and at no other
	// time.
	KeepsMarkers bool

	// Migrates says that a migration decides where the bucket is written and read:
	// Store.Migration has it. One that is retired decides nothing any more.
	Migrates bool

	Removed time.Time // its name is free again, its rows are being purged; zero = not
}

// Origin says who wrote a version.
type Origin uint8

// The origins of a version.
const (
	OriginClient   Origin = 0 // a put
	OriginBackfill Origin = 1 // a migration's copy of what the other store held
)

// Object is a row of the objects table: one version of one key. The newest
// version of a key is current; the others are in trash since TrashedAt, until
// their namespace's retention ends. A delete marker that is current hides them.
type Object struct {
	Bucket   holdall.BucketID
	Key      string
	Version  holdall.Version
	Put      holdall.PutID
	Origin   Origin
	Marker   bool            // a delete marker: it has no root, no size, no attributes
	Root     holdall.BlockID // of the manifest; holds one reference to it
	Size     int64           // bytes of the object
	Modified time.Time       // what Last-Modified says
	ETag     string          // without quotes

	// Attributes is whatever else a manifest's root says of the object, as
	// package object encodes it: at most MaxAttributes bytes.
	Attributes []byte
	Tags       []byte // as package object encodes them: at most MaxTagBytes

	Committed time.Time // by apply's clock
	TrashedAt time.Time // zero = current

	// Source is what the other store of a migration said of it; zero = nothing.
	Source SourceFacts
}

// Limits of an object's row, in bytes.
const (
	MaxETag       = 128
	MaxAttributes = 8 << 10
	MaxTagBytes   = 8 << 10
)

// ObjectKey names one version of a key.
type ObjectKey struct {
	Bucket  holdall.BucketID
	Key     string
	Version holdall.Version
}

// A Condition refuses a change of a key, with ErrCondition, unless what it says
// of the key's current version holds. The zero Condition always does. A delete
// marker counts as no version, except where it is named.
type Condition struct {
	Absent  bool            // there is none
	Present bool            // there is one
	ETag    string          // there is one, and it has this ETag; "" = any
	Version holdall.Version // the newest row of the key, marker or not, is this one; 0 = any

	// Backfill is what a migration's copy needs: the key has neither a version
	// nor a delete marker, or its newest row was written by a backfill; with Absent
	// only the former.
	Backfill bool
}

// ObjectCommit is the commit point of an object.
type ObjectCommit struct {
	Bucket holdall.BucketID
	Key    string
	Put    holdall.PutID
	Origin Origin

	// Root is the manifest's root, a block put as pending; Children are the
	// blocks that it lists, at most holdall.MaxNodeEntries, each once for every
	// time it is listed.
	Root     holdall.BlockID
	Children []holdall.BlockID

	// Nodes is how many of Children, from the first, are manifest nodes: one that
	// was not committed counts as gone.
	Nodes int

	Size       int64
	Modified   time.Time
	ETag       string
	Attributes []byte
	Tags       []byte
	If         Condition

	// Upload, when not zero, is the upload that this completes: it must be open.
	// Its parts keep their references until ReleaseUpload drops them.
	Upload holdall.PutID

	// Settle and Source are for buckets under migration. In any other, both must
	// be zero.
	Settle Settlement
	Source SourceFacts
}

// ObjectDelete puts a delete marker on a key.
type ObjectDelete struct {
	Bucket holdall.BucketID
	Key    string
	Put    holdall.PutID // a repeat under the same one changes nothing
	If     Condition
	Origin Origin

	// Always leaves a marker where there is no version to delete, too. It takes
	// the place of a marker that is the newest row.
	Always bool

	Settle Settlement // for buckets under migration; in any other, zero
}

// ObjectTrashed is a version in trash, or a delete marker that may be the last
// row of its key, and since when.
type ObjectTrashed struct {
	Namespace holdall.NamespaceID
	ObjectKey
	Since   time.Time
	Removed bool // its bucket was removed: it need not wait
}

// UploadState is how far a multipart upload has come.
type UploadState uint8

// The states of an upload.
const (
	UploadOpen      UploadState = 1
	UploadCompleted UploadState = 2 // Result is its version
	UploadAborted   UploadState = 3
)

// Upload is a row of the uploads table.
type Upload struct {
	ID         holdall.PutID
	Bucket     holdall.BucketID
	Namespace  holdall.NamespaceID // of the bucket
	Key        string
	State      UploadState
	Created    time.Time
	Ended      time.Time // completed or aborted; zero = open
	Attributes []byte
	Tags       []byte
	Result     holdall.Version
	Released   bool // ended, and none of its parts holds a reference any more
}

// Part is a row of the parts table. It holds one reference to its block.
type Part struct {
	Number int // 1 to holdall.MaxParts
	Block  holdall.BlockID
	Node   bool  // Block is a manifest node that was committed; else it is the part's bytes
	Size   int64 // bytes of the part
	ETag   string

	// Attributes are the part's checksums, as package object encodes them.
	Attributes []byte
	Modified   time.Time
}

// ListQuery says which part of a bucket's listing is wanted.
type ListQuery struct {
	Bucket    holdall.BucketID
	Prefix    string // only keys that begin with it
	Delimiter string // keys that have it after Prefix are rolled up into one common prefix; "" = none are
	After     string // only keys and common prefixes above it, in byte order
	Limit     int    // entries and prefixes, at most holdall.MaxListPage; 0 = that many
	Versions  bool   // every row, newest first within a key, markers and trash too; Delimiter must be empty

	// AfterVer, of a listing of versions, begins within the key After: with what is
	// older than this version of it. 0 = only keys above After.
	AfterVer holdall.Version
}

// ListPage is one page of a listing. It may end before Limit: a page's rows take
// a few MiB at most.
type ListPage struct {
	Objects  []Object
	Prefixes []string // common prefixes, in order, each once
	More     bool     // there is more after Last
	Last     string   // the last key or common prefix; After of the next page
	LastVer  holdall.Version
}

// Credential is a row of the credentials table: an access key of the S3 front
// door.
type Credential struct {
	AccessKey string
	Namespace holdall.NamespaceID
	Secret    []byte // encrypted by whoever made it: metadata never sees a secret in the clear
	Created   time.Time
	Note      string // for people
}
