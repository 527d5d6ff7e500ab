package object

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// Put stores an object and returns its row when it is committed: its blocks, its
// manifest and its name are durable. Until then nothing is visible, and after an
// error nothing will be, unless the error is ErrUnavailable: then a repeat under
// the same PutID finds out. Errors: ErrInvalid (ErrShortBody, ErrLongBody,
// ErrTooLarge, names, attributes), ErrNoBucket, ErrCondition, ErrExhausted
// (quota, no room), ErrUnavailable, and whatever Body and Finish return.
func (s *Objects) Put(ctx context.Context, r PutRequest) (o metadata.Object, err error) {
	defer s.metrics.put(time.Now(), &o, &err)
	p, err := s.begin(ctx, r.Place, r.Put, r.If)
	if err != nil || p.done {
		return p.was, err
	}
	p.origin, p.settle = r.Origin, r.Settle
	if p.root.Tags, err = manifest.EncodeTags(r.Tags); err != nil {
		return metadata.Object{}, err
	}
	if _, err := r.Attributes.Encode(); err != nil { // before the body: what cannot be kept need not be sent
		return metadata.Object{}, err
	}
	w := s.newWriter(r.Namespace)
	src := &source{r: r.Body, size: r.Size}
	if err := p.body(ctx, w, src); err != nil {
		return metadata.Object{}, err
	}
	f := Finished{Size: p.root.Size, ETag: r.ETag, Attributes: r.Attributes}
	if r.Finish != nil {
		if f, err = r.Finish(f); err != nil {
			return metadata.Object{}, err
		}
	}
	p.root.ETag, p.root.Modified = f.ETag, r.Modified
	if p.root.Attributes, err = f.Attributes.Encode(); err != nil {
		return metadata.Object{}, err
	}
	return p.commit(ctx, w, p.madeETag(w))
}

// putting is an object on its way to its commit.
type putting struct {
	s      *Objects
	root   manifest.Root
	origin metadata.Origin
	cond   metadata.Condition
	upload holdall.PutID // that this completes
	settle Settle

	done bool // the put was carried out before
	was  metadata.Object
}

// begin checks what can be known before the body: names, the bucket, conditions,
// and whether this very put was carried out before.
func (s *Objects) begin(ctx context.Context, at Place, put holdall.PutID, cond metadata.Condition) (*putting, error) {
	if err := holdall.CheckKey(at.Key); err != nil {
		return &putting{}, err
	}
	b, err := s.cfg.Buckets.Bucket(ctx, at.Namespace, at.Bucket)
	if err != nil {
		return &putting{}, err
	}
	p := &putting{s: s, cond: cond, root: manifest.Root{Namespace: at.Namespace, Bucket: b.ID, BucketName: at.Bucket, Key: at.Key, Put: put}}
	if put == (holdall.PutID{}) {
		if p.root.Put, err = s.NewPutID(); err != nil {
			return p, err
		}
	}
	if put == (holdall.PutID{}) && cond == (metadata.Condition{}) {
		return p, nil
	}
	newest, err := s.cfg.Names.Object(ctx, b.ID, at.Key)
	if errors.Is(err, holdall.ErrNotFound) {
		newest, err = metadata.Object{}, nil
	}
	if err == nil && newest.Version != 0 && newest.Put == put {
		p.done, p.was = true, newest
		return p, nil
	}
	if err == nil && put == (holdall.PutID{}) {
		// Under a PutID of its own the put may have been carried out and hidden by
		// another since: then the commit knows better.
		err = checkCondition(cond, &newest)
	}
	return p, err
}

// checkCondition is the condition's first check; the commit's is the one that
// counts. newest is the newest row of the key; no version: there is none.
func checkCondition(c metadata.Condition, newest *metadata.Object) error {
	there := newest.Version != 0 && !newest.Marker
	ok := (!c.Absent || !there) && (!c.Present || there) && (c.ETag == "" || there && newest.ETag == c.ETag) &&
		(c.Version == 0 || newest.Version == c.Version) && (!c.Backfill || newest.Version == 0 || newest.Origin == metadata.OriginBackfill)
	if !ok {
		return fmt.Errorf("object: %w", holdall.ErrCondition)
	}
	return nil
}

// body stores the object's bytes: in the root if they are few, else as blocks.
func (p *putting) body(ctx context.Context, w *writer, src *source) error {
	if src.size > holdall.MaxObjectSize {
		return fmt.Errorf("object: %d bytes, at most %d: %w", src.size, int64(holdall.MaxObjectSize), ErrTooLarge)
	}
	if err := src.fill(p.s.cut.inline + 1); err != nil {
		return err
	}
	if len(src.ahead) <= p.s.cut.inline { // the body's end came first
		p.root.Inline = src.drop()
		p.root.Size = int64(len(p.root.Inline))
		return nil
	}
	if err := w.stream(ctx, src); err != nil {
		return err
	}
	var err error
	p.root.Size = w.tree.size
	p.root.Entries, err = w.tree.finish(ctx)
	return err
}

// madeETag is the ETag when nobody gives one: made of the ids of the object's
// blocks, or of what would be its only one.
func (p *putting) madeETag(w *writer) string {
	if len(p.root.Entries) > 0 {
		return w.tree.etag()
	}
	h, count := holdall.NewHasher(), int64(0)
	if len(p.root.Inline) > 0 {
		id := holdall.HashBlock(p.root.Inline)
		h.Write(id[:])
		count = 1
	}
	return etagOf(h, count)
}

// commit writes the root and commits it.
func (p *putting) commit(ctx context.Context, w *writer, madeETag string) (o metadata.Object, err error) {
	if p.root.ETag == "" {
		p.root.ETag = madeETag
	}
	if p.root.Modified.IsZero() {
		p.root.Modified = p.s.cfg.Now()
	}
	p.root.Modified = p.root.Modified.UTC().Truncate(time.Millisecond) // as its row keeps it
	p.root.Origin = uint8(p.origin)
	b, err := p.root.Encode()
	if err != nil {
		return metadata.Object{}, err
	}
	c := metadata.ObjectCommit{Bucket: p.root.Bucket, Key: p.root.Key, Put: p.root.Put, Origin: p.origin, Size: p.root.Size,
		Modified: p.root.Modified, ETag: p.root.ETag, Attributes: p.root.Attributes, Tags: p.root.Tags, If: p.cond, Upload: p.upload}
	c.Children, c.Nodes = p.root.Listed()
	_, err = w.putAndCommit(ctx, b, func(id holdall.BlockID) (gone []holdall.BlockID, err error) {
		c.Root = id
		err = p.settle.commit(ctx, func(how Settled) (err error) {
			c.Settle, c.Source = how.Settlement, how.Source
			o, gone, err = p.s.cfg.Commits.CommitObject(ctx, c)
			return err
		})
		return gone, err
	})
	return o, err
}
