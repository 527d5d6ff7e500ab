package s3front

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3response"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// ListParts lists the parts that an upload has.
func (b *bridge) ListParts(ctx context.Context, in *s3.ListPartsInput) (s3response.ListPartsResult, error) {
	c, err := b.begin(ctx, "ListParts", in.Bucket, in.Key)
	if err != nil {
		return s3response.ListPartsResult{}, err
	}
	defer c.cancel()
	at, err := c.uploadPlace(in.UploadId)
	if err != nil {
		return s3response.ListPartsResult{}, err
	}
	after, err := number(in.PartNumberMarker)
	if err != nil {
		return s3response.ListPartsResult{}, err
	}
	limit := int(*in.MaxParts)
	page, err := b.objects.Parts(c, at, after, max(1, limit))
	if err != nil {
		return s3response.ListPartsResult{}, c.fail(err)
	}
	a, err := manifest.ParseAttributes(page.Upload.Attributes)
	if err != nil {
		return s3response.ListPartsResult{}, c.fail(err)
	}
	owner := s3response.Owner{ID: c.owner(), DisplayName: c.owner()}
	out := s3response.ListPartsResult{Bucket: c.about.bucket, Key: c.about.key, UploadID: c.about.upload, Owner: owner, Initiator: s3response.Initiator(owner),
		StorageClass: types.StorageClassStandard, PartNumberMarker: after, MaxParts: limit}
	out.ChecksumAlgorithm, out.ChecksumType = askedOf(&a)
	for _, p := range page.Parts[:min(limit, len(page.Parts))] {
		entry, err := partEntry(&p)
		if err != nil {
			return s3response.ListPartsResult{}, c.fail(err)
		}
		out.Parts = append(out.Parts, entry)
		out.NextPartNumberMarker = p.Number
	}
	out.IsTruncated = page.More && limit > 0
	return out, nil
}

func partEntry(p *metadata.Part) (s3response.Part, error) {
	entry := s3response.Part{PartNumber: p.Number, Size: p.Size, ETag: quote(p.ETag), LastModified: p.Modified}
	_, a, err := manifest.ParsePart(p.Attributes)
	s, _ := shown(&a)
	s.set(&entry)
	return entry, err
}

// askedOf returns the checksum that an upload was begun with.
func askedOf(a *manifest.Attributes) (types.ChecksumAlgorithm, types.ChecksumType) {
	s, kind := shown(a)
	return s.algorithm, kind
}

// ListMultipartUploads lists the uploads of a bucket that are open.
func (b *bridge) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput) (s3response.ListMultipartUploadsResult, error) {
	c, err := b.begin(ctx, "ListMultipartUploads", in.Bucket, nil)
	if err != nil {
		return s3response.ListMultipartUploadsResult{}, err
	}
	defer c.cancel()
	l := uploadListing{prefix: clone(in.Prefix), delimiter: clone(in.Delimiter), limit: int(*in.MaxUploads), key: clone(in.KeyMarker), names: namesFor(ctx)}
	// Without an id, the uploads of the marker's key lie before the page too.
	l.id = lastPutID()
	if given(in.UploadIdMarker) {
		if l.id, err = holdall.ParsePutID(clone(in.UploadIdMarker)); err != nil {
			return s3response.ListMultipartUploadsResult{}, c.fail(err)
		}
	}
	if l.key == "" {
		l.id = holdall.PutID{}
	}
	out := s3response.ListMultipartUploadsResult{Bucket: c.about.bucket, KeyMarker: l.names.write(l.key), UploadIDMarker: clone(in.UploadIdMarker),
		Delimiter: l.names.write(l.delimiter), Prefix: l.names.write(l.prefix), EncodingType: string(l.names.encoding), MaxUploads: l.limit}
	err = l.fill(b, c, &out)
	return out, c.fail(err)
}

// lastPutID is the highest there is.
func lastPutID() (id holdall.PutID) {
	for i := range id {
		id[i] = 0xff
	}
	return id
}

// uploadListing is a page of uploads in the making.
type uploadListing struct {
	prefix, delimiter string
	limit             int
	key               string // the last upload looked at
	id                holdall.PutID
	names             names
}

func (l *uploadListing) fill(b *bridge, c *call, out *s3response.ListMultipartUploadsResult) error {
	in := c.place()
	in.Key = l.prefix
	owner := s3response.Owner{ID: c.owner(), DisplayName: c.owner()}
	common := ""
	for n := 0; l.limit > 0; {
		page, err := b.objects.Uploads(c, in, l.key, l.id, maxListed)
		if err != nil {
			return err
		}
		for i := range page.Uploads {
			u := &page.Uploads[i]
			rolled, isRolled := l.roll(u.Key)
			if isRolled && (rolled == common || rolled <= l.key && strings.HasPrefix(l.key, rolled)) {
				continue // shown already
			}
			if n == l.limit {
				out.IsTruncated, out.NextKeyMarker, out.NextUploadIDMarker = true, l.names.write(l.key), l.id.String()
				return nil
			}
			n++
			l.key, l.id = u.Key, u.ID
			if isRolled {
				common = rolled
				out.CommonPrefixes = append(out.CommonPrefixes, s3response.CommonPrefix{Prefix: l.names.write(rolled)})
				continue
			}
			entry := s3response.Upload{Key: l.names.write(u.Key), UploadID: u.ID.String(), Owner: owner, Initiator: s3response.Initiator(owner),
				StorageClass: types.StorageClassStandard, Initiated: u.Created}
			a, err := manifest.ParseAttributes(u.Attributes)
			if err != nil {
				return err
			}
			entry.ChecksumAlgorithm, entry.ChecksumType = askedOf(&a)
			out.Uploads = append(out.Uploads, entry)
		}
		if !page.More {
			return nil
		}
		last := page.Uploads[len(page.Uploads)-1]
		l.key, l.id = last.Key, last.ID
	}
	_, err := b.objects.Bucket(c, c.space, c.about.bucket)
	return err
}

// roll returns the common prefix that stands for a key, if one does.
func (l *uploadListing) roll(key string) (string, bool) {
	if l.delimiter == "" {
		return "", false
	}
	i := strings.Index(key[len(l.prefix):], l.delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(l.prefix)+i+len(l.delimiter)], true
}
