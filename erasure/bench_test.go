package erasure

import (
	"fmt"
	"testing"
)

// cold returns stripes whose bytes together are far more than a cache holds.
func cold(b *testing.B, c *Coder, packs, size int) []*stripe {
	rnd := newSeeded(1)
	var s []*stripe
	for total := 0; total < 256<<20 || len(s) == 0; total += c.scheme.N() * size {
		s = append(s, newStripe(b, c, rnd, equal(packs, size)...))
	}
	return s
}

// BenchmarkEncode shows bytes of packs a second on one core, caches cold.
func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"rs-6-3", "rs-10-4", "rs-12-4", "lrc-12-2-2", "rep-3"} {
		c := coder(b, name)
		for _, packs := range []int{1, c.scheme.K()} {
			if packs == 1 && name == "rep-3" {
				continue // k is 1: it comes twice
			}
			for _, size := range []int{4 << 20, 64 << 10} {
				stripes := cold(b, c, packs, size)
				run := func(op string, f func(data, parity [][]byte) error) {
					b.Run(fmt.Sprintf("%s/%s/packs=%d/%dKiB", op, name, packs, size>>10), func(b *testing.B) {
						b.SetBytes(int64(packs * size))
						b.ReportAllocs()
						for i := 0; b.Loop(); i++ {
							s := stripes[i%len(stripes)]
							if err := f(s.shards[:packs], s.shards[c.scheme.K():]); err != nil {
								b.Fatal(err)
							}
						}
					})
				}
				run("encode", c.Encode)
				run("check", c.Check)
				run("both", c.EncodeChecked)
			}
		}
	}
}

// BenchmarkRebuild shows bytes rebuilt a second on one core, caches cold.
func BenchmarkRebuild(b *testing.B) {
	for _, name := range []string{"rs-6-3", "rs-12-4", "lrc-12-2-2"} {
		c := coder(b, name)
		for _, size := range []int{4 << 20, 64 << 10} {
			stripes := cold(b, c, c.scheme.K(), size)
			p, err := c.Plan(0, stripes[0].known(1|1<<7))
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, size)
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				reads := make([][]byte, len(p.Reads()))
				for i := 0; b.Loop(); i++ {
					for j, r := range p.Reads() {
						reads[j] = stripes[i%len(stripes)].shards[r]
					}
					if err := p.Rebuild(dst, reads); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkPlan shows what a degraded read pays before it reads: for a loss
// pattern seen before, and for a new one.
func BenchmarkPlan(b *testing.B) {
	for _, name := range []string{"rs-6-3", "rs-28-4", "lrc-12-2-2"} {
		c := coder(b, name)
		shards := have(c, 1|1<<3)
		b.Run(name+"/known", func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Plan(0, shards); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/new", func(b *testing.B) {
			key := newPlanKey(0, shards)
			for b.Loop() {
				if c.plan(0, shards, &key) == nil {
					b.Fatal("no plan")
				}
			}
		})
	}
}
