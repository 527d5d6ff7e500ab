package door

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/ledger"
)

// Tags returns the tags of an object, and its row. Errors are those of Head.
func (d *Door) Tags(ctx context.Context, at object.Place, version holdall.Version) ([]manifest.Tag, metadata.Object, error) {
	o, err := d.Head(ctx, at, version)
	if err != nil {
		return nil, o, err
	}
	tags, err := manifest.ParseTags(o.Tags)
	return tags, o, err
}

// SetTags replaces the tags of an object, in both stores while the bucket is
// mirrored; no others than the current version's then. Errors are those of
// object.Objects, and ErrRefused.
func (d *Door) SetTags(ctx context.Context, at object.Place, version holdall.Version, tags []manifest.Tag) (o metadata.Object, err error) {
	encoded, err := manifest.EncodeTags(tags)
	if err != nil {
		return metadata.Object{}, err
	}
	w, err := d.begin(ctx, at, metadata.IntentTags, holdall.PutID{})
	if err != nil {
		return metadata.Object{}, err
	}
	if w == nil {
		return d.cfg.Objects.SetTags(ctx, at, version, tags)
	}
	defer d.metrics.wrote("set_tags", &err)
	g := &w.granted
	switch {
	case w.m.State == metadata.StateRetired:
		defer w.release()
		return d.cfg.Objects.SetTags(ctx, at, version, tags)
	case w.m.State == metadata.StateCutOver:
		defer w.release()
		return w.tagsAlone(ctx, at, version, encoded)
	case version != 0 && !(g.HasNewest && g.Newest.Version == version):
		w.abandon()
		return metadata.Object{}, fmt.Errorf("door: while a bucket is mirrored, only the current version's tags can be set: %w", holdall.ErrRefused)
	}
	sent, done := d.heed(context.WithoutCancel(ctx))
	w.result = w.at.Write.SetTags(sent, w.key, tags)
	done()
	if errors.Is(w.result.Err, holdall.ErrNotFound) {
		w.result.Err = fmt.Errorf("door: %v: %w", w.result.Err, object.ErrNoKey)
	}
	if w.m.State == metadata.StateAssess {
		defer w.release()
		return w.rowOf(w.key, manifest.Attributes{}, tags), w.concludeSource(ctx)
	}
	return w.tagsBoth(context.WithoutCancel(ctx), tags, encoded)
}

// tagsBoth sets the tags in the cell, after the source. A key of which the cell
// has never heard is the source's.
func (w *write) tagsBoth(ctx context.Context, tags []manifest.Tag, encoded []byte) (o metadata.Object, err error) {
	g := &w.granted
	if !g.HasNewest && w.m.State.CellDecides() && w.result.Outcome != ledger.Unknown {
		w.abandon()
		return w.rowOf(w.key, manifest.Attributes{}, tags), writeError(w.result.Err)
	}
	if !g.HasNewest || g.Newest.Marker {
		err = fmt.Errorf("door: %.80q: %w", w.key, object.ErrNoKey)
	} else {
		o, err = w.setTags(ctx, metadata.ObjectKey{Bucket: w.id, Key: w.key, Version: g.Newest.Version}, encoded)
	}
	if err = w.conclude(ctx, 0, err); err == nil && o.Version == 0 {
		o = w.rowOf(w.key, manifest.Attributes{}, tags)
	}
	return o, err
}

func (w *write) setTags(ctx context.Context, key metadata.ObjectKey, encoded []byte) (o metadata.Object, err error) {
	for range maxStale {
		how, e := w.settle(ctx)
		if e != nil {
			return metadata.Object{}, e
		}
		o, err = w.d.cfg.Notes.SettleTags(ctx, key, encoded, how.Settlement)
		if !errors.Is(err, holdall.ErrStale) {
			break
		}
	}
	return o, err
}

// tagsAlone sets the tags where the source is kept current behind the cell.
func (w *write) tagsAlone(ctx context.Context, at object.Place, version holdall.Version, encoded []byte) (metadata.Object, error) {
	o, err := w.d.cfg.Objects.Head(ctx, at, version)
	if err != nil {
		return o, err
	}
	for range maxStale {
		var how object.Settled
		if how, err = w.settleAlone(ctx); err != nil {
			break
		}
		o, err = w.d.cfg.Notes.SettleTags(ctx, metadata.ObjectKey{Bucket: w.id, Key: w.key, Version: o.Version}, encoded, how.Settlement)
		if !errors.Is(err, holdall.ErrStale) {
			break
		}
	}
	return o, w.concludeAlone(err)
}
