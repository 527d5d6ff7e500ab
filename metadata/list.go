package metadata

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// maxListBytes bounds the rows of a page, which have attributes and tags.
const maxListBytes = 4 << 20

// listRowCost is what a row of a page is counted as beside its texts.
const listRowCost = 256

// listCheck is after how many steps a listing looks whether it is still wanted.
const listCheck = 1024

func (q *ListQuery) check() error {
	if q.Limit < 0 || q.Limit > holdall.MaxListPage || q.Versions && q.Delimiter != "" || q.AfterVer != 0 && (!q.Versions || q.After == "") {
		return fmt.Errorf("metadata: listing of %d entries (versions: %t, delimiter %.80q, after version %d): want 0 to %d, and versions without a delimiter: %w",
			q.Limit, q.Versions, q.Delimiter, q.AfterVer, holdall.MaxListPage, holdall.ErrInvalid)
	}
	return nil
}

// A lister makes one page of a listing. It walks the rows of a bucket with one
// iterator, and seeks over what cannot be in the page: the older versions of a
// key, and what a common prefix stands for.
type lister struct {
	q     *ListQuery
	it    *pebble.Iterator
	key   []byte // scratch
	page  ListPage
	bytes int
}

// list returns a page of r.
func list(ctx context.Context, r pebble.Reader, q *ListQuery) (page ListPage, err error) {
	if err := q.check(); err != nil {
		return page, err
	}
	whole := putBigBucket(nil, q.Bucket)
	lower := appendKeyPrefix(whole, q.Prefix)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: after(lower)})
	if err != nil {
		return page, readError(lower, err)
	}
	l := &lister{q: q, it: it}
	err = l.run(ctx)
	if rerr := it.Error(); rerr != nil {
		err = errors.Join(err, readError(lower, rerr))
	}
	if cerr := it.Close(); cerr != nil && err == nil {
		err = readError(lower, cerr)
	}
	if err != nil {
		return ListPage{}, err
	}
	return l.page, nil
}

// putBigBucket appends what all rows of a bucket's objects begin with.
func putBigBucket(dst []byte, b holdall.BucketID) []byte {
	return putBig64(append(dst, prefixObject), uint64(b))
}

// begin goes to the first row that can be in the page.
func (l *lister) begin() bool {
	if l.q.After == "" {
		return l.it.First()
	}
	if l.q.AfterVer != 0 {
		l.key = append(appendObjectKey(l.key[:0], &ObjectKey{l.q.Bucket, l.q.After, l.q.AfterVer}), 0)
		return l.it.SeekGE(l.key)
	}
	return l.skipKey(l.q.After)
}

// skipKey goes to the first row above all those of a key.
func (l *lister) skipKey(key string) bool {
	l.key = appendKeyRows(l.key[:0], l.q.Bucket, key)
	l.key[len(l.key)-1] = 1 // 00 01 is above the end of the key, 00 00, and below a zero byte in it, 00 FF
	return l.it.SeekGE(l.key)
}

// skipPrefix goes to the first row above all those of keys with a prefix.
func (l *lister) skipPrefix(prefix string) bool {
	l.key = appendKeyPrefix(putBigBucket(l.key[:0], l.q.Bucket), prefix)
	next := after(l.key)
	return l.it.SeekGE(next)
}

// nextKey goes from a row to the first row of the next key. Most keys have one
// row, so a step is tried before a seek.
func (l *lister) nextKey() bool {
	own := l.it.Key()
	l.key = append(l.key[:0], own[:len(own)-8]...)
	if !l.it.Next() {
		return false
	}
	if next := l.it.Key(); len(next) != len(l.key)+8 || string(next[:len(l.key)]) != string(l.key) {
		return true
	}
	l.key[len(l.key)-1] = 1
	return l.it.SeekGE(l.key)
}

func (l *lister) run(ctx context.Context) error {
	steps := 0
	for ok := l.begin(); ok; {
		if steps++; steps%listCheck == 0 && ctx.Err() != nil {
			return fmt.Errorf("metadata: listing: %w: %w", context.Cause(ctx), holdall.ErrUnavailable)
		}
		v, err := l.it.ValueAndErr()
		if err != nil {
			return readError(l.it.Key(), err)
		}
		o, err := decodeObject(row{l.it.Key(), v})
		if err != nil {
			return err
		}
		if l.q.Versions {
			if ok = l.add(&o); ok {
				ok = l.it.Next()
			}
			continue
		}
		common, rolled := l.common(o.Key)
		switch {
		case rolled && common <= l.q.After:
			ok = l.skipPrefix(common)
		case o.Marker:
			ok = l.nextKey()
		case rolled:
			if ok = l.addPrefix(common); ok {
				ok = l.skipPrefix(common)
			}
		default:
			if ok = l.add(&o); ok {
				ok = l.nextKey()
			}
		}
	}
	return nil
}

// common returns the common prefix that stands for a key, or false.
func (l *lister) common(key string) (string, bool) {
	if l.q.Delimiter == "" {
		return "", false
	}
	n := strings.Index(key[len(l.q.Prefix):], l.q.Delimiter)
	if n < 0 {
		return "", false
	}
	return key[:len(l.q.Prefix)+n+len(l.q.Delimiter)], true
}

// room says whether the page takes one more entry.
func (l *lister) room(bytes int) bool {
	limit := l.q.Limit
	if limit == 0 {
		limit = holdall.MaxListPage
	}
	n := len(l.page.Objects) + len(l.page.Prefixes)
	if n == limit || n > 0 && l.bytes+bytes > maxListBytes {
		l.page.More = true
		return false
	}
	l.bytes += bytes
	return true
}

func (l *lister) add(o *Object) bool {
	if !l.room(listRowCost + len(o.Key) + len(o.Attributes) + len(o.Tags)) {
		return false
	}
	l.page.Objects = append(l.page.Objects, *o)
	l.page.Last, l.page.LastVer = o.Key, o.Version
	return true
}

func (l *lister) addPrefix(common string) bool {
	if !l.room(listRowCost + len(common)) {
		return false
	}
	l.page.Prefixes = append(l.page.Prefixes, common)
	l.page.Last, l.page.LastVer = common, 0
	return true
}
