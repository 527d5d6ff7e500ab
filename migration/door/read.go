package door

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/ledger"
	"github.com/holdall/holdall/migration/source"
)

// readTries is how often a read begins anew because a step was taken under it.
const readTries = 4

// reading runs a read, which is given nil for a bucket that does not migrate. One
// that was overtaken by a step begins anew: it may have seen what the side that
// decides now does not have yet.
func (d *Door) reading(ctx context.Context, ns holdall.NamespaceID, bucket string, read func(*call) error) error {
	for range readTries {
		c, err := d.enter(ctx, ns, bucket)
		if err != nil {
			return err
		}
		err = read(c)
		overtaken := c != nil && c.pass.straddled()
		c.leave()
		if !overtaken {
			return err
		}
	}
	return fmt.Errorf("door: a read was overtaken by %d steps of the migration: %w", readTries, holdall.ErrUnavailable)
}

// Head returns the row of an object, as the side says that is read. A row of the
// source has no Version; one that is asked for by its Version is the cell's. Errors
// are those of object.Objects, and ErrRefused where the source does not let it.
func (d *Door) Head(ctx context.Context, at object.Place, version holdall.Version) (o metadata.Object, err error) {
	err = d.reading(ctx, at.Namespace, at.Bucket, func(c *call) error {
		if c == nil || version != 0 {
			o, err = d.cfg.Objects.Head(ctx, at, version)
			o = shown(o)
		} else {
			o, _, err = c.head(ctx, at)
		}
		return err
	})
	return o, err
}

// head returns an object's row, and the side that it is read from.
func (c *call) head(ctx context.Context, at object.Place) (metadata.Object, metadata.Side, error) {
	side, err := c.side(at.Key)
	if err != nil {
		return metadata.Object{}, side, err
	}
	if side == metadata.SideCell {
		o, err := c.d.cfg.Objects.Head(ctx, at, 0)
		never := errors.Is(err, object.ErrNoKey) && !errors.Is(err, object.ErrMarked)
		if err != nil && !never || ledger.ReadFrom(c.m.State, !never) == metadata.SideCell {
			c.d.metrics.reads.WithLabelValues("cell").Inc()
			return shown(o), side, err
		}
		c.d.metrics.reads.WithLabelValues("source_fallback").Inc()
	} else {
		c.d.metrics.reads.WithLabelValues("source").Inc()
	}
	if err := holdall.CheckKey(at.Key); err != nil {
		return metadata.Object{}, side, err
	}
	o, _, err := c.info(ctx, at.Key)
	return o, metadata.SideSource, err
}

// side returns the side on which a key is looked for first: that which decides,
// but for a key with a write that began under another state, and may have been seen
// on the other side already.
func (c *call) side(key string) (metadata.Side, error) {
	if !c.m.State.Mirrored() {
		return c.m.State.Decides(), nil
	}
	return c.d.cfg.Names.ReadSide(&c.m, key)
}

// Open finds an object to read, as object.Objects does. Of a key that the source is
// read for, it gives the version that it found, or an error. Errors are those of
// Head; ErrRange.
func (d *Door) Open(ctx context.Context, at object.Place, o object.GetOptions) (r *object.Reader, err error) {
	err = d.reading(ctx, at.Namespace, at.Bucket, func(c *call) error {
		if r != nil { // of a read that was overtaken
			r.Close()
			r = nil
		}
		if c == nil || o.Version != 0 {
			if r, err = d.cfg.Objects.Open(ctx, at, o); err == nil {
				r.Object = shown(r.Object)
			}
			return err
		}
		r, err = c.open(ctx, at, o)
		return err
	})
	if err != nil && r != nil {
		r.Close()
		r = nil
	}
	return r, err
}

// open finds an object and the version that is read.
func (c *call) open(ctx context.Context, at object.Place, o object.GetOptions) (*object.Reader, error) {
	began := time.Now()
	for range openTries {
		row, side, err := c.head(ctx, at)
		if err != nil {
			return nil, err
		}
		r, err := c.reader(ctx, at, row, reading{side: side, began: began, state: c.m.State})
		if errors.Is(err, errMoved) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := r.Select(o.Range); err != nil {
			r.Close()
			return nil, err
		}
		return r, nil
	}
	return nil, fmt.Errorf("door: %.80q was overwritten %d times while it was being opened: %w", at.Key, openTries, holdall.ErrUnavailable)
}

// openTries is how often an object that changes while it is opened is looked at
// anew.
const openTries = 4

// errMoved says that an object changed while it was being opened.
var errMoved = errors.New("door: the object changed while it was being opened")

// small is the most bytes of an object of the source that are read when it is
// opened: then they are of the version that was found, however fast it changes.
const small = 64 << 10

// reading is how an object is being read.
type reading struct {
	side  metadata.Side
	state metadata.MigrationState
	began time.Time
}

// reader returns a Reader of the version that row says.
func (c *call) reader(ctx context.Context, at object.Place, row metadata.Object, how reading) (*object.Reader, error) {
	if how.side == metadata.SideCell {
		r, err := c.d.cfg.Objects.Open(ctx, at, object.GetOptions{Version: row.Version})
		if errors.Is(err, object.ErrNoVersion) {
			return nil, errMoved // purged
		}
		if err == nil {
			r.Object = shown(r.Object)
		}
		return r, err
	}
	a, err := manifest.ParseAttributes(row.Attributes)
	if err != nil {
		return nil, err
	}
	open := c.at.opener(&row)
	if row.Size > 0 && row.Size <= small {
		if open, err = readAhead(ctx, open, row.Size); err != nil {
			return nil, err
		}
	}
	if how.state == metadata.StateShadow {
		open = c.compared(row, how, open)
	}
	return object.NewReader(ctx, row, a, func(ctx context.Context, rg object.Range) (io.ReadCloser, error) {
		b, err := open(ctx, rg)
		return b, gone(err)
	}), nil
}

type opener func(ctx context.Context, rg object.Range) (io.ReadCloser, error)

// opener reads a version of an object at the source.
func (r *Remote) opener(row *metadata.Object) opener {
	get := source.GetRequest{Key: row.Key, ETag: row.ETag}
	if row.Source.Version != "null" {
		get.Version = row.Source.Version
	}
	return func(ctx context.Context, rg object.Range) (io.ReadCloser, error) {
		one := get
		one.Offset, one.Length = rg.Offset, rg.Length
		b, err := r.Read.Get(ctx, one)
		if err != nil {
			return nil, err
		}
		return remoteBody{b}, nil
	}
}

// remoteBody is bytes of the source, with its errors in the words of package
// object.
type remoteBody struct{ *source.Body }

func (b remoteBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err != nil && err != io.EOF {
		err = gone(err)
	}
	return n, err
}

// gone is an error of bytes that were there when their object was found; nil for
// none.
func gone(err error) error {
	if errors.Is(err, holdall.ErrNotFound) || errors.Is(err, holdall.ErrCondition) {
		return fmt.Errorf("door: the object was overwritten or deleted while it was read: %v: %w", err, holdall.ErrUnavailable)
	}
	return readError(err)
}

// readAhead reads all of a small object now.
func readAhead(ctx context.Context, open opener, size int64) (opener, error) {
	b := make([]byte, size)
	body, err := open(ctx, object.Range{Length: size})
	if err == nil {
		_, err = io.ReadFull(body, b)
		body.Close()
	}
	switch {
	case errors.Is(err, holdall.ErrNotFound), errors.Is(err, holdall.ErrCondition):
		return nil, errMoved
	case err != nil:
		return nil, gone(err)
	}
	return func(_ context.Context, rg object.Range) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b[rg.Offset:][:rg.Length])), nil
	}, nil
}
