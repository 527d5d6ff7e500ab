package source

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/holdall/holdall/migration/pace"
)

// Info is what the server tells about one version of one object beside its bytes.
type Info struct {
	Key      string
	Version  string // "" where there are none
	Size     int64
	ETag     string // without quotes
	Modified time.Time
	Class    string

	ContentType, ContentEncoding, ContentLanguage, ContentDisposition, CacheControl string

	Expires      string            // as it was sent
	User         map[string]string // x-amz-meta-…, names in lower case
	Missing      int               // metadata that the server says it could not send
	Tags         int               // how many
	Parts        int               // 0 = not told
	Encryption   string
	Restore      string // of an archived object: whether it is being restored, until when
	LockMode     string
	LockUntil    time.Time
	LegalHold    bool
	Redirect     string
	ChecksumType string // FULL_OBJECT or COMPOSITE, "" = none
	Checksums    map[string]string
}

// Head tells about an object. version "" is the current one; etag, if not "", has
// to be the object's, or the answer is ErrCondition.
func (s *Source) Head(ctx context.Context, key, version, etag string) (info Info, err error) {
	c := call{op: "HeadObject", key: key, class: pace.Read}
	in := &s3.HeadObjectInput{Bucket: &s.cfg.Bucket, Key: &key, VersionId: some(version), IfMatch: quoted(etag), ChecksumMode: types.ChecksumModeEnabled}
	err = s.do(ctx, c, func(ctx context.Context) error {
		out, err := s.s3.HeadObject(ctx, in)
		if err != nil {
			return err
		}
		info = headed(key, out)
		if etag != "" && info.ETag != etag {
			return s.broken(c, "the answer has the ETag %q, asked for was %q", info.ETag, etag)
		}
		return nil
	})
	return info, err
}

func headed(key string, out *s3.HeadObjectOutput) Info {
	return Info{
		Key: key, Version: aws.ToString(out.VersionId), Size: aws.ToInt64(out.ContentLength), ETag: bare(out.ETag), Modified: aws.ToTime(out.LastModified),
		Class: string(out.StorageClass), ContentType: aws.ToString(out.ContentType), ContentEncoding: aws.ToString(out.ContentEncoding),
		ContentLanguage: aws.ToString(out.ContentLanguage), ContentDisposition: aws.ToString(out.ContentDisposition), CacheControl: aws.ToString(out.CacheControl),
		Expires: aws.ToString(out.ExpiresString), User: lower(out.Metadata), Missing: int(aws.ToInt32(out.MissingMeta)), Tags: int(aws.ToInt32(out.TagCount)),
		Parts: int(aws.ToInt32(out.PartsCount)), Encryption: string(out.ServerSideEncryption), Restore: aws.ToString(out.Restore), LockMode: string(out.ObjectLockMode),
		LockUntil: aws.ToTime(out.ObjectLockRetainUntilDate), LegalHold: out.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn,
		Redirect: aws.ToString(out.WebsiteRedirectLocation), ChecksumType: string(out.ChecksumType),
		Checksums: sums(map[string]*string{"CRC32": out.ChecksumCRC32, "CRC32C": out.ChecksumCRC32C, "CRC64NVME": out.ChecksumCRC64NVME, "SHA1": out.ChecksumSHA1, "SHA256": out.ChecksumSHA256}),
	}
}

// sums drops what was not told.
func sums(all map[string]*string) map[string]string {
	told := map[string]string{}
	for name, sum := range all {
		if aws.ToString(sum) != "" {
			told[name] = *sum
		}
	}
	return told
}

func lower(meta map[string]string) map[string]string {
	out := make(map[string]string, len(meta))
	for name, value := range maps.All(meta) {
		out[strings.ToLower(name)] = value
	}
	return out
}

// quoted is an ETag as headers have it, nil for "".
func quoted(etag string) *string {
	if etag == "" {
		return nil
	}
	return aws.String(`"` + etag + `"`)
}

// Tag is a tag of an object.
type Tag struct{ Key, Value string }

// Tags returns an object's tags, in the server's order.
func (s *Source) Tags(ctx context.Context, key, version string) (tags []Tag, err error) {
	c := call{op: "GetObjectTagging", key: key, class: pace.Read}
	err = s.do(ctx, c, func(ctx context.Context) error {
		out, err := s.s3.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &s.cfg.Bucket, Key: &key, VersionId: some(version)})
		if err != nil {
			return err
		}
		tags = tags[:0]
		for _, t := range out.TagSet {
			tags = append(tags, Tag{aws.ToString(t.Key), aws.ToString(t.Value)})
		}
		return nil
	})
	return tags, err
}

// Attributes are the checksums that the server keeps of an object, and its parts.
type Attributes struct {
	ETag      string
	Size      int64
	Checksums map[string]string // by algorithm, base64; empty = none
	Type      string            // FULL_OBJECT: of the bytes; COMPOSITE: of the parts' checksums
	Parts     int               // 0 = not uploaded in parts, or not told
}

// Attributes asks for an object's checksums.
func (s *Source) Attributes(ctx context.Context, key, version string) (a Attributes, err error) {
	c := call{op: "GetObjectAttributes", key: key, class: pace.Read}
	in := &s3.GetObjectAttributesInput{Bucket: &s.cfg.Bucket, Key: &key, VersionId: some(version), ObjectAttributes: []types.ObjectAttributes{
		types.ObjectAttributesChecksum, types.ObjectAttributesEtag, types.ObjectAttributesObjectParts, types.ObjectAttributesObjectSize}}
	err = s.do(ctx, c, func(ctx context.Context) error {
		out, err := s.s3.GetObjectAttributes(ctx, in)
		if err != nil {
			return err
		}
		a = Attributes{ETag: bare(out.ETag), Size: aws.ToInt64(out.ObjectSize), Checksums: map[string]string{}}
		if k := out.Checksum; k != nil {
			a.Checksums = sums(map[string]*string{"CRC32": k.ChecksumCRC32, "CRC32C": k.ChecksumCRC32C, "CRC64NVME": k.ChecksumCRC64NVME, "SHA1": k.ChecksumSHA1, "SHA256": k.ChecksumSHA256})
			a.Type = string(k.ChecksumType)
		}
		if out.ObjectParts != nil {
			a.Parts = int(aws.ToInt32(out.ObjectParts.TotalPartsCount))
		}
		return nil
	})
	return a, err
}
