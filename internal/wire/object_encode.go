package wire

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// Rows of objects, made into messages.

func encodeBucket(b *metadata.Bucket) *holdallv1.Bucket {
	return &holdallv1.Bucket{
		Name: b.Name, Id: uint64(b.ID), Created: encodeTime(b.Created),
		Objects: uint64(b.Objects), Bytes: uint64(b.Bytes), Versions: uint64(b.Versions), Uploads: uint64(b.Uploads),
	}
}

// text is s as protobuf allows it: other front doors take headers as they come.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// encodeRow is an object without what its row has encoded.
func encodeRow(bucket string, o *metadata.Object) *holdallv1.Object {
	m := &holdallv1.Object{
		Bucket: bucket, Key: []byte(o.Key), Version: uint64(o.Version), DeleteMarker: o.Marker, Size: uint64(o.Size),
		Modified: encodeTime(o.Modified), Etag: text(o.ETag), Committed: encodeTime(o.Committed), TrashedAt: encodeTime(o.TrashedAt),
	}
	if !o.Marker {
		m.Root = o.Root[:]
	}
	return m
}

// encodeObject is an object with all that is known of it. ErrCorrupt: its row
// does not decode.
func encodeObject(bucket string, o *metadata.Object) (*holdallv1.Object, error) {
	m := encodeRow(bucket, o)
	a, err := manifest.ParseAttributes(o.Attributes)
	if err != nil {
		return nil, err
	}
	list, err := manifest.ParseTags(o.Tags)
	if err != nil {
		return nil, err
	}
	m.Attributes = encodeAttributes(&a)
	for _, t := range list {
		m.Tags = append(m.Tags, &holdallv1.Tag{Key: t.Key, Value: t.Value})
	}
	return m, nil
}

func encodeAttributes(a *manifest.Attributes) *holdallv1.ObjectAttributes {
	m := &holdallv1.ObjectAttributes{
		ContentType: text(a.ContentType), ContentEncoding: text(a.ContentEncoding), ContentDisposition: text(a.ContentDisposition),
		ContentLanguage: text(a.ContentLanguage), CacheControl: text(a.CacheControl), Expires: text(a.Expires), StorageClass: text(a.StorageClass),
		Parts: uint32(a.Parts),
	}
	for _, f := range a.User {
		m.Metadata = append(m.Metadata, &holdallv1.ObjectAttributes_Field{Name: text(f.Name), Value: []byte(f.Value)})
	}
	for _, c := range a.Checksums {
		m.Checksums = append(m.Checksums, &holdallv1.ObjectAttributes_Checksum{Algorithm: text(c.Algorithm), Composite: c.Kind == manifest.Composite, Value: c.Value})
	}
	return m
}

func encodeNamespace(n *client.Namespace) *holdallv1.Namespace {
	return &holdallv1.Namespace{
		Name: n.Name, Id: uint32(n.ID), Retention: durationpb.New(time.Duration(n.RetentionSeconds * float64(time.Second))), Quota: uint64(n.Quota),
		Blocks: n.Blocks, Bytes: n.Bytes, Buckets: n.Buckets, Credentials: n.Credentials,
	}
}

func encodeCredential(c *client.Credential) *holdallv1.Credential {
	return &holdallv1.Credential{AccessKey: c.AccessKey, Namespace: c.Namespace, Created: encodeTime(c.Created), Note: text(c.Note)}
}
