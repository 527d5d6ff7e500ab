package client

import (
	"context"
	"fmt"
	"iter"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// ListOptions say which part of a bucket's listing is wanted. The zero
// ListOptions list every key.
type ListOptions struct {
	Prefix    string // only keys that begin with it
	Delimiter string // keys that have it after Prefix are rolled up into one common prefix; "" = none are
	After     string // only keys and common prefixes above it
	Versions  bool   // every version, newest first within a key, delete markers too; Delimiter must be empty

	// AfterVersion, of a listing of versions, begins within the key After: with
	// what is older than this version of it.
	AfterVersion holdall.Version
	Limit        int // of a page, 1 to holdall.MaxListPage; 0 = that
}

// ObjectPage is one page of a listing.
type ObjectPage struct {
	Objects  []Object // without attributes and tags
	Prefixes []string // common prefixes
	More     bool     // there is more: ask after Last, LastVersion

	Last        string
	LastVersion holdall.Version // of listings of versions
}

// ListPage returns one page of a bucket's listing, in the order of the keys'
// bytes. A page may be shorter than its limit and have More set.
func (c *Client) ListPage(ctx context.Context, bucket string, o ListOptions) (*ObjectPage, error) {
	if o.Limit < 0 || o.Limit > holdall.MaxListPage {
		return nil, fmt.Errorf("list: page of %d entries, want 1 to %d: %w", o.Limit, holdall.MaxListPage, holdall.ErrInvalid)
	}
	in := holdallv1.ListObjectsRequest{
		Namespace: c.options.Namespace, Bucket: bucket, Prefix: []byte(o.Prefix), Delimiter: []byte(o.Delimiter),
		After: []byte(o.After), AfterVersion: uint64(o.AfterVersion), Limit: uint32(o.Limit), Versions: o.Versions,
	}
	var out holdallv1.ListObjectsResponse
	if err := c.ask(ctx, holdallv1.ObjectService_List_FullMethodName, &in, &out); err != nil {
		return nil, err
	}
	p := &ObjectPage{More: out.More, Last: string(out.Last), LastVersion: holdall.Version(out.LastVersion)}
	for _, m := range out.Objects {
		f, err := objectFacts(m)
		if err != nil {
			return nil, err
		}
		p.Objects = append(p.Objects, *f)
	}
	for _, prefix := range out.Prefixes {
		p.Prefixes = append(p.Prefixes, string(prefix))
	}
	// Versions of a key fall.
	on := p.Last > o.After || o.AfterVersion != 0 && p.Last == o.After && p.LastVersion < o.AfterVersion
	if p.More && !on {
		return nil, fmt.Errorf("list of %s after %.80q: %w", bucket, o.After, errNoProgress)
	}
	return p, nil
}

// Listed is an entry of a listing: an object, or a common prefix.
type Listed struct {
	Object *Object // nil: it is a prefix
	Prefix string
}

// ListObjects returns a bucket's listing, in the order of the bytes of keys and
// common prefixes, page after page as it is asked for more. It ends with the
// first error.
func (c *Client) ListObjects(ctx context.Context, bucket string, o ListOptions) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		for {
			p, err := c.ListPage(ctx, bucket, o)
			if err != nil {
				yield(Listed{}, err)
				return
			}
			if !p.each(yield) || !p.More {
				return
			}
			o.After = p.Last
			if o.Versions {
				o.AfterVersion = p.LastVersion
			}
		}
	}
}

// each yields objects and prefixes in one order.
func (p *ObjectPage) each(yield func(Listed, error) bool) bool {
	prefixes := p.Prefixes
	for i := range p.Objects {
		for len(prefixes) > 0 && prefixes[0] < p.Objects[i].Key {
			if !yield(Listed{Prefix: prefixes[0]}, nil) {
				return false
			}
			prefixes = prefixes[1:]
		}
		if !yield(Listed{Object: &p.Objects[i]}, nil) {
			return false
		}
	}
	for _, prefix := range prefixes {
		if !yield(Listed{Prefix: prefix}, nil) {
			return false
		}
	}
	return true
}
