// Package node makes a cell out of its parts: it locks the data directory, opens
// metadata and disks, starts gateway, upkeep, the gRPC server and the console,
// answers what operators ask, and takes everything down in the right order. It
// owns no data of its own but the data directory's lock and marker, and decides
// nothing that concerns blocks.
//
// Reading order: node.go (start and stop), datadir.go (lock and marker),
// layout.go (which scheme, which memory), disks.go and mount.go (how a disk
// comes into use), watch.go (disks that go and come back), status.go and
// admin.go (operators), roles.go (adapters between the parts).
package node
