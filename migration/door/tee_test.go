package door

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"
)

// drain reads a branch in pieces of some size, and closes it after limit bytes;
// negative: at its end.
func drain(b *branch, size, limit int) (got []byte, err error) {
	defer b.Close()
	p := make([]byte, size)
	for limit < 0 || len(got) < limit {
		n, err := b.Read(p)
		got = append(got, p[:n]...)
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

func TestBothBranchesGetEveryByte(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 77} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(r.Uint32())
		}
		for _, limit := range []int{-1, size / 2} {
			tee := newTee()
			var wg sync.WaitGroup
			var got [2][]byte
			var errs [2]error
			wg.Go(func() { got[0], errs[0] = drain(tee.branches[0], 4096, -1) })
			wg.Go(func() { got[1], errs[1] = drain(tee.branches[1], 65537, limit) })
			err := tee.run(iotest.DataErrReader(bytes.NewReader(body)))
			wg.Wait()
			if err != nil || errs[0] != io.EOF || !bytes.Equal(got[0], body) {
				t.Errorf("%d bytes, limit %d: branch 0 has %d bytes, %v; run: %v", size, limit, len(got[0]), errs[0], err)
			}
			if limit < 0 && errs[1] != io.EOF || !bytes.HasPrefix(body, got[1]) || limit < 0 && len(got[1]) != size {
				t.Errorf("%d bytes, limit %d: branch 1 has %d bytes, %v", size, limit, len(got[1]), errs[1])
			}
		}
	}
}

func TestTheBodysErrorReachesBothBranches(t *testing.T) {
	broken := errors.New("broken")
	tee := newTee()
	var wg sync.WaitGroup
	var errs [2]error
	for i := range errs {
		wg.Go(func() { _, errs[i] = drain(tee.branches[i], 10, -1) })
	}
	err := tee.run(io.MultiReader(bytes.NewReader(make([]byte, 100)), iotest.ErrReader(broken)))
	wg.Wait()
	if err != broken || errs[0] != broken || errs[1] != broken {
		t.Errorf("run %v, branches %v", err, errs)
	}
}

func TestABodyThatNobodyWantsIsNotReadOn(t *testing.T) {
	tee := newTee()
	tee.branches[0].Close()
	tee.branches[1].Close()
	if err := tee.run(rand0{}); !errors.Is(err, errDropped) {
		t.Errorf("an endless body with no reader: %v", err)
	}
	if _, err := tee.branches[0].Read(make([]byte, 1)); !errors.Is(err, errDropped) {
		t.Errorf("read of a closed branch: %v", err)
	}
}

type rand0 struct{}

func (rand0) Read(p []byte) (int, error) { return len(p), nil }

func TestABranchMayBeClosedWhileItIsRead(t *testing.T) {
	for range 50 {
		tee := newTee()
		var wg sync.WaitGroup
		var got []byte
		wg.Go(func() { got, _ = drain(tee.branches[0], 1000, -1) })
		wg.Go(func() { drain(tee.branches[1], 1000, -1) })
		wg.Go(func() { tee.branches[1].Close() })
		err := tee.run(bytes.NewReader(make([]byte, 2*chunkSize)))
		wg.Wait()
		if err != nil || len(got) != 2*chunkSize {
			t.Fatalf("%d bytes: %v", len(got), err)
		}
	}
}
