package manifest

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/holdall/holdall"
)

// MaxHeight is the most nodes on the way from a root to a data block, the root
// not counted. Puts make 2 at most and uploads 4 (48.8 TiB of blocks of 4 MiB
// is 3 times 1,024 wide); the rest is room.
const MaxHeight = 7

// Entry is a child of a node or of a root.
type Entry struct {
	Height uint8 // 0: the block is bytes of the object; else a node, this many steps above them
	ID     holdall.BlockID
	Size   int64 // bytes of the object that it stands for
}

// Node is a block that lists the blocks of a stretch of an object, in order.
type Node struct {
	Entries []Entry // 1 to holdall.MaxNodeEntries
}

// Offsets in a node (docs/format/object.md).
const (
	nodeMagic = "HOLDNODE"

	nodeVersion  = 8
	nodeHeight   = 10
	nodeReserved = 11
	nodeCount    = 12
	nodeSize     = 16
	nodeHeader   = 24

	entryHeight = 0
	entryID     = 1
	entrySize   = 33
	entryBytes  = 41

	version = 1
)

// Height returns how far the node is above data blocks: one more than the
// highest of its entries.
func (n *Node) Height() uint8 { return height(n.Entries) + 1 }

// Size returns the bytes of the object that the node stands for.
func (n *Node) Size() int64 { return size(n.Entries) }

// Children returns the blocks that the node lists, each once for every time it
// is listed.
func (n *Node) Children() []holdall.BlockID { return ids(n.Entries) }

// Listed returns the same, the nodes among them first, and how many those are: what
// a commit asks for.
func (n *Node) Listed() (children []holdall.BlockID, nodes int) { return split(n.Entries) }

func height(entries []Entry) (h uint8) {
	for i := range entries {
		h = max(h, entries[i].Height)
	}
	return h
}

func size(entries []Entry) (total int64) {
	for i := range entries {
		total += entries[i].Size
	}
	return total
}

// split returns what entries list, nodes first, and how many those are.
func split(entries []Entry) (list []holdall.BlockID, nodes int) {
	list = make([]holdall.BlockID, 0, len(entries))
	for i := range entries {
		if entries[i].Height > 0 {
			list = append(list, entries[i].ID)
		}
	}
	nodes = len(list)
	for i := range entries {
		if entries[i].Height == 0 {
			list = append(list, entries[i].ID)
		}
	}
	return list, nodes
}

func ids(entries []Entry) []holdall.BlockID {
	list := make([]holdall.BlockID, len(entries))
	for i := range entries {
		list[i] = entries[i].ID
	}
	return list
}

// Encode returns the node's block. It panics on a node that could not be read
// back: no entries or too many, sizes out of range, too high.
func (n *Node) Encode() []byte {
	err := checkEntries(n.Entries)
	if err == nil && n.Height() > MaxHeight {
		err = fmt.Errorf("height %d", n.Height())
	}
	invariant(err == nil, "manifest: node: %v", err)
	b := make([]byte, nodeHeader, nodeHeader+len(n.Entries)*entryBytes)
	copy(b, nodeMagic)
	le := binary.LittleEndian
	le.PutUint16(b[nodeVersion:], version)
	b[nodeHeight] = n.Height()
	le.PutUint32(b[nodeCount:], uint32(len(n.Entries)))
	le.PutUint64(b[nodeSize:], uint64(n.Size()))
	return appendEntries(b, n.Entries)
}

// ParseNode reads a node's block. It keeps nothing of b. Errors are ErrCorrupt.
func ParseNode(b []byte) (*Node, error) {
	bad := func(format string, args ...any) (*Node, error) { return nil, corrupt("node", format, args...) }
	le := binary.LittleEndian
	switch {
	case len(b) < nodeHeader:
		return bad("has %d bytes, its header alone %d", len(b), nodeHeader)
	case string(b[:nodeVersion]) != nodeMagic:
		return bad("begins with %q", b[:nodeVersion])
	case le.Uint16(b[nodeVersion:]) != version:
		return bad("has version %d, this program reads %d", le.Uint16(b[nodeVersion:]), version)
	case b[nodeReserved] != 0:
		return bad("reserved byte is %d", b[nodeReserved])
	}
	n := &Node{}
	var err error
	if n.Entries, err = parseEntries(b[nodeHeader:], le.Uint32(b[nodeCount:])); err != nil {
		return bad("%v", err)
	}
	switch {
	case n.Height() != b[nodeHeight] || n.Height() > MaxHeight:
		return bad("says height %d, its entries %d, at most %d", b[nodeHeight], n.Height(), MaxHeight)
	case uint64(n.Size()) != le.Uint64(b[nodeSize:]):
		return bad("says %d bytes, its entries %d", le.Uint64(b[nodeSize:]), n.Size())
	}
	return n, nil
}

func appendEntries(b []byte, entries []Entry) []byte {
	for i := range entries {
		e := &entries[i]
		b = append(b, e.Height)
		b = append(b, e.ID[:]...)
		b = binary.LittleEndian.AppendUint64(b, uint64(e.Size))
	}
	return b
}

func parseEntries(b []byte, count uint32) ([]Entry, error) {
	if count > holdall.MaxNodeEntries || len(b) != int(count)*entryBytes {
		return nil, fmt.Errorf("%d entries, at most %d, in %d bytes", count, holdall.MaxNodeEntries, len(b))
	}
	entries := make([]Entry, count)
	for i := range entries {
		e := b[i*entryBytes:][:entryBytes]
		entries[i] = Entry{Height: e[entryHeight], ID: holdall.BlockID(e[entryID:entrySize]), Size: int64(binary.LittleEndian.Uint64(e[entrySize:]))}
	}
	return entries, checkEntries(entries)
}

// checkEntries holds before entries are written and after they are read.
func checkEntries(entries []Entry) error {
	if len(entries) == 0 || len(entries) > holdall.MaxNodeEntries {
		return fmt.Errorf("%d entries, want 1 to %d", len(entries), holdall.MaxNodeEntries)
	}
	total := int64(0)
	for i, e := range entries {
		switch {
		case e.Height >= MaxHeight+1:
			return fmt.Errorf("entry %d has height %d, at most %d", i, e.Height, MaxHeight)
		case e.Size < 1 || e.Height == 0 && e.Size > holdall.MaxBlockSize || e.Size > math.MaxInt64-total:
			return fmt.Errorf("entry %d of height %d stands for %d bytes", i, e.Height, e.Size)
		}
		total += e.Size
	}
	return nil
}

func corrupt(what, format string, args ...any) error {
	return fmt.Errorf("manifest: %s %s: %w", what, fmt.Sprintf(format, args...), holdall.ErrCorrupt)
}

// invariant panics when the program is wrong, not its input.
func invariant(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}
