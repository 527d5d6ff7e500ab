package manifest

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/holdall/holdall"
)

// Tag is one of an object's tags.
type Tag struct{ Key, Value string }

// Limits of a tag, in characters, as S3 has them.
const (
	maxTagKey   = 128
	maxTagValue = 256
)

// EncodeTags returns the bytes that a root and a row carry: none for no tags.
// The order of tags does not matter. Errors are ErrInvalid: too many, too long,
// two of one key.
func EncodeTags(tags []Tag) ([]byte, error) {
	if len(tags) == 0 {
		return nil, nil
	}
	sorted := slices.Clone(tags)
	slices.SortFunc(sorted, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	if err := checkTags(sorted); err != nil {
		return nil, fmt.Errorf("manifest: tags: %w: %w", err, holdall.ErrInvalid)
	}
	b := []byte{version, byte(len(sorted))}
	for _, t := range sorted {
		for _, s := range []string{t.Key, t.Value} {
			b = append(b, byte(len(s)), byte(len(s)>>8))
			b = append(b, s...)
		}
	}
	if len(b) > MaxTagBytes {
		return nil, fmt.Errorf("manifest: tags of %d bytes, at most %d: %w", len(b), MaxTagBytes, holdall.ErrInvalid)
	}
	return b, nil
}

func checkTags(sorted []Tag) error {
	if len(sorted) > holdall.MaxTags {
		return fmt.Errorf("%d tags, at most %d", len(sorted), holdall.MaxTags)
	}
	for i, t := range sorted {
		switch {
		case t.Key == "" || !utf8.ValidString(t.Key) || utf8.RuneCountInString(t.Key) > maxTagKey:
			return fmt.Errorf("key %.40q: want 1 to %d characters", t.Key, maxTagKey)
		case !utf8.ValidString(t.Value) || utf8.RuneCountInString(t.Value) > maxTagValue:
			return fmt.Errorf("value of %q: want at most %d characters", t.Key, maxTagValue)
		case i > 0 && sorted[i-1].Key >= t.Key:
			return fmt.Errorf("key %q comes twice", t.Key)
		}
	}
	return nil
}

// ParseTags reads encoded tags, which it returns by key. Errors are ErrCorrupt.
func ParseTags(b []byte) ([]Tag, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < 2 || b[0] != version || b[1] == 0 || b[1] > holdall.MaxTags || len(b) > MaxTagBytes {
		return nil, corrupt("tags", "of %d bytes begin with %x", len(b), b[:min(2, len(b))])
	}
	tags := make([]Tag, b[1])
	rest := b[2:]
	for i := range tags {
		for _, s := range []*string{&tags[i].Key, &tags[i].Value} {
			if len(rest) < 2 || int(rest[0])|int(rest[1])<<8 > len(rest)-2 {
				return nil, corrupt("tags", "end in tag %d", i)
			}
			n := int(rest[0]) | int(rest[1])<<8
			*s, rest = string(rest[2:][:n]), rest[2+n:]
		}
	}
	if len(rest) > 0 {
		return nil, corrupt("tags", "are followed by %d bytes", len(rest))
	}
	if err := checkTags(tags); err != nil {
		return nil, corrupt("tags", "%v", err)
	}
	return tags, nil
}
