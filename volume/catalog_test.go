package volume

import (
	"errors"
	"testing"

	"github.com/holdall/holdall"
)

// TestCatalogRefusesImpossibleChanges: each of these, in a log that was read,
// means that bytes are wrong.
func TestCatalogRefusesImpossibleChanges(t *testing.T) {
	other := exampleExtent
	other.Member = 0
	for name, ch := range map[string]change{
		"extent made twice":            {kind: changeExtent, extent: exampleExtent, scheme: exampleScheme, limit: 4096},
		"extent without a scheme":      {kind: changeExtent, extent: other, limit: 4096},
		"extent without a limit":       {kind: changeExtent, extent: other, scheme: exampleScheme},
		"zone of no extent":            {kind: changeZone, extent: other, zone: 9, generation: 1},
		"zone of the superblock":       {kind: changeZone, extent: exampleExtent, zone: 1, generation: 1, place: 1},
		"zone with an owner":           {kind: changeZone, extent: exampleExtent, zone: 5, generation: 2, place: 1},
		"zone far away":                {kind: changeZone, extent: exampleExtent, zone: maxZones, generation: 1, place: 1},
		"zone out of place":            {kind: changeZone, extent: exampleExtent, zone: 9, generation: 1, place: 2},
		"zone of a generation used":    {kind: changeZone, extent: exampleExtent, zone: 9, generation: 0, place: 1},
		"zone of a generation to come": {kind: changeZone, extent: exampleExtent, zone: 9, generation: 2, place: 1},
		"epoch that falls":             {kind: changeEpoch, extent: exampleExtent, epoch: 1},
		"sealed again, elsewhere":      {kind: changeSealed, extent: exampleExtent, epoch: holdall.MakeEpoch(1, 9), end: 28672, last: 5, footer: 28672, footerSize: 8192},
		"incarnation that falls":       {kind: changeIncarnation, incarnation: 5},
		"state that is none":           {kind: changeState, state: 9},
		"freed, but not there":         {kind: changeFreed, extent: other},
	} {
		if err := exampleCatalog(t).check(&ch); !errors.Is(err, holdall.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	again := exampleChanges()[3]
	if err := exampleCatalog(t).check(&again); err != nil {
		t.Errorf("the same seal twice: %v", err)
	}
}
