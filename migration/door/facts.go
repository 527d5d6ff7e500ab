package door

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/source"
)

// rowFrom is what the source says of an object, as a row of the cell would. It has
// no Version.
func rowFrom(bucket holdall.BucketID, i *source.Info) (metadata.Object, manifest.Attributes, error) {
	a := manifest.Attributes{ContentType: i.ContentType, ContentEncoding: i.ContentEncoding, ContentDisposition: i.ContentDisposition,
		ContentLanguage: i.ContentLanguage, CacheControl: i.CacheControl, Expires: i.Expires, Parts: i.Parts}
	if i.Class != "STANDARD" {
		a.StorageClass = i.Class
	}
	for name, value := range i.User {
		a.User = append(a.User, manifest.Field{Name: name, Value: value})
	}
	a.Checksums = checksums(i)
	a.Normalize()
	o := metadata.Object{Bucket: bucket, Key: i.Key, Size: i.Size, Modified: i.Modified, ETag: i.ETag,
		Source: metadata.SourceFacts{ETag: i.ETag, Version: i.Version, Modified: i.Modified}}
	var err error
	if o.Attributes, err = a.Encode(); err != nil {
		return o, a, fmt.Errorf("door: what the source says of %.80q: %w", i.Key, err)
	}
	return o, a, nil
}

// checksums are those that the source tells of an object.
func checksums(i *source.Info) (all []manifest.Checksum) {
	kind := manifest.FullObject
	if i.ChecksumType == "COMPOSITE" {
		kind = manifest.Composite
	}
	for algorithm, text := range i.Checksums {
		value, _, _ := strings.Cut(text, "-")
		raw, err := base64.StdEncoding.DecodeString(value)
		if err == nil && len(raw) > 0 {
			all = append(all, manifest.Checksum{Algorithm: algorithm, Kind: kind, Value: raw})
		}
	}
	return all
}

// shown is a row of the cell as the source would show it, so that nobody notices
// where it is read.
func shown(o metadata.Object) metadata.Object {
	if !o.Source.Modified.IsZero() {
		o.Modified = o.Source.Modified
	}
	return o
}

// info asks the source for an object.
func (c *call) info(ctx context.Context, key string) (metadata.Object, manifest.Attributes, error) {
	i, err := c.at.Read.Head(ctx, key, "", "")
	if err != nil {
		return metadata.Object{}, manifest.Attributes{}, readError(err)
	}
	o, a, err := rowFrom(c.id, &i)
	if err != nil || i.Tags == 0 {
		return o, a, err
	}
	tags, err := c.at.Read.Tags(ctx, key, i.Version)
	if err != nil {
		return o, a, readError(err)
	}
	set := make([]manifest.Tag, 0, len(tags))
	for _, t := range tags {
		set = append(set, manifest.Tag{Key: t.Key, Value: t.Value})
	}
	o.Tags, err = manifest.EncodeTags(set)
	return o, a, err
}
