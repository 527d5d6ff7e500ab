package node

import (
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

func TestMembersWithoutRecordsAreNotMissing(t *testing.T) {
	here, away := holdall.DiskID{1}, holdall.DiskID{2}
	members := []metadata.Member{{Disk: here, End: 4096}, {Disk: away, End: 4096}, {Disk: away}, {Disk: here}}
	if got := missingMembers(members, map[holdall.DiskID]bool{here: true}); got != 1 {
		t.Errorf("%d members missing, want 1: the other one away has no record", got)
	}
}
