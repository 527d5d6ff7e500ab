package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// copyTries is how often a copy begins anew because its original was purged while
// it was on its way: a purge takes versions that waited their retention, so a
// second one is rare.
const copyTries = 3

// Copy makes an object of another one's blocks. A copy of an object onto itself
// is a new version. Errors: those of Head for the original, those of Put.
func (s *Objects) Copy(ctx context.Context, r CopyRequest) (o metadata.Object, err error) {
	defer s.metrics.call("copy", &err)
	if r.From.Namespace != r.Namespace {
		return metadata.Object{}, fmt.Errorf("object: copy from namespace %d to %d: blocks are not shared between namespaces: %w", r.From.Namespace, r.Namespace, holdall.ErrInvalid)
	}
	p, err := s.begin(ctx, r.Place, r.Put, r.If)
	if err != nil || p.done {
		return p.was, err
	}
	p.settle = r.Settle
	for range copyTries {
		o, err = s.copyOnce(ctx, p, &r)
		var gone *goneError
		if !errors.As(err, &gone) {
			break
		}
	}
	return o, err
}

func (s *Objects) copyOnce(ctx context.Context, p *putting, r *CopyRequest) (metadata.Object, error) {
	from, root, err := s.original(ctx, r.From, r.Version, r.Check)
	if err != nil {
		return metadata.Object{}, err
	}
	p.root.Size, p.root.Entries, p.root.Inline = root.Size, root.Entries, root.Inline
	p.root.ETag, p.root.Attributes, p.root.Tags = from.ETag, from.Attributes, from.Tags
	if r.ETag != "" {
		p.root.ETag = r.ETag
	}
	if r.Attributes != nil {
		if p.root.Attributes, err = r.Attributes.Encode(); err != nil {
			return metadata.Object{}, err
		}
	}
	if r.Tags != nil {
		if p.root.Tags, err = manifest.EncodeTags(*r.Tags); err != nil {
			return metadata.Object{}, err
		}
	}
	return p.commit(ctx, s.newWriter(r.Namespace), p.root.ETag)
}

// original finds what is to be copied, and its root.
func (s *Objects) original(ctx context.Context, at Place, version holdall.Version, check func(metadata.Object) error) (metadata.Object, *manifest.Root, error) {
	o, err := s.Head(ctx, at, version)
	if err == nil && check != nil {
		err = check(o)
	}
	if err != nil {
		return o, nil, err
	}
	r, err := s.reader(ctx, at.Namespace, o)
	if err != nil {
		return o, nil, err
	}
	defer r.Close()
	root, err := s.root(ctx, at.Namespace, &o)
	if err != nil {
		return o, nil, r.explain(err)
	}
	return o, root, nil
}

// sharedHeight is how high a node may be that a part shares with the object that
// it was copied from. Higher ones are opened, so that copies of copies do not make
// a manifest higher and higher.
const sharedHeight = 1

// CopyPart makes a part of an object's bytes. Errors: ErrNoUpload, ErrRange,
// those of Head for the original, those of Put.
func (s *Objects) CopyPart(ctx context.Context, r CopyPartRequest) (part metadata.Part, err error) {
	defer s.metrics.part(time.Now(), &part, &err)
	if r.From.Namespace != r.Namespace {
		return metadata.Part{}, fmt.Errorf("object: copy from namespace %d to %d: blocks are not shared between namespaces: %w", r.From.Namespace, r.Namespace, holdall.ErrInvalid)
	}
	if _, err := s.openUpload(ctx, r.UploadPlace); err != nil {
		return metadata.Part{}, err
	}
	for range copyTries {
		part, err = s.copyPartOnce(ctx, &r)
		var gone *goneError
		if !errors.As(err, &gone) {
			break
		}
	}
	return part, err
}

func (s *Objects) copyPartOnce(ctx context.Context, r *CopyPartRequest) (metadata.Part, error) {
	o, root, err := s.original(ctx, r.From, r.Version, r.Check)
	if err != nil {
		return metadata.Part{}, err
	}
	from, err := s.reader(ctx, r.Namespace, o)
	if err != nil {
		return metadata.Part{}, err
	}
	defer from.Close()
	if err := from.Select(r.Range); err != nil {
		return metadata.Part{}, err
	}
	w := s.newWriter(r.Namespace)
	if err := w.share(ctx, from, root); err != nil {
		return metadata.Part{}, err
	}
	return s.finishPart(ctx, w, partOf{r.UploadPlace, r.Number, Finished{Size: w.tree.size, ETag: r.ETag, Attributes: r.Attributes}})
}

// share adds a stretch of an object to the tree: blocks that lie in it whole as
// they are, the bytes at its ends put again.
func (w *writer) share(ctx context.Context, from *Reader, root *manifest.Root) error {
	if from.Length == 0 {
		return nil
	}
	if len(root.Entries) == 0 {
		return w.again(ctx, from, from.Offset, from.Length)
	}
	at := from.Offset
	walk := w.s.walkOf(w.ns, root, from.Offset, from.Length)
	walk.whole = sharedHeight
	for {
		p, err := walk.next(ctx, false)
		if err != nil {
			return from.explain(err)
		}
		switch {
		case p.length == 0:
			return nil
		case p.length == p.Size:
			err = w.tree.add(ctx, p.Entry)
		default:
			err = w.again(ctx, from, at, p.length)
		}
		if err != nil {
			return err
		}
		at += p.length
	}
}

// again puts at most one block's bytes of an object as a block of their own.
func (w *writer) again(ctx context.Context, from *Reader, offset, length int64) error {
	r, err := w.s.reader(ctx, w.ns, from.Object)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.Select(Range{offset, length}); err != nil {
		return err
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	r.release() // before memory is asked for
	id, err := w.putBlock(ctx, b)
	if err != nil {
		return err
	}
	return w.tree.add(ctx, manifest.Entry{ID: id, Size: length})
}
