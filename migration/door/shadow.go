package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
)

// comparison is a read of the source that is to be held against the cell.
type comparison struct {
	c     *call
	row   metadata.Object
	span  object.Range
	took  time.Duration
	bytes holdall.BlockID // BLAKE3 of what the client was given
}

// compared returns an opener whose bytes are held against the cell's once a client
// has read them to the end.
func (c *call) compared(row metadata.Object, how reading, open opener) opener {
	own := *c
	own.pass = nil
	return func(ctx context.Context, rg object.Range) (io.ReadCloser, error) {
		b, err := open(ctx, rg)
		if err != nil {
			return nil, err
		}
		return &hashing{ReadCloser: b, hash: holdall.NewHasher(), left: rg.Length, done: func(sum holdall.BlockID) {
			own.d.compare(&comparison{c: &own, row: row, span: rg, took: time.Since(how.began), bytes: sum})
		}}, nil
	}
}

// hashing is a body on its way to a client.
type hashing struct {
	io.ReadCloser
	hash *holdall.Hasher
	left int64
	done func(holdall.BlockID)
}

// Read hashes what it gives out, and calls done after the last byte.
func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.hash.Write(p[:n])
	if h.left -= int64(n); n > 0 && h.left == 0 {
		h.done(h.hash.ID())
	}
	return n, err
}

// compare compares behind the call, if there is a place; more reads than the cell
// bears are not compared.
func (d *Door) compare(k *comparison) {
	select {
	case d.shadows <- struct{}{}:
	default:
		d.metrics.shadows.WithLabelValues("skipped").Inc()
		return
	}
	d.after(func(ctx context.Context) {
		defer func() { <-d.shadows }()
		ctx, cancel := context.WithTimeout(ctx, compareLimit)
		defer cancel()
		outcome := k.outcome(ctx)
		d.metrics.shadows.WithLabelValues(outcome).Inc()
	})
}

// compareLimit bounds one comparison: it holds a place and memory for blocks.
const compareLimit = 2 * time.Minute

// outcome compares. What changed meanwhile, or is being written, or is known to
// differ, is no mismatch.
func (k *comparison) outcome(ctx context.Context) string {
	d := k.c.d
	if busy, err := k.busy(); busy || err != nil {
		return "changing"
	}
	began := time.Now()
	sum, row, what, err := k.cell(ctx)
	if err != nil {
		d.log.Debug("migration: a read in shadow could not be compared", "bucket", k.c.id, "key", k.row.Key, "err", err)
		return "failed"
	}
	d.metrics.shadowSeconds.WithLabelValues("source").Observe(k.took.Seconds())
	d.metrics.shadowSeconds.WithLabelValues("cell").Observe(time.Since(began).Seconds())
	if what == "" && sum != k.bytes {
		what = "other bytes"
	}
	if what == "" {
		return "same"
	}
	if moved, err := k.moved(ctx, row.Version); moved || err != nil {
		return "changing"
	}
	d.metrics.mismatches.Inc()
	d.log.Error("migration: the two sides of a key differ", "bucket", k.c.id, "key", k.row.Key, "etag", k.row.ETag, "version", row.Version, "what", what)
	if err := d.cfg.Notes.NoteMismatch(ctx, k.c.id, k.row.Key, what); err != nil {
		d.log.Warn("migration: a mismatch could not be noted", "bucket", k.c.id, "key", k.row.Key, "err", err)
	}
	return "mismatch"
}

// busy says whether the key is being written, or known to differ.
func (k *comparison) busy() (bool, error) {
	_, held, err := k.c.d.cfg.Intents.Intent(k.c.id, k.row.Key)
	if held || err != nil {
		return held, err
	}
	_, missed, err := k.c.d.cfg.Intents.Entry(k.c.id, k.row.Key)
	return missed, err
}

// cell reads the same bytes of the cell. what says how its version differs before
// any byte is read.
func (k *comparison) cell(ctx context.Context) (sum holdall.BlockID, row metadata.Object, what string, err error) {
	row, err = k.c.d.cfg.Names.Object(ctx, k.c.id, k.row.Key)
	switch {
	case errors.Is(err, holdall.ErrNotFound):
		return sum, metadata.Object{}, "the cell has no record of it", nil
	case err != nil:
		return sum, row, "", err
	case row.Marker:
		return sum, row, "it is deleted in the cell", nil
	case sourceETag(&row) != k.row.ETag || row.Size != k.row.Size:
		return sum, row, fmt.Sprintf("ETag %q and %d bytes at the source, %q and %d in the cell", k.row.ETag, k.row.Size, sourceETag(&row), row.Size), nil
	}
	return k.read(ctx, row)
}

func (k *comparison) read(ctx context.Context, row metadata.Object) (sum holdall.BlockID, _ metadata.Object, what string, err error) {
	at := object.Place{Namespace: k.c.m.Namespace, Bucket: k.c.name, Key: row.Key}
	r, err := k.c.d.cfg.Objects.Open(ctx, at, object.GetOptions{Version: row.Version, Range: k.span})
	if err != nil {
		return sum, row, "", err
	}
	defer r.Close()
	h := holdall.NewHasher()
	if _, err := r.WriteTo(h); err != nil {
		return sum, row, "", err
	}
	return h.ID(), row, "", nil
}

// moved says whether the key has changed since it was read on either side.
func (k *comparison) moved(ctx context.Context, version holdall.Version) (bool, error) {
	row, err := k.c.d.cfg.Names.Object(ctx, k.c.id, k.row.Key)
	if errors.Is(err, holdall.ErrNotFound) {
		row, err = metadata.Object{}, nil
	}
	if err != nil || row.Version != version {
		return true, err
	}
	f, found, err := k.c.at.Write.Head(ctx, k.row.Key)
	if err != nil || !found || f.ETag != k.row.ETag {
		return true, err
	}
	return k.busy()
}
