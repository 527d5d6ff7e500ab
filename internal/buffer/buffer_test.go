package buffer

import (
	"sync"
	"testing"
	"unsafe"
)

func TestTakeGivesAlignedMemoryOfTheSizeAsked(t *testing.T) {
	p := NewPool(64 << 20)
	for _, n := range []int{0, 1, 4095, 4096, 16 << 10, 16<<10 + 1, 64 << 10, 1 << 20, 4 << 20, MaxSize} {
		b := p.Take(n)
		if b.Len() != n || len(b.Bytes()) != n {
			t.Errorf("Take(%d) has %d bytes", n, b.Len())
		}
		if b.Cap() < n || b.Cap()%Align != 0 {
			t.Errorf("Take(%d) has capacity %d", n, b.Cap())
		}
		if a := uintptr(unsafe.Pointer(unsafe.SliceData(b.mem))); a%Align != 0 {
			t.Errorf("Take(%d) begins at %#x, not aligned", n, a)
		}
		b.Release()
	}
	if p.Lent() != 0 {
		t.Errorf("%d bytes lent after every release", p.Lent())
	}
}

func TestTakeRefusesSizesOutOfRange(t *testing.T) {
	for _, n := range []int{-1, MaxSize + 1} {
		mustPanic(t, "Take out of range", func() { NewPool(0).Take(n) })
	}
}

func TestReleaseTwicePanics(t *testing.T) {
	b := NewPool(1 << 20).Take(1)
	b.Release()
	mustPanic(t, "second Release", b.Release)
	mustPanic(t, "Ref after Release", func() { b.Ref() })
}

func TestRefKeepsTheMemoryUntilTheLastRelease(t *testing.T) {
	p := NewPool(1 << 20)
	b := p.Take(5)
	copy(b.Bytes(), "hello")
	v := View{Buffer: b.Ref(), Data: b.Bytes()[1:3]}
	b.Release()
	if string(v.Data) != "el" || p.Lent() == 0 {
		t.Errorf("view holds %q with %d bytes lent", v.Data, p.Lent())
	}
	v.Release()
	View{}.Release()
	if p.Lent() != 0 {
		t.Errorf("%d bytes lent after the last release", p.Lent())
	}
}

func TestPoolReusesMemoryUpToItsLimit(t *testing.T) {
	p := NewPool(16 << 10) // one buffer of the smallest class
	a, b := p.Take(1), p.Take(1)
	first := unsafe.SliceData(a.Bytes())
	a.Release()
	b.Release() // over the limit: unmapped
	if p.Mapped() != 16<<10 {
		t.Errorf("%d bytes mapped after both releases, want one buffer kept", p.Mapped())
	}
	if c := p.Take(1); unsafe.SliceData(c.Bytes()) != first {
		t.Error("the kept buffer was not reused")
	}
}

func TestResizeKeepsContents(t *testing.T) {
	b := NewPool(0).Take(8)
	defer b.Release()
	copy(b.Bytes(), "contents")
	b.Resize(b.Cap())
	b.Resize(8)
	if string(b.Bytes()) != "contents" {
		t.Errorf("contents are %q", b.Bytes())
	}
}

func TestPoolIsSafeForConcurrentUse(t *testing.T) {
	p := NewPool(1 << 20)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				b := p.Take((g*37 + i*911) % (300 << 10))
				for j := range b.Bytes() {
					if j%4096 == 0 {
						b.Bytes()[j] = byte(g)
					}
				}
				for j := range b.Bytes() {
					if j%4096 == 0 && b.Bytes()[j] != byte(g) {
						t.Errorf("another owner wrote to a lent buffer")
						return
					}
				}
				b.Release()
			}
		})
	}
	wg.Wait()
	if p.Lent() != 0 || p.Mapped() > 1<<20 {
		t.Errorf("lent %d, mapped %d after all releases", p.Lent(), p.Mapped())
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	f()
}

func TestLargeBuffersLieOnHugePages(t *testing.T) {
	p := NewPool(0)
	for range 20 {
		b := p.Take(MaxSize)
		defer b.Release()
		if at := uintptr(unsafe.Pointer(&b.Bytes()[0])) % hugePage; at != 0 {
			t.Fatalf("a buffer of %d bytes lies %d bytes past the start of a huge page", MaxSize, at)
		}
		b.Bytes()[0], b.Bytes()[MaxSize-1] = 1, 1
	}
}
