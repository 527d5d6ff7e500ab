package manifest

import (
	"fmt"

	"github.com/holdall/holdall"
)

// EncodePart returns what the row of an upload's part carries: the height of its
// block, as its entry in the object's manifest will have it, and its attributes.
// Errors are those of Attributes.Encode.
func EncodePart(height uint8, a *Attributes) ([]byte, error) {
	invariant(height <= MaxHeight, "manifest: part of height %d", height)
	b, err := a.Encode()
	if err != nil {
		return nil, fmt.Errorf("part: %w", err)
	}
	return append([]byte{height}, b...), nil
}

// ParsePart reads what EncodePart wrote. Errors are ErrCorrupt.
func ParsePart(b []byte) (height uint8, a Attributes, err error) {
	if len(b) == 0 || b[0] > MaxHeight {
		return 0, a, corrupt("part", "has attributes of %d bytes that begin with %x", len(b), b[:min(1, len(b))])
	}
	a, err = ParseAttributes(b[1:])
	return b[0], a, err
}

// Children returns the blocks that a block lists which is a node or a root, each
// once for every time it is listed. Errors are ErrCorrupt.
func Children(b []byte) ([]holdall.BlockID, error) {
	if len(b) >= len(rootMagic) && string(b[:len(rootMagic)]) == rootMagic {
		r, err := ParseRoot(b)
		if err != nil {
			return nil, err
		}
		return r.Children(), nil
	}
	n, err := ParseNode(b)
	if err != nil {
		return nil, err
	}
	return n.Children(), nil
}
