package client

import (
	"time"

	"github.com/holdall/holdall"
)

// BucketStatus is one bucket.
type BucketStatus struct {
	Name     string           `json:"name"`
	ID       holdall.BucketID `json:"id"`
	Created  time.Time        `json:"created"`
	Objects  uint64           `json:"objects"`  // keys with a current version
	Bytes    uint64           `json:"bytes"`    // of those
	Versions uint64           `json:"versions"` // current ones, those in trash, delete markers
	Uploads  uint64           `json:"uploads"`  // multipart uploads that are open
}

// Object is one version of a key.
type Object struct {
	Bucket string `json:"bucket"`

	// Key is any 1 to 1,024 bytes. JSON has no way to say bytes that are not
	// UTF-8: then KeyBytes has the key too.
	Key      string `json:"key"`
	KeyBytes []byte `json:"key_base64,omitempty"`

	Version   holdall.Version   `json:"version,string"` // larger than what some readers of JSON take for a number
	Marker    bool              `json:"delete_marker"`  // it has no bytes: the key was deleted
	Size      int64             `json:"size"`           // bytes
	Modified  time.Time         `json:"modified"`
	ETag      string            `json:"etag"` // without quotes
	Committed time.Time         `json:"committed"`
	TrashedAt *time.Time        `json:"trashed_at"` // nil: it is current
	Root      holdall.BlockID   `json:"root"`       // of its manifest
	Tags      map[string]string `json:"tags,omitempty"`

	Attributes // not in listings
}

// Attributes is what HTTP says of an object beside its bytes.
type Attributes struct {
	ContentType        string            `json:"content_type,omitempty"`
	ContentEncoding    string            `json:"content_encoding,omitempty"`
	ContentDisposition string            `json:"content_disposition,omitempty"`
	ContentLanguage    string            `json:"content_language,omitempty"`
	CacheControl       string            `json:"cache_control,omitempty"`
	Expires            string            `json:"expires,omitempty"`
	StorageClass       string            `json:"storage_class,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"` // the user's own; names are kept in lower case
	Checksums          []Checksum        `json:"checksums,omitempty"`
	Parts              int               `json:"parts,omitempty"` // that it was uploaded in; 0: in one piece
}

// Checksum is one of an object's bytes, or of its parts' checksums.
type Checksum struct {
	Algorithm string `json:"algorithm"` // CRC32, CRC32C, CRC64NVME, SHA1, SHA256
	Composite bool   `json:"composite"` // over the parts' checksums
	Value     []byte `json:"value"`
}

// Namespace is one namespace of a cell.
type Namespace struct {
	Name             string              `json:"name"`
	ID               holdall.NamespaceID `json:"id"`
	RetentionSeconds float64             `json:"retention_seconds"` // that what was deleted stays in trash
	Quota            int64               `json:"quota"`             // bytes that it may use; 0 = any
	Blocks           uint64              `json:"blocks"`            // live
	Bytes            uint64              `json:"bytes"`             // of those
	Buckets          uint64              `json:"buckets"`
	Credentials      uint64              `json:"credentials"`
}

// Credential is an access key of the S3 front door, without its secret.
type Credential struct {
	AccessKey string    `json:"access_key"`
	Namespace string    `json:"namespace"`
	Created   time.Time `json:"created"`
	Note      string    `json:"note"`
}
