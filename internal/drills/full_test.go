package drills

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

// imageCell makes a cell on nine image files of the size given.
func imageCell(t testing.TB, size int64, args ...string) (*cell, []string) {
	t.Helper()
	c := newCell(t, args...)
	dir := t.TempDir()
	var images []string
	for i := range 9 {
		image := filepath.Join(dir, fmt.Sprintf("disk%d.img", i))
		f, err := os.Create(image)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
			t.Fatal(err)
		}
		images = append(images, image)
		c.args = append(c.args, "--disk", image)
	}
	return c, images
}

// TestFullCellRefusesThenRecovers fills nine disks of 200 MiB, deletes most of
// it, and fills them again without a restart.
func TestFullCellRefusesThenRecovers(t *testing.T) {
	c, _ := imageCell(t, 200<<20, "--zone-size", "4MiB", "--retention", "0", "--free-hold", "0")
	c.start()
	cl := c.dial()
	l := &ledger{}
	fill := func() (stored []holdall.BlockID, refusal error) {
		for {
			id, err := cl.Put(t.Context(), blockOf(l.next.Add(1), 1<<20))
			if err != nil {
				return stored, err
			}
			stored = append(stored, id)
			before := l.count()
			l.putUntil(t.Context(), cl, 16, fixed(1<<20), func(acked int) bool { return acked >= before+64 || l.failed > 0 })
			stored = append(stored, l.ids()[before:]...)
			l.failed = 0
		}
	}
	first, refusal := fill()
	t.Logf("first fill: %d MiB, then: %v", len(first), refusal)
	if !errors.Is(refusal, holdall.ErrExhausted) {
		t.Fatalf("a full cell refuses a put with %v, want RESOURCE_EXHAUSTED", refusal)
	}
	mustReadAll(t, cl, first, "when full")
	dead, kept := first[:len(first)-20], first[len(first)-20:]
	for i := 0; i < len(dead); i += 500 {
		if _, err := cl.Delete(t.Context(), dead[i:min(i+500, len(dead))]); err != nil {
			t.Fatalf("delete on a full cell: %v", err)
		}
	}
	began := time.Now()
	again := &ledger{}
	again.next.Store(1 << 32)
	again.putUntil(t.Context(), cl, 16, fixed(1<<20), func(acked int) bool {
		return acked >= len(first)/2 || time.Since(began) > 60*time.Second
	})
	t.Logf("second fill: %d MiB within %v", again.count(), time.Since(began).Round(time.Millisecond))
	if again.count() < len(first)/2 {
		t.Errorf("%d of %d MiB could be put again within 60 s, want half", again.count(), len(first))
	}
	mustReadAll(t, cl, kept, "the newest 20 MiB after the second fill")
}
