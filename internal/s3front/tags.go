package s3front

import (
	"context"

	"github.com/holdall/holdall/internal/manifest"
)

// GetObjectTagging returns an object's tags.
func (b *bridge) GetObjectTagging(ctx context.Context, bucket, key, version string) (map[string]string, error) {
	c, err := b.begin(ctx, "GetObjectTagging", &bucket, &key)
	if err != nil {
		return nil, err
	}
	defer c.cancel()
	if err := c.noVersion(version); err != nil {
		return nil, err
	}
	tags, _, err := b.objects.Tags(c, c.place(), 0)
	if err != nil {
		return nil, c.fail(err)
	}
	set := make(map[string]string, len(tags))
	for _, t := range tags {
		set[t.Key] = t.Value
	}
	return set, nil
}

// PutObjectTagging replaces an object's tags.
func (b *bridge) PutObjectTagging(ctx context.Context, bucket, key, version string, set map[string]string) error {
	tags, err := sortedTags(set)
	if err != nil {
		return err
	}
	return b.setTags(ctx, [3]string{bucket, key, version}, tags)
}

// DeleteObjectTagging removes an object's tags.
func (b *bridge) DeleteObjectTagging(ctx context.Context, bucket, key, version string) error {
	return b.setTags(ctx, [3]string{bucket, key, version}, nil)
}

func (b *bridge) setTags(ctx context.Context, at [3]string, tags []manifest.Tag) error {
	c, err := b.begin(ctx, "PutObjectTagging", &at[0], &at[1])
	if err != nil {
		return err
	}
	defer c.cancel()
	if err := c.noVersion(at[2]); err != nil {
		return err
	}
	_, err = b.objects.SetTags(c, c.place(), 0, tags)
	return c.fail(err)
}
