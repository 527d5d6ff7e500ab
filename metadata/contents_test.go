package metadata

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// contents returns the whole state as text, but for how far it is applied, its
// clock and the running checksum, which every entry may change.
func contents(t testing.TB, r pebble.Reader) string {
	t.Helper()
	var b strings.Builder
	for kv, err := range rows(r, nil, []byte{0xff}) {
		if err != nil {
			t.Fatal(err)
		}
		if string(kv.key) != string(keyProgress[:]) {
			fmt.Fprintf(&b, "%x: %x\n", kv.key, kv.value)
		}
	}
	var s system
	if err := s.load(r); err != nil {
		t.Fatal(err)
	}
	s.Applied, s.Term, s.Clock, s.sum = 0, 0, time.Time{}, 0
	fmt.Fprintf(&b, "%+v\n", s)
	return b.String()
}

// everything returns every byte of the state as text.
func everything(t testing.TB, r pebble.Reader) string {
	t.Helper()
	var b strings.Builder
	for kv, err := range rows(r, nil, []byte{0xff}) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%x: %x\n", kv.key, kv.value)
	}
	return b.String()
}

// audit checks what must hold of every state: counts are those of the rows they
// count, the trash table lists exactly the rows that wait.
func audit(t testing.TB, r pebble.Reader) {
	t.Helper()
	cell, err := readCell(r)
	if err != nil {
		t.Fatal(err)
	}
	type sums struct{ rows, bytes, live, liveRows int64 }
	byVolume, bySpace, all := map[any]*sums{}, map[any]*sums{}, &sums{}
	add := func(m map[any]*sums, k any) *sums {
		if m[k] == nil {
			m[k] = &sums{}
		}
		return m[k]
	}
	waits := map[waiting]bool{}
	for b, err := range blocks(r) {
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*sums{add(byVolume, b.Location.Volume), add(bySpace, b.Namespace), all} {
			s.rows++
			s.bytes += int64(b.Location.Length)
			if b.Live() {
				s.live += int64(b.Location.Length)
				s.liveRows++
			}
		}
		if since := waitsSince(&b); since != 0 {
			waits[waiting{BlockKey{b.Namespace, b.ID}, since}] = true
		}
		if held := b.Direct || b.References > 0 || !b.PendingUntil.IsZero(); !held && b.TrashedAt.IsZero() {
			t.Errorf("nothing holds block %v and it is not in trash", b.ID)
		}
	}
	for w, err := range trash(r, maxInstant+1) {
		if err != nil {
			t.Fatal(err)
		}
		if !waits[w] {
			t.Errorf("trash lists %+v, which does not wait", w)
		}
		delete(waits, w)
	}
	for w := range waits {
		t.Errorf("trash does not list %+v", w)
	}
	var n int64
	for v, err := range volumes(r) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		s := add(byVolume, v.ID)
		delete(byVolume, v.ID)
		if got := (sums{v.Rows, v.Bytes, v.Live, s.liveRows}); got != *s {
			t.Errorf("volume %v counts %+v, its rows say %+v", v.ID, got, *s)
		}
	}
	for v, s := range byVolume {
		t.Errorf("rows name volume %v, which is not there: %+v", v, *s)
	}
	for v, err := range namespaces(r) {
		if err != nil {
			t.Fatal(err)
		}
		if s := add(bySpace, v.ID); v.Blocks != s.liveRows || v.Bytes != s.live {
			t.Errorf("namespace %d counts %d blocks, %d bytes, its rows say %+v", v.ID, v.Blocks, v.Bytes, *s)
		}
	}
	if got := (sums{cell.Blocks, cell.Bytes, cell.LiveBytes, cell.Live}); got != *all || cell.Volumes != n {
		t.Errorf("cell counts %+v in %d volumes, its rows say %+v in %d", got, cell.Volumes, *all, n)
	}
}
