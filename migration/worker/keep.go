package worker

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/migration/source"
)

// kept is what the cell keeps of an object beside its bytes.
type kept struct {
	attributes manifest.Attributes
	tags       []manifest.Tag
	lost       []string // what it cannot keep, for people
}

// keep turns what the source says of an object into what the cell keeps. parts are
// the sizes of its parts, nil = not known.
func keep(info *source.Info, tags []source.Tag, parts []int64) kept {
	k := kept{attributes: manifest.Attributes{
		ContentType: info.ContentType, ContentEncoding: info.ContentEncoding, ContentDisposition: info.ContentDisposition,
		ContentLanguage: info.ContentLanguage, CacheControl: info.CacheControl, Expires: info.Expires,
		SourceETag: info.ETag, SourceVersion: info.Version, SourceModified: info.Modified.UTC(),
	}}
	if info.Class != "STANDARD" {
		k.attributes.StorageClass = info.Class
	}
	for _, name := range slices.Sorted(maps.Keys(info.User)) {
		k.attributes.User = append(k.attributes.User, manifest.Field{Name: name, Value: info.User[name]})
	}
	for _, t := range tags {
		k.tags = append(k.tags, manifest.Tag{Key: t.Key, Value: t.Value})
	}
	k.checksums(info)
	k.attributes.Normalize()
	k.parts(info, parts)
	k.losses(info)
	return k
}

func (k *kept) checksums(info *source.Info) {
	kind := manifest.FullObject
	if info.ChecksumType == "COMPOSITE" {
		kind = manifest.Composite
	}
	for name, text := range info.Checksums {
		text, _, _ = strings.Cut(text, "-") // a composite one says of how many parts
		sum, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(sum) == 0 {
			k.lose("the checksum %s, which is not base64", name)
			continue
		}
		k.attributes.Checksums = append(k.attributes.Checksums, manifest.Checksum{Algorithm: name, Kind: kind, Value: sum})
	}
}

func (k *kept) parts(info *source.Info, sizes []int64) {
	n := partsOf(info.ETag)
	if n == 0 {
		return
	}
	if len(sizes) != n {
		k.attributes.Parts = n
		k.lose("the sizes of its %d parts, which the source does not tell", n)
		return
	}
	k.attributes.SetParts(sizes)
}

func (k *kept) losses(info *source.Info) {
	if info.Missing > 0 {
		k.lose("%d fields of user metadata that the source cannot send", info.Missing)
	}
	if info.LockMode != "" {
		k.lose("an object lock (%s until %s)", info.LockMode, info.LockUntil.UTC().Format(time.RFC3339))
	}
	if info.LegalHold {
		k.lose("a legal hold")
	}
	if info.Redirect != "" {
		k.lose("a website redirect")
	}
	if strings.HasPrefix(info.Encryption, "aws:kms") {
		k.lose("encryption under a key of the source's (%s)", info.Encryption)
	}
}

func (k *kept) lose(format string, args ...any) {
	k.lost = append(k.lost, fmt.Sprintf(format, args...))
}

// loss says what was lost, "" for nothing.
func (k *kept) loss() string {
	if len(k.lost) == 0 {
		return ""
	}
	return "copied, but not kept: " + strings.Join(k.lost, "; ")
}

// partsOf is of how many parts an ETag says that its object is, 0 = of none.
func partsOf(etag string) int {
	_, count, ok := strings.Cut(etag, "-")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n < 1 {
		return 0
	}
	return n
}
