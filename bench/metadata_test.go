package bench

import (
	"errors"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

func TestMetadataCountsWhatItStored(t *testing.T) {
	const blocks = 20_001 // the last stripe is not full
	var done int64
	r, err := Metadata(t.Context(), MetadataConfig{Blocks: blocks, Dir: t.TempDir(), Duration: 10 * time.Millisecond,
		Progress: func(d, _ int64) { done = d }})
	if err != nil {
		t.Fatal(err)
	}
	if r.Blocks != blocks || done != blocks {
		t.Errorf("%d blocks in the result, %d told as progress, want %d", r.Blocks, done, blocks)
	}
	if r.BytesPerBlock < 34 { // a key alone is more
		t.Errorf("%.1f bytes a block: less than a key takes", r.BytesPerBlock)
	}
	if r.LookupsPerS <= 0 || r.LookupsCore <= 0 {
		t.Errorf("no rate of lookups: %+v", r)
	}
	if _, err := Metadata(t.Context(), MetadataConfig{Blocks: -1}); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("-1 blocks: %v, want ErrInvalid", err)
	}
}
