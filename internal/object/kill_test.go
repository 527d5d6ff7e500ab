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

// The process is killed again and again while objects and parts are put. What was
// acknowledged is there, whole, afterwards; what was not is there whole or not at
// all, and a repeat under the same PutID makes it one.
func TestWhatIsAcknowledgedSurvivesAKill(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 500, 3)
	up := r.begin("upload")
	parts := map[int][]byte{}
	acked := map[string][]byte{}
	for round := range 4 {
		objects := r.Objects
		var wg sync.WaitGroup
		var mu sync.Mutex // guards acked, tried, parts, dying
		dying := false    // what is answered from now on, no real process lives to answer
		tried := map[string]object.PutRequest{}
		bodies := map[string][]byte{}
		begun := make(chan struct{}, 100)
		for i := range 6 {
			key, b, partBody := fmt.Sprintf("%d/%d", round, i), r.bytes(100+4000*i), r.bytes(700*i)
			number := 6*round + i + 1
			bodies[key] = b
			wg.Go(func() {
				req := object.PutRequest{Place: at(key), Put: holdall.PutID{1, byte(round), byte(i)}, Body: bytes.NewReader(b), Size: int64(len(b))}
				_, err := objects.Put(context.Background(), req)
				mu.Lock()
				defer mu.Unlock()
				if tried[key] = req; err == nil && !dying {
					acked[key] = b
				}
				begun <- struct{}{}
			})
			wg.Go(func() {
				_, err := objects.PutPart(context.Background(), object.PartRequest{UploadPlace: up, Number: number, Body: bytes.NewReader(partBody), Size: int64(len(partBody))})
				mu.Lock()
				defer mu.Unlock()
				if err == nil && !dying {
					parts[number] = partBody
				}
				begun <- struct{}{}
			})
		}
		for range r.rnd.IntN(12) {
			<-begun
		}
		mu.Lock()
		dying = true
		mu.Unlock()
		if err := r.cell.Kill(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		r.Objects = r.cell.Objects
		r.Cut(10, 500, 3)
		for key, req := range tried {
			got, _, err := r.get(t.Context(), key, object.GetOptions{})
			switch {
			case errors.Is(err, object.ErrNoKey) && acked[key] == nil:
			case err != nil || !bytes.Equal(got, bodies[key]):
				t.Fatalf("%s, acknowledged: %v: %d bytes, %v", key, acked[key] != nil, len(got), err)
			}
			req.Body = bytes.NewReader(bodies[key])
			if _, err := r.Put(t.Context(), req); err != nil {
				t.Fatalf("%s again: %v", key, err)
			}
			acked[key] = bodies[key]
		}
	}
	for key, b := range acked {
		r.same(key, b)
	}
	page, err := r.List(t.Context(), ns, bucket, metadata.ListQuery{Limit: holdall.MaxListPage, Versions: true})
	if err != nil || len(page.Objects) != len(acked) {
		t.Errorf("%d versions of %d keys, %v", len(page.Objects), len(acked), err)
	}
	var list []object.CompletedPart
	var whole []byte
	for n := 1; n <= 6*4; n++ {
		if b, ok := parts[n]; ok {
			list = append(list, object.CompletedPart{Number: n})
			whole = append(whole, b...)
		}
	}
	if len(list) == 0 {
		t.Skip("no part was acknowledged")
	}
	if _, err := r.Complete(t.Context(), object.CompleteRequest{UploadPlace: up, Parts: list}); err != nil {
		t.Fatal(err)
	}
	r.same("upload", whole)
}
