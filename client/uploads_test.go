package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/mem"

	"github.com/holdall/holdall"
)

func TestLargeUploadsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUploads()
		var turns []*turn
		for range maxUploads {
			one, err := u.wait(t.Context(), largeUpload)
			if err != nil {
				t.Fatal(err)
			}
			turns = append(turns, one)
		}
		small, err := u.wait(t.Context(), largeUpload-1)
		if err != nil {
			t.Error("a small upload waited:", err)
		}
		small.end()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := u.wait(gone, largeUpload); !errors.Is(err, holdall.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("one too many, cancelled: %v", err)
		}
		next := make(chan *turn)
		go func() {
			one, err := u.wait(t.Context(), largeUpload)
			if err != nil {
				t.Error(err)
			}
			next <- one
		}()
		synctest.Wait()
		select {
		case <-next:
			t.Fatal("there are more uploads than may be")
		default:
		}
		// gRPC drops its last reference, then the call returns: that is one turn.
		message, _ := lend(make([]byte, largeUpload), turns[0])
		message.Free()
		turns[0].end()
		turns = append(turns[1:], <-next)
		if len(u) != maxUploads {
			t.Errorf("%d uploads, want %d", len(u), maxUploads)
		}
		for _, one := range turns {
			one.end()
		}
		if len(u) != 0 {
			t.Errorf("%d uploads left", len(u))
		}
	})
}

// TestMarshalKeepsNoReference: what is lent is free when it is sent, not when
// the call has been answered.
func TestMarshalKeepsNoReference(t *testing.T) {
	var m PutMessage
	data, _ := lend(make([]byte, largeUpload), nil)
	freed := data[0]
	m.Data = mem.BufferSlice{freed}
	out, err := NewCodec().Marshal(&m)
	if err != nil || len(m.Data) != 0 {
		t.Fatalf("the message still holds %d buffers, %v", len(m.Data), err)
	}
	out.Free()
	defer func() {
		if recover() == nil {
			t.Error("a buffer that was sent is still held")
		}
	}()
	freed.ReadOnlyData()
}
