package metadata

import (
	"time"

	"github.com/holdall/holdall"
)

// FoundObject is a version as the root of its manifest, found on disks, has it.
type FoundObject struct {
	Namespace  holdall.NamespaceID
	BucketName string // as the root has it: for a bucket that the journal does not tell of
	Upload     holdall.PutID
	Time       time.Time // of its commit; zero = not known

	// Object has no times but Modified. Version 0 is of one that the journal on
	// disks does not list: it becomes the newest of its key, and is journaled now.
	Object Object
}

// FoundNode is a manifest node, or a root, as it was found on disks.
type FoundNode struct {
	Namespace holdall.NamespaceID
	ID        holdall.BlockID
	Children  []holdall.BlockID // each once for every time it is listed
	Journaled bool              // the journal on disks says that it was committed
}

// ReplayNames does again what the change journal says befell buckets, objects,
// uploads and migrations. All blocks must be in their places: it comes after
// AddStripe and Replay have had everything. Commits of objects and of nodes are left
// out: AddObject and AddNode do them, and their caller keeps the order.
func (b *Rebuilder) ReplayNames(changes []Change) error {
	return b.inPieces(changes, func(some []Change) command { return &replayNames{replayChanges{some}} })
}

// AddObject puts a version back, and returns it. Version 0 says that it was left out:
// its bucket cannot be made, was removed, or has the put already. held says whether
// the root has a row.
func (b *Rebuilder) AddObject(f FoundObject) (o Object, held bool, err error) {
	var a objectAnswer
	if err := b.l.apply(&adoptObject{f}, &a); err != nil {
		return o, false, err
	}
	return a.Object, len(a.Gone) == 0, nil
}

// AddNode counts the references of a node's children, once however often it is
// called, and returns those that have no row, or the node if it has none.
func (b *Rebuilder) AddNode(f FoundNode) (missing []holdall.BlockID, err error) {
	var a goneAnswer
	err = b.l.apply(&adoptNode{f}, &a)
	return a.IDs, err
}

// Claim makes blocks direct, at most holdall.MaxIDsPerCall.
func (b *Rebuilder) Claim(ns holdall.NamespaceID, ids []holdall.BlockID) error {
	return b.l.apply(&changeBlocks{tagClaim, ns, ids}, new(idsResult))
}
