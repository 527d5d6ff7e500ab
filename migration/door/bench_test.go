package door

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holdall/holdall/metadata"
)

// BenchmarkPut is a put to the source alone, to both sides, and to the cell alone:
// what two sides cost over the slower one.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{8 << 10, 4 << 20} {
		for _, state := range []metadata.MigrationState{metadata.StateAssess, metadata.StateMirror, metadata.StateFlipped, metadata.StateCutOver} {
			b.Run(fmt.Sprintf("%v/%dKiB", state, size>>10), func(b *testing.B) {
				r := newRig(b, options{})
				r.to(state)
				text := strings.Repeat("x", size)
				b.SetBytes(int64(size))
				n := 0
				for b.Loop() {
					n++
					r.mustWrite(fmt.Sprint("k", n%8), text)
				}
			})
		}
	}
}
