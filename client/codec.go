package client

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// Limits of what the codec takes apart.
const (
	// MaxMessage is the most bytes of a message: a block, and what goes with it.
	MaxMessage = 4<<20 + maxHead

	// maxHead is the most bytes of a message that are not block data. They are
	// copied, so they are few.
	maxHead = 64 << 10

	// dataField is the number of the field with the bytes of a block or an object,
	// in the messages below.
	dataField protowire.Number = 15
)

// PutMessage is a holdall.v1.PutRequest whose data lie beside it.
type PutMessage struct {
	Head holdallv1.PutRequest // its Data is nil
	Data mem.BufferSlice      // one reference to each buffer, dropped by Free
}

// GetMessage is a holdall.v1.GetResponse whose data lie beside it.
type GetMessage struct {
	Head holdallv1.GetResponse // its Data is nil
	Data mem.BufferSlice       // one reference to each buffer, dropped by Free
}

// PutObjectMessage is a holdall.v1.PutObjectRequest whose data lie beside it.
type PutObjectMessage struct {
	Head holdallv1.PutObjectRequest // its Data is nil
	Data mem.BufferSlice            // one reference to each buffer, dropped by Free
}

// GetObjectMessage is a holdall.v1.GetObjectResponse whose data lie beside it.
type GetObjectMessage struct {
	Head holdallv1.GetObjectResponse // its Data is nil
	Data mem.BufferSlice             // one reference to each buffer, dropped by Free
}

// Free drops the references to the data.
func (m *PutMessage) Free() { m.Data.Free(); m.Data = nil }

// Free drops the references to the data.
func (m *GetMessage) Free() { m.Data.Free(); m.Data = nil }

// Free drops the references to the data.
func (m *PutObjectMessage) Free() { m.Data.Free(); m.Data = nil }

// Free drops the references to the data.
func (m *GetObjectMessage) Free() { m.Data.Free(); m.Data = nil }

func (m *PutMessage) parts() (proto.Message, *mem.BufferSlice)       { return &m.Head, &m.Data }
func (m *GetMessage) parts() (proto.Message, *mem.BufferSlice)       { return &m.Head, &m.Data }
func (m *PutObjectMessage) parts() (proto.Message, *mem.BufferSlice) { return &m.Head, &m.Data }
func (m *GetObjectMessage) parts() (proto.Message, *mem.BufferSlice) { return &m.Head, &m.Data }

// split is a message that Codec takes apart.
type split interface {
	parts() (head proto.Message, data *mem.BufferSlice)
}

// Codec is gRPC's codec "proto" with one difference: the data of the four
// messages above are not copied, in neither direction. What goes over the
// wire is the same, so either side may use any protobuf codec.
//
// Marshal hands the message's references to the data on, so that a buffer is
// free as soon as its bytes are sent; the message has none left, whatever
// Marshal returns. Unmarshal gives the message references to the buffers that gRPC received:
// whoever takes the message frees it. Every other message is left to protobuf.
type Codec struct{ proto encoding.CodecV2 }

// NewCodec returns a Codec. It is stateless: one serves any number of
// connections.
func NewCodec() Codec { return Codec{encoding.GetCodecV2(protocodec.Name)} }

// Name returns "proto": the content-subtype that every protobuf client sends.
func (c Codec) Name() string { return protocodec.Name }

// Marshal encodes v.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(split)
	if !ok {
		return c.proto.Marshal(v)
	}
	head, data := m.parts()
	moved := *data
	*data = nil
	b, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 0, 128), head)
	if err != nil {
		moved.Free()
		return nil, err
	}
	if n := moved.Len(); n > 0 {
		b = protowire.AppendTag(b, dataField, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(n))
	}
	return append(append(make(mem.BufferSlice, 0, 1+len(moved)), mem.SliceBuffer(b)), moved...), nil
}

// Unmarshal decodes src into v. It does not keep src.
func (c Codec) Unmarshal(src mem.BufferSlice, v any) error {
	m, ok := v.(split)
	if !ok {
		return c.proto.Unmarshal(src, v)
	}
	head, data := m.parts()
	data.Free() // gRPC may decode twice into one message
	*data = nil
	rest, found, err := take(src)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(rest, head); err != nil {
		return err
	}
	*data = found.slices(src)
	return nil
}

var (
	errTruncated = fmt.Errorf("message ends within a field: %w", io.ErrUnexpectedEOF)
	errVarint    = errors.New("message has a varint of more than 10 bytes")
	errHead      = fmt.Errorf("message has more than %d bytes beside its data", maxHead)
)

// take finds the data field in src and returns a copy of everything else, in
// order. Of several occurrences the last is the field's value, as in any
// protobuf parser. That the copy is well-formed is left to protobuf to check.
func take(src mem.BufferSlice) (rest []byte, data span, err error) {
	r := cursor{src: src, left: src.Len()}
	depth := 0 // of groups; nothing in one is the message's own field
	rest = make([]byte, 0, 128)
	for r.left > 0 {
		start := len(rest)
		tag, rest2, err := r.varint(rest)
		if err != nil {
			return nil, span{}, err
		}
		rest = rest2
		number, kind := protowire.DecodeTag(tag)
		n := 0
		switch kind {
		case protowire.VarintType:
			_, rest, err = r.varint(rest)
		case protowire.Fixed32Type:
			n = 4
		case protowire.Fixed64Type:
			n = 8
		case protowire.StartGroupType:
			depth++
		case protowire.EndGroupType:
			depth--
		case protowire.BytesType:
			var size uint64
			if size, rest, err = r.varint(rest); err == nil && size > uint64(r.left) {
				err = errTruncated
			}
			n = int(min(size, uint64(r.left)))
		default:
			err = fmt.Errorf("message has a field of the unknown wire type %d", kind)
		}
		if err != nil {
			return nil, span{}, err
		}
		if number == dataField && kind == protowire.BytesType && depth == 0 {
			data = span{r.index, r.offset, n}
			rest = rest[:start]
			r.skip(n)
			continue
		}
		if rest, err = r.copy(rest, n); err != nil {
			return nil, span{}, err
		}
	}
	return rest, data, nil
}

// span is n bytes of a BufferSlice from a place in it.
type span struct{ index, offset, n int }

// slices returns references to the bytes of s in src.
func (s span) slices(src mem.BufferSlice) mem.BufferSlice {
	if s.n == 0 {
		return nil
	}
	out := make(mem.BufferSlice, 0, len(src)-s.index)
	for ; s.n > 0; s.index, s.offset = s.index+1, 0 {
		end := min(src[s.index].Len(), s.offset+s.n)
		if end > s.offset {
			out = append(out, src[s.index].Slice(s.offset, end))
			s.n -= end - s.offset
		}
	}
	return out
}

// cursor reads a BufferSlice whose buffers may end anywhere.
type cursor struct {
	src    mem.BufferSlice
	index  int // of the buffer that has the next byte
	offset int // of that byte
	left   int // bytes, in all buffers
}

// varint reads a varint and appends its bytes to dst.
func (r *cursor) varint(dst []byte) (v uint64, _ []byte, err error) {
	for i := range 10 {
		if r.left == 0 {
			return 0, dst, errTruncated
		}
		b := r.chunk()[0]
		r.skip(1)
		dst = append(dst, b)
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if len(dst) > maxHead {
				return 0, dst, errHead
			}
			return v, dst, nil
		}
	}
	return 0, dst, errVarint
}

// copy appends the next n bytes to dst.
func (r *cursor) copy(dst []byte, n int) ([]byte, error) {
	switch {
	case n > r.left:
		return dst, errTruncated
	case len(dst)+n > maxHead:
		return dst, errHead
	}
	for n > 0 {
		b := r.chunk()
		b = b[:min(n, len(b))]
		dst = append(dst, b...)
		r.skip(len(b))
		n -= len(b)
	}
	return dst, nil
}

// chunk returns the bytes up to the end of the buffer that has the next one.
// There must be one.
func (r *cursor) chunk() []byte {
	for r.offset == r.src[r.index].Len() {
		r.index, r.offset = r.index+1, 0
	}
	return r.src[r.index].ReadOnlyData()[r.offset:]
}

// skip passes over n bytes, which must be there.
func (r *cursor) skip(n int) {
	r.left -= n
	for n > 0 {
		step := min(n, r.src[r.index].Len()-r.offset)
		r.offset += step
		n -= step
		if r.offset == r.src[r.index].Len() && n > 0 {
			r.index, r.offset = r.index+1, 0
		}
	}
}
