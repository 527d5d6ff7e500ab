package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
)

// fakeObjects are objects in memory, with the words of the engine's errors.
type fakeObjects struct {
	pool   *buffer.Pool
	during chan struct{} // not nil: Put reads nothing until it is closed
	fail   error         // not nil: what Head answers
	cut    int           // bytes after which a body breaks off, once; 0 = never

	mu      sync.Mutex // guards all below
	buckets map[string]map[string][]fakeVersion
	next    holdall.Version
	reading int // puts under way
	bodies  int // that are not closed
}

type fakeVersion struct {
	row  metadata.Object
	data []byte
}

func newFakeObjects(pool *buffer.Pool) *fakeObjects {
	return &fakeObjects{pool: pool, buckets: map[string]map[string][]fakeVersion{"bucket": {}}}
}

func (f *fakeObjects) visible() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, keys := range f.buckets {
		n += len(keys)
	}
	return n
}

func (f *fakeObjects) underWay() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reading
}

func (f *fakeObjects) Put(ctx context.Context, r object.PutRequest) (metadata.Object, error) {
	f.mu.Lock()
	f.reading++
	during := f.during
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.reading--
		f.mu.Unlock()
	}()
	if during != nil {
		select {
		case <-during:
		case <-ctx.Done():
			return metadata.Object{}, fmt.Errorf("put: %w: %w", ctx.Err(), holdall.ErrUnavailable)
		}
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return metadata.Object{}, fmt.Errorf("read the body: %w", err)
	}
	if r.Size >= 0 && int64(len(data)) != r.Size {
		return metadata.Object{}, fmt.Errorf("%d bytes, %d announced: %w", len(data), r.Size, object.ErrShortBody)
	}
	done, err := r.Finish(object.Finished{Size: int64(len(data)), Attributes: r.Attributes})
	if err != nil {
		return metadata.Object{}, err
	}
	attributes, err := done.Attributes.Encode()
	if err != nil {
		return metadata.Object{}, err
	}
	tags, err := manifest.EncodeTags(r.Tags)
	if err != nil {
		return metadata.Object{}, err
	}
	return f.commit(&r, metadata.Object{
		Key: r.Key, Put: r.Put, Root: holdall.HashBlock(data), Size: int64(len(data)), Modified: time.Unix(100, 0).UTC(), ETag: "etag",
		Attributes: attributes, Tags: tags, Committed: time.Unix(200, 0).UTC(),
	}, data)
}

func (f *fakeObjects) commit(r *object.PutRequest, row metadata.Object, data []byte) (metadata.Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys, ok := f.buckets[r.Bucket]
	if !ok {
		return metadata.Object{}, object.ErrNoBucket
	}
	if n := len(keys[r.Key]); n > 0 {
		switch last := keys[r.Key][n-1].row; {
		case last.Put == row.Put && row.Put != (holdall.PutID{}):
			return last, nil
		case r.If.Absent && !last.Marker:
			return metadata.Object{}, holdall.ErrCondition
		}
	}
	f.next++
	row.Version = f.next
	keys[r.Key] = append(keys[r.Key], fakeVersion{row, data})
	return row, nil
}

func (f *fakeObjects) find(at object.Place, version holdall.Version) (fakeVersion, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys, ok := f.buckets[at.Bucket]
	list := keys[at.Key]
	switch {
	case f.fail != nil:
		return fakeVersion{}, f.fail
	case !ok:
		return fakeVersion{}, object.ErrNoBucket
	case len(list) == 0:
		return fakeVersion{}, object.ErrNoKey
	case version == 0 && list[len(list)-1].row.Marker:
		return fakeVersion{}, object.ErrMarked
	case version == 0:
		return list[len(list)-1], nil
	}
	for _, v := range list {
		if v.row.Version == version && !v.row.Marker {
			return v, nil
		}
	}
	return fakeVersion{}, object.ErrNoVersion
}

func (f *fakeObjects) Open(_ context.Context, at object.Place, o object.GetOptions) (Opened, error) {
	v, err := f.find(at, o.Version)
	if err != nil {
		return Opened{}, err
	}
	off, size := o.Range.Offset, int64(len(v.data))
	if off < 0 {
		off = max(0, size+off)
	}
	if off > size || off == size && o.Range != (object.Range{}) {
		return Opened{}, object.ErrRange
	}
	n := size - off
	if o.Range.Length > 0 {
		n = min(n, o.Range.Length)
	}
	b := &fakeBody{pool: f.pool, rest: v.data[off : off+n], close: func() { f.opened(-1) }}
	f.opened(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut > 0 {
		b.rest, b.cut, f.cut = b.rest[:min(f.cut, len(b.rest))], true, 0
	}
	return Opened{Object: v.row, Offset: off, Length: n, Body: b}, nil
}

func (f *fakeObjects) opened(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bodies += n
}

func (f *fakeObjects) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bodies
}

type fakeBody struct {
	pool  *buffer.Pool
	rest  []byte
	cut   bool
	close func()
}

func (b *fakeBody) Next() (buffer.View, error) {
	if len(b.rest) == 0 {
		if b.cut {
			return buffer.View{}, fmt.Errorf("the disk went away: %w", holdall.ErrUnavailable)
		}
		return buffer.View{}, io.EOF
	}
	buf := b.pool.Take(min(len(b.rest), holdall.MaxBlockSize))
	n := copy(buf.Bytes(), b.rest)
	b.rest = b.rest[n:]
	return buffer.View{Buffer: buf, Data: buf.Bytes()}, nil
}

func (b *fakeBody) Close() error {
	b.close()
	return nil
}

func (f *fakeObjects) Head(_ context.Context, at object.Place, version holdall.Version) (metadata.Object, error) {
	v, err := f.find(at, version)
	return v.row, err
}

func (f *fakeObjects) List(_ context.Context, _ holdall.NamespaceID, bucket string, q metadata.ListQuery) (p metadata.ListPage, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys, ok := f.buckets[bucket]
	if !ok {
		return p, object.ErrNoBucket
	}
	var names []string
	for key := range keys {
		names = append(names, key)
	}
	slices.Sort(names)
	for _, key := range names {
		last := keys[key][len(keys[key])-1].row
		if key <= q.After || !strings.HasPrefix(key, q.Prefix) || last.Marker {
			continue
		}
		entry := key
		if i := strings.Index(key[len(q.Prefix):], q.Delimiter); q.Delimiter != "" && i >= 0 {
			entry = key[:len(q.Prefix)+i+len(q.Delimiter)]
		}
		if entry == p.Last || entry <= q.After {
			continue
		}
		if len(p.Objects)+len(p.Prefixes) == q.Limit {
			p.More = true
			break
		}
		if p.Last = entry; entry != key {
			p.Prefixes = append(p.Prefixes, entry)
		} else {
			p.Objects, p.LastVer = append(p.Objects, last), last.Version
		}
	}
	return p, nil
}

func (f *fakeObjects) Delete(_ context.Context, r object.DeleteRequest) (metadata.Object, error) {
	if _, err := f.find(r.Place, 0); err != nil {
		if errors.Is(err, object.ErrNoBucket) {
			return metadata.Object{}, err
		}
		return metadata.Object{}, nil
	}
	put := object.PutRequest{Place: r.Place}
	return f.commit(&put, metadata.Object{Key: r.Key, Put: r.Put, Marker: true, Committed: time.Unix(300, 0).UTC()}, nil)
}

func (f *fakeObjects) Undelete(_ context.Context, at object.Place) (metadata.Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.buckets[at.Bucket][at.Key]
	switch {
	case len(list) == 0:
		return metadata.Object{}, object.ErrNoKey
	case !list[len(list)-1].row.Marker:
		return metadata.Object{}, holdall.ErrExists
	}
	f.buckets[at.Bucket][at.Key] = list[:len(list)-1]
	return list[len(list)-2].row, nil
}

func (f *fakeObjects) Copy(_ context.Context, r object.CopyRequest) (metadata.Object, error) {
	v, err := f.find(r.From, r.Version)
	if err != nil {
		return metadata.Object{}, err
	}
	if r.Check != nil {
		if err := r.Check(v.row); err != nil {
			return metadata.Object{}, err
		}
	}
	row := v.row
	row.Key, row.Put = r.Key, r.Put
	if r.Attributes != nil {
		if row.Attributes, err = r.Attributes.Encode(); err != nil {
			return metadata.Object{}, err
		}
	}
	if r.Tags != nil {
		if row.Tags, err = manifest.EncodeTags(*r.Tags); err != nil {
			return metadata.Object{}, err
		}
	}
	put := object.PutRequest{Place: r.Place, If: r.If}
	return f.commit(&put, row, v.data)
}

func (f *fakeObjects) SetTags(_ context.Context, at object.Place, version holdall.Version, tags []manifest.Tag) (metadata.Object, error) {
	v, err := f.find(at, version)
	if err == nil {
		v.row.Tags, err = manifest.EncodeTags(tags)
	}
	if err != nil {
		return metadata.Object{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.buckets[at.Bucket][at.Key]
	for i := range list {
		if list[i].row.Version == v.row.Version {
			list[i] = v
		}
	}
	return v.row, nil
}

func (f *fakeObjects) CreateBucket(_ context.Context, _ holdall.NamespaceID, name string) (metadata.Bucket, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.buckets[name] != nil {
		return metadata.Bucket{}, fmt.Errorf("bucket %s: %w", name, holdall.ErrExists)
	}
	f.buckets[name] = map[string][]fakeVersion{}
	return aBucket(name), nil
}

func aBucket(name string) metadata.Bucket {
	return metadata.Bucket{ID: 9, Name: name, Created: time.Unix(7, 0).UTC(), Objects: 1, Bytes: 2, Versions: 3, Uploads: 4}
}

func (f *fakeObjects) RemoveBucket(_ context.Context, _ holdall.NamespaceID, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch keys, ok := f.buckets[name]; {
	case !ok:
		return object.ErrNoBucket
	case len(keys) > 0:
		return object.ErrNotEmpty
	}
	delete(f.buckets, name)
	return nil
}

func (f *fakeObjects) ListBuckets(_ context.Context, _ holdall.NamespaceID, after string, limit int) (out []metadata.Bucket, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.buckets {
		if name > after {
			out = append(out, aBucket(name))
		}
	}
	slices.SortFunc(out, func(a, b metadata.Bucket) int { return strings.Compare(a.Name, b.Name) })
	return out[:min(limit, len(out))], nil
}

// fakeNamespaces is the table of namespaces, and of credentials.
type fakeNamespaces struct {
	mu    sync.Mutex // guards all below
	names []client.Namespace
	keys  []client.Credential
}

const aSecret = "the secret that is said once"

func (f *fakeNamespaces) index(name string) (int, error) {
	i := slices.IndexFunc(f.names, func(n client.Namespace) bool { return n.Name == name })
	if i < 0 {
		return i, fmt.Errorf("namespace %q: %w", name, holdall.ErrNotFound)
	}
	return i, nil
}

func (f *fakeNamespaces) CreateNamespace(_ context.Context, name string, retention *time.Duration, quota int64) (client.Namespace, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.index(name); err == nil {
		return client.Namespace{}, fmt.Errorf("namespace %q: %w", name, holdall.ErrExists)
	}
	n := client.Namespace{Name: name, ID: 9, RetentionSeconds: 7 * 86400, Quota: quota, Blocks: 1, Bytes: 2, Buckets: 3, Credentials: 4}
	if retention != nil {
		n.RetentionSeconds = retention.Seconds()
	}
	f.names = append(f.names, n)
	slices.SortFunc(f.names, func(a, b client.Namespace) int { return strings.Compare(a.Name, b.Name) })
	return n, nil
}

func (f *fakeNamespaces) ListNamespaces(_ context.Context, after string, limit int) (out []client.Namespace, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.names {
		if n.Name > after && len(out) < limit {
			out = append(out, n)
		}
	}
	return out, nil
}

func (f *fakeNamespaces) ShowNamespace(_ context.Context, name string) (client.Namespace, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.index(name)
	if err != nil {
		return client.Namespace{}, err
	}
	return f.names[i], nil
}

func (f *fakeNamespaces) SetNamespace(_ context.Context, name string, retention *time.Duration, quota *int64) (client.Namespace, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.index(name)
	if err != nil {
		return client.Namespace{}, err
	}
	if retention != nil {
		f.names[i].RetentionSeconds = retention.Seconds()
	}
	if quota != nil {
		f.names[i].Quota = *quota
	}
	return f.names[i], nil
}

func (f *fakeNamespaces) RemoveNamespace(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.index(name)
	if err == nil {
		f.names = slices.Delete(f.names, i, i+1)
	}
	return err
}

func (f *fakeNamespaces) CreateCredential(_ context.Context, namespace, note string) (client.Credential, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := client.Credential{AccessKey: fmt.Sprintf("HOLD%05d", len(f.keys)), Namespace: namespace, Created: time.Unix(5, 0).UTC(), Note: note}
	f.keys = append(f.keys, c)
	return c, aSecret, nil
}

func (f *fakeNamespaces) ListCredentials(_ context.Context, namespace, after string, limit int) (out []client.Credential, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.keys {
		if c.Namespace == namespace && c.AccessKey > after && len(out) < limit {
			out = append(out, c)
		}
	}
	return out, nil
}

func (f *fakeNamespaces) RemoveCredential(_ context.Context, namespace, accessKey string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.keys, func(c client.Credential) bool { return c.Namespace == namespace && c.AccessKey == accessKey })
	if i < 0 {
		return fmt.Errorf("access key %s: %w", accessKey, holdall.ErrNotFound)
	}
	f.keys = slices.Delete(f.keys, i, i+1)
	return nil
}

// same says whether two bodies are equal, in words that fit a test's output.
func same(got, want []byte) string {
	if bytes.Equal(got, want) {
		return ""
	}
	return fmt.Sprintf("got %d bytes, want %d, or others", len(got), len(want))
}
