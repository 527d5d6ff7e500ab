package s3front

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
)

// minPart is the least size of a part that is not the last, in bytes.
const minPart = 5 << 20

// asked is the value of a checksum that an upload's attributes hold: it says
// which one the object will have, not what it is. No algorithm has one byte.
var asked = []byte{0}

// CreateMultipartUpload begins an upload.
func (b *bridge) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	c, err := b.begin(ctx, "CreateMultipartUpload", in.Bucket, in.Key)
	if err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	defer c.cancel()
	if in.ObjectLockMode != "" || in.ObjectLockLegalHoldStatus != "" || given(in.WebsiteRedirectLocation) {
		return s3response.InitiateMultipartUploadResult{}, s3err.GetAPIError(s3err.ErrNotImplemented)
	}
	r := object.UploadRequest{UploadPlace: object.UploadPlace{Place: c.place()},
		Attributes: headers{in.ContentType, in.ContentEncoding, in.ContentDisposition, in.ContentLanguage, in.CacheControl, in.Expires, in.Metadata}.attributes()}
	if in.ChecksumAlgorithm != "" {
		kind := manifest.Composite
		if in.ChecksumType == types.ChecksumTypeFullObject {
			kind = manifest.FullObject
		}
		r.Attributes.Checksums = []manifest.Checksum{{Algorithm: clone(ptr(string(in.ChecksumAlgorithm))), Kind: kind, Value: asked}}
	}
	if r.Tags, err = tagsOf(in.Tagging); err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	u, err := b.objects.CreateUpload(c, r)
	if err != nil {
		return s3response.InitiateMultipartUploadResult{}, c.fail(err)
	}
	return s3response.InitiateMultipartUploadResult{Bucket: c.about.bucket, Key: c.about.key, UploadId: u.ID.String()}, nil
}

// uploadPlace reads an upload's id.
func (c *call) uploadPlace(id *string) (object.UploadPlace, error) {
	c.about.upload = clone(id)
	put, err := holdall.ParsePutID(c.about.upload)
	if err != nil {
		return object.UploadPlace{}, s3err.GetNoSuchUploadErr(c.about.upload)
	}
	return object.UploadPlace{Place: c.place(), Upload: put}, nil
}

// checksumOf returns the checksum that an upload was begun with; the zero one
// has no algorithm.
func (b *bridge) checksumOf(c *call, at object.UploadPlace) (manifest.Checksum, error) {
	page, err := b.objects.Parts(c, at, 0, 1)
	if err != nil {
		return manifest.Checksum{}, c.fail(err)
	}
	a, err := manifest.ParseAttributes(page.Upload.Attributes)
	if err != nil || len(a.Checksums) == 0 {
		return manifest.Checksum{}, c.fail(err)
	}
	return a.Checksums[0], nil
}

// UploadPart stores a part as its body comes.
func (b *bridge) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	c, err := b.beginData(ctx, "UploadPart", in.Bucket, in.Key)
	if err != nil {
		return nil, err
	}
	defer c.cancel()
	r := object.PartRequest{Number: int(*in.PartNumber), Size: *in.ContentLength}
	if r.UploadPlace, err = c.uploadPlace(in.UploadId); err != nil {
		return nil, err
	}
	want, err := b.checksumOf(c, r.UploadPlace)
	if err != nil {
		return nil, err
	}
	algorithm := types.ChecksumAlgorithm(want.Algorithm)
	body, err := b.newIntake(in.Body, sumIn(in), "")
	if err != nil {
		return nil, c.fail(err)
	}
	switch came := body.algorithm(); {
	case came == algorithm || algorithm == "":
	case came != "":
		return nil, s3err.GetChecksumTypeMismatchErr(algorithm, came)
	case want.Kind == manifest.Composite:
		return nil, s3err.GetChecksumTypeMismatchErr(algorithm, "null")
	default: // not stated, but the whole object's is made of it
		if body, err = b.newIntake(in.Body, sum{}, algorithm); err != nil {
			return nil, c.fail(err)
		}
	}
	r.Body = body
	r.Finish = func(f object.Finished) (object.Finished, error) {
		f.ETag = body.etag()
		f.Attributes.Checksums = body.sum().stored(manifest.FullObject)
		return f, nil
	}
	p, err := b.objects.PutPart(c, r)
	if err != nil {
		return nil, c.fail(err)
	}
	out := &s3.UploadPartOutput{ETag: ptr(quote(p.ETag))}
	body.sum().set(out)
	return out, nil
}

// UploadPartCopy makes a part of an object's bytes. Its ETag and its checksum
// are those of bytes that lie in the cell, so they are read once for it.
func (b *bridge) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (s3response.CopyPartResult, error) {
	c, err := b.beginData(ctx, "UploadPartCopy", in.Bucket, in.Key)
	if err != nil {
		return s3response.CopyPartResult{}, err
	}
	defer c.cancel()
	r := object.CopyPartRequest{Number: int(*in.PartNumber)}
	if r.UploadPlace, err = c.uploadPlace(in.UploadId); err != nil {
		return s3response.CopyPartResult{}, err
	}
	want, err := b.checksumOf(c, r.UploadPlace)
	if err != nil {
		return s3response.CopyPartResult{}, err
	}
	from, err := b.original(c, in.CopySource, reading{in.CopySourceIfMatch, in.CopySourceIfNoneMatch, in.CopySourceIfModifiedSince, in.CopySourceIfUnmodifiedSince})
	if err != nil {
		return s3response.CopyPartResult{}, err
	}
	r.From, r.Version = from.place, from.row.Version
	if r.Range.Offset, r.Range.Length, err = backend.ParseCopySourceRange(from.row.Size, clone(in.CopySourceRange)); err != nil {
		return s3response.CopyPartResult{}, err
	}
	r.Range.Length = min(r.Range.Length, from.row.Size-r.Range.Offset) // versitygw counts one too many for an open end
	body, err := b.digest(c, from, r.Range, types.ChecksumAlgorithm(want.Algorithm))
	if err != nil {
		return s3response.CopyPartResult{}, c.fail(err)
	}
	r.ETag, r.Attributes.Checksums = body.etag(), body.sum().stored(manifest.FullObject)
	p, err := b.objects.CopyPart(c, r)
	if err != nil {
		return s3response.CopyPartResult{}, c.fail(err)
	}
	out := s3response.CopyPartResult{ETag: ptr(quote(p.ETag)), LastModified: p.Modified}
	body.sum().set(&out)
	return out, nil
}

// digest reads a stretch of an object for its ETag and checksum alone.
func (b *bridge) digest(c *call, from original, stretch object.Range, algorithm types.ChecksumAlgorithm) (*intake, error) {
	if from.row.Size == 0 {
		return b.newIntake(emptyBody{}, sum{}, algorithm)
	}
	r, err := b.objects.Open(c, from.place, object.GetOptions{Version: from.row.Version, Range: stretch})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body, err := b.newIntake(r, sum{}, algorithm)
	if err != nil {
		return nil, err
	}
	body.counter = nil
	return body, body.drain()
}

// AbortMultipartUpload ends an upload without an object.
func (b *bridge) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	c, err := b.begin(ctx, "AbortMultipartUpload", in.Bucket, in.Key)
	if err != nil {
		return err
	}
	defer c.cancel()
	at, err := c.uploadPlace(in.UploadId)
	if err != nil {
		return err
	}
	return c.fail(b.objects.Abort(c, at))
}

// CompleteMultipartUpload makes an object of an upload's parts.
func (b *bridge) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	none := s3response.CompleteMultipartUploadResult{}
	c, err := b.begin(ctx, "CompleteMultipartUpload", in.Bucket, in.Key)
	if err != nil {
		return none, "", err
	}
	defer c.cancel()
	r := object.CompleteRequest{MinPart: minPart}
	if r.UploadPlace, err = c.uploadPlace(in.UploadId); err != nil {
		return none, "", err
	}
	if r.If, err = condition(in.IfMatch, in.IfNoneMatch); err != nil {
		return none, "", err
	}
	if r.Parts, err = completed(in.MultipartUpload.Parts); err != nil {
		return none, "", err
	}
	var done assembled
	r.Finish = func(parts []metadata.Part, f object.Finished) (_ object.Finished, err error) {
		if done, err = assemble(in, parts, f); err != nil {
			return f, err
		}
		f.ETag, f.Attributes.Checksums = done.etag, done.sum.stored(done.kind)
		return f, nil
	}
	o, err := b.objects.Complete(c, r)
	if err != nil {
		return none, "", c.failPut(b, r.If, err)
	}
	a, err := attributesOf(&o)
	if err != nil {
		return none, "", c.fail(err)
	}
	out := s3response.CompleteMultipartUploadResult{Bucket: ptr(c.about.bucket), Key: ptr(c.about.key), ETag: ptr(quote(o.ETag))}
	if s, kind := shown(&a); kind != "" {
		s.set(&out)
		out.ChecksumType = &kind
	}
	return out, "", nil
}

// completed reads the parts that a client names.
func completed(list []types.CompletedPart) (parts []object.CompletedPart, err error) {
	for _, p := range list {
		if p.PartNumber == nil || p.ETag == nil {
			return nil, s3err.GetAPIError(s3err.ErrMalformedXML)
		}
		if n := *p.PartNumber; n < 1 || n > holdall.MaxParts {
			return nil, s3err.GetInvalidArgumentErr(s3err.InvalidArgCompleteMpPartNumber, fmt.Sprint(n))
		}
		parts = append(parts, object.CompletedPart{Number: int(*p.PartNumber), ETag: unquote(*p.ETag)})
	}
	return parts, nil
}

// assembled is what is known of an object once its parts are.
type assembled struct {
	etag string
	sum  sum
	kind manifest.ChecksumKind
}

// assemble computes ETag and checksum from those of the parts, and holds them
// against what the client states.
func assemble(in *s3.CompleteMultipartUploadInput, parts []metadata.Part, f object.Finished) (assembled, error) {
	if in.MpuObjectSize != nil && *in.MpuObjectSize != f.Size {
		return assembled{}, s3err.GetIncorrectMpObjectSizeErr(f.Size, *in.MpuObjectSize)
	}
	done := assembled{kind: manifest.FullObject}
	all := md5.New()
	for _, p := range parts {
		raw, err := hex.DecodeString(p.ETag)
		if err != nil {
			return done, fmt.Errorf("part %d has the ETag %q, which is no MD5: %w", p.Number, p.ETag, holdall.ErrCorrupt)
		}
		all.Write(raw)
	}
	done.etag = fmt.Sprintf("%x-%d", all.Sum(nil), len(parts))
	want := wanted(f, parts)
	if want.Algorithm == "" {
		return done, nil
	}
	done.kind = want.Kind
	kind := types.ChecksumTypeFullObject
	if want.Kind == manifest.Composite {
		kind = types.ChecksumTypeComposite
	}
	if in.ChecksumType != "" && in.ChecksumType != kind {
		return done, s3err.GetChecksumTypeMismatchOnMpErr(kind)
	}
	sums, err := partSums(in, parts, types.ChecksumAlgorithm(want.Algorithm))
	if err != nil {
		return done, err
	}
	if done.sum, err = combine(types.ChecksumAlgorithm(want.Algorithm), want.Kind, parts, sums); err != nil {
		return done, err
	}
	if stated := sumIn(in); stated.algorithm == done.sum.algorithm && stated.value != done.sum.value {
		return done, s3err.GetChecksumBadDigestErr(done.sum.algorithm)
	}
	return done, nil
}

// wanted returns the checksum that an object will have: the one that its upload
// was begun with, else the CRC that all of its parts came with.
func wanted(f object.Finished, parts []metadata.Part) manifest.Checksum {
	if len(f.Attributes.Checksums) > 0 {
		return f.Attributes.Checksums[0]
	}
	common := ""
	for i, p := range parts {
		_, a, err := manifest.ParsePart(p.Attributes)
		if err != nil || len(a.Checksums) == 0 || i > 0 && a.Checksums[0].Algorithm != common || !utils.IsChecksumComposable(types.ChecksumAlgorithm(a.Checksums[0].Algorithm)) {
			return manifest.Checksum{}
		}
		common = a.Checksums[0].Algorithm
	}
	return manifest.Checksum{Algorithm: common, Kind: manifest.FullObject}
}

// partSums returns the parts' checksums. Where a client names one, it must be
// the one that was computed.
func partSums(in *s3.CompleteMultipartUploadInput, parts []metadata.Part, algorithm types.ChecksumAlgorithm) ([]string, error) {
	sums := make([]string, len(parts))
	for i, p := range parts {
		_, a, err := manifest.ParsePart(p.Attributes)
		if err != nil {
			return nil, err
		}
		s, _ := shown(&a)
		stated := sumIn(in.MultipartUpload.Parts[i])
		if s.algorithm != algorithm || stated.algorithm != "" && stated != s {
			return nil, s3err.GetInvalidPartErr(clone(in.UploadId), int32(p.Number), p.ETag)
		}
		sums[i] = s.value
	}
	return sums, nil
}
