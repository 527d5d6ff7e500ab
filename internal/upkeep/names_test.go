package upkeep

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
)

// nameCell is a cell with real metadata, of which upkeep purges what is due.
type nameCell struct {
	t      *testing.T
	store  *metadata.Store
	u      *Upkeep
	now    time.Time
	volume metadata.Volume
	nodes  map[holdall.BlockID][]holdall.BlockID // the bytes of manifests
	torn   map[holdall.BlockID]bool              // nodes that cannot be read
	reads  atomic.Int64                          // of nodes
	bucket metadata.Bucket
	puts   byte
}

// Children reads a manifest node. See Nodes.
func (c *nameCell) Children(_ context.Context, _ holdall.NamespaceID, node holdall.BlockID) ([]holdall.BlockID, error) {
	if c.reads.Add(1); c.torn[node] {
		return nil, fmt.Errorf("node %v: %w", node, holdall.ErrUnavailable)
	}
	return c.nodes[node], nil
}

func newNameCell(t *testing.T) *nameCell {
	t.Helper()
	c := &nameCell{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), nodes: map[holdall.BlockID][]holdall.BlockID{}, torn: map[holdall.BlockID]bool{}}
	var err error
	c.store, err = metadata.Open(t.Context(), metadata.Config{Dir: t.TempDir(), Bootstrap: true, Clock: func() time.Time { return c.now }, Logger: slog.New(slog.DiscardHandler), CacheBytes: 4 << 20})
	must(t, err)
	t.Cleanup(func() { must(t, c.store.Close()) })
	disks := []holdall.DiskID{{1}, {2}, {3}}
	for _, d := range disks {
		must(t, c.store.AddDisk(t.Context(), metadata.Disk{ID: d, Capacity: 1 << 40, ZoneSize: 256 << 20, State: holdall.DiskActive}))
	}
	scheme := holdall.Scheme{Kind: holdall.ReedSolomon, Data: 2, Global: 1}
	c.volume, err = c.store.CreateVolume(t.Context(), metadata.NewVolume{Scheme: scheme, Limit: 1 << 40, Disks: disks, Gateway: "g", Lease: time.Minute})
	must(t, err)
	must(t, c.store.SetBreaker(t.Context(), 1e6, 1<<40))
	c.bucket, err = c.store.CreateBucket(t.Context(), holdall.DefaultNamespace, "bucket")
	must(t, err)
	f := newFakeCell()
	c.u, err = New(Config{Tables: c.store, Referee: c.store, Volumes: c.store, Trash: c.store, Journal: c.store, Extents: f, Disks: f, Blocks: f, Pool: buffer.NewPool(1 << 20),
		Versions: c.store, Nodes: c, Retention: 1000 * time.Hour, Now: func() time.Time { return c.now }, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func block(name string) holdall.BlockID { return holdall.HashBlock([]byte(name)) }

// put puts blocks as pending into a namespace.
func (c *nameCell) put(ns holdall.NamespaceID, names ...string) {
	c.t.Helper()
	v := &c.volume
	s := metadata.StripeCommit{Volume: v.ID, Epoch: v.Epoch, Stripe: v.Last + 1, PackBytes: int64(len(names)) * 1000}
	for m := range v.Members {
		s.Ends = append(s.Ends, v.Members[m].End)
	}
	for i, name := range names {
		s.Blocks = append(s.Blocks, metadata.PutBlock{Namespace: ns, ID: block(name), Offset: s.Ends[0] + holdall.RecordHeaderSize + int64(i)*1000, Length: 1000, Pending: true})
	}
	s.ShardBytes = holdall.RecordSize(uint32(len(names) * 1000))
	s.Ends[0] += s.ShardBytes
	_, err := c.store.CommitStripe(c.t.Context(), s)
	must(c.t, err)
	v.Last++
	v.Members[0].End = s.Ends[0]
}

// link notes what a manifest node lists.
func (c *nameCell) link(node string, children ...string) (holdall.BlockID, []holdall.BlockID) {
	var ids []holdall.BlockID
	for _, name := range children {
		ids = append(ids, block(name))
	}
	c.nodes[block(node)] = ids
	return block(node), ids
}

// object commits the manifest with a root as key k.
func (c *nameCell) object(root string, children ...string) {
	c.t.Helper()
	c.puts++
	r, ids := c.link(root, children...)
	_, gone, err := c.store.CommitObject(c.t.Context(), metadata.ObjectCommit{Bucket: c.bucket.ID, Key: "k", Put: holdall.PutID{c.puts}, Root: r, Children: ids})
	if err != nil || gone != nil {
		c.t.Fatal(gone, err)
	}
}

func (c *nameCell) remove() {
	c.t.Helper()
	_, err := c.store.DeleteObject(c.t.Context(), metadata.ObjectDelete{Bucket: c.bucket.ID, Key: "k"})
	must(c.t, err)
}

// rounds purges as often as a manifest may be deep.
func (c *nameCell) rounds() {
	c.t.Helper()
	for range 6 {
		_, err := c.u.purge(c.t.Context())
		must(c.t, err)
	}
}

// there checks which blocks have a row.
func (c *nameCell) there(what string, ns holdall.NamespaceID, want map[string]bool) {
	c.t.Helper()
	for name, there := range want {
		b, err := c.store.Lookup(c.t.Context(), ns, []holdall.BlockID{block(name)}, true)
		must(c.t, err)
		if b[0].Found != there {
			c.t.Errorf("%s: block %q is there: %t, want %t (%+v)", what, name, b[0].Found, there, b[0])
		}
	}
}

const week = 7*24*time.Hour + time.Minute

func TestOverwrittenObjectGoesNodeByNode(t *testing.T) {
	c := newNameCell(t)
	c.put(holdall.DefaultNamespace, "a", "b", "shared", "node", "root 1", "root 2")
	node, ids := c.link("node", "a", "b", "a")
	_, err := c.store.CommitNode(t.Context(), holdall.DefaultNamespace, node, ids, 0)
	must(t, err)
	c.object("root 1", "node", "shared")
	c.object("root 2", "shared")
	c.now = c.now.Add(week - time.Hour)
	c.rounds()
	all := map[string]bool{"a": true, "b": true, "shared": true, "node": true, "root 1": true, "root 2": true}
	c.there("before the retention is over", holdall.DefaultNamespace, all)
	c.now = c.now.Add(time.Hour)
	c.torn[node] = true
	c.rounds()
	all["root 1"] = false
	c.there("with a node that cannot be read", holdall.DefaultNamespace, all)
	if metricValue(t, c.u.metrics.stuckNodes) == 0 {
		t.Error("nothing tells of the node that is stuck")
	}
	c.torn = nil
	c.rounds()
	all["node"], all["a"], all["b"] = false, false, false
	c.there("at the end", holdall.DefaultNamespace, all)
	c.remove()
	c.now = c.now.Add(week)
	c.rounds()
	all["root 2"], all["shared"] = false, false
	c.there("deleted", holdall.DefaultNamespace, all)
	b, err := c.store.Bucket(t.Context(), holdall.DefaultNamespace, "bucket")
	if err != nil || b.Versions != 0 {
		t.Errorf("the marker, the last row of its key, is there still: %+v, %v", b, err)
	}
}

// Nodes that cannot be read may take long to say so: a round does not try them all.
func TestManyStuckNodesDoNotHoldUpARound(t *testing.T) {
	c := newNameCell(t)
	c.put(holdall.DefaultNamespace, "a")
	for i := range 100 {
		name := fmt.Sprint("node ", i)
		c.put(holdall.DefaultNamespace, name)
		node, ids := c.link(name, "a")
		c.torn[node] = true
		_, err := c.store.CommitNode(t.Context(), holdall.DefaultNamespace, node, ids, 0)
		must(t, err)
	}
	c.now = c.now.Add(24*time.Hour + week)
	_, err := c.u.purge(t.Context())
	must(t, err)
	if n := c.reads.Load(); n < nodeFailures || n > nodeFailures+nodeReaders {
		t.Errorf("%d nodes were read", n)
	}
	c.torn = nil
	c.rounds()
	c.there("when they can be read again", holdall.DefaultNamespace, map[string]bool{"node 0": false, "node 99": false, "a": false})
}

func TestKeptMarkerStays(t *testing.T) {
	c := newNameCell(t)
	must(t, c.store.SetBucket(t.Context(), c.bucket.ID, true))
	c.put(holdall.DefaultNamespace, "root")
	c.object("root")
	c.remove()
	c.now = c.now.Add(2 * week)
	c.rounds()
	o, err := c.store.Object(t.Context(), c.bucket.ID, "k")
	if err != nil || !o.Marker {
		t.Errorf("%+v, %v", o, err)
	}
	c.there("below the marker", holdall.DefaultNamespace, map[string]bool{"root": false})
}

func TestEndedUploadsAreReleased(t *testing.T) {
	c := newNameCell(t)
	c.put(holdall.DefaultNamespace, "part 1", "part 2", "aborted", "root")
	done, aborted := holdall.PutID{1}, holdall.PutID{2}
	for id, parts := range map[holdall.PutID][]string{done: {"part 1", "part 2"}, aborted: {"aborted"}} {
		_, err := c.store.CreateUpload(t.Context(), metadata.Upload{ID: id, Bucket: c.bucket.ID, Key: "k"})
		must(t, err)
		for i, p := range parts {
			_, err := c.store.PutPart(t.Context(), id, metadata.Part{Number: i + 1, Block: block(p), Size: 1000})
			must(t, err)
		}
	}
	root, ids := c.link("root", "part 1")
	_, _, err := c.store.CommitObject(t.Context(), metadata.ObjectCommit{Bucket: c.bucket.ID, Key: "k", Put: done, Root: root, Children: ids, Upload: done})
	must(t, err)
	must(t, c.store.AbortUpload(t.Context(), aborted))
	c.now = c.now.Add(23 * time.Hour)
	c.rounds()
	if u, err := c.store.Upload(t.Context(), done); err != nil || !u.Released || u.Result == 0 {
		t.Errorf("completed within a day: %+v, %v", u, err)
	}
	if u, err := c.store.Upload(t.Context(), aborted); err == nil {
		t.Errorf("aborted: %+v", u)
	}
	c.now = c.now.Add(2 * time.Hour)
	c.rounds()
	if u, err := c.store.Upload(t.Context(), done); err == nil {
		t.Errorf("completed more than a day ago: %+v", u)
	}
	c.now = c.now.Add(week)
	c.rounds()
	c.there("a week later", holdall.DefaultNamespace, map[string]bool{"part 1": true, "root": true, "part 2": false, "aborted": false})
}

func TestRemovedBucketNeedNotWait(t *testing.T) {
	c := newNameCell(t)
	c.put(holdall.DefaultNamespace, "root", "a")
	c.object("root", "a")
	c.remove()
	must(t, c.store.RemoveBucket(t.Context(), holdall.DefaultNamespace, "bucket"))
	c.now = c.now.Add(25 * time.Hour) // after what pending holds
	c.rounds()
	c.there("removed", holdall.DefaultNamespace, map[string]bool{"root": false, "a": false})
	n, err := c.store.NamespaceByID(holdall.DefaultNamespace)
	if err != nil || n.Buckets != 0 || n.Leaving != 0 {
		t.Errorf("%+v, %v", n, err)
	}
}

// A namespace says how long its trash waits: neither what upkeep was told for
// the system's, nor what others say, is a floor under it.
func TestShortRetentionIsNotMadeLonger(t *testing.T) {
	c := newNameCell(t)
	n, err := c.store.CreateNamespace(t.Context(), "hasty", time.Hour, 0)
	must(t, err)
	c.put(n.ID, "a")
	c.put(holdall.DefaultNamespace, "a")
	for _, ns := range []holdall.NamespaceID{n.ID, holdall.DefaultNamespace} {
		_, err := c.store.Claim(t.Context(), ns, []holdall.BlockID{block("a")})
		must(t, err)
	}
	c.now = c.now.Add(25 * time.Hour)
	for _, ns := range []holdall.NamespaceID{n.ID, holdall.DefaultNamespace} {
		_, err := c.store.Delete(t.Context(), ns, []holdall.BlockID{block("a")})
		must(t, err)
	}
	c.now = c.now.Add(time.Hour + time.Minute)
	c.rounds()
	c.there("hasty", n.ID, map[string]bool{"a": false})
	c.there("default", holdall.DefaultNamespace, map[string]bool{"a": true})
}
