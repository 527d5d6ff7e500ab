// Package holdall is the vocabulary of the Holdall storage engine: the ids,
// limits, states and errors that every other package speaks. It holds no
// behaviour beyond naming, parsing and hashing, and imports no other package of
// this module.
//
// Reading order: block.go (what users store), scheme.go (how it is coded),
// volume.go (where it lies), disk.go (what it lies on), errors.go (what can go
// wrong). ARCHITECTURE.md has the picture.
package holdall
