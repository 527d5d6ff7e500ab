package object

import (
	"context"
	"io"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// Place names an object.
type Place struct {
	Namespace holdall.NamespaceID
	Bucket    string
	Key       string
}

// PutRequest is an object on its way in.
type PutRequest struct {
	Place
	Put  holdall.PutID // the same put under the same one changes nothing; zero = one is chosen
	Body io.Reader     // read to its end, or to one byte beyond Size, by the caller's goroutine
	Size int64         // bytes that Body must have; -1 = as many as it has

	Attributes manifest.Attributes
	Tags       []manifest.Tag
	ETag       string    // "" = made of the blocks' ids, which depend on how fast Body came
	Modified   time.Time // zero = now
	Origin     metadata.Origin
	If         metadata.Condition // checked before the body is read, and at the commit

	// Finish, if not nil, is called after the body's last byte, before anything
	// becomes visible: it gives what is known only then. An error fails the put,
	// as it is.
	Finish func(Finished) (Finished, error)
	Settle Settle
}

// Settle says what a write to a bucket under migration comes to. It is asked right
// before the commit, and again where that was void because the migration has taken
// a step. An error fails the write, as it is. nil is for all other buckets.
type Settle func(context.Context) (Settled, error)

// Settled goes into the commit as it is.
type Settled struct {
	metadata.Settlement
	Source metadata.SourceFacts // of puts
}

// Finished is what Finish may change: it gets what the request said.
type Finished struct {
	Size       int64 // read only
	ETag       string
	Attributes manifest.Attributes
}

// DeleteRequest asks for a delete marker.
type DeleteRequest struct {
	Place
	Put    holdall.PutID // as in PutRequest
	If     metadata.Condition
	Always bool // write a marker even if there is nothing to delete: a migration wants to know
	Origin metadata.Origin
	Settle Settle
}

// CopyRequest asks for a copy within a namespace, by reference: no bytes move.
type CopyRequest struct {
	Place   // of the copy
	Put     holdall.PutID
	From    Place // of the same namespace
	Version holdall.Version

	// Check, if not nil, sees the row of what is to be copied. Its error fails
	// the copy, as it is.
	Check func(metadata.Object) error

	Attributes *manifest.Attributes // nil = those of the original
	Tags       *[]manifest.Tag      // nil = those of the original
	ETag       string               // "" = that of the original
	If         metadata.Condition
	Settle     Settle
}

// GetOptions say which version of an object is wanted, and which bytes.
type GetOptions struct {
	Version holdall.Version // 0 = the current one
	Range   Range           // zero = all bytes
}

// Range is a stretch of an object.
type Range struct {
	Offset int64 // from the start; negative: as many bytes from the end, fewer if there are fewer
	Length int64 // cut at the object's end; 0 = to the end
}

// UploadPlace names an upload.
type UploadPlace struct {
	Place
	Upload holdall.PutID
}

// UploadRequest begins an upload.
type UploadRequest struct {
	UploadPlace // Upload: a repeat under the same one gets the first answer; zero = one is chosen
	Attributes  manifest.Attributes
	Tags        []manifest.Tag
}

// PartRequest is a part of an upload on its way in.
type PartRequest struct {
	UploadPlace
	Number int       // 1 to holdall.MaxParts
	Body   io.Reader // as in PutRequest
	Size   int64     // as in PutRequest

	ETag       string // "" = made of the blocks' ids
	Attributes manifest.Attributes
	Finish     func(Finished) (Finished, error) // as in PutRequest
}

// CopyPartRequest makes a part of a range of an object. Blocks that lie in the
// range whole are shared, the bytes at its ends are put again.
type CopyPartRequest struct {
	UploadPlace
	Number  int
	From    Place // of the same namespace
	Version holdall.Version
	Range   Range                       // zero = all
	Check   func(metadata.Object) error // as in CopyRequest

	ETag       string // "" = made of the blocks' ids
	Attributes manifest.Attributes
}

// CompleteRequest makes an object of an upload's parts.
type CompleteRequest struct {
	UploadPlace
	Parts []CompletedPart // in ascending order of numbers; parts not named are left out

	// MinPart is the least size in bytes of a part that is not the last; 0 =
	// any.
	MinPart int64

	ETag string // "" = made of the parts' blocks' ids
	If   metadata.Condition

	// Finish, if not nil, is called with the parts named, in order, once they
	// are found in order; Attributes are those that the upload began with, with
	// the parts' sizes. An error fails the call, as it is, and leaves the upload
	// open.
	Finish func([]metadata.Part, Finished) (Finished, error)
	Settle Settle

	Modified time.Time // zero = now
	Origin   metadata.Origin
}

// CompletedPart is a part as the client knows it.
type CompletedPart struct {
	Number int
	ETag   string // "" = any
}

// UploadPage is one page of the open uploads of a bucket.
type UploadPage struct {
	Uploads []metadata.Upload
	More    bool
}

// PartPage is one page of the parts of an upload.
type PartPage struct {
	Upload metadata.Upload
	Parts  []metadata.Part
	More   bool
}
