package fsck

import (
	"crypto/subtle"
	"encoding/binary"

	"github.com/holdall/holdall"
)

// The arithmetic of docs/format/coding.md, written again from that page. Where
// package erasure multiplies by tables, this doubles and adds, many bytes at once.

// double multiplies every byte of b by 2, modulo x^8+x^4+x^3+x^2+1.
func double(b []byte) {
	const top, rest = 0x8080808080808080, 0x7f7f7f7f7f7f7f7f
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		binary.LittleEndian.PutUint64(b, w&rest<<1^(w&top>>7)*0x1d)
	}
	for i, x := range b {
		b[i] = x<<1 ^ x>>7*0x1d
	}
}

// times multiplies in the field: b is read from its highest bit, doubling what
// was gathered so far.
func times(a, b byte) byte {
	var p [1]byte
	for bit := 7; bit >= 0; bit-- {
		double(p[:])
		if b>>bit&1 == 1 {
			p[0] ^= a
		}
	}
	return p[0]
}

// inverse returns 1/a for a that is not 0, which is a^254: a^255 is 1.
func inverse(a byte) byte {
	p := byte(1)
	for range 254 {
		p = times(p, a)
	}
	return p
}

func powerOf2(n int) byte {
	p := byte(1)
	for range n % 255 {
		p = times(p, 2)
	}
	return p
}

// matrix returns P(i, j) of a scheme: a row a parity shard, a column a pack.
func matrix(s holdall.Scheme) [][]byte {
	k, groups, globals := s.K(), int(s.Local), int(s.Global)
	c := func(i, j int) byte { return inverse(byte((k + i) ^ j)) }
	p := make([][]byte, s.M())
	for i := range p {
		p[i] = make([]byte, k)
		for j := range p[i] {
			switch {
			case s.Kind == holdall.ReedSolomon:
				p[i][j] = c(i, j)
			case s.Kind == holdall.Copies:
				p[i][j] = 1
			case i < groups: // local
				if j*groups/k == i {
					p[i][j] = 1
				}
			case globals <= 2:
				size := k / groups
				p[i][j] = powerOf2((j/size + 17*(j%size)) << (i - groups))
			default:
				p[i][j] = times(c(i-groups+1, j), inverse(c(0, j)))
			}
		}
	}
	return p
}

// piece is what is summed at once: it stays in the processor's cache.
const piece = 32 << 10 // bytes

// weigh overwrites dst with the sum of weights[j] · shards[j], whose bytes after
// their end are zeros. It keeps none of them.
func weigh(dst, weights []byte, shards [][]byte) {
	for at := 0; at < len(dst); at += piece {
		sum := dst[at:min(at+piece, len(dst))]
		clear(sum)
		for bit := 7; bit >= 0; bit-- {
			double(sum)
			for j, w := range weights {
				if w>>bit&1 == 1 && at < len(shards[j]) {
					subtle.XORBytes(sum, sum, shards[j][at:])
				}
			}
		}
	}
}

// equation says that a sum of packs is a sum of parities: by what each is
// multiplied in it.
type equation struct{ packs, parities []byte }

// add adds f times o to e.
func (e equation) add(f byte, o equation) {
	for j, x := range o.packs {
		e.packs[j] ^= times(f, x)
	}
	for i, x := range o.parities {
		e.parities[i] ^= times(f, x)
	}
}

// equations returns one for each parity that is there.
func equations(p [][]byte, there []bool) []equation {
	var list []equation
	for i := range p {
		if there[len(p[i])+i] {
			e := equation{append([]byte(nil), p[i]...), make([]byte, len(p))}
			e.parities[i] = 1
			list = append(list, e)
		}
	}
	return list
}

// weights returns by what each shard of a stripe is multiplied in the sum that
// is pack want, which is not there; nil when what is there does not suffice. The
// equations are solved for the packs that are not there, want first, so that the
// first of them ends with want alone, if any sum of them has it alone.
func weights(p [][]byte, want int, there []bool) []byte {
	list, missing := equations(p, there), []int{want}
	for j := range p[0] {
		if j != want && !there[j] {
			missing = append(missing, j)
		}
	}
	solved := 0 // the first so many equations each have a pack that no other has
	for _, u := range missing {
		pivot := solved
		for pivot < len(list) && list[pivot].packs[u] == 0 {
			pivot++
		}
		switch {
		case pivot < len(list):
		case u == want:
			return nil
		default:
			continue
		}
		list[solved], list[pivot] = list[pivot], list[solved]
		e := list[solved]
		e.add(inverse(e.packs[u])^1, equation{append([]byte(nil), e.packs...), append([]byte(nil), e.parities...)}) // times 1/x: plus itself (1/x + 1) times
		for i, o := range list {
			if i != solved {
				o.add(o.packs[u], e)
			}
		}
		solved++
	}
	for _, u := range missing[1:] {
		if list[0].packs[u] != 0 {
			return nil
		}
	}
	list[0].packs[want] = 0 // the rest is known; minus is plus in this field
	return append(list[0].packs, list[0].parities...)
}
