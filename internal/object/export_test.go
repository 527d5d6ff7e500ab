package object

// Cut makes objects of smaller pieces: data blocks of block bytes, nodes of
// entries entries, objects of up to inline bytes in their roots.
func (s *Objects) Cut(inline int, block int64, entries int) { s.cut = cut{inline, block, entries} }
