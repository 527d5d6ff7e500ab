package door

import (
	"context"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
)

// Copy copies an object. Where the bytes of original and copy lie in the cell
// alone, none move. While either bucket is mirrored the object is read where it is
// read, and put as every other is: a copy by the source itself has no answer to
// what is asked when its own gets lost. Errors are those of Open and Put.
func (d *Door) Copy(ctx context.Context, r object.CopyRequest) (o metadata.Object, err error) {
	if r.From.Namespace != r.Namespace {
		return metadata.Object{}, fmt.Errorf("door: copy from namespace %d to %d: %w", r.From.Namespace, r.Namespace, holdall.ErrInvalid)
	}
	alone, err := d.alone(ctx, r.From)
	if err != nil {
		return metadata.Object{}, err
	}
	if alone {
		if done, o, err := d.copyInCell(ctx, r); done || err != nil {
			return o, err
		}
	}
	from, err := d.Open(ctx, r.From, object.GetOptions{Version: r.Version})
	if err != nil {
		return metadata.Object{}, err
	}
	defer from.Close()
	if r.Check != nil {
		if err := r.Check(from.Object); err != nil {
			return metadata.Object{}, err
		}
	}
	p := object.PutRequest{Place: r.Place, Put: r.Put, Body: from, Size: from.Length, Attributes: copied(from.Attributes), ETag: r.ETag, If: r.If}
	if r.Attributes != nil {
		p.Attributes = copied(*r.Attributes)
	}
	if p.ETag == "" {
		p.ETag = from.Object.ETag
	}
	if p.Tags, err = manifest.ParseTags(from.Object.Tags); err != nil {
		return metadata.Object{}, err
	}
	if r.Tags != nil {
		p.Tags = *r.Tags
	}
	return d.Put(ctx, p)
}

// alone says whether a bucket is read in the cell alone.
func (d *Door) alone(ctx context.Context, at object.Place) (bool, error) {
	c, err := d.enter(ctx, at.Namespace, at.Bucket)
	if err != nil {
		return false, err
	}
	defer c.leave()
	return c == nil || c.m.State >= metadata.StateCutOver, nil
}

// copyInCell copies by reference, if the copy's bucket is written in the cell
// alone.
func (d *Door) copyInCell(ctx context.Context, r object.CopyRequest) (done bool, o metadata.Object, err error) {
	c, err := d.enter(ctx, r.Namespace, r.Bucket)
	if err != nil {
		return false, o, err
	}
	defer c.leave()
	switch {
	case c == nil, c.m.State == metadata.StateRetired:
		o, err = d.cfg.Objects.Copy(ctx, r)
		return true, o, err
	case c.m.State == metadata.StateCutOver:
		if err := c.free(r.Key); err != nil {
			return true, o, err
		}
		w := &write{call: c, key: r.Key}
		r.Settle = w.settleAlone
		o, err = d.cfg.Objects.Copy(ctx, r)
		return true, o, w.concludeAlone(err)
	}
	return false, o, nil
}

// copied is what a copy in one piece keeps of its original's attributes.
func copied(a manifest.Attributes) manifest.Attributes {
	if a.Parts > 0 {
		a.Parts, a.PartSizes = 0, nil
		var whole []manifest.Checksum
		for _, c := range a.Checksums {
			if c.Kind == manifest.FullObject {
				whole = append(whole, c)
			}
		}
		a.Checksums = whole
	}
	a.SourceETag, a.SourceVersion = "", ""
	return a
}
