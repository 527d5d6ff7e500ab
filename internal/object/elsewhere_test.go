package object_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
)

func TestBytesFromElsewhereAreReadByRange(t *testing.T) {
	b := make([]byte, 700_000)
	for i := range b {
		b[i] = byte(i * 7)
	}
	opened, closed := 0, 0
	open := func(_ context.Context, rg object.Range) (io.ReadCloser, error) {
		opened++
		return closing{bytes.NewReader(b[rg.Offset:][:rg.Length]), &closed}, nil
	}
	row := metadata.Object{Size: int64(len(b)), ETag: "e"}
	for _, rg := range []object.Range{{}, {Offset: 5, Length: 300_000}, {Offset: -3}} {
		r := object.NewReader(t.Context(), row, manifest.Attributes{}, open)
		if err := r.Select(rg); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, b[r.Offset:][:r.Length]) {
			t.Errorf("%+v: %d bytes, %v", rg, len(got), err)
		}
		r.Close()
	}
	if opened != 3 || closed != 3 {
		t.Errorf("opened %d times, closed %d times", opened, closed)
	}
	row.Size++
	r := object.NewReader(t.Context(), row, manifest.Attributes{}, func(context.Context, object.Range) (io.ReadCloser, error) {
		return closing{bytes.NewReader(b), &closed}, nil
	})
	defer r.Close()
	_, err := io.Copy(io.Discard, r)
	want(t, "bytes that end early", err, holdall.ErrUnavailable)
}

type closing struct {
	io.Reader
	count *int
}

func (c closing) Close() error { *c.count++; return nil }

// staleCommits answers that what was decided is void, a number of times.
type staleCommits struct {
	object.Commits
	left int
	seen []uint64
}

func (s *staleCommits) CommitObject(ctx context.Context, c metadata.ObjectCommit) (metadata.Object, []holdall.BlockID, error) {
	s.seen = append(s.seen, c.Settle.Number)
	if s.left--; s.left >= 0 {
		return metadata.Object{}, nil, holdall.ErrStale
	}
	c.Settle, c.Source = metadata.Settlement{}, metadata.SourceFacts{}
	return s.Commits.CommitObject(ctx, c)
}

func TestAVoidDecisionIsAskedForAgain(t *testing.T) {
	stale := &staleCommits{left: 2}
	r := newRig(t, sim.Config{}, func(c *object.Config) { stale.Commits = c.Commits; c.Commits = stale })
	asked := uint64(0)
	put := func() error {
		_, err := r.Put(t.Context(), object.PutRequest{Place: at("k"), Body: bytes.NewReader([]byte("x")), Size: 1,
			Settle: func(context.Context) (object.Settled, error) {
				asked++
				return object.Settled{Settlement: metadata.Settlement{Number: asked}}, nil
			}})
		return err
	}
	if err := put(); err != nil || len(stale.seen) != 3 || stale.seen[2] != 3 {
		t.Errorf("the commit saw %v: %v", stale.seen, err)
	}
	r.same("k", []byte("x"))
	stale.left = 1000
	want(t, "a decision that is always void", put(), holdall.ErrStale)
}
