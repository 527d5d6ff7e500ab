package wire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// plain is a client of another make: generated code and gRPC's own codec.
func (f *front) plain(options ...grpc.CallOption) *grpc.ClientConn {
	f.t.Helper()
	conn, err := grpc.NewClient("passthrough:///cell",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(append(options, grpc.MaxCallRecvMsgSize(8<<20), grpc.MaxCallSendMsgSize(8<<20))...),
		grpc.WithContextDialer(f.dialer()))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	return conn
}

func sized(ctx context.Context, size string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, client.SizeHeader, size)
}

func TestOtherClientsInteroperate(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := holdallv1.NewBlockServiceClient(f.plain()), f.ctx()
	for _, n := range []int{1, 100, 70000, holdall.MaxBlockSize} {
		data := block(n, 9)
		put, err := c.Put(ctx, &holdallv1.PutRequest{Data: data}) // no id, no size: a thin client
		if err != nil {
			t.Fatal(err)
		}
		if id := holdall.HashBlock(data); string(put.Id) != string(id[:]) {
			t.Errorf("%d bytes: id is %x", n, put.Id)
		}
		get, err := c.Get(ctx, &holdallv1.GetRequest{Id: put.Id})
		if err != nil || string(get.Data) != string(data) || get.Size != uint32(n) || get.Verified != holdallv1.Verified_VERIFIED_BLOCK {
			t.Errorf("%d bytes: got %d, %v", n, len(get.GetData()), err)
		}
	}
}

// The right code and message for each bad put, and nothing stored.
func TestBadPutsAreRefused(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := holdallv1.NewBlockServiceClient(f.plain()), f.ctx()
	one := []byte("x")
	wrong := holdall.HashBlock([]byte("y"))
	for _, bad := range []struct {
		name string
		ctx  context.Context
		in   *holdallv1.PutRequest
		code codes.Code
		says string
	}{
		{"wrong id", ctx, &holdallv1.PutRequest{Id: wrong[:], Data: one}, codes.InvalidArgument, "hashes to"},
		{"short id", ctx, &holdallv1.PutRequest{Id: wrong[:31], Data: one}, codes.InvalidArgument, "31 bytes"},
		{"0 bytes", ctx, &holdallv1.PutRequest{}, codes.InvalidArgument, "0 bytes"},
		{"4 MiB + 1", ctx, &holdallv1.PutRequest{Data: make([]byte, holdall.MaxBlockSize+1)}, codes.InvalidArgument, "4194305 bytes"},
		{"4 MiB + 1, said so", sized(ctx, "4194305"), &holdallv1.PutRequest{Data: make([]byte, holdall.MaxBlockSize+1)}, codes.InvalidArgument, "4194305"},
		{"over the message limit", ctx, &holdallv1.PutRequest{Data: make([]byte, 5<<20)}, codes.ResourceExhausted, "larger than max"},
		{"more than said", sized(ctx, "10"), &holdallv1.PutRequest{Data: make([]byte, 11)}, codes.InvalidArgument, "11 bytes"},
		{"size is no number", sized(ctx, "many"), &holdallv1.PutRequest{Data: one}, codes.InvalidArgument, "holdall-size"},
		{"size is negative", sized(ctx, "-1"), &holdallv1.PutRequest{Data: one}, codes.InvalidArgument, "holdall-size"},
		{"size is 0", sized(ctx, "0"), &holdallv1.PutRequest{Data: one}, codes.InvalidArgument, "holdall-size"},
		{"size is too large for a number", sized(ctx, "99999999999999999999"), &holdallv1.PutRequest{Data: one}, codes.InvalidArgument, "holdall-size"},
		{"two sizes", sized(sized(ctx, "1"), "1"), &holdallv1.PutRequest{Data: one}, codes.InvalidArgument, "2 times"},
		{"namespace is not text", ctx, &holdallv1.PutRequest{Namespace: "nowhere", Data: one}, codes.InvalidArgument, "nowhere"},
	} {
		_, err := c.Put(bad.ctx, bad.in)
		if s := status.Convert(err); s.Code() != bad.code || !strings.Contains(s.Message(), bad.says) {
			t.Errorf("%s: %v %q, want %v with %q", bad.name, s.Code(), s.Message(), bad.code, bad.says)
		}
	}
	if n := f.cell.stored(); n != 0 {
		t.Errorf("%d blocks are stored", n)
	}
}

func TestBadRequestsByNameAreRefused(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := holdallv1.NewBlockServiceClient(f.plain()), f.ctx()
	tooMany, id := make([][]byte, holdall.MaxIDsPerCall+1), make([]byte, 32)
	for i := range tooMany {
		tooMany[i] = id
	}
	for _, ids := range [][][]byte{tooMany, {id, id[:5]}, {nil}} {
		_, err1 := c.Missing(ctx, &holdallv1.MissingRequest{Ids: ids})
		_, err2 := c.Claim(ctx, &holdallv1.ClaimRequest{Ids: ids})
		_, err3 := c.Delete(ctx, &holdallv1.DeleteRequest{Ids: ids})
		_, err4 := c.Undelete(ctx, &holdallv1.UndeleteRequest{Ids: ids})
		for i, err := range []error{err1, err2, err3, err4} {
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("call %d with %d ids: %v", i, len(ids), err)
			}
		}
	}
	for _, in := range []*holdallv1.GetRequest{{}, {Id: id[:3]}, {Id: id, Offset: 1 << 31, Length: 1 << 31}, {Id: id, Length: holdall.MaxBlockSize + 1}} {
		if _, err := c.Get(ctx, in); status.Code(err) != codes.InvalidArgument {
			t.Errorf("get %v: %v", in, err)
		}
	}
	if _, err := c.Stat(ctx, &holdallv1.StatRequest{Id: id[:3]}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("stat: %v", err)
	}
}

// Whatever bytes come in place of a message, a frame or a header, the answer is
// an error, the server lives, and memory is given back.
func TestGarbageIsRefused(t *testing.T) {
	f := newFront(t, nil)
	raw := f.raw()
	put := holdallv1.BlockService_Put_FullMethodName
	random := make([]byte, 60)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	id := uint32(1)
	for _, junk := range [][]byte{
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{15<<3 | 2, 0xff, 0xff, 0x7f},
		{1<<3 | 2, 2, 0xff, 0xfe}, // a namespace that is not UTF-8
		{1<<3 | 3},
	} {
		raw.begin(id, put)
		raw.message(id, junk)
		if got := raw.wait(1)[id]; got.code != codes.InvalidArgument || !strings.Contains(got.message, "does not decode") {
			t.Errorf("message %x: %+v", junk, got)
		}
		id += 2
	}
	raw.begin(id, "/holdall.v1.BlockService/Nothing")
	if got := raw.wait(1)[id]; got.code != codes.Unimplemented {
		t.Errorf("unknown method: %+v", got)
	}
	id += 2
	raw.begin(id, "nonsense")
	if got := raw.wait(1)[id]; got.code != codes.Unimplemented {
		t.Errorf("malformed method: %+v", got)
	}
	id += 2
	raw.begin(id, put, "padding", strings.Repeat("x", maxHeader))
	if got := raw.wait(1)[id]; got.reset != http2.ErrCodeFrameSize {
		t.Errorf("header of more than 16 KiB: %+v", got)
	}
	for range 20 { // connections full of nonsense
		raw := f.raw()
		raw.must(raw.conn.Write(random))
		raw.conn.Close()
	}
	if _, err := f.dial(client.Options{}).Put(f.ctx(), []byte("still serving")); err != nil {
		t.Error(err)
	}
	if n := f.cell.stored(); n != 1 {
		t.Errorf("%d blocks are stored, want 1", n)
	}
}

// What a request has beyond what it stated is counted too, until it is refused.
func TestUnderstatedBytesAreCounted(t *testing.T) {
	f := newFront(t, nil)
	c := holdallv1.NewBlockServiceClient(f.plain())
	_, err := c.Put(sized(f.ctx(), "1000"), &holdallv1.PutRequest{Data: make([]byte, holdall.MaxBlockSize)})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "said 1000") {
		t.Errorf("4 MiB said to be 1,000 bytes: %v", err)
	}
	if _, most := f.cell.inFlight(); most != holdall.MaxBlockSize {
		t.Errorf("at most %d bytes were counted, want all %d", most, holdall.MaxBlockSize)
	}
	waitFor(t, "admitted bytes to be given back", func() bool { now, _ := f.cell.inFlight(); return now == 0 })
}

// A call whose stream ended before gRPC began it is over when its handler runs,
// and nobody would give back what the handler counts on it.
func TestUnderstatedBytesOfACallThatIsOverAreGivenBack(t *testing.T) {
	f := newFront(t, nil)
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), connectionKey{}, new(connection)))
	admitted, err := f.server.admit(ctx, &tap.Info{FullMethodName: holdallv1.BlockService_Put_FullMethodName,
		Header: metadata.Pairs(client.SizeHeader, "10")})
	if err != nil {
		t.Fatal(err)
	}
	c := callOf(admitted)
	cancel()
	waitFor(t, "the call to end", func() bool { now, _ := f.cell.inFlight(); return now == 0 })
	c.begin()
	in := client.PutMessage{Data: mem.BufferSlice{mem.SliceBuffer(make([]byte, 70_000))}}
	b := &blockServer{server: f.server}
	if _, err := b.put(admitted, &in); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("70,000 bytes said to be 10: %v", err)
	}
	c.over()
	if now, _ := f.cell.inFlight(); now != 0 || c.conn.bytes.Load() != 0 {
		t.Errorf("%d bytes stay admitted, %d on the connection", now, c.conn.bytes.Load())
	}
}

// A stream that says what it will send and sends nothing, or half of it, is
// ended when its time is over, and its memory is free again.
func TestIdleStreamsEndAndGiveTheirMemoryBack(t *testing.T) {
	f := newFront(t, func(c *Config) { c.ReceiveTimeout = 300 * time.Millisecond })
	f.cell.limit = 1 << 30
	const conns, each = 4, 250
	put := holdallv1.BlockService_Put_FullMethodName
	var raws []*rawConn
	for range conns {
		raw := f.raw()
		for i := range uint32(each) {
			raw.begin(2*i+1, put, client.SizeHeader, "200000")
		}
		// One of them sends half of what it said.
		if err := raw.framer.WriteData(1, false, append([]byte{0, 0, 3, 0x0d, 0x40}, make([]byte, 10000)...)); err != nil {
			t.Fatal(err)
		}
		raws = append(raws, raw)
	}
	for _, raw := range raws {
		for id, got := range raw.wait(each) {
			if got.code != codes.DeadlineExceeded {
				t.Fatalf("stream %d: %+v, want DEADLINE_EXCEEDED", id, got)
			}
		}
	}
	waitFor(t, "admitted bytes to be given back", func() bool { now, _ := f.cell.inFlight(); return now == 0 })
	if f.cell.admissions != conns*each {
		t.Errorf("%d streams were admitted, want %d", f.cell.admissions, conns*each)
	}
	if n := f.cell.stored(); n != 0 {
		t.Errorf("%d blocks are stored", n)
	}
}

func TestOneConnectionMayNotTakeAllMemory(t *testing.T) {
	f := newFront(t, nil)
	raw := f.raw()
	const n = maxConnBytes/holdall.MaxBlockSize + 3
	for i := range uint32(n) {
		raw.begin(2*i+1, holdallv1.BlockService_Put_FullMethodName) // no size: 4 MiB
	}
	for id, got := range raw.wait(3) {
		if got.code != codes.ResourceExhausted || !strings.Contains(got.message, "connection") {
			t.Errorf("stream %d: %+v", id, got)
		}
	}
	if now, _ := f.cell.inFlight(); now != maxConnBytes {
		t.Errorf("%d bytes are admitted, want %d", now, maxConnBytes)
	}
	raw.conn.Close()
	waitFor(t, "admitted bytes to be given back", func() bool { now, _ := f.cell.inFlight(); return now == 0 })
}

func TestMoreStreamsThanAllowedAreRefused(t *testing.T) {
	f := newFront(t, nil)
	raw := f.raw()
	for i := range uint32(maxStreams + 1) {
		raw.begin(2*i+1, holdallv1.BlockService_Stat_FullMethodName)
	}
	got := raw.wait(1)[2*maxStreams+1]
	if got.reset.String() != "REFUSED_STREAM" {
		t.Errorf("stream %d of a connection: %+v", maxStreams+1, got)
	}
	raw.conn.Close()
}

func TestOverloadIsSaidAtTheHeadersWithATimeToComeBack(t *testing.T) {
	f := newFront(t, nil)
	f.cell.limit = 0
	raw := f.raw()
	raw.begin(1, holdallv1.BlockService_Put_FullMethodName)
	if got := raw.wait(1)[1]; got.code != codes.ResourceExhausted { // nothing of the message was sent
		t.Errorf("%+v", got)
	}
	c := f.dial(client.Options{Attempts: 1})
	_, err := c.Put(f.ctx(), []byte("x"))
	var after *holdall.RetryAfter
	if !errors.Is(err, holdall.ErrExhausted) || !errors.As(err, &after) || after.Delay != 30*time.Millisecond {
		t.Errorf("%v, want exhausted with a delay of 30ms", err)
	}
}

func TestCancelledPutsStoreNothingAndGiveTheirMemoryBack(t *testing.T) {
	f := newFront(t, nil)
	f.cell.during = make(chan struct{})
	c := f.dial(client.Options{})
	for i := range 20 {
		ctx, cancel := context.WithCancel(f.ctx())
		done := make(chan error, 1)
		go func() { _, err := c.Put(ctx, block(holdall.MaxBlockSize, byte(i))); done <- err }()
		if i%2 == 0 { // while it waits to be stored; else at any time before
			waitFor(t, "a put to arrive", func() bool { now, _ := f.cell.inFlight(); return now > 0 })
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("put %d: %v", i, err)
		}
		waitFor(t, "admitted bytes to be given back", func() bool { now, _ := f.cell.inFlight(); return now == 0 })
	}
	if n := f.cell.stored(); n != 0 {
		t.Errorf("%d blocks are stored", n)
	}
}

// A stream cut off in the middle of its message.
func TestPutsCutOffMidMessageStoreNothing(t *testing.T) {
	f := newFront(t, nil)
	raw := f.raw()
	const streams = 15
	for i := range uint32(streams) {
		raw.begin(2*i+1, holdallv1.BlockService_Put_FullMethodName)
		if err := raw.framer.WriteData(2*i+1, false, append([]byte{0, 0, 0x40, 0, 0}, make([]byte, 3000)...)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the streams to be admitted", func() bool { now, _ := f.cell.inFlight(); return now == streams*holdall.MaxBlockSize })
	for i := range uint32(streams) {
		if err := raw.framer.WriteRSTStream(2*i+1, 8); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "admitted bytes to be given back", func() bool { now, _ := f.cell.inFlight(); return now == 0 })
	if n := f.cell.stored(); n != 0 {
		t.Errorf("%d blocks are stored", n)
	}
}

// Connections that break while answers are on their way: every buffer comes
// back, those that gRPC forgets through the garbage collector.
func TestGetsCutOffGiveTheirBuffersBack(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	id, err := c.Put(ctx, block(holdall.MaxBlockSize, 1))
	if err != nil {
		t.Fatal(err)
	}
	request := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), id[:])
	for range 8 {
		raw := f.raw()
		for i := range uint32(4) {
			raw.begin(2*i+1, holdallv1.BlockService_Get_FullMethodName)
			raw.message(2*i+1, request)
		}
		waitFor(t, "answers to wait for the window", func() bool { return f.cell.pool.Lent() >= 2*holdall.MaxBlockSize })
		raw.conn.Close()
	}
	waitFor(t, "buffers to be given back", func() bool { runtime.GC(); return f.cell.pool.Lent() == 0 })
}

// A call of a caller with little patience ends when it said, one with much when
// the server says.
func TestEveryCallHasADeadline(t *testing.T) {
	now := time.Now()
	for _, theirs := range []time.Duration{0, time.Second, 30 * time.Second, time.Hour} {
		ctx, cancel := context.WithCancel(context.Background())
		if theirs > 0 {
			ctx, cancel = context.WithDeadline(ctx, now.Add(theirs))
		}
		c := newCall(ctx, "m", method{}, time.Second)
		at, ok := c.Deadline()
		want := min(theirs, maxDeadline)
		if theirs == 0 {
			want = defaultDeadline
		}
		if d := at.Sub(now); !ok || d < want || d > want+5*time.Second {
			t.Errorf("theirs is %v: %v, %v", theirs, d, ok)
		}
		c.cancel(errLate)
		if c.Err() != context.DeadlineExceeded {
			t.Errorf("a call that is late says %v", c.Err())
		}
		c.over()
		cancel()
	}
	c := newCall(context.Background(), "m", method{stream: true}, time.Second)
	if _, ok := c.Deadline(); ok {
		t.Error("a stream has a deadline")
	}
	c.over()
	if c.Err() != context.Canceled {
		t.Errorf("a call that is over says %v", c.Err())
	}
}

func TestPanicsAreInternalErrorsAndNoMore(t *testing.T) {
	f := newFront(t, nil)
	f.cell.panics = true
	c, ctx := f.dial(client.Options{}), f.ctx()
	_, err := c.Put(ctx, block(100000, 1))
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "a bug") {
		t.Errorf("%v, want INTERNAL without the panic's text", err)
	}
	f.cell.panics = false
	if _, err := c.Put(ctx, block(100000, 1)); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

// Every kind of error of the engine comes out of the client as the same kind.
func TestKindsCrossTheWire(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{Attempts: 1}), f.ctx()
	for _, kind := range []error{
		holdall.ErrInvalid, holdall.ErrNotFound, holdall.ErrUnavailable, holdall.ErrExhausted, holdall.ErrStale,
		holdall.ErrRefused, holdall.ErrCorrupt, holdall.ErrDataLoss, holdall.ErrDiskFailed, holdall.ErrDiskFull,
	} {
		f.cell.fail = fmt.Errorf("disk 7: %w", kind)
		_, err := c.Get(ctx, holdall.BlockID{})
		if !errors.Is(err, kind) || err.Error() != f.cell.fail.Error() {
			t.Errorf("%v: %v", kind, err)
		}
	}
}

// The allocations of a whole round trip, client and server, do not grow with
// the block: its bytes are in buffers that are reused.
func TestRoundTripDoesNotAllocateForTheBytesOfABlock(t *testing.T) {
	f := newFront(t, func(c *Config) { c.Put = dropping{} })
	c, ctx := f.dial(client.Options{}), f.ctx()
	data := block(holdall.MaxBlockSize, 1)
	var before, after runtime.MemStats
	const rounds = 20
	for range 5 {
		if _, err := c.Put(ctx, data); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&before)
	for range rounds {
		if _, err := c.Put(ctx, data); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if per := (after.TotalAlloc - before.TotalAlloc) / rounds; per > 1<<20 && !raceEnabled {
		t.Errorf("a put of 4 MiB allocates %d bytes, want less than 1 MiB", per)
	} else {
		t.Logf("a put of 4 MiB allocates %d bytes in %d pieces", per, (after.Mallocs-before.Mallocs)/rounds)
	}
}

// dropping hashes what it is sent and keeps nothing.
type dropping struct{}

func (dropping) Admit(int64) (Admission, error) { return dropping{}, nil }
func (dropping) Release()                       {}
func (dropping) Receive(holdall.NamespaceID, int) (Incoming, error) {
	return droppingBlock{holdall.NewHasher()}, nil
}

type droppingBlock struct{ h *holdall.Hasher }

func (d droppingBlock) Write(p []byte) (int, error) { return d.h.Write(p) }
func (d droppingBlock) Discard()                    {}
func (d droppingBlock) Put(context.Context, *holdall.BlockID) (PutResult, error) {
	return PutResult{ID: d.h.ID()}, nil
}

// waitFor polls until what is true. It is bounded by the test's own patience,
// not by a time that something should take.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("gave up waiting for %s", what)
		}
	}
}
