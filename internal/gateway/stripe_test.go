package gateway

import (
	"errors"
	"slices"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/packer"
	"github.com/holdall/holdall/metadata"
)

func TestBuffersOfAppendsThatDoNotReturnCountUntilTheyDo(t *testing.T) {
	g := &Gateway{receive: newBudget(1000)}
	a := &appends{waiting: map[int]int64{0: 10, 3: 20, 5: 30}}
	a.returned(g, 0)
	if waiting := g.giveUp(a); !slices.Equal(waiting, []int{3, 5}) || g.receive.inUse() != 50 {
		t.Fatalf("given up on %v with %d bytes counted, want [3 5] and 50", waiting, g.receive.inUse())
	}
	if g.receive.try(960) {
		t.Fatal("a put was let in on memory that a hung append still holds")
	}
	a.returned(g, 5)
	a.returned(g, 3)
	if g.receive.inUse() != 0 {
		t.Fatalf("%d bytes still counted", g.receive.inUse())
	}
}

func TestAStripeThatCannotBeCodedIsNotTriedOnEveryVolume(t *testing.T) {
	g := &Gateway{coders: newCoders(), receive: newBudget(1000)}
	if err := g.writeShards(t.Context(), &stripe{v: &openVolume{}}); !errors.Is(err, errEncode) {
		t.Errorf("a scheme that is none: %v, want it to end the stripe", err)
	}
}

func TestATakeoverUnderWayIsNotBegunAgain(t *testing.T) {
	s := newOpenSet(&Gateway{}, nil, 4) // which panics if it begins one
	s.reclaiming[7] = true
	s.reclaim(7)
	if !s.reclaiming[7] {
		t.Error("the takeover that was under way is forgotten")
	}
}

func TestOnlyProofMakesARefusedStripeCommitted(t *testing.T) {
	const volume = holdall.VolumeID(7)
	epoch := holdall.MakeEpoch(1, 5)
	st := &stripe{v: &openVolume{id: volume, epoch: epoch}, table: holdall.Stripe{Number: 3}, blocks: []placedBlock{{1, 4096, 10}, {2, 8192, 10}}}
	here := []metadata.Block{{}, {Found: true, Location: st.blocks[1].location(volume)}}
	away := []metadata.Block{{Found: true, Location: holdall.Location{Volume: 8, Member: 1, Offset: 4096, Length: 10}}, {}}
	row := func(s holdall.VolumeState, incarnation uint32, counter, last uint64) metadata.Volume {
		return metadata.Volume{ID: volume, State: s, Epoch: holdall.MakeEpoch(incarnation, counter), Last: last}
	}
	for _, tt := range []struct {
		what string
		v    metadata.Volume
		rows []metadata.Block
		want bool
	}{
		{"ours, committed, rows moved", row(holdall.VolumeOpen, 1, 5, 3), away, true},
		{"ours, not committed", row(holdall.VolumeOpen, 1, 5, 2), away, false},
		{"sealed, committed", row(holdall.VolumeSealed, 1, 6, 3), away, true},
		{"sealed, not committed", row(holdall.VolumeSealed, 1, 6, 2), away, false},
		{"taken, went on, no row here", row(holdall.VolumeOpen, 1, 6, 4), away, false},
		{"taken, went on, a row here", row(holdall.VolumeOpen, 1, 6, 4), here, true},
		{"taken, did not go on", row(holdall.VolumeOpen, 1, 6, 2), away, false},
		{"taken and sealed", row(holdall.VolumeSealed, 1, 7, 3), away, false},
		{"sealed in another incarnation", row(holdall.VolumeSealed, 2, 6, 3), away, false},
		{"gone", metadata.Volume{}, away, false},
	} {
		if got := st.committed(&tt.v, tt.rows); got != tt.want {
			t.Errorf("%s: committed %t", tt.what, got)
		}
	}
}

// The packer cannot ask metadata, so this says that they agree.
func TestEveryStripeThatIsCutFitsAnEntry(t *testing.T) {
	if packer.MaxBlocks > metadata.MaxCommitBlocks {
		t.Errorf("the packer cuts stripes of %d blocks, a commit has room for %d", packer.MaxBlocks, metadata.MaxCommitBlocks)
	}
}
