package worker

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/source"
)

var fullParts = flag.Int64("parts", 2000, "with -full: parts of the object of 10 TiB after which its copy is ended")

// madeUp is a source with one object, whose bytes are made when they are read: of
// two blocks, in an order that never repeats, so that an object of any size takes
// little room and its manifest is what that of any other would be.
type madeUp struct {
	info   source.Info
	blocks [2][]byte

	read  atomic.Int64 // bytes
	mu    sync.Mutex
	opens []int64 // offsets
}

func newMadeUp(size int64) *madeUp {
	m := &madeUp{info: source.Info{Key: "huge", Size: size, ETag: "0123456789abcdef0123456789abcdef-7", Version: "v1", Modified: time.Unix(1_700_000_000, 0)}}
	for i := range m.blocks {
		m.blocks[i] = noise(uint64(i), holdall.MaxBlockSize)
	}
	return m
}

func (m *madeUp) Walk(_ context.Context, _ source.WalkOptions, found func(source.Found) error) error {
	e := source.Entry{Key: m.info.Key, Size: m.info.Size, ETag: m.info.ETag, Modified: m.info.Modified, Latest: true}
	return found(source.Found{Entries: []source.Entry{e}, Ranges: []source.Range{{From: source.Position{Key: m.info.Key}, Done: true}}, Done: 1, All: 1})
}

func (m *madeUp) List(context.Context, source.ListRequest) (source.Page, error) {
	return source.Page{}, errors.New("not asked")
}

func (m *madeUp) Head(context.Context, string, string, string) (source.Info, error) {
	return m.info, nil
}

func (m *madeUp) Tags(context.Context, string, string) ([]source.Tag, error) { return nil, nil }

func (m *madeUp) Get(ctx context.Context, r source.GetRequest) (io.ReadCloser, error) {
	if r.ETag != m.info.ETag || r.Version != m.info.Version || r.Offset+r.Length > m.info.Size {
		return nil, fmt.Errorf("%+v: %w", r, holdall.ErrCondition)
	}
	m.mu.Lock()
	m.opens = append(m.opens, r.Offset)
	m.mu.Unlock()
	return &madeUpBody{m: m, ctx: ctx, at: r.Offset, end: r.Offset + r.Length}, nil
}

type madeUpBody struct {
	m       *madeUp
	ctx     context.Context
	at, end int64
}

func (b *madeUpBody) Read(p []byte) (int, error) {
	if b.at == b.end {
		return 0, io.EOF
	}
	if b.ctx.Err() != nil {
		return 0, b.ctx.Err()
	}
	number, off := uint64(b.at/holdall.MaxBlockSize), b.at%holdall.MaxBlockSize
	number *= 0x9e3779b97f4a7c15
	n := copy(p[:min(int64(len(p)), b.end-b.at)], b.m.blocks[number>>63][off:])
	b.at += int64(n)
	b.m.read.Add(int64(n))
	return n, nil
}

func (b *madeUpBody) Close() error { return nil }

// allParts is the table of parts.
type allParts = object.Parts

// counter counts parts as they are given to their upload, and ends the copy at one.
type counter struct {
	allParts
	parts atomic.Int64
	at    int64
	end   context.CancelFunc

	t           *testing.T
	first, last atomic.Uint64 // bytes on the heap
}

// objects are those of a stage, whose parts c counts.
func (c *counter) objects(st *stage) *object.Objects {
	s := st.cell.Store
	o, err := object.New(object.Config{Buckets: s, Names: s, Commits: s, Uploads: s, Parts: c, Blocks: st.cell.Gateway, Now: st.cell.Now})
	if err != nil {
		st.t.Fatal(err)
	}
	return o
}

// heap looks at memory now and then.
func (c *counter) heap(part int64) {
	if c.at < 4 || part%(c.at/4) != 0 {
		return
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.first.CompareAndSwap(0, m.HeapAlloc)
	c.last.Store(m.HeapAlloc)
	c.t.Logf("part %d: %d MiB on the heap", part, m.HeapAlloc>>20)
}

func (c *counter) PutPart(ctx context.Context, upload holdall.PutID, p metadata.Part) ([]holdall.BlockID, error) {
	gone, err := c.allParts.PutPart(ctx, upload, p)
	if err == nil && len(gone) == 0 {
		n := c.parts.Add(1)
		c.heap(n)
		if n == c.at {
			c.end()
		}
	}
	return gone, err
}

// A copy of a large object that ends goes on at its last part; its memory does not
// grow with it. With -full the object has 10 TiB, and the copy ends after 2,000 of
// its parts (or -parts).
func TestLargeObjectGoesOnAtItsLastPart(t *testing.T) {
	size, stop, finish := int64(13*largeSize+12345), int64(6), true
	if *full {
		size, stop, finish = 10<<40, *fullParts, false
	}
	src := newMadeUp(size)
	st := newStage(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	c := &counter{allParts: st.cell.Store, t: t, at: stop, end: cancel}
	cfg := st.cfg
	cfg.Uploads = c.objects(st)
	p, err := st.place(t.Context(), st.id)
	if err != nil {
		t.Fatal(err)
	}
	copier := &copier{cfg: cfg, place: p, src: src, tellsTags: new(atomic.Bool)}
	if _, err := copier.one(ctx, "huge"); !errors.Is(err, context.Canceled) {
		t.Fatalf("the copy that was ended: %v", err)
	}
	stored, each := c.parts.Load(), cut(size, &kept{}).sizes[0]
	if f, l := c.first.Load(), c.last.Load(); l > f+64<<20+uint64(stored)<<17 { // metadata lie in memory too, in this cell
		t.Errorf("the heap grew from %d to %d bytes", f, l)
	}
	src.mu.Lock()
	src.opens = nil
	src.mu.Unlock()
	read := src.read.Swap(0)
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	if c.at, c.end = -1, nil; !finish {
		c.at, c.end = stored+8, cancel
	}
	out, err := copier.one(ctx, "huge")
	if finish && (err != nil || out.result != resultCopied) || !finish && !errors.Is(err, context.Canceled) {
		t.Fatalf("the copy that went on: %+v, %v", out, err)
	}
	if finish && src.read.Load() != size-stored*each {
		t.Errorf("%d bytes were read again, %d parts of %d were there, %d read before", src.read.Load(), stored, each, read)
	}
	for _, off := range src.opens {
		if off/each < stored-partsAtOnce {
			t.Errorf("part at %d was read again", off)
		}
	}
	if !finish {
		return
	}
	o, err := st.cell.Store.Object(t.Context(), st.id, "huge")
	if err != nil || o.Size != size || o.ETag != src.info.ETag || o.Source.Version != "v1" || !o.Modified.Equal(src.info.Modified) {
		t.Errorf("row %+v, %v", o, err)
	}
	d := comparer{cfg: cfg, place: p, src: src}
	here, there, err := d.read(t.Context(), both{&o, &src.info})
	if err != nil || here != there {
		t.Errorf("the bytes differ: %v", err)
	}
}
