package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

// everyByte is a key with every value that a byte can have.
func everyByte() string {
	var b [256]byte
	for i := range b {
		b[i] = byte(i)
	}
	return string(b[:])
}

func (f *front) put(c *client.Client, key string, data []byte) *client.Object {
	f.t.Helper()
	o, err := c.PutObject(f.ctx(), "bucket", key, bytes.NewReader(data), client.PutObjectOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	return o
}

func TestObjectsComeBackAsTheyWerePut(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	key := everyByte()
	for _, n := range []int{0, 1, 1000, 256 << 10, 256<<10 + 1, 4 << 20, 9<<20 + 7} {
		data := block(n, 3)
		for name, body := range map[string]io.Reader{"seekable": bytes.NewReader(data), "plain": io.MultiReader(bytes.NewReader(data))} {
			put, err := c.PutObject(ctx, "bucket", key, body, client.PutObjectOptions{})
			if err != nil || put.Size != int64(n) || put.Key != key || put.Version == 0 || put.Root != holdall.HashBlock(data) {
				t.Fatalf("%s, %d bytes: %+v, %v", name, n, put, err)
			}
		}
		r, err := c.OpenObject(ctx, "bucket", key, client.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if bad := same(got, data); err != nil || bad != "" || r.Verified() != "CRC32C" || r.Length != int64(n) {
			t.Errorf("%d bytes: %v, %s, verified %q", n, err, bad, r.Verified())
		}
		r.Close()
		if _, err := r.Read(make([]byte, 1)); n > 0 && err == nil {
			t.Error("a closed reader reads")
		}
	}
}

func TestRangesOfObjects(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	data := block(5<<20, 4)
	put := f.put(c, "k", data)
	for _, r := range []struct{ off, n, from, to int64 }{
		{0, 1, 0, 1}, {100, 0, 100, 5 << 20}, {-7, 0, 5<<20 - 7, 5 << 20}, {-1 << 30, 5, 0, 5}, {4<<20 - 1, 2, 4<<20 - 1, 4<<20 + 1}, {5<<20 - 1, 1 << 40, 5<<20 - 1, 5 << 20},
	} {
		got, err := c.OpenObject(ctx, "bucket", "k", client.GetObjectOptions{Version: put.Version, Offset: r.off, Length: r.n})
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		var out bytes.Buffer
		if n, err := got.WriteTo(&out); err != nil || n != r.to-r.from || got.Offset != r.from || got.Verified() != "" {
			t.Errorf("%+v: %d bytes at %d, verified %q, %v", r, n, got.Offset, got.Verified(), err)
		}
		if bad := same(out.Bytes(), data[r.from:r.to]); bad != "" {
			t.Errorf("%+v: %s", r, bad)
		}
		got.Close()
	}
	for _, o := range []client.GetObjectOptions{{Offset: 5 << 20}, {Offset: 1 << 60}, {Length: -1}} {
		if _, err := c.OpenObject(ctx, "bucket", "k", o); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("%+v: %v, want invalid", o, err)
		}
	}
	if _, err := c.OpenObject(ctx, "bucket", "k", client.GetObjectOptions{Version: 999}); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("no such version: %v", err)
	}
}

// Every fact of an object crosses the wire, both ways.
func TestFactsOfObjectsCrossTheWire(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	a := client.Attributes{
		ContentType: "text/plain", ContentEncoding: "gzip", ContentDisposition: "inline", ContentLanguage: "de", CacheControl: "no-store",
		Expires: "never", StorageClass: "STANDARD", Metadata: map[string]string{"colour": "r\xf6t", "empty": ""},
	}
	tags := map[string]string{"team": "blau", "n": ""}
	put, err := c.PutObject(ctx, "bucket", "k\xff", strings.NewReader("abc"), client.PutObjectOptions{Attributes: a, Tags: tags})
	if err != nil {
		t.Fatal(err)
	}
	a.Checksums = []client.Checksum{{Algorithm: "CRC32C", Value: []byte{0x36, 0x4b, 0x3f, 0xb7}}}
	want := &client.Object{
		Bucket: "bucket", Key: "k\xff", KeyBytes: []byte("k\xff"), Version: put.Version, Size: 3, Modified: time.Unix(100, 0).UTC(), ETag: "etag",
		Committed: time.Unix(200, 0).UTC(), Root: holdall.HashBlock([]byte("abc")), Tags: tags, Attributes: a,
	}
	head, err := c.HeadObject(ctx, "bucket", "k\xff", 0)
	for name, got := range map[string]*client.Object{"put": put, "head": head} {
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", name, got, err, want)
		}
	}
	other := map[string]string{"x": "y"}
	if o, err := c.SetTags(ctx, client.ObjectName{Bucket: "bucket", Key: "k\xff"}, put.Version, other); err != nil || !maps.Equal(o.Tags, other) {
		t.Errorf("tags: %+v, %v", o, err)
	}
	to := client.ObjectName{Bucket: "bucket", Key: "copy"}
	same, err := c.CopyObject(ctx, client.ObjectName{Bucket: "bucket", Key: "k\xff"}, to, client.CopyOptions{})
	if err != nil || !reflect.DeepEqual(same.Attributes, a) || !maps.Equal(same.Tags, other) || same.Key != "copy" {
		t.Errorf("copy: %+v, %v", same, err)
	}
	changed, err := c.CopyObject(ctx, client.ObjectName{Bucket: "bucket", Key: "k\xff"}, to, client.CopyOptions{Attributes: &client.Attributes{ContentType: "x/y"}, Tags: &tags})
	if err != nil || changed.ContentType != "x/y" || changed.Metadata != nil || !maps.Equal(changed.Tags, tags) || !reflect.DeepEqual(changed.Checksums, a.Checksums) {
		t.Errorf("changed copy: %+v, %v", changed, err)
	}
}

func TestConditionsAndDeletes(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	absent := client.PutObjectOptions{If: client.Condition{Absent: true}}
	if _, err := c.PutObject(ctx, "bucket", "k", strings.NewReader("1"), absent); err != nil {
		t.Fatal(err)
	}
	_, err := c.PutObject(ctx, "bucket", "k", strings.NewReader("2"), absent)
	if !errors.Is(err, holdall.ErrCondition) || errors.Is(err, holdall.ErrRefused) {
		t.Errorf("put of what is there: %v", err)
	}
	if _, err := c.UndeleteObject(ctx, "bucket", "k"); !errors.Is(err, holdall.ErrExists) {
		t.Errorf("undelete of what is there: %v", err)
	}
	marker, err := c.DeleteObject(ctx, "bucket", "k", client.Condition{})
	if err != nil || marker == nil || !marker.Marker {
		t.Fatalf("%+v, %v", marker, err)
	}
	if _, err := c.HeadObject(ctx, "bucket", "k", 0); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("head of what was deleted: %v", err)
	}
	if o, err := c.UndeleteObject(ctx, "bucket", "k"); err != nil || o.Size != 1 {
		t.Errorf("undelete: %+v, %v", o, err)
	}
	if marker, err := c.DeleteObject(ctx, "bucket", "nothing", client.Condition{}); err != nil || marker != nil {
		t.Errorf("delete of nothing: %+v, %v", marker, err)
	}
	for what, err := range map[string]error{
		"put": func() error {
			_, err := c.PutObject(ctx, "other", "k", strings.NewReader("1"), client.PutObjectOptions{})
			return err
		}(),
		"get": func() error { _, err := c.OpenObject(ctx, "other", "k", client.GetObjectOptions{}); return err }(),
	} {
		if !errors.Is(err, holdall.ErrNotFound) {
			t.Errorf("%s in a bucket that is not there: %v", what, err)
		}
	}
}

func TestBucketsNamespacesAndCredentials(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	b, err := c.CreateBucket(ctx, "another")
	want := client.BucketStatus{Name: "another", ID: 9, Created: time.Unix(7, 0).UTC(), Objects: 1, Bytes: 2, Versions: 3, Uploads: 4}
	if err != nil || *b != want {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := c.CreateBucket(ctx, "another"); !errors.Is(err, holdall.ErrExists) {
		t.Errorf("a second one: %v", err)
	}
	f.put(c, "k", nil)
	if err := c.RemoveBucket(ctx, "bucket"); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("removal of a bucket with a key: %v", err)
	}
	if err := c.RemoveBucket(ctx, "another"); err != nil {
		t.Error(err)
	}
	day, quota := 24*time.Hour, int64(1)<<40
	n, err := c.CreateNamespace(ctx, "photos", client.NamespaceOptions{Retention: &day, Quota: &quota})
	full := client.Namespace{Name: "photos", ID: 9, RetentionSeconds: 86400, Quota: quota, Blocks: 1, Bytes: 2, Buckets: 3, Credentials: 4}
	if err != nil || *n != full || n.Retention() != day {
		t.Errorf("%+v, %v", n, err)
	}
	quota = 0
	if n, err = c.SetNamespace(ctx, "photos", client.NamespaceOptions{Quota: &quota}); err != nil || n.Quota != 0 || n.RetentionSeconds != 86400 {
		t.Errorf("%+v, %v", n, err)
	}
	if _, err := c.SetNamespace(ctx, "photos", client.NamespaceOptions{}); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("setting nothing: %v", err)
	}
	mine := f.dial(client.Options{Namespace: "photos"})
	k, secret, err := mine.CreateCredential(ctx, "for a test")
	if err != nil || secret != aSecret || *k != (client.Credential{AccessKey: k.AccessKey, Namespace: "photos", Created: time.Unix(5, 0).UTC(), Note: "for a test"}) {
		t.Errorf("%+v, %v", k, err)
	}
	if err := c.RemoveCredential(ctx, k.AccessKey); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("removal of another namespace's: %v", err)
	}
	var seen []client.Credential
	if err := mine.Credentials(ctx, func(k client.Credential) error { seen = append(seen, k); return nil }); err != nil || len(seen) != 1 || seen[0] != *k {
		t.Errorf("%v, %v", seen, err)
	}
	if err := errors.Join(mine.RemoveCredential(ctx, k.AccessKey), c.RemoveNamespace(ctx, "photos")); err != nil {
		t.Error(err)
	}
	if _, err := c.Namespace(ctx, "photos"); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("a removed namespace: %v", err)
	}
}

func TestListingsComeInPages(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	var want []string
	for i := range 2*holdall.MaxListPage + 5 {
		want = append(want, fmt.Sprintf("a/%05d", i))
		f.put(c, want[i], nil)
		if _, err := f.things.CreateBucket(ctx, 1, fmt.Sprintf("bucket-%05d", i)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.names.CreateNamespace(ctx, fmt.Sprintf("namespace-%05d", i), nil, 0); err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.names.CreateCredential(ctx, "default", ""); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for l, err := range c.ListObjects(ctx, "bucket", client.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Object.Key)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
	buckets, names, keys := 0, 0, 0
	err := errors.Join(c.Buckets(ctx, func(client.BucketStatus) error { buckets++; return nil }),
		c.Namespaces(ctx, func(client.Namespace) error { names++; return nil }), c.Credentials(ctx, func(client.Credential) error { keys++; return nil }))
	if n := len(want); err != nil || buckets != n+1 || names != n || keys != n {
		t.Errorf("%d buckets, %d namespaces, %d credentials, %v", buckets, names, keys, err)
	}
	f.put(c, "a", nil)
	f.put(c, "b", nil)
	got = nil
	for l, err := range c.ListObjects(ctx, "bucket", client.ListOptions{Delimiter: "/", Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Object != nil {
			got = append(got, l.Object.Key)
		} else {
			got = append(got, l.Prefix)
		}
	}
	if !slices.Equal(got, []string{"a", "a/", "b"}) {
		t.Errorf("rolled up: %q", got)
	}
	for _, err := range c.ListObjects(ctx, "none", client.ListOptions{}) {
		if !errors.Is(err, holdall.ErrNotFound) {
			t.Errorf("no such bucket: %v", err)
		}
	}
}

// A get that breaks off goes on at the byte that it had reached, with the same
// version, though the key has another one by then.
func TestBrokenGetGoesOnWithTheSameVersion(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{Random: func() float64 { return 0 }}), f.ctx()
	data := block(9<<20, 5)
	f.put(c, "k", data)
	for _, cut := range []int{1, 4 << 20, 5 << 20, 9<<20 - 1} {
		f.things.cut = cut
		r, err := c.OpenObject(ctx, "bucket", "k", client.GetObjectOptions{Version: 1})
		if err != nil {
			t.Fatal(err)
		}
		f.put(c, "k", []byte("another"))
		got, err := io.ReadAll(r)
		if bad := same(got, data); err != nil || bad != "" || r.Verified() == "" {
			t.Errorf("cut after %d: %v, %s, verified %q", cut, err, bad, r.Verified())
		}
		r.Close()
	}
}

// rotten spoils one bit on the way out.
func TestBytesThatAreNotTheObjectsAreCorrupt(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	f.put(c, "k", block(100_000, 6))
	f.things.mu.Lock()
	f.things.buckets["bucket"]["k"][0].data[777] ^= 1
	f.things.mu.Unlock()
	r, err := c.OpenObject(ctx, "bucket", "k", client.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, holdall.ErrCorrupt) {
		t.Errorf("%v, want corrupt", err)
	}
}

// brokenBody gives some bytes, and then an error, which may be one that other
// packages take for an end.
type brokenBody struct {
	n   int
	err error
}

func (b *brokenBody) Read(p []byte) (int, error) {
	if b.n == 0 {
		return 0, b.err
	}
	n := min(len(p), b.n)
	b.n -= n
	return n, nil
}

func TestBodiesThatFailStoreNothing(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	for _, n := range []int{0, 10, 300 << 10, 5 << 20} {
		for _, fault := range []error{io.ErrUnexpectedEOF, errors.New("no more")} {
			if _, err := c.PutObject(ctx, "bucket", "k", &brokenBody{n, fault}, client.PutObjectOptions{}); err != fault {
				t.Errorf("%d bytes: %v, want %v", n, err, fault)
			}
		}
	}
	waitFor(t, "the puts to end", func() bool { return f.things.underWay() == 0 })
	if n := f.things.visible(); n != 0 {
		t.Errorf("%d objects are visible", n)
	}
}

// The memory of a put, client and server, does not grow with the object.
func TestPutOfAnObjectAllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	f := newFront(t, func(c *Config) { c.Objects = swallowing{newFakeObjects(nil)} })
	c, ctx := f.dial(client.Options{}), f.ctx()
	put := func(n int64) {
		r := rand.NewChaCha8([32]byte{})
		if _, err := c.PutObject(ctx, "bucket", "k", io.LimitReader(r, n), client.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put(16 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	put(128 << 20)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
		t.Errorf("a put of 128 MiB allocates %d bytes", n)
	} else {
		t.Logf("a put of 128 MiB allocates %d bytes", n)
	}
}

func TestCancelledPutLeavesNothing(t *testing.T) {
	f := newFront(t, nil)
	c := f.dial(client.Options{})
	ctx, cancel := context.WithCancel(f.ctx())
	read, write := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := c.PutObject(ctx, "bucket", "k", read, client.PutObjectOptions{})
		done <- err
	}()
	if _, err := write.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the put to arrive", func() bool { return f.things.underWay() == 1 })
	cancel()
	write.CloseWithError(context.Canceled)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	waitFor(t, "the put to end", func() bool { return f.things.underWay() == 0 })
	if n := f.things.visible(); n != 0 {
		t.Errorf("%d objects are visible", n)
	}
}

// A put for which there is no room yet waits until it is told that there is, and
// nothing of its body is lost.
func TestPutComesBackWhenThereIsRoom(t *testing.T) {
	f := newFront(t, func(c *Config) { c.StreamMemory = minStreamMemory })
	c := f.dial(client.Options{})
	if !f.server.in.TryAcquire(minStreamMemory) {
		t.Fatal("there is no room at first")
	}
	data := block(1<<20, 7)
	done := make(chan error, 1)
	go func() {
		_, err := c.PutObject(f.ctx(), "bucket", "k", io.MultiReader(bytes.NewReader(data)), client.PutObjectOptions{})
		done <- err
	}()
	waitFor(t, "the put to be refused", func() bool { return counted(f.server.metrics.refused.WithLabelValues("ResourceExhausted")) > 0 })
	f.server.in.Release(minStreamMemory)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r, err := c.OpenObject(f.ctx(), "bucket", "k", client.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if bad := same(got, data); err != nil || bad != "" {
		t.Errorf("%v, %s", err, bad)
	}
}
