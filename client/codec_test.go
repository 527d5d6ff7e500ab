package client

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

func TestDataFieldIsWhatTheProtoFileSays(t *testing.T) {
	for _, m := range []proto.Message{&holdallv1.PutRequest{}, &holdallv1.GetResponse{}} {
		fields := m.ProtoReflect().Descriptor().Fields()
		if f := fields.ByName("data"); f == nil || f.Number() != dataField {
			t.Errorf("%s: field data is %v, the codec takes %d for it", m.ProtoReflect().Descriptor().FullName(), f, dataField)
		}
		for i := range fields.Len() {
			if n := fields.Get(i).Number(); n > dataField {
				t.Errorf("field %d comes after the data in canonical order", n)
			}
		}
	}
}

// pieces cuts b into buffers that gRPC counts references to, at cuts drawn from r.
func pieces(r *rand.Rand, b []byte, pool mem.BufferPool) mem.BufferSlice {
	var out mem.BufferSlice
	for len(b) > 0 {
		n := min(len(b), 1+r.IntN(1+r.IntN(len(b))))
		buf := pool.Get(max(n, 2048)) // above gRPC's threshold for counting
		*buf = (*buf)[:n]
		copy(*buf, b)
		out = append(out, mem.NewBuffer(buf, pool))
		b = b[n:]
		if r.IntN(8) == 0 {
			out = append(out, mem.SliceBuffer(nil))
		}
	}
	return out
}

// counter is a pool that knows how many of its buffers are out.
type counter struct{ out int }

func (c *counter) Get(n int) *[]byte { c.out++; b := make([]byte, n); return &b }
func (c *counter) Put(*[]byte)       { c.out-- }

func TestPlainProtobufReadsWhatCodecWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 100, 16 << 10, 4 << 20} {
		data := bytes.Repeat([]byte{'x'}, size)
		put := &PutMessage{Head: holdallv1.PutRequest{Namespace: "photos", Id: bytes.Repeat([]byte{7}, 32)}}
		put.Data = pieces(r, data, &counter{})
		var got holdallv1.PutRequest
		transcode(t, NewCodec(), put, plain(), &got)
		want := &holdallv1.PutRequest{Namespace: "photos", Id: put.Head.Id, Data: data}
		if !proto.Equal(&got, want) {
			t.Errorf("put of %d bytes: plain protobuf reads something else", size)
		}
		put.Free()

		get := &GetMessage{Head: holdallv1.GetResponse{Size: 5 << 20, Verified: holdallv1.Verified_VERIFIED_CHUNKS}}
		get.Data = pieces(r, data, &counter{})
		var back holdallv1.GetResponse
		transcode(t, NewCodec(), get, plain(), &back)
		if back.Size != 5<<20 || back.Verified != holdallv1.Verified_VERIFIED_CHUNKS || !bytes.Equal(back.Data, data) {
			t.Errorf("get of %d bytes: plain protobuf reads something else", size)
		}
		get.Free()
	}
}

func TestCodecReadsWhatPlainProtobufWrites(t *testing.T) {
	for _, size := range []int{0, 1, 100, 16 << 10, 4 << 20} {
		data := bytes.Repeat([]byte{'y'}, size)
		var got PutMessage
		transcode(t, plain(), &holdallv1.PutRequest{Namespace: "n", Id: []byte("some id"), Data: data}, NewCodec(), &got)
		if got.Head.Namespace != "n" || string(got.Head.Id) != "some id" || !bytes.Equal(got.Data.Materialize(), data) || got.Head.Data != nil {
			t.Errorf("put of %d bytes: read as %v and %d bytes", size, &got.Head, got.Data.Len())
		}
		got.Free()
	}
}

func plain() encoding.CodecV2 { return encoding.GetCodecV2("proto") }

func transcode(t *testing.T, from encoding.CodecV2, in any, to encoding.CodecV2, out any) {
	t.Helper()
	b, err := from.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	b.Free()
}

func TestUnmarshalTakesFieldsInAnyOrderCutAnywhere(t *testing.T) {
	id := bytes.Repeat([]byte{9}, 32)
	first := field(nil, 15, []byte("dropped: the last one counts"))
	last := field(nil, 15, bytes.Repeat([]byte("data"), 1000))
	group := protowire.AppendTag(nil, 77, protowire.StartGroupType)
	group = field(group, 15, []byte("not the message's own"))
	group = protowire.AppendTag(group, 77, protowire.EndGroupType)
	other := protowire.AppendVarint(protowire.AppendTag(nil, 15, protowire.VarintType), 1<<40) // another wire type: unknown
	parts := [][]byte{first, field(nil, 1, []byte("ns")), group, last, field(nil, 2, id), field(nil, 200, []byte("from the future")), other,
		protowire.AppendFixed64(protowire.AppendTag(nil, 300, protowire.Fixed64Type), 5), protowire.AppendFixed32(protowire.AppendTag(nil, 301, protowire.Fixed32Type), 5)}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var b []byte
		for _, i := range r.Perm(len(parts)) {
			b = append(b, parts[i]...)
		}
		var want holdallv1.PutRequest
		if err := proto.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		var pool counter
		src := pieces(r, b, &pool)
		var got PutMessage
		if err := NewCodec().Unmarshal(src, &got); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		src.Free()
		if string(got.Data.Materialize()) != string(want.Data) {
			t.Fatalf("seed %d: data are %q, want %q", seed, got.Data.Materialize(), want.Data)
		}
		want.Data = nil
		if !proto.Equal(&got.Head, withoutData(&want)) {
			t.Fatalf("seed %d: head is %v, want %v", seed, &got.Head, &want)
		}
		got.Free()
		if pool.out != 0 {
			t.Fatalf("seed %d: %d buffers were not given back", seed, pool.out)
		}
	}
}

// withoutData is m as it looks once it was encoded without its data.
func withoutData(m *holdallv1.PutRequest) *holdallv1.PutRequest {
	m.Data = nil
	return m
}

func field(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func TestUnmarshalRefusesWhatIsCutShortOrTooLarge(t *testing.T) {
	whole := field(field(nil, 1, []byte("namespace")), 15, bytes.Repeat([]byte{1}, 3000))
	for n := range whole[:len(whole)-1] {
		if n == 11 {
			continue // the end of the first field: a whole message
		}
		if n > 0 {
			expectRefusal(t, whole[:n])
		}
	}
	expectRefusal(t, field(nil, 1, make([]byte, maxHead)))                     // too much beside the data
	expectRefusal(t, bytes.Repeat([]byte{0x80}, 11))                           // an endless varint
	expectRefusal(t, []byte{15<<3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}) // data of 2^48 bytes
	expectRefusal(t, []byte{1<<3 | 3})                                         // a group without end
	expectRefusal(t, []byte{1<<3 | 4})                                         // an end without group
	expectRefusal(t, []byte{1<<3 | 6, 0})                                      // no such wire type
	expectRefusal(t, []byte{0, 0})                                             // field 0
}

func expectRefusal(t *testing.T, b []byte) {
	t.Helper()
	var pool counter
	src := pieces(rand.New(rand.NewPCG(3, 4)), b, &pool)
	var got PutMessage
	if err := NewCodec().Unmarshal(src, &got); err == nil {
		t.Errorf("%d bytes (%x…) decode as %v and %d bytes of data", len(b), b[:min(len(b), 16)], &got.Head, got.Data.Len())
	}
	src.Free()
	if pool.out != 0 || got.Data != nil {
		t.Errorf("%d bytes: refused, and %d buffers were not given back", len(b), pool.out)
	}
}

func TestUnmarshalTwiceIntoOneMessageFreesTheFirst(t *testing.T) {
	var pool counter
	var got PutMessage
	for range 2 {
		src := pieces(rand.New(rand.NewPCG(5, 6)), field(nil, 15, make([]byte, 50000)), &pool)
		if err := NewCodec().Unmarshal(src, &got); err != nil {
			t.Fatal(err)
		}
		src.Free()
	}
	got.Free()
	if pool.out != 0 {
		t.Errorf("%d buffers were not given back", pool.out)
	}
}

func FuzzCodec(f *testing.F) {
	f.Add(field(field(nil, 1, []byte("ns")), 15, []byte("data")), uint64(1))
	f.Add(field(field(field(nil, 15, []byte("a")), 2, make([]byte, 32)), 15, nil), uint64(2))
	f.Add([]byte{15<<3 | 2, 0x80}, uint64(3))
	f.Add([]byte{7<<3 | 3, 15<<3 | 2, 0, 7<<3 | 4}, uint64(4))
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		var want holdallv1.PutRequest
		wantErr := proto.Unmarshal(b, &want)
		var pool counter
		src := pieces(rand.New(rand.NewPCG(seed, 0)), b, &pool)
		var got PutMessage
		err := NewCodec().Unmarshal(src, &got)
		src.Free()
		if err == nil {
			if wantErr != nil {
				t.Fatalf("decodes, plain protobuf says %v", wantErr)
			}
			data := got.Data.Materialize()
			got.Free()
			if string(data) != string(want.Data) || got.Head.Namespace != want.Namespace || string(got.Head.Id) != string(want.Id) {
				t.Fatalf("reads %q %q %d bytes, plain protobuf %q %q %d bytes", got.Head.Namespace, got.Head.Id, len(data), want.Namespace, want.Id, len(want.Data))
			}
		} else if wantErr == nil && len(b) < maxHead {
			t.Fatalf("refused with %v, plain protobuf reads it", err)
		}
		if pool.out != 0 {
			t.Fatalf("%d buffers were not given back", pool.out)
		}
	})
}

// One block costs a fixed number of small allocations each way, however large
// it is: none of its bytes are copied.
func TestCodecDoesNotAllocateForTheBytesOfABlock(t *testing.T) {
	c := NewCodec()
	data := make([]byte, holdall.MaxBlockSize)
	sum := sha256.Sum256(data)
	var frames mem.BufferSlice // as gRPC hands them over: 16 KiB each
	wire := field(field(nil, 2, sum[:]), 15, data)
	for n := 0; n < len(wire); n += 16 << 10 {
		frames = append(frames, mem.SliceBuffer(wire[n:min(len(wire), n+16<<10)]))
	}
	send := &PutMessage{Head: holdallv1.PutRequest{Id: sum[:]}, Data: mem.BufferSlice{mem.SliceBuffer(data)}}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := c.Marshal(send); err != nil {
			t.Fatal(err)
		}
	}); n > 4 {
		t.Errorf("Marshal of a put: %v allocations, want at most 4", n)
	}
	var got PutMessage
	if n := testing.AllocsPerRun(100, func() {
		if err := c.Unmarshal(frames, &got); err != nil {
			t.Fatal(err)
		}
		got.Free()
	}); n > 300 { // a SliceBuffer in an interface is one; gRPC's own buffers are pooled
		t.Errorf("Unmarshal of a put: %v allocations, want at most 300", n)
	}
	var back GetMessage
	answer := mem.BufferSlice{mem.SliceBuffer(field(nil, 15, data))}
	if n := testing.AllocsPerRun(100, func() {
		if err := c.Unmarshal(answer, &back); err != nil {
			t.Fatal(err)
		}
		back.Free()
	}); n > 8 {
		t.Errorf("Unmarshal of a get in one buffer: %v allocations, want at most 8", n)
	}
}
