package object

import "github.com/holdall/holdall/internal/buffer"

// Next returns the next bytes of the range, at most a block, for a caller that
// keeps them longer than WriteTo allows: it releases what it gets, also after
// Close. Errors are those of Read.
func (r *Reader) Next() (buffer.View, error) {
	if len(r.now.Data) == 0 {
		if err := r.advance(); err != nil {
			return buffer.View{}, err
		}
	}
	view := r.now
	r.now = buffer.View{}
	return view, nil
}
