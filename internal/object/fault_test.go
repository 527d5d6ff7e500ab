package object_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
)

// rounds lets upkeep work until it has nothing more to purge, by its own clock and
// by metadata's, which is a little behind.
func (r *rig) rounds() {
	r.t.Helper()
	for last, same := r.all(), 0; same < 3; same++ {
		r.cell.Advance(time.Second)
		if err := r.cell.Upkeep.Round(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
		if n := r.all(); n != last {
			last, same = n, 0
		}
	}
}

// all returns how many rows of blocks the namespace has, in trash or not.
func (r *rig) all() (n int64) {
	r.t.Helper()
	volumes, err := r.cell.Store.Volumes()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, v := range volumes {
		if !v.System {
			n += v.Rows
		}
	}
	return n
}

// Whatever was put, in whatever way it went, nothing of it is left once all is
// deleted and its retention is over; and what is not deleted loses nothing.
func TestWhatIsDeletedGoesAndWhatIsNotStays(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 100, 3)
	ctx := t.Context()
	b, kept := r.bytes(3000), r.bytes(2000)
	r.put("gone", b)
	r.put("kept", kept)
	r.put("gone", append(bytes.Clone(b), kept...)) // shares with both
	if _, err := r.Copy(ctx, object.CopyRequest{Place: at("copy"), From: at("kept")}); err != nil {
		t.Fatal(err)
	}
	u := r.begin("upload")
	r.complete(u, r.part(u, 1, b), r.part(u, 3, kept))
	aborted := r.begin("aborted")
	r.part(aborted, 1, r.bytes(1000))
	if err := r.Abort(ctx, aborted); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	_, err := r.Put(ctx, object.PutRequest{Place: at("never"), Body: io.MultiReader(bytes.NewReader(r.bytes(2500)), iotest.ErrReader(broken)), Size: -1})
	want(t, "a body that fails", err, broken)

	for _, k := range []string{"gone", "upload", "kept"} {
		if _, err := r.Delete(ctx, object.DeleteRequest{Place: at(k)}); err != nil {
			t.Fatal(err)
		}
	}
	r.cell.Advance(sim.Retention - time.Hour)
	r.rounds()
	if _, err := r.Undelete(ctx, at("kept")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.cell.Advance(sim.Retention + 25*time.Hour)
		r.rounds()
	}
	r.same("kept", kept)
	r.same("copy", kept)
	for _, k := range []string{"gone", "upload"} {
		_, err := r.Head(ctx, at(k), 0)
		want(t, k, err, object.ErrNoKey)
	}
	fresh := newRig(t, sim.Config{}, nil)
	fresh.Cut(10, 100, 3)
	fresh.put("kept", kept)
	if got, want := r.all(), fresh.all()+1; got != want { // the copy's root
		t.Errorf("%d blocks are left, want %d", got, want)
	}
	for _, k := range []string{"kept", "copy"} {
		if _, err := r.Delete(ctx, object.DeleteRequest{Place: at(k)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		r.cell.Advance(sim.Retention + 25*time.Hour)
		r.rounds()
	}
	if n := r.all(); n != 0 {
		t.Errorf("%d blocks are left of nothing", n)
	}
}

// A reader that has begun goes on while its object is overwritten and deleted. Once
// it is purged it gets no other bytes, but an error that says so.
func TestReaderIsNotDisturbedByADelete(t *testing.T) {
	r := newRig(t, sim.Config{}, func(cfg *object.Config) { cfg.ReadAhead = -1 })
	r.Cut(10, 1000, 3)
	b := r.bytes(20_000)
	r.put("k", b)
	rd, err := r.Open(t.Context(), at("k"), object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	got := make([]byte, 3000)
	if _, err := io.ReadFull(rd, got); err != nil {
		t.Fatal(err)
	}
	r.put("k", []byte("other"))
	if _, err := r.Delete(t.Context(), object.DeleteRequest{Place: at("k")}); err != nil {
		t.Fatal(err)
	}
	more := make([]byte, 9500)
	if _, err := io.ReadFull(rd, more); err != nil || !bytes.Equal(append(got, more...), b[:12_500]) {
		t.Fatalf("after the delete: %v", err)
	}
	for range 3 {
		r.cell.Advance(sim.Retention + 25*time.Hour)
		r.rounds()
	}
	rest, err := io.ReadAll(rd)
	want(t, "after the purge", err, object.ErrNoVersion)
	if !bytes.Equal(rest, b[12_500:][:len(rest)]) {
		t.Error("after the purge: other bytes")
	}
}

// Puts and gets of many at once in little memory wait for each other, and all come
// to their end: nobody waits for memory while others wait for his.
func TestManyAtOnceInLittleMemory(t *testing.T) {
	r := newRig(t, roomy(16<<20), nil) // one block of 4 MiB for puts, one for gets
	r.Cut(10, 1<<20, 3)
	var wg sync.WaitGroup
	bodies := make([][]byte, 8)
	for i := range bodies {
		bodies[i] = r.bytes(5<<20 + i)
	}
	for i, b := range bodies {
		wg.Go(func() {
			_, err := r.Put(t.Context(), object.PutRequest{Place: at(fmt.Sprint(i)), Body: bytes.NewReader(b), Size: -1})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, b := range bodies {
		wg.Go(func() {
			got, _, err := r.get(t.Context(), fmt.Sprint(i), object.GetOptions{})
			if err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	wg.Wait()
}

// A body that stands still between blocks holds no memory for puts.
func TestIdleBodyHoldsNoMemory(t *testing.T) {
	r := newRig(t, roomy(16<<20), nil)
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := r.Put(t.Context(), object.PutRequest{Place: at("slow"), Body: pr, Size: -1})
		done <- err
	}()
	b := r.bytes(holdall.MaxBlockSize)
	if _, err := pw.Write(b); err != nil { // all of it is received when Write returns
		t.Fatal(err)
	}
	r.put("fast", b[1:]) // would wait for ever otherwise: there is room for one
	pw.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	r.same("slow", b)
}

// A body that comes slowly is cut into smaller blocks, so that it holds little
// memory for little time; one that comes faster again, into larger ones.
func TestSlowBodyHoldsLittleMemory(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 100_000, 1000)
	b := r.bytes(700_000)
	var body []io.Reader
	for i := 0; i < 100_000; i += 5000 {
		body = append(body, bytes.NewReader(b[i:][:5000]), call(func() { r.cell.Advance(2 * time.Second) }))
	}
	body = append(body, bytes.NewReader(b[100_000:]))
	o, err := r.Put(t.Context(), object.PutRequest{Place: at("k"), Body: io.MultiReader(body...), Size: int64(len(b))})
	if err != nil {
		t.Fatal(err)
	}
	r.same("k", b)
	ids, err := r.Children(t.Context(), ns, o.Root)
	if err != nil {
		t.Fatal(err)
	}
	var sizes []uint32
	for _, row := range r.rows(ids...) {
		sizes = append(sizes, row.Location.Length)
	}
	if most := slices.Max(sizes[:4]); most > 20_000 {
		t.Errorf("slow blocks of up to %d bytes: %v", most, sizes)
	}
	if slices.Max(sizes) != 100_000 || len(sizes) > 25 {
		t.Errorf("blocks of %v", sizes)
	}
}

// meddler makes calls fail between objects and the cell.
type meddler struct {
	object.Commits
	object.Parts
	object.Blocks
	mu     sync.Mutex // guards gone
	gone   []func(root holdall.BlockID, children []holdall.BlockID) []holdall.BlockID
	claims int
	full   int // how many of the next commits find no room
}

func (m *meddler) next(root holdall.BlockID, children []holdall.BlockID) []holdall.BlockID {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.gone) == 0 {
		return nil
	}
	f := m.gone[0]
	m.gone = m.gone[1:]
	return f(root, children)
}

func (m *meddler) room() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full == 0 {
		return nil
	}
	m.full--
	return holdall.ErrExhausted
}

func (m *meddler) CommitNode(ctx context.Context, ns holdall.NamespaceID, node holdall.BlockID, children []holdall.BlockID, nodes int) ([]holdall.BlockID, error) {
	if gone := m.next(node, children); gone != nil {
		return gone, nil
	}
	if err := m.room(); err != nil {
		return nil, err
	}
	return m.Commits.CommitNode(ctx, ns, node, children, nodes)
}

func (m *meddler) CommitObject(ctx context.Context, c metadata.ObjectCommit) (metadata.Object, []holdall.BlockID, error) {
	if gone := m.next(c.Root, c.Children); gone != nil {
		return metadata.Object{}, gone, nil
	}
	if err := m.room(); err != nil {
		return metadata.Object{}, nil, err
	}
	return m.Commits.CommitObject(ctx, c)
}

func (m *meddler) ClaimPending(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) ([]holdall.BlockID, error) {
	m.mu.Lock()
	m.claims += len(ids)
	m.mu.Unlock()
	return m.Blocks.ClaimPending(ctx, ns, ids)
}

func meddled(t *testing.T) (*rig, *meddler) {
	m := &meddler{}
	r := newRig(t, sim.Config{}, func(cfg *object.Config) {
		m.Commits, m.Parts, m.Blocks = cfg.Commits, cfg.Parts, cfg.Blocks
		cfg.Commits, cfg.Blocks = m, m
	})
	r.Cut(10, 100, 3)
	return r, m
}

func TestManifestThatIsGoneIsPutAgain(t *testing.T) {
	r, m := meddled(t)
	itself := func(root holdall.BlockID, _ []holdall.BlockID) []holdall.BlockID { return []holdall.BlockID{root} }
	b := r.bytes(2000)
	m.gone = append(m.gone, itself, nil2, itself, itself)
	r.put("k", b)
	r.same("k", b)
	m.gone = append(m.gone, itself, itself, itself)
	_, err := r.Put(t.Context(), object.PutRequest{Place: at("k"), Body: bytes.NewReader(nil)})
	want(t, "gone again and again", err, holdall.ErrUnavailable)
	r.same("k", b)
}

func nil2(holdall.BlockID, []holdall.BlockID) []holdall.BlockID { return nil }

func TestCommitWaitsForRoomInMetadata(t *testing.T) {
	r, m := meddled(t)
	b := r.bytes(1500)
	m.full = 3
	r.put("k", b)
	r.same("k", b)
	m.full = 1 << 30
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := r.Put(ctx, object.PutRequest{Place: at("k"), Body: bytes.NewReader([]byte("abc")), Size: 3})
	want(t, "no room", err, holdall.ErrExhausted)
	m.full = 0
	r.same("k", b)
}

func TestDataThatIsGoneFailsThePut(t *testing.T) {
	r, m := meddled(t)
	b := r.bytes(2000)
	r.put("k", b)
	child := func(_ holdall.BlockID, children []holdall.BlockID) []holdall.BlockID { return children[:1] }
	m.gone = append(m.gone, child)
	_, err := r.Put(t.Context(), object.PutRequest{Place: at("k"), Body: bytes.NewReader(r.bytes(500)), Size: -1})
	want(t, "put", err, holdall.ErrUnavailable)
	r.same("k", b)
	// A copy begins anew, and in the end says that it cannot.
	m.gone = append(m.gone, child, child)
	if _, err := r.Copy(t.Context(), object.CopyRequest{Place: at("copy"), From: at("k")}); err != nil {
		t.Error(err)
	}
	r.same("copy", b)
	m.gone = append(m.gone, child, child, child)
	_, err = r.Copy(t.Context(), object.CopyRequest{Place: at("copy"), From: at("k")})
	want(t, "copy", err, holdall.ErrUnavailable)
}

// A put that takes days: what no node lists yet is claimed anew, and is there at
// the end, although trash was purged meanwhile.
func TestPutThatTakesDaysKeepsItsBlocks(t *testing.T) {
	r, m := meddled(t)
	b := r.bytes(2000)
	var body []io.Reader
	for i := 0; i < len(b); i += 100 {
		body = append(body, bytes.NewReader(b[i:i+100]), call(func() {
			r.cell.Advance(7 * time.Hour)
			r.rounds()
		}))
	}
	if _, err := r.Put(t.Context(), object.PutRequest{Place: at("k"), Body: io.MultiReader(body...), Size: int64(len(b))}); err != nil {
		t.Fatal(err)
	}
	if m.claims == 0 {
		t.Error("nothing was claimed anew")
	}
	r.cell.Advance(sim.Retention + 25*time.Hour)
	r.rounds()
	r.same("k", b)
}

func TestQuotaIsToldBeforeTheBodyIsRead(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 1000, 3)
	if err := r.cell.Store.SetNamespace(t.Context(), ns, sim.Retention, 10_000); err != nil {
		t.Fatal(err)
	}
	r.put("k", r.bytes(9000))
	read := 0
	_, err := r.Put(t.Context(), object.PutRequest{Place: at("more"), Size: 100_000,
		Body: io.MultiReader(bytes.NewReader(r.bytes(5000)), call(func() { read++ }), bytes.NewReader(r.bytes(95_000)))})
	want(t, "over the quota", err, holdall.ErrExhausted)
	if read > 0 {
		t.Error("the body was read on")
	}
	_, err = r.Head(t.Context(), at("more"), 0)
	want(t, "over the quota", err, object.ErrNoKey)
}

func TestFullCellFailsThePut(t *testing.T) {
	r := newRig(t, sim.Config{Disk: faultdisk.Config{ZoneSize: 256 << 10, Zones: 12}}, nil)
	r.Cut(10, 20_000, 3)
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		_, err = r.Put(t.Context(), object.PutRequest{Place: at(fmt.Sprint(n)), Body: bytes.NewReader(r.bytes(100_000)), Size: 100_000})
	}
	want(t, "a full cell", err, holdall.ErrExhausted)
	if _, err := r.Head(t.Context(), at(fmt.Sprint(n-1)), 0); !errors.Is(err, object.ErrNoKey) {
		t.Errorf("the put that failed: %v", err)
	}
	if n > 1 {
		if _, _, err := r.get(t.Context(), "0", object.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// Bytes that rotted are rebuilt; a block that is not what its id says is never
// handed out.
func TestReaderSurvivesLostDisks(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 5000, 3)
	b := r.bytes(100_000)
	r.put("k", b)
	r.restart()
	for i := range 2 {
		r.cell.Array.Disk(i).Unplug()
	}
	r.same("k", b)
}

var _ object.Blocks = (*gateway.Gateway)(nil)
