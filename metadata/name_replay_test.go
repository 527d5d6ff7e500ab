package metadata

import (
	"iter"
	"testing"

	"github.com/holdall/holdall"
	"pgregory.net/rapid"
)

// TestNamesComeBackAsTheyWere rebuilds a state from the rows of blocks that another
// has at the end, from its journal and from what manifests say, and compares the two.
func TestNamesComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tb := drawn{t, rt}
		d := newNameDriver(rt, newCell(tb, 3))
		roots := map[holdall.Version]Object{}
		for range 150 {
			d.step()
			for _, o := range d.m.versions() {
				if roots[o.Version].Version == 0 {
					roots[o.Version] = *o
				}
			}
		}
		r := newCell(tb, 3)
		r.now = d.m.now
		r.ok(&raiseCell{Above: 1, Reason: "rebuild"}, new(numberResult))
		changes := d.r.changes()
		d.adoptBlocks(r, changes)
		gone := map[holdall.Version]string{}
		for _, c := range changes {
			if c.Kind == ChangeObjectGone {
				gone[c.Version] = c.Key
			}
		}
		nodes := map[BlockKey]bool{}
		for _, c := range changes {
			switch k := (BlockKey{c.Namespace, c.ID}); c.Kind {
			case ChangeNode, ChangeObject:
				nodes[k] = true
			case ChangeNodeGone, ChangePurge:
				delete(nodes, k)
			}
			if c.Kind != ChangeObject {
				r.ok(&replayNames{replayChanges{[]Change{c}}}, noResult{})
				continue
			}
			o := roots[c.Version]
			o.Committed, o.TrashedAt = instant(0).time(), instant(0).time()
			if key, purged := gone[c.Version]; purged {
				o = Object{Bucket: c.Bucket, Key: key, Version: c.Version, Root: c.ID}
			}
			r.ok(&adoptObject{FoundObject{Namespace: c.Namespace, Upload: c.Put, Time: c.Time, Object: o}}, new(objectAnswer))
		}
		for k := range nodes {
			r.ok(&adoptNode{FoundNode{k.Namespace, k.ID, modelChildren(modelNumber(k.ID)), true}}, new(goneAnswer))
		}
		audit(tb, r.db)
		sameRows(d, "objects", objects(r.db), objects(d.r.db))
		sameRows(d, "buckets", buckets(r.db), buckets(d.r.db))
		sameRows(d, "parts", parts(r.db), parts(d.r.db))
		sameRows(d, "uploads", uploads(r.db), func(yield func(Upload, error) bool) {
			for u, err := range uploads(d.r.db) {
				if u.Released = false; !yield(u, err) {
					return
				}
			}
		})
		for b, err := range blocks(d.r.db) {
			got := r.blockIn(b.Namespace, b.ID)
			d.same("what holds a block", []any{err, got.References, got.Node, got.Direct}, []any{nil, b.References, b.Node, b.Direct})
		}
	})
}

func (r *rig) blockIn(ns holdall.NamespaceID, id holdall.BlockID) Block {
	rows, err := lookup(r.db, ns, []holdall.BlockID{id}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return rows[0]
}

// adoptBlocks puts the blocks that d has into r, and the namespaces.
func (d *nameDriver) adoptBlocks(r *rig, changes []Change) {
	v := Volume{ID: d.v.ID, Scheme: d.v.Scheme, Limit: d.v.Limit, State: holdall.VolumeOpen, Epoch: d.v.Epoch, Members: make([]Member, len(d.v.Members))}
	for m := range v.Members {
		v.Members[m] = Member{Disk: d.v.Members[m].Disk, Created: d.v.Members[m].Created}
	}
	r.ok(&adoptVolume{v}, noResult{})
	r.ok(&replayChanges{changes}, noResult{})
	s := &adoptStripe{StripeCommit: StripeCommit{Volume: v.ID, Epoch: v.Epoch, Stripe: 1, Ends: make([]int64, len(v.Members))}, Journaled: true, Time: 1}
	direct := map[holdall.NamespaceID][]holdall.BlockID{}
	for b, err := range blocks(d.r.db) {
		if err != nil {
			d.rt.Fatal(err)
		}
		s.Blocks = append(s.Blocks, PutBlock{Namespace: b.Namespace, ID: b.ID, Member: b.Location.Member, Offset: b.Location.Offset, Length: b.Location.Length, Pending: true})
		if b.Direct {
			direct[b.Namespace] = append(direct[b.Namespace], b.ID)
		}
	}
	r.ok(s, new(commitAnswer))
	for ns, ids := range direct {
		r.ok(&changeBlocks{tagClaim, ns, ids}, new(idsResult))
	}
}

func sameRows[T any](d *nameDriver, what string, got, want iter.Seq2[T, error]) {
	collect := func(rows iter.Seq2[T, error]) (all []T) {
		for row, err := range rows {
			if err != nil {
				d.rt.Fatal(err)
			}
			all = append(all, row)
		}
		return all
	}
	d.same(what, collect(got), collect(want))
}
