package metadata

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/holdall/holdall"
)

// listed is a block and how often a list names it.
type listed struct {
	id    holdall.BlockID
	times uint32
}

// counted returns each block of ids once, in the order of their ids.
func counted(ids []holdall.BlockID) (list []listed) {
	sorted := slices.Clone(ids)
	slices.SortFunc(sorted, func(a, b holdall.BlockID) int { return bytes.Compare(a[:], b[:]) })
	for i := range sorted {
		if n := len(list); n > 0 && list[n-1].id == sorted[i] {
			list[n-1].times++
			continue
		}
		list = append(list, listed{sorted[i], 1})
	}
	return list
}

// fetchListed reads the rows of blocks that a command asks for one by one.
func (t *tx) fetchListed(ns holdall.NamespaceID, list []listed) error {
	keys := make([]BlockKey, len(list))
	for i := range list {
		keys[i] = BlockKey{ns, list[i].id}
	}
	return t.fetch(keys)
}

// A manifest node is a block that lists others. What it lists must not go before
// it does, so the commit of a node adds a reference to each of its children, once
// for every time it is listed, and marks the node's row: the mark says that its
// children's references are counted, so a node is counted once however often it
// is committed, and is not removed before they are dropped again (releaseNode).

// linkNode makes the row of node that of a node. What is gone is named, and then
// nothing was changed. A node that is one already holds its children.
//
// The first nodes of the children are nodes themselves. One that was purged and put
// again by somebody who has yet to commit it, and perhaps never will, is live and
// holds nothing: it counts as gone.
func (t *tx) linkNode(ns holdall.NamespaceID, node *holdall.BlockID, children []holdall.BlockID, nodes int) (gone []holdall.BlockID, err error) {
	row, err := t.block(ns, node)
	if err != nil || row.Live() && row.Node {
		return nil, err
	}
	list := counted(children)
	if err := t.fetchListed(ns, list); err != nil {
		return nil, err
	}
	if !row.Live() {
		gone = append(gone, *node)
	}
	must := make(map[holdall.BlockID]bool, nodes)
	for _, id := range children[:nodes] {
		must[id] = true
	}
	for i := range list {
		child := t.blocks[BlockKey{ns, list[i].id}]
		if (!child.Live() || must[list[i].id] && !child.Node) && !row.Node {
			gone = append(gone, list[i].id)
		}
		if child.References > math.MaxUint32-list[i].times {
			return nil, fmt.Errorf("metadata: block %v has %d references, no more fit: %w", child.ID, child.References, holdall.ErrExhausted)
		}
	}
	if gone != nil {
		return gone, nil
	}
	for i := range list {
		if err := t.refer(ns, &list[i].id, list[i].times); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 {
		return nil, nil // it holds nothing: a purge need not read it
	}
	linked := row
	linked.Node = true
	return nil, t.setBlock(&row, &linked)
}

// refer adds references to a row that is there.
func (t *tx) refer(ns holdall.NamespaceID, id *holdall.BlockID, times uint32) error {
	old, err := t.block(ns, id)
	if err != nil {
		return err
	}
	row := old
	row.References += times
	t.settle(&row)
	return t.setBlock(&old, &row)
}

// unrefer drops references to a row. One that nothing holds any more is due at
// once: what referred to it has waited the retention already, or was never
// anything that could be undeleted. It says whether the row had as many.
func (t *tx) unrefer(ns holdall.NamespaceID, id *holdall.BlockID, times uint32) (bool, error) {
	old, err := t.block(ns, id)
	if err != nil || !old.Found || old.References < times {
		return false, err
	}
	row := old
	row.References -= times
	if row.References == 0 && !row.Direct && toInstant(row.PendingUntil) <= t.now {
		n, err := t.space(ns)
		if err != nil {
			return false, err
		}
		if n != nil {
			row.TrashedAt = max(1, t.now-min(t.now, instant(n.Retention.Milliseconds()))).time()
		}
	}
	t.settle(&row)
	return true, t.setBlock(&old, &row)
}

// commitNode counts the references of a manifest node.
type commitNode struct {
	Namespace holdall.NamespaceID
	Node      holdall.BlockID
	Children  []holdall.BlockID
	Nodes     int // how many of Children, from the first, are nodes
}

func (*commitNode) tag() commandTag { return tagCommitNode }
func (c *commitNode) check() error  { return checkNode(c.Node, c.Children, c.Nodes) }

func checkNode(node holdall.BlockID, children []holdall.BlockID, nodes int) error {
	if nodes < 0 || nodes > len(children) {
		return fmt.Errorf("metadata: node %v lists %d blocks, of which %d are nodes: %w", node, len(children), nodes, holdall.ErrInvalid)
	}
	if len(children) > holdall.MaxNodeEntries {
		return fmt.Errorf("metadata: node %v lists %d blocks, the most is %d: %w", node, len(children), holdall.MaxNodeEntries, holdall.ErrInvalid)
	}
	if slices.Contains(children, node) {
		return fmt.Errorf("metadata: node %v lists itself: %w", node, holdall.ErrInvalid)
	}
	return nil
}

func (c *commitNode) encode(dst []byte) []byte {
	return putUvarint(putNode(dst, c.Namespace, &c.Node, c.Children), uint64(c.Nodes))
}

func putNode(dst []byte, ns holdall.NamespaceID, node *holdall.BlockID, children []holdall.BlockID) []byte {
	return putIDs(append(putUvarint(dst, uint64(ns)), node[:]...), children)
}

func (c *commitNode) decode(d *decoder) {
	c.Namespace, c.Node, c.Children = d.namespace(), d.blockID(), d.idsUpTo(holdall.MaxNodeEntries)
	c.Nodes = int(d.upTo(holdall.MaxNodeEntries))
}

func (c *commitNode) run(t *tx) (result, error) {
	if err := t.journaledSpace(c.Namespace); err != nil {
		return nil, err
	}
	if err := t.quotaLeft(c.Namespace); err != nil {
		return nil, err
	}
	row, err := t.block(c.Namespace, &c.Node)
	if err != nil || row.Live() && row.Node {
		return new(goneAnswer), err
	}
	gone, err := t.linkNode(c.Namespace, &c.Node, c.Children, c.Nodes)
	if err == nil && gone == nil {
		t.change(Change{Kind: ChangeNode, Namespace: c.Namespace, ID: c.Node})
	}
	return &goneAnswer{gone}, err
}

// journaledSpace refuses a namespace that does not exist, and the system's, whose
// changes are not journaled; and any change while the journal is full.
func (t *tx) journaledSpace(ns holdall.NamespaceID) error {
	if ns == holdall.SystemNamespace {
		return fmt.Errorf("metadata: the system namespace holds no objects: %w", holdall.ErrInvalid)
	}
	if err := t.knownSpace(ns); err != nil {
		return err
	}
	return t.journalRoom()
}

// releaseNode removes the row of a node that is due, and drops the references of
// its children.
type releaseNode struct {
	Namespace holdall.NamespaceID
	Node      holdall.BlockID
	Children  []holdall.BlockID
}

func (*releaseNode) tag() commandTag { return tagReleaseNode }
func (c *releaseNode) check() error  { return checkNode(c.Node, c.Children, 0) }

func (c *releaseNode) encode(dst []byte) []byte {
	return putNode(dst, c.Namespace, &c.Node, c.Children)
}

func (c *releaseNode) decode(d *decoder) {
	c.Namespace, c.Node, c.Children = d.namespace(), d.blockID(), d.idsUpTo(holdall.MaxNodeEntries)
}

// run refuses, and changes nothing, unless every child has the references that
// are to be dropped: a node whose bytes say something else than what was counted
// stays, and so does what it holds. Rather a leak than a loss.
func (c *releaseNode) run(t *tx) (result, error) {
	if t.sys.Quarantine != "" {
		return nil, t.quarantined("purge")
	}
	if err := t.journaledSpace(c.Namespace); err != nil {
		return nil, err
	}
	old, err := t.block(c.Namespace, &c.Node)
	if err != nil {
		return nil, err
	}
	due, err := t.purgeDue(&old)
	if err != nil {
		return nil, err
	}
	answer := new(purgeAnswer)
	if !due || !old.Node {
		answer.Waiting = 1
		return answer, nil
	}
	if !t.mayPurge() {
		answer.Stopped = true
		return answer, nil
	}
	list := counted(c.Children)
	if err := t.fetchListed(c.Namespace, list); err != nil {
		return nil, err
	}
	t.change(Change{Kind: ChangeNodeGone, Namespace: c.Namespace, ID: c.Node})
	if err := t.setBlock(&old, &Block{Namespace: c.Namespace, ID: c.Node}); err != nil {
		return nil, err
	}
	for i := range list {
		had, err := t.unrefer(c.Namespace, &list[i].id, list[i].times)
		if err != nil {
			return nil, err
		}
		if !had {
			return nil, fmt.Errorf("metadata: node %v lists block %v %d times, which has not as many references: %w", c.Node, list[i].id, list[i].times, holdall.ErrCorrupt)
		}
	}
	answer.Purged = 1
	return answer, nil
}
