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

// TestFooterThatCannotBeIsCorrupt: a superblock, its checksums right, that names
// a longer footer than any, or one beyond the extent's zones, is refused before
// anyone takes memory for it.
func TestFooterThatCannotBeIsCorrupt(t *testing.T) {
	for name, x := range map[string]struct {
		footer int64
		size   uint32
		want   error
	}{
		"whole":                      {8192, 8192, nil},
		"longer than any":            {8192, 1<<32 - SectorSize, holdall.ErrCorrupt},
		"longer than any, by one":    {8192, uint32(FooterSize(holdall.MaxVolumeStripes, exampleScheme.N())) + SectorSize, holdall.ErrCorrupt},
		"as long as any":             {8192, uint32(FooterSize(holdall.MaxVolumeStripes, exampleScheme.N())), nil},
		"runs out of its zones":      {(2 << 30) - 2*SectorSize - 4096, 8192, holdall.ErrCorrupt},
		"begins beyond its zones":    {2 << 30, 8192, holdall.ErrCorrupt},
		"ends where its zones end":   {(2 << 30) - 2*SectorSize - 8192, 8192, nil},
		"far beyond, and would wrap": {MaxExtentBytes - SectorSize, 8192, holdall.ErrCorrupt},
	} {
		c := newCatalog(Identity{Cell: exampleCell, Disk: exampleDisk, ZoneSize: 1 << 30})
		for _, ch := range []change{
			{kind: changeExtent, extent: exampleExtent, scheme: exampleScheme, limit: 3 << 30, epoch: exampleExtent.Created},
			{kind: changeZone, extent: exampleExtent, zone: 2, generation: 1},
			{kind: changeZone, extent: exampleExtent, zone: 3, generation: 1, place: 1},
		} {
			if err := c.check(&ch); err != nil {
				t.Fatal(err)
			}
			c.apply(&ch)
		}
		ch := change{kind: changeSealed, extent: exampleExtent, epoch: exampleExtent.Created, end: 8192, last: 1, footer: x.footer, footerSize: x.size}
		if err := c.check(&ch); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
	}
}
