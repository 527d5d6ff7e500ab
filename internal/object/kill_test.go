package object_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
)

// killing is objects and parts that are put while the process is killed.
type killing struct {
	*rig
	up    object.UploadPlace
	mu    sync.Mutex // guards all below
	acked map[string][]byte
	parts map[int][]byte
	dying bool // what is answered from now on, no real process lives to answer
}

// start puts objects and parts, and tells of each that has been answered.
func (k *killing) start(round int, wg *sync.WaitGroup) (requests map[string]object.PutRequest, bodies map[string][]byte, answered chan struct{}) {
	objects := k.Objects
	requests, bodies, answered = map[string]object.PutRequest{}, map[string][]byte{}, make(chan struct{}, 12)
	for i := range 6 {
		key, b, partBody := fmt.Sprintf("%d/%d", round, i), k.bytes(100+4000*i), k.bytes(700*i)
		req := object.PutRequest{Place: at(key), Put: holdall.PutID{1, byte(round), byte(i)}, Body: bytes.NewReader(b), Size: int64(len(b))}
		requests[key], bodies[key] = req, b
		wg.Go(func() {
			_, err := objects.Put(context.Background(), req)
			k.mu.Lock()
			defer k.mu.Unlock()
			if err == nil && !k.dying {
				k.acked[key] = b
			}
			answered <- struct{}{}
		})
		wg.Go(func() {
			number := 6*round + i + 1
			_, err := objects.PutPart(context.Background(), object.PartRequest{UploadPlace: k.up, Number: number, Body: bytes.NewReader(partBody), Size: int64(len(partBody))})
			k.mu.Lock()
			defer k.mu.Unlock()
			if err == nil && !k.dying {
				k.parts[number] = partBody
			}
			answered <- struct{}{}
		})
	}
	return requests, bodies, answered
}

func (k *killing) kill() {
	k.t.Helper()
	k.mu.Lock()
	k.dying = true
	k.mu.Unlock()
	if err := k.cell.Kill(); err != nil {
		k.t.Fatal(err)
	}
	k.Objects = k.cell.Objects
	k.Cut(10, 500, 3)
}

// The process is killed again and again while objects and parts are put. What was
// acknowledged is there, whole, afterwards; what was not is there whole or not at
// all, and a repeat under the same PutID makes it one.
func TestWhatIsAcknowledgedSurvivesAKill(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 500, 3)
	k := &killing{rig: r, up: r.begin("upload"), acked: map[string][]byte{}, parts: map[int][]byte{}}
	for round := range 4 {
		var wg sync.WaitGroup
		requests, bodies, answered := k.start(round, &wg)
		for range r.rnd.IntN(cap(answered)) {
			<-answered
		}
		k.kill()
		wg.Wait()
		k.dying = false
		for key, req := range requests {
			got, _, err := r.get(t.Context(), key, object.GetOptions{})
			switch {
			case errors.Is(err, object.ErrNoKey) && k.acked[key] == nil:
			case err != nil || !bytes.Equal(got, bodies[key]):
				t.Fatalf("%s, acknowledged: %v: %d bytes, %v", key, k.acked[key] != nil, len(got), err)
			}
			req.Body = bytes.NewReader(bodies[key])
			if _, err := r.Put(t.Context(), req); err != nil {
				t.Fatalf("%s again: %v", key, err)
			}
			k.acked[key] = bodies[key]
		}
	}
	for key, b := range k.acked {
		r.same(key, b)
	}
	page, err := r.List(t.Context(), ns, bucket, metadata.ListQuery{Limit: holdall.MaxListPage, Versions: true})
	if err != nil || len(page.Objects) != len(k.acked) {
		t.Errorf("%d versions of %d keys, %v", len(page.Objects), len(k.acked), err)
	}
	k.finish()
}

// finish completes the upload with every part that was acknowledged.
func (k *killing) finish() {
	k.t.Helper()
	var list []object.CompletedPart
	var whole []byte
	for n := 1; n <= 6*4; n++ {
		if b, ok := k.parts[n]; ok {
			list = append(list, object.CompletedPart{Number: n})
			whole = append(whole, b...)
		}
	}
	if len(list) == 0 {
		return
	}
	if _, err := k.Complete(k.t.Context(), object.CompleteRequest{UploadPlace: k.up, Parts: list}); err != nil {
		k.t.Fatal(err)
	}
	k.same("upload", whole)
}
