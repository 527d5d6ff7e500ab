package worker

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/source"
)

// partsAtOnce are the parts of one object that are copied at the same time; each
// has a window of blocks in memory.
const partsAtOnce = 4

// cutting is how a large object is cut into parts of an upload to the cell: as the
// source has it, or evenly.
type cutting struct {
	sizes []int64
	own   bool // they are the source's parts: the ETag can be proved by their sums
}

// cut chooses parts of at most holdall.MaxParts.
func cut(size int64, k *kept) cutting {
	if c := (cutting{own: true}); partsOf(k.attributes.SourceETag) > 1 && len(k.attributes.PartSizes) > 0 {
		largest := int64(0)
		for _, run := range k.attributes.PartSizes {
			largest = max(largest, run.Size)
			for range run.Count {
				c.sizes = append(c.sizes, run.Size)
			}
		}
		if largest <= maxOwnPart {
			return c
		}
	}
	each := int64(largeSize)
	if least := (size + holdall.MaxParts - 1) / holdall.MaxParts; least > each {
		each = (least + holdall.MaxBlockSize - 1) / holdall.MaxBlockSize * holdall.MaxBlockSize
	}
	var c cutting
	for at := int64(0); at < size; at += each {
		c.sizes = append(c.sizes, min(each, size-at))
	}
	return c
}

// maxOwnPart is the largest part of the source's that is copied in one piece: what a
// copy that ends has to read again.
const maxOwnPart = 1 << 30 // bytes

// uploadID is the same for every attempt at the same object, so that each finds what
// the one before has stored.
func (c *copier) uploadID(info *source.Info, how bringing, n int) holdall.PutID {
	h := holdall.NewHasher()
	text := func(s string) {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	text("holdall migration upload 1")
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(c.place.Bucket)))
	for _, s := range []string{info.Key, info.Version, info.ETag, info.Modified.UTC().String()} {
		text(s)
	}
	// A commit that was refused for what it found must not be found done later.
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(how.cond.Version)))
	h.Write([]byte{byte(n)})
	id := h.ID()
	return holdall.PutID(id[:16])
}

// uploadTries bounds the uploads of one object that came to nothing.
const uploadTries = 16

// upload finds the upload of this object that was begun, or begins one.
func (c *copier) upload(ctx context.Context, info *source.Info, k *kept, how bringing) (at object.UploadPlace, u metadata.Upload, err error) {
	for n := range uploadTries {
		at = object.UploadPlace{Place: c.place.at(info.Key), Upload: c.uploadID(info, how, n)}
		u, err = c.cfg.Uploads.CreateUpload(ctx, object.UploadRequest{UploadPlace: at, Attributes: k.attributes, Tags: k.tags})
		if err != nil || u.State != metadata.UploadAborted {
			return at, u, err
		}
	}
	return at, u, fmt.Errorf("worker: %d uploads of %.80q came to nothing: %w", uploadTries, info.Key, errWrong)
}

// large copies an object part by part through an upload to the cell.
func (c *copier) large(ctx context.Context, info *source.Info, k *kept, how bringing) (metadata.Object, error) {
	at, u, err := c.upload(ctx, info, k, how)
	if err != nil {
		return metadata.Object{}, err
	}
	cuts := cut(info.Size, k)
	parts := make([]object.CompletedPart, len(cuts.sizes))
	for i := range parts {
		parts[i].Number = i + 1
	}
	if u.State == metadata.UploadOpen {
		if err := c.missing(ctx, info, at, cuts); err != nil {
			if errors.Is(err, errAgain) || errors.Is(err, holdall.ErrCondition) {
				c.abort(ctx, at) // it was of an object that is another now
			}
			return metadata.Object{}, err
		}
	}
	r := c.request(info, k, how)
	var wrong bool
	o, err := c.cfg.Uploads.Complete(ctx, object.CompleteRequest{
		UploadPlace: at, Parts: parts, ETag: r.ETag, If: r.If, Origin: r.Origin, Modified: r.Modified, Settle: r.Settle,
		Finish: func(stored []metadata.Part, f object.Finished) (object.Finished, error) {
			f.Attributes = k.attributes
			if !cuts.own {
				return f, nil
			}
			err := proveParts(info.ETag, stored, how.seen)
			wrong = err != nil
			return f, err
		},
	})
	if wrong || errors.Is(err, object.ErrInvalidPart) || errors.Is(err, holdall.ErrCondition) {
		// What lies there is of no use: the next attempt has an upload of its own.
		c.abort(ctx, at)
	}
	return o, err
}

// abort gives back what lies in an upload that nothing will come of.
func (c *copier) abort(ctx context.Context, at object.UploadPlace) {
	if err := c.cfg.Uploads.Abort(ctx, at); err != nil && !errors.Is(err, holdall.ErrNotFound) {
		c.cfg.Logger.Warn("migration: an upload to the cell could not be aborted", "bucket", c.place.name, "err", err)
	}
}

// missing copies the parts that the upload does not have.
func (c *copier) missing(ctx context.Context, info *source.Info, at object.UploadPlace, cuts cutting) error {
	there, err := c.stored(ctx, at, cuts)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan piece)
	var workers sync.WaitGroup
	for range min(partsAtOnce, len(cuts.sizes)) {
		workers.Go(func() {
			for p := range work {
				if err := c.part(ctx, info, at, p); err != nil {
					cancel(err)
				}
			}
		})
	}
	offset := int64(0)
	for i, size := range cuts.sizes {
		if !there[i+1] {
			select {
			case work <- piece{number: i + 1, offset: offset, size: size, sum: cuts.own}:
			case <-ctx.Done():
			}
		}
		offset += size
	}
	close(work)
	workers.Wait()
	return context.Cause(ctx)
}

// stored returns the parts that are there, of the size that they must have.
func (c *copier) stored(ctx context.Context, at object.UploadPlace, cuts cutting) (map[int]bool, error) {
	there := map[int]bool{}
	for after, more := 0, true; more; {
		page, err := c.cfg.Uploads.Parts(ctx, at, after, holdall.MaxListPage)
		if err != nil {
			return nil, err
		}
		for _, p := range page.Parts {
			after = p.Number
			there[p.Number] = p.Number <= len(cuts.sizes) && p.Size == cuts.sizes[p.Number-1]
		}
		more = page.More && len(page.Parts) > 0
	}
	return there, nil
}

// piece is a part to be copied.
type piece struct {
	number       int
	offset, size int64
	sum          bool // its ETag is the MD5 of its bytes
}

func (c *copier) part(ctx context.Context, info *source.Info, at object.UploadPlace, p piece) error {
	body, err := c.open(ctx, info, p.offset, p.size)
	if err != nil {
		return err
	}
	defer body.Close()
	r := object.PartRequest{UploadPlace: at, Number: p.number, Body: body, Size: p.size}
	if p.sum {
		var sum hash.Hash = md5.New()
		r.Body = io.TeeReader(body, sum)
		r.Finish = func(f object.Finished) (object.Finished, error) {
			f.ETag = hex.EncodeToString(sum.Sum(nil))
			return f, nil
		}
	}
	_, err = c.cfg.Uploads.PutPart(ctx, r)
	if errors.Is(err, object.ErrNoUpload) {
		return fmt.Errorf("worker: %v: %w", err, errAgain)
	}
	return err
}

// proveParts compares the sums of parts with the ETag over them.
func proveParts(etag string, stored []metadata.Part, seen *string) error {
	all := md5.New()
	for i := range stored {
		sum, err := hex.DecodeString(stored[i].ETag)
		if err != nil {
			return errWrong
		}
		all.Write(sum)
	}
	got := hex.EncodeToString(all.Sum(nil))
	want, _, _ := strings.Cut(etag, "-")
	if got == want || seen != nil && *seen == got {
		return nil
	}
	if seen != nil {
		*seen = got
	}
	return errWrong
}
