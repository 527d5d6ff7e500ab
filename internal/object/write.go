package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/manifest"
)

// writer stores the blocks of one put: data as it comes, and nodes. It has the
// tree over them.
type writer struct {
	s    *Objects
	ns   holdall.NamespaceID
	tree *tree
	fly  []*flying // blocks on their way, in the order of the object's bytes
	size int64     // bytes of the next block, if there are as many
}

// flying is a block on its way. id and err are valid once done is closed.
type flying struct {
	done chan struct{}
	size int64
	id   holdall.BlockID
	err  error
}

func (s *Objects) newWriter(ns holdall.NamespaceID) *writer {
	w := &writer{s: s, ns: ns, size: s.cut.block}
	w.tree = newTree(w, s.cut.entries, s.cfg.Now)
	return w
}

// stream stores all of a body, cut into blocks, a window of them at a time. When
// it returns none is on its way any more.
func (w *writer) stream(ctx context.Context, src *source) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() {
		cancel(err)
		for _, f := range w.fly { // there are some only after an error: they end, as ctx did
			<-f.done
		}
		w.fly = nil
	}()
	for {
		// An idle body holds no memory: there is a byte before any is asked for.
		if err := src.fill(1); err != nil {
			return err
		}
		if len(src.ahead) == 0 {
			return w.land(ctx, 0)
		}
		if err := w.land(ctx, w.s.cfg.Window-1); err != nil {
			return err
		}
		if err := w.launch(ctx, src); err != nil {
			return err
		}
	}
}

// A block is in memory from its first byte on, so one that comes slowly is cut
// short, and the next ones are asked for as large as will come in that time: a few
// dozen clients on slow lines would hold all of the memory for puts otherwise. A
// body that comes faster again gets larger blocks again.
const (
	slowBlock = 5 * time.Second // what a block may take to come
	leastSize = 8 << 10         // bytes of a block that is asked for
)

// pace reads from a source for a while, and for one byte at least.
type pace struct {
	src   *source
	now   func() time.Time
	until time.Time
	some  bool // a byte came
	ended bool // because of the time
}

// Read reads on until the time is over.
func (p *pace) Read(b []byte) (int, error) {
	if p.some && p.now().After(p.until) {
		p.ended = true
		return 0, io.EOF
	}
	n, err := p.src.Read(b)
	p.some = p.some || n > 0
	return n, err
}

// nextSize is how large the next block is to be, by what came of the last one.
func (w *writer) nextSize(came int64, took time.Duration, cutShort bool) int64 {
	switch {
	case cutShort:
		return min(max(2*came, leastSize), w.s.cut.block)
	case took < slowBlock/4:
		return min(2*w.size, w.s.cut.block)
	}
	return w.size
}

// launch receives one block and sends it on its way.
func (w *writer) launch(ctx context.Context, src *source) error {
	size := src.left(w.size)
	a, err := w.s.cfg.Blocks.AdmitWait(ctx, size)
	if err != nil {
		return err
	}
	in, err := a.Receive(w.ns, int(size))
	began := w.s.cfg.Now()
	p := &pace{src: src, now: w.s.cfg.Now, until: began.Add(slowBlock)}
	if err == nil {
		_, err = in.ReadFrom(p)
	}
	if err != nil {
		if in != nil {
			in.Discard()
		}
		a.Release()
		return err
	}
	in.Trim()
	w.size = w.nextSize(int64(in.Size()), w.s.cfg.Now().Sub(began), p.ended)
	f := &flying{done: make(chan struct{}), size: int64(in.Size())}
	w.fly = append(w.fly, f)
	go func() {
		defer close(f.done)
		defer a.Release()
		var res gateway.PutResult
		res, f.err = in.PutPending(ctx)
		f.id = res.ID
	}()
	return nil
}

// land adds blocks that have arrived to the tree, in order, and waits until no
// more than most are on their way. The first that fails ends the put.
func (w *writer) land(ctx context.Context, most int) error {
	for len(w.fly) > 0 {
		f := w.fly[0]
		if len(w.fly) <= most {
			select {
			case <-f.done:
			default:
				return nil
			}
		}
		<-f.done
		w.fly = w.fly[1:]
		if f.err != nil {
			return f.err
		}
		if err := w.tree.add(ctx, manifest.Entry{ID: f.id, Size: f.size}); err != nil {
			return err
		}
	}
	return nil
}

// putBlock stores bytes as a block of the manifest, or of the object.
func (w *writer) putBlock(ctx context.Context, b []byte) (holdall.BlockID, error) {
	a, err := w.s.cfg.Blocks.AdmitWait(ctx, int64(len(b)))
	if err != nil {
		return holdall.BlockID{}, err
	}
	defer a.Release()
	in, err := a.Receive(w.ns, len(b))
	if err != nil {
		return holdall.BlockID{}, err
	}
	defer in.Discard()
	if _, err := in.Write(b); err != nil {
		return holdall.BlockID{}, err
	}
	res, err := in.PutPending(ctx)
	return res.ID, err
}

// commitTries is how often a block of the manifest is put again because it was
// gone when it was committed: its day ended in between, or somebody purged it.
const commitTries = 3

// putAndCommit stores a block of the manifest and commits it. Blocks of the object
// itself that are gone are not in memory any more.
func (w *writer) putAndCommit(ctx context.Context, b []byte, commit func(holdall.BlockID) (gone []holdall.BlockID, err error)) (holdall.BlockID, error) {
	for range commitTries {
		id, err := w.putBlock(ctx, b)
		if err != nil {
			return id, err
		}
		gone, err := w.s.patiently(ctx, func() ([]holdall.BlockID, error) { return commit(id) })
		if err != nil || len(gone) == 0 {
			return id, err
		}
		w.s.metrics.gone.Add(float64(len(gone)))
		if i := slices.IndexFunc(gone, func(g holdall.BlockID) bool { return g != id }); i >= 0 {
			return id, &goneError{gone[i], len(gone)}
		}
	}
	return holdall.BlockID{}, fmt.Errorf("object: a block of the manifest was gone %d times when it was committed: %w", commitTries, holdall.ErrUnavailable)
}

// Waits between two tries of a commit for which metadata has no room: it comes
// back when the change journal is written, every 20 s.
const (
	firstCommitRetry = 50 * time.Millisecond
	lastCommitRetry  = time.Second
	commitPatience   = 30 * time.Second
)

// patiently tries a commit again while metadata has no room for it, for a while:
// what was uploaded in hours is not to be thrown away for that.
func (s *Objects) patiently(ctx context.Context, commit func() (gone []holdall.BlockID, err error)) (gone []holdall.BlockID, err error) {
	began := time.Now()
	for wait := firstCommitRetry; ; wait = min(2*wait, lastCommitRetry) {
		gone, err = commit()
		if !errors.Is(err, holdall.ErrExhausted) || time.Since(began) > commitPatience {
			return gone, err
		}
		s.log.Warn("metadata has no room for a commit of a manifest", "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return gone, err
		}
	}
}

// goneError says that blocks that a manifest lists are gone.
type goneError struct {
	first holdall.BlockID
	count int
}

// Error names the first of the blocks.
func (e *goneError) Error() string {
	return fmt.Sprintf("object: %d blocks that were stored are gone, the first is %v: put the object again", e.count, e.first)
}

// Unwrap says that a new put may succeed.
func (e *goneError) Unwrap() error { return holdall.ErrUnavailable }

// putNode stores a node and counts the references on its children.
func (w *writer) putNode(ctx context.Context, n *manifest.Node) (holdall.BlockID, error) {
	children, nodes := n.Listed()
	id, err := w.putAndCommit(ctx, n.Encode(), func(id holdall.BlockID) ([]holdall.BlockID, error) {
		return w.s.cfg.Commits.CommitNode(ctx, w.ns, id, children, nodes)
	})
	if err == nil {
		w.s.metrics.nodes.Inc()
	}
	return id, err
}

// hold makes sure that blocks stay for another day.
func (w *writer) hold(ctx context.Context, ids []holdall.BlockID) error {
	gone, err := w.s.cfg.Blocks.ClaimPending(ctx, w.ns, ids)
	if err == nil && len(gone) > 0 {
		w.s.metrics.gone.Add(float64(len(gone)))
		err = &goneError{gone[0], len(gone)}
	}
	return err
}
