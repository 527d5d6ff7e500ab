package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"google.golang.org/grpc/mem"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// Put has the engine pull the body out of the stream: while the engine waits for
// room for a block, nothing is received, and gRPC's window closes.
func (o *objectServer) Put(stream holdallv1.ObjectService_PutServer) error {
	if o.server.cfg.Objects == nil {
		return absent("objects")
	}
	b := &body{server: o.server, stream: stream, call: callOf(stream.Context())}
	defer b.free()
	if err := b.next(); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("put: the stream ended without a head: %w", holdall.ErrInvalid)
		}
		return err
	}
	r, err := o.putRequest(b.message.Head.Head)
	if err != nil {
		return err
	}
	if err := stream.SendHeader(nil); err != nil { // whoever can read his bytes only once waits for it
		return err
	}
	r.Body, r.Finish = b, b.finish
	row, err := o.server.cfg.Objects.Put(stream.Context(), r)
	m, err := answered(r.Place, row, err)
	if err != nil {
		return err
	}
	return stream.SendAndClose(&holdallv1.PutObjectResponse{Object: m})
}

func (o *objectServer) putRequest(head *holdallv1.PutObjectHead) (r object.PutRequest, err error) {
	if head == nil {
		return r, fmt.Errorf("put: the first message has no head: %w", holdall.ErrInvalid)
	}
	r.Size = -1
	if head.Size != nil {
		if *head.Size > holdall.MaxObjectSize {
			return r, fmt.Errorf("put: object of %d bytes, at most %d: %w", *head.Size, int64(holdall.MaxObjectSize), holdall.ErrInvalid)
		}
		r.Size = int64(*head.Size)
	}
	if r.Put, err = putID(head.PutId); err != nil {
		return r, err
	}
	if r.Attributes, err = attributes(head.Attributes); err != nil {
		return r, err
	}
	if r.Tags, err = tags(head.Tags); err != nil {
		return r, err
	}
	if r.If, err = condition(head.Condition); err != nil {
		return r, err
	}
	r.Place, err = o.server.place(head)
	return r, err
}

// crcTable is a function of the polynomial alone.
func crcTable() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// body reads the data of a stream's messages. It is used by one goroutine.
type body struct {
	server  *Server
	stream  holdallv1.ObjectService_PutServer
	call    *call
	message client.PutObjectMessage // what of it was not read yet
	begun   bool                    // the first message is there
	sum     uint32                  // CRC-32C of what was read
	want    *uint32                 // what the last message said it is; nil: nothing
}

// next receives a message, or io.EOF. It must have arrived in time from now on:
// only then does the caller's silence count, not while the engine is busy.
func (b *body) next() error {
	b.message.Free()
	b.message.Head.Reset()
	b.call.slow.Reset(b.server.cfg.ReceiveTimeout)
	err := b.stream.RecvMsg(&b.message)
	b.call.slow.Stop()
	if err != nil {
		return err
	}
	head := &b.message.Head
	switch n := b.message.Data.Len(); {
	case b.begun && head.Head != nil:
		return fmt.Errorf("put: a message that is not the first has a head: %w", holdall.ErrInvalid)
	case b.want != nil:
		return fmt.Errorf("put: a message comes after the one with the checksum: %w", holdall.ErrInvalid)
	case n > holdall.MaxBlockSize:
		return fmt.Errorf("put: message with %d bytes of data, at most %d: %w", n, holdall.MaxBlockSize, holdall.ErrInvalid)
	case int64(n) > b.call.size:
		return fmt.Errorf("put: message with %d bytes of data, the header %s said at most %d: %w", n, client.SizeHeader, b.call.size, holdall.ErrInvalid)
	}
	b.begun, b.want = true, head.Crc32C
	return nil
}

// Read returns data as they lie in gRPC's buffers, and gives each buffer back as
// soon as it was read.
func (b *body) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(b.message.Data) == 0 {
			if n > 0 {
				break
			}
			if err := b.next(); err != nil {
				return 0, err
			}
			continue
		}
		part := b.message.Data[0]
		m := copy(p[n:], part.ReadOnlyData())
		n += m
		if m < part.Len() {
			b.message.Data[0] = rest(part, m)
			continue
		}
		part.Free()
		b.message.Data = b.message.Data[1:]
	}
	b.sum = crc32.Update(b.sum, crcTable(), p[:n])
	return n, nil
}

// rest is what follows the first n bytes of part, whose reference becomes the
// result's.
func rest(part mem.Buffer, n int) mem.Buffer {
	defer part.Free()
	return part.Slice(n, part.Len())
}

func (b *body) free() { b.message.Free() }

// finish compares the object's checksum with the caller's before anything is
// visible, and keeps it with the object: whoever gets all of it can check it.
func (b *body) finish(f object.Finished) (object.Finished, error) {
	if b.want != nil && *b.want != b.sum {
		return f, fmt.Errorf("put: the bytes that arrived have the CRC-32C %08x, the caller sent %08x: %w", b.sum, *b.want, holdall.ErrInvalid)
	}
	f.Attributes.Checksums = append(slices.Clone(f.Attributes.Checksums), manifest.Checksum{
		Algorithm: "CRC32C", Kind: manifest.FullObject, Value: binary.BigEndian.AppendUint32(nil, b.sum),
	})
	slices.SortFunc(f.Attributes.Checksums, func(x, y manifest.Checksum) int { return strings.Compare(x.Algorithm, y.Algorithm) })
	return f, nil
}
