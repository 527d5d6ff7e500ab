package metadata

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// auditNames checks what must hold of the tables of names in every state: counts
// are those of the rows they count, and every list has exactly the rows that it
// is to have.
func auditNames(t testing.TB, r pebble.Reader) {
	t.Helper()
	want := map[string]bool{} // keys of the lists
	counted := map[holdall.BucketID]Bucket{}
	var last Object
	for o, err := range objects(r) {
		if err != nil {
			t.Fatal(err)
		}
		if o.Bucket == last.Bucket && o.Key == last.Key && o.TrashedAt.IsZero() {
			t.Errorf("version %d of %q is current, as is a newer one, or below one in trash", o.Version, o.Key)
		}
		last = o
		b := bucketRow{Bucket: counted[o.Bucket]}
		b.count(&o, 1)
		counted[o.Bucket] = b.Bucket
		k := o.name()
		if since := o.waits(); since != 0 {
			want[string(appendObjectTrashKey(nil, since, &k))] = true
		}
		if o.Put != (holdall.PutID{}) {
			want[string(appendPutKey(nil, o.Bucket, o.Key, o.Put))] = true
		}
	}
	for u, err := range uploads(r) {
		if err != nil {
			t.Fatal(err)
		}
		if want[string(u.listed(nil))] = true; u.State == UploadOpen {
			b := counted[u.Bucket]
			b.Uploads++
			counted[u.Bucket] = b
		}
	}
	for p, err := range parts(r) {
		if err != nil {
			t.Fatal(err)
		}
		if u, ok, err := readUpload(r, p.Upload); err != nil || !ok || u.Released {
			t.Errorf("part %d of upload %v, which is there: %t, released: %t, %v", p.Number, p.Upload, ok, u.Released, err)
		}
	}
	auditBuckets(t, r, counted, want)
	auditLists(t, r, want)
}

func auditBuckets(t testing.TB, r pebble.Reader, counted map[holdall.BucketID]Bucket, want map[string]bool) {
	t.Helper()
	var sys, real system
	if err := sys.load(r); err != nil {
		t.Fatal(err)
	}
	spaces := map[holdall.NamespaceID]Namespace{}
	for b, err := range buckets(r) {
		if err != nil {
			t.Fatal(err)
		}
		c := counted[b.ID]
		if b.Objects != c.Objects || b.Bytes != c.Bytes || b.Versions != c.Versions || b.Uploads != c.Uploads {
			t.Errorf("bucket %+v; its rows say %+v", b, c)
		}
		delete(counted, b.ID)
		n := spaces[b.Namespace]
		if b.Removed.IsZero() {
			want[string(appendBucketNameKey(nil, b.Namespace, b.Name))] = true
			n.Buckets++
			real.counters.buckets++
		} else if n.Leaving++; b.Versions == 0 {
			t.Errorf("bucket %d was removed and has no rows", b.ID)
		}
		spaces[b.Namespace] = n
	}
	for id, c := range counted {
		t.Errorf("rows name bucket %d, which is not there: %+v", id, c)
	}
	for c, err := range credentials(r) {
		if err != nil {
			t.Fatal(err)
		}
		n := spaces[c.Namespace]
		n.Credentials++
		spaces[c.Namespace] = n
		real.counters.credentials++
	}
	for n, err := range namespaces(r) {
		if err != nil {
			t.Fatal(err)
		}
		want[string(appendSpaceNameKey(nil, n.Name))] = true
		if c := spaces[n.ID]; n.Buckets != c.Buckets || n.Leaving != c.Leaving || n.Credentials != c.Credentials {
			t.Errorf("namespace %+v; its rows say %+v", n, c)
		}
		delete(spaces, n.ID)
		real.counters.spaces++
	}
	for id, c := range spaces {
		t.Errorf("rows name namespace %d, which is not there: %+v", id, c)
	}
	if s, c := sys.counters, real.counters; s.spaces != c.spaces || s.buckets != c.buckets || s.credentials != c.credentials {
		t.Errorf("the cell counts %+v; its rows say %+v", s, c)
	}
}

func auditLists(t testing.TB, r pebble.Reader, want map[string]bool) {
	t.Helper()
	for _, prefix := range []byte{prefixPut, prefixObjectTrash, prefixOpenUpload, prefixEndedUpload, prefixBucketName, prefixSpaceName} {
		lower, upper := tableBounds(prefix)
		for kv, err := range rows(r, lower, upper) {
			if err != nil {
				t.Fatal(err)
			}
			if !want[string(kv.key)] {
				t.Errorf("a list has %x, which it should not", kv.key)
			}
			delete(want, string(kv.key))
		}
	}
	for key := range want {
		t.Errorf("a list lacks %x", key)
	}
}
