package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// SizeHeader is the header in which a request with a payload states the
// payload's size, in decimal bytes, so that a server can refuse it before it is
// read.
const SizeHeader = "holdall-size"

// Put stores a block of 1 byte to holdall.MaxBlockSize and returns its id. It
// hashes data itself, and the server does too. A nil error is the
// acknowledgement: the block is durable. data must not change until Put has
// returned.
//
// After ErrUnavailable, or the end of ctx, the block may or may not be stored;
// putting it again is always safe.
func (c *Client) Put(ctx context.Context, data []byte) (holdall.BlockID, error) {
	if len(data) == 0 || len(data) > holdall.MaxBlockSize {
		return holdall.BlockID{}, fmt.Errorf("put: block has %d bytes, want 1 to %d: %w", len(data), holdall.MaxBlockSize, holdall.ErrInvalid)
	}
	id := holdall.HashBlock(data)
	ctx = metadata.AppendToOutgoingContext(ctx, SizeHeader, strconv.Itoa(len(data)))
	in := PutMessage{Head: holdallv1.PutRequest{Namespace: c.options.Namespace, Id: id[:]}}
	err := c.retry(ctx, func(ctx context.Context) error {
		conn := c.take()
		defer conn.release()
		turn, err := conn.uploads.wait(ctx, len(data))
		if err != nil {
			return fmt.Errorf("put %v: %w", id, err)
		}
		defer turn.end()
		var sent func()
		in.Data, sent = lend(data, turn)
		var out holdallv1.PutResponse
		err = conn.call(ctx, holdallv1.BlockService_Put_FullMethodName, &in, &out)
		in.Free() // gRPC may have failed before it looked
		if err != nil {
			sent()
			return err
		}
		if !bytes.Equal(out.Id, id[:]) {
			return fmt.Errorf("put: the server stored block %x in place of %v: %w", out.Id, id, holdall.ErrCorrupt)
		}
		return nil
	})
	return id, err
}

// lent is a caller's bytes while gRPC has references to them.
type lent struct {
	freed chan struct{}
	turn  *turn
}

func (l lent) Get(int) *[]byte { panic("client: a lent buffer's pool gives none") }

// Put takes the last reference back: the bytes are sent, or never will be.
func (l lent) Put(*[]byte) {
	l.turn.end()
	close(l.freed)
}

// lend makes data a message's. After a call that failed, done waits until
// gRPC's writer has let go of data: the stream's frames may still be in its
// queue. A writer whose connection broke forgets its queue without freeing it,
// and reads no more from it either, so the wait is bounded.
func lend(data []byte, t *turn) (_ mem.BufferSlice, done func()) {
	if mem.IsBelowBufferPoolingThreshold(cap(data)) {
		return mem.BufferSlice{mem.SliceBuffer(bytes.Clone(data))}, func() {}
	}
	l := lent{make(chan struct{}), t}
	return mem.BufferSlice{mem.NewBuffer(&data, l)}, func() {
		t := time.NewTimer(100 * time.Millisecond)
		defer t.Stop()
		select {
		case <-l.freed:
		case <-t.C:
		}
	}
}

// Verified says who checked the bytes of a Block against what.
type Verified uint8

// What vouches for the bytes of a Block.
const (
	VerifiedHere   Verified = 1 // this process hashed the whole block: it is what the id names
	VerifiedBlock  Verified = 2 // the server read and hashed the whole block, and sent a range
	VerifiedChunks Verified = 3 // the server checked the 64-KiB checksums under the range, and that the pack lists the id there
)

// String returns the word operators see.
func (v Verified) String() string {
	switch v {
	case VerifiedHere:
		return "here"
	case VerifiedBlock:
		return "block"
	case VerifiedChunks:
		return "chunks"
	}
	return "verified-" + strconv.Itoa(int(v))
}

// Block is the bytes that a get returned, in the buffers that they arrived in.
// Release gives the buffers back; the bytes must not be used after it.
type Block struct {
	Size     int // bytes of the whole block
	Verified Verified

	data mem.BufferSlice
	len  int
}

// Len returns the number of bytes got: Size, or that of the range asked for.
func (b *Block) Len() int { return b.len }

// AppendTo appends the bytes to dst.
func (b *Block) AppendTo(dst []byte) []byte {
	for _, part := range b.data {
		dst = append(dst, part.ReadOnlyData()...)
	}
	return dst
}

// WriteTo writes the bytes to w.
func (b *Block) WriteTo(w io.Writer) (n int64, err error) {
	for _, part := range b.data {
		m, err := w.Write(part.ReadOnlyData())
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Release gives the buffers back. Calling it again does nothing.
func (b *Block) Release() { b.data.Free(); b.data = nil }

// GetOptions says which bytes to get, and how. The zero GetOptions get the
// whole block.
type GetOptions struct {
	Offset     int  // of the first byte wanted
	Length     int  // bytes wanted; 0 = to the end
	Consistent bool // see every delete that was acknowledged: costs a question to the metadata leader
}

// Fetch returns a block, or a range of one, without copying it. A whole block
// was hashed here and is what id names; for a range, Verified says what vouches
// for it. Errors: ErrNotFound; ErrUnavailable while too few sound shards can be
// reached; ErrDataLoss; ErrInvalid for a range outside the block; ErrCorrupt
// when the bytes that arrived are not those that id names.
func (c *Client) Fetch(ctx context.Context, id holdall.BlockID, o GetOptions) (*Block, error) {
	if o.Offset < 0 || o.Length < 0 || o.Offset+o.Length > holdall.MaxBlockSize {
		return nil, fmt.Errorf("get %v: range of %d bytes at %d is outside every block: %w", id, o.Length, o.Offset, holdall.ErrInvalid)
	}
	in := holdallv1.GetRequest{
		Namespace: c.options.Namespace, Id: id[:],
		Offset: uint32(o.Offset), Length: uint32(o.Length), Consistent: o.Consistent,
	}
	// This process hashes a whole block anyway. Only when the hash differs need
	// the server hash too, to see for itself, and get the block from elsewhere.
	in.CallerVerifies = o.Offset == 0 && o.Length == 0
	b, err := c.fetch(ctx, id, o, &in)
	if in.CallerVerifies && errors.Is(err, errWrongBytes) {
		in.CallerVerifies = false
		b, err = c.fetch(ctx, id, o, &in)
	}
	return b, err
}

func (c *Client) fetch(ctx context.Context, id holdall.BlockID, o GetOptions, in *holdallv1.GetRequest) (out *Block, err error) {
	err = c.retry(ctx, func(ctx context.Context) error {
		var m GetMessage
		err := c.call(ctx, holdallv1.BlockService_Get_FullMethodName, in, &m)
		if err == nil {
			out, err = check(id, o, &m)
		}
		if err != nil {
			m.Free()
		}
		return err
	})
	return out, err
}

// errWrongBytes is the error of a whole block that is not the one asked for.
var errWrongBytes = errors.New("the bytes that arrived are not the block's")

// check makes a Block of what a server answered, if it is what was asked for.
func check(id holdall.BlockID, o GetOptions, m *GetMessage) (*Block, error) {
	b := &Block{Size: int(m.Head.Size), data: m.Data, len: m.Data.Len()}
	want := o.Length
	if want == 0 {
		want = b.Size - o.Offset
	}
	if b.len != want || o.Offset+want > b.Size {
		return nil, fmt.Errorf("get %v: the server sent %d bytes for %d at %d of %d: %w", id, b.len, want, o.Offset, b.Size, holdall.ErrCorrupt)
	}
	if b.len < b.Size {
		b.Verified = VerifiedChunks
		if m.Head.Verified == holdallv1.Verified_VERIFIED_BLOCK {
			b.Verified = VerifiedBlock
		}
		return b, nil
	}
	b.Verified = VerifiedHere
	h := holdall.NewHasher()
	for _, part := range b.data {
		h.Write(part.ReadOnlyData())
	}
	if got := h.ID(); got != id {
		return nil, fmt.Errorf("get %v: %w: they hash to %v: %w", id, errWrongBytes, got, holdall.ErrCorrupt)
	}
	return b, nil
}

// Get returns a whole block, verified. See Fetch for errors.
func (c *Client) Get(ctx context.Context, id holdall.BlockID) ([]byte, error) {
	return c.GetInto(ctx, id, nil)
}

// GetInto appends a whole block, verified, to dst[:0] and returns the result:
// dst is reused where it is large enough.
func (c *Client) GetInto(ctx context.Context, id holdall.BlockID, dst []byte) ([]byte, error) {
	b, err := c.Fetch(ctx, id, GetOptions{})
	if err != nil {
		return nil, err
	}
	defer b.Release()
	if cap(dst) < b.Len() {
		dst = make([]byte, 0, b.Len())
	}
	return b.AppendTo(dst[:0]), nil
}

// Stat tells where a block lies. It is linearizable, and finds blocks in trash
// too. ErrNotFound where there is no such block.
func (c *Client) Stat(ctx context.Context, id holdall.BlockID) (*BlockStat, error) {
	in := holdallv1.StatRequest{Namespace: c.options.Namespace, Id: id[:]}
	var out holdallv1.StatResponse
	err := c.retry(ctx, func(ctx context.Context) error {
		return c.call(ctx, holdallv1.BlockService_Stat_FullMethodName, &in, &out)
	})
	if err != nil {
		return nil, err
	}
	return blockStat(&out)
}

// Missing returns which of at most holdall.MaxIDsPerCall ids are not stored. It
// is a hint about what to put; a block that is not put is secured with Claim.
func (c *Client) Missing(ctx context.Context, ids []holdall.BlockID) ([]holdall.BlockID, error) {
	var out holdallv1.MissingResponse
	err := c.callIDs(ctx, holdallv1.BlockService_Missing_FullMethodName, ids, func(raw [][]byte) any {
		return &holdallv1.MissingRequest{Namespace: c.options.Namespace, Ids: raw}
	}, &out)
	if err != nil {
		return nil, err
	}
	return blockIDs(out.Ids)
}

// Claim does to each of at most holdall.MaxIDsPerCall blocks what putting its
// bytes again would, and returns those that are gone and have to be put. A nil
// error is the acknowledgement for all others.
func (c *Client) Claim(ctx context.Context, ids []holdall.BlockID) (gone []holdall.BlockID, err error) {
	var out holdallv1.ClaimResponse
	err = c.callIDs(ctx, holdallv1.BlockService_Claim_FullMethodName, ids, func(raw [][]byte) any {
		return &holdallv1.ClaimRequest{Namespace: c.options.Namespace, Ids: raw}
	}, &out)
	if err != nil {
		return nil, err
	}
	return blockIDs(out.Gone)
}

// Delete moves at most holdall.MaxIDsPerCall blocks to trash and returns those
// that were not there to delete. A retry that follows a lost answer finds in
// trash what the first attempt put there.
func (c *Client) Delete(ctx context.Context, ids []holdall.BlockID) (gone []holdall.BlockID, err error) {
	var out holdallv1.DeleteResponse
	err = c.callIDs(ctx, holdallv1.BlockService_Delete_FullMethodName, ids, func(raw [][]byte) any {
		return &holdallv1.DeleteRequest{Namespace: c.options.Namespace, Ids: raw}
	}, &out)
	if err != nil {
		return nil, err
	}
	return blockIDs(out.Gone)
}

// Undelete takes at most holdall.MaxIDsPerCall blocks out of trash and returns
// those that are not, or no longer, there.
func (c *Client) Undelete(ctx context.Context, ids []holdall.BlockID) (gone []holdall.BlockID, err error) {
	var out holdallv1.UndeleteResponse
	err = c.callIDs(ctx, holdallv1.BlockService_Undelete_FullMethodName, ids, func(raw [][]byte) any {
		return &holdallv1.UndeleteRequest{Namespace: c.options.Namespace, Ids: raw}
	}, &out)
	if err != nil {
		return nil, err
	}
	return blockIDs(out.Gone)
}

// callIDs makes a call that names many blocks.
func (c *Client) callIDs(ctx context.Context, method string, ids []holdall.BlockID, request func([][]byte) any, out any) error {
	if len(ids) > holdall.MaxIDsPerCall {
		return fmt.Errorf("%d ids in one call, the most is %d: %w", len(ids), holdall.MaxIDsPerCall, holdall.ErrInvalid)
	}
	if len(ids) == 0 {
		return nil
	}
	raw := make([][]byte, len(ids))
	for i := range ids {
		raw[i] = ids[i][:]
	}
	in := request(raw)
	return c.retry(ctx, func(ctx context.Context) error { return c.call(ctx, method, in, out) })
}

func blockIDs(raw [][]byte) ([]holdall.BlockID, error) {
	var out []holdall.BlockID
	for _, b := range raw {
		if len(b) != len(holdall.BlockID{}) {
			return nil, fmt.Errorf("the server sent a block id of %d bytes: %w", len(b), holdall.ErrCorrupt)
		}
		out = append(out, holdall.BlockID(b))
	}
	return out, nil
}
