package client

import (
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

func bucketStatus(m *holdallv1.Bucket) (*BucketStatus, error) {
	if m == nil {
		return nil, fmt.Errorf("the server sent no bucket: %w", holdall.ErrCorrupt)
	}
	return &BucketStatus{
		Name: m.Name, ID: holdall.BucketID(m.Id), Created: timeOf(m.Created),
		Objects: m.Objects, Bytes: m.Bytes, Versions: m.Versions, Uploads: m.Uploads,
	}, nil
}

func objectFacts(m *holdallv1.Object) (*Object, error) {
	if m == nil {
		return nil, fmt.Errorf("the server sent no object: %w", holdall.ErrCorrupt)
	}
	size, err := checkedSize(m.Size)
	if err != nil {
		return nil, err
	}
	o := &Object{
		Bucket: m.Bucket, Key: string(m.Key), Version: holdall.Version(m.Version), Marker: m.DeleteMarker, Size: size,
		Modified: timeOf(m.Modified), ETag: m.Etag, Committed: timeOf(m.Committed), TrashedAt: timeOrNil(m.TrashedAt),
		Attributes: attributes(m.Attributes),
	}
	if !utf8.Valid(m.Key) {
		o.KeyBytes = m.Key
	}
	if len(m.Root) > 0 {
		ids, err := blockIDs([][]byte{m.Root})
		if err != nil {
			return nil, err
		}
		o.Root = ids[0]
	}
	for _, t := range m.Tags {
		if o.Tags == nil {
			o.Tags = map[string]string{}
		}
		o.Tags[t.Key] = t.Value
	}
	return o, nil
}

func attributes(m *holdallv1.ObjectAttributes) Attributes {
	a := Attributes{
		ContentType: m.GetContentType(), ContentEncoding: m.GetContentEncoding(), ContentDisposition: m.GetContentDisposition(),
		ContentLanguage: m.GetContentLanguage(), CacheControl: m.GetCacheControl(), Expires: m.GetExpires(), StorageClass: m.GetStorageClass(),
		Parts: int(m.GetParts()),
	}
	for _, f := range m.GetMetadata() {
		if a.Metadata == nil {
			a.Metadata = map[string]string{}
		}
		a.Metadata[f.Name] = string(f.Value)
	}
	for _, c := range m.GetChecksums() {
		a.Checksums = append(a.Checksums, Checksum{Algorithm: c.Algorithm, Composite: c.Composite, Value: c.Value})
	}
	return a
}

// message is a without what only servers say.
func (a *Attributes) message() *holdallv1.ObjectAttributes {
	m := &holdallv1.ObjectAttributes{
		ContentType: a.ContentType, ContentEncoding: a.ContentEncoding, ContentDisposition: a.ContentDisposition,
		ContentLanguage: a.ContentLanguage, CacheControl: a.CacheControl, Expires: a.Expires, StorageClass: a.StorageClass,
	}
	for _, name := range slices.Sorted(maps.Keys(a.Metadata)) {
		m.Metadata = append(m.Metadata, &holdallv1.ObjectAttributes_Field{Name: name, Value: []byte(a.Metadata[name])})
	}
	return m
}

func tagMessages(tags map[string]string) (out []*holdallv1.Tag) {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, &holdallv1.Tag{Key: key, Value: tags[key]})
	}
	return out
}

func namespaceFacts(m *holdallv1.Namespace) (*Namespace, error) {
	if m == nil {
		return nil, fmt.Errorf("the server sent no namespace: %w", holdall.ErrCorrupt)
	}
	quota, err := checkedSize(m.Quota)
	if err != nil {
		return nil, err
	}
	return &Namespace{
		Name: m.Name, ID: holdall.NamespaceID(m.Id), RetentionSeconds: m.Retention.AsDuration().Seconds(), Quota: quota,
		Blocks: m.Blocks, Bytes: m.Bytes, Buckets: m.Buckets, Credentials: m.Credentials,
	}, nil
}

func credentialFacts(m *holdallv1.Credential) (*Credential, error) {
	if m == nil {
		return nil, fmt.Errorf("the server sent no credential: %w", holdall.ErrCorrupt)
	}
	return &Credential{AccessKey: m.AccessKey, Namespace: m.Namespace, Created: timeOf(m.Created), Note: m.Note}, nil
}

// Retention is RetentionSeconds as a time.
func (n *Namespace) Retention() time.Duration {
	return time.Duration(n.RetentionSeconds * float64(time.Second))
}
