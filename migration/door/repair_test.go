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
	"github.com/holdall/holdall/migration/mirror"
	"github.com/holdall/holdall/migration/source"
)

// repair makes the side that follows what the other one holds, and drops the
// entry: as little of a worker as the door's tests need.
func (r *rig) repair(ctx context.Context, d *Door, key string) error {
	q := metadata.IntentRequest{Bucket: r.bucket, Key: key, Door: d.id, Kind: metadata.IntentRepair}
	q.Op, _ = d.cfg.Objects.NewPutID()
	g, err := r.cell.Store.TakeIntent(ctx, q)
	if err != nil {
		return err
	}
	end := metadata.EndIntent{Bucket: r.bucket, Key: key, Settlement: metadata.Settlement{Op: q.Op, Number: g.Migration.Number}}
	if g.Entry != nil {
		end.Clear = g.Entry.Seq
		remote, e := d.bucket(r.bucket).open(ctx, d, g.Migration.Source)
		if e != nil {
			return e
		}
		settle := func(context.Context) (object.Settled, error) {
			return object.Settled{Settlement: metadata.Settlement{Op: q.Op, Number: g.Migration.Number}}, nil
		}
		var said mirror.Result
		if g.Entry.Missed == metadata.SideSource && g.HasNewest {
			said, err = toSource(ctx, d, remote, &g.Newest)
		} else {
			err = toCell(ctx, d, remote, key, settle)
		}
		if said.Outcome == ledger.Unknown {
			end.Clear, end.Miss, end.Until = 0, metadata.SideSource, time.Now().Add(d.cfg.Life)
		} else if err != nil {
			end.Clear = 0
		}
	}
	for tries := 0; ; {
		e := r.cell.Store.EndIntent(ctx, end)
		if errors.Is(e, holdall.ErrStale) && (end.Clear != 0 || end.Miss != 0) {
			m, _, again := r.cell.Store.Migration(r.bucket)
			if again != nil {
				return again
			}
			end.Clear, end.Number = 0, m.Number // a step was taken: leave the rest to the next
			if end.Miss != metadata.SideNone {
				end.Miss = m.State.Follows() // but a lost request may land, whatever the state
			}
			if tries++; tries < 10 {
				continue
			}
		}
		return errors.Join(err, e)
	}
}

// toCell copies a key from the source, or its absence.
func toCell(ctx context.Context, d *Door, remote *Remote, key string, settle object.Settle) error {
	i, err := remote.Read.Head(ctx, key, "", "")
	if errors.Is(err, holdall.ErrNotFound) {
		_, err = d.cfg.Objects.Delete(ctx, object.DeleteRequest{Place: at(key), Always: true, Settle: settle})
		return err
	}
	if err != nil {
		return err
	}
	o, a, err := rowFrom(0, &i)
	if err != nil {
		return err
	}
	var body io.Reader = bytes.NewReader(nil)
	if i.Size > 0 {
		b, err := remote.Read.Get(ctx, source.GetRequest{Key: key, ETag: i.ETag, Length: i.Size})
		if err != nil {
			return err
		}
		defer b.Close()
		body = b
	}
	_, err = d.cfg.Objects.Put(ctx, object.PutRequest{Place: at(key), Body: body, Size: i.Size, Attributes: a, ETag: i.ETag, Modified: i.Modified,
		Settle: func(ctx context.Context) (object.Settled, error) {
			how, err := settle(ctx)
			how.Source = o.Source
			return how, err
		}})
	return err
}

// toSource copies a key from the cell, or its marker.
func toSource(ctx context.Context, d *Door, remote *Remote, newest *metadata.Object) (said mirror.Result, err error) {
	f, found, err := remote.Write.Head(ctx, newest.Key)
	if err != nil {
		return said, err
	}
	is := mirror.Expect{Known: true}
	if found {
		is.ETag = f.ETag
	}
	if newest.Marker {
		if found {
			said = remote.Write.Delete(ctx, newest.Key, is)
		}
		return said, said.Err
	}
	rd, err := d.cfg.Objects.Open(ctx, at(newest.Key), object.GetOptions{Version: newest.Version})
	if err != nil {
		return said, err
	}
	defer rd.Close()
	a := rd.Attributes
	a.SourceETag = ""
	tags, err := manifest.ParseTags(newest.Tags)
	if err != nil {
		return said, err
	}
	said = remote.Write.Put(ctx, mirror.Put{Key: newest.Key, Body: rd, Size: newest.Size, Attributes: a, Tags: tags, If: is})
	return said, said.Err
}

// repairAll repairs every entry of the outbox once.
func (r *rig) repairAll(ctx context.Context, d *Door) error {
	var all []error
	entries, err := r.cell.Store.Entries(r.bucket, "", 100)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := r.repair(ctx, d, e.Key); err != nil {
			all = append(all, fmt.Errorf("repair of %q: %w", e.Key, err))
		}
	}
	return errors.Join(all...)
}
