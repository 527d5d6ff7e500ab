package gateway

import (
	"slices"
	"testing"
)

func TestBuffersOfAppendsThatDoNotReturnCountUntilTheyDo(t *testing.T) {
	g := &Gateway{receive: newBudget(1000)}
	a := &appends{waiting: map[int]int64{0: 10, 3: 20, 5: 30}}
	a.returned(g, 0)
	if waiting := g.giveUp(a); !slices.Equal(waiting, []int{3, 5}) || g.receive.inUse() != 50 {
		t.Fatalf("given up on %v with %d bytes counted, want [3 5] and 50", waiting, g.receive.inUse())
	}
	if g.receive.try(960) {
		t.Fatal("a put was let in on memory that a hung append still holds")
	}
	a.returned(g, 5)
	a.returned(g, 3)
	if g.receive.inUse() != 0 {
		t.Fatalf("%d bytes still counted", g.receive.inUse())
	}
}
