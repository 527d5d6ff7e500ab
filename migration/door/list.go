package door

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/source"
)

// List returns a page of a bucket's listing: the source's until the flip, then the
// cell's, to which flipped adds the source's keys of which the cell has no record.
// A listing of versions is the cell's. Errors are those of object.Objects, and
// ErrRefused.
func (d *Door) List(ctx context.Context, ns holdall.NamespaceID, bucket string, q metadata.ListQuery) (page metadata.ListPage, err error) {
	if q.Limit == 0 {
		q.Limit = holdall.MaxListPage
	}
	err = d.reading(ctx, ns, bucket, func(c *call) error {
		if c == nil || q.Versions {
			page, err = d.listCell(ctx, ns, bucket, q)
		} else {
			page, err = c.list(ctx, &q)
		}
		return err
	})
	return page, err
}

// list returns a page as the states of the migration have it.
func (c *call) list(ctx context.Context, q *metadata.ListQuery) (page metadata.ListPage, err error) {
	// Before the page is read: what settles meanwhile is in it.
	moving, err := c.moving(q, func(key string) bool { return !strings.HasPrefix(key, q.Prefix) && key > q.Prefix })
	if err != nil {
		return metadata.ListPage{}, err
	}
	if c.m.State.CellDecides() {
		page, err = c.d.listCell(ctx, c.m.Namespace, c.name, *q)
	} else {
		page, err = c.listSource(ctx, q)
	}
	if err == nil && c.m.State == metadata.StateFlipped {
		page, err = c.merge(ctx, q, page)
	}
	for _, key := range moving {
		if err == nil {
			err = c.correct(ctx, object.Place{Namespace: c.m.Namespace, Bucket: c.name, Key: key}, q, &page)
		}
	}
	return page, err
}

func (d *Door) listCell(ctx context.Context, ns holdall.NamespaceID, bucket string, q metadata.ListQuery) (metadata.ListPage, error) {
	page, err := d.cfg.Objects.List(ctx, ns, bucket, q)
	for i := range page.Objects {
		page.Objects[i] = shown(page.Objects[i])
	}
	return page, err
}

// moving returns the keys of a listing that are still read where they were before
// a step: a write that began before it is under way, or was left behind.
func (c *call) moving(q *metadata.ListQuery, last func(key string) bool) (keys []string, err error) {
	from := max(q.After, before(q.Prefix))
	for after, more := from, true; more; {
		page, err := c.d.cfg.Intents.Intents(c.id, after, holdall.MaxListPage)
		if err != nil {
			return nil, err
		}
		more = len(page) == holdall.MaxListPage
		for i := range page {
			if after = page[i].Key; page[i].Straddles(&c.m) {
				keys = append(keys, after)
			}
		}
		more = more && !last(after)
	}
	pages := 0
	for after, more := from, c.m.State.CellDecides(); more; pages++ {
		page, err := c.d.cfg.Names.Entries(c.id, after, holdall.MaxListPage)
		if err != nil {
			return nil, err
		}
		more = len(page) == holdall.MaxListPage
		for i := range page {
			if after = page[i].Key; page[i].Missed == metadata.SideCell {
				keys = append(keys, after)
			}
		}
		more = more && !last(after) && pages < maxOutboxPages
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// maxOutboxPages bounds what of the outbox a listing looks through, in pages of
// 1,000 keys, for those that a door left behind which died in a flip: in cut-over
// every write leaves an entry, and of these there are few, for a minute.
const maxOutboxPages = 16

// before is below every key that begins with a prefix, and above what is below all
// of them but its own beginnings.
func before(prefix string) string {
	if prefix == "" {
		return ""
	}
	return prefix[:len(prefix)-1]
}

// correct makes a page say of a key what a read of it says.
func (c *call) correct(ctx context.Context, at object.Place, q *metadata.ListQuery, page *metadata.ListPage) error {
	if _, rolled := prefixOf(q, at.Key); rolled || at.Key <= q.After || !strings.HasPrefix(at.Key, q.Prefix) || page.More && at.Key > page.Last {
		return nil
	}
	o, _, err := c.head(ctx, at)
	gone := errors.Is(err, object.ErrNoKey)
	if err != nil && !gone {
		return err
	}
	i, found := slices.BinarySearchFunc(page.Objects, at.Key, func(o metadata.Object, key string) int { return strings.Compare(o.Key, key) })
	switch {
	case found && gone:
		page.Objects = slices.Delete(page.Objects, i, i+1)
	case found:
		page.Objects[i] = o
	case !gone:
		page.Objects = slices.Insert(page.Objects, i, o) // one more than was asked for, if the page is full: then it is cut
	}
	cut(q, page)
	return nil
}

// cut takes from a page what is over its limit.
func cut(q *metadata.ListQuery, page *metadata.ListPage) {
	for len(page.Objects)+len(page.Prefixes) > q.Limit {
		o, p := len(page.Objects), len(page.Prefixes)
		if p == 0 || o > 0 && page.Objects[o-1].Key > page.Prefixes[p-1] {
			page.Objects = page.Objects[:o-1]
		} else {
			page.Prefixes = page.Prefixes[:p-1]
		}
		page.More, page.Last = true, lastOf(page)
	}
}

// listSource returns a page of the source's.
func (c *call) listSource(ctx context.Context, q *metadata.ListQuery) (page metadata.ListPage, err error) {
	from := q.After
	if rolled, ok := prefixOf(q, q.After); ok && rolled == q.After {
		from = beyond(rolled) // all below it was shown as one
	}
	for {
		p, err := c.at.Read.List(ctx, source.ListRequest{Prefix: q.Prefix, Delimiter: q.Delimiter, After: source.Position{Key: from}, Most: q.Limit})
		if err != nil {
			return metadata.ListPage{}, readError(err)
		}
		for i := range p.Entries {
			o, err := c.listed(&p.Entries[i])
			if err != nil {
				return metadata.ListPage{}, err
			}
			page.Objects = append(page.Objects, o)
		}
		for _, prefix := range p.Prefixes {
			if prefix > q.After { // some servers roll up what lies behind After
				page.Prefixes = append(page.Prefixes, prefix)
			}
		}
		page.More, from = p.More, p.Next.Key
		if !page.More || len(page.Objects)+len(page.Prefixes) > 0 {
			page.Last = lastOf(&page)
			return page, nil
		}
	}
}

// listed is an entry of the source's listing as a row.
func (c *call) listed(e *source.Entry) (metadata.Object, error) {
	o := metadata.Object{Bucket: c.id, Key: e.Key, Size: e.Size, Modified: e.Modified, ETag: e.ETag}
	if e.Class == "" || e.Class == "STANDARD" {
		return o, nil
	}
	var err error
	if o.Attributes, err = (&manifest.Attributes{StorageClass: e.Class}).Encode(); err != nil {
		err = fmt.Errorf("door: what the source says of %.80q: %w", e.Key, err)
	}
	return o, err
}

// prefixOf returns the common prefix that a listing shows a key as.
func prefixOf(q *metadata.ListQuery, key string) (string, bool) {
	if q.Delimiter == "" || !strings.HasPrefix(key, q.Prefix) {
		return "", false
	}
	i := strings.Index(key[len(q.Prefix):], q.Delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(q.Prefix)+i+len(q.Delimiter)], true
}

// beyond is above every key that begins with a prefix, and below all others that
// are above it: the source's keys are text.
func beyond(prefix string) string { return prefix + string(rune(0x10ffff)) }

func lastOf(p *metadata.ListPage) (last string) {
	if n := len(p.Objects); n > 0 {
		last = p.Objects[n-1].Key
	}
	if n := len(p.Prefixes); n > 0 {
		last = max(last, p.Prefixes[n-1])
	}
	return last
}

// merge adds to a page of the cell's what only the source knows. There should be
// nothing: without the source the cell's page stands.
func (c *call) merge(ctx context.Context, q *metadata.ListQuery, cell metadata.ListPage) (metadata.ListPage, error) {
	other, err := c.listSource(ctx, q)
	if err != nil {
		c.d.metrics.skipped.Inc()
		c.d.log.Warn("migration: a listing could not ask the source for keys that the cell has never heard of", "bucket", c.id, "err", err)
		return cell, nil
	}
	end := func(p *metadata.ListPage, name string) bool { return !p.More || name <= p.Last }
	var out metadata.ListPage
	for _, o := range other.Objects {
		if !end(&cell, o.Key) {
			break
		}
		if has(cell.Objects, o.Key) {
			continue
		}
		unknown, err := c.unrecorded(ctx, o.Key)
		if err != nil {
			return metadata.ListPage{}, err
		}
		if unknown {
			out.Objects = append(out.Objects, o)
		}
	}
	for _, p := range other.Prefixes {
		if !end(&cell, p) {
			break
		}
		if slices.Contains(cell.Prefixes, p) {
			continue
		}
		if unknown, err := c.unrecordedBelow(ctx, p); err != nil {
			return metadata.ListPage{}, err
		} else if unknown {
			out.Prefixes = append(out.Prefixes, p)
		}
	}
	if len(out.Objects)+len(out.Prefixes) == 0 && (!other.More || cell.More && cell.Last <= other.Last) {
		return cell, nil
	}
	return joined(q, cell, out, &other), nil
}

// joined puts two pages together, as far as both of them reach.
func joined(q *metadata.ListQuery, cell, extra metadata.ListPage, other *metadata.ListPage) metadata.ListPage {
	reach := func(name string) bool {
		return (!cell.More || name <= cell.Last) && (!other.More || name <= other.Last)
	}
	out := metadata.ListPage{More: cell.More || other.More}
	for _, o := range append(slices.Clone(cell.Objects), extra.Objects...) {
		if reach(o.Key) {
			out.Objects = append(out.Objects, o)
		} else {
			out.More = true
		}
	}
	for _, p := range append(slices.Clone(cell.Prefixes), extra.Prefixes...) {
		if reach(p) {
			out.Prefixes = append(out.Prefixes, p)
		} else {
			out.More = true
		}
	}
	slices.SortFunc(out.Objects, func(a, b metadata.Object) int { return strings.Compare(a.Key, b.Key) })
	slices.Sort(out.Prefixes)
	cut(q, &out)
	out.Last = lastOf(&out)
	if len(out.Objects)+len(out.Prefixes) == 0 && out.More { // what both reach is nothing: go on behind it
		out.Last = min(reachOf(&cell), reachOf(other))
	}
	return out
}

// reachOf is the last name that a page speaks for.
func reachOf(p *metadata.ListPage) string {
	if !p.More {
		return beyond("")
	}
	return p.Last
}

func has(objects []metadata.Object, key string) bool {
	_, found := slices.BinarySearchFunc(objects, key, func(o metadata.Object, key string) int { return strings.Compare(o.Key, key) })
	return found
}

// unrecorded says whether the cell has neither a version nor a marker of a key.
func (c *call) unrecorded(ctx context.Context, key string) (bool, error) {
	_, err := c.d.cfg.Names.Object(ctx, c.id, key)
	if errors.Is(err, holdall.ErrNotFound) {
		return true, nil
	}
	return false, err
}

// unrecordedBelow says whether one of the first keys below a prefix is unrecorded.
func (c *call) unrecordedBelow(ctx context.Context, prefix string) (bool, error) {
	p, err := c.at.Read.List(ctx, source.ListRequest{Prefix: prefix, Most: holdall.MaxListPage})
	if err != nil {
		return false, readError(err)
	}
	for i := range p.Entries {
		if unknown, err := c.unrecorded(ctx, p.Entries[i].Key); unknown || err != nil {
			return unknown, err
		}
	}
	return false, nil
}
