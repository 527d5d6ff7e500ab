package metadata

import "github.com/holdall/holdall"

// spaceAnswer is a namespace as the command left it.
type spaceAnswer struct{ Namespace Namespace }

func (r *spaceAnswer) encode(dst []byte) []byte {
	return appendNamespace(putUvarint(dst, uint64(r.Namespace.ID)), &r.Namespace)
}

func (r *spaceAnswer) decode(d *decoder) {
	r.Namespace.ID = d.namespace()
	d.space(&r.Namespace)
}

// bucketAnswer is a bucket as the command left it.
type bucketAnswer struct{ Bucket Bucket }

func (r *bucketAnswer) encode(dst []byte) []byte {
	return appendBucket(putBucketID(dst, r.Bucket.ID), &r.Bucket)
}

func (r *bucketAnswer) decode(d *decoder) {
	r.Bucket.ID = d.bucketID()
	d.bucket(&r.Bucket)
}

// goneAnswer names the blocks that are gone, for which nothing was done.
type goneAnswer struct{ IDs []holdall.BlockID }

// maxGone is a node and its children, or a root and its.
const maxGone = 1 + holdall.MaxNodeEntries

func (r *goneAnswer) encode(dst []byte) []byte { return putIDs(dst, r.IDs) }
func (r *goneAnswer) decode(d *decoder)        { r.IDs = d.idsUpTo(maxGone) }

// objectAnswer is a version as the command left it, or names the blocks that are
// gone; neither, if there was nothing to do.
type objectAnswer struct {
	Found  bool
	Object Object
	Gone   []holdall.BlockID
}

func (r *objectAnswer) encode(dst []byte) []byte {
	dst = putBool(putIDs(dst, r.Gone), r.Found)
	if !r.Found {
		return dst
	}
	dst = putVersion(putText(putBucketID(dst, r.Object.Bucket), r.Object.Key), r.Object.Version)
	return appendObject(dst, &r.Object)
}

func (r *objectAnswer) decode(d *decoder) {
	if r.Gone, r.Found = d.idsUpTo(maxGone), d.bool(); !r.Found {
		return
	}
	r.Object.Bucket, r.Object.Key, r.Object.Version = d.bucketID(), d.text(holdall.MaxKeySize), d.versionID()
	d.object(&r.Object)
}

// uploadAnswer is an upload as the command left it.
type uploadAnswer struct{ Upload Upload }

func (r *uploadAnswer) encode(dst []byte) []byte {
	return appendUpload(append(dst, r.Upload.ID[:]...), &r.Upload)
}

func (r *uploadAnswer) decode(d *decoder) {
	r.Upload.ID = d.putID()
	d.upload(&r.Upload)
}
