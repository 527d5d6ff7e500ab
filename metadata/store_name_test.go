package metadata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

// nameStore is a store with a volume, and a bucket.
type nameStore struct {
	*Store
	t   *testing.T
	v   Volume
	b   Bucket
	now time.Time
}

func newNameStore(t *testing.T) *nameStore {
	t.Helper()
	n := &nameStore{t: t, now: day.time()}
	cfg := testConfig(t, nil)
	cfg.Dir, cfg.Clock = t.TempDir(), func() time.Time { return n.now }
	n.Store = openTest(t, cfg)
	t.Cleanup(func() { closeTest(t, n.Store) })
	n.v = testVolume(t, n.Store)
	b, err := n.CreateBucket(t.Context(), holdall.DefaultNamespace, "bucket")
	n.must(err)
	n.b = b
	return n
}

func (n *nameStore) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *nameStore) is(err, kind error) {
	n.t.Helper()
	if !errors.Is(err, kind) {
		n.t.Errorf("got %v, want %v", err, kind)
	}
}

// put puts blocks as pending.
func (n *nameStore) put(ids ...holdall.BlockID) {
	n.t.Helper()
	n.v.Last++
	c := stripeOf(&n.v, n.v.Last, ids...)
	for i := range c.Blocks {
		c.Blocks[i].Pending = true
	}
	_, err := n.CommitStripe(n.t.Context(), c)
	n.must(err)
}

func (n *nameStore) commit(key string, put int, c ObjectCommit) Object {
	n.t.Helper()
	c.Bucket, c.Key, c.Put = n.b.ID, key, putID(put)
	o, gone, err := n.CommitObject(n.t.Context(), c)
	if err != nil || gone != nil {
		n.t.Fatalf("commit of %q: gone %v, %v", key, gone, err)
	}
	return o
}

func TestNamespacesHaveNamesQuotasAndAnEnd(t *testing.T) {
	n, ctx := newNameStore(t), t.Context()
	s, err := n.CreateNamespace(ctx, "guests", time.Hour, 5000)
	n.must(err)
	_, err = n.CreateNamespace(ctx, "guests", time.Hour, 0)
	n.is(err, holdall.ErrExists)
	_, err = n.CreateNamespace(ctx, "No", time.Hour, 0)
	n.is(err, holdall.ErrInvalid)
	if got, err := n.Namespace("guests"); err != nil || got != s || s.ID <= holdall.DefaultNamespace {
		t.Errorf("%+v, %v, made %+v", got, err, s)
	}
	n.must(n.SetNamespace(ctx, s.ID, 2*time.Hour, 1))
	n.must(n.SetRetention(ctx, s.ID, 3*time.Hour))
	if got, err := n.NamespaceByID(s.ID); err != nil || got.Quota != 1 || got.Retention != 3*time.Hour {
		t.Errorf("set: %+v, %v", got, err)
	}
	_, err = n.CreateBucket(ctx, s.ID, "bucket") // names are a namespace's own
	n.must(err)
	n.is(n.RemoveNamespace(ctx, s.ID), holdall.ErrRefused)
	n.is(n.RemoveNamespace(ctx, holdall.DefaultNamespace), holdall.ErrRefused)
	n.must(n.PutCredential(ctx, Credential{AccessKey: "AK", Namespace: s.ID, Secret: []byte("SEALED")}))
	n.is(n.PutCredential(ctx, Credential{AccessKey: "AK", Namespace: holdall.DefaultNamespace, Secret: []byte{1}}), holdall.ErrExists)
	n.must(n.RemoveBucket(ctx, s.ID, "bucket"))
	n.is(n.RemoveNamespace(ctx, s.ID), holdall.ErrRefused)
	if list, err := n.Credentials(s.ID); err != nil || len(list) != 1 || string(list[0].Secret) != "SEALED" {
		t.Errorf("credentials: %+v, %v", list, err)
	}
	var dump bytes.Buffer
	n.must(n.Dump(ctx, &dump))
	if !strings.Contains(dump.String(), `"AK"`) || strings.Contains(dump.String(), "SEALED") || strings.Contains(dump.String(), "U0VBTEVE") {
		t.Errorf("the dump lacks the access key, or has its secret:\n%s", &dump)
	}
	n.must(n.RemoveCredential(ctx, "AK"))
	_, err = n.Credential("AK")
	n.is(err, holdall.ErrNotFound)
	n.must(n.RemoveNamespace(ctx, s.ID))
	_, err = n.Namespace("guests")
	n.is(err, holdall.ErrNotFound)
	again, err := n.CreateNamespace(ctx, "guests", 0, 0)
	if n.must(err); again.ID <= s.ID {
		t.Errorf("namespace %d has the id of one that was removed, %d", again.ID, s.ID)
	}
}

func TestQuotaIsHeldAtCommits(t *testing.T) {
	n, ctx := newNameStore(t), t.Context()
	n.put(id(1), id(2)) // of 4096 bytes each
	n.must(n.SetNamespace(ctx, holdall.DefaultNamespace, time.Hour, 8191))
	_, err := n.CommitNode(ctx, holdall.DefaultNamespace, id(1), []holdall.BlockID{id(2)}, 0)
	n.is(err, holdall.ErrExhausted)
	c := ObjectCommit{Bucket: n.b.ID, Key: "k", Put: putID(1), Root: id(1)}
	_, _, err = n.CommitObject(ctx, c)
	n.is(err, holdall.ErrExhausted)
	n.must(n.SetNamespace(ctx, holdall.DefaultNamespace, time.Hour, 8192))
	n.commit("k", 1, c)
	n.must(n.SetNamespace(ctx, holdall.DefaultNamespace, time.Hour, 1))
	n.commit("k", 1, c) // was done
}

func TestObjectsLiveAndDie(t *testing.T) {
	n, ctx := newNameStore(t), t.Context()
	n.put(id(1), id(2), id(3))
	_, gone, err := n.CommitObject(ctx, ObjectCommit{Bucket: n.b.ID, Key: "k", Put: putID(1), Root: id(1), Children: []holdall.BlockID{id(9), id(2), id(9)}})
	if n.must(err); len(gone) != 1 || gone[0] != id(9) {
		t.Errorf("gone: %v", gone)
	}
	_, err = n.Object(ctx, n.b.ID, "k")
	n.is(err, holdall.ErrNotFound)
	first := n.commit("k", 1, ObjectCommit{Root: id(1), Children: []holdall.BlockID{id(2), id(2)}, Size: 10, ETag: "e", Attributes: []byte("a"), Modified: day.time()})
	if b := found(t, n.Store, id(2)); b.References != 2 {
		t.Errorf("%+v", b)
	}
	if again := n.commit("k", 1, ObjectCommit{Root: id(3), Size: 99}); again.Version != first.Version || again.Size != 10 {
		t.Errorf("a repeat made %+v", again)
	}
	second := n.commit("k", 2, ObjectCommit{Root: id(3), If: Condition{ETag: "e"}})
	_, _, err = n.CommitObject(ctx, ObjectCommit{Bucket: n.b.ID, Key: "k", Put: putID(3), Root: id(3), If: Condition{Absent: true}})
	n.is(err, holdall.ErrCondition)
	n.is(n.RemoveBucket(ctx, holdall.DefaultNamespace, "bucket"), holdall.ErrRefused)
	if o, err := n.ObjectVersion(ctx, ObjectKey{n.b.ID, "k", first.Version}); err != nil || o.TrashedAt.IsZero() || second.Version <= first.Version {
		t.Errorf("the first version: %+v, %v", o, err)
	}
	_, err = n.UndeleteObject(ctx, n.b.ID, "k")
	n.is(err, holdall.ErrExists)
	m, err := n.DeleteObject(ctx, ObjectDelete{Bucket: n.b.ID, Key: "k", Put: putID(4)})
	n.must(err)
	if again, err := n.DeleteObject(ctx, ObjectDelete{Bucket: n.b.ID, Key: "k", Put: putID(4)}); err != nil || again.Version != m.Version {
		t.Errorf("a repeated delete: %+v, %v", again, err)
	}
	if none, err := n.DeleteObject(ctx, ObjectDelete{Bucket: n.b.ID, Key: "k", Put: putID(5)}); err != nil || none.Version != 0 {
		t.Errorf("a delete of what is deleted: %+v, %v", none, err)
	}
	if o, err := n.Object(ctx, n.b.ID, "k"); err != nil || !o.Marker {
		t.Errorf("deleted: %+v, %v", o, err)
	}
	if o, err := n.UndeleteObject(ctx, n.b.ID, "k"); err != nil || o.Version != second.Version {
		t.Errorf("undeleted: %+v, %v", o, err)
	}
	tagged, err := n.SetTags(ctx, ObjectKey{Bucket: n.b.ID, Key: "k"}, []byte("t"))
	if n.must(err); tagged.Version != second.Version || string(tagged.Tags) != "t" {
		t.Errorf("tagged: %+v", tagged)
	}
	page, err := n.List(ctx, ListQuery{Bucket: n.b.ID})
	if n.must(err); len(page.Objects) != 1 || page.Objects[0].Version != second.Version || page.More {
		t.Errorf("listing: %+v", page)
	}
	_, err = n.DeleteObject(ctx, ObjectDelete{Bucket: n.b.ID, Key: "k"})
	n.must(err)
	n.must(n.RemoveBucket(ctx, holdall.DefaultNamespace, "bucket"))
	_, err = n.Bucket(ctx, holdall.DefaultNamespace, "bucket")
	n.is(err, ErrNoBucket)
	n.is(err, holdall.ErrNotFound)
	_, err = n.DeleteObject(ctx, ObjectDelete{Bucket: n.b.ID, Key: "k"})
	n.is(err, ErrNoBucket)
	trash, err := n.ObjectTrash(ObjectTrashed{}, n.now.Add(time.Hour), 10)
	if n.must(err); len(trash) != 3 || !trash[0].Removed || trash[0].Namespace != holdall.DefaultNamespace || trash[2].Version <= second.Version {
		t.Errorf("trash: %+v", trash)
	}
	if next, err := n.ObjectTrash(trash[0], n.now.Add(time.Hour), 10); err != nil || len(next) != 2 || next[0] != trash[1] {
		t.Errorf("the next page: %+v, %v", next, err)
	}
}

func TestUploadsAndPartsAreListed(t *testing.T) {
	n, ctx := newNameStore(t), t.Context()
	n.put(id(1), id(2))
	for i := range 6 {
		u, err := n.CreateUpload(ctx, Upload{ID: putID(i), Bucket: n.b.ID, Key: fmt.Sprintf("k%d", i/2), State: UploadAborted, Namespace: 9})
		if n.must(err); u.State != UploadOpen || u.Namespace != holdall.DefaultNamespace {
			t.Errorf("%+v", u)
		}
	}
	n.must(n.AbortUpload(ctx, putID(5)))
	n.must(n.AbortUpload(ctx, putID(5)))
	_, err := n.PutPart(ctx, putID(5), Part{Number: 1, Block: id(1)})
	n.is(err, ErrNoUpload)
	var walked []holdall.PutID
	for key, last, more := "", (holdall.PutID{}), true; more; {
		var page []Upload
		page, more, err = n.Uploads(n.b.ID, "k", key, last, 2)
		n.must(err)
		for _, u := range page {
			walked, key, last = append(walked, u.ID), u.Key, u.ID
		}
	}
	if len(walked) != 5 || walked[4] != putID(4) {
		t.Errorf("uploads: %v", walked)
	}
	if page, more, err := n.Uploads(n.b.ID, "k2", "k0", holdall.PutID{}, 9); err != nil || more || len(page) != 1 {
		t.Errorf("of a prefix: %+v, %t, %v", page, more, err)
	}
	if page, more, err := n.Uploads(n.b.ID, "", "k0", holdall.PutID{}, 9); err != nil || more || len(page) != 3 {
		t.Errorf("above a key: %+v, %t, %v", page, more, err)
	}
	for _, number := range []int{7, 2, holdall.MaxParts, 2} {
		gone, err := n.PutPart(ctx, putID(0), Part{Number: number, Block: id(1), Size: 4096, ETag: "p"})
		if n.must(err); gone != nil {
			t.Errorf("gone: %v", gone)
		}
	}
	if gone, err := n.PutPart(ctx, putID(0), Part{Number: 1, Block: id(5)}); err != nil || len(gone) != 1 {
		t.Errorf("a part that is gone: %v, %v", gone, err)
	}
	if b := found(t, n.Store, id(1)); b.References != 3 {
		t.Errorf("%+v", b)
	}
	if page, more, err := n.Parts(ctx, putID(0), 2, 1); err != nil || !more || len(page) != 1 || page[0].Number != 7 {
		t.Errorf("parts: %+v, %t, %v", page, more, err)
	}
	if page, more, err := n.Parts(ctx, putID(0), 7, 9); err != nil || more || len(page) != 1 || page[0].Number != holdall.MaxParts {
		t.Errorf("parts: %+v, %t, %v", page, more, err)
	}
	_, err = n.Upload(ctx, putID(77))
	n.is(err, ErrNoUpload)
	_, err = n.ReleaseUpload(ctx, putID(0), 10)
	n.is(err, holdall.ErrRefused)
}

func TestBucketsAreListedByName(t *testing.T) {
	n, ctx := newNameStore(t), t.Context()
	for i := range 5 {
		_, err := n.CreateBucket(ctx, holdall.DefaultNamespace, fmt.Sprintf("b-%d", i))
		n.must(err)
	}
	_, err := n.CreateBucket(ctx, holdall.DefaultNamespace, "b-1")
	n.is(err, holdall.ErrExists)
	_, err = n.CreateBucket(ctx, holdall.SystemNamespace, "b-1")
	n.is(err, holdall.ErrInvalid)
	if list, err := n.Buckets(holdall.DefaultNamespace, "b-1", 2); err != nil || len(list) != 2 || list[0].Name != "b-2" || list[1].Name != "b-3" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := n.Buckets(holdall.DefaultNamespace, "", -1); err != nil || len(list) != 6 {
		t.Errorf("%+v, %v", list, err)
	}
	n.must(n.SetBucket(ctx, n.b.ID, true))
	if b, err := n.Bucket(ctx, holdall.DefaultNamespace, "bucket"); err != nil || !b.KeepsMarkers {
		t.Errorf("%+v, %v", b, err)
	}
}

// A put that finds its block stored already must not make it direct: nobody who
// deletes the object would let go of it.
func TestClaimPendingIsNotDirect(t *testing.T) {
	n, ctx := newNameStore(t), t.Context()
	n.put(id(1))
	n.now = n.now.Add(25 * time.Hour)
	_, err := n.Delete(ctx, holdall.DefaultNamespace, []holdall.BlockID{id(1)})
	n.must(err)
	gone, err := n.ClaimPending(ctx, holdall.DefaultNamespace, []holdall.BlockID{id(1), id(2)})
	if n.must(err); len(gone) != 1 || gone[0] != id(2) {
		t.Errorf("gone: %v", gone)
	}
	if b := found(t, n.Store, id(1)); b.Direct || !b.Live() || !b.PendingUntil.Equal(n.now.Add(24*time.Hour)) {
		t.Errorf("%+v", b)
	}
}

// Names outlive a restart, and the log's replay.
func TestNamesOutliveARestart(t *testing.T) {
	cfg := testConfig(t, nil)
	cfg.Dir = t.TempDir()
	s := openTest(t, cfg)
	b, err := s.CreateBucket(context.Background(), holdall.DefaultNamespace, "bucket")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteObject(context.Background(), ObjectDelete{Bucket: b.ID, Key: "k", Always: true}); err != nil {
		t.Fatal(err)
	}
	closeTest(t, s)
	s = openTest(t, cfg)
	if o, err := s.Object(context.Background(), b.ID, "k"); err != nil || !o.Marker {
		t.Errorf("%+v, %v", o, err)
	}
	closeTest(t, s)
}

// A manifest node that is there and not committed holds nothing: who lists it as
// one is told that it is gone.
func TestNodeThatWasNotCommittedIsGoneForWhoListsIt(t *testing.T) {
	n, ctx := newNameStore(t), t.Context()
	n.put(id(1), id(2), id(3), id(4))
	gone, err := n.CommitNode(ctx, holdall.DefaultNamespace, id(1), []holdall.BlockID{id(2), id(3)}, 1)
	if n.must(err); len(gone) != 1 || gone[0] != id(2) {
		t.Errorf("gone: %v", gone)
	}
	c := ObjectCommit{Bucket: n.b.ID, Key: "k", Put: putID(1), Root: id(1), Children: []holdall.BlockID{id(2), id(2), id(3)}, Nodes: 2}
	_, gone, err = n.CommitObject(ctx, c)
	if n.must(err); len(gone) != 1 || gone[0] != id(2) {
		t.Errorf("gone: %v", gone)
	}
	gone, err = n.CommitNode(ctx, holdall.DefaultNamespace, id(2), []holdall.BlockID{id(4)}, 0)
	if n.must(err); len(gone) != 0 {
		t.Errorf("gone: %v", gone)
	}
	_, gone, err = n.CommitObject(ctx, c)
	if n.must(err); len(gone) != 0 || found(t, n.Store, id(2)).References != 2 {
		t.Errorf("gone: %v, %+v", gone, found(t, n.Store, id(2)))
	}
	c.Nodes = 4
	_, _, err = n.CommitObject(ctx, c)
	n.is(err, holdall.ErrInvalid)
}
