package wire

import (
	"fmt"
	"math"
	"strings"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// What requests say of objects, checked. Every error is ErrInvalid.

// bucketRequest is a request that names a bucket.
type bucketRequest interface {
	GetNamespace() string
	GetBucket() string
}

// bucket checks what a request names.
func (s *Server) bucket(in bucketRequest) (holdall.NamespaceID, string, error) {
	if err := holdall.CheckBucketName(in.GetBucket()); err != nil {
		return 0, "", err
	}
	ns, err := s.namespace(in.GetNamespace())
	return ns, in.GetBucket(), err
}

// objectRequest is a request that names a key.
type objectRequest interface {
	bucketRequest
	GetKey() []byte
}

// place checks what a request names.
func (s *Server) place(in objectRequest) (object.Place, error) {
	key := string(in.GetKey())
	if err := holdall.CheckKey(key); err != nil {
		return object.Place{}, err
	}
	ns, bucket, err := s.bucket(in)
	return object.Place{Namespace: ns, Bucket: bucket, Key: key}, err
}

// putID reads the name of a put; none is the zero PutID, which has the engine
// choose one.
func putID(b []byte) (id holdall.PutID, err error) {
	switch len(b) {
	case 0:
		return id, nil
	case len(id):
		if id = holdall.PutID(b); id == (holdall.PutID{}) {
			return id, fmt.Errorf("put id is all zeros, want 16 bytes by chance: %w", holdall.ErrInvalid)
		}
		return id, nil
	}
	return id, fmt.Errorf("put id of %d bytes, want %d: %w", len(b), len(id), holdall.ErrInvalid)
}

func condition(in *holdallv1.Condition) (metadata.Condition, error) {
	if in == nil {
		return metadata.Condition{}, nil
	}
	c := metadata.Condition{Absent: in.Absent, Present: in.Present, ETag: in.Etag, Version: holdall.Version(in.Version)}
	switch {
	case c.Absent && (c.Present || c.ETag != ""):
		return c, fmt.Errorf("condition: nothing is absent and has an ETag or is present: %w", holdall.ErrInvalid)
	case len(c.ETag) > metadata.MaxETag:
		return c, fmt.Errorf("condition: ETag of %d bytes, at most %d: %w", len(c.ETag), metadata.MaxETag, holdall.ErrInvalid)
	}
	return c, nil
}

// attributes checks and orders what a caller says of its object.
func attributes(in *holdallv1.ObjectAttributes) (manifest.Attributes, error) {
	a := manifest.Attributes{
		ContentType: in.GetContentType(), ContentEncoding: in.GetContentEncoding(), ContentDisposition: in.GetContentDisposition(),
		ContentLanguage: in.GetContentLanguage(), CacheControl: in.GetCacheControl(), Expires: in.GetExpires(), StorageClass: in.GetStorageClass(),
	}
	for name, text := range map[string]string{
		"content_type": a.ContentType, "content_encoding": a.ContentEncoding, "content_disposition": a.ContentDisposition,
		"content_language": a.ContentLanguage, "cache_control": a.CacheControl, "expires": a.Expires, "storage_class": a.StorageClass,
	} {
		if err := checkText(name, text); err != nil {
			return a, err
		}
	}
	if len(in.GetChecksums()) > 0 || in.GetParts() != 0 {
		return a, fmt.Errorf("attributes: checksums and parts are the server's to say: %w", holdall.ErrInvalid)
	}
	if n := len(in.GetMetadata()); n > holdall.MaxUserMetadata {
		return a, fmt.Errorf("metadata: %d names, at most %d bytes are allowed: %w", n, holdall.MaxUserMetadata, holdall.ErrInvalid)
	}
	for _, f := range in.GetMetadata() {
		if !isToken(f.GetName()) {
			return a, fmt.Errorf("metadata: name %.40q: want letters, digits and !#$%%&'*+-.^_`|~: %w", f.GetName(), holdall.ErrInvalid)
		}
		if err := checkText("metadata "+f.GetName(), string(f.GetValue())); err != nil {
			return a, err
		}
		a.User = append(a.User, manifest.Field{Name: f.GetName(), Value: string(f.GetValue())})
	}
	a.Normalize()
	_, err := a.Encode()
	return a, err
}

// tokenCharacters are those of a header's name, by RFC 9110.
const tokenCharacters = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func isToken(s string) bool {
	for i := range len(s) {
		if strings.IndexByte(tokenCharacters, s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// checkText refuses what no header may have: a line's end in it would let one
// header say another, to whoever reads it by HTTP.
func checkText(name, text string) error {
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("%s: has the control character %#02x: %w", name, c, holdall.ErrInvalid)
		}
	}
	return nil
}

func tags(in []*holdallv1.Tag) ([]manifest.Tag, error) {
	if len(in) > holdall.MaxTags {
		return nil, fmt.Errorf("%d tags, at most %d: %w", len(in), holdall.MaxTags, holdall.ErrInvalid)
	}
	var out []manifest.Tag
	for _, t := range in {
		out = append(out, manifest.Tag{Key: t.GetKey(), Value: t.GetValue()})
	}
	_, err := manifest.EncodeTags(out)
	return out, err
}

// span reads the range of a get.
func span(in *holdallv1.GetObjectRequest) (object.Range, error) {
	if in.Offset < -holdall.MaxObjectSize || in.Offset > holdall.MaxObjectSize {
		return object.Range{}, fmt.Errorf("range at %d is outside every object: %w", in.Offset, holdall.ErrInvalid)
	}
	return object.Range{Offset: in.Offset, Length: int64(min(in.Length, math.MaxInt64))}, nil
}

// listQuery reads what part of a listing is wanted.
func listQuery(in *holdallv1.ListObjectsRequest) (metadata.ListQuery, error) {
	q := metadata.ListQuery{
		Prefix: string(in.Prefix), Delimiter: string(in.Delimiter), After: string(in.After), Limit: pageLimit(in.Limit),
		Versions: in.Versions, AfterVer: holdall.Version(in.AfterVersion),
	}
	switch longest := max(len(q.Prefix), len(q.Delimiter), len(q.After)); {
	case longest > holdall.MaxKeySize:
		return q, fmt.Errorf("list: prefix, delimiter or after of %d bytes, at most %d: %w", longest, holdall.MaxKeySize, holdall.ErrInvalid)
	case q.Versions && q.Delimiter != "":
		return q, fmt.Errorf("list: versions are not rolled up, delimiter must be empty: %w", holdall.ErrInvalid)
	case q.AfterVer != 0 && (!q.Versions || q.After == ""):
		return q, fmt.Errorf("list: after_version needs versions and after: %w", holdall.ErrInvalid)
	}
	return q, nil
}

// pageLimit is how many entries a page has at most.
func pageLimit(asked uint32) int {
	if asked == 0 || asked > holdall.MaxListPage {
		return holdall.MaxListPage
	}
	return int(asked)
}
