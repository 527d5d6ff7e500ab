// Package object makes objects of blocks: it cuts a stream into blocks, builds
// the manifest over them, and reads ranges back, every byte verified; it knows
// buckets, keys, versions, tags and multipart uploads. What it knows lies in
// metadata and in blocks; it keeps no state of its own, so a process that dies
// loses nothing, and it never touches a disk or a connection.
//
// Reading order: put.go and build.go (the tree grows from below), then read.go,
// upload.go, copy.go.
package object
