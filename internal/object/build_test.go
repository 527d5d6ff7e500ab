package object

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"pgregory.net/rapid"
)

// memory is nodes kept in memory, or only counted.
type memory struct {
	forget bool
	byID   map[holdall.BlockID]*manifest.Node
	stored int
	widest int
	held   map[holdall.BlockID]int
	fail   error
}

func (m *memory) putNode(_ context.Context, n *manifest.Node) (holdall.BlockID, error) {
	if m.fail != nil {
		return holdall.BlockID{}, m.fail
	}
	m.stored++
	m.widest = max(m.widest, len(n.Entries))
	b := n.Encode() // panics on what could not be read
	id := holdall.HashBlock(b)
	if !m.forget {
		got, err := manifest.ParseNode(b)
		if err != nil {
			return id, err
		}
		m.byID[id] = got
	}
	return id, nil
}

func (m *memory) hold(_ context.Context, ids []holdall.BlockID) error {
	if len(ids) > holdall.MaxIDsPerCall {
		return holdall.ErrInvalid
	}
	for _, id := range ids {
		m.held[id]++
	}
	return m.fail
}

func numbered(n uint64) (id holdall.BlockID) {
	binary.BigEndian.PutUint64(id[24:], n)
	return id
}

func newMemory() *memory {
	return &memory{byID: map[holdall.BlockID]*manifest.Node{}, held: map[holdall.BlockID]int{}}
}

func (m *memory) walk(entries []manifest.Entry, offset, length int64) *walk {
	return &walk{path: []steps{entries}, skip: offset, left: length, load: func(_ context.Context, id holdall.BlockID, _ bool) (*manifest.Node, error) {
		n := m.byID[id]
		if n == nil {
			return nil, holdall.ErrNotFound
		}
		return n, nil
	}}
}

// Whatever is added to a tree, in whatever sizes and heights, is found again by
// its place.
func TestTreeIsWhatWasAdded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMemory()
		tr := newTree(m, rapid.IntRange(2, 5).Draw(rt, "entries of a node"), time.Now)
		var added []manifest.Entry
		var size int64
		for i := range rapid.IntRange(0, 200).Draw(rt, "blocks") {
			e := manifest.Entry{ID: numbered(uint64(i)), Size: rapid.Int64Range(1, 10).Draw(rt, "size")}
			added = append(added, e)
			size += e.Size
			if err := tr.add(rt.Context(), e); err != nil {
				rt.Fatal(err)
			}
		}
		entries, err := tr.finish(rt.Context())
		if err != nil || len(entries) > tr.max || m.widest > tr.max || tr.size != size || tr.count != int64(len(added)) {
			rt.Fatalf("%d entries, %d bytes, %d blocks, %v", len(entries), tr.size, tr.count, err)
		}
		from := rapid.Int64Range(0, size).Draw(rt, "from")
		length := rapid.Int64Range(0, size-from).Draw(rt, "length")
		w := m.walk(entries, from, length)
		at := int64(0)
		for _, e := range added {
			lo, hi := max(from, at), min(from+length, at+e.Size)
			if at += e.Size; lo >= hi {
				continue
			}
			want := piece{e, lo - (at - e.Size), hi - lo}
			if got, err := w.next(rt.Context(), false); err != nil || got != want {
				rt.Fatalf("got %+v, %v, want %+v", got, err, want)
			}
		}
		if p, err := w.next(rt.Context(), false); err != nil || p.length != 0 {
			rt.Fatalf("after the end: %+v, %v", p, err)
		}
	})
}

// The largest object there may be, of blocks of 4 MiB that nobody stores: memory
// does not grow with it, and its manifest is as low as it can be.
func TestLargestObjectTakesLittleMemory(t *testing.T) {
	m := newMemory()
	m.forget = true
	tr := newTree(m, holdall.MaxNodeEntries, time.Now)
	blocks := int64(holdall.MaxObjectSize) / holdall.MaxBlockSize
	if testing.Short() {
		blocks = 10 << 40 / holdall.MaxBlockSize
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range blocks {
		if err := tr.add(t.Context(), manifest.Entry{ID: numbered(uint64(i)), Size: holdall.MaxBlockSize}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&now)
	if grown := int64(now.HeapAlloc) - int64(before.HeapAlloc); grown > 2<<20 {
		t.Errorf("the tree over %d blocks takes %d bytes", blocks, grown)
	}
	entries, err := tr.finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := manifest.Root{BucketName: "bucket", Key: "k", Size: blocks * holdall.MaxBlockSize, Entries: entries}
	if _, err := r.Encode(); err != nil {
		t.Error(err)
	}
	if high := slices.MaxFunc(entries, func(a, b manifest.Entry) int { return int(a.Height) - int(b.Height) }); high.Height > 2 {
		t.Errorf("the root's entries have heights up to %d", high.Height)
	}
	if want := blocks / holdall.MaxNodeEntries; int64(m.stored) > want+want/holdall.MaxNodeEntries+2 {
		t.Errorf("%d nodes for %d blocks", m.stored, blocks)
	}
	if err := tr.add(t.Context(), manifest.Entry{ID: numbered(1), Size: holdall.MaxObjectSize}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("beyond the largest object: %v, want too large", err)
	}
}

func TestBlocksThatNoNodeListsAreHeldAnew(t *testing.T) {
	m := newMemory()
	now := time.Unix(1000, 0)
	tr := newTree(m, 1024, func() time.Time { return now })
	add := func(n int) {
		for range n {
			if err := tr.add(t.Context(), manifest.Entry{ID: numbered(uint64(tr.count)), Size: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(1024 + 1000)
	now = now.Add(holdEvery - 1)
	add(1)
	if len(m.held) != 0 {
		t.Fatalf("%d blocks held too early", len(m.held))
	}
	now = now.Add(1)
	add(1)
	if len(m.held) != 1+1001 { // the node, and what the next one will list
		t.Errorf("%d blocks held, want the node and 1,001", len(m.held))
	}
	if m.held[numbered(0)] != 0 {
		t.Error("a block that a node lists needs nobody to hold it")
	}
	now = now.Add(holdEvery)
	m.fail = holdall.ErrUnavailable
	if err := tr.add(t.Context(), manifest.Entry{ID: numbered(9), Size: 1}); !errors.Is(err, holdall.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestWalkRefusesATreeThatDoesNotAddUp(t *testing.T) {
	m := newMemory()
	leaf := &manifest.Node{Entries: []manifest.Entry{{ID: numbered(1), Size: 5}, {ID: numbered(2), Size: 5}}}
	id, err := m.putNode(t.Context(), leaf)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		e      manifest.Entry
		length int64
	}{
		"another size":   {manifest.Entry{Height: 1, ID: id, Size: 11}, 11},
		"another height": {manifest.Entry{Height: 2, ID: id, Size: 10}, 10},
		"an early end":   {manifest.Entry{Height: 1, ID: id, Size: 10}, 12},
	} {
		w := m.walk([]manifest.Entry{c.e}, 0, c.length)
		var p piece
		for p.length, err = 1, nil; p.length > 0 && err == nil; {
			p, err = w.next(t.Context(), false)
		}
		if !errors.Is(err, holdall.ErrCorrupt) {
			t.Errorf("%s: %v, want corrupt", name, err)
		}
	}
}

func TestNodeThatIsNotStoredEndsTheTree(t *testing.T) {
	m := newMemory()
	m.fail = holdall.ErrUnavailable
	tr := newTree(m, 2, time.Now)
	var err error
	for i := 0; i < 3 && err == nil; i++ {
		err = tr.add(t.Context(), manifest.Entry{ID: numbered(uint64(i)), Size: 1})
	}
	if !errors.Is(err, holdall.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
