package metadata

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
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

// sums is what is counted of a volume, a namespace, the cell.
type sums struct{ rows, bytes, liveRows, live int64 }

func (s *sums) add(b *Block) {
	s.rows++
	s.bytes += int64(b.Location.Length)
	if b.Live() {
		s.liveRows++
		s.live += int64(b.Location.Length)
	}
}

// audit checks what must hold of every state: counts are those of the rows they
// count, the trash table lists exactly the rows that wait.
func audit(t testing.TB, r pebble.Reader) {
	t.Helper()
	byVolume, bySpace, all := map[holdall.VolumeID]sums{}, map[holdall.NamespaceID]sums{}, sums{}
	waits := map[waiting]bool{}
	for b, err := range blocks(r) {
		if err != nil {
			t.Fatal(err)
		}
		v, s := byVolume[b.Location.Volume], bySpace[b.Namespace]
		v.add(&b)
		s.add(&b)
		all.add(&b)
		byVolume[b.Location.Volume], bySpace[b.Namespace] = v, s
		if since := waitsSince(&b); since != 0 {
			waits[waiting{BlockKey{b.Namespace, b.ID}, since}] = true
		}
		if held := b.Direct || b.References > 0 || !b.PendingUntil.IsZero(); !held && b.TrashedAt.IsZero() {
			t.Errorf("nothing holds block %v and it is not in trash", b.ID)
		}
	}
	auditTrash(t, r, waits)
	auditNames(t, r)
	auditMigrations(t, r)
	auditCounts(t, r, byVolume, bySpace, all)
}

func auditTrash(t testing.TB, r pebble.Reader, waits map[waiting]bool) {
	t.Helper()
	for w, err := range trash(r, waiting{}, maxInstant+1) {
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
}

func auditCounts(t testing.TB, r pebble.Reader, byVolume map[holdall.VolumeID]sums, bySpace map[holdall.NamespaceID]sums, all sums) {
	t.Helper()
	n := int64(0)
	for v, err := range volumes(r) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if s := byVolume[v.ID]; v.Rows != s.rows || v.Bytes != s.bytes || v.Live != s.live {
			t.Errorf("volume %v counts %d rows, %d bytes, %d live; its rows say %+v", v.ID, v.Rows, v.Bytes, v.Live, s)
		}
		delete(byVolume, v.ID)
	}
	for v, s := range byVolume {
		t.Errorf("rows name volume %v, which is not there: %+v", v, s)
	}
	for v, err := range namespaces(r) {
		if err != nil {
			t.Fatal(err)
		}
		if s := bySpace[v.ID]; v.Blocks != s.liveRows || v.Bytes != s.live {
			t.Errorf("namespace %d counts %d blocks, %d bytes; its rows say %+v", v.ID, v.Blocks, v.Bytes, s)
		}
	}
	cell, err := readCell(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := (sums{cell.Blocks, cell.Bytes, cell.Live, cell.LiveBytes}); got != all || cell.Volumes != n {
		t.Errorf("cell counts %+v in %d volumes; its rows say %+v in %d", got, cell.Volumes, all, n)
	}
}
