package erasure

import "github.com/holdall/holdall"

// The matrices are part of the format: parity on disks was made with them, so
// they never change. docs/format/coding.md has them in words.

// generator returns the n×k matrix of a valid scheme. The first k rows are the
// identity: data shards are stored as they are.
func generator(s holdall.Scheme) [][]byte {
	rows := make([][]byte, 0, s.N())
	for i := range s.K() {
		row := make([]byte, s.K())
		row[i] = 1
		rows = append(rows, row)
	}
	switch s.Kind {
	case holdall.Copies:
		for range s.M() {
			rows = append(rows, []byte{1})
		}
	case holdall.ReedSolomon:
		rows = append(rows, cauchy(s.K(), s.M())...)
	case holdall.LocalRS:
		rows = append(rows, localRows(s)...)
		rows = append(rows, globalRows(s)...)
	}
	return rows
}

// cauchy returns m rows of k whose entry (i, j) is 1/((k+i) xor j). Every square
// submatrix of a Cauchy matrix is invertible, so any k of the k+m shards suffice
// (Blömer et al., ICSI TR-95-048).
func cauchy(k, m int) [][]byte {
	rows := make([][]byte, m)
	for i := range rows {
		rows[i] = make([]byte, k)
		for j := range rows[i] {
			rows[i][j] = inv(byte((k + i) ^ j))
		}
	}
	return rows
}

// group returns the data shards of local group g: first to last-1.
func group(s holdall.Scheme, g int) (first, last int) {
	size := s.K() / int(s.Local)
	return g * size, (g + 1) * size
}

// localRows returns one parity a group: the xor of its data shards.
func localRows(s holdall.Scheme) [][]byte {
	rows := make([][]byte, s.Local)
	for g := range rows {
		rows[g] = make([]byte, s.K())
		first, last := group(s, g)
		for j := first; j < last; j++ {
			rows[g][j] = 1
		}
	}
	return rows
}

// globalRows returns the G parities over all data shards of an LRC. With the sum
// of the local rows, a row of ones, they are the G+1 rows of a code of which any
// k shards suffice; hence every pattern of G+1 losses is recoverable (a pyramid
// code: Huang, Chen, Li, NCA'07, theorem 1).
//
// For G ≤ 2 the rows are a and a² with a = 2^(g+17i) for the i-th data shard of
// group g. 2^17 generates GF(2^4), so the a of one group lie in one of 17 cosets
// of it, which with 0 are subspaces that meet in 0 alone. Losses that the local
// parities cannot bear leave, after elimination, sums of two a of a group (or
// one a, where the local parity is lost): non-zero, and different for two
// groups as for two sums of a group. So the system in a and a² is solvable
// wherever the count of equations allows: every pattern that any code with
// these groups could recover is recoverable (Gopalan et al., "Explicit maximally
// recoverable codes", 2013). Groups have at most 14 shards and there are at most
// 10 of them, since n ≤ 32.
//
// For G > 2 the rows are those of a Cauchy matrix, its columns scaled so that
// its first row, which is left out, is all ones.
func globalRows(s holdall.Scheme) [][]byte {
	rows := cauchy(s.K(), int(s.Global)+1)
	if s.Global > 2 {
		for j := range s.K() {
			f := inv(rows[0][j])
			for i := range rows {
				rows[i][j] = mul(rows[i][j], f)
			}
		}
		return rows[1:]
	}
	rows = rows[1:]
	for g := range int(s.Local) {
		first, last := group(s, g)
		for j := first; j < last; j++ {
			for i := range rows {
				rows[i][j] = power((g + 17*(j-first)) << i)
			}
		}
	}
	return rows
}
