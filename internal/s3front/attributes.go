package s3front

import (
	"maps"
	"slices"
	"strings"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// headers are what a put, a copy and the beginning of an upload say of an
// object.
type headers struct {
	contentType, encoding, disposition, language, cacheControl, expires *string
	user                                                                map[string]string
}

// attributes returns what is kept of h. It copies every string.
func (h headers) attributes() manifest.Attributes {
	a := manifest.Attributes{ContentType: clone(h.contentType), ContentEncoding: withoutChunked(clone(h.encoding)), ContentDisposition: clone(h.disposition),
		ContentLanguage: clone(h.language), CacheControl: clone(h.cacheControl), Expires: clone(h.expires)}
	for name, value := range h.user {
		a.User = append(a.User, manifest.Field{Name: strings.Clone(name), Value: strings.Clone(value)})
	}
	a.Normalize()
	return a
}

// withoutChunked takes aws-chunked, which is about the transfer alone, out of a
// Content-Encoding.
func withoutChunked(encoding string) string {
	if !strings.Contains(encoding, "aws-chunked") {
		return encoding
	}
	var kept []string
	for word := range strings.SplitSeq(encoding, ",") {
		if word = strings.TrimSpace(word); word != "aws-chunked" && word != "" {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, ",")
}

// userOf returns user metadata in versitygw's form.
func userOf(a *manifest.Attributes) map[string]string {
	user := make(map[string]string, len(a.User))
	for _, f := range a.User {
		user[f.Name] = f.Value
	}
	return user
}

// tagsOf returns the tags of the x-amz-tagging header.
func tagsOf(header *string) ([]manifest.Tag, error) {
	set, err := backend.ParseObjectTags(clone(header))
	if err != nil {
		return nil, err
	}
	return sortedTags(set)
}

func sortedTags(set map[string]string) ([]manifest.Tag, error) {
	if len(set) > holdall.MaxTags {
		return nil, s3err.GetAPIError(s3err.ErrObjectTaggingLimited)
	}
	var tags []manifest.Tag
	for _, key := range slices.Sorted(maps.Keys(set)) {
		tags = append(tags, manifest.Tag{Key: strings.Clone(key), Value: strings.Clone(set[key])})
	}
	return tags, nil
}

// attributesOf reads those of a row.
func attributesOf(o *metadata.Object) (manifest.Attributes, error) {
	return manifest.ParseAttributes(o.Attributes)
}
