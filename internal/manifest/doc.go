// Package manifest encodes what an object is made of: the tree of blocks whose
// root names bucket, key and version, and the attributes and tags that a root
// and a row of metadata carry. It does arithmetic on bytes: no files, no
// network, no clock. docs/format/object.md is its page.
package manifest
