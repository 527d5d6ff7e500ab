package node

import (
	"github.com/holdall/holdall/migration/door"
	"github.com/holdall/holdall/migration/worker"
)

// newDoor makes what both front doors go through: it finds the store that an
// object belongs in. It touches no file, and no server until a bucket migrates.
func (n *Node) newDoor() (*door.Door, error) {
	s := n.store
	return door.New(door.Config{Objects: n.objects, Names: s, Migrations: s, Intents: s, Notes: s, Logger: n.log, Registerer: n.registry})
}

// newWorkers makes what works for buckets that migrate. It touches no file and no
// server until there is one.
func (n *Node) newWorkers() (*worker.Runner, error) {
	s := n.store
	return worker.New(worker.Config{
		Objects: n.objects, Uploads: n.objects, Names: s, Migrations: s, Steps: s, Doors: s, Intents: s, Outbox: s, Faults: s, Notes: s, Cell: s,
		Dir: n.dir.path, Code: n.version, Logger: n.log, Registerer: n.registry,
	})
}
