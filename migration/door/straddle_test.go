package door

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/s3fault"
)

// slowPut is a put whose body ends when the test says so.
type slowPut struct {
	body *io.PipeWriter
	done chan error
}

func (r *rig) slowPut(key string, size int64) *slowPut {
	in, out := io.Pipe()
	s := &slowPut{out, make(chan error, 1)}
	go func() {
		_, err := r.Put(context.Background(), object.PutRequest{Place: at(key), Body: in, Size: size})
		in.CloseWithError(errors.New("the put is over"))
		s.done <- err
	}()
	return s
}

// finish sends all of the body, and returns what the put came to.
func (s *slowPut) finish(content string) error {
	_, _ = io.WriteString(s.body, content) // a put that is over takes nothing, and says why
	s.body.Close()
	return <-s.done
}

// A put that takes longer than a step waits is decided by the state in which it
// ends, whichever way the step went.
func TestALongPutEndsInAnotherState(t *testing.T) {
	text := strings.Repeat("x", 200_000)
	for _, way := range []struct {
		from, to metadata.MigrationState
		missed   metadata.Side
		fails    bool
	}{
		{metadata.StateAssess, metadata.StateMirror, metadata.SideCell, false},
		{metadata.StateMirror, metadata.StateShadow, metadata.SideNone, false},
		{metadata.StateShadow, metadata.StateFlipped, metadata.SideNone, false},
		{metadata.StateFlipped, metadata.StateCutOver, metadata.SideNone, false},
		{metadata.StateFlipped, metadata.StateMirror, metadata.SideNone, false},
		{metadata.StateCutOver, metadata.StateFlipped, metadata.SideSource, false},
		{metadata.StateCutOver, metadata.StateMirror, metadata.SideNone, true},
	} {
		t.Run(way.from.String()+" to "+way.to.String(), func(t *testing.T) {
			r := newRig(t, options{drain: 10 * time.Millisecond})
			r.to(way.from)
			p := r.slowPut("k", int64(len(text)))
			if _, err := io.WriteString(p.body, text[:100_000]); err != nil {
				t.Fatal(err)
			}
			r.to(way.to)
			r.reads("k", "-")
			err := p.finish(text[100_000:])
			if way.fails {
				if !errors.Is(err, holdall.ErrUnavailable) {
					t.Errorf("a put that only the side had that no longer decides: %v", err)
				}
				r.both("k", "-")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r.reads("k", text)
			if side := r.missed("k"); side != way.missed {
				t.Errorf("the %v missed it, want %v", side, way.missed)
			}
			for r.missed("k") != metadata.SideNone {
				if err := r.repairAll(t.Context(), r.Door); err != nil {
					t.Fatal(err)
				}
			}
			r.both("k", text)
		})
	}
}

func TestASilentDoorRefusesWhatMigrates(t *testing.T) {
	r := newRig(t, options{})
	r.to(metadata.StateFlipped)
	r.mustWrite("k", "one")
	r.quiet()
	r.silent.Store(true)
	r.mu.Lock()
	r.seen = time.Now().Add(-fencedAfter)
	r.mu.Unlock()
	if _, err := r.read("k"); !errors.Is(err, holdall.ErrUnavailable) {
		t.Errorf("read: %v", err)
	}
	if err := r.write("k", "two"); !errors.Is(err, holdall.ErrUnavailable) {
		t.Errorf("write: %v", err)
	}
	if _, err := r.CreateBucket(t.Context(), ns, "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(t.Context(), object.PutRequest{Place: object.Place{Namespace: ns, Bucket: "other", Key: "k"}, Body: strings.NewReader("x"), Size: 1}); err != nil {
		t.Errorf("write to a bucket that does not migrate: %v", err)
	}
	r.silent.Store(false)
	r.reads("k", "one")
	r.mustWrite("k", "two")
	r.both("k", "two")
}

// Where the source knows no conditions, a key of which a request was lost is held
// until the request can no longer land.
func TestALostRequestHoldsItsKey(t *testing.T) {
	for _, state := range dual {
		t.Run(state.String(), func(t *testing.T) {
			r := newRig(t, options{timeout: 200 * time.Millisecond, life: 600 * time.Millisecond, unconditional: true})
			r.to(state)
			r.mustWrite("k", "one")
			r.quiet()
			r.proxy.SetPlan(s3fault.Plan{Late: 400 * time.Millisecond, Rules: []s3fault.Rule{{Kind: s3fault.LatePut, Rate: 1, Most: 1}}})
			if err := r.write("k", "late"); (err == nil) != state.CellDecides() {
				t.Fatalf("a put of which no answer came: %v", err)
			}
			if landed := r.proxy.Landed(); landed != 0 {
				t.Fatal("it has landed already: this tests nothing")
			}
			r.mustWrite("k", "two") // waits
			if landed := r.proxy.Landed(); landed != 1 {
				t.Error("the next write did not wait for it")
			}
			r.quiet()
			r.reads("k", "two")
			r.both("k", "two")
		})
	}
}

func TestASourceThatFailsAgainAndAgainIsLeftAlone(t *testing.T) {
	r := newRig(t, options{timeout: 100 * time.Millisecond})
	r.to(metadata.StateFlipped)
	r.cfg.Rest = time.Hour
	r.proxy.SetPlan(s3fault.Plan{Rules: []s3fault.Rule{{Kind: s3fault.SlowDown, Rate: 1}}})
	for range tooMany {
		r.mustWrite("k", "one")
		r.quiet()
	}
	asked := r.proxy.Requests()
	r.mustWrite("other", "two")
	r.mustWrite("k", "two")
	if err := r.remove("other"); err != nil {
		t.Fatal(err)
	}
	r.quiet()
	if n := r.proxy.Requests() - asked; n != 0 {
		t.Errorf("it was asked %d times more", n)
	}
	r.reads("k", "two")
	if r.missed("k") != metadata.SideSource {
		t.Error("nobody knows that the source missed it")
	}
}
