// Package client is the Go client of a Holdall cell: it puts blocks, gets them
// back, and asks what operators ask. It trusts no server with bytes: what it
// puts it hashed itself, and what it gets it hashes again. It never touches
// disks, and keeps no state but its connections.
//
// Reading order: client.go (connections), block.go (put and get), object.go,
// object_put.go and object_get.go (the same for objects, as streams), admin.go
// and namespace.go (operators), retry.go and stream.go (when it tries again),
// status.go (errors, both ways), codec.go (how block bytes pass gRPC without
// being copied).
package client
