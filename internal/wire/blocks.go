package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/buffer"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// blockServer is BlockService. Put and Get, whose bytes lie beside their
// messages, have handlers of their own in place of generated ones.
type blockServer struct {
	holdallv1.UnimplementedBlockServiceServer
	server *Server
}

func (b *blockServer) putHandler(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var in client.PutMessage
	defer in.Free()
	if err := decode(&in); err != nil {
		return nil, err
	}
	return b.put(ctx, &in)
}

// put hands the bytes on as they lie in gRPC's buffers, and gives each buffer
// back as soon as it was read.
func (b *blockServer) put(ctx context.Context, in *client.PutMessage) (*holdallv1.PutResponse, error) {
	c, n := callOf(ctx), in.Data.Len()
	if more := int64(n) - c.size; more > 0 {
		defer b.server.exceed(c, more)()
	}
	switch {
	case n == 0 || n > holdall.MaxBlockSize:
		return nil, fmt.Errorf("put: block of %d bytes, want 1 to %d: %w", n, holdall.MaxBlockSize, holdall.ErrInvalid)
	case int64(n) > c.size:
		return nil, fmt.Errorf("put: block of %d bytes, the header %s said %d: %w", n, client.SizeHeader, c.size, holdall.ErrInvalid)
	}
	var want *holdall.BlockID
	if len(in.Head.Id) != 0 {
		id, err := blockID(in.Head.Id)
		if err != nil {
			return nil, err
		}
		want = &id
	}
	ns, err := b.server.namespace(in.Head.Namespace)
	if err != nil {
		return nil, err
	}
	incoming, err := c.admission.Receive(ns, n)
	if err != nil {
		return nil, err
	}
	defer incoming.Discard()
	for len(in.Data) > 0 {
		part := in.Data[0]
		in.Data = in.Data[1:]
		_, err := incoming.Write(part.ReadOnlyData())
		part.Free()
		if err != nil {
			return nil, err
		}
	}
	result, err := incoming.Put(ctx, want)
	if err != nil {
		return nil, err
	}
	return &holdallv1.PutResponse{Id: result.ID[:], Existed: result.Existed}, nil
}

func (b *blockServer) getHandler(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var in holdallv1.GetRequest
	if err := decode(&in); err != nil {
		return nil, err
	}
	return b.get(ctx, &in)
}

// get answers with the buffer that the bytes were read into.
func (b *blockServer) get(ctx context.Context, in *holdallv1.GetRequest) (*client.GetMessage, error) {
	id, err := blockID(in.Id)
	if err != nil {
		return nil, err
	}
	if uint64(in.Offset)+uint64(in.Length) > holdall.MaxBlockSize {
		return nil, fmt.Errorf("get %v: range of %d bytes at %d is outside every block: %w", id, in.Length, in.Offset, holdall.ErrInvalid)
	}
	ns, err := b.server.namespace(in.Namespace)
	if err != nil {
		return nil, err
	}
	got, err := b.server.cfg.Get.Get(ctx, ns, id, GetOptions{Offset: int(in.Offset), Length: int(in.Length),
		Consistent: in.Consistent, CallerVerifies: in.CallerVerifies})
	if err != nil {
		return nil, err
	}
	out := &client.GetMessage{Data: b.server.lend(got.View)}
	out.Head.Size = uint32(got.Size)
	out.Head.Verified = verified(got.Proof)
	return out, nil
}

func verified(p holdall.Proof) holdallv1.Verified {
	switch p {
	case holdall.ProofHash:
		return holdallv1.Verified_VERIFIED_BLOCK
	case holdall.ProofChunks:
		return holdallv1.Verified_VERIFIED_CHUNKS
	}
	return holdallv1.Verified_VERIFIED_BY_CALLER
}

// lent is a View on its way out. gRPC gives it back through Put when the last
// byte is sent.
type lent struct {
	*once
	cleanup runtime.Cleanup
}

type once struct {
	view buffer.View
	done atomic.Bool
}

func (o *once) release() bool {
	first := o.done.CompareAndSwap(false, true)
	if first {
		o.view.Release()
	}
	return first
}

// lend makes view gRPC's. gRPC forgets, without freeing it, what waits to be
// sent on a connection that breaks; the garbage collector then gives it back.
func (s *Server) lend(view buffer.View) mem.BufferSlice {
	data := view.Data[:len(view.Data):len(view.Data)]
	if mem.IsBelowBufferPoolingThreshold(len(data)) {
		// gRPC does not count references to buffers this small.
		defer view.Release()
		return mem.BufferSlice{mem.SliceBuffer(bytes.Clone(data))}
	}
	l := &lent{once: &once{view: view}}
	unreturned := s.metrics.unreturned
	l.cleanup = runtime.AddCleanup(l, func(o *once) {
		if o.release() {
			unreturned.Inc()
		}
	}, l.once)
	return mem.BufferSlice{mem.NewBuffer(&data, l)}
}

func (l *lent) Get(int) *[]byte { panic("wire: a lent buffer's pool gives none") }

func (l *lent) Put(*[]byte) {
	l.release()
	l.cleanup.Stop()
}

// Stat is documented in block.proto, as are the others.
func (b *blockServer) Stat(ctx context.Context, in *holdallv1.StatRequest) (*holdallv1.StatResponse, error) {
	id, err := blockID(in.Id)
	if err != nil {
		return nil, err
	}
	ns, err := b.server.namespace(in.Namespace)
	if err != nil {
		return nil, err
	}
	stat, err := b.server.cfg.Get.Stat(ctx, ns, id)
	if err != nil {
		return nil, err
	}
	stat.Namespace = nameOf(in.Namespace)
	return encodeStat(&stat), nil
}

func (b *blockServer) Missing(ctx context.Context, in *holdallv1.MissingRequest) (*holdallv1.MissingResponse, error) {
	ids, err := b.each(ctx, in, IDs.Missing)
	if err != nil {
		return nil, err
	}
	return &holdallv1.MissingResponse{Ids: ids}, nil
}

func (b *blockServer) Claim(ctx context.Context, in *holdallv1.ClaimRequest) (*holdallv1.ClaimResponse, error) {
	gone, err := b.each(ctx, in, IDs.Claim)
	if err != nil {
		return nil, err
	}
	return &holdallv1.ClaimResponse{Gone: gone}, nil
}

func (b *blockServer) Delete(ctx context.Context, in *holdallv1.DeleteRequest) (*holdallv1.DeleteResponse, error) {
	gone, err := b.each(ctx, in, IDs.Delete)
	if err != nil {
		return nil, err
	}
	return &holdallv1.DeleteResponse{Gone: gone}, nil
}

func (b *blockServer) Undelete(ctx context.Context, in *holdallv1.UndeleteRequest) (*holdallv1.UndeleteResponse, error) {
	gone, err := b.each(ctx, in, IDs.Undelete)
	if err != nil {
		return nil, err
	}
	return &holdallv1.UndeleteResponse{Gone: gone}, nil
}

// list is a request that names blocks.
type list interface {
	GetNamespace() string
	GetIds() [][]byte
}

// each checks a request that names blocks, has f work on them, and returns
// those that f names.
func (b *blockServer) each(ctx context.Context, in list, f func(IDs, context.Context, holdall.NamespaceID, []holdall.BlockID) ([]holdall.BlockID, error)) ([][]byte, error) {
	if b.server.cfg.IDs == nil {
		return nil, absent("blocks by name")
	}
	raw := in.GetIds()
	if len(raw) > holdall.MaxIDsPerCall {
		return nil, fmt.Errorf("%d ids in one call, the most is %d: %w", len(raw), holdall.MaxIDsPerCall, holdall.ErrInvalid)
	}
	ids := make([]holdall.BlockID, len(raw))
	for i, r := range raw {
		id, err := blockID(r)
		if err != nil {
			return nil, fmt.Errorf("ids[%d]: %w", i, err)
		}
		ids[i] = id
	}
	ns, err := b.server.namespace(in.GetNamespace())
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	named, err := f(b.server.cfg.IDs, ctx, ns, ids)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(named))
	for i := range named {
		out[i] = named[i][:]
	}
	return out, nil
}

func blockID(b []byte) (holdall.BlockID, error) {
	if len(b) != len(holdall.BlockID{}) {
		return holdall.BlockID{}, fmt.Errorf("block id of %d bytes, want %d: %w", len(b), len(holdall.BlockID{}), holdall.ErrInvalid)
	}
	return holdall.BlockID(b), nil
}

// maxNamespaceName is the most bytes of a namespace's name that are looked up.
const maxNamespaceName = 255

func nameOf(name string) string {
	if name == "" {
		return holdall.DefaultNamespaceName
	}
	return name
}

// namespace finds the namespace that a request names. One that is not there is
// ErrInvalid, not ErrNotFound: a caller who mistyped it must not be told that
// its blocks are gone.
func (s *Server) namespace(name string) (holdall.NamespaceID, error) {
	name = nameOf(name)
	if len(name) > maxNamespaceName {
		return 0, fmt.Errorf("namespace of %d bytes, the most is %d: %w", len(name), maxNamespaceName, holdall.ErrInvalid)
	}
	if name == holdall.DefaultNamespaceName {
		return holdall.DefaultNamespace, nil
	}
	id, err := holdall.SystemNamespace, error(nil)
	if s.cfg.Namespaces != nil {
		id, err = s.cfg.Namespaces.NamespaceID(name)
	}
	switch {
	case errors.Is(err, holdall.ErrNotFound) || err == nil && id == holdall.SystemNamespace:
		return 0, fmt.Errorf("namespace %q: there is none of this name, and none is made by use: %w", name, holdall.ErrInvalid)
	case err != nil:
		return 0, err
	}
	return id, nil
}
