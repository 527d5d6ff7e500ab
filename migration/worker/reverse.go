package worker

import (
	"context"
	"fmt"
	"io"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/ledger"
	"github.com/holdall/holdall/migration/mirror"
)

// What S3 takes as a part of an upload, in bytes.
const (
	leastPart = 5 << 20 // but the last
	mostPart  = 5 << 30
	usualPart = 512 << 20 // of what has to be cut
)

// put writes a version of the cell's to the source: in the parts that it was
// uploaded in, so that its ETag is the same, or in one piece if that can be.
func (f *fixer) put(ctx context.Context, row *metadata.Object, expect mirror.Expect) (mirror.Result, error) {
	rd, err := f.cfg.Objects.Open(ctx, f.place.at(row.Key), object.GetOptions{Version: row.Version})
	if err != nil {
		return mirror.Result{}, err
	}
	defer rd.Close()
	tags, err := manifest.ParseTags(row.Tags)
	if err != nil {
		return mirror.Result{}, err
	}
	p := mirror.Put{Key: row.Key, Body: rd, Size: row.Size, Attributes: rd.Attributes, Tags: tags, If: expect}
	sizes := reverseParts(row.Size, &rd.Attributes)
	if sizes == nil {
		return f.mirror.Put(ctx, p), nil
	}
	m, ok := f.mirror.(MirrorUploads)
	if !ok {
		return mirror.Result{}, fmt.Errorf("worker: %.80q has %d bytes, and one request to the source takes %d: %w", row.Key, row.Size, int64(mirror.MaxPut), holdall.ErrInvalid)
	}
	return putParts(ctx, m, p, sizes), nil
}

// reverseParts returns the parts that an object of the cell's is written to the
// source in; nil = in one piece.
func reverseParts(size int64, a *manifest.Attributes) (sizes []int64) {
	total := int64(0)
	for _, run := range a.PartSizes {
		for range run.Count {
			sizes = append(sizes, run.Size)
			total += run.Size
		}
	}
	good := len(sizes) > 0 && total == size
	for i, s := range sizes {
		good = good && s > 0 && s <= mostPart && (s >= leastPart || i == len(sizes)-1)
	}
	if good {
		return sizes
	}
	if size <= mirror.MaxPut {
		return nil
	}
	sizes = nil
	each := max(usualPart, (size+holdall.MaxParts-1)/holdall.MaxParts)
	for at := int64(0); at < size; at += each {
		sizes = append(sizes, min(each, size-at))
	}
	return sizes
}

// putParts writes an object in parts, one after the other. An upload that comes to
// nothing is taken back; one whose completion nobody answered is not, for it may be
// an object.
func putParts(ctx context.Context, m MirrorUploads, p mirror.Put, sizes []int64) mirror.Result {
	u, res := m.CreateUpload(ctx, p.Key, p.Attributes, p.Tags)
	if res.Outcome != ledger.Done {
		return refused(res)
	}
	var parts []mirror.Part
	for i, size := range sizes {
		part := mirror.Part{Number: i + 1, Body: io.LimitReader(p.Body, size), Size: size}
		if res = m.PutPart(ctx, u, part); res.Outcome != ledger.Done {
			break
		}
		parts = append(parts, mirror.Part{Number: i + 1, Size: size, ETag: res.Facts.ETag})
	}
	if res.Outcome == ledger.Done {
		if res = m.Complete(ctx, u, parts, p.If); res.Outcome != ledger.Refused {
			return res
		}
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	m.Abort(late, u) // one that is left is paid for until the bucket's rules abort it: no object comes of it
	return refused(res)
}

// refused is a result before the completion: whatever became of a part, there is no
// object.
func refused(r mirror.Result) mirror.Result {
	r.Outcome = ledger.Refused
	return r
}
