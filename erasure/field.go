package erasure

// GF(2^8) with the polynomial x^8+x^4+x^3+x^2+1 (0x11d) and the generator 2, the
// field of reedsolomon. Addition is xor. Only matrices are computed with these
// tables; bytes of shards are multiplied by reedsolomon.

const polynomial = 0x11d

// field holds the powers of 2 and their logarithms.
type field struct {
	exp [510]byte // exp[i] = 2^i; doubled, so that sums of two logarithms need no reduction
	log [256]int  // log[0] is not used
}

// gf never changes after it was computed.
var gf = newField()

func newField() *field {
	f := &field{}
	x := 1
	for i := range 255 {
		f.exp[i], f.exp[i+255] = byte(x), byte(x)
		f.log[x] = i
		x <<= 1
		if x > 255 {
			x ^= polynomial
		}
	}
	return f
}

func mul(a, b byte) byte {
	if a == 0 || b == 0 {
		return 0
	}
	return gf.exp[gf.log[a]+gf.log[b]]
}

// inv returns 1/a. a is not zero.
func inv(a byte) byte {
	if a == 0 {
		panic("erasure: inverse of zero")
	}
	return gf.exp[255-gf.log[a]]
}

// power returns 2^n for n ≥ 0.
func power(n int) byte { return gf.exp[n%255] }

// addScaled adds f times src to dst.
func addScaled(dst, src []byte, f byte) {
	if f == 0 {
		return
	}
	for i, v := range src {
		dst[i] ^= mul(v, f)
	}
}

// basis is a growing set of independent vectors in echelon form, each with the
// combination of the vectors offered so far that makes it.
type basis struct {
	offered int
	vectors [][]byte
	pivots  []int    // pivots[i] is where vectors[i] has its leading 1
	made    [][]byte // made[i][j]: how much of offer j is in vectors[i]
}

// reduce returns what is left of v after taking multiples of the basis away,
// and the combination of offers taken, size entries long.
func (b *basis) reduce(v []byte, size int) (rest, taken []byte) {
	rest, taken = append([]byte(nil), v...), make([]byte, size)
	for i, u := range b.vectors {
		f := rest[b.pivots[i]]
		addScaled(rest, u, f)
		addScaled(taken, b.made[i], f)
	}
	return rest, taken
}

// offer adds v to the basis unless it depends on it, and reports whether it did.
// prefer lists the columns to look for a pivot, in order; the columns that are
// not in it may be left out only if they are zero in every v.
func (b *basis) offer(v []byte, prefer []int) bool {
	rest, taken := b.reduce(v, b.offered+1)
	b.offered++
	for _, p := range prefer {
		if rest[p] == 0 {
			continue
		}
		taken[b.offered-1] = 1
		f := inv(rest[p])
		for i := range rest {
			rest[i] = mul(rest[i], f)
		}
		for i := range taken {
			taken[i] = mul(taken[i], f)
		}
		b.vectors = append(b.vectors, rest)
		b.made = append(b.made, taken)
		b.pivots = append(b.pivots, p)
		return true
	}
	return false
}

// express returns the multiples of the offers that add up to v, or false when
// none do.
func (b *basis) express(v []byte) ([]byte, bool) {
	rest, taken := b.reduce(v, b.offered)
	for _, x := range rest {
		if x != 0 {
			return nil, false
		}
	}
	return taken, true
}

// inOrder returns 0 to n-1.
func inOrder(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}
