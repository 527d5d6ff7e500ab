package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/certificate"
	"github.com/holdall/holdall/migration/source"
)

// finding is what the comparison of one key came to.
type finding struct {
	leaf  *certificate.Leaf // nil: neither side has the key, or they differ
	what  string            // how they differ; "" = they do not
	bytes int64             // read at the source
}

// comparer reads both sides of a bucket and compares them.
type comparer struct {
	cfg   Config
	place place
	src   Source
}

// rereads is how often content that differs is read again before it is believed:
// bytes are spoiled on the way more often than on a disk.
const rereads = 4

// both is what the two sides say of a key at one time; nil = it has none.
type both struct {
	row  *metadata.Object
	info *source.Info
}

// look asks both sides.
func (c *comparer) look(ctx context.Context, key string) (b both, err error) {
	o, err := c.cfg.Names.Object(ctx, c.place.Bucket, key)
	switch {
	case errors.Is(err, metadata.ErrNoBucket):
		return b, fmt.Errorf("worker: the bucket is gone: %w", err)
	case err == nil && !o.Marker:
		b.row = &o
	case err != nil && !errors.Is(err, holdall.ErrNotFound):
		return b, err
	}
	info, err := c.src.Head(ctx, key, "", "")
	switch {
	case err == nil:
		b.info = &info
	case !errors.Is(err, holdall.ErrNotFound):
		return b, err
	}
	return b, nil
}

// one compares a key. errAgain: it is being written, or has just been.
func (c *comparer) one(ctx context.Context, key string) (f finding, err error) {
	seen, err := c.look(ctx, key)
	if err != nil {
		return f, err
	}
	content, last := holdall.BlockID{}, holdall.BlockID{}
	for try := 0; ; try++ {
		if f.what, err = c.differ(ctx, seen); err != nil {
			return f, err
		}
		if f.what == "" && seen.row != nil {
			var there holdall.BlockID
			content, there, err = c.read(ctx, seen)
			if err != nil {
				return f, err
			}
			f.bytes += seen.info.Size
			if content != there {
				f.what = fmt.Sprintf("the bytes differ: %v in the cell, %v at the source", content, there)
			}
			if f.what != "" && (there != last || try == 0) && try < rereads {
				last = there // not the same twice: not believed yet
				continue
			}
		}
		break
	}
	if f.what != "" {
		return f, c.settled(ctx, key, seen)
	}
	if seen.row != nil {
		f.leaf = &certificate.Leaf{Key: key, Version: seen.row.Version, Size: seen.row.Size, Content: content, ETag: seen.info.ETag,
			SourceVersion: seen.info.Version, Evidence: certificate.Verified, At: c.cfg.Now()}
	}
	return f, nil
}

// settled makes sure that a difference is one: nobody writes the key, it waits for
// no repair, and both sides still are what they were. errAgain if not.
func (c *comparer) settled(ctx context.Context, key string, seen both) error {
	for range 2 { // a write that ended between the look at the row and that at its intent shows in the second
		now, err := c.look(ctx, key)
		if err != nil {
			return err
		}
		if !sameBoth(now, seen) {
			return errAgain
		}
		if b, err := busy(c.cfg, c.place.Bucket, key); err != nil {
			return err
		} else if b {
			return errAgain
		}
	}
	return nil
}

func sameBoth(a, b both) bool {
	if (a.row == nil) != (b.row == nil) || (a.info == nil) != (b.info == nil) {
		return false
	}
	if a.row != nil && (a.row.Version != b.row.Version || string(a.row.Tags) != string(b.row.Tags)) {
		return false
	}
	return a.info == nil || a.info.ETag == b.info.ETag && a.info.Version == b.info.Version && a.info.Modified.Equal(b.info.Modified) && a.info.Size == b.info.Size
}

// differ compares all but the bytes.
func (c *comparer) differ(ctx context.Context, b both) (what string, err error) {
	switch {
	case b.row == nil && b.info == nil:
		return "", nil
	case b.row == nil:
		return "the source has it, the cell does not", nil
	case b.info == nil:
		return "the cell has it, the source does not", nil
	}
	var tags []source.Tag
	if b.info.Tags > 0 || len(b.row.Tags) > 0 {
		if tags, err = c.src.Tags(ctx, b.info.Key, b.info.Version); err != nil {
			if errors.Is(err, holdall.ErrNotFound) {
				return "", errAgain
			}
			return "", err
		}
	}
	return differences(b.row, b.info, tags)
}

// differences names the fields in which a row is not what the source says.
func differences(row *metadata.Object, info *source.Info, tags []source.Tag) (string, error) {
	a, err := manifest.ParseAttributes(row.Attributes)
	if err != nil {
		return "", err
	}
	have, err := manifest.ParseTags(row.Tags)
	if err != nil {
		return "", err
	}
	k := keep(info, tags, nil)
	var what []string
	field := func(name string, same bool) {
		if !same {
			what = append(what, name)
		}
	}
	field("size", row.Size == info.Size)
	// Where the cell decides it makes ETags of its own, and may not know yet which
	// one the source has made of the same bytes.
	unknown := row.Source.ETag == "" && row.Origin == metadata.OriginClient
	field("ETag", row.ETag == info.ETag || row.Source.ETag == info.ETag || unknown)
	field("Last-Modified", row.Source.Modified.IsZero() || sameSecond(row.Source.Modified, info.Modified))
	field("version id", row.Source.Version == info.Version || row.Source.Version == "")
	field("Content-Type", a.ContentType == k.attributes.ContentType || a.ContentType == "")
	field("Content-Encoding", a.ContentEncoding == k.attributes.ContentEncoding)
	field("Content-Disposition", a.ContentDisposition == k.attributes.ContentDisposition)
	field("Content-Language", a.ContentLanguage == k.attributes.ContentLanguage)
	field("Cache-Control", a.CacheControl == k.attributes.CacheControl)
	field("Expires", a.Expires == k.attributes.Expires)
	field("user metadata", slices.Equal(a.User, k.attributes.User))
	slices.SortFunc(k.tags, func(a, b manifest.Tag) int { return strings.Compare(a.Key, b.Key) })
	field("tags", slices.Equal(have, k.tags))
	if what == nil {
		return "", nil
	}
	return "differ in " + strings.Join(what, ", "), nil
}

// read reads both sides in full, at the same time, each pinned to what was seen.
func (c *comparer) read(ctx context.Context, b both) (cell, there holdall.BlockID, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type sum struct {
		id  holdall.BlockID
		err error
	}
	other := make(chan sum, 1)
	go func() {
		id, err := c.readSource(ctx, b.info)
		other <- sum{id, err}
	}()
	cell, err = c.readCell(ctx, b.row)
	if err != nil {
		cancel()
	}
	s := <-other
	if err == nil {
		err = s.err
	}
	if errors.Is(err, holdall.ErrCondition) || errors.Is(err, holdall.ErrNotFound) {
		err = errAgain // changed, or gone, since it was looked at
	}
	return cell, s.id, err
}

func (c *comparer) readSource(ctx context.Context, info *source.Info) (id holdall.BlockID, err error) {
	h := holdall.NewHasher()
	if info.Size == 0 {
		return h.ID(), nil
	}
	body, err := c.src.Get(ctx, source.GetRequest{Key: info.Key, Version: info.Version, ETag: info.ETag, Length: info.Size})
	if err != nil {
		return id, err
	}
	defer body.Close()
	_, err = io.Copy(h, body)
	return h.ID(), err
}

func (c *comparer) readCell(ctx context.Context, row *metadata.Object) (id holdall.BlockID, err error) {
	rd, err := c.cfg.Objects.Open(ctx, c.place.at(row.Key), object.GetOptions{Version: row.Version})
	if err != nil {
		return id, err
	}
	defer rd.Close()
	h := holdall.NewHasher()
	_, err = rd.WriteTo(h)
	return h.ID(), err
}
