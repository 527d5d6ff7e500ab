package node

import (
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

func TestMembersWithoutRecordsAreNotMissing(t *testing.T) {
	here, away := holdall.DiskID{1}, holdall.DiskID{2}
	members := []metadata.Member{{Disk: here, End: 4096}, {Disk: away, End: 4096}, {Disk: away}, {Disk: here}}
	if got := missingMembers(members, map[holdall.DiskID]bool{here: true}); got != 1 {
		t.Errorf("%d members missing, want 1: the other one away has no record", got)
	}
}

func TestOnlyDisksThatCouldTakeWritesCountAsFull(t *testing.T) {
	active := metadata.Disk{State: holdall.DiskActive}
	ok := volume.DiskStatus{State: holdall.DiskActive}
	room := ok
	room.FreeZones = 1
	disks := []diskState{{active, ok, true}, {active, room, true}, {active, volume.DiskStatus{}, false}, {metadata.Disk{State: holdall.DiskFailed}, ok, true}}
	if got := fullDisks(disks); got != 1 {
		t.Errorf("%d disks are full, want 1", got)
	}
}
